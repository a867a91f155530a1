"""Products shared among threads of OpenBLAS that have the bits of one thread.

OpenBLAS deals out rows and columns of a result, and adds up along the third axis in blocks. Where
that axis is longer than two blocks or so, one thread and several cut it at different places. So it
is cut here where one thread would, by a call for each piece: the first computes, the others add.
Where it cuts is found out by trial, for each shape that comes: one thread, and several with the
cuts that blocks of known sizes make, are held against each other bit by bit. What agrees with none
is left to one thread, as are products with a vector, which several threads add up otherwise.

OpenBLAS does not tell of a number that overflows in a thread of its own, so that what several have
computed is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from math import isfinite
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

SHARED = 9216
"""Products of numbers in a call of OpenBLAS up to which it stays in one thread."""
BLOCKS = ((448, 16), (384, 16), (320, 16), (320, 8), (256, 16), (256, 8), (320, 4), (256, 4),
          (192, 8), (128, 16), (128, 8), (512, 16), (640, 16), (352, 16))  # fmt: skip
"""Lengths of blocks, and of what they are rounded to, that builds of OpenBLAS have."""
LARGEST = 1 << 24
"""Numbers in all matrices of a product up to which it is tried, and shared."""

Cuts: TypeAlias = tuple[int, ...]
"""Where the summed axis is cut, from 0 to its length; nothing for a product that is too small to be
shared, and needs no look."""
Adder: TypeAlias = Callable[[NDArray[Any], NDArray[Any], NDArray[Any], Cuts], None]
"""Computes a product [..., m, k] by [..., k, n] into or onto the third array, cut."""
Key: TypeAlias = tuple[Any, ...]


class Sharing:
    """Who computes: `count` threads, of which `set_threads` makes more than one. `plain` says that
    nothing is to be done but to call. For one thread of Python at a time."""

    def __init__(self, set_threads: Callable[[int], None]) -> None:
        self.set_threads = set_threads
        self.count, self.plain = 1, True
        self.cuts: dict[Key, Cuts | None] = {}
        self.coming: dict[Key, None] | None = None
        self._held: dict[tuple[Any, ...], NDArray[Any]] = {}

    def take(self, count: int) -> None:
        """So many threads from here on."""
        self.count, self.plain = count, count == 1
        self.set_threads(count)

    def record(self) -> None:
        """Remember the products that come."""
        self.coming, self.plain = {}, False

    def learn(self, most: int) -> bool:
        """Find out how each of them is cut for `most` threads; whether any is shared."""
        coming, self.coming = self.coming or {}, None
        self.plain = True
        for key in coming:
            if key not in self.cuts:
                self.cuts[key] = self._found(key, most)
        self.take(1)
        return any(self.cuts[key] for key in coming)

    def key(
        self, by: Adder, a: NDArray[Any], b: NDArray[Any], out: NDArray[Any], same: bool = False
    ) -> Key:
        """All that the order of a sum depends on. `same` if both sides are one matrix."""
        return by, a.dtype.char, a.shape, b.shape, a.strides, b.strides, out.strides, same

    def multiply(self, by: Adder, a: NDArray[Any], b: NDArray[Any], out: NDArray[Any]) -> None:
        """A product [..., m, k] by [..., k, n], or of vectors, by whoever is to compute now. Raises
        FloatingPointError where NumPy is to."""
        if self.coming is not None:
            same = a.ctypes.data == b.ctypes.data
            self.coming[self.key(by, a, b, out)] = None
            if same:  # a product that has a function of its own
                self.cuts[self.key(by, a, b, out)] = None
            by(a, b, out, (0, a.shape[-1]))
            return
        cuts = self.cuts.get(self.key(by, a, b, out))
        if cuts is None:
            self.alone(lambda: by(a, b, out, (0, a.shape[-1])))
        else:
            by(a, b, out, cuts or (0, a.shape[-1]))
            if cuts:
                look(out)

    def share(
        self, key: Key | None, run: Callable[[], None], cut: Callable[[Cuts], None] | None
    ) -> None:
        """As `multiply`, of a call that is made ready: whole, or cut."""
        if self.coming is not None:
            if key is not None:
                self.coming[key] = None
            run()
        elif cut is None or (cuts := self.cuts.get(key or ())) is None:
            self.alone(run)
        elif len(cuts) <= 2:
            run()
        else:
            cut(cuts)

    def alone(self, run: Callable[[], None]) -> None:
        """A call in one thread."""
        if self.count == 1:
            run()
            return
        self.set_threads(1)
        try:
            run()
        finally:
            self.set_threads(self.count)

    def held(self, like: NDArray[Any]) -> NDArray[Any]:
        """An array of the same shape and precision, in C order, that nobody else has now."""
        key = like.shape, like.dtype.char
        if key not in self._held:
            self._held[key] = np.empty(like.shape, like.dtype)
        return self._held[key]

    # ---- how a product is cut ------------------------------------------------------------------

    def _found(self, key: Key, most: int) -> Cuts | None:
        """The cuts with which `most` threads have the bits of one; None where they have others."""
        by, kind, left, right, down, across, out, _ = key
        if kind not in "fd" or len(left) < 2 or len(right) < 2:
            return None
        (m, k), n = left[-2:], right[-1]
        if m == 1 or n == 1 or k == 0:
            return None
        if m * k * n <= SHARED:
            return ()
        if m * k + k * n + 2 * m * n > LARGEST:
            return None
        a, b = matrix(m, k, down, kind, 1009), matrix(k, n, across, kind, 2003)
        one, many = (matrix(m, n, out, kind, 11) for _ in range(2))
        self.take(1)
        by(a, b, one, (0, k))
        for cuts in ways(k):
            many[...] = matrix(m, n, out, kind, 11)
            self.take(most)
            by(a, b, many, cuts)
            self.take(1)
            if one.tobytes() == many.tobytes():
                return cuts
        return None


def matrix(rows: int, columns: int, strides: tuple[int, ...], kind: str, seed: int) -> NDArray[Any]:
    """Numbers of no pattern [rows, columns] that lie by rows, or by columns if the strides say so.
    """  # fmt: skip
    drawn = np.random.Generator(np.random.SFC64(seed)).random(4099) - 0.5  # all bits of a number
    flat = np.resize(drawn.astype(kind), rows * columns)
    turned = strides[-2] < strides[-1]
    return flat.reshape(columns, rows).T if turned else flat.reshape(rows, columns)


def ways(length: int) -> Iterator[Cuts]:
    """The places at which a summed axis may be cut: nowhere, then where one thread would, with
    each of the blocks."""
    tried = set[Cuts]()
    for cuts in ((0, length), *(cut(length, block, unit) for block, unit in BLOCKS)):
        if cuts not in tried:
            tried.add(cuts)
            yield cuts


def cut(length: int, block: int, unit: int) -> Cuts:
    """Where one thread cuts an axis that is taken in blocks: whole ones while there are two of
    them, the rest in halves, of which the first is a multiple of the unit. Whole blocks that
    follow on each other are one piece, for several threads cut that in the same way.

    >>> cut(784, 384, 16), cut(300, 384, 16), cut(2000, 384, 16)
    ((0, 384, 592, 784), (0, 300), (0, 1536, 1776, 2000))
    """
    whole = max(0, length // block - 1) * block if length % block else length
    rest, found = length - whole, [whole] if whole else []
    if rest > block:
        found.append(whole + -(-((rest + 1) // 2) // unit) * unit)
    return (0, *found, length) if rest else (0, *found)


def look(out: NDArray[Any]) -> None:
    """Raise FloatingPointError where NumPy is to and an array [...] holds what is no number."""
    if out.flags.c_contiguous:
        flat = out.reshape(-1)
        with suppress(FloatingPointError):  # of numbers that are too large for a square, perhaps
            if isfinite(np.dot(flat, flat)):
                return
    tell(out)


def tell(out: NDArray[Any]) -> None:
    """As `look`, of an array [...] that is likely to hold such a thing."""
    if np.geterr()["over"] == "raise" and not np.isfinite(out).all():
        raise FloatingPointError("overflow encountered in a sum of products")


# ---- functions of NumPy ------------------------------------------------------------------------


class SharedNumPy(ModuleType):
    """NumPy for programs, in which `dot` and `matmul` are shared among threads."""

    def __init__(self, sharing: Sharing) -> None:
        super().__init__("numpy")
        self.dot, self.matmul = ready(np.dot, sharing), ready(np.matmul, sharing)

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


def ready(function: Any, sharing: Sharing) -> Callable[..., NDArray[Any]]:
    """`np.dot` or `np.matmul`, shared; in the shapes of these, with `out`."""

    def adder(a: NDArray[Any], b: NDArray[Any], out: NDArray[Any], cuts: Cuts) -> None:
        if len(cuts) <= 2:
            function(a, b, out)
            return
        held = sharing.held(out)
        for i, (start, stop) in enumerate(zip(cuts, cuts[1:], strict=False)):
            target = held if i else out
            function(a[..., start:stop], b[..., start:stop, :], target)
            if i:
                np.add(out, held, out)

    def product(a: NDArray[Any], b: NDArray[Any], out: NDArray[Any]) -> NDArray[Any]:
        if sharing.plain:
            function(a, b, out)
        else:
            sharing.multiply(adder, a, b, out)
        return out

    return product
