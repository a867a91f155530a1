"""Products of matrices added to an array by OpenBLAS itself, called with arguments made once.

NumPy has no product that adds to what is there; the OpenBLAS that it brings has. Its Fortran
interface takes addresses alone, so that all of them are converted when a program is bound, and a
number that changes from run to run is read where it stands. Where NumPy's BLAS is another, where
its answer is not what NumPy says, or where a matrix does not lie by rows or columns, the kernel of
three statements does it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dln.runtime.device.kernels import gemm as plain

LETTERS = {"float32": "s", "float64": "d"}
SPELLINGS = {
    "scipy_openblas_{}64_": "scipy_{}gemm_64_",
    "scipy_openblas_{}": "scipy_{}gemm_",
    "openblas_{}64_": "{}gemm_64_",
    "openblas_{}": "{}gemm_",
}
"""How a build spells its products, by how it spells its functions."""

Library = tuple[ctypes.CDLL, str]


class Gemm:
    """The kernel `gemm` of `dln.runtime.device.kernels`, by a library where it can; `spelling` is
    the function that it calls, `{}` for the precision, None where it never does."""

    def __init__(self, library: Library | None) -> None:
        self.spelling: str | None = None
        self.functions: Mapping[str, Any] = {}
        if library is None:
            return
        spelling = SPELLINGS[library[1]]
        with suppress(AttributeError):
            found = {t: getattr(library[0], spelling.format(x)) for t, x in LETTERS.items()}
            if all(right(function, dtype) for dtype, function in found.items()):
                self.spelling, self.functions = spelling, found

    def __call__(
        self, a: NDArray[Any], b: NDArray[Any], scale: NDArray[Any], out: NDArray[Any]
    ) -> Callable[[], None]:
        function = self.functions.get(str(out.dtype))
        made = None if function is None else prepared(function, a, b, scale, out)
        return plain(a, b, scale, out) if made is None else made


@cache
def gemm(library: Library | None) -> Gemm:
    """The kernel for the library that NumPy computes with, tried once."""
    return Gemm(library)


def prepared(
    function: Any, a: NDArray[Any], b: NDArray[Any], scale: NDArray[Any], out: NDArray[Any]
) -> Callable[[], None] | None:
    """The call, its arguments converted; None where a matrix lies otherwise than BLAS reads it.

    BLAS counts along columns: it is told of out' += scale b' a', which lies as out does by rows.
    Integers have 64 bits, of which a build with 32 reads the lower half, where that comes first.
    """
    if np.dtype(np.int64).byteorder == ">" or out.size == 0:
        return None
    (m, k), n = a.shape, b.shape[1]
    left, right, target = lying(b), lying(a), lying(out)
    if left is None or right is None or target is None or target[0] != b"N":
        return None
    numbers = np.array([n, m, k, left[1], right[1], target[1]], np.int64)
    letters = np.frombuffer(left[0] + right[0], np.uint8)
    one = np.ones((), out.dtype)
    at, letter = (x.ctypes.data for x in (numbers, letters))
    addresses = [letter, letter + 1, at, at + 8, at + 16, scale.ctypes.data, b.ctypes.data, at + 24,
                 a.ctypes.data, at + 32, one.ctypes.data, out.ctypes.data, at + 40]  # fmt: skip
    made = partial(function, *map(ctypes.c_void_p, addresses))
    made.__dict__["held"] = (a, b, scale, out, numbers, letters, one)
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


def right(function: Any, dtype: str) -> bool:
    """Whether a function multiplies as NumPy does: matrices of small whole numbers, each side by
    rows and by columns, which both know exactly."""
    function.restype = None
    scale = np.array(2, dtype)
    for turn in (np.asarray, np.transpose):
        a = turn(np.arange(6, dtype=dtype).reshape((2, 3) if turn is np.asarray else (3, 2)))
        for other in (np.asarray, np.transpose):
            b = other(np.arange(12, dtype=dtype).reshape((3, 4) if other is np.asarray else (4, 3)))
            out = np.ones((2, 4), dtype)
            run = prepared(function, a, b, scale, out)
            if run is None:
                return False
            run()
            if not np.array_equal(out, 1 + 2 * (a @ b)):
                return False
    return True
