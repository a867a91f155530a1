"""Arrays of which each machine of a run has some rows: those of others are fetched when they are
asked for, by one-sided messages of MPI out of the memory of that machine.

Whoever has the rows need not be asked; where the network cannot reach into memory by itself, they
come once that process looks at its messages, at the latest when its update is done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dln.runtime.ranks.mpi import mpi

SOME = 4096  # rows fetched at a time where all are asked for


@dataclass
class FarRows:
    """An array [rows, ...] of which this machine, number `mine`, has the rows `own` of its block,
    one after the other. `blocks` are the rows that each machine has, in their order; `ranks` and
    `starts` say through which rank, and from which byte of its `window` on."""

    own: NDArray[Any]
    mine: int
    blocks: Sequence[range]
    ranks: Sequence[int]
    starts: Sequence[int]
    window: Any

    def __post_init__(self) -> None:
        self._ends = np.array([block.stop for block in self.blocks])
        self.dtype, self._each = self.own.dtype, self.own.dtype.itemsize * prod(self.own.shape[1:])
        self.shape = (int(self._ends[-1]), *self.own.shape[1:])
        self._row = mpi().BYTE.Create_contiguous(self._each).Commit()
        self.fetched = 0  # rows

    def __len__(self) -> int:
        return int(self.shape[0])

    def take(
        self, at: NDArray[Any], axis: int = 0, out: NDArray[Any] | None = None, mode: str = ""
    ) -> NDArray[Any]:
        """The rows of some numbers [n], as NumPy takes them: [n, ...]."""
        if out is None or not out.flags.c_contiguous or out.dtype != self.dtype:
            made = self.take(at, axis, np.empty((len(at), *self.shape[1:]), self.dtype))
            if out is None:
                return made
            np.copyto(out, made, casting="unsafe")
            return out
        owner = np.searchsorted(self._ends, at, side="right")
        here = owner == self.mine
        if here.all():
            self.own.take(at - self.blocks[self.mine].start, 0, out, "clip")
            return out
        near = np.flatnonzero(here)
        out[near] = self.own[at[near] - self.blocks[self.mine].start]
        into = out.reshape(-1).view(np.uint8)
        asked = np.unique(owner[~here]).tolist()
        for machine in asked:
            places = np.flatnonzero(owner == machine)
            self._fetch(machine, at[places] - self.blocks[machine].start, into, places)
        for machine in asked:
            self.window.Flush(self.ranks[machine])
        return out

    def _fetch(
        self, machine: int, at: NDArray[Any], into: NDArray[np.uint8], places: NDArray[Any]
    ) -> None:
        """Ask for the rows of some numbers in the block of a machine, for some places of an array
        of bytes."""
        from_there, to_here = (
            self._row.Create_indexed_block(1, numbers.tolist()).Commit() for numbers in (at, places)
        )
        target = [self.starts[machine], 1, from_there]
        self.window.Get([into, 1, to_here], self.ranks[machine], target)
        from_there.Free()
        to_here.Free()
        self.fetched += len(at)

    def __getitem__(self, at: Any) -> NDArray[Any]:
        """Some rows [rows, ...], by their numbers or a slice."""
        numbers = np.arange(len(self))[at] if isinstance(at, slice) else np.asarray(at)
        return self.take(numbers)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """All rows, as an array of this process."""
        made = np.empty(self.shape, self.dtype)
        for low in range(0, len(self), SOME):
            self.take(np.arange(low, min(low + SOME, len(self))), 0, made[low : low + SOME])
        return made if dtype is None else made.astype(dtype)
