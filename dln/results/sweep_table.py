"""A sweep on the page of results: a row for each of its runs, those that differ in their seeds
alone drawn together with their mean, least and most.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

from dln.printing.terminal import number, plural
from dln.reading.mentions import SEED
from dln.results.records import Data, Measurements, grouped, numbers
from dln.results.verdicts import duration, missed, verdict

Seeds = Mapping[str, Any]
"""The constants that are seeds, each with the value that the spec gives it; `seed` has none."""

Older = Callable[[Sequence[Data]], str]
"""What marks figures that an earlier text of the spec gave."""


def title(name: str, runs: Sequence[Data], seeds: Seeds, rows: Sequence[Data]) -> str:
    """``Sweep `width`: tolerance ± 0.8; `order_seed` 0 to 9.``"""
    widest = max((w for r in rows for c in r["checks"] for w in numbers(c["within"])), default=None)
    parts = [plural(len(runs), "run") if widest is None else f"tolerance ± {number(widest)}"]
    parts += [f"`{k}` {_range([r[k] for r in runs])}" for k in runs[0] if k in seeds]
    return f"Sweep `{name}`: {'; '.join(parts)}."


class SweepTable:
    """The table of a sweep that was run. `older` marks a row that an earlier text gave."""

    def __init__(self, runs: Sequence[Data], seeds: Seeds, rows: Sequence[Data]) -> None:
        self.rows = {same(r["constants"]): r for r in rows}
        self.turned = [k for k in runs[0] if k in seeds]
        self.others = [k for k in runs[0] if k not in seeds]
        reports = dict.fromkeys(k for r in rows for k in r["reports"])
        self.reports = [k for k in reports if not k.endswith(".seconds")]
        self.seeds = seeds
        self.groups = by_cell(runs, seeds).values()
        self.shown = not self.turned or any(map(self._of_spec, self.groups))

    def head(self) -> list[str]:
        found = [f"`{k}`" for k in self.others]
        found += [f"`{k}`" for k in self.reports] if self.shown else []
        if self.turned:
            of = "" if self.shown else "`{}`, "
            found += [of.format(k) + "mean over the seeds, least to most" for k in self.reports]
        found += ["time", "seed", "verdict"]
        return [*found, "of the seeds"] if self.turned and self.shown else found

    def lines(self, record: Measurements, older: Older) -> list[list[str]]:
        return [self._line(runs, record, older) for runs in self.groups]

    def _line(self, runs: Sequence[Data], record: Measurements, older: Older) -> list[str]:
        values = [number(runs[0][k]) for k in self.others]
        found = [r for run in runs if (r := self.rows.get(same(run)))]
        shown = self._of_spec(runs)
        if self.shown:
            reports = shown["reports"] if shown else {}
            values += [number(reports.get(k)) for k in self.reports]
        if self.turned:
            values += [spread([r["reports"].get(k) for r in found]) for k in self.reports]
        timed = [shown] if shown else found
        seconds = statistics.fmean(r["seconds"] for r in timed) if timed else 0.0
        of_runs = [r["constants"].get(SEED, record.run_of(r)["seed"]) for r in timed]
        values += [duration(seconds), seeds_of(timed, of_runs)]
        if self.shown:
            values.append(outcome(shown) + older([shown]) if shown else "not run")
        if self.turned:
            values.append(self._of_all(found, len(runs)) + (older(found) if found else ""))
        return values

    def _of_spec(self, runs: Sequence[Data]) -> Data | None:
        """The row that the spec gives without the sweep: its own seeds."""
        own = [r for r in runs if all(r[k] == self.seeds[k] for k in self.turned)]
        return self.rows.get(same(own[0])) if own else None

    def _of_all(self, found: Sequence[Data], wanted: int) -> str:
        """`7 of 10 passed, missed by 0.4`, the worst, counting runs."""
        if not found:
            return "not run"
        left = f", {wanted - len(found)} not run" if len(found) < wanted else ""
        if not any(r["checks"] or "problem" in r for r in found):
            return f"{plural(len(found), 'run')}{left}"
        failed = [[c for c in r["checks"] if c["status"] == "failed"] for r in found]
        broken = [r["problem"] for r in found if "problem" in r]
        met = sum("problem" not in r and not f for r, f in zip(found, failed, strict=True))
        more = f", **failed: {broken[0]}**" if broken else ""
        more += f", **{missed(chain(*failed))}**" if any(failed) else ""
        return f"{met} of {len(found)} passed{more}{left}"


def outcome(row: Data) -> str:
    """The verdict of a row."""
    if "problem" in row:
        return f"**failed: {row['problem']}**"
    return verdict(row["checks"]) if row["checks"] else "reported only"


def spread(values: Sequence[Any]) -> str:
    """The mean, the least and the most of single numbers; nothing where one is a list.

    >>> spread([1.0, 2.0, 6.0]), spread([4.0, 4.0]), spread([None]), spread([[1.0, 2.0]])
    ('3, 1 to 6', '4', '', '')
    """
    found = [x for v in values for x in numbers(v)]
    if not found or len(found) > len(values):
        return ""
    mean, least, most = float(f"{statistics.fmean(found):.4g}"), min(found), max(found)
    return number(mean) + (f", {number(least)} to {number(most)}" if least != most else "")


def seeds_of(found: Sequence[Data], runs: Sequence[int]) -> str:
    """The seeds of the runs that figures or rows come from, then those that phases fixed.

    >>> seeds_of([{}], [0]), seeds_of([{"seeds": {"a": 3}}, {"seeds": {"a": 5}}, {}], [0, 1, 2])
    ('0', '0 to 2; `a`: 3, 5')
    """
    fixed = grouped([each for f in found for each in f.get("seeds", {}).items()], itemgetter(0))
    said = [f"`{phase}`: {_range([n for _, n in some])}" for phase, some in sorted(fixed.items())]
    return "; ".join([_range(runs), *said])


def by_cell(runs: Sequence[Data], seeds: Seeds) -> dict[str, list[Data]]:
    """The runs of a sweep that differ in their seeds alone, together, by what else is varied."""
    return grouped(runs, lambda run: same({k: v for k, v in run.items() if k not in seeds}))


def _range(values: Sequence[Any]) -> str:
    found = sorted(set(values))
    if len(found) > 2 and found == list(range(found[0], found[-1] + 1)):
        return f"{found[0]} to {found[-1]}"
    return ", ".join(map(str, found))


def same(constants: Mapping[str, Any]) -> str:
    """Constants as one key, however their numbers were written."""
    return ", ".join(f"{k}={number(v)}" for k, v in constants.items())
