"""States that are estimated: `state h = curvature(500) every 1 epoch` in an optimiser.

At the start of an epoch that is due, before its first update, a program of its own runs on the
first examples of that epoch's order, and what it finds stays in the states until the next time.
States are part of a checkpoint. A run resumed within an epoch takes them from there; one resumed
at the start of an epoch estimates again, on the same examples and parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dln.compiler.plan import EstimateSpec, PhaseSpec
from dln.runtime.data.datasets import Part
from dln.runtime.execution.executable import Bound, Executable
from dln.runtime.execution.store import Programs
from dln.runtime.training.minibatches import Batches, updates_of_epoch
from dln.runtime.training.numeric_faults import explained, numerical, strict
from dln.runtime.training.watching import Guard

if TYPE_CHECKING:
    from dln.runtime.session import Session

Now = Mapping[str, float]


class Estimates:
    """The estimated states of one phase over a part of a data set."""

    def __init__(
        self, programs: Programs, spec: PhaseSpec, part: Part, batches: Batches, guard: Guard
    ) -> None:
        self.programs, self.spec, self.part, self.batches = programs, spec, part, batches
        self.guard = guard

    def take(self, update: int, now: Now) -> None:
        """Estimate the states that are due before an update."""
        epoch, place = divmod(update, self.batches.per_epoch)
        for estimate in self.spec.estimates if place == 0 else ():
            if epoch % estimate.every == 0:
                self._estimate(estimate, self.batches.of_epoch(epoch), update, now)

    def _estimate(self, estimate: EstimateSpec, order: Any, update: int, now: Now) -> None:
        """The mean over the sample, in chunks of what the program is laid out for."""
        executable = self.programs.executable(estimate.program, self.spec.name)
        clocks = self.programs.clocks(executable.program, now)
        states = self.programs.states[self.spec.name]
        n = min(estimate.sample, len(order))
        size = min(n, executable.program.capacity)
        for low in range(0, n, size):
            indices = order[low : min(low + size, n)]
            bound = executable.at(len(indices))
            self.part.filler(bound, self.programs.device.xp)(indices, update)
            self.guard(executable, bound, (self.part, indices))
            bound.run(*clocks)
            for path in estimate.states:
                share = bound.values[path] * (len(indices) / n)
                states[path][...] = share if low == 0 else states[path] + share


def before_step(session: Session, spec: PhaseSpec, update: int, now: Now) -> None:
    """Before a single step from Python: as training would estimate, on the spec's own data."""
    count = session.plan.data[spec.data].parts[spec.part][1]
    if not spec.estimates or update % updates_of_epoch(spec, count):
        return
    programs, texts = session.programs, session.plan.texts
    part = session.datasets.part(spec.data, spec.part, programs.plan.programs[spec.step].dtype)
    batches = Batches(spec, part, programs.device, programs.seed_of(spec.name))
    running: list[tuple[Executable, Bound]] = []
    estimates = Estimates(programs, spec, part, batches, lambda e, b, _: running.append((e, b)))
    try:
        with strict(programs.device):
            estimates.take(update, now)
    except (ArithmeticError, ValueError) as e:
        if not numerical(e):
            raise
        where = f"phase {spec.name}, the estimate before update {update}"
        raise explained(e, *running[-1], where, texts) from e
