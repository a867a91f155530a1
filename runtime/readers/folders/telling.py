"""Who is told how far a long reading has come; nobody, where nobody asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import monotonic
from typing import TypeVar

T = TypeVar("T")
Tell = Callable[[str], None]
FIRST, EVERY = 2.0, 5.0  # seconds before the first word, and between two

LISTENER: ContextVar[Tell | None] = ContextVar("listener", default=None)


@contextmanager
def listening(tell: Tell) -> Iterator[None]:
    """While inside, `tell` is told of readings that take long."""
    token = LISTENER.set(tell)
    try:
        yield
    finally:
        LISTENER.reset(token)


def told(what: str, count: int, items: Iterator[T]) -> Iterator[T]:
    """The items, of which there are `count`; who listens is told how many there have been."""
    tell, due = LISTENER.get(), monotonic() + FIRST
    for done, item in enumerate(items, 1):
        yield item
        if tell is not None and monotonic() > due:
            due = monotonic() + EVERY
            tell(f"reading {what}: {done:,} of {count:,}")
