"""The inner loop: gather a minibatch, run the step, again; nothing else but a look at the clock.

Somebody looks at the last update before an event and, in between, at every so many-th. The others
leave out what only a report reads. Which ones these are is a matter of their numbers, not of time:
what is found wrong with a loss is found at the same update by every run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from time import perf_counter

from dln.compiler.plan import LOOKED, Heard, Program
from dln.grammar.diagnostics import DlnError, Problem
from dln.runtime.data.part import Fill
from dln.runtime.device.device import DeviceArray
from dln.runtime.execution.causes import RATE
from dln.runtime.execution.executable import Bound, Executable
from dln.runtime.ranks.ranks import nothing
from dln.runtime.training.callbacks import Progress, tell
from dln.runtime.training.lbfgs import Descent
from dln.runtime.training.phase_run import PhaseRun
from dln.runtime.training.shared.ahead import Ahead
from dln.runtime.training.shared.meeting import Meeting, settle
from dln.runtime.training.watching import Sums, Watches

PAUSE = 0.1  # seconds between two looks at the progress
SELDOM = 16  # updates of which one is looked at, at most
OPERATIONS, BYTES = 1e10, 1e10  # in a second: so slow is no machine


def looked_at(program: Program, n: int) -> int:
    """One of how many updates, on n examples, is looked at: of so many as take no longer than the
    pause on a slow machine."""
    return at_most(program, n) if LOOKED in program.clocks else 1


def at_most(program: Program, n: int) -> int:
    """Updates on n examples that take no longer than the pause on a slow machine."""
    seconds = program.flops(n) / OPERATIONS + program.traffic(n) / BYTES
    return max(1, min(SELDOM, int(PAUSE / max(seconds, 1e-9))))


@dataclass
class Feed:
    """A step bound for minibatches of n examples: fill in their fields, then run."""

    step: Executable
    bound: Bound
    fill: Fill
    run: Callable[..., None]
    clocks: list[float]
    sums: Sums
    each: int
    heard: list[tuple[int, Heard]]
    ahead: Ahead | None

    def at(self, name: str) -> int | None:
        """Where a clock stands among the arguments of the step."""
        names = self.step.program.clocks
        return names.index(name) if name in names else None


def filled(indices: DeviceArray, update: float) -> None:
    """Fills in nothing at the indices [n]: that has been done."""


class InnerLoop:
    """Runs stretches of updates for a phase and tells its hooks how far it is, now and then."""

    def __init__(self, phase: PhaseRun, watches: Watches, descent: Descent | None) -> None:
        self.phase, self.watches, self.descent = phase, watches, descent
        self.clock, self.rounds = phase.clock, phase.spec.rounds
        self.meeting: Meeting | None = None
        stop, ranks = phase.options.stop, phase.state.ranks
        self._asked: Callable[[], bool] = bool if stop is None else stop.is_set
        if ranks.count > 1:
            every = at_most(phase.step.program, phase.minibatches.size)
            self.meeting = Meeting(ranks, self._asked, phase.clock, every)
        self._feeds: dict[tuple[int, int], Feed] = {}

    def start(self) -> None:
        """The rate, in examples a second, counts from here, and the time that is agreed on."""
        if self.meeting is not None:
            self.meeting.start()
        self._tell_from_here()

    @property
    def stopped(self) -> bool:
        """Whether it was asked to stop, as all ranks know it alike."""
        return self._asked() if self.meeting is None else self.meeting.stopped

    def _tell_from_here(self) -> None:
        self._told, self._told_at = perf_counter(), self.clock.update

    def run(self, until: int) -> None:
        """Updates up to number `until`, within one epoch and all of one size.

        Ends earlier where it is asked to stop or the time is over. Costs about 2 microseconds an
        update beyond the step itself. Raises `DlnError` E600 where a loss that is looked at is no
        number.
        """
        while self.clock.update < until and not self._stretch(self._alike(until), until):
            pass

    def _alike(self, until: int) -> int:
        """The update before which all run one program, where those of a round run several."""
        update, rounds = self.clock.update, self.rounds
        if not rounds:
            return until
        alike = (u for u in range(update + 1, until) if rounds[u % len(rounds)] != self._turn)
        return next(alike, until)

    @property
    def _turn(self) -> int:
        """Which of the programs the update at hand runs."""
        return self.rounds[self.clock.update % len(self.rounds)] if self.rounds else 0

    def _stretch(self, until: int, event: int) -> bool:
        """Updates of one program; the one before the event is looked at. Whether to end here."""
        phase, clock, n = self.phase, self.clock, self.phase.minibatches.size
        feed, over = self._feed(len(phase.minibatch())), False
        indices, update = phase.minibatches.of_epoch(clock.epoch), clock.update
        low = update % clock.duration.per_epoch * n
        fill, run, clocks, sums = feed.fill, feed.run, feed.clocks, feed.sums
        names = ("epoch", "update", "progress", LOOKED)
        at_epoch, at_update, at_progress, at_looked = (feed.at(name) for name in names)
        each, looked = feed.each, True
        for at, report in feed.heard:
            clocks[at] = self.watches.heard(report)
        if at_epoch is not None:
            clocks[at_epoch] = float(clock.epoch)
        fraction, add = clock.fraction, phase.state.device.xp.add
        stopped = self._asked if self.meeting is None else self.meeting.after_update
        phase.watchman.running(feed.step, feed.bound.n, feed.bound, phase.example)
        if feed.ahead is not None:
            feed.ahead.begin(feed.bound, until)
        look = self._told + PAUSE
        try:
            while update < until:
                fill(indices[low : low + n], update)
                if at_update is not None:
                    clocks[at_update] = float(update)
                if at_progress is not None:
                    clocks[at_progress] = fraction(update)
                if at_looked is not None:
                    looked = update + 1 == event or (update + 1) % each == 0
                    clocks[at_looked] = looked
                run(*clocks)
                for total, value in sums:
                    add(total, value, total)
                update += 1
                low += n
                if over := stopped():
                    break
                if looked and perf_counter() >= look:
                    clock.update = update
                    if over := self._look(feed):
                        break
                    look = self._told + PAUSE
        except (ArithmeticError, ValueError) as e:
            if feed.ahead is not None:
                feed.ahead.back()
            if not looked:
                self._again(feed, e)
            raise
        finally:
            clock.update, feed.bound.meanwhile = update, nothing
        if looked:
            self._loss(feed)
        settle(phase, feed.bound.n)
        return over

    def _again(self, feed: Feed, error: Exception) -> None:
        """An update that has failed once more, with what a report reads, where no parameter has
        changed yet: it may have failed there first."""
        stopped, at = feed.step.stopped(error), feed.at(LOOKED)
        executable, *_ = feed.step.failed(feed.bound)
        if stopped is not None and at is not None and not executable.changed(stopped):
            feed.clocks[at] = True
            feed.bound.again(*feed.clocks)

    def _feed(self, n: int) -> Feed:
        """The step for n examples, bound once: full minibatches first, so memory is taken once."""
        if (key := (n, self._turn)) not in self._feeds:
            phase, step, state = self.phase, self.phase.step, self.phase.state
            phase.watchman.running(step, n, None, phase.example)
            step.at(phase.minibatches.size)
            bound = step.at(n)
            told = self.watches.told(step.program)
            clocks = state.programs.clocks(step.program, self.clock.now(), told)
            heard = [(step.program.clocks.index(c), c) for c in told]
            fill, run, ahead = phase.part.filler(bound, state.device.xp), bound.run, None
            if self.descent is not None:  # all its looks are at the same examples
                fill(phase.minibatch(), self.clock.update)
                fill = filled
                run = self.descent.over(state.store.params | step.params, bound)
            elif state.ranks.count > 1:
                ahead = Ahead(fill, phase.minibatches)
                fill = ahead.fill
            each = looked_at(step.program, n)
            sums = self.watches.pairs(bound)
            self._feeds[key] = Feed(step, bound, fill, run, clocks, sums, each, heard, ahead)
        return self._feeds[key]

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
        self._tell_from_here()
        return clock.over

    def _loss(self, feed: Feed) -> float:
        """The loss of the last minibatch; where it is not a number the run ends, on any device."""
        loss = float(feed.bound.values["loss"]) if "loss" in feed.bound.values else 0.0
        if not isfinite(loss):
            at = f"update {self.clock.update - 1}, epoch {self.clock.epoch}"
            message = f"the loss of {self.phase.spec.name} is not a finite number ({at})"
            raise DlnError([Problem("E600", message, remedy=RATE)])
        return loss
