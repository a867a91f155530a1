"""What follows from all reports of a watch: how long ago the best one is, and by what a plateau has
lowered a rate.

Both are worked out of the history of the watch and of nothing else, so a run that goes on has them
without a word in its checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from dln.compiler.plan import ReportFold
from dln.runtime.execution import phase_result
from dln.runtime.execution.phase_result import Reading


@dataclass
class Folded:
    """A fold as far as it has come: `seen` reports, the `best` of them at (update, epoch), and of a
    plateau how many reports running were no better, how many are still passed over, and the factor.
    """

    rule: ReportFold
    seen: int = 0
    best: float = inf
    at: tuple[int, int] = (0, 0)
    bad: int = 0
    cooling: int = 0
    scale: float = 1.0

    def over(self, rows: Sequence[Reading]) -> float:
        """The number after some reports [reports]; those that were seen are passed over."""
        for row in rows[self.seen :]:
            self._take(row)
        self.seen = len(rows)
        if self.rule.what == "plateau":
            return self.scale
        last = rows[-1] if rows else Reading(0, 0, 0.0)
        counted = last.update - self.at[0], last.epoch - self.at[1]
        return float(counted[self.rule.what == "epoch"])

    def _take(self, row: Reading) -> None:
        value = self.rule.sign * phase_result.entry(row.value, self.rule.entry)
        factor, patience, least, cooldown = 1.0, inf, 0.0, 0.0
        if self.rule.what == "plateau":
            factor, patience, least, cooldown = self.rule.rules
        else:
            (least,) = self.rule.rules
        self.bad += 1
        if value < self.best - least:
            self.best, self.at, self.bad = value, (row.update, row.epoch), 0
        if self.cooling:
            self.cooling, self.bad = self.cooling - 1, 0
        if self.bad >= patience:
            self.scale, self.cooling, self.bad = self.scale * factor, int(cooldown), 0
