"""Ctrl-C and SIGTERM: the first ends training after the update at hand, the second kills."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

from dln.printing.terminal import Terminal

SIGNALS = (signal.SIGINT, signal.SIGTERM)
Handler = Callable[[int, FrameType | None], None]


@contextmanager
def handled(
    signals: Sequence[signal.Signals], handler: Handler | signal.Handlers
) -> Iterator[None]:
    """Another handler of some signals in here. Where this is not the main thread, which alone may
    set one, they stay as they are."""
    main = threading.current_thread() is threading.main_thread()
    before = {each: signal.signal(each, handler) for each in signals} if main else {}
    try:
        yield
    finally:
        for each, old in before.items():
            signal.signal(each, old)


@contextmanager
def interruptible(terminal: Terminal) -> Iterator[threading.Event]:
    """An event that is set by the first signal; the second ends the process."""
    stop = threading.Event()

    def stopped(number: int, frame: Any) -> None:
        stop.set()
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        terminal.say("finishing this update; once more to stop at once")

    with handled(SIGNALS, stopped):
        yield stop


@contextmanager
def terminable() -> Iterator[threading.Event]:
    """What is inside ends with Ctrl-C or SIGTERM, and the event tells whether it did: for commands
    that tidy up after it."""
    ended = threading.Event()

    def stopped(number: int, frame: Any) -> None:
        raise KeyboardInterrupt("terminated")

    try:
        with handled([signal.SIGTERM], stopped):
            yield ended
    except KeyboardInterrupt:
        ended.set()
