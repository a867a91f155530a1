"""L-BFGS: descent along lines, over all parameters of a phase as one vector.

Directions are those of Nocedal and Wright, Numerical Optimization (2006), algorithm 7.4, with the
scaling (7.20) of the first approximation. The first step tried is 1; without history it is
min(1, 1 / |g|_1), as in minFunc (Schmidt 2005). Dot products are taken in double precision,
whatever the phase's own. Parameters are written in the phase's precision, so a difference of points
is one of points that were really looked at.

What a descent remembers is in states of the phase. Loss and gradient at the parameters at hand are
worked out again when a run is resumed, which gives the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf, isfinite
from types import ModuleType

import numpy as np

from dln.compiler.plan import COUNT, POINTS, SLOPES, DescentSpec, GradientValue
from dln.runtime.device.device import DeviceArray
from dln.runtime.execution.executable import Bound
from dln.runtime.training.linesearch import LineSearch, Trial

Vector = DeviceArray  # a flat array of the device, in double precision
Arrays = Mapping[str, DeviceArray]


class Surface:
    """The loss over the parameters as a function of one vector, [all numbers of all of them].

    `move(x)` makes the parameters x and works out `loss` and `gradient` there.
    """

    def __init__(
        self, xp: ModuleType, paths: tuple[str, ...], params: Arrays, bound: Bound
    ) -> None:
        self.xp, self.bound = xp, bound
        bound.tried = True
        self.params = [params[path] for path in paths]
        self.gradients = [bound.values[str(GradientValue(path))] for path in paths]
        self.clocks: tuple[float, ...] = ()
        self.loss: float = inf
        self.gradient: Vector = None

    def here(self) -> Vector:
        """The parameters, as one vector."""
        return self._flat(self.params)

    def look(self) -> None:
        """Work out loss and gradient where the parameters are."""
        self.bound.run(*self.clocks)
        self.loss = float(self.bound.values["loss"])
        self.gradient = self._flat(self.gradients)

    def move(self, x: Vector) -> None:
        """Set the parameters and look; where numbers are left the loss is infinite."""
        try:
            at = 0
            for array in self.params:
                array[...] = x[at : at + array.size].reshape(array.shape)
                at += array.size
            self.look()
        except FloatingPointError:  # too far along a line, which the search takes back
            self.loss = inf

    def _flat(self, arrays: list[DeviceArray]) -> Vector:
        return self.xp.concatenate([a.reshape(-1) for a in arrays]).astype("float64")


class Pairs:
    """The last differences s of points and y of gradients, in the states of a phase."""

    def __init__(self, xp: ModuleType, states: Arrays) -> None:
        self.xp = xp
        self.s, self.y, self.count = states[POINTS], states[SLOPES], states[COUNT]
        self._row: Vector = xp.zeros(self.s.shape[1], "float64")

    def __len__(self) -> int:
        return min(int(self.count), len(self.s))

    def add(self, s: Vector, y: Vector) -> None:
        """Remember a pair in place of the oldest one, unless it says that the loss bends down."""
        dot = self.xp.dot
        size = float(dot(s, s)) * float(dot(y, y))
        if float(dot(s, y)) > np.finfo(np.float64).eps * size**0.5:
            at = int(self.count) % len(self.s)
            self.s[at], self.y[at] = s, y
            self.count[...] = int(self.count) + 1

    def direction(self, gradient: Vector) -> Vector:
        """-H g for the approximation H of the inverse second derivatives: algorithm 7.4."""
        q, last = -gradient, int(self.count) - 1
        rows = [at % len(self.s) for at in range(last, last - len(self), -1)]
        shares = []  # of each pair 1 / s'y, and its share of q, which is taken away
        for row in rows:
            s = self._read(self.s, row)
            share = float(self.xp.dot(s, q))
            s *= self.y[row]
            rho = 1 / float(s.sum())
            self._take(q, self.y, row, -rho * share)
            shares.append((rho, rho * share))
        if rows:
            y = self._read(self.y, rows[0])
            square = float(self.xp.dot(y, y))
            q *= 1 / (shares[0][0] * square)
        for row, (rho, share) in zip(reversed(rows), reversed(shares), strict=True):
            back = rho * float(self.xp.dot(self._read(self.y, row), q))
            self._take(q, self.s, row, share - back)
        return q

    def _read(self, kept: DeviceArray, row: int) -> Vector:
        """A row in double precision, in the one place there is for it."""
        self._row[...] = kept[row]
        return self._row

    def _take(self, q: Vector, kept: DeviceArray, row: int, factor: float) -> None:
        """q += factor * row, without new memory."""
        held = self._read(kept, row)
        held *= factor
        q += held


class Descent:
    """L-BFGS on a surface. `ended` says why it goes no further, empty where it may."""

    def __init__(self, rules: DescentSpec, xp: ModuleType, states: Arrays) -> None:
        self.rules, self.xp = rules, xp
        self.pairs = Pairs(xp, states)
        self.ended = ""

    def over(self, params: Arrays, bound: Bound) -> Callable[..., None]:
        """One iteration on what a program is bound to, as a function of the clocks. Of the `params`
        the program reads those that its loss has a slope by; the others stay."""
        surface = Surface(self.xp, self.rules.params, params, bound)

        def run(*clocks: float) -> None:
            surface.clocks = clocks
            self.iterate(surface)

        return run

    def iterate(self, surface: Surface) -> None:
        """Search along one direction and go to what was found; `ended` if nothing more is."""
        if surface.gradient is None:
            surface.look()
        if not isfinite(surface.loss) or self._flat_here(surface):
            return
        x, loss, gradient = surface.here(), surface.loss, surface.gradient
        found = self._along(surface, x, self.pairs.direction(gradient))
        if not found and len(self.pairs):  # where the line led nowhere: forget, go straight down
            self.pairs.count[...] = 0
            surface.move(x)
            found = self._along(surface, x, -surface.gradient)
        if not found:
            surface.move(x)
            self.ended = "no lower loss along the line"
            return
        self.pairs.add(surface.here() - x, surface.gradient - gradient)
        if not self._flat_here(surface):
            change = abs(loss - surface.loss) / max(abs(loss), abs(surface.loss), 1.0)
            self.ended = "the loss has settled" if change < self.rules.change_tol else ""

    def _flat_here(self, surface: Surface) -> bool:
        """Whether the largest slope is as good as none."""
        flat = float(abs(surface.gradient).max()) <= self.rules.grad_tol
        if flat:
            self.ended = "the gradient is flat"
        return flat

    def _along(self, surface: Surface, x: Vector, direction: Vector) -> bool:
        """Go to an acceptable point of a line; False where there is none."""
        dot, seen = self.xp.dot, 0.0

        def look(step: float) -> Trial:
            nonlocal seen
            seen = step
            surface.move(x + step * direction)
            slope = float(dot(surface.gradient, direction)) if isfinite(surface.loss) else inf
            return Trial(step, surface.loss if isfinite(slope) else inf, slope)

        start = Trial(0.0, surface.loss, float(dot(surface.gradient, direction)))
        if not start.slope < 0:
            return False
        first = 1.0 if len(self.pairs) else min(1.0, 1 / float(abs(direction).sum()))
        precision = float(np.finfo(str(surface.params[0].dtype)).eps)
        found = LineSearch(look, start, self.rules, precision).run(first)
        if found is not None and found.step != seen:
            look(found.step)
        return found is not None
