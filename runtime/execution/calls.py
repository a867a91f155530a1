"""A call from Python that has been made before: what its arrays' names, types and shapes decide is
decided once, and kept with the program that is bound for as many examples.

The first such call goes the long way, through every check and message. A later one asks whether the
arrays have that form and `readers.quick` says yes of their values, fills them in and runs. In all
other cases it goes the long way again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dln.compiler.plan import FieldSpec
from dln.runtime.readers import quick


class Fed(NamedTuple):
    """An array that a call takes: its form, the input that it fills where the program reads it, by
    all or some of its `rows`, and what is asked of its values, of the input itself where that holds
    the very values."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    target: NDArray[Any] | None
    question: quick.Question
    fine: quick.Fine | None
    rows: slice | None


class ArrayCall(NamedTuple):
    """A call with the arrays `feds` and with others, called `unread`, and its `clocks`, which are
    `timed` where they depend on the update; `strictly` calls a function so that NumPy raises where
    numbers are left."""

    unread: frozenset[str]
    feds: tuple[Fed, ...]
    clocks: tuple[str, ...]
    timed: bool
    strictly: Callable[..., Any]

    def takes(self, given: Mapping[str, Any]) -> bool:
        """Fill in arrays; False where they have another form than this call takes, or values that
        may not be fine."""
        try:
            return bool(self.strictly(self._filled, given))
        except FloatingPointError:  # squares that are too large to tell
            return False

    def _filled(self, given: Mapping[str, Any]) -> bool:
        if len(given) != len(self.feds) + len(self.unread) or self.unread - given.keys():
            return False
        for name, dtype, shape, target, question, fine, rows in self.feds:
            array = given.get(name)
            if type(array) is not np.ndarray or array.shape != shape or array.dtype != dtype:
                return False
            if fine is None and not question(array.ravel())():
                return False
            if target is not None:
                target[...] = array if rows is None else array[rows]
            if fine is not None and not fine():
                return False
        return True


def feeds(
    specs: Sequence[FieldSpec], given: Mapping[str, Any], inputs: Mapping[str, Any], dtype: str,
    rows: slice | None = None,
) -> tuple[Fed, ...]:  # fmt: skip
    """What a call takes that `given` arrays for the fields `specs`, of a program of the precision
    `dtype` with these `inputs`, which have some `rows` of them. Nothing where such a call is to go
    the long way each time: its arrays are of other libraries or on another device, or sequences
    have lengths."""
    feds = []
    for spec in specs:
        array, target = given.get(spec.name), inputs.get(spec.name)
        if spec.domain == "length" or type(array) is not np.ndarray:
            return ()
        question = quick.question(spec, array, dtype)
        if question is None or not isinstance(target, np.ndarray | None):
            return ()
        same = target is not None and target.dtype == array.dtype and target.flags.c_contiguous
        fine = question(target.reshape(-1)) if target is not None and same else None
        feds.append(Fed(spec.name, array.dtype, array.shape, target, question, fine, rows))
    return tuple(feds)
