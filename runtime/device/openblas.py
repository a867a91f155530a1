"""Products of matrices, and multiples, added to an array by OpenBLAS itself, called with arguments
made once.

NumPy has no product that adds to what is there; the OpenBLAS that it brings has. Its Fortran
interface takes addresses alone, so that all of them are converted when a program is bound, and a
number that changes from run to run is read where it stands. Where NumPy's BLAS is another, where
its answer is not what NumPy says, or where a matrix does not lie by rows or columns, the kernel of
three statements does it.

OpenBLAS does not tell of a number that overflows, as NumPy's own loops do. The processor does: its
flags are read after each call, and what was computed is looked at where they are up. Threads of
OpenBLAS have flags of their own, so that what several may have computed is looked at in any case.
Where several do, `sharing` says how they keep the bits of one.
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dln.runtime.device import kernels
from dln.runtime.device.sharing import (
    MULTIPLES,
    SHARED,
    SUM,
    Cuts,
    Key,
    Sharing,
    guard,
    look,
    strips,
    tell,
)

LETTERS = {"float32": "s", "float64": "d"}
SPELLINGS = {
    "scipy_openblas_{}64_": "scipy_{}_64_",
    "scipy_openblas_{}": "scipy_{}_",
    "openblas_{}64_": "{}_64_",
    "openblas_{}": "{}_",
}
"""How a build spells the functions of BLAS, by how it spells its own."""

OVERFLOWS = {"x86_64": 0b1101, "AMD64": 0b1101, "aarch64": 0b111, "arm64": 0b111}
"""The flags of overflow, of no number and of a division by zero in a word of <fenv.h>."""
Library = tuple[ctypes.CDLL, str]
Run = Callable[[], None]


class OverflowFlags(NamedTuple):
    """What asks the processor whether a number has overflowed in this thread, what forgets it, and
    the word that both are given."""

    up: Callable[[int], int]
    lower: Callable[[int], object]
    word: int


@cache
def flags() -> OverflowFlags | None:
    """The processor's, through the C library; None where that is not known."""
    word = OVERFLOWS.get(platform.machine())
    with suppress(OSError, AttributeError, TypeError):
        library = ctypes.PyDLL(None)
        up, lower = library.fetestexcept, library.feclearexcept
        if word is not None:
            return OverflowFlags(up, lower, word)
    return None


