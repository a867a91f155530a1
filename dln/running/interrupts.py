"""Ctrl-C and SIGTERM: the first ends training after the update at hand, the second kills."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dln.printing.terminal import Terminal

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def interruptible(terminal: Terminal) -> Iterator[threading.Event]:
    """An event that is set by the first signal; the handlers of before come back at the end."""
    stop = threading.Event()

    def stopped(number: int, frame: Any) -> None:
        stop.set()
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        terminal.say("finishing this update; once more to stop at once")

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {each: signal.signal(each, stopped) for each in SIGNALS}
    try:
        yield stop
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM as a KeyboardInterrupt too, for commands that tidy up after one."""

    def stopped(number: int, frame: Any) -> None:
        raise KeyboardInterrupt("terminated")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stopped)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
