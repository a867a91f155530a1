"""What differs between recorded runs, and what they have come to, side by side."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dln.printing.terminal import columns, cut
from dln.recorded.listing import few, state
from dln.recorded.recorded_run import OPTIONS, RecordedRun

VERSIONS = ("dln", "numpy", "python", "platform", "cpu", "cpus", "blas", "blas_threads",
            "blas_core", "simd", "byteorder")  # fmt: skip
LONG = 40  # characters of a value in a table
LINES = 60  # of a difference of texts
CONTEXT = 2  # lines of a text that are shown around what differs

Row = tuple[str, ...]


@dataclass(frozen=True)
class RunComparison:
    """Rows of a name and a value for each run: of what differs, by kind, and of the figures.
    `texts` are the lines of specs that differ, of each run from the first, by its directory."""

    runs: tuple[RecordedRun, ...]
    differs: Mapping[str, Mapping[str, tuple[Any, ...]]]
    figures: Mapping[str, tuple[Any, ...]]
    texts: Mapping[str, tuple[str, ...]]


def compared(runs: Sequence[RecordedRun]) -> RunComparison:
    """What differs between runs; of a single one its figures."""
    kinds: dict[str, Callable[[RecordedRun], Mapping[str, Any]]] = {
        "constants": _constants,
        "options": lambda r: {f"--{k}": r.options.get(k, usual) for k, usual in OPTIONS.items()},
        "versions and machine": lambda r: {k: r.manifest.get(k) for k in VERSIONS},
        "data": _data,
        "used files": _used,
    }
    differs = {kind: _differing([of(run) for run in runs]) for kind, of in kinds.items()}
    texts = {str(run.path): tuple(lines) for run in runs[1:]
             if (lines := list(_changed_lines(runs[0], run)))}  # fmt: skip
    return RunComparison(
        tuple(runs), {k: v for k, v in differs.items() if v}, _figures(runs), texts
    )


def _constants(run: RecordedRun) -> Mapping[str, Any]:
    found: dict[str, Any] = {**(run.manifest.get("constants") or {}), **run.constants}
    return found


def _used(run: RecordedRun) -> Mapping[str, Any]:
    """The hash of each file that the spec uses, cut short: lines of its own are shown."""
    files = run.manifest.get("sources") or {}
    return {name: digest[:12] for name, digest in files.items() if name != "spec.dln"}


def _data(run: RecordedRun) -> Mapping[str, Any]:
    """The hash of each file of data, cut short."""
    sets = run.manifest.get("data") or {}
    return {f"{name} {file}": digest[:12] for name, files in sets.items()
            for file, digest in files.items()}  # fmt: skip


def _differing(sides: Sequence[Mapping[str, Any]]) -> dict[str, tuple[Any, ...]]:
    names = dict.fromkeys(name for side in sides for name in side)
    rows = {name: tuple(side.get(name) for side in sides) for name in names}
    return {name: values for name, values in rows.items() if any(v != values[0] for v in values)}


def _figures(runs: Sequence[RecordedRun]) -> dict[str, tuple[Any, ...]]:
    """State, length and last watched values of each, and how many of its checks have passed."""
    rows: dict[str, tuple[Any, ...]] = {"spec": tuple(r.spec for r in runs)}
    rows["state"] = tuple(state(r) for r in runs)
    phases = dict.fromkeys(name for run in runs for name in run.phases)
    for name in phases:
        mine = [run.phases.get(name) for run in runs]
        counts = ("epochs", "updates", "seconds")
        for count in counts:
            rows[f"{name}.{count}"] = tuple(getattr(p, count, None) for p in mine)
        watches = dict.fromkeys(w for p in mine if p for w in p.watch)
        for watch in watches:
            rows[f"{name}.{watch}"] = tuple(p.watch.get(watch) if p else None for p in mine)
    if any(run.checks for run in runs):
        rows["checks passed"] = tuple(_passed(run) for run in runs)
    return rows


def _passed(run: RecordedRun) -> str:
    asked = [c for c in run.checks if c.get("status") in ("passed", "failed")]
    return f"{sum(c['status'] == 'passed' for c in asked)} of {len(asked)}" if run.checks else ""


def _changed_lines(first: RecordedRun, other: RecordedRun) -> Iterator[str]:
    """A difference of two specs as `diff -u` writes it."""
    old, new = first.text.splitlines(), other.text.splitlines()
    names = str(first.path / "spec.dln"), str(other.path / "spec.dln")
    yield from difflib.unified_diff(old, new, *names, lineterm="", n=CONTEXT)


# ---- for people and for programs ---------------------------------------------------------------


def text(found: RunComparison) -> str:
    """What differs, kind by kind, then the lines, then the figures."""
    names = tuple(str(run.path) for run in found.runs)
    blocks = [f"{kind} that differ\n{_table(rows, names)}" for kind, rows in found.differs.items()]
    blocks += map(_shortened, found.texts.values())
    if len(found.runs) > 1 and not found.differs and not found.texts:
        blocks = ["the runs are of one spec, with the same constants, options and data"]
    return "\n\n".join([*blocks, f"figures\n{_table(found.figures, names)}"])


def _shortened(lines: Sequence[str]) -> str:
    """A difference of texts; of a long one the beginning, and the command that shows it."""
    more = len(lines) - LINES
    if more <= 0:
        return "\n".join(lines)
    files = " ".join(line[4:] for line in lines[:2])
    return "\n".join([*lines[:LINES], f"... and {more} more lines: diff -u {files}"])


def _table(rows: Mapping[str, tuple[Any, ...]], names: Row) -> str:
    lines = [("", *names), *((name, *map(_cell, values)) for name, values in rows.items())]
    return columns(lines, lead="  ")


def _cell(value: Any) -> str:
    if isinstance(value, Mapping):
        value = " ".join(f"{k}={v}" for k, v in value.items())
    missing = value is None or isinstance(value, float) and math.isnan(value)
    return ("-" if value is None else "nan") if missing else cut(few(value), LONG)


def as_data(found: RunComparison) -> dict[str, Any]:
    """What `--json` prints: each row as a list, in the order of the runs."""
    return {"runs": [str(run.path) for run in found.runs], "differs": found.differs,
            "figures": found.figures, "texts": found.texts}  # fmt: skip
