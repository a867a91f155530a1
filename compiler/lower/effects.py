"""What the calls of a program text read and write: a table, known to nobody else.

The verifier of texts (`definite`) knows the functions from here alone. A function that is not
entered is one that nothing can be proved of.
"""

from __future__ import annotations

from dataclasses import dataclass

FILLS = frozenset(
    "argmax argmin clip cumsum dot einsum outer take all any max mean min prod sum".split()
)
"""Functions beside the ufuncs that read all their arguments and fill the whole of `out=`; without
it they give a new array, which another call reads."""


def fills(name: str) -> bool:
    """Whether a function is one of these: a ufunc with one result, or its reduction, is."""
    import numpy as np  # late: NumPy

    plain, _, method = name.partition(".")
    ufunc = getattr(np, plain, None)
    return name in FILLS or (
        isinstance(ufunc, np.ufunc) and ufunc.nout == 1 and method in ("", "reduce")
    )


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
    "uniform_rows": Effect(fills=(0,)),
    "normal_rows": Effect(fills=(0,)),
    "warp": Effect(fills=(2,)),
    "lowest": Effect(fills=(1,)),
    "add.at": Effect(changes=(0,)),
}
"""Functions that write to an argument. With `where=` what was to be filled is only changed.
A kernel called with `out=` needs no entry: it fills the whole of it and reads the others."""

READY = frozenset({"gemm", "add_rows", "add_scaled"})
"""Kernels that are called once and give a call without arguments, made in each run: that reads all
that they were given, `out=` too, and fills `out=`."""
