"""Arrays given from Python, of whatever library, as NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dln.grammar.diagnostics import Problem


def to_host(given: Any) -> NDArray[Any] | Problem:
    """A NumPy array of what was given, without a copy where that can be; else why there is none."""
    if isinstance(given, np.ma.MaskedArray) and np.ma.is_masked(given):
        count = int(np.sum(np.ma.getmaskarray(given)))
        message = f"has {count:,} masked value" + "s" * (count > 1)
        remedy = "give the examples of which all numbers are known"
        return Problem("E552", message, remedy=remedy)
    if isinstance(given, np.ndarray):
        return given
    try:
        if type(given).__module__.partition(".")[0] == "cupy":
            return np.asarray(given.get())
        if hasattr(given, "__dlpack__") and not hasattr(given, "__array__"):
            return np.from_dlpack(given)
        return np.asarray(given)
    except (ValueError, TypeError, RuntimeError, BufferError) as e:
        remedy = "pass a NumPy array, one row for each example"
        return Problem("E552", f"is no array of numbers: {_first_line(e)}", remedy=remedy)


def _first_line(e: Exception) -> str:
    return (str(e).strip().splitlines() or [type(e).__name__])[0]
