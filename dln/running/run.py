"""`dln run`: train the phases in order, run the tasks, test the checks, and say what came out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dln.commands.options import Settings
from dln.commands.plan import chosen
from dln.commands.show import headline, parameters
from dln.grammar.diagnostics import DlnError, Fault, Problem
from dln.printing import verdict_text
from dln.printing.progress import progress, watched
from dln.printing.terminal import Terminal, columns
from dln.reading.resolved import resolved
from dln.running import differences, expectations, tasks
from dln.running.expectations import Verdict
from dln.running.interrupts import interruptible
from dln.running.resuming import Earlier, earlier
from dln.runtime.checkpoint.rundir import RunDirectory
from dln.spec import Compiled, Spec, find, from_source, read

if TYPE_CHECKING:
    from dln.compiler.model import Model
    from dln.runtime.execution.phase_result import PhaseResult
    from dln.runtime.session import Session


class Failed(DlnError):
    """A run that began and could not be brought to its end."""

    exit_code = 1


@dataclass(frozen=True)
class Selection:
    """The phases to be trained, and those left out for want of --slow."""

    names: tuple[str, ...]
    left_out: tuple[str, ...]


def run(terminal: Terminal, name: str | None, given: Settings, debug: int = 0) -> int:
    """Carry out a whole run; the exit code."""
    before = None if given.resume is None else earlier(name, given)
    if before is not None:
        name, given = before.spec, before.settings
        for note in before.notes:
            terminal.say(f"note: {note}")
    if name is None:
        raise DlnError([_no_spec()])
    path = find(name)
    spec = from_source(read(path), path.stem, given.constants, given.data, False, given.limit)
    for note in spec.model.notes:
        terminal.say(f"note: {note}")
    compiled = spec.compile(given.backend, given.dtype, given.threads)
    terminal.warn(spec.model.warnings)
    selection = select(spec, given)
    if before is not None:
        differences.refuse_spec(before, spec, compiled, selection.names)
    session = opened(compiled, given.seed)
    with recorded(spec, compiled, given, str(path), before) as rundir:
        return _run(terminal, spec, session, selection, given, rundir, before)


def _no_spec() -> Problem:
    return Problem("E014", "which spec?", remedy="dln run SPEC, or dln run --resume DIR")


def _run(
    terminal: Terminal, spec: Spec, session: Session, selection: Selection, given: Settings,
    rundir: RunDirectory, before: Earlier | None,
) -> int:  # fmt: skip
    """Train, then tasks, then checks. Raises `Failed`."""
    restored = None if before is None else before.restored
    try:
        interrupted = train(terminal, session, selection, given, rundir, restored)
        if interrupted:
            rundir.log(event="interrupted")
            terminal.say(f"{interrupted}; saved in {rundir.path}")
            terminal.say(f"go on with: dln run {spec.name} --resume {rundir.path}")
            terminal.data({**facts(spec, session, [], rundir), "interrupted": True})
            return 130
        emitted = tasks.run_all(terminal, session, spec, rundir.path)
    except DlnError as error:
        rundir.log(event="failed", problems=[p.as_data() for p in error.problems])
        raise Failed(error.problems) from None
    found = expectations.verdicts(spec.model, session, slow=given.slow, seed=given.seed)
    told = facts(spec, session, found, rundir)
    rundir.log(event="finished", checks=told["checks"], phases=told["phases"])
    report(terminal, spec, session, selection, found)
    terminal.result(f"\nrun directory: {rundir.path}")
    left = {"left_out": list(selection.left_out)} if selection.left_out else {}
    terminal.data({**told, **emitted, **left})
    return 1 if verdict_text.failed(found) else 0


# ---- phases ------------------------------------------------------------------------------------


def select(spec: Spec, given: Settings, asked: Sequence[str] = ()) -> Selection:
    """All phases; or the one asked for with what it comes after; slow ones only with --slow, but
    for those that a sweep asks something of."""
    phases = spec.model.phases
    after = {name: phase.after for name, phase in phases.items()}
    if given.phase is not None:
        wanted = closure(chosen(given.phase, phases, "phase"), after)
        return Selection(tuple(n for n in phases if n in wanted), ())
    quick = phases if given.slow else [n for n, p in phases.items() if not p.slow]
    wanted = closure([*quick, *asked], after)
    return Selection(
        tuple(n for n in phases if n in wanted), tuple(n for n in phases if n not in wanted)
    )


def closure(names: Iterable[str], after: Mapping[str, Sequence[str]]) -> set[str]:
    """Some phases and all that they come after; `after` names those of each."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += after.get(name, ())
    return found


