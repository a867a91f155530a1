"""How long a phase lasts: in epochs, updates or seconds, as the spec says or as a caller asks."""

from __future__ import annotations

from math import inf
from time import perf_counter
from typing import Any

from dln.compiler.plan import PhaseSpec
from dln.runtime.training.watching import unit_of


class Duration:
    """The end of a phase of `per_epoch` updates an epoch.

    `total` is the number of updates in all, None where time alone ends the phase; `limit` the
    seconds, infinite where only updates count. `epochs` takes the place of what the spec says; a
    phase said in updates it can only cut short. `shortened` says that it did.
    """

    def __init__(self, spec: PhaseSpec, per_epoch: int, epochs: int | None = None) -> None:
        count, unit = spec.duration[0], unit_of(spec.duration[1])
        self.asked = (count, unit, epochs)
        self.per_epoch = per_epoch
        said = {"epoch": count * per_epoch, "update": count}.get(unit)
        self.total = said
        if epochs is not None:
            wanted = epochs * per_epoch
            self.total = min(count, wanted) if unit == "update" else wanted
        self.shortened = self.total is not None and self.total < (inf if said is None else said)
        self.limit = float(count) if unit == "second" else inf
        self._before = 0.0
        self._began = perf_counter()

    def facts(self) -> dict[str, Any]:
        """What was asked for, as plain data."""
        count, unit, epochs = self.asked
        asked = {"count": count, "unit": unit, "epochs": epochs}
        return {**asked, "per_epoch": self.per_epoch, "total": self.total}

    def start(self) -> None:
        """Seconds count from here, on top of what an earlier run has spent."""
        self._began = perf_counter()

    def restore(self, seconds: float) -> None:
        """What an earlier run has spent."""
        self._before = seconds

    @property
    def seconds(self) -> float:
        return self._before + perf_counter() - self._began

    def fraction(self, update: int) -> float:
        """How much of the phase is done, 0 to 1."""
        if self.limit < inf:
            return min(1.0, self.seconds / self.limit) if self.limit else 1.0
        return update / self.total if self.total else 1.0

    def over(self, update: int) -> bool:
        """Whether the phase has come to its end."""
        return (self.total is not None and update >= self.total) or self.seconds >= self.limit