class Blas:
    """The kernels `gemm` and `add_rows`, by a library where it can; `spelling` is how it spells
    functions, None where it computes nothing. Without flags nobody would tell of an overflow, so
    that the library computes nothing. `sharing` is asked who computes, if it is there."""

    sharing: Sharing | None = None

    def __init__(self, library: Library | None, told: OverflowFlags | None) -> None:
        self.spelling: str | None = None
        self.functions: dict[tuple[str, str], Any] = {}
        if library is not None and told is not None:
            self.told = told
            spelling = SPELLINGS[library[1]]
            with suppress(AttributeError):
                self.threads = getattr(library[0], library[1].format("get_num_threads"))
                self.functions = {
                    (name, dtype): getattr(library[0], spelling.format(letter + name))
                    for name in ("gemm", "gemv")
                    for dtype, letter in LETTERS.items()
                }
                with suppress(AttributeError):  # OpenBLAS's own, which its kin may lack
                    for dtype, letter in LETTERS.items():
                        found = getattr(library[0], spelling.format(letter + "axpby"))
                        self.functions["axpby", dtype] = found
                for function in self.functions.values():
                    function.restype = None
            if self.functions and all(map(self.right, LETTERS)):
                self.spelling = spelling
            else:
                self.functions = {}

    @property
    def kernels(self) -> dict[str, Callable[..., Run]]:
        return {"gemm": self.gemm, "add_rows": self.add_rows, "add_scaled": self.add_scaled}

    def gemm(self, a: NDArray[Any], b: NDArray[Any], scale: NDArray[Any], out: NDArray[Any]) -> Run:
        """As the kernel of that name, in its shapes. BLAS counts along columns: it is told of
        out' += scale b' a', which lies as out does by rows."""
        made = self.prepared(a, b, scale, out)
        if made is None:
            return self.single(kernels.gemm(a, b, scale, out))
        pieces: dict[Cuts, list[Run]] = {}

        def cut(cuts: Cuts) -> None:
            found = pieces.get(cuts)
            if found is None:
                found = self.cut(a, b, scale, out, cuts) or [self.single(made)]
                pieces[cuts] = found
            for piece in found:
                piece()

        key = None if self.sharing is None else self.sharing.key(self.adder, a, b, out)
        check = guard(a, b, out, SUM, scale)
        return self.checked(made, out, a.size * b.shape[1], key, cut, check)

    def prepared(
        self, a: NDArray[Any], b: NDArray[Any], scale: NDArray[Any], out: NDArray[Any],
        adds: bool = True,
    ) -> Run | None:  # fmt: skip
        """The call of the library for `gemm`, in its shapes, which `adds` to what is there or takes
        its place; None where it cannot."""
        function = self.functions.get(("gemm", str(out.dtype)))
        left, right, target = lying(b), lying(a), lying(out)
        if function is None or left is None or right is None or target is None or out.size == 0:
            return None
        if target[0] != b"N":
            return None
        (m, k), n = a.shape, b.shape[1]
        keeps = np.full((), adds, out.dtype)
        letters, numbers, given = (left[0], right[0]), (n, m, k), (b, left[1], a, right[1])
        return call(function, letters, numbers, scale, *given, keeps, out, target[1])

    def cut(
        self, a: NDArray[Any], b: NDArray[Any], scale: NDArray[Any], out: NDArray[Any],
        cuts: Cuts, adds: bool = True,
    ) -> list[Run]:  # fmt: skip
        """`gemm` by a call for each piece of the summed axis, where not even the first `adds` if
        that is said, and for each of the strips of the result; nothing where the library cannot."""
        rows, columns = out.shape
        across = strips(rows, columns, out.itemsize)
        parts = [(i, j, s) for i, j in pairwise(cuts) for s in across]
        made = [
            self.prepared(a[:, i:j], b[i:j, s], scale, out[:, s], adds or i > 0)
            for i, j, s in parts
        ]
        return [run for run in made if run is not None] if None not in made else []

    def adder(self, a: NDArray[Any], b: NDArray[Any], out: NDArray[Any], cuts: Cuts) -> None:
        """Add a product to `out` [m, n], cut, times a number that rounds: how it is tried."""
        for run in self.cut(a, b, np.array(0.3, out.dtype), out, cuts):
            run()

    def single(self, run: Run) -> Run:
        """A call that one thread makes."""
        sharing = self.sharing
        return run if sharing is None else lambda: sharing.alone(run)

    def add_rows(self, a: NDArray[Any], scale: NDArray[Any], out: NDArray[Any]) -> Run:
        """As the kernel of that name, in its shapes: the matrix, turned, times ones."""
        function, lies = self.functions.get(("gemv", str(out.dtype))), lying(a)
        straight = out.strides == (out.itemsize,) or out.size == 1
        if function is None or lies is None or lies[0] != b"N" or not straight or a.size == 0:
            return kernels.add_rows(a, scale, out)
        m, n = a.shape
        one, ones = np.ones((), out.dtype), np.ones(m, out.dtype)
        made = call(function, (b"N",), (n, m), scale, a, lies[1], ones, 1, one, out, 1)
        return self.checked(made, out, m * n)

    def add_scaled(
        self, a: NDArray[Any], keep: NDArray[Any], scale: NDArray[Any], out: NDArray[Any]
    ) -> Run:
        """As the kernel of that name, in its shapes: one function of OpenBLAS, in one thread."""
        function = self.functions.get(("axpby", str(out.dtype)))
        straight = a.flags.c_contiguous and out.flags.c_contiguous
        if function is None or not straight or a.dtype != out.dtype or out.size == 0:
            return kernels.add_scaled(a, keep, scale, out)
        made = call(function, (), (out.size,), scale, a, 1, keep, out, 1)
        return self.checked(made, out, 0, what=MULTIPLES)

    def checked(
        self, made: Run, out: NDArray[Any], work: int, key: Key | None = None,
        cut: Callable[[Cuts], None] | None = None, check: Run | None = None, what: str = SUM,
    ) -> Run:  # fmt: skip
        """A call that adds to `out`, [m, n] or [n], by so many products of numbers, and tells of an
        overflow as NumPy is set to; several threads share it, `cut`, as they do what has its key,
        which is then looked at by `check`. Raises FloatingPointError."""
        (up, lower, word), threads, shared = self.told, self.threads, work > SHARED
        sharing = self.sharing

        def run() -> None:
            several = False
            if sharing is None or sharing.plain:
                made()
                several = shared and threads() > 1
            else:
                several = sharing.share(key, made, cut)
            if up(word):
                lower(word)
                tell(out, what)
            elif several:
                check() if check is not None else look(out)

        return run

    def right(self, dtype: str) -> bool:
        """Whether the functions compute what NumPy does: small whole numbers, the sides of a
        product by rows and by columns, which both know exactly."""
        scale, whole = np.array(2, dtype), np.arange(12, dtype=dtype)
        a, b = whole[:6].reshape(2, 3), whole.reshape(3, 4)
        for left in (a, a.T.copy().T):
            for right in (b, b.T.copy().T):
                out, row = np.ones((2, 4), dtype), np.ones(3, dtype)
                self.gemm(left, right, scale, out)()
                self.add_rows(a, scale, row)()
                if not np.array_equal(out, 1 + 2 * (a @ b)):
                    return False
                if not np.array_equal(row, 1 + 2 * a.sum(axis=0)):
                    return False
        both = whole.copy()
        self.add_scaled(np.ones(12, dtype), np.array(3, dtype), scale, both)()
        return np.array_equal(both, 3 * whole + 2)