def opened(compiled: Compiled, seed: int) -> Session:
    """A session that keeps of each phase what the checks will ask."""
    session = compiled.session(seed)
    wanted = expectations.wanted_snapshots(compiled.spec.model)
    session.keep_before |= wanted["before"] | wanted["after"]
    return session


def train(
    terminal: Terminal, session: Session, selection: Selection, given: Settings,
    rundir: RunDirectory | None = None, restored: Any = None,
) -> str:  # fmt: skip
    """Train the phases selected; what interrupted it, or nothing."""
    from dln.runtime.training.phase_trainer import Interrupted

    with interruptible(terminal) as stop, progress(terminal) as hook:
        try:
            session.train(
                selection.names, epochs=given.epochs, limit=given.limit, hooks=[hook],
                rundir=rundir, stop=stop, resume=restored,
            )  # fmt: skip
        except Interrupted as interrupted:
            return str(interrupted)
    return ""


# ---- the run directory -------------------------------------------------------------------------


def recorded(
    spec: Spec, compiled: Compiled, given: Settings, path: str, before: Earlier | None
) -> RunDirectory:
    """The directory of a run, with all that the run depends on written down."""
    try:
        if before is not None and not _changed(before, spec, path):
            return before.rundir
        text = resolved(spec)
        rundir = RunDirectory.create(spec.name, given.out) if before is None else before.rundir
        rundir.write_spec(spec.source.text, text)
        rundir.write_manifest(seed=given.seed, threads=given.threads, backend=given.backend,
                              dtype=compiled.plan.dtype, constants=spec.constants)  # fmt: skip
        if before is not None:  # which phases are trained is asked anew each time
            given = replace(given, phase=before.first.phase, slow=before.first.slow)
        words = {k: getattr(given, k) for k in ("epochs", "limit", "phase", "slow", "dtype")}
        rundir.log(event="run", spec=path, constants=dict(given.constants),
                   data=dict(given.data), **words)  # fmt: skip
    except Fault as fault:
        raise fault.at(None) from None
    return rundir


def _changed(before: Earlier, spec: Spec, path: str) -> bool:
    """Whether a run goes on with other settings, or another text, than it had."""
    now = replace(before.settings, phase=before.first.phase, slow=before.first.slow)
    same = now == before.first and before.first_spec == path
    return not same or before.rundir.spec_text() != spec.source.text


# ---- what came out -----------------------------------------------------------------------------


def report(
    terminal: Terminal, spec: Spec, session: Session, selection: Selection, found: list[Verdict]
) -> None:
    """The phases as a table, then each check with what it expects."""
    terminal.result(headline(spec))
    if session.results:
        terminal.result("\n" + phase_table(session.results))
        for result in session.results.values():
            if result.note:
                terminal.result(f"\nnote: {result.note}")
    if selection.left_out:
        names = ", ".join(selection.left_out)
        only = "only slow checks ask for it" if len(selection.left_out) == 1 else (
            "only slow checks ask for them")  # fmt: skip
        terminal.result(f"\nleft out: {names} ({only}; train with --slow)")
    if found:
        verdict_text.full(terminal, spec.model, found)
        terminal.result()
        verdict_text.tally(terminal, found)


def phase_table(results: Mapping[str, PhaseResult]) -> str:
    """Phase, epochs, updates, seconds, last watched values."""
    rows = [("phase", "epochs", "updates", "seconds", "watched")]
    for r in results.values():
        said = "; ".join(filter(None, [watched(r.watch), r.ended]))
        rows.append((r.name, str(r.epochs), f"{r.updates:,}", f"{r.seconds:.2f}", said))
    return columns(rows, right=[1, 2, 3])


def fixed(model: Model, names: Iterable[str]) -> dict[str, int]:
    """The seeds that some phases fix for themselves, by phase."""
    found = {name: model.phases[name].seed for name in names}
    return {name: seed for name, seed in found.items() if seed is not None}


def facts(
    spec: Spec, session: Session, found: list[Verdict], rundir: RunDirectory
) -> dict[str, Any]:
    """What `--json` prints of a run."""
    seeds = fixed(spec.model, session.results)
    phases = {
        r.name: {"epochs": r.epochs, "updates": r.updates, "seconds": r.seconds, "watch": r.watch,
                 **({"ended": r.ended} if r.ended else {}),
                 **({"seed": seeds[r.name]} if r.name in seeds else {}),
                 **({"note": r.note} if r.note else {}),
                 "after": list(spec.model.phases[r.name].after)}
        for r in session.results.values()
    }  # fmt: skip
    return {"spec": spec.name, "parameters": parameters(spec.model), "phases": phases,
            "warnings": [w.as_data() for w in spec.model.warnings],
            "checks": verdict_text.as_data(found), "seed": session.seed,
            "run_dir": str(rundir.path)}  # fmt: skip
