"""Rows of the next minibatch, gathered while the messages of the one at hand are under way."""

from __future__ import annotations

from dln.runtime.data.part import Fill
from dln.runtime.device.device import DeviceArray
from dln.runtime.execution.executable import Bound
from dln.runtime.training.minibatches import Minibatches


class Ahead:
    """Fills in the rows of minibatches as `rows` does, those of the next one where `meanwhile` is
    called in the run of one."""

    def __init__(self, rows: Fill, minibatches: Minibatches) -> None:
        self._rows, self._minibatches = rows, minibatches
        self._until = 0
        self._update = -1  # whose rows were asked for last
        self._there = -1  # and whose are there

    def begin(self, bound: Bound, until: int) -> None:
        """Fill in for runs of a step from here on, but not beyond the update before `until`."""
        self._until, self._there = until, -1
        bound.meanwhile = self.meanwhile

    def fill(self, indices: DeviceArray, update: float) -> None:
        """The rows at the indices [n] of an update's minibatch, unless they are there."""
        self._update = int(update)
        if self._there != update:
            self._rows(indices, update)
        self._there = -1

    def meanwhile(self) -> None:
        """The rows of the next minibatch, in the place of those of this one, which is done with
        them. What fails is left to its own turn, to be told of there."""
        update = self._update + 1
        if update < self._until:
            try:
                self._rows(self._minibatches.indices(update), float(update))
                self._there = update
            except Exception:
                self._there = -1

    def back(self) -> None:
        """The rows of the update at hand once more, for who looks at why it has failed."""
        if self._there > self._update:
            self._there = -1
            self._rows(self._minibatches.indices(self._update), float(self._update))
