"""A line search for the strong Wolfe conditions: Nocedal and Wright (2006), algorithms 3.5 and 3.6.

Along a line the loss is f(a), with slope f'(a). A step a is taken where

    f(a) <= f(0) + c1 a f'(0)   and   |f'(a)| <= c2 |f'(0)|

The first condition is loosened by the rounding of the loss, so that a search near the minimum
follows the slopes, which are known better (cf. Hager and Zhang 2005). The next step is the minimum
of the cubic through the last two, their losses and their slopes (3.59).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, isfinite, sqrt

from dln.compiler.plan import DescentSpec


@dataclass(frozen=True)
class Trial:
    """A step that was looked at: loss and slope there, both infinite where there are no numbers."""

    step: float
    loss: float
    slope: float


FARTHEST = 10.0  # how many times as far the next step may lie, and no less than NEAREST farther
NEAREST = 0.01
MARGIN = 0.1  # share of a bracket that the next step keeps from its ends
ROUNDING = 4  # units in the last place by which a loss may be off


class LineSearch:
    """One search. `look(step)` is asked at most `trials` times; `start` is step 0. The `rules` have
    the constants of the strong Wolfe conditions, 0 < c1 < c2 < 1."""

    def __init__(
        self, look: Callable[[float], Trial], start: Trial, rules: DescentSpec, precision: float
    ) -> None:
        self.look, self.start, self.rules = look, start, rules
        self.left = rules.trials
        self.slack = ROUNDING * precision * abs(start.loss)

    def run(self, first: float) -> Trial | None:
        """An acceptable step, else the lowest seen; None where none is lower (algorithm 3.5)."""
        before, step = self.start, first
        while self.left:
            trial = self._look(step)
            if self._high(trial, before):
                return self._zoom(before, trial)
            if self._flat(trial):
                return trial
            if trial.slope >= 0:
                return self._zoom(trial, before)
            least, most = step + NEAREST * (step - before.step), FARTHEST * step
            step = min(max(cubic(before, trial, most), least), most)
            before = trial
        return self._lower(before)

    def _zoom(self, low: Trial, high: Trial) -> Trial | None:
        """Between the lowest step so far and one that is too high or slopes up (algorithm 3.6)."""
        while self.left:
            trial = self._look(between(low, high))
            if self._high(trial, low):
                high = trial
                continue
            if self._flat(trial):
                return trial
            if trial.slope * (high.step - low.step) >= 0:
                high = low
            low = trial
        return self._lower(low)

    def _look(self, step: float) -> Trial:
        self.left -= 1
        return self.look(step)

    def _high(self, trial: Trial, other: Trial) -> bool:
        """Too little decrease, or less than at the other step."""
        enough = self.start.loss + self.rules.c1 * trial.step * self.start.slope
        return not trial.loss <= min(enough, other.loss) + self.slack

    def _flat(self, trial: Trial) -> bool:
        return abs(trial.slope) <= -self.rules.c2 * self.start.slope

    def _lower(self, trial: Trial) -> Trial | None:
        return trial if trial.loss < self.start.loss else None


def between(a: Trial, b: Trial) -> float:
    """The next step in a bracket, not too near to its ends."""
    low, high = sorted((a.step, b.step))
    margin = MARGIN * (high - low)
    middle = (low + high) / 2
    return min(max(cubic(a, b, middle), low + margin), high - margin)


def cubic(a: Trial, b: Trial, otherwise: float) -> float:
    """Where the cubic through two steps is lowest (3.59); `otherwise` where it is nowhere.

    >>> cubic(Trial(0.0, 4.0, -4.0), Trial(1.0, 1.0, -2.0), 9.0)   # (2 - a)^2
    2.0
    """
    width = b.step - a.step
    if not (isfinite(a.loss) and isfinite(b.loss) and width):
        return otherwise
    d1 = a.slope + b.slope - 3 * (b.loss - a.loss) / width
    square = d1 * d1 - a.slope * b.slope
    if not 0 <= square < inf:
        return otherwise
    d2 = sqrt(square) if width > 0 else -sqrt(square)
    below = b.slope - a.slope + 2 * d2
    return b.step - width * (b.slope + d2 - d1) / below if below else otherwise
