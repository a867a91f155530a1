"""What came out of a run, for people and as data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dln.printing.progress import watched
from dln.printing.terminal import Terminal, columns, present
from dln.reading.counts import headline
from dln.running import verdict_text
from dln.running.training import Selection, fixed
from dln.running.verdict import Verdict
from dln.runtime.checkpoint.rundir import RunDirectory
from dln.runtime.execution.phase_result import PhaseResult
from dln.runtime.session import Session
from dln.spec import Spec


def report(
    terminal: Terminal, spec: Spec, session: Session, selection: Selection, found: list[Verdict]
) -> None:
    """The phases as a table, then each check with what it expects."""
    terminal.result(headline(spec))
    if session.results:
        terminal.result("\n" + phase_table(session.results))
        for note in filter(None, (result.note for result in session.results.values())):
            terminal.result(f"\nnote: {note}")
    if selection.left_out:
        them = "it" if len(selection.left_out) == 1 else "them"
        said = f"only slow checks ask for {them}; train with --slow"
        terminal.result(f"\nleft out: {', '.join(selection.left_out)} ({said})")
    if found:
        verdict_text.full(terminal, spec.facts, found)
        terminal.result()
        verdict_text.tally(terminal, found)


def phase_table(results: Mapping[str, PhaseResult]) -> str:
    """Phase, epochs, updates, seconds, last watched values."""
    rows = [(r.name, str(r.epochs), f"{r.updates:,}", f"{r.seconds:.2f}",
             "; ".join(filter(None, [watched(r.watch), r.ended])))
            for r in results.values()]  # fmt: skip
    return columns([("phase", "epochs", "updates", "seconds", "watched"), *rows], right=[1, 2, 3])


def phase_facts(spec: Spec, session: Session) -> dict[str, Any]:
    """What `--json` prints of the phases that have run."""
    seeds = fixed(spec.facts, session.results)
    return {
        r.name: {"epochs": r.epochs, "updates": r.updates, "seconds": r.seconds, "watch": r.watch,
                 **present(ended=r.ended, threads=r.threads),
                 **({"seed": seeds[r.name]} if r.name in seeds else {}),
                 **present(note=r.note), "after": list(spec.facts.phases[r.name].after)}
        for r in session.results.values()
    }  # fmt: skip


def facts(
    spec: Spec, session: Session, found: list[Verdict], rundir: RunDirectory
) -> dict[str, Any]:
    """What `--json` prints of a run."""
    return {"spec": spec.name, "parameters": spec.facts.parameters,
            "phases": phase_facts(spec, session),
            "warnings": [w.as_data() for w in spec.facts.warnings],
            "checks": [v.as_data() for v in found], "seed": session.seed,
            "run_dir": str(rundir.path)}  # fmt: skip
