"""Watched values of a phase: when each is taken, on what, and what it has been.

Without `on`, a watch of every k epochs (or of the whole phase) adds up what the step itself leaves
at each minibatch; one of every k updates is taken on the minibatch at hand before its update, at
updates 0, k, 2k, .... With `on` it is taken over that part of a data set, after k, 2k, ... updates
or epochs, or at the end of the phase. A watch that was never due is taken at the end. In a phase
that is a stream, a part is read as a stream too, with states of the watch's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dln.compiler.plan import WatchReport, WatchSpec, WatchValue
from dln.runtime.data.part import DataPart
from dln.runtime.device.device import DeviceArray
from dln.runtime.execution import phase_result
from dln.runtime.execution.executable import Bound
from dln.runtime.execution.phase_result import History, Reading, Watched, plain
from dln.runtime.readers.sampling_order import stream
from dln.runtime.training.minibatches import windows_of_row
from dln.runtime.training.phase_run import PhaseRun


def nothing(watch: WatchSpec) -> Any:
    """What sums of a watch begin with."""
    return 0.0 if watch.numbers is None else [0.0] * watch.numbers


Sums = list[tuple[DeviceArray, DeviceArray]]
"""What the step leaves at each update, with what it is added to."""


class Watches:
    """The watches of one phase.

    `values` are the latest, `history` all with (update, epoch). Their data are read here, so that
    what is wrong with them is known at the start.
    """

    def __init__(self, run: PhaseRun) -> None:
        phase, device = run.spec, run.state.device
        self.run, self.programs, self.datasets = run, run.state.plan.programs, run.options.datasets
        self.values: dict[str, Watched] = {}
        self.history: History = {}
        self.summed = [w for w in phase.watches if w.on is None and w.program is None]
        self.before = [w for w in phase.watches if w.on is None and w.program is not None]
        self.over = [w for w in phase.watches if w.on is not None]
        self.sums = {w.name: device.array(nothing(w), "float64") for w in self.summed}
        self.since: dict[str, tuple[int, int]] = {w.name: (0, 0) for w in self.summed}
        self.carried: dict[str, dict[str, DeviceArray]] = {}
        for watch in self.over:
            assert watch.program is not None and watch.on is not None
            dtype = self.programs[watch.program].dtype
            part = self.datasets.part(watch.on.data, watch.on.part, dtype)
            if watch.stream is not None:
                windows_of_row(part.n, watch.stream, part.name)
                zeros = {path: np.zeros(shape) for path, shape in watch.carried.items()}
                self.carried[watch.name] = {p: device.array(a, dtype) for p, a in zeros.items()}

    # ---- what the step leaves ------------------------------------------------------------------

    def pairs(self, bound: Bound) -> Sums:
        """Sums with what is to be added to them after each update."""
        return [(self.sums[w.name], bound.values[str(WatchValue(w.name))]) for w in self.summed]

    def add(self, watch: WatchSpec, examples: int, minibatches: int) -> Watched | None:
        """The value of a sum since it was last taken, given what was seen in all."""
        n, b = self.since[watch.name]
        seen = (examples - n) if watch.per_example else (minibatches - b)
        if not seen:
            return None
        total = np.array(self.run.state.device.to_host(self.sums[watch.name]))
        self.sums[watch.name][...] = 0.0
        self.since[watch.name] = (examples, minibatches)
        return plain(total if watch.total else total / seen)

    # ---- programs of their own -----------------------------------------------------------------

    def on_minibatch(self, watch: WatchSpec) -> Watched:
        """A watch on the minibatch at hand."""
        indices = self.run.minibatch()
        return self._over(watch, self.run.part, indices, len(indices))

    def on_part(self, watch: WatchSpec) -> Watched:
        """A watch over a part of a data set, in chunks of what its program is laid out for.

        In a stream, `rows` stretches of it are read side by side, window by window, from states
        that are zero at the start.
        """
        assert watch.program is not None and watch.on is not None
        program, rows = self.programs[watch.program], watch.stream
        part = self.datasets.part(watch.on.data, watch.on.part, program.dtype)
        for state in self.carried.get(watch.name, {}).values():
            state[...] = 0.0
        order = np.arange(part.n) if rows is None else stream(part.n, rows)
        size = rows or (min(part.n, program.capacity) if watch.per_example else part.n)
        return self._over(watch, part, self.run.state.device.array(order, "int64"), size)

    def _over(self, watch: WatchSpec, part: DataPart, order: DeviceArray, size: int) -> Watched:
        """A watch over some examples, so many at a time. Without `total` it is a mean: over the
        examples, or over the chunks where it is no sum."""
        assert watch.program is not None
        own, now = self.carried.get(watch.name), self.run.clock.now()
        total, chunks, to_host = np.array(nothing(watch)), 0, self.run.state.device.to_host
        for _, bound in self.run.over(watch.program, part, order, size, now, own):
            total, chunks = total + to_host(bound.values["watch"]), chunks + 1
        count = len(order) if watch.per_example else chunks
        return plain(total if watch.total else total / count)

    # ---- what has been seen --------------------------------------------------------------------

    def record(self, values: Mapping[str, Watched], update: int, epoch: int) -> None:
        """Take up values that were taken together."""
        self.values.update(values)
        for name, value in values.items():
            self.history.setdefault(name, []).append(Reading(update, epoch, value))

    def report(self, asked: WatchReport) -> float | None:
        """The latest value of a watch, or with a number that of another report: `error[0]` is the
        first, `error[-1]` the one before the latest. None where there is none yet."""
        found = self.values.get(asked.watch)
        if asked.at is not None:
            found = phase_result.report_at(self.history.get(asked.watch, []), asked.at)
        return None if found is None else phase_result.entry(found, asked.entry)

    def taken_at(self, name: str, update: int) -> bool:
        """Whether the latest value of a watch is of this update."""
        return name in self.history and self.history[name][-1].update == update

    def state(self) -> dict[str, Any]:
        """All that a resumed phase needs, as plain data."""
        return {
            "values": dict(self.values),
            "history": {k: list(readings) for k, readings in self.history.items()},
            "sums": {k: plain(self.run.state.device.to_host(v)) for k, v in self.sums.items()},
            "since": {k: list(v) for k, v in self.since.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` has told."""
        self.values = dict(state["values"])
        self.history = phase_result.history_from(state["history"])
        for name in self.sums.keys() & state["sums"].keys():
            self.sums[name][...] = self.run.state.device.array(state["sums"][name], "float64")
            self.since[name] = tuple(state["since"][name])
