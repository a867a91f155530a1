"""Where the ranks of a run agree on what each of them alone would know: signals and the time.

A signal reaches ranks at different updates, and clocks go apart. So the ranks meet after updates
that are known by their numbers, tell one another who was asked to stop, and take the time of rank
0. Between two meetings nothing that they do hangs on either. One process does not meet.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

import numpy as np

from dln.grammar.diagnostics import Fault
from dln.runtime.execution.run_state import RunState
from dln.runtime.ranks.ranks import Ranks, shares
from dln.runtime.training.duration import PhaseClock
from dln.runtime.training.phase_run import PhaseRun

STOP, TIME = 0, 1  # columns of what is said


class Meeting:
    """Whether a phase is to end after the update at hand, as all ranks know it alike.

    `asked` says whether this rank was told to stop. Ranks meet after one of `every` updates, and
    after each one where time ends the phase.
    """

    def __init__(
        self, ranks: Ranks, asked: Callable[[], bool], clock: PhaseClock, every: int
    ) -> None:
        self.ranks, self.asked, self.clock = ranks, asked, clock
        self.stopped = False
        self._timed = clock.duration.timed
        self._every = 1 if self._timed else every
        self._left = self._every
        self._said = np.zeros((ranks.count, 2))

    def start(self) -> None:
        """The time, as rank 0 has it, counts from here."""
        if self._timed:
            self.meet()

    def after_update(self) -> bool:
        """Whether the phase is to end here."""
        self._left -= 1
        return not self._left and self.meet()

    def meet(self) -> bool:
        """Tell one another; whether the phase is to end."""
        self._left = self._every
        mine = self._said[self.ranks.index]
        mine[STOP], mine[TIME] = self.asked(), self.clock.passed
        self.ranks.gather(self._said)
        self.stopped = bool(self._said[:, STOP].any())
        if self._timed:
            self.clock.agreed = float(self._said[0, TIME])
        return self.stopped or self.clock.over


def settle(run: PhaseRun, n: int) -> None:
    """Take over the rows of states that belong to examples of other ranks, after updates on n
    examples each: a rank has changed its own."""
    ranks, spec = run.state.ranks, run.spec
    shards = spec.shards or 1
    if ranks.count == 1 or shards == 1:
        return
    dealt = shares(shards, ranks.count)
    rows = [range(n * s.start // shards, n * s.stop // shards) for s in dealt]
    for path in dict.fromkeys((*spec.kept, *spec.carried)):
        ranks.gather(run.state.store.states[spec.name][path][:n], rows)


def same_on_all(state: RunState) -> None:
    """Raise `Fault` E646 where the parameters or states of ranks have gone apart, as on processors
    that round differently. Looked at where a checkpoint is due."""
    ranks = state.ranks
    if ranks.count == 1:
        return
    found = sha256()
    for arrays in (state.store.params, *state.store.states.values()):
        for path in sorted(arrays):
            found.update(np.ascontiguousarray(state.device.to_host(arrays[path])).data)
    digests = np.zeros((ranks.count, found.digest_size), np.uint8)
    digests[ranks.index] = np.frombuffer(found.digest(), np.uint8)
    ranks.gather(digests, once=True)
    for i, digest in enumerate(digests):
        if (digest != digests[0]).any():
            message = f"rank {i} has other numbers than rank 0 after the same updates"
            remedy = "machines of one kind, with the same libraries"
            raise Fault(message, remedy, "E646")


def same_plan(state: RunState) -> None:
    """Raise `Fault` E640 where no phase has shards to be dealt out to ranks, E646 where these were
    given other plans or seeds than the first one."""
    ranks = state.ranks
    if ranks.count == 1:
        return
    if most_shards(state) == 1 and state.plan.phases:
        message = f"minibatches are not summed in shards, which {ranks.count} ranks could share"
        raise Fault(message, f"--shards {ranks.count}, or compile(shards={ranks.count})", "E640")
    mine = (state.plan.fingerprint, state.plan.dtype, state.seed)
    if ranks.first(mine) != mine:
        message = f"rank {ranks.index} has another plan or seed than rank 0"
        raise Fault(message, "the same spec, constants and seed on all machines", "E646")


def idle(state: RunState) -> str:
    """What is to be said where there are ranks that no shard is left for."""
    count, most = state.ranks.count, most_shards(state)
    if count <= most:
        return ""
    some = "do" if count - most > 1 else "does"
    return f"{count} ranks share {most} shards: {count - most} {some} nothing"


def most_shards(state: RunState) -> int:
    """In how many shards a minibatch is summed, of the phase with most."""
    return max((spec.shards or 1 for spec in state.plan.phases.values()), default=1)
