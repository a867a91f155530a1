"""Training: a phase's minibatches in order, with what happens between them.

A phase is at `update`, the number of updates done; epoch and place in the epoch follow from it, so
they are never stored. Between two events (a watch, a checkpoint, the end of an epoch) the inner
loop only gathers a minibatch and runs the step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from math import inf, isfinite
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from dln.compiler.plan import PhaseSpec, WatchSpec
from dln.grammar.diagnostics import Fault
from dln.runtime.batches import Batches
from dln.runtime.conditions import Conditions
from dln.runtime.datasets import Datasets, Part
from dln.runtime.executable import Bound
from dln.runtime.faults import Watchman, not_finite
from dln.runtime.hooks import Hooks, Progress, Report, Started
from dln.runtime.results import PhaseResult
from dln.runtime.rundir import RunDirectory
from dln.runtime.watching import Sums, Watches, due, unit_of

if TYPE_CHECKING:
    from dln.runtime.session import Session

PAUSE = 0.1  # seconds between two looks at the progress
NEVER = 1 << 62


class Stop(Protocol):
    """What `threading.Event` has: set from elsewhere to end training after the update at hand."""

    def is_set(self) -> bool: ...


class Interrupted(KeyboardInterrupt):
    """Training was asked to stop, and has stopped after an update; what was done is kept."""


@dataclass
class Options:
    """How a run differs from what the spec says, and who is told of it."""

    datasets: Datasets
    epochs: int | None = None
    hooks: Hooks = field(default_factory=Hooks)
    stop: Stop | None = None
    save: Callable[[Training, bool], None] | None = None
    rundir: RunDirectory | None = None


@dataclass
class Feed:
    """The step bound for minibatches of n examples."""

    bound: Bound
    fill: Callable[[Any, float], None]
    clocks: list[float]
    sums: Sums


class Training:
    """One phase under way."""

    def __init__(self, session: Session, spec: PhaseSpec, options: Options) -> None:
        self.session, self.spec, self.options = session, spec, options
        self.programs = session.programs
        self.step = self.programs.executable(spec.step, spec.name)
        program = self.step.program
        self.part: Part = options.datasets.part(spec.data, spec.part, program.dtype)
        seed = self.programs.seed_of(spec.name)
        self.batches = Batches(spec, self.part, self.programs.device, seed)
        self.per_epoch = self.batches.per_epoch
        self.total, self.shortened = self._total()
        self.limit = spec.duration[0] if unit_of(spec.duration[1]) == "second" else inf
        self.watchman = Watchman(self.programs.plan.texts)
        self.watches = Watches(self.programs, options.datasets, spec, self.watchman.running)
        self.watches.prepare()
        self.update = 0
        guard = self.watchman.running
        self.conditions = Conditions(self.programs, spec, self.watches, guard)
        self.result = PhaseResult(spec.name, shortened=self.shortened)
        self.seconds_before = 0.0
        self._improved = False
        self._began = self._told = perf_counter()
        self._told_update = 0
        self._feeds: dict[int, Feed] = {}
        self._order: tuple[int, Any] = (-1, None)

    def _total(self) -> tuple[int | None, bool]:
        """Updates in all, None where time alone ends the phase; and whether that is cut short."""
        count, unit = self.spec.duration[0], unit_of(self.spec.duration[1])
        said = {"epoch": count * self.per_epoch, "update": count}.get(unit)
        asked = self.options.epochs
        total = said
        if asked is not None:
            wanted = asked * self.per_epoch
            total = wanted if unit != "update" else min(count, wanted)
        fewer = self.part.n < self._examples_said()
        return total, fewer or (total is not None and total < (NEVER if said is None else said))

    def _examples_said(self) -> int:
        limited = self.options.datasets.limit is not None
        return self.session.plan.data[self.spec.data].parts[self.spec.part][1] if limited else 0

    # ---- where it is ---------------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        return self.update // self.per_epoch

    @property
    def seconds(self) -> float:
        return self.seconds_before + perf_counter() - self._began

    def fraction(self) -> float:
        """How much of the phase is done, 0 to 1."""
        if self.limit < inf:
            return min(1.0, self.seconds / self.limit) if self.limit else 1.0
        return self.update / self.total if self.total else 1.0

    def now(self) -> dict[str, float]:
        """The clocks."""
        now = {"epoch": float(self.epoch), "update": float(self.update)}
        return {**now, "progress": self.fraction()}

    def seen(self) -> tuple[int, int]:
        """Examples and minibatches so far."""
        return self.batches.seen(self.update), self.update

    def minibatch(self) -> Any:
        """The minibatch at hand, as indices into the part."""
        return self.batches.indices(self.update)

    # ---- the phase -----------------------------------------------------------------------------

    def run(self) -> PhaseResult:
        """Train to the end of the phase. Raises `Interrupted`, and `DlnError` for bad numbers."""
        self._began = self._told = perf_counter()
        self._told_update = self.update
        self.options.hooks.call("phase_start", self._started())
        with self.watchman.over(self), strict(self.programs.device):
            while not self._finished():
                self._before_update()
                self._updates(self._next_event())
                ended = self._after_update()
                if ended:
                    break
                if self._stopped():
                    self._keep()
                    raise Interrupted(f"interrupted in {self.spec.name}, update {self.update}")
            self._end()
        self.options.hooks.call("phase_end", self.result)
        return self.result

    def _started(self) -> Started:
        spec, n = self.spec, self.part.n
        return Started(spec.name, self.update, self.total, self.per_epoch, n, self.batches.size)

    def _finished(self) -> bool:
        reached = self.total is not None and self.update >= self.total
        return reached or self.seconds >= self.limit

    def _stopped(self) -> bool:
        return self.options.stop is not None and self.options.stop.is_set()

    def _before_update(self) -> None:
        """Watches on the minibatch at hand, before it is learned from."""
        wanted = [w for w in self.watches.before if due(w.every, "update", self.update)]
        if wanted:
            indices, now = self.minibatch(), self.now()
            part = self.part
            self._report({w.name: self.watches.on_minibatch(w, part, indices, now) for w in wanted})

    def _after_update(self) -> bool:
        """Watches, `until` and checkpoints that are due now; True where the phase is over.

        Nothing is saved once `until` holds: resumed from there, the phase would go on. Its end
        is saved in a moment.
        """
        ends_epoch = self.update % self.per_epoch == 0
        values = self._taken(lambda w: due(w.every, "update", self.update))
        if ends_epoch:
            values |= self._taken(lambda w: due(w.every, "epoch", self.epoch))
        self._improved = bool(values) and self._report(values)
        if (values or ends_epoch) and self.conditions.until(self.now()):
            return True
        if self._improved or self._keep_due(ends_epoch):
            self._keep()
        return False

    def _taken(self, wanted: Callable[[WatchSpec], bool]) -> dict[str, float]:
        """The values of the watches that are wanted, but for those on the minibatch."""
        values = {}
        for w in self.watches.summed:
            if wanted(w):
                value = self.watches.add(*self.seen(), w.name)
                if value is not None:
                    values[w.name] = value
        for w in self.watches.over:
            if wanted(w):
                values[w.name] = self.watches.on_part(w, self.now())
        return values

    def _end(self) -> None:
        """Watches of the whole phase, and those that were never due; then the result."""
        known = self.watches.values
        values = self._taken(lambda w: w.every is None or w.name not in known)
        for w in self.watches.before:
            if w.name not in known and self.update:
                value = self.watches.on_minibatch(w, self.part, self.minibatch(), self.now())
                values[w.name] = value
        if values:
            self._improved |= self._report(values)
        self._fill_result(complete=True)
        self.session.take_up(self.result)
        if self.options.save is not None:
            self.options.save(self, self._improved)

    def _fill_result(self, complete: bool = False) -> None:
        result = self.result
        result.epochs, result.updates, result.seconds = self.epoch, self.update, self.seconds
        result.watch, result.history = dict(self.watches.values), self.watches.history
        result.complete = complete
        self.session.updates[self.spec.name] = self.update

    # ---- the inner loop ------------------------------------------------------------------------

    def _next_event(self) -> int:
        """The number of updates at which something is due next."""
        found = [self.batches.alike(self.update)]
        every = [w.every for w in self.spec.watches] + [k.every for k in self.spec.keeps]
        for each in every:
            if each is not None and unit_of(each[1]) == "update":
                found.append((self.update // each[0] + 1) * each[0])
        return min([*found, NEVER if self.total is None else self.total])

    def _updates(self, until: int) -> None:
        """Updates up to number `until`, within one epoch and all of one size."""
        feed, n = self._feed(len(self.minibatch())), self.batches.size
        indices, update = self.batches.of_epoch(self.epoch), self.update
        low = update % self.per_epoch * n
        fill, run, clocks, add = feed.fill, feed.bound.run, feed.clocks, self.programs.device.xp.add
        names = self.step.program.clocks
        at_update = names.index("update") if "update" in names else None
        at_progress = names.index("progress") if "progress" in names else None
        self._set_epoch(names, clocks)
        stopped = self.options.stop.is_set if self.options.stop is not None else bool
        self.watchman.running(self.step, feed.bound, None)
        look = self._told + PAUSE
        try:
            while update < until:
                fill(indices[low : low + n], update)
                if at_update is not None:
                    clocks[at_update] = float(update)
                if at_progress is not None:
                    self.update = update
                    clocks[at_progress] = self.fraction()
                run(*clocks)
                for total, value in feed.sums:
                    add(total, value, total)
                update += 1
                low += n
                if stopped():
                    break
                if perf_counter() >= look:
                    self.update = update
                    if self._look(feed):
                        break
                    look = self._told + PAUSE
        finally:
            self.update = update
        self._loss(feed)

    def _set_epoch(self, names: Sequence[str], clocks: list[float]) -> None:
        if "epoch" in names:
            clocks[names.index("epoch")] = float(self.epoch)

    def _look(self, feed: Feed) -> bool:
        """Tell the progress, now and then; True where the time is over."""
        now = perf_counter()
        loss = self._loss(feed)
        examples = (self.update - self._told_update) * self.batches.size
        rate = examples / max(now - self._told, 1e-9)
        at = (self.spec.name, self.epoch, self.update, self.fraction(), rate, self.seconds)
        self.options.hooks.call("progress", Progress(*at, loss, self.watches.values))
        self._told, self._told_update = perf_counter(), self.update
        return self.seconds >= self.limit

    def _loss(self, feed: Feed) -> float:
        """The loss of the last minibatch; not a number ends the run on any device."""
        loss = float(feed.bound.values["loss"]) if "loss" in feed.bound.values else 0.0
        if not isfinite(loss):
            raise not_finite(self.spec.name, self.update - 1, self.epoch)
        return loss

    def _feed(self, n: int) -> Feed:
        """The step for n examples, bound once: full minibatches first, so memory is taken once."""
        if n not in self._feeds:
            self.step.at(self.batches.size)
            bound = self.step.at(n)
            clocks = self.programs.clocks(self.step.program, self.now())
            fill = self.part.filler(bound, self.programs.device.xp)
            self._feeds[n] = Feed(bound, fill, clocks, self.watches.pairs(bound))
        return self._feeds[n]

    # ---- reports, until, checkpoints -----------------------------------------------------------

    def _report(self, values: Mapping[str, float]) -> bool:
        """Make values known; True where a checkpoint is kept by one that is the best yet."""
        self.watches.record(values, self.update, self.epoch)
        self.options.hooks.call("report", Report(self.spec.name, self.epoch, self.update, values))
        return self.conditions.better(self.now())

    def _keep_due(self, ends_epoch: bool) -> bool:
        every = [k.every for k in self.spec.keeps]
        by_epoch = ends_epoch and any(due(e, "epoch", self.epoch) for e in every)
        return by_epoch or any(due(e, "update", self.update) for e in every)

    def _keep(self) -> None:
        self._fill_result()
        if self.options.save is not None:
            self.options.save(self, self._improved)
        self._improved = False

    def keep_first(self) -> None:
        """Keep the fields of the first minibatch, for checks."""
        fields = self.part.fields(self.minibatch(), 0.0)
        self.result.first = {k: self.programs.device.to_host(a) for k, a in fields.items()}

    # ---- going on ------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Where the phase is, as plain data; the arrays are the session's."""
        place = {"phase": self.spec.name, "update": self.update, "seconds": self.seconds}
        best = self.conditions.state()
        sizes = {"examples": self.part.n, "batch": self.batches.size}
        return {**place, **sizes, "best": best, "watches": self.watches.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where another run of the phase was. Raises `Fault` where the data differ."""
        for key, mine in {"examples": self.part.n, "batch": self.batches.size}.items():
            if state[key] != mine:
                message = f"the run used {key} {state[key]:,}, this one {mine:,}"
                raise Fault(message, "resume with the options of the first run", "E561")
        self.update, self.seconds_before = int(state["update"]), float(state["seconds"])
        self.conditions.restore(state["best"])
        self.watches.restore(state["watches"])


def strict(device: Any) -> Any:
    """NumPy raises where a number overflows or loses its meaning; underflow is harmless."""
    if device.xp is np:
        return np.errstate(over="raise", invalid="raise", divide="raise")
    return nullcontext()
