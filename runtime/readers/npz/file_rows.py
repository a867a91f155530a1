"""Arrays that stay in their files: the rows of a minibatch are read from where they lie.

Nothing of a file is held. The system keeps as much of it as it has room for, so that what is read
again comes from memory; a map of the file would do the same, but what the process has looked at of
it counts as its own, two megabytes for a row.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dln.grammar.diagnostics import Fault
from dln.runtime.readers.binary import exact
from dln.runtime.readers.npz.members import LARGE, Member


class Segment:
    """The examples of an array that lie in one file."""

    def __init__(self, member: Member) -> None:
        assert member.start is not None
        self.path, self.name, self.start = member.path, member.name, member.start
        self.count, self.row, self.shape = member.shape[0], member.row, member.shape[1:]
        self.dtype = np.dtype(member.dtype)
        self.file = open(member.path, "rb", buffering=0)  # noqa: SIM115  as long as there is this

    def stretch(self, low: int, high: int) -> NDArray[Any]:
        """The examples from number `low` up to before `high`, [examples, ...]."""
        made = np.empty((high - low, *self.shape), self.dtype)
        self._fill(made, 0, high - low, low)
        return made

    def gathered(self, at: NDArray[np.int64]) -> NDArray[Any]:
        """The examples of some numbers [n], which may lie anywhere: [n, ...]."""
        n = len(at)
        if n and at[-1] - at[0] == n - 1 and (np.diff(at) == 1).all():
            return self.stretch(int(at[0]), int(at[0]) + n)
        made = np.empty((n, *self.shape), self.dtype)
        order = np.argsort(at)  # forwards through the file
        for k, number in zip(order.tolist(), at[order].tolist(), strict=True):
            self._fill(made, k, k + 1, number)
        return made

    def _fill(self, made: NDArray[Any], low: int, high: int, number: int) -> None:
        """Fill rows of an array with the examples from `number` on."""
        size = (high - low) * self.row
        if not size:
            return
        into = memoryview(made.reshape(-1).view(np.uint8).data)[low * self.row : high * self.row]
        at, done = self.start + number * self.row, 0
        while done < size:
            if hasattr(os, "preadv"):
                some = os.preadv(self.file.fileno(), [into[done:]], at + done)
            else:
                self.file.seek(at + done)
                some = self.file.readinto(into[done:]) or 0
            if not some:
                message = f"{self.path} ends before example {number + done // self.row}"
                raise Fault(
                    f"{message} of {self.name}, and did not before", "write it again", "E504"
                )
            done += some


class FileRows:
    """An array [example, ...] that lies in one file or several, of which examples are taken by
    slices or by their numbers; each time they are copied. `first` and `count` say which of all
    examples it has."""

    def __init__(self, segments: Sequence[Segment], first: int, count: int) -> None:
        self.segments, self.first, self.count = segments, first, count
        self.starts = np.cumsum([0, *(s.count for s in segments)])
        native = segments[0].dtype.newbyteorder("=")
        self.dtype = np.dtype(np.int64) if self._index else native
        self.shape = (count, *segments[0].shape)

    @classmethod
    def of(cls, members: Sequence[Member]) -> FileRows:
        """All examples of an array."""
        segments = [Segment(m) for m in members]
        return cls(segments, 0, sum(s.count for s in segments))

    @property
    def _index(self) -> bool:
        return not self.segments[0].shape and self.segments[0].dtype.kind in "iu"

    @property
    def nbytes(self) -> int:
        size: int = prod(self.shape) * self.dtype.itemsize
        return size

    def part(self, low: int, high: int) -> FileRows:
        """The examples from number `low` up to before `high`, still in their files."""
        return FileRows(self.segments, self.first + low, high - low)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, at: slice | NDArray[Any]) -> NDArray[Any]:
        """Some examples [examples, ...], copied. Raises `Fault` E554 for numbers that double
        precision does not have."""
        if isinstance(at, slice):
            low, high, _ = at.indices(self.count)
            return self._stretch(self.first + low, self.first + max(low, high))
        return self._gathered(self.first + np.asarray(at, np.int64))

    def _stretch(self, low: int, high: int) -> NDArray[Any]:
        made, done = np.empty((high - low, *self.shape[1:]), self.dtype), 0
        for segment, start in zip(self.segments, self.starts.tolist(), strict=False):
            a, b = max(low - start, 0), min(high - start, segment.count)
            if a < b:
                made[done : done + b - a] = self._fine(segment, segment.stretch(a, b), a)
                done += b - a
        return made

    def _gathered(self, at: NDArray[np.int64]) -> NDArray[Any]:
        if len(self.segments) == 1:
            found = self._fine(self.segments[0], self.segments[0].gathered(at), at)
            return found.astype(self.dtype, copy=False)
        made = np.empty((len(at), *self.shape[1:]), self.dtype)
        which = np.searchsorted(self.starts, at, side="right") - 1
        for k in np.unique(which).tolist():
            segment, mine = self.segments[k], which == k
            inside = at[mine] - self.starts[k]
            made[mine] = self._fine(segment, segment.gathered(inside), inside)
        return made

    def _fine(
        self, segment: Segment, values: NDArray[Any], first: int | NDArray[np.int64]
    ) -> NDArray[Any]:
        """The values [example, ...], refused where double precision does not have them."""
        exact(segment.path, segment.name, values, first)
        return values


def in_files(array: object) -> bool:
    """Whether what Python hands over is a map of a large file, as `numpy.load(...,
    mmap_mode="r")` gives one, of all of the file's array."""
    if not isinstance(array, np.memmap) or isinstance(array.base, np.ndarray):
        return False
    return bool(array.nbytes >= LARGE and array.flags.c_contiguous and array.filename)


def mapped_array(array: Any) -> FileRows:
    """The rows [example, ...] of such a map."""
    path = Path(str(array.filename))
    member = Member(path.stem, array.dtype.str, array.shape, path, int(array.offset), False)
    return FileRows.of([member])


def staying(given: Mapping[str, Any]) -> frozenset[str]:
    """The sets, or parts, of what is handed over in which some array stays in its file."""
    found = set()
    for name, value in given.items():
        held = value.values() if isinstance(value, Mapping) else value
        arrays = held if isinstance(value, Mapping | tuple) else (value,)
        found |= {name} if any(map(in_files, arrays)) else set()
    return frozenset(found)
