"""The processes that a run is shared out to, as training sees them; one that is alone.

All of them go through the same program, at the same updates, and have the same numbers. What they
share out lies in rows, of which each rank fills in its own; how many ranks there are changes who
fills in which, and no bit of what stands there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, TypeVar

from dln.grammar.diagnostics import DlnError, Problem
from dln.runtime.device.device import DeviceArray

Plain = TypeVar("Plain")
Parts = Sequence[range]
"""Of some rows those of each rank: contiguous, in the order of ranks, together all of them."""
Meanwhile = Callable[[], None]
"""What needs nothing of the messages under way, and raises nothing."""


NOTHING = nullcontext()


def nothing() -> None:
    """What is done meanwhile where there is nothing to do."""


class Summed(Protocol):
    """Sums of which each shard leaves a part: `parts` [shards, numbers] is added up, in order, to
    the `whole` [numbers], all of it or some `numbers`, which begin and end at a multiple of `line`
    of them."""

    parts: DeviceArray
    whole: DeviceArray
    line: int

    def add(self, numbers: range | None = None) -> None: ...


class Ranks(Protocol):
    """This process is number `index` of `count`. All but `share` is done by all ranks at once."""

    index: int
    count: int

    def share(self, n: int) -> range:
        """Which of n things in a row are this rank's."""

    def gather(self, rows: DeviceArray, parts: Parts | None = None, once: bool = False) -> None:
        """Fill in the rows [n, ...] of the other ranks: this one has filled in those of its share,
        or of its part. `rows` is contiguous, and is gathered again and again, or `once`. Raises
        `Elsewhere` where another rank has failed, `Fault` E644 where one has died."""

    def begin(self, sums: Summed) -> None:
        """From here on others may send their parts of sums, which `add_up` waits for."""

    def hand_on(self, part: int) -> None:
        """This rank has filled in a part of its share of what was begun, and those before it."""

    def add_up(self, sums: Summed, meanwhile: Meanwhile) -> None:
        """Add up the parts of sums that were begun, in their order: this rank has filled in those
        of its share. The whole is there on all. While messages are under way it does something
        `meanwhile`, if there are any. Raises as `gather` does."""

    def forget(self) -> None:
        """Let go of the arrays that were gathered."""

    def agree(self, said: int) -> int:
        """What any of the ranks says, bit by bit: a whole number from 0 up."""

    def first(self, value: Plain) -> Plain:
        """What rank 0 has: plain data."""

    def window(self, memory: Any) -> Any:
        """A window of MPI through which others may read some memory of this rank, or none, at any
        time."""

    def together(self) -> AbstractContextManager[None]:
        """What is raised in here by one rank is raised by all: by the others as `Elsewhere`. All of
        them come to the end before one goes on."""

    def failing(self) -> AbstractContextManager[None]:
        """As `together`, but who fails nowhere need not wait for the others at the end."""


class Alone:
    """One process, whose share is all."""

    index, count = 0, 1

    def share(self, n: int) -> range:
        return range(n)

    def gather(self, rows: DeviceArray, parts: Parts | None = None, once: bool = False) -> None:
        """There is nobody else to fill in rows [n, ...]."""

    def begin(self, sums: Summed) -> None:
        """There is nobody who would send."""

    def hand_on(self, part: int) -> None:
        """There is nobody to send to."""

    def add_up(self, sums: Summed, meanwhile: Meanwhile) -> None:
        self.gather(sums.parts)
        sums.add()

    def forget(self) -> None:
        """Nothing is kept."""

    def agree(self, said: int) -> int:
        return said

    def first(self, value: Plain) -> Plain:
        return value

    def window(self, memory: Any) -> Any:
        return None

    def together(self) -> AbstractContextManager[None]:
        return NOTHING

    def failing(self) -> AbstractContextManager[None]:
        return NOTHING


class Elsewhere(DlnError):
    """What another rank has raised; `code` is the exit code that it ends with."""

    def __init__(self, problems: Sequence[Problem], code: int = 1) -> None:
        super().__init__(problems)
        self.exit_code = code


def shares(n: int, count: int) -> list[range]:
    """Of n things in a row those of each of `count` ranks.

    >>> shares(5, 2)
    [range(0, 2), range(2, 5)]
    """
    return [range(n * i // count, n * (i + 1) // count) for i in range(count)]
