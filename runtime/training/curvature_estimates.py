"""States that are estimated: `state h = curvature(500) every 1 epoch` in an optimiser.

At the start of an epoch that is due, before its first update, a program of its own runs on the
first examples of that epoch's order, and what it finds stays in the states until the next time.
States are part of a checkpoint. A run resumed within an epoch takes them from there; one resumed
at the start of an epoch estimates again, on the same examples and parameters.
"""

from __future__ import annotations

from collections.abc import Mapping

from dln.compiler.plan import PhaseSpec
from dln.runtime.data.datasets import Datasets
from dln.runtime.execution.numeric_faults import strict
from dln.runtime.execution.run_state import RunState
from dln.runtime.training.minibatches import updates_of_epoch
from dln.runtime.training.phase_run import Options, PhaseRun, prepared
from dln.runtime.training.shared.dealing_out import pieces


def estimate(run: PhaseRun, now: Mapping[str, float]) -> None:
    """Estimate the states that are due at the start of an epoch, before its first update: a mean
    over the sample, in chunks of what the program is laid out for."""
    epoch, states = int(now["epoch"]), run.state.store.states[run.spec.name]
    for spec in run.spec.estimates:
        if epoch % spec.every:
            continue
        order, done = run.minibatches.of_epoch(epoch)[: spec.sample], 0
        size = min(len(order), run.state.plan.programs[spec.program].capacity)
        for count, values in pieces(run, spec.program, run.part, order, size, now):
            for path in spec.states:
                share = values[path] * (count / len(order))
                states[path][...] = share if not done else states[path] + share
            done += count


def before_step(
    state: RunState, datasets: Datasets, spec: PhaseSpec, now: Mapping[str, float]
) -> None:
    """Before a single step from Python: as training would estimate, on the spec's own data."""
    update, count = int(now["update"]), datasets.spec(spec.data, spec.part).parts[spec.part].count
    if spec.estimates and update % updates_of_epoch(spec, count) == 0:
        run = prepared(state, spec, Options(datasets))
        where = f"phase {spec.name}, the estimate before update {update}"
        with run.watchman.over(lambda: where), strict(state.device):
            estimate(run, now)
