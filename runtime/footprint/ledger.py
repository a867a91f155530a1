"""What is in memory at each moment of a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from dln.compiler.plan import Place


@dataclass(frozen=True)
class Item:
    """Something that takes memory: what it is, how many bytes, the line of the spec that it is
    there for, and what makes it smaller: fewer `examples`, a smaller `batch` (of a `phase`), or
    smaller `sizes`."""

    what: str
    bytes: int
    place: Place | None = None
    by: str = ""
    phase: str = ""


@dataclass(frozen=True)
class Moment:
    """What is in memory at once, when that is."""

    what: str
    items: tuple[Item, ...]

    @property
    def bytes(self) -> int:
        return sum(item.bytes for item in self.items)

    @property
    def largest(self) -> tuple[Item, ...]:
        """Its items, those alike put together, the largest first."""
        alike: dict[str, Item] = {}
        for item in self.items:
            held = alike.get(item.what, replace(item, bytes=0))
            alike[item.what] = replace(held, bytes=held.bytes + item.bytes)
        return tuple(sorted((i for i in alike.values() if i.bytes), key=lambda i: -i.bytes))


class Ledger:
    """Follows a run: what it holds, and the moments at which there was most."""

    def __init__(self) -> None:
        self.held: list[Item] = []
        self.named: dict[str, Item] = {}
        self.peak = Moment("the start", ())

    def hold(self, *items: Item) -> None:
        """From here on there is something more."""
        self.held += items

    def put(self, name: str, item: Item) -> None:
        """From here on there is this in place of what had its name."""
        old = self.named.get(name)
        self.held = [i for i in self.held if i is not old]
        self.named[name] = item
        self.held.append(item)

    def moment(self, what: str, *more: Item) -> None:
        """For a moment there is something more beside what is held."""
        if sum(i.bytes for i in self.held) + sum(i.bytes for i in more) > self.peak.bytes:
            self.peak = Moment(what, (*self.held, *more))

    @contextmanager
    def passing(self) -> Iterator[None]:
        """What is held inside is given back at the end; what else was held stays."""
        before = list(self.held)
        yield
        self.held = before
