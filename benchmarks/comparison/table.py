"""What a comparison comes to: ratios to the best peer, to the floor, and who computes what others
do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite, nan
from statistics import median
from typing import Any

from benchmarks.comparison.rounds import Measured
from benchmarks.comparison.workloads import Least
from benchmarks.peers import PROGRAMS

AGREE, DRAWN = 1e-4, 0.05  # relative: of the first values; of those with draws of their own


@dataclass(frozen=True)
class Row:
    """One program on one workload. Ratios are medians over rounds of the ratio in each, since the
    speed of a machine drifts; `differs` is how far its first values are from the median, in parts
    of it."""

    name: str
    milliseconds: float
    to_best: float
    to_floor: float
    first_step: float
    peak: int | None
    differs: float


@dataclass(frozen=True)
class Table:
    """A workload: rows with the quickest first, the best peer, what was left out and why."""

    title: str
    kind: str
    goal: float
    best: str
    floor: float
    rows: tuple[Row, ...]
    left_out: Mapping[str, str]
    others: float
    """Cores that other processes used, median over blocks."""
    threads: Mapping[str, int]
    """Those that programs had chosen in the end, of programs that choose."""

    def ratio(self, name: str) -> float:
        """A program's time as a ratio to the best peer; NaN where it has none."""
        return next((r.to_best for r in self.rows if r.name == name), nan)

    @property
    def memory(self) -> float:
        """The peak of dln's process as a ratio to the least of the peers; NaN where unknown."""
        peaks = {r.name: r.peak for r in self.rows if r.peak}
        least = min((p for n, p in peaks.items() if not PROGRAMS[n].ours), default=nan)
        return peaks.get("dln", nan) / least

    @property
    def apart(self) -> list[str]:
        """The programs that compute something else."""
        most = DRAWN if self.kind == "rbm" else AGREE
        return [r.name for r in self.rows if r.differs > most]


def floor_of(least: Least, machine: Mapping[str, Any]) -> float:
    """Milliseconds that a step takes at the least on a machine."""
    limits: Mapping[str, float] = machine["limits"]
    threads: int = machine["threads"]
    curves = least.curves / (limits["curves"] * threads)
    return 1e3 * (least.flops / limits["flops"] + least.bytes / limits["cached"] + curves)


def table(entry: Mapping[str, Any], machine: Mapping[str, Any]) -> Table:
    """The table of a workload's record."""
    measured = {name: Measured(**m) for name, m in entry["programs"].items()}
    timed = {name: m for name, m in measured.items() if m.milliseconds}
    differs = differences({name: m.values for name, m in timed.items()})
    floor = floor_of(Least(**entry["least"]), machine)
    peers = [n for n, m in timed.items() if not PROGRAMS[n].ours]
    best = min(peers, key=lambda n: median(timed[n].milliseconds), default="")
    rows = []
    for name, m in timed.items():
        pairs = zip(m.milliseconds, timed[best].milliseconds, strict=True) if best else []
        middle = median(m.milliseconds)
        to_best = median([a / b for a, b in pairs] or [nan])
        first = nan if m.first_step is None else m.first_step
        rows.append(Row(name, middle, to_best, middle / floor, first, m.peak, differs[name]))
    left_out = {n: m.reason for n, m in measured.items() if m.reason} | entry["absent"]
    busy = [x for m in timed.values() for x in m.others]
    threads = {n: m.threads for n, m in timed.items() if m.threads is not None}
    return Table(
        entry["title"], entry["kind"], entry["goal"], best, floor,
        tuple(sorted(rows, key=lambda r: r.milliseconds)), left_out, median(busy or [0.0]),
        threads,
    )  # fmt: skip


def differences(values: Mapping[str, list[float]]) -> dict[str, float]:
    """How far the sum of each program's first values is from the median, in parts of it; NaN where
    a program gives none."""
    sums = {name: sum(v) for name, v in values.items()}
    known = [s for s in sums.values() if isfinite(s)]
    middle = median(known or [nan])
    return {name: abs(s - middle) / max(abs(middle), 1e-9) for name, s in sums.items()}


# ---- as Markdown -------------------------------------------------------------------------------


def markdown(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    titles = list(titles)
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def number(x: float, form: str = ".2f") -> str:
    return format(x, form) if isfinite(x) else "-"


def detailed(t: Table) -> str:
    """All programs of a workload."""
    rows = [
        [r.name, number(r.milliseconds, ".4g"), number(r.to_best), number(r.to_floor),
         number(r.first_step), str(round(r.peak / 2**20)) if r.peak else "-",
         number(r.differs, ".0e")]
        for r in t.rows
    ]  # fmt: skip
    titles = ("program", "ms", "to best peer", "to floor", "first step s", "peak MiB", "differs")
    said = f"**{t.title}**; floor {t.floor:.4g} ms, best peer {t.best or 'none'}"
    missing = "".join(f"\n{name}: {why}." for name, why in t.left_out.items())
    if t.threads:
        chosen = ", ".join(f"{name} {count}" for name, count in t.threads.items())
        said += f"; threads chosen: {chosen}"
    apart = f"\nComputes something else: {', '.join(t.apart)}." if t.apart else ""
    return f"{said}\n\n{markdown(titles, rows)}\n{apart}{missing}".rstrip()


def summary(tables: Iterable[Table]) -> str:
    """A row for each workload, in ratios alone."""
    ours = [name for name, p in PROGRAMS.items() if p.ours]
    titles = ["workload", "best peer", *ours, "goal", "memory"]
    rows = [
        [t.title, t.best or "-", *(number(t.ratio(name)) for name in ours), number(t.goal),
         number(t.memory)]
        for t in tables
    ]  # fmt: skip
    return markdown(titles, rows)
