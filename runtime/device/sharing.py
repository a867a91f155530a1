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
from math import isfinite, prod, sqrt
from time import perf_counter
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

SHARED = 9216
"""Products of numbers in a call of OpenBLAS up to which it stays in one thread."""
BLOCKS = ((448, 16), (384, 16), (320, 16), (320, 8), (256, 16), (256, 8), (320, 4), (256, 4),
          (192, 8), (128, 16), (128, 8), (512, 16), (640, 16), (352, 16))  # fmt: skip
"""Lengths of blocks, and of what they are rounded to, that builds of OpenBLAS have."""
STALL, SLACK = 4.0, 2e-3  # a trial that takes so many times its time and so much more has waited
SUM, MULTIPLES = "a sum of products", "a sum of multiples"
LARGEST = 1 << 24
"""Numbers in all matrices of a product up to which it is tried, and shared."""

LINE, STRIPS = 64, 4  # bytes of a line of the cache; strips of a result, at most

Cuts: TypeAlias = tuple[int, ...]
"""Where the summed axis is cut, from 0 to its length; nothing for a product that is too small to be
shared, and needs no look."""
Adder: TypeAlias = Callable[[NDArray[Any], NDArray[Any], NDArray[Any], Cuts], None]
"""Computes a product [..., m, k] by [..., k, n] into or onto the third array, cut."""
Cutter: TypeAlias = Callable[..., list[Callable[[], None]]]
"""`openblas.Blas.cut`."""
Key: TypeAlias = tuple[Any, ...]
MOST_READY, MOST_MATRICES = 4096, 64
"""Products of a program that are kept ready; matrices of a stack that are shared one by one."""


class Sharing:
    """Who computes: `count` threads, of which `set_threads` makes more than one. `plain` says that
    nothing is to be done but to call. For one thread of Python at a time."""

    def __init__(self, set_threads: Callable[[int], None]) -> None:
        self.set_threads = set_threads
        self.count, self.plain = 1, True
        self.cuts: dict[Key, Cuts | None] = {}
        self.coming: dict[Key, None] | None = None
        self._waited = False

    def take(self, count: int) -> None:
        """So many threads from here on."""
        self.count, self.plain = count, count == 1
        self.set_threads(count)

    def record(self) -> None:
        """Remember the products that come."""
        self.coming, self.plain = {}, False

    def learn(self, most: int, patient: bool = False) -> bool | None:
        """Find out how each of them is cut for `most` threads; whether any is shared. None where
        threads had to wait for their cores, and whoever asks is not patient."""
        coming, self.coming = self.coming or {}, None
        self.plain = True
        try:
            for key in coming:
                if key not in self.cuts:
                    self._waited = False
                    found = self._found(key, most, patient)
                    if self._waited:
                        return None
                    self.cuts[key] = found
        finally:
            self.take(1)
        return any(self.cuts[key] for key in coming)

    def key(self, by: Adder, a: NDArray[Any], b: NDArray[Any], out: NDArray[Any]) -> Key:
        """All that the order of a sum depends on, in a product [..., m, k] by [..., k, n]."""
        return by, a.dtype.char, a.shape, b.shape, a.strides, b.strides, out.strides

    def share(
        self, key: Key | None, run: Callable[[], None], cut: Callable[[Cuts], None] | None
    ) -> bool:
        """A call by whoever is to compute now: whole, or cut as is known of its key. Whether
        several may have computed."""
        if self.coming is not None:
            if key is not None:
                self.coming[key] = None
            run()
            return False
        cuts = None if cut is None or key is None else self.cuts.get(key)
        if cuts is None or cut is None:
            self.alone(run)
        elif cuts:
            cut(cuts)
        else:
            run()
        return bool(cuts)

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

    # ---- how a product is cut ------------------------------------------------------------------

    def _found(self, key: Key, most: int, patient: bool) -> Cuts | None:
        """The cuts with which `most` threads have the bits of one; None where they have others."""
        by, kind, left, right, down, across, out = key
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
        start = perf_counter()
        by(a, b, one, (0, k))
        usual = perf_counter() - start
        for cuts in ways(k):
            many[...] = matrix(m, n, out, kind, 11)
            self.take(most)
            start = perf_counter()
            by(a, b, many, cuts)
            self._waited = not patient and perf_counter() - start > STALL * usual + SLACK
            self.take(1)
            if one.tobytes() == many.tobytes():
                return cuts
            if self._waited:
                return None
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


