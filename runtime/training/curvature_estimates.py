"""States that are estimated: `state h = curvature(500) every 1 epoch` in an optimiser.

At the start of an epoch that is due, before its first update, a program of its own runs on the
first examples of that epoch's order, and what it finds stays in the states until the next time.
States are part of a checkpoint. A run resumed within an epoch takes them from there; one resumed
at the start of an epoch estimates again, on the same examples and parameters.
"""

from __future__ import annotations

from collections.abc import Mapping

from dln.compiler.plan import EstimateSpec, PhaseSpec
from dln.runtime.data.datasets import Datasets
from dln.runtime.data.part import DataPart
from dln.runtime.device.device import DeviceArray
from dln.runtime.execution.numeric_faults import Watchman, strict
from dln.runtime.execution.programs import Programs
from dln.runtime.execution.run_state import RunState
from dln.runtime.training.minibatches import Minibatches, updates_of_epoch

Now = Mapping[str, float]


class Estimates:
    """The estimated states of one phase over a part of a data set."""

    def __init__(
        self,
        programs: Programs,
        spec: PhaseSpec,
        part: DataPart,
        minibatches: Minibatches,
        watchman: Watchman,
    ) -> None:
        self.programs, self.spec, self.part = programs, spec, part
        self.minibatches, self.watchman = minibatches, watchman

    def take(self, now: Now) -> None:
        """Estimate the states that are due at the start of an epoch, before its first update."""
        epoch = int(now["epoch"])
        for estimate in self.spec.estimates:
            if epoch % estimate.every == 0:
                self._estimate(estimate, self.minibatches.of_epoch(epoch), now)

    def _estimate(self, estimate: EstimateSpec, order: DeviceArray, now: Now) -> None:
        """The mean over the sample, in chunks of what the program is laid out for."""
        executable = self.programs.executable(estimate.program, self.spec.name)
        clocks = self.programs.clocks(executable.program, now)
        states = self.programs.store.states[self.spec.name]
        n = min(estimate.sample, len(order))
        size, done = min(n, executable.program.capacity), 0
        for indices, bound in self.part.filled(executable, order[:n], size, now["update"]):
            self.watchman.running(executable, bound.n, bound, self.part.called(indices))
            bound.run(*clocks)
            for path in estimate.states:
                share = bound.values[path] * (len(indices) / n)
                states[path][...] = share if not done else states[path] + share
            done += len(indices)


def before_step(state: RunState, datasets: Datasets, spec: PhaseSpec, now: Now) -> None:
    """Before a single step from Python: as training would estimate, on the spec's own data."""
    update = int(now["update"])
    count = state.plan.data[spec.data].parts[spec.part][1]
    if not spec.estimates or update % updates_of_epoch(spec, count):
        return
    programs, watchman = state.programs, Watchman(state.plan.texts)
    part = datasets.part(spec.data, spec.part, state.plan.programs[spec.step].dtype)
    minibatches = Minibatches(spec, part, state.device, programs.seed_of(spec.name))
    estimates = Estimates(programs, spec, part, minibatches, watchman)
    where = f"phase {spec.name}, the estimate before update {update}"
    with watchman.over(lambda: where), strict(state.device):
        estimates.take(now)
