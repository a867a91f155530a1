"""What the calls of a program text read and write: a table, known to nobody else.

The verifier of texts (`definite`) knows the functions from here alone. A function that is not
entered is one that nothing can be proved of.
"""

from __future__ import annotations

from dataclasses import dataclass

FILLS = frozenset(
    "abs absolute add argmax argmin clip cos cumsum divide dot einsum equal exp expm1 floor "
    "floor_divide greater greater_equal less less_equal log log1p logical_and logical_not "
    "logical_or matmul maximum minimum multiply negative not_equal outer power reciprocal "
    "remainder rint sign sin sqrt square subtract take tanh "
    "all any max mean min prod sum "
    "add.reduce multiply.reduce maximum.reduce minimum.reduce "
    "logical_and.reduce logical_or.reduce".split()
)
"""Functions that read all their arguments and fill the whole of `out=`; without it they give a new
array, which another call reads."""

VIEWS = frozenset({"broadcast_to", "lib.stride_tricks.as_strided"})
"""Functions that give a view of their first argument."""

FRESH = frozenset({"arange"})
"""Functions that give a new array of numbers known when the text is written."""

LOOKS = frozenset({"T", "mT", "reshape", "transpose", "swapaxes", "squeeze"})
"""Attributes and methods of an array that give a view of it."""

FACTS = frozenset({"shape", "size", "strides"})
"""Attributes of an array that do not depend on what it holds."""

NUMBERS = frozenset({"abs", "min", "max", "float", "int", "bool", "math"})
"""Names that stand for functions of numbers."""


@dataclass(frozen=True, slots=True)
class Effect:
    """The places of the arguments that a call fills and of those that it only changes here and
    there; it reads the others, and what it changes."""

    fills: tuple[int, ...] = ()
    changes: tuple[int, ...] = ()


CALLS = {
    "copyto": Effect(fills=(0,)),
    "uniform": Effect(fills=(0,)),
    "normal": Effect(fills=(0,)),
    "warp": Effect(fills=(2,)),
    "lowest": Effect(fills=(1,)),
    "add.at": Effect(changes=(0,)),
}
"""Functions that write to an argument. With `where=` what was to be filled is only changed."""