def strips(rows: int, columns: int, size: int) -> list[slice]:
    """The columns of a result that several threads are to compute by one call.

    OpenBLAS deals out the longer side. Where that are the columns, each row is written by all of
    the threads, and cores that are far from each other lose half a product's time by the lines of
    the cache in which they meet. Of strips that are no wider than tall the rows are dealt out.
    """
    count = -(-columns // max(rows, 1))
    if not 1 < count <= STRIPS:
        return [slice(0, columns)]
    line = LINE // size
    width = -(-columns // (count * line)) * line
    return [slice(at, min(at + width, columns)) for at in range(0, columns, width)]


def guard(
    a: NDArray[Any],
    b: NDArray[Any],
    out: NDArray[Any],
    what: str,
    scale: NDArray[Any] | float = 1.0,
) -> Callable[[], None]:
    """A look at a product [..., m, k] by [..., k, n], times a number [], where others have computed
    it, into `out` or onto it; `what` does it. Raises FloatingPointError where NumPy is to.

    A large result lies by halves in the caches of two cores, and reading it would take longer than
    they have saved. No entry of it is larger than the norms of both sides multiplied: where these
    are no danger, nothing else is looked at. What is added to a number that is all but too large
    already is so found by the next product that reads it.
    """
    left, right, most = flat(a), flat(b), float(np.finfo(out.dtype).max) / 1024
    if left is None or right is None or out.size <= a.size + b.size:
        return lambda: look(out, what)

    def run() -> None:
        with suppress(FloatingPointError):  # of numbers that are too large for a square, perhaps
            norms = sqrt(np.dot(left, left)) * sqrt(np.dot(right, right))
            if norms * abs(float(scale)) < most:
                return
        look(out, what)

    return run


def flat(array: NDArray[Any]) -> NDArray[Any] | None:
    """The numbers of an array [...] as they lie, if there is nothing between them."""
    for way in (array, array.T):
        if way.flags.c_contiguous:
            return way.reshape(-1)
    return None


def look(out: NDArray[Any], what: str = SUM) -> None:
    """Raise FloatingPointError where NumPy is to and an array [...] holds what is no number,
    told as an overflow in `what`."""
    if out.flags.c_contiguous:
        flat = out.reshape(-1)
        with suppress(FloatingPointError):  # of numbers that are too large for a square, perhaps
            if isfinite(np.dot(flat, flat)):
                return
    tell(out, what)


def tell(out: NDArray[Any], what: str = SUM) -> None:
    """As `look`, of an array [...] that is likely to hold such a thing."""
    if np.geterr()["over"] == "raise" and not np.isfinite(out).all():
        raise FloatingPointError(f"overflow encountered in {what}")


# ---- functions of NumPy ------------------------------------------------------------------------


class Multiplier:
    """`np.dot` or `np.matmul`, and how its product is computed piece by piece: by `cut`, which
    makes the calls for two matrices."""

    def __init__(self, function: Any, cut: Cutter) -> None:
        self.function, self.cut = function, cut

    def pieces(
        self, a: NDArray[Any], b: NDArray[Any], out: NDArray[Any], cuts: Cuts
    ) -> list[Callable[[], None]]:
        """The calls for each matrix of a stack [..., m, n]; none where there is no such call."""
        lead, one = out.shape[:-2], np.ones((), out.dtype)
        left = np.broadcast_to(a, lead + a.shape[-2:])
        right = np.broadcast_to(b, lead + b.shape[-2:])
        each = [self.cut(left[at], right[at], one, out[at], cuts, False) for at in np.ndindex(lead)]
        return [run for runs in each for run in runs] if all(each) else []

    def added(self, a: NDArray[Any], b: NDArray[Any], out: NDArray[Any], cuts: Cuts) -> None:
        """A product [m, k] by [k, n], cut: how it is tried. No number where it cannot be."""
        if whole_call(out, cuts):
            self.function(a, b, out)
            return
        runs = self.pieces(a, b, out, cuts)
        out.fill(0 if runs else np.nan)
        for run in runs:
            run()


def whole_call(out: NDArray[Any], cuts: Cuts) -> bool:
    """Whether several threads compute a product [..., m, n] by one call of NumPy."""
    rows, columns = out.shape[-2:]
    return len(cuts) == 2 and len(strips(rows, columns, out.itemsize)) == 1


class SharedNumPy(ModuleType):
    """NumPy for one program, in which `dot` and `matmul` are shared among threads."""

    def __init__(self, sharing: Sharing, dot: Multiplier, matmul: Multiplier) -> None:
        super().__init__("numpy")
        self.dot = SharedProduct(sharing, dot).called()
        self.matmul = SharedProduct(sharing, matmul).called()

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


class SharedProduct:
    """A function that multiplies, shared; in the shapes of NumPy's, with `out`. The arrays of a
    program are the same objects in each run, so what is made ready of them is found by these."""

    def __init__(self, sharing: Sharing, by: Multiplier) -> None:
        self.sharing, self.by, self.function = sharing, by, by.function
        self._ready: dict[tuple[int, int, int], tuple[Any, Callable[[], None]]] = {}

    def called(self) -> Callable[..., NDArray[Any]]:
        """The function that a program calls, in the shapes of NumPy's."""
        sharing, function, several = self.sharing, self.function, self._several

        def product(a: NDArray[Any], b: NDArray[Any], out: NDArray[Any]) -> NDArray[Any]:
            if sharing.plain:
                function(a, b, out)
            else:
                several(a, b, out)
            return out

        return product

    def _several(self, a: NDArray[Any], b: NDArray[Any], out: NDArray[Any]) -> None:
        """Find what is ready of these arrays, and call it."""
        key = id(a), id(b), id(out)
        found = self._ready.get(key)
        if found is None:
            if len(self._ready) >= MOST_READY:
                self._ready.clear()
            found = self._ready[key] = (a, b, out), self._made(a, b, out)
        found[1]()

    def _made(self, a: NDArray[Any], b: NDArray[Any], out: NDArray[Any]) -> Callable[[], None]:
        """A call by whoever is to compute. Of a matrix with itself BLAS has another function."""
        sharing, function, made = self.sharing, self.function, dict[Cuts, Any]()
        shared = a.ndim > 1 and b.ndim > 1 and a.ctypes.data != b.ctypes.data
        shared &= prod(out.shape[:-2]) <= MOST_MATRICES
        key = sharing.key(self.by.added, a, b, out) if shared else None
        check = guard(a, b, out, function.__name__) if shared and out.dtype.kind == "f" else None

        def whole() -> None:
            function(a, b, out)

        def cut(cuts: Cuts) -> None:
            if whole_call(out, cuts):
                whole()
                return
            if cuts not in made:
                made[cuts] = self.by.pieces(a, b, out, cuts)
            for piece in made[cuts]:
                piece()
            if not made[cuts]:
                sharing.alone(whole)

        def run() -> None:
            if sharing.share(key, whole, cut) and check is not None:
                check()

        return run
