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

from dln.compiler.plan import (
    Heard,
    Program,
    ProgramKey,
    ProgramKind,
    ReportFold,
    WatchReport,
    WatchSpec,
    WatchValue,
)
from dln.runtime.data.part import DataPart
from dln.runtime.device.device import DeviceArray
from dln.runtime.execution import phase_result
from dln.runtime.execution.executable import Bound
from dln.runtime.execution.folds import Folded
from dln.runtime.execution.phase_result import History, Reading, Watched, plain
from dln.runtime.readers.sampling_order import stream
from dln.runtime.training.minibatches import windows_of_row
from dln.runtime.training.phase_run import PhaseRun
from dln.runtime.training.shared.dealing_out import pieces


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
        self.first: dict[str, Watched] = {}  # of those that updates hear, before the first one
        self._folds: dict[ReportFold, Folded] = {}
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
        indices, key = self.run.minibatch(), watch.program
        key = ProgramKind.WATCH.of(self.run.spec.name, watch.name) if key is None else key
        return self._over(watch, key, self.run.part, indices, len(indices))

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
        some = watch.per_example or watch.rounds
        size = rows or (min(part.n, program.capacity) if some else part.n)
        indices = self.run.state.device.array(order, "int64")
        if watch.rounds:
            return self._in_rounds(watch, part, indices, size)
        return self._over(watch, watch.program, part, indices, size)

    def _in_rounds(
        self, watch: WatchSpec, part: DataPart, order: DeviceArray, size: int
    ) -> Watched:
        """A watch that is made of sums over all examples, so many at a time, added up in double
        precision."""
        own, now = self.carried.get(watch.name), self.run.clock.now()
        programs, to_host = self.run.state.programs, self.run.state.device.to_host
        known: dict[str, Any] = {}
        for tally, made in watch.rounds:
            for state in (own or {}).values():
                state[...] = 0.0
            sums: dict[str, Any] = {}
            for _, values in pieces(self.run, tally, part, order, size, now, own, known=known):
                for name, value in values.items():
                    sums[name] = sums.get(name, 0.0) + to_host(value).astype("float64")
            known |= sums
            executable, where = programs.executable(made, self.run.spec.name), watch.name
            ready = programs.run_once(executable, known, where, now, len(order))
            known |= programs.values(ready)
        return plain(known["watch"])

    def _over(
        self, watch: WatchSpec, key: ProgramKey, part: DataPart, order: DeviceArray, size: int
    ) -> Watched:
        """A watch over some examples, so many at a time. Without `total` it is a mean: over the
        examples, or over the chunks where it is no sum."""
        own, now = self.carried.get(watch.name), self.run.clock.now()
        heard = self.told(self.programs[key])
        total, chunks, to_host = np.array(nothing(watch)), 0, self.run.state.device.to_host
        for _, values in pieces(self.run, key, part, order, size, now, own, heard):
            total, chunks = total + to_host(values["watch"]), chunks + 1
        count = len(order) if watch.per_example else chunks
        return plain(total if watch.total else total / count)

    # ---- what has been seen --------------------------------------------------------------------

    def record(self, values: Mapping[str, Watched], update: int, epoch: int) -> None:
        """Take up values that were taken together."""
        self.values.update(values)
        for name, value in values.items():
            self.history.setdefault(name, []).append(Reading(update, epoch, value))

    def begin(self) -> None:
        """Take what updates hear of watches as it is before the first update."""
        for watch in self.run.spec.watches:
            if watch.name in self.run.spec.heard and watch.name not in self.first:
                on = self.on_part if watch.on is not None else self.on_minibatch
                self.first[watch.name] = on(watch)

    def told(self, program: Program) -> dict[Heard, float]:
        """What a program of an update hears of watches, by its clocks."""
        clocks = (c for c in program.clocks if isinstance(c, WatchReport | ReportFold))
        return {clock: self.heard(clock) for clock in clocks}

    def heard(self, asked: Heard) -> float:
        """What an update hears of a watch: what was reported, and where there is no such report
        what it was before the first update. A report that is still to come is the latest."""
        if isinstance(asked, ReportFold):
            return self._folded(asked)
        rows = self.history.get(asked.watch, [])
        value: Watched = self.first.get(asked.watch)
        if rows and (asked.at is None or asked.at >= 0):
            value = rows[-1 if asked.at is None else min(asked.at, len(rows) - 1)].value
        elif asked.at is not None and len(rows) + asked.at > 0:
            value = rows[asked.at - 1].value
        return phase_result.entry(value, asked.entry)

    def _folded(self, asked: ReportFold) -> float:
        fold = self._folds.setdefault(asked, Folded(asked))
        return fold.over(self.history.get(asked.watch, []))

    def report(self, asked: Heard) -> float | None:
        """The latest value of a watch, or with a number that of another report: `error[0]` is the
        first, `error[-1]` the one before the latest; or what follows from all. None where there is
        none yet."""
        if isinstance(asked, ReportFold):
            return self._folded(asked) if self.history.get(asked.watch) else None
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
            **({"first": dict(self.first)} if self.first else {}),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` has told."""
        self.values = dict(state["values"])
        self.history = phase_result.history_from(state["history"])
        self.first = dict(state.get("first", {}))
        self._folds.clear()
        for name in self.sums.keys() & state["sums"].keys():
            self.sums[name][...] = self.run.state.device.array(state["sums"][name], "float64")
            self.since[name] = tuple(state["since"][name])
