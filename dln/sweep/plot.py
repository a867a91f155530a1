"""What a sweep is drawn as: one panel for each report, over the constant that is varied.

Over the constant with most values, that is; each combination of the others has its curve. Runs
that differ in their seed alone are one point, with its standard deviation. What an expectation
says of a report is drawn dashed, in the colour of the curve that it speaks of.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Sequence
from typing import Any, TypeGuard

import numpy as np

from dln.grammar import syntax
from dln.printing.pictures import Curve, Panel
from dln.printing.terminal import number
from dln.reading.mentions import SEED, names
from dln.sweep.row import Row, named

Point = tuple[float, list[Row]]


def references(module: syntax.Module, varied: Sequence[str]) -> set[str]:
    """Those of the constants varied that no equation uses: published values to compare with."""
    claims = syntax.Check | syntax.Sweep
    used = set(names([item for item in module.items if not isinstance(item, claims)]))
    return set(varied) - used - {SEED}


def panels(rows: Sequence[Row], known: set[str], seeds: Collection[str] = (SEED,)) -> list[Panel]:
    """A panel for each report that is a number somewhere; none where nothing was varied."""
    rows = [r for r in rows if not r.problems]
    over = _over(rows, known, seeds)
    if over is None:
        return []
    words = _words(rows, over)
    groups = _groups(rows, over, known | set(seeds))
    made = []
    for report in dict.fromkeys(text for r in rows for text in r.reports):
        curves = [c for name, points in groups.items() for c in _curves(name, points, report, over)]
        if curves:
            made.append(Panel(report, over, tuple(curves), tuple(words)))
    return made


def _over(rows: Sequence[Row], known: set[str], seeds: Collection[str]) -> str | None:
    """The constant with most values; a seed only where nothing else is varied."""
    counts = {k: len({number(r.constants[k]) for r in rows})
              for k in (rows[0].constants if rows else ()) if k not in known}  # fmt: skip
    found = {k: n for k, n in counts.items() if n > 1 and k not in seeds} or counts
    best = max(found, key=lambda k: found[k], default=None)
    return best if best is not None and found[best] > 1 else None


def _words(rows: Sequence[Row], over: str) -> list[str]:
    """The values of a constant that are no numbers, in the order of the sweep."""
    values = [r.constants[over] for r in rows]
    return [] if all(map(_is_number, values)) else list(dict.fromkeys(map(number, values)))


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _groups(rows: Sequence[Row], over: str, known: set[str]) -> dict[str, list[Point]]:
    """The points of each curve, by what tells it from the others, in the order of x."""
    words = _words(rows, over)
    apart = [k for k in rows[0].constants
             if k not in known | {over} and not _follows(rows, k, over)]  # fmt: skip
    found: dict[str, dict[float, list[Row]]] = {}
    for row in rows:
        value = row.constants[over]
        x = float(words.index(number(value)) if words else value)
        name = named({k: row.constants[k] for k in apart})
        found.setdefault(name, {}).setdefault(x, []).append(row)
    return {name: sorted(points.items()) for name, points in found.items()}


def _follows(rows: Sequence[Row], constant: str, over: str) -> bool:
    """Whether a constant is the same wherever `over` is."""
    pairs = {(number(r.constants[over]), number(r.constants[constant])) for r in rows}
    return len(pairs) == len({x for x, _ in pairs})


def _curves(name: str, points: Sequence[Point], report: str, over: str) -> list[Curve]:
    """A curve of a report, and what is expected of it."""
    made: list[Curve] = []
    for dashed in (False, True):
        asked = ((x, [_expected(r, report) if dashed else r.reports.get(report) for r in rows])
                 for x, rows in points)  # fmt: skip
        found = [(x, [float(v) for v in values if _is_number(v)]) for x, values in asked]
        kept = [(x, statistics.fmean(v), statistics.stdev(v) if len(v) > 1 else 0.0)
                for x, v in found if v]  # fmt: skip
        if not kept or dashed and not made:
            continue
        x, y, error = (np.array(v) for v in zip(*kept, strict=True))
        label = ", ".join(p for p in (name, "expected" if dashed else "") if p) or "measured"
        bars = error if error.any() and not dashed else None
        made.append(Curve(label, x, y, over, bars, dashed))
    return made


def _expected(row: Row, report: str) -> Any:
    """The value that an expectation `report == value` asks for."""
    same = f"{report} == "
    return next((v.expected for v in row.verdicts if v.text.startswith(same)), None)
