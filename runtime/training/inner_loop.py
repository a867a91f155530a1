"""The inner loop: gather a minibatch, run the step, again; nothing else but a look at the clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from time import perf_counter

from dln.grammar.diagnostics import DlnError, Problem
from dln.runtime.data.part import Fill
from dln.runtime.device.device import DeviceArray
from dln.runtime.execution.causes import RATE
from dln.runtime.execution.executable import Bound
from dln.runtime.training.callbacks import Progress, tell
from dln.runtime.training.lbfgs import Descent
from dln.runtime.training.phase_run import PhaseRun
from dln.runtime.training.watching import Sums, Watches

PAUSE = 0.1  # seconds between two looks at the progress


@dataclass
class Feed:
    """The step bound for minibatches of n examples: fill in their fields, then run."""

    bound: Bound
    fill: Fill
    run: Callable[..., None]
    clocks: list[float]
    sums: Sums


def filled(indices: DeviceArray, update: float) -> None:
    """Fills in nothing at the indices [n]: that has been done."""


class InnerLoop:
    """Runs stretches of updates for a phase and tells its hooks how far it is, now and then."""

    def __init__(self, phase: PhaseRun, watches: Watches, descent: Descent | None) -> None:
        self.phase, self.watches, self.descent = phase, watches, descent
        self.clock, self.program = phase.clock, phase.step.program
        self._feeds: dict[int, Feed] = {}

    def start(self) -> None:
        """The rate, in examples a second, counts from here."""
        self._told, self._told_at = perf_counter(), self.clock.update

    def run(self, until: int) -> None:
        """Updates up to number `until`, within one epoch and all of one size.

        Ends earlier where it is asked to stop or the time is over. Costs about 2 microseconds an
        update beyond the step itself. Raises `DlnError` E600 where the loss is no number.
        """
        phase, clock, n = self.phase, self.clock, self.phase.minibatches.size
        feed = self._feed(len(phase.minibatch()))
        indices, update = phase.minibatches.of_epoch(clock.epoch), clock.update
        low = update % clock.duration.per_epoch * n
        fill, run, clocks, sums = feed.fill, feed.run, feed.clocks, feed.sums
        at_epoch, at_update, at_progress = map(self._at, ("epoch", "update", "progress"))
        if at_epoch is not None:
            clocks[at_epoch] = float(clock.epoch)
        fraction, add = clock.fraction, phase.state.device.xp.add
        stopped = phase.options.stop.is_set if phase.options.stop is not None else bool
        phase.watchman.running(phase.step, feed.bound.n, feed.bound, phase.example)
        look = self._told + PAUSE
        try:
            while update < until:
                fill(indices[low : low + n], update)
                if at_update is not None:
                    clocks[at_update] = float(update)
                if at_progress is not None:
                    clocks[at_progress] = fraction(update)
                run(*clocks)
                for total, value in sums:
                    add(total, value, total)
                update += 1
                low += n
                if stopped():
                    break
                if perf_counter() >= look:
                    clock.update = update
                    if self._look(feed):
                        break
                    look = self._told + PAUSE
        finally:
            clock.update = update
        self._loss(feed)

    def _at(self, name: str) -> int | None:
        """Where a clock stands among the arguments of the step."""
        names = self.program.clocks
        return names.index(name) if name in names else None

    def _feed(self, n: int) -> Feed:
        """The step for n examples, bound once: full minibatches first, so memory is taken once."""
        if n not in self._feeds:
            phase, step, state = self.phase, self.phase.step, self.phase.state
            phase.watchman.running(step, n, None, phase.example)
            step.at(phase.minibatches.size)
            bound = step.at(n)
            clocks = state.programs.clocks(self.program, self.clock.now())
            fill, run = phase.part.filler(bound, state.device.xp), bound.run
            if self.descent is not None:  # all its looks are at the same examples
                fill(phase.minibatch(), self.clock.update)
                fill = filled
                run = self.descent.over(state.store.params | step.params, bound)
            self._feeds[n] = Feed(bound, fill, run, clocks, self.watches.pairs(bound))
        return self._feeds[n]

    def _look(self, feed: Feed) -> bool:
        """Tell the progress; True where the time is over."""
        clock, passed = self.clock, perf_counter() - self._told
        done = (clock.update - self._told_at) * self.phase.minibatches.size
        event = Progress(
            phase=self.phase.spec.name,
            epoch=clock.epoch,
            update=clock.update,
            fraction=clock.fraction(clock.update),
            rate=done / max(passed, 1e-9),
            seconds=clock.seconds,
            loss=self._loss(feed),
            watch=self.watches.values,
        )
        tell(self.phase.options.hooks, "progress", event)
        self.start()
        return clock.over

    def _loss(self, feed: Feed) -> float:
        """The loss of the last minibatch; where it is not a number the run ends, on any device."""
        loss = float(feed.bound.values["loss"]) if "loss" in feed.bound.values else 0.0
        if not isfinite(loss):
            at = f"update {self.clock.update - 1}, epoch {self.clock.epoch}"
            message = f"the loss of {self.phase.spec.name} is not a finite number ({at})"
            raise DlnError([Problem("E600", message, remedy=RATE)])
        return loss
