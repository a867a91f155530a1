"""The inner loop: gather a minibatch, run the step, again; nothing else but a look at the clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from time import perf_counter
from typing import TYPE_CHECKING, Any

from dln.runtime.execution.executable import Bound
from dln.runtime.training.callbacks import Progress
from dln.runtime.training.numeric_faults import not_finite
from dln.runtime.training.watching import Sums

if TYPE_CHECKING:
    from dln.runtime.training.phase_trainer import Training

PAUSE = 0.1  # seconds between two looks at the progress


@dataclass
class Feed:
    """The step bound for minibatches of n examples: fill in their fields, then run."""

    bound: Bound
    fill: Callable[[Any, float], None]
    run: Callable[..., None]
    clocks: list[float]
    sums: Sums


def once(fill: Callable[[Any, float], None]) -> Callable[[Any, float], None]:
    """Fills in the first time only."""
    left = [fill]

    def filled(indices: Any, update: float) -> None:
        while left:
            left.pop()(indices, update)

    return filled


class Loop:
    """Runs stretches of updates for a phase and tells its hooks how far it is, now and then."""

    def __init__(self, training: Training) -> None:
        self.training = training
        self.program = training.step.program
        self._feeds: dict[int, Feed] = {}
        self._told, self._told_at = perf_counter(), training.update

    def start(self) -> None:
        """The rate counts from here."""
        self._told, self._told_at = perf_counter(), self.training.update

    def run(self, until: int) -> None:
        """Updates up to number `until`, within one epoch and all of one size.

        Ends earlier where it is asked to stop or the time is over. Costs about 2 microseconds an
        update beyond the step itself.
        """
        t, n = self.training, self.training.batches.size
        feed = self._feed(len(t.minibatch()))
        indices, update = t.batches.of_epoch(t.epoch), t.update
        low = update % t.per_epoch * n
        fill, run, clocks, sums = feed.fill, feed.run, feed.clocks, feed.sums
        at_update, at_progress = self._at("update"), self._at("progress")
        self._set_epoch(clocks)
        fraction, add = t.duration.fraction, t.programs.device.xp.add
        stopped = t.options.stop.is_set if t.options.stop is not None else bool
        t.watchman.running(t.step, feed.bound, None)
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
                    t.update = update
                    if self._look(feed):
                        break
                    look = self._told + PAUSE
        finally:
            t.update = update
        self._loss(feed)

    def _at(self, clock: str) -> int | None:
        """Where a clock stands among the arguments of the step."""
        names = self.program.clocks
        return names.index(clock) if clock in names else None

    def _set_epoch(self, clocks: list[float]) -> None:
        at = self._at("epoch")
        if at is not None:
            clocks[at] = float(self.training.epoch)

    def _feed(self, n: int) -> Feed:
        """The step for n examples, bound once: full minibatches first, so memory is taken once."""
        if n not in self._feeds:
            t = self.training
            t.step.at(t.batches.size)
            bound = t.step.at(n)
            clocks = t.programs.clocks(self.program, t.now())
            fill, run = t.part.filler(bound, t.programs.device.xp), bound.run
            if t.descent is not None:  # all its looks are at the same examples
                fill, run = once(fill), t.descent.over(t.programs.params | t.step.params, bound)
            self._feeds[n] = Feed(bound, fill, run, clocks, t.watches.pairs(bound))
        return self._feeds[n]

    def _look(self, feed: Feed) -> bool:
        """Tell the progress; True where the time is over."""
        t, passed = self.training, perf_counter() - self._told
        done = (t.update - self._told_at) * t.batches.size
        event = Progress(
            phase=t.spec.name,
            epoch=t.epoch,
            update=t.update,
            fraction=t.duration.fraction(t.update),
            rate=done / max(passed, 1e-9),
            seconds=t.duration.seconds,
            loss=self._loss(feed),
            watch=t.watches.values,
        )
        t.options.hooks.call("progress", event)
        self.start()
        return t.duration.over(t.update)

    def _loss(self, feed: Feed) -> float:
        """The loss of the last minibatch; where it is not a number the run ends, on any device."""
        t = self.training
        loss = float(feed.bound.values["loss"]) if "loss" in feed.bound.values else 0.0
        if not isfinite(loss):
            raise not_finite(t.spec.name, t.update - 1, t.epoch)
        return loss
