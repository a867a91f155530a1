"""Statements that repeat with other numbers, as a loop."""

from __future__ import annotations

import re
from collections.abc import Sequence
from operator import sub

NUMBER = re.compile(r"(?<![\w.])\d+(?![\w.])")
Row = tuple[str, str]
"""Code, and what is remarked beside it."""
LEAST = 3
"""Repetitions that are worth a loop."""


def rolled(rows: Sequence[Row]) -> list[Row]:
    """Rows of code and comment, with a loop in place of those that repeat."""
    made, i = list[Row](), 0
    while i < len(rows):
        for period in range(1, 9):
            times = repeats(rows, i, period)
            if times >= LEAST and (times - 1) * period > 2:
                made += loop(rows, i, period, times)
                i += period * times
                break
        else:
            made.append(rows[i])
            i += 1
    return made


def repeats(rows: Sequence[Row], start: int, period: int) -> int:
    """How often rows repeat from a place on, their numbers growing by the same each time."""
    times = 1
    if any(row[0].lstrip().startswith("for ") for row in rows[start : start + period]):
        return 1
    grown: list[list[int]] | None = None
    while start + (times + 1) * period <= len(rows):
        here = [rows[start + times * period + k] for k in range(period)]
        before = [rows[start + (times - 1) * period + k] for k in range(period)]
        if any(
            NUMBER.sub("#", a[0]) != NUMBER.sub("#", b[0]) or a[1]
            for a, b in zip(here, before, strict=True)
        ):
            break
        steps = [list(map(sub, numbers(a), numbers(b))) for a, b in zip(here, before, strict=True)]
        if grown is not None and steps != grown or not any(map(any, steps)):
            break
        grown, times = steps, times + 1
    return times


def numbers(row: Row) -> list[int]:
    """The whole numbers of a row."""
    return list(map(int, NUMBER.findall(row[0])))


def loop(rows: Sequence[Row], start: int, period: int, times: int) -> list[Row]:
    """The loop that does what rows do, which repeat so often."""
    first, second = rows[start : start + period], rows[start + period : start + 2 * period]
    space = first[0][0][: len(first[0][0]) - len(first[0][0].lstrip())]
    lows = [a for row in first for a in numbers(row)]
    steps = list(map(sub, (b for row in second for b in numbers(row)), lows))
    by = min((s for s in steps if s > 0), default=1)
    low = next((a for a, s in zip(lows, steps, strict=True) if s == by), 0) // by
    made = [(f"{space}for k in range({low}, {low + times}):".replace("(0, ", "("), first[0][1])]
    at = iter(zip(lows, steps, strict=True))
    for code, _ in first:
        said = NUMBER.sub(lambda m: counted(*next(at), low), code)
        made.append((f"    {said}", ""))
    return made


def counted(value: int, step: int, low: int) -> str:
    """A number that grows by steps from a value on, in terms of a counter from `low` on."""
    if not step:
        return str(value)
    rest = value - step * low
    lead = "k" if step == 1 else "-k" if step == -1 else f"{step} * k"
    return lead if not rest else f"{lead} + {rest}" if rest > 0 else f"{lead} - {-rest}"
