"""What a phase was at its best report, where that is what it hands on (`keep best by error`).

All values that an update may change are meant: parameters, running means, states of optimisers,
chains. They are copied at each best report and put back at the end; what the phase was last is kept
beside them in the checkpoint of its end, from where it may go on for longer.
"""

from __future__ import annotations

from collections.abc import Mapping

from dln.compiler.plan import new_state
from dln.runtime.checkpoint.checkpoint import Arrays
from dln.runtime.device.device import DeviceArray
from dln.runtime.execution.store import paths_of, put
from dln.runtime.training.phase_run import PhaseRun


class BestSoFar:
    """Copies of the values of a phase at its best report; none before there is one. `last` are
    those at its end, on the host, once others have taken their place."""

    def __init__(self, run: PhaseRun) -> None:
        self.run = run
        steps = (step.program for step in run.steps.values())
        self.paths = list(dict.fromkeys(path for step in steps for path in paths_of(step)))
        self.held: dict[str, DeviceArray] = {}
        self.last: Arrays = {}

    def _now(self) -> dict[str, DeviceArray]:
        """The values as they are, by path, states as `state:<path>`."""
        store, name = self.run.state.store, self.run.spec.name
        states = {str(new_state(path)): a for path, a in store.states[name].items()}
        return {path: store.params[path] for path in self.paths} | states

    def take(self) -> None:
        """Copy the values: they are the best yet."""
        for path, array in self._now().items():
            if path in self.held:
                self.held[path][...] = array
            else:
                self.held[path] = array.copy()

    def hand_on(self) -> None:
        """Put the best values in the place of the last, which are kept."""
        to_host = self.run.state.device.to_host
        self.last = {path: to_host(array) for path, array in self._now().items()}
        for path, array in self._now().items():
            array[...] = self.held[path]
        self.held = {}

    def arrays(self) -> dict[str, Arrays]:
        """What a checkpoint holds of it, by kind, `best` on the way, `last` at the end, and path,
        each of the shape of what it is of."""
        to_host = self.run.state.device.to_host
        best = {path: to_host(array) for path, array in self.held.items()}
        return {kind: named for kind, named in (("best", best), ("last", self.last)) if named}

    def restore(self, kept: Mapping[str, Arrays], reported: bool) -> None:
        """Go on from a checkpoint: with the best values of the way, or, from the end, with the last
        ones again, arrays by kind and path, each of the shape of what it is of. `reported` says
        that there was a best report."""
        if not reported:
            return
        self.take()
        device = self.run.state.device
        for path, values in kept.get("best", {}).items():
            put(device, self.held[path], values)
        now = self._now()
        for path, values in kept.get("last", {}).items():
            put(device, now[path], values)