@cache
def blas(library: Library | None) -> Blas:
    """The kernels of the library that NumPy computes with, tried once."""
    return Blas(library, flags())


def call(
    function: Any, letters: tuple[bytes, ...], numbers: tuple[int, ...], *more: NDArray[Any] | int
) -> Run:
    """The call of a function of BLAS, its arguments converted to addresses once: letters, numbers,
    then arrays of any shape and how far their rows are apart.

    Integers have 64 bits, of which a build with 32 reads the half that comes first: the lower one,
    or the library is found out to be none that can be used.
    """
    told = np.frombuffer(b"".join(letters) or b" ", np.uint8)
    counted = np.array([*numbers, *(x for x in more if isinstance(x, int))], np.int64)
    letter, number = told.ctypes.data, counted.ctypes.data
    given = [letter + i for i in range(len(letters))]
    given += [number + 8 * i for i in range(len(numbers))]
    place = number + 8 * len(numbers)
    for x in more:
        given.append(place if isinstance(x, int) else x.ctypes.data)
        place += 8 * isinstance(x, int)
    made = partial(function, *map(ctypes.c_void_p, given))
    made.__dict__["held"] = (told, counted, more)
    return made


def lying(matrix: NDArray[Any]) -> tuple[bytes, int] | None:
    """How a matrix lies: by rows ("N") or by columns ("T"), and how far these are apart; None where
    neighbours along neither axis are neighbours in memory."""
    size = matrix.itemsize
    rows, columns = matrix.shape
    down, across = matrix.strides
    if (across == size or columns == 1) and (rows == 1 or fits(down, columns, size)):
        return b"N", max(columns, down // size if rows > 1 else 1)
    if (down == size or rows == 1) and (columns == 1 or fits(across, rows, size)):
        return b"T", max(rows, across // size if columns > 1 else 1)
    return None


def fits(stride: int, count: int, size: int) -> bool:
    """Whether rows so many bytes apart hold so many numbers without overlap."""
    return stride % size == 0 and stride >= count * size


# ---- for a file that stands alone, into which these are copied ----------------------------------


def gemm(out: Any, scale: Any, a: Any, b: Any) -> None:
    """Add scale * a @ b to out: by OpenBLAS's own function, which rounds once."""
    scale, one = np.array([scale, 1], out.dtype)[:, None]
    run = openblas("gemm", out.dtype)
    if run is None:
        out += np.matmul(a, b) * scale
    elif out.size:
        (left, la), (right, ra), lo = lies(b), lies(a), lies(out)[1]
        run(*map(address, (left, right, b.shape[1], *a.shape, scale, b, la, a, ra, one, out, lo)))


def add_rows(out: Any, scale: Any, a: Any) -> None:
    """Add scale * the sum of the rows of a to out, in the same way."""
    scale, one = np.array([scale, 1], out.dtype)[:, None]
    run = openblas("gemv", out.dtype)
    if run is None:
        out += np.add.reduce(a, axis=0) * scale
    elif a.size:
        ones, (by, apart) = np.ones(len(a), out.dtype), lies(a)
        run(*map(address, (by, *a.shape[::-1], scale, a, apart, ones, 1, one, out, 1)))


def add_scaled(out: Any, scale: Any, a: Any, keep: Any) -> None:
    """Make out what it is times keep, and add scale * a, in the same way."""
    scale, keep = np.array([scale, keep], out.dtype)[:, None]
    run, a = openblas("axpby", out.dtype), np.ascontiguousarray(a, out.dtype)
    if run is None or not out.flags.c_contiguous:
        out *= keep
        out += a * scale
    elif out.size:
        run(*map(address, (out.size, scale, a, 1, keep, out, 1)))


def address(x: Any) -> Any:
    """What BLAS is given of a letter, a size or an array."""
    if isinstance(x, np.ndarray):
        return ctypes.c_void_p(x.ctypes.data)
    return ctypes.c_char_p(x) if isinstance(x, bytes) else ctypes.byref(ctypes.c_int64(x))


def lies(a: Any) -> Any:
    """Whether a matrix lies by rows (N) or by columns (T), and how far these are apart."""
    (rows, columns), (down, across), size = a.shape, a.strides, a.itemsize
    if (across == size or columns == 1) and (rows == 1 or down >= columns * size):
        return b"N", max(columns, down // size if rows > 1 else 1)
    return b"T", max(rows, across // size if columns > 1 else 1)


@cache
def openblas(name: str, real: Any) -> Any:
    """A function of the OpenBLAS that NumPy brings, if it brings one."""
    core: Any = np._core._multiarray_umath.__file__  # type: ignore[attr-defined]
    files = [core, *map(str, Path(np.__file__).parents[1].glob("numpy.libs/*blas*"))]
    forms, letter = ("scipy_{}_64_", "scipy_{}_", "{}_64_", "{}_"), "sd"[real == np.float64]
    found = ((ctypes.CDLL(file), form.format(letter + name)) for file in files for form in forms)
    return next((getattr(held, word) for held, word in found if hasattr(held, word)), None)
