"""Arrays that the ranks of a machine have once, in memory that all of them see.

One of them takes memory that has no name, and tells the others its number; they open it by way of
what the system shows of that process. All write into it, as into a file, and then look at it. It is
there as long as any of them looks, and goes with the last one, however that ends.

Faults: E523 where there is no room for it.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dln.grammar.diagnostics import Fault
from dln.runtime.ranks.far import FarRows
from dln.runtime.ranks.ranks import Ranks

ALIGNED = 64  # bytes at whose multiples arrays begin
FEW = 16 << 20  # bytes of an array up to which each rank has all rows of all machines
BOOT = Path("/proc/sys/kernel/random/boot_id")
Forms = Mapping[str, tuple[tuple[int, ...], str]]
"""Shape and type of arrays by name."""


class Room(Protocol):
    """Where arrays are filled in."""

    def put(self, name: str, low: int, rows: NDArray[Any]) -> None:
        """Fill in some rows [rows, ...] of an array, from number `low` on."""

    def arrays(self) -> dict[str, Any]:
        """All arrays by name, once they are filled in."""


class OwnRoom:
    """Arrays of this process alone."""

    def __init__(self, forms: Forms) -> None:
        self._arrays = {name: np.empty(*form) for name, form in forms.items()}

    def put(self, name: str, low: int, rows: NDArray[Any]) -> None:
        self._arrays[name][low : low + len(rows)] = rows

    def arrays(self) -> dict[str, Any]:
        return self._arrays


class Machine:
    """The ranks that see one memory: this one is number `index` of `count`. Made by all ranks at
    once."""

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks
        names = np.zeros((ranks.count, 1), np.int64)
        names[ranks.index] = int.from_bytes(sha256(_machine().encode()).digest()[:7], "big")
        ranks.gather(names, once=True)
        every = dict[int, list[int]]()
        for i, name in enumerate(names[:, 0].tolist()):
            every.setdefault(name, []).append(i)
        self._machines = list(every.values())
        mine = every[int(names[ranks.index, 0])]
        self.index, self.count, self.number = mine.index(ranks.index), len(mine), 0
        self.number, self.firsts = self._machines.index(mine), [some[0] for some in self._machines]

    def blocks(self, n: int) -> list[range]:
        """Of n things in a row those of each machine, as many as it has ranks."""
        ends = np.cumsum([0, *map(len, self._machines)]).tolist()
        cuts = [n * end // self.ranks.count for end in ends]
        return [range(low, high) for low, high in pairwise(cuts)]

    def room(self, forms: Forms, blocks: Sequence[range]) -> SharedRoom | None:
        """Room for arrays, of which each machine has a block of rows, for all ranks of the machine;
        None where some rank cannot see it. All ranks ask at once."""
        ranks, number = self.ranks, -1
        if self.index == 0:
            with suppress(OSError, AttributeError):
                number = os.memfd_create("dln")
        said = np.zeros((ranks.count, 2), np.int64)
        said[ranks.index] = os.getpid(), number
        ranks.gather(said, once=True)
        process, there = said[self.firsts[self.number]].tolist()
        if self.index and there >= 0:
            with suppress(OSError):
                number = os.open(f"/proc/{process}/fd/{there}", os.O_RDWR | os.O_CLOEXEC)
        if ranks.agree(int(number < 0)):
            if number >= 0:
                os.close(number)
            return None
        return SharedRoom(self, number, forms, blocks)


class SharedRoom:
    """Arrays that are filled in by several ranks, and then looked at by all of the machine, which
    has its block of the rows. Those of other machines are fetched, or known if they are few."""

    def __init__(
        self, machine: Machine, number: int, forms: Forms, blocks: Sequence[range]
    ) -> None:
        self._machine, self._number, self._forms, self._blocks = machine, number, forms, blocks
        self._block, self._far = blocks[machine.number], len(blocks) > 1
        places = [_places(forms, len(block)) for block in blocks]
        self._starts, self._size = places[machine.number]
        self._there = {name: [starts[name] for starts, _ in places] for name in forms}

    def put(self, name: str, low: int, rows: NDArray[Any]) -> None:
        """Fill in some rows [rows, ...] of an array, from number `low` on. Raises `Fault` E523
        where there is no room."""
        shape, dtype = self._forms[name]
        each = prod(shape[1:]) * np.dtype(dtype).itemsize
        left = np.ascontiguousarray(rows, dtype).reshape(-1).view(np.uint8).data
        at = self._starts[name] + (low - self._block.start) * each
        try:
            while len(left):
                done = os.pwrite(self._number, left, at)
                at, left = at + done, left[done:]
        except OSError as error:
            size = f"{self._size / 1e9:,.2f} GB"
            message = f"the memory that ranks share cannot hold data of {size}: {error.strerror}"
            raise Fault(message, "more memory, or data that stay in their files", "E523") from error

    def arrays(self) -> dict[str, Any]:
        """All arrays by name, once all ranks have filled in what is theirs; they cannot be written
        to."""
        machine, ranks, size = self._machine, self._machine.ranks, max(self._size, 1)
        os.ftruncate(self._number, size)
        ranks.agree(0)
        looked_at = mmap.PROT_READ  # what others read through MPI it may want to be able to write
        held = mmap.mmap(self._number, size, prot=looked_at | mmap.PROT_WRITE * self._far)
        os.close(self._number)
        found = dict[str, Any]()
        for name, (shape, dtype) in self._forms.items():
            mine = (len(self._block), *shape[1:])
            numbers = np.frombuffer(held, dtype, prod(mine), self._starts[name])
            numbers.flags.writeable = False
            found[name] = numbers.reshape(mine)
        if not self._far:
            return found
        window = ranks.window(held if machine.index == 0 else None)
        return {name: self._of_all(name, own, window) for name, own in found.items()}

    def _of_all(self, name: str, own: NDArray[Any], window: Any) -> Any:
        """An array with the rows of all machines, of which this one has its own."""
        machine, blocks = self._machine, self._blocks
        shape, dtype = self._forms[name]
        if prod(shape) * own.itemsize >= FEW:
            where = machine.firsts, self._there[name]
            return FarRows(own, machine.number, blocks, *where, window)
        whole, parts = np.empty(shape, dtype), list[range]()
        whole[self._block.start : self._block.stop] = own
        for i in range(machine.ranks.count):  # the first rank of each machine sends its block
            end = parts[-1].stop if parts else 0
            first = i in machine.firsts
            parts.append(blocks[machine.firsts.index(i)] if first else range(end, end))
        machine.ranks.gather(whole, parts, once=True)
        whole.flags.writeable = False
        return whole


def _places(forms: Forms, rows: int) -> tuple[dict[str, int], int]:
    """Where arrays of so many rows begin in a memory, in bytes, and its size."""
    starts, size = dict[str, int](), 0
    for name, (shape, dtype) in forms.items():
        starts[name] = size
        size += -(-rows * prod(shape[1:]) * np.dtype(dtype).itemsize // ALIGNED) * ALIGNED
    return starts, size


def _machine() -> str:
    """What processes that see one memory, and one another, have in common."""
    found = os.uname().nodename
    with suppress(OSError):
        found += BOOT.read_text() + os.readlink("/proc/self/ns/pid")
    return found
