"""How many threads: a clock, cores and a program that are made up, so that nothing is timed."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from dln.runtime.device import governor as g
from dln.runtime.device.governor import Governor
from dln.runtime.device.sharing import Sharing
from dln.runtime.device.threads import Threads, cores, idle_seconds


class Machine:
    """Two cores. A run takes `one` seconds with one thread, `two` with two; `stalls` are the runs
    with two, by number, that take the seconds beside them. The other core is idle for a `free`
    part of the time. Every trial finds products that can be shared if there are `shares`."""

    xp: ModuleType = np
    most = 2

    def __init__(self, one: float = 1e-3, two: float = 6e-4, free: float | None = 1.0) -> None:
        self.one, self.two, self.free = one, two, free
        self.stalls: dict[int, float] = {}
        self.crowded, self.learning = False, 0.0
        self.shares: bool | None = True
        self.now, self.rest, self.count, self.twos, self.learnt = 0.0, 0.0, 1, 0, 0

    def clock(self) -> float:
        return self.now

    def idle(self) -> float | None:
        return None if self.free is None else self.rest

    def take(self, count: int) -> None:
        self.count = count

    def record(self) -> None: ...

    def learn(self, patient: bool) -> bool | None:
        self.learnt += 1
        self.now += self.learning
        return self.shares

    def run(self) -> None:
        self.twos += self.count == 2
        took = self.one
        if self.count == 2:
            took = self.stalls.get(self.twos, self.two)
        self.now += took
        self.rest += took * (self.free or 0)

    def train(self, governor: Governor, seconds: float) -> float:
        """Updates for so long; the mean seconds of one."""
        run, start, updates = governor.over(self.run), self.now, 0
        while self.now < start + seconds:
            run()
            updates += 1
            assert self.count == 1  # between two runs there is one thread
        return (self.now - start) / updates


@pytest.mark.parametrize(
    ("two", "threads", "why"),
    [(6e-4, 2, "2 threads take 0.60 of the time of one"),
     (9.8e-4, 1, "2 threads take 0.98 of the time of one"),
     (3e-3, 1, "2 threads take 3.00 of the time of one")],
)  # fmt: skip
def test_the_quicker_one_is_taken(two: float, threads: int, why: str) -> None:
    machine = Machine(two=two)
    governor = Governor(machine)
    machine.train(governor, 60)
    assert governor.threads == threads and governor.why == why
    mean = machine.train(governor, 60)
    assert mean < 1.01 * (two if threads == 2 else machine.one)  # what it takes to look again


def test_busy_cores_are_not_tried() -> None:
    machine = Machine(free=0.3)
    governor = Governor(machine)
    machine.train(governor, 5)
    assert governor.shared == 0 and governor.why == "the other cores are at work"
    machine.free = 0.9  # the others have gone
    machine.train(governor, 5)
    assert governor.threads == 2


def test_where_nobody_tells_what_cores_do_it_is_tried() -> None:
    machine = Machine(free=None)
    governor = Governor(machine)
    machine.train(governor, 1)
    assert governor.threads == 2
    machine.two = 0.1  # others come, and every run waits a hundred times as long
    mean = machine.train(governor, 20)
    assert governor.threads == 1 and "wait" in governor.why
    assert mean < 1.1 * machine.one


def test_one_hiccup_is_none() -> None:
    machine = Machine()
    governor = Governor(machine)
    machine.train(governor, 1)
    for n in range(machine.twos + 10, machine.twos + 20_000, 100):
        machine.stalls[n] = 8e-3
    machine.train(governor, 5)
    assert governor.threads == 2 and machine.learnt == 1
    machine.stalls = {machine.twos + 5: 0.04}
    machine.train(governor, 0.05)
    assert governor.threads == 1  # but more than was saved is too much, at once
    machine.train(governor, 1)
    assert governor.threads == 2 and machine.learnt == 2


def test_hiccups_that_cost_more_than_is_gained_are_too_many() -> None:
    machine = Machine()
    governor = Governor(machine)
    machine.train(governor, 1)
    machine.stalls = dict.fromkeys(range(machine.twos + 10, machine.twos + 2000, 10), 8e-3)
    machine.train(governor, 0.3)
    assert governor.threads == 1 and "wait" in governor.why


def test_a_hiccup_in_a_trial_does_not_decide_it() -> None:
    machine = Machine()
    machine.stalls = {4: 8e-3}
    governor = Governor(machine)
    machine.train(governor, 1)
    assert governor.threads == 2 and machine.learnt == 1
    machine = Machine()
    machine.stalls = {1: 6e-3, 4: 8e-3}  # two of them do
    governor = Governor(machine)
    machine.train(governor, g.WINDOW + 0.1)
    assert governor.threads == 1 and "wait" in governor.why


def test_a_slow_decline_is_seen() -> None:
    machine = Machine()
    governor = Governor(machine)
    machine.train(governor, 1)
    machine.two = 1.5e-3
    assert machine.train(governor, 40) < 1.03 * machine.one
    assert governor.threads == 1


def test_long_runs_are_tried_a_few_times() -> None:
    machine = Machine(one=2.0, two=1.2)
    governor = Governor(machine)
    machine.train(governor, 30)
    assert governor.threads == 2 and governor.single <= 7


def test_short_programs_are_left_alone() -> None:
    machine = Machine()
    governor = Governor(machine)
    machine.train(governor, 0.09)
    assert machine.learnt == 0 and governor.why == "" and "few" in governor.told()["why"]


def test_what_cannot_be_shared_is_not_tried_again() -> None:
    machine = Machine()
    machine.shares = False
    governor = Governor(machine)
    machine.train(governor, 60)
    assert machine.learnt == 1 and machine.twos == 0 and "same bits" in governor.why


def test_waiting_before_a_trial_is_no_better() -> None:
    """Products that are tried by themselves wait as well: it costs one twentieth at most."""
    machine = Machine()
    machine.shares, machine.learning = None, 0.5
    governor = Governor(machine)
    assert machine.train(governor, 120) < 1.06 * machine.one and machine.twos == 0
    assert machine.learnt > 2 and "wait" in governor.why


def test_threads_that_are_asked_for() -> None:
    machine = Machine(two=5e-3, free=0.0)
    governor = Governor(machine, fixed=True)
    machine.train(governor, 1)
    assert (governor.single, governor.threads) == (2, 2) and governor.why == "asked for"
    machine.crowded = True
    machine.train(governor, 1)
    assert governor.threads == 1 and "other threads" in governor.why


def test_a_run_that_fails_gives_the_threads_back() -> None:
    machine = Machine()
    governor = Governor(machine)
    machine.train(governor, 1)

    def fails() -> None:
        raise FloatingPointError

    with pytest.raises(FloatingPointError):
        governor.over(fails)()
    assert machine.count == 1 and governor.threads == 2


def test_a_choice_outlasts_what_others_do_meanwhile() -> None:
    """A program that gets half a second, and then nothing for five, is tried after ten seconds of
    its own; the first run after a pause finds cold caches, and is no stall."""
    machine = Machine(one=3e-4, two=2e-4)
    governor = Governor(machine)
    machine.train(governor, 1)
    for _ in range(12):
        machine.now += 5.0  # of others, which leave no core idle
        machine.stalls = {machine.twos + 1: 4e-3}
        machine.train(governor, 0.5)
        assert governor.threads == 2 and machine.learnt == 1
    machine.train(governor, 5)
    assert governor.threads == 2 and machine.learnt == 2
    machine.now += 5.0
    machine.stalls = {machine.twos + 1: 0.04}  # more than that is one
    governor.over(machine.run)()
    assert governor.threads == 1


def test_the_same_program_bound_anew_begins_with_what_was_chosen() -> None:
    machine = Machine()
    known = Threads(Sharing(lambda count: None), 2, lambda *given: [])
    first = known.governor(("text", 20), fixed=False)
    first.pool = machine
    machine.train(first, 1)
    again, other = (known.governor(key, fixed=False) for key in (("text", 20), ("text", 7)))
    assert first.threads == again.threads == 2 and other.threads == 1
    assert again.why == first.why and (again.single, again.shared) == (0, 0)
    machine.train(again, 4)
    assert machine.learnt == 1


def test_what_the_system_says_of_cores(tmp_path: Path) -> None:
    stat, quota = tmp_path / "stat", tmp_path / "quota"
    stat.write_text("cpu 1 2 3 900 5 6\ncpu0 1 2 3 400 0 6\ncpu1 1 2 3 300 50 6\nintr 5\n")
    ticks = os.sysconf("SC_CLK_TCK")
    assert idle_seconds({1}, stat) == 350 / ticks
    assert idle_seconds(None, stat) == 750 / ticks
    assert idle_seconds(None, quota) is None  # there is no such file
    quota.write_text("100000 100000\n")
    assert cores(quota) == 1
    quota.write_text("max 100000\n")
    assert cores(quota) == cores(stat) >= 1


def test_a_trial_is_short() -> None:
    """What the constants say together: the first choice within some tenths of a second."""
    machine = Machine(one=3e-4, two=2e-4)
    governor = Governor(machine)
    machine.train(governor, g.WINDOW + 0.02)
    assert governor.threads == 2
