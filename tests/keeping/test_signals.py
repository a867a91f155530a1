"""Signals: stored by their handlers, heard where it is safe; by real processes and from Python."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trials import specs

import dln
from dln.runtime import interrupts
from dln.runtime.interrupts import SignalStop, handled, interruptible, terminable
from dln.runtime.session import Interrupted

FIGURES = str(Path(__file__).with_name("figures.py"))
posix = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


def tried(name: str, count: int) -> dict[str, int]:
    """What came of a trial, in a process of its own, which forks."""
    command = [sys.executable, FIGURES, name, str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@posix
@pytest.mark.parametrize(
    ("name", "count"),
    [("signals", 4), ("starting", 2), pytest.param("signals", 1000, marks=pytest.mark.slow),
     pytest.param("starting", 200, marks=pytest.mark.slow)],
)  # fmt: skip
def test_two_signals_at_once(name: str, count: int) -> None:
    found = tried(name, count)
    early = {f"exit {-n}" for n in (signal.SIGINT, signal.SIGTERM)}  # before the first line of dln
    told = {"trial", "count", "seconds", "exit 0", "exit 130", "before dln"}
    assert found.keys() <= {*told, *early}, found


@posix
def test_a_command_has_hold_of_ctrl_c_before_python_runs_another_file() -> None:
    """A signal at each line and call from the first line of `dln` on ends as it should."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE")}
    command = [sys.executable, "-c", HELD]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    assert int(done.stdout) <= 40


HELD = """
import os, sys, signal
signal = sys.modules.pop("signal")  # as Python begins
lines = 0

def seen(frame, event, given):
    global lines
    if signal.getsignal(signal.SIGINT).__name__ == "left":
        sys.settrace(None)
        print(lines)
        os._exit(0)
    lines += event == "line" and "importlib" not in frame.f_code.co_filename
    return seen

sys.argv = ["dln", "check", "nothing"]
sys.settrace(seen)
from dln.__main__ import start
start()
"""


@pytest.fixture(autouse=True)
def plain() -> Iterator[None]:
    """Ctrl-C as Python begins with it, also where a shell has put the tests behind it."""
    with handled([signal.SIGINT], signal.default_int_handler):
        yield


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the time by which signals are told apart."""
    monkeypatch.setattr(SignalStop, "latest", -1.0)

    def at(seconds: float) -> None:
        monkeypatch.setattr(interrupts, "monotonic", lambda: seconds)

    return at


@posix
def test_signals_close_together_are_one(clock: Any) -> None:
    with interruptible() as stop:
        for seconds in (1.0, 1.0001, 1.4):
            clock(seconds)
            signal.raise_signal(signal.SIGTERM)
        assert stop.is_set()
        clock(1.6)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


@posix
def test_the_second_of_two_does_not_disturb_what_tidies_up(clock: Any) -> None:
    tidied = []
    with terminable():
        clock(1.0)
        try:
            with interruptible() as stop:
                signal.raise_signal(signal.SIGINT)
                assert stop.is_set()
                raise KeyboardInterrupt
        except KeyboardInterrupt:
            clock(1.1)
            signal.raise_signal(signal.SIGINT)
            tidied.append(True)
    assert tidied


@posix
def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), handled([signal.SIGINT], signal.SIG_IGN):
        raise KeyboardInterrupt
    assert signal.getsignal(signal.SIGINT) is before


# ---- from Python ---------------------------------------------------------------------------------


def session() -> Any:
    return dln.load(specs.DATA + specs.MINIBATCH, most=60).compile().session(seed=0)


class Ring:
    """Sends a signal to this process each time that something is reported."""

    def __init__(self, times: int) -> None:
        self.left = times

    def report(self, event: object) -> None:
        for _ in range(2 if self.left > 0 else 0):
            signal.raise_signal(signal.SIGINT)
        self.left -= 1


@posix
def test_ctrl_c_ends_a_training_after_the_update_at_hand(clock: Any) -> None:
    clock(1.0)
    one, other = session(), session()
    with pytest.raises(Interrupted, match="interrupted in fit, update 4"):
        one.train(hooks=[Ring(1)])
    other.train(stop=threading.Event(), epochs=1)
    assert one.results["fit"].updates == other.results["fit"].updates == 4
    assert not one.results["fit"].complete
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@posix
def test_who_has_a_handler_keeps_it() -> None:
    seen: list[int] = []
    with handled([signal.SIGINT], lambda number, _: seen.append(number)):
        session().train(hooks=[Ring(1)])
    assert seen == [signal.SIGINT] * 2


@posix
def test_a_step_is_done_whole(clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    clock(1.0)
    one, other, x = session(), session(), np.ones((2, 2))
    other.step("fit", x=x)
    gone = one.programs.clocks

    def ringing(*given: Any) -> Any:  # in the middle of a step
        signal.raise_signal(signal.SIGINT)
        return gone(*given)

    monkeypatch.setattr(one.programs, "clocks", ringing)
    with pytest.raises(KeyboardInterrupt):
        one.step("fit", x=x)
    assert one.updates["fit"] == other.updates["fit"] == 1
    for path in one.params:
        np.testing.assert_array_equal(one.params[path], other.params[path])


@posix
def test_in_a_thread_signals_are_left_alone() -> None:
    before, seen = signal.getsignal(signal.SIGINT), list[object]()

    class Look:
        def phase_end(self, result: object) -> None:
            seen.append(signal.getsignal(signal.SIGINT))

    one = session()
    thread = threading.Thread(target=lambda: one.train(hooks=[Look()]))
    thread.start()
    thread.join()
    assert seen == [before] and one.results["fit"].complete
