"""How long a phase lasts: in epochs, updates or seconds, as the spec says or as a caller asks; and
how far it has come."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from time import perf_counter
from typing import Any

from dln.compiler.plan import PhaseSpec


def due(every: tuple[int, str] | None, unit: str, count: int) -> bool:
    """Whether something of every k units is due when `count` of them are done."""
    return every is not None and every[1] == unit and count % every[0] == 0


def said_total(spec: PhaseSpec, per_epoch: int) -> int | None:
    """The updates of a phase as it says, None where time ends it."""
    count, unit = spec.duration
    return {"epoch": count * per_epoch, "update": count}.get(unit)


@dataclass(frozen=True)
class Duration:
    """The end of a phase of `per_epoch` updates an epoch, said as `count` of a `unit`.

    `total` is the number of updates in all, None where time alone ends the phase; `limit` the
    seconds, infinite where only updates count. `epochs` takes the place of what the spec says; a
    phase said in updates it can only cut short. `shortened` says that it did.
    """

    count: int
    unit: str
    epochs: int | None
    per_epoch: int
    total: int | None
    limit: float
    shortened: bool

    @classmethod
    def of(cls, spec: PhaseSpec, per_epoch: int, epochs: int | None = None) -> Duration:
        """As a phase says, or for so many epochs."""
        count, unit = spec.duration
        total = said = said_total(spec, per_epoch)
        if epochs is not None:
            wanted = epochs * per_epoch
            total = min(count, wanted) if unit == "update" else wanted
        shortened = total is not None and total < (inf if said is None else said)
        limit = float(count) if unit == "second" else inf
        return cls(count, unit, epochs, per_epoch, total, limit, shortened)

    @property
    def timed(self) -> bool:
        """Whether time ends the phase."""
        return self.limit < inf

    def facts(self) -> dict[str, Any]:
        """What was asked for, as plain data."""
        names = ("count", "unit", "epochs", "per_epoch", "total")
        return {name: getattr(self, name) for name in names}

    def over(self, updates: int, seconds: float) -> bool:
        """Whether so many updates, or so much time, are enough."""
        return (self.total is not None and updates >= self.total) or seconds >= self.limit


class PhaseClock:
    """How far a phase has come: at `update`, the number of updates done. Epoch and place in the
    epoch follow from it, so they are never stored. Where several ranks have `agreed` on the time,
    seconds are as many as that."""

    def __init__(self, duration: Duration) -> None:
        self.duration = duration
        self.update = 0
        self.agreed: float | None = None
        self._before = 0.0
        self._began = perf_counter()

    def start(self) -> None:
        """Seconds count from here, on top of what an earlier run has spent."""
        self._began = perf_counter()

    def restore(self, update: int, seconds: float) -> None:
        """Take up how far an earlier run has come."""
        self.update, self._before = update, seconds

    @property
    def passed(self) -> float:
        """The time spent on training in all, in seconds, by the clock of this process."""
        return self._before + perf_counter() - self._began

    @property
    def seconds(self) -> float:
        """The time spent on training in all, in seconds."""
        return self.passed if self.agreed is None else self.agreed

    @property
    def epoch(self) -> int:
        """How many epochs are done."""
        return self.update // self.duration.per_epoch

    @property
    def between_epochs(self) -> bool:
        return self.update % self.duration.per_epoch == 0

    @property
    def over(self) -> bool:
        """Whether the phase has come to its end."""
        return self.duration.over(self.update, self.seconds)

    def fraction(self, update: int) -> float:
        """How much of the phase is done at an update, 0 to 1."""
        limit, total = self.duration.limit, self.duration.total
        if limit < inf:
            return min(1.0, self.seconds / limit) if limit else 1.0
        return update / total if total else 1.0

    def now(self) -> dict[str, float]:
        """The time as programs read it."""
        return {
            "epoch": float(self.epoch),
            "update": float(self.update),
            "progress": self.fraction(self.update),
        }
