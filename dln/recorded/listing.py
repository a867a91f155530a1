"""The runs of a folder, one line each; what else lies in it is told, one line each too."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dln.grammar.diagnostics import Fault, nearest
from dln.printing.terminal import columns, cut, number
from dln.recorded.recorded_run import RecordedRun, read_run

MANY = 4  # numbers of a watch that are shown


@dataclass(frozen=True)
class Found:
    """The runs of a folder, and what is to be said of what is none."""

    runs: tuple[RecordedRun, ...]
    notes: tuple[str, ...]


def runs_of(folder: Path) -> Found:
    """The runs of a folder, or the one that it is, in the order of their names (2 before 10).
    Raises `Fault` E548 where there is no such folder."""
    if not folder.is_dir():
        what = "is no folder" if folder.exists() else "does not exist"
        raise Fault(f"{folder} {what}", "dln run SPEC, which makes runs/SPEC-1", "E548")
    runs, notes = list[RecordedRun](), list[str]()
    try:
        inside = sorted(folder.iterdir(), key=lambda p: natural(p.name))
    except OSError as refused:
        raise Fault(f"cannot read {folder}: {refused.strerror or refused}", "", "E548") from None
    own = (folder / "log.jsonl").is_file() or (folder / "manifest.json").is_file()
    for path in [folder] if own else inside:
        if path.name.startswith("."):
            continue
        if not path.is_dir():
            notes.append(f"{path} is a file, no run")
            continue
        try:
            runs.append(read_run(path))
        except Fault as fault:
            notes.append(fault.message)
        except OSError as refused:
            notes.append(f"{path} cannot be read: {refused.strerror or refused}")
    return Found(tuple(runs), tuple(notes))


def natural(name: str) -> list[Any]:
    """A key by which mlp-2 comes before mlp-10."""
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in re.split(r"(\d+)", name) if p]


def ordered(runs: Sequence[RecordedRun], by: str) -> list[RecordedRun]:
    """Runs by a watch, a constant, or seconds, state or spec, smallest first; those without it
    last. Raises `Fault` E549 for a name that none of them has."""
    sides: dict[str, Callable[[RecordedRun], Any]] = {
        "seconds": lambda r: r.seconds, "state": lambda r: r.state, "spec": lambda r: r.spec,
    }  # fmt: skip
    known = {*sides, *(n for r in runs for n in (*r.watch, *r.constants, *r.options))}
    if by not in known:
        remedy = nearest(by, known) or f"one of {', '.join(sorted(known))}"
        raise Fault(f"no run has {by}", f"--by {remedy}", "E549")

    def key(run: RecordedRun) -> tuple[Any, ...]:
        own = {**run.options, **run.constants, **run.watch}
        value = sides[by](run) if by in sides else own.get(by)
        value = value[-1] if isinstance(value, list) and value else value
        is_number = isinstance(value, int | float) and value == value
        return (value is None, not is_number, value if is_number else 0, str(value))

    return sorted(runs, key=key)


def as_table(runs: Sequence[RecordedRun], width: int | None = None) -> str:
    """One line for each run; of a line beyond `width` its beginning."""
    rows = [("run", "spec", "changed", "state", "epochs", "seconds", "watched")]
    for run in runs:
        epochs = "+".join(str(p.epochs) for p in run.phases.values())
        seconds = "" if run.seconds is None else f"{run.seconds:.1f}"
        rows.append((str(run.path), run.spec, changed(run), state(run), epochs, seconds,
                     ", ".join(f"{k} {few(v)}" for k, v in run.watch.items())))  # fmt: skip
    text = columns(rows, right=[4, 5])
    return "\n".join(line if width is None else cut(line, width) for line in text.split("\n"))


def few(value: Any) -> str:
    """A watched value in few characters: of many numbers the first."""
    if isinstance(value, list) and len(value) > MANY:
        return f"[{', '.join(map(number, value[:MANY]))}, ... ({len(value)})]"
    return number(value)


def changed(run: RecordedRun) -> str:
    """What the run was given: `hidden=300 --seed 7`."""
    words = [f"{name}={_short(value)}" for name, value in run.constants.items()]
    for name, value in run.options.items():
        several = value.items() if isinstance(value, dict) else ()
        words += [f"--{name} {k}={v}" for k, v in several]
        if not isinstance(value, dict):
            words.append(f"--{name}" if value is True else f"--{name} {value}")
    return " ".join(words)


def _short(value: Any) -> str:
    return number(value) if not isinstance(value, str) else value


def state(run: RecordedRun) -> str:
    """`complete`, with what its checks have come to; or why a run failed or is damaged."""
    if run.state == "complete":
        failed = sum(c.get("status") == "failed" for c in run.checks)
        return f"complete, {failed} failed" if failed else "complete"
    return f"{run.state}: {cut(run.why, 60)}" if run.why else run.state


def as_data(run: RecordedRun) -> dict[str, Any]:
    """What `--json` prints of a run."""
    phases = {
        p.name: {"updates": p.updates, "epochs": p.epochs, "seconds": p.seconds,
                 "complete": p.ended, "watch": p.watch}
        for p in run.phases.values()
    }  # fmt: skip
    counts: dict[str, int] = {}
    for check in run.checks:
        status = str(check.get("status"))
        counts[status] = counts.get(status, 0) + 1
    return {"run_dir": str(run.path), "spec": run.spec, "state": run.state, "why": run.why,
            "constants": dict(run.constants), "options": dict(run.options), "phases": phases,
            "watch": run.watch, "checks": counts}  # fmt: skip
