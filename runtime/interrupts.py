"""Ctrl-C and SIGTERM: asked to stop, a run ends its update and saves; asked again, it just stops.

A handler runs between any two instructions: within another handler, or while a lock is held that it
would wait for. So it takes none: it stores a number, writes bytes past all buffers, or raises.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from time import monotonic
from types import FrameType

from dln.runtime.training.phase_trainer import Interrupted

PLAIN = import_module("_signal")
"""What `signal` is made of, whose own functions turn handlers into members of an enumeration, and
back: that takes ten times as long."""
INT, DEFAULT = int(signal.SIGINT), signal.default_int_handler
SIGNALS = (signal.SIGINT, signal.SIGTERM)
TOGETHER = 0.5
"""Seconds: signals as close as that are one, for wrappers pass on what a terminal has sent too."""
WARNINGS = (signal.SIGUSR1,)
"""What schedulers send before the time is up, and `mpirun` passes on to all ranks."""
Handler = Callable[[int, FrameType | None], None]


class SignalStop:
    """Whether a signal has come: stored as `since`, the time in seconds when it came, and looked at
    by who can stop.

    A later one, or with `at_once` the first, raises KeyboardInterrupt. `said` is written to stderr
    when the first comes.
    """

    latest = -TOGETHER
    """When the process got one, whoever was to look at it."""

    def __init__(self, at_once: bool = False, said: bytes = b"") -> None:
        self.at_once, self.said, self.since = at_once, said, 0.0

    def is_set(self) -> bool:
        return self.since > 0.0

    def arrived(self, number: int, frame: FrameType | None) -> None:
        """The handler. Raises KeyboardInterrupt for a later signal, or with `at_once` for the
        first."""
        now, latest, since = monotonic(), SignalStop.latest, self.since
        if now - latest < TOGETHER:
            return
        SignalStop.latest = self.since = now
        if since or self.at_once:
            raise KeyboardInterrupt("interrupted")
        if self.said:
            os.write(2, self.said)


@contextmanager
def handled(
    signals: Sequence[signal.Signals], handler: Handler | signal.Handlers
) -> Iterator[None]:
    """Another handler of some signals in here. Where this is not the main thread, which alone may
    set one, they stay as they are."""
    main = threading.current_thread() is threading.main_thread()
    before = {each: signal.getsignal(each) for each in signals} if main else {}
    try:
        for each in before:
            signal.signal(each, handler)
        yield
    finally:
        for each, old in before.items():
            signal.signal(each, signal.SIG_DFL if old is None else old)


@contextmanager
def interruptible(said: str = "", more: Sequence[signal.Signals] = ()) -> Iterator[SignalStop]:
    """A signal in here, one of `more` as well, is stored, for what looks at it; one that comes
    later stops at once."""
    stop = SignalStop(said=said.encode())
    with handled((*SIGNALS, *more), stop.arrived):
        yield stop


@contextmanager
def terminable(more: Sequence[signal.Signals] = ()) -> Iterator[SignalStop]:
    """A signal in here, one of `more` as well, raises KeyboardInterrupt, once, for commands that
    tidy up after it."""
    stop = SignalStop(at_once=True)
    with handled((*SIGNALS, *more), stop.arrived):
        yield stop


class postponed:
    """In a `with`, Ctrl-C waits until what is inside is done, or looks at the `SignalStop` that is
    handed out, and then raises `Interrupted`. Where the caller has a handler of his own, it stays.

    Every step from Python goes through here, so it costs a microsecond.
    """

    __slots__ = ("_plain", "_stop")

    def __enter__(self) -> SignalStop:
        self._stop = stop = SignalStop()
        self._plain = PLAIN.getsignal(INT) is DEFAULT
        if self._plain:
            try:
                PLAIN.signal(INT, stop.arrived)
            except ValueError:  # not the main thread, which alone may
                self._plain = False
        return stop

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self._plain:
            PLAIN.signal(INT, DEFAULT)
        if kind is None and self._stop.since:
            raise Interrupted("interrupted")
