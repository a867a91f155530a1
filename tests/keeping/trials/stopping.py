"""Training that is asked to stop when it has looked so many times whether it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest


class Countdown:
    """Set after so many looks. There is one after each update, and at each event."""

    def __init__(self, looks: int) -> None:
        self.left = looks

    def is_set(self) -> bool:
        self.left -= 1
        return self.left < 0


def next_runs(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Ends the next runs of commands after so many looks, as Ctrl-C would."""

    def after(looks: int) -> None:
        @contextmanager
        def interruptible(*_: object) -> Iterator[Countdown]:
            yield Countdown(looks)

        monkeypatch.setattr("dln.running.training.interruptible", interruptible)

    return after
