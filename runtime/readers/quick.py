"""Whether the values of an array that has come before in this form are fine, told in a microsecond.

Each answer is one pass over the numbers, or two, and only a yes means something: where there is
none, `validation` has the word, whose checks are slower and whose messages are exact. What is asked
follows from the field, the array's type and the precision, so it is chosen once for arrays alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dln.compiler.plan import FieldSpec
from dln.runtime.readers.validation import bounds

Flat: TypeAlias = NDArray[Any]
"""The numbers of an array, in one row."""
Fine: TypeAlias = Callable[[], bool]
"""Says whether all values of an array, as they are now, are as declared; no may mean perhaps."""
Question: TypeAlias = Callable[[Flat], Fine]

FEW = 64  # numbers that Python looks through sooner than NumPy does


def question(spec: FieldSpec, array: NDArray[Any], dtype: str) -> Question | None:
    """What to ask of arrays of this shape and type for a field, in a program of the precision
    `dtype`; None where nothing quick will do."""
    low, high = bounds(spec)
    plain, kind = array.size > 0 and array.dtype.isnative, array.dtype.kind
    if plain and kind in "iu" and spec.kind == "index" and low == 0:
        most = min(int(high), int(np.iinfo(array.dtype).max))
        return (_few_up_to if array.size <= FEW else _bits_up_to)(most)
    if not plain or array.dtype.char not in "fd" or spec.kind == "index":
        return None
    if spec.domain == "binary":
        return _zeros_and_ones
    largest = float(np.finfo(dtype if array.dtype.char == "d" else array.dtype).max)
    if low == 0:  # the bits of such numbers are in their order, those of all others above
        top = np.array(min(float(high), largest), array.dtype)
        return _bits_up_to(int(top.view(f"u{top.itemsize}")))
    return _squares_up_to(largest) if (low, high) == (-np.inf, np.inf) else None


def _few_up_to(last: int) -> Question:
    def about(flat: Flat) -> Fine:
        def fine() -> bool:
            values = flat.tolist()
            return bool(0 <= min(values) and max(values) <= last)

        return fine

    return about


def _bits_up_to(most: int) -> Question:
    """What is negative, infinite or no number is large when read as a whole number without sign."""

    def about(flat: Flat) -> Fine:
        bits, largest = flat.view(f"u{flat.itemsize}"), np.maximum.reduce
        return lambda: int(largest(bits)) <= most

    return about


def _zeros_and_ones(flat: Flat) -> Fine:
    def fine() -> bool:
        counted = np.count_nonzero(flat == 0) + np.count_nonzero(flat == 1)
        return bool(counted == flat.size)

    return fine


def _squares_up_to(largest: float) -> Question:
    """The sum of squares is finite only if each number is, and its root is no less than any."""
    most = min(0.99 * largest, 1e150) ** 2

    def about(flat: Flat) -> Fine:
        times = flat.dot
        return lambda: float(times(flat)) <= most

    return about
