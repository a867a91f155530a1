"""Arrays that the ranks of a machine have once, in memory that all of them see.

One of them takes memory that has no name, and tells the others its number; they open it by way of
what the system shows of that process. All write into it, as into a file, and then look at it. It is
there as long as any of them looks, and goes with the last one, however that ends.

Faults: E523 where there is no room for it.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from math import prod
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dln.grammar.diagnostics import Fault
from dln.runtime.ranks.ranks import Ranks

ALIGNED = 64  # bytes at whose multiples arrays begin
BOOT = Path("/proc/sys/kernel/random/boot_id")
Forms = Mapping[str, tuple[tuple[int, ...], str]]
"""Shape and type of arrays by name."""


class Room(Protocol):
    """Where arrays are filled in."""

    def put(self, name: str, low: int, rows: NDArray[Any]) -> None:
        """Fill in some rows [rows, ...] of an array, from number `low` on."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All arrays by name, once they are filled in."""


class OwnRoom:
    """Arrays of this process alone."""

    def __init__(self, forms: Forms) -> None:
        self._arrays = {name: np.empty(*form) for name, form in forms.items()}

    def put(self, name: str, low: int, rows: NDArray[Any]) -> None:
        self._arrays[name][low : low + len(rows)] = rows

    def arrays(self) -> dict[str, NDArray[Any]]:
        return self._arrays


class Machine:
    """The ranks that see one memory: this one is number `index` of `count`. Made by all ranks at
    once."""

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks
        names = np.zeros((ranks.count, 1), np.int64)
        names[ranks.index] = int.from_bytes(sha256(_machine().encode()).digest()[:7], "big")
        ranks.gather(names, once=True)
        mine = [i for i in range(ranks.count) if names[i] == names[ranks.index]]
        self.first, self.index, self.count = mine[0], mine.index(ranks.index), len(mine)

    def room(self, forms: Forms) -> SharedRoom | None:
        """Room for arrays, for all ranks of the machine; None where some rank cannot see it. All
        ranks ask at once. Raises `Fault` E523 where there is not as much memory."""
        ranks, number = self.ranks, -1
        if self.index == 0:
            with suppress(OSError, AttributeError):
                number = os.memfd_create("dln")
        said = np.zeros((ranks.count, 2), np.int64)
        said[ranks.index] = os.getpid(), number
        ranks.gather(said, once=True)
        process, there = said[self.first].tolist()
        if self.index and there >= 0:
            with suppress(OSError):
                number = os.open(f"/proc/{process}/fd/{there}", os.O_RDWR | os.O_CLOEXEC)
        if ranks.agree(int(number < 0)):
            if number >= 0:
                os.close(number)
            return None
        return SharedRoom(ranks, number, forms)


class SharedRoom:
    """Arrays that are filled in by several ranks, and then looked at by all of the machine."""

    def __init__(self, ranks: Ranks, number: int, forms: Forms) -> None:
        self._ranks, self._number, self._forms = ranks, number, forms
        self._starts, self._size = dict[str, int](), 0
        for name, (shape, dtype) in forms.items():
            self._starts[name] = self._size
            self._size += -(-prod(shape) * np.dtype(dtype).itemsize // ALIGNED) * ALIGNED

    def put(self, name: str, low: int, rows: NDArray[Any]) -> None:
        """Fill in some rows [rows, ...] of an array, from number `low` on. Raises `Fault` E523
        where there is no room."""
        shape, dtype = self._forms[name]
        each = prod(shape[1:]) * np.dtype(dtype).itemsize
        left = np.ascontiguousarray(rows, dtype).reshape(-1).view(np.uint8).data
        at = self._starts[name] + low * each
        try:
            while len(left):
                done = os.pwrite(self._number, left, at)
                at, left = at + done, left[done:]
        except OSError as error:
            size = f"{self._size / 1e9:,.2f} GB"
            message = f"the memory that ranks share cannot hold data of {size}: {error.strerror}"
            raise Fault(message, "more memory, or data that stay in their files", "E523") from error

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All arrays by name, once all ranks have filled in what is theirs; they cannot be written
        to."""
        os.ftruncate(self._number, max(self._size, 1))
        self._ranks.agree(0)
        held = memoryview(mmap.mmap(self._number, max(self._size, 1), prot=mmap.PROT_READ))
        os.close(self._number)
        found = {}
        for name, (shape, dtype) in self._forms.items():
            numbers = np.frombuffer(held, dtype, prod(shape), self._starts[name])
            found[name] = numbers.reshape(shape)
        return found


def _machine() -> str:
    """What processes that see one memory, and one another, have in common."""
    found = os.uname().nodename
    with suppress(OSError):
        found += BOOT.read_text() + os.readlink("/proc/self/ns/pid")
    return found
