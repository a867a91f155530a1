"""Arrays given from Python, of whatever library, as NumPy arrays.

Those of sequences of unequal lengths have room for the longest. What lies past the end of one is
not looked at. Whatever fills the rest, the last step of each sequence takes its place before
anything is checked or worked out, so that what is worked out there too, and left out of every
result, is as finite as what counts.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dln.compiler.plan import FieldSpec
from dln.compiler.schema.headers import WantedField
from dln.grammar.diagnostics import DlnError, Problem


def to_host(given: Any) -> NDArray[Any] | Problem:
    """A NumPy array of what was given, of its shape, without a copy where that can be; else why
    there is none (E552)."""
    rows = given if isinstance(given, list | tuple) else (given,)
    masks = sys.modules.get("numpy.ma")  # without it nothing is masked, and it loads slowly
    masked = [row for row in rows if isinstance(row, masks.MaskedArray)] if masks else []
    if count := sum(int(np.sum(np.ma.getmaskarray(row))) for row in masked):
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
        if "inhomogeneous" in str(e):
            why = "is no array of numbers: its rows have different lengths"
            return Problem("E552", why, remedy=remedy)
        why = (str(e).strip().splitlines() or [type(e).__name__])[0]
        return Problem("E552", f"is no array of numbers: {why}", remedy=remedy)


def in_order(name: str, specs: Sequence[FieldSpec | WantedField], given: Any) -> dict[str, Any]:
    """Arrays in the order of the fields of a set, or a single array for the only field; lengths of
    sequences may be left out. Raises `DlnError` E557 for another number of them."""
    values: Sequence[Any] = given if isinstance(given, tuple | list) else (given,)
    names = [f.name for f in specs if f.domain != "length"]
    if len(names) == 1 and len(values) > 1 and not isinstance(given, tuple):
        values = (given,)
    names += [f.name for f in specs if f.domain == "length"][: len(values) - len(names)]
    if len(values) != len(names):
        message = f"{name} has the fields {', '.join(names)}, but {len(values)} were given"
        raise DlnError([Problem("E557", message, remedy=f"({', '.join(names)})")])
    return dict(zip(names, values, strict=True))


def settled(specs: Sequence[FieldSpec], given: Mapping[str, Any]) -> dict[str, Any]:
    """The arrays with the last step of each sequence in place of what lies past its end.

    Arrays that do not fit their fields stay as they are, for the checks to find.
    """
    found = dict(given)
    for length in specs:
        if length.domain != "length" or length.name not in given or length.classes is None:
            continue
        ends = _whole(given[length.name])
        if ends is None or not ends.size or ends.min() < 1 or ends.max() > length.classes:
            continue
        if ends.min() == length.classes:
            continue
        for spec in specs:
            if spec.timed and spec.ends == length.name and spec.name in given:
                array = _array(given[spec.name])
                if array is not None and array.shape == (len(ends), *spec.shape):
                    found[spec.name] = held(array, ends)
    return found


def held(array: Any, ends: Any, xp: Any = np) -> Any:
    """A sequence [example, time, ...] that stays at its last step from `ends` [example] on."""
    steps = xp.minimum(xp.arange(array.shape[1]), ends[:, None] - 1)
    return array[xp.arange(len(array))[:, None], steps]


def _array(given: Any) -> NDArray[Any] | None:
    """What was given as an array of numbers; None where it is none."""
    array = to_host(given)
    return None if isinstance(array, Problem) or array.dtype.kind not in "biuf" else array


def _whole(given: Any) -> NDArray[Any] | None:
    """Lengths as whole numbers, one for each example; None where they are none."""
    array = _array(given)
    if array is None or array.ndim != 1 or not np.isfinite(array).all():
        return None
    whole = array.astype(np.int64)
    return whole if (whole == array).all() else None


def counted(given: Mapping[str, Any]) -> dict[str, int]:
    """How many examples were given to each set or part, as far as that is to be seen at once."""
    found = {}
    for name, value in given.items():
        first = value
        if isinstance(value, Mapping):
            first = next(iter(value.values()), ())
        elif isinstance(value, tuple):
            first = value[0] if value else ()
        shape = getattr(first, "shape", None)
        found[name] = max(
            1,
            shape[0]
            if isinstance(shape, tuple) and shape
            else len(first)
            if isinstance(first, list)
            else 1,
        )
    return found
