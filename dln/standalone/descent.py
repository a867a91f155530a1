"""A descent along lines for files that stand alone, into which it is copied as text: what
`runtime.training.lbfgs` and `linesearch` do, in their order, so that the bits are theirs."""

from __future__ import annotations

from typing import Any

import numpy as np


class LineDescent:
    """L-BFGS over some parameters as one vector: Nocedal and Wright (2006), algorithm 7.4, with a
    line search for the strong Wolfe conditions, 3.5 and 3.6. `look` gives loss and slopes."""

    def __init__(self, params: Any, slopes: Any, state: Any, rules: Any) -> None:
        self.params, self.slopes, self.rules, self.ended = params, slopes, rules, ""
        self.s, self.y = state["descent.points"], state["descent.slopes"]
        self.count: int = 0
        self.loss: float = np.inf
        self.gradient: Any = None

    def here(self) -> Any:
        return np.concatenate([a.reshape(-1) for a in self.params]).astype("float64")

    def see(self) -> None:
        """Loss and gradient where the parameters are."""
        self.left = self.look()
        self.loss, slopes = float(self.left["loss"]), [self.left[k] for k in self.slopes]
        self.gradient = np.concatenate([a.reshape(-1) for a in slopes]).astype("float64")

    def move(self, x: Any) -> None:
        """Set the parameters and look; where numbers are left the loss is infinite."""
        try:
            at = 0
            for array in self.params:
                array[...] = x[at : at + array.size].reshape(array.shape)
                at += array.size
            self.see()
        except FloatingPointError:
            self.loss = np.inf

    def iterate(self, look: Any) -> None:
        """Search along one direction and go to what was found; `ended` if nothing more is."""
        self.look = look
        if self.gradient is None:
            self.see()
        if not np.isfinite(self.loss) or self.flat():
            return
        x, loss, gradient = self.here(), self.loss, self.gradient
        found = self.along(x, self.direction(gradient))
        if not found and self.count:  # where the line led nowhere: forget, go straight down
            self.count = 0
            self.move(x)
            found = self.along(x, -self.gradient)
        if not found:
            self.move(x)
            self.ended = "no lower loss along the line"
            return
        self.remember(self.here() - x, self.gradient - gradient)
        if not self.flat():
            change = abs(loss - self.loss) / max(abs(loss), abs(self.loss), 1.0)
            self.ended = "the loss has settled" if change < self.rules["change_tol"] else ""

    def flat(self) -> bool:
        """Whether the largest slope is as good as none."""
        flat: bool = float(abs(self.gradient).max()) <= self.rules["grad_tol"]
        self.ended = "the gradient is flat" if flat else self.ended
        return flat

    def remember(self, s: Any, y: Any) -> None:
        """A pair of differences, unless it says that the loss bends down."""
        size = float(np.dot(s, s)) * float(np.dot(y, y))
        if float(np.dot(s, y)) > np.finfo(np.float64).eps * size**0.5:
            self.s[self.count % len(self.s)] = s
            self.y[self.count % len(self.s)] = y
            self.count += 1

    def direction(self, gradient: Any) -> Any:
        """-H g for the approximation H of the inverse second derivatives."""
        q, shares = -gradient, []
        kept = min(self.count, len(self.s))
        rows = [k % len(self.s) for k in range(self.count - 1, self.count - 1 - kept, -1)]
        for row in rows:
            s = self.s[row].astype("float64")
            share = float(np.dot(s, q))
            rho = 1 / float((s * self.y[row]).sum())
            q += self.y[row].astype("float64") * (-rho * share)
            shares.append((rho, rho * share))
        if rows:
            y = self.y[rows[0]].astype("float64")
            q *= 1 / (shares[0][0] * float(np.dot(y, y)))
        for row, (rho, share) in zip(reversed(rows), reversed(shares), strict=True):
            back = rho * float(np.dot(self.y[row].astype("float64"), q))
            q += self.s[row].astype("float64") * (share - back)
        return q

    def along(self, x: Any, direction: Any) -> bool:
        """Go to an acceptable point of a line; False where there is none."""
        seen = 0.0

        def look(step: float) -> Any:
            nonlocal seen
            seen = step
            self.move(x + step * direction)
            finite = np.isfinite(self.loss)
            slope = float(np.dot(self.gradient, direction)) if finite else np.inf
            return step, self.loss if np.isfinite(slope) else np.inf, slope

        start = (0.0, self.loss, float(np.dot(self.gradient, direction)))
        if not start[2] < 0:
            return False
        first = 1.0 if self.count else min(1.0, 1 / float(abs(direction).sum()))
        slack = 4 * float(np.finfo(self.params[0].dtype).eps) * abs(start[1])
        found = search(look, start, first, self.rules, slack)
        if found is not None and found[0] != seen:
            look(found[0])
        return found is not None


def search(look: Any, start: Any, first: float, rules: Any, slack: float) -> Any:
    """An acceptable step of a line, else the lowest seen; None where none is lower. What is looked
    at is a step, with loss and slope there."""
    left, before, step = rules["trials"], start, first
    low: Any = None
    high: Any = None

    def too_high(trial: Any, other: Any) -> bool:
        enough = start[1] + rules["c1"] * trial[0] * start[2]
        return not trial[1] <= min(enough, other[1]) + slack

    while left:
        left, trial = left - 1, look(step)
        if too_high(trial, before if low is None else low):
            low, high = (before, trial) if low is None else (low, trial)
        elif abs(trial[2]) <= -rules["c2"] * start[2]:
            return trial
        elif low is None and trial[2] >= 0:
            low, high = trial, before
        elif low is None:
            least, most = step + 0.01 * (step - before[0]), 10.0 * step
            step, before = min(max(cubic(before, trial, most), least), most), trial
            continue
        else:
            high = low if trial[2] * (high[0] - low[0]) >= 0 else high
            low = trial
        one, other = sorted((low[0], high[0]))
        margin, middle = 0.1 * (other - one), (one + other) / 2
        step = min(max(cubic(low, high, middle), one + margin), other - margin)
    last = before if low is None else low
    return last if last[1] < start[1] else None


def cubic(a: Any, b: Any, otherwise: float) -> float:
    """Where the cubic through two steps is lowest (3.59); `otherwise` where it is nowhere."""
    width = b[0] - a[0]
    if not (np.isfinite(a[1]) and np.isfinite(b[1]) and width):
        return otherwise
    d1 = a[2] + b[2] - 3 * (b[1] - a[1]) / width
    square = d1 * d1 - a[2] * b[2]
    if not 0 <= square < np.inf:
        return otherwise
    d2 = square**0.5 if width > 0 else -(square**0.5)
    below = b[2] - a[2] + 2 * d2
    return float(b[0] - width * (b[2] + d2 - d1) / below if below else otherwise)
