"""What Python hands over as arrays by field: by name, in order, as a frame with columns.

A frame that stands for a whole set gives each field the column of its name, and the one field that
has no column of its name the columns that are left, in their order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dln.compiler.schema.headers import WantedField
from dln.grammar.diagnostics import DlnError, Problem, nearest
from dln.runtime.readers.given import in_order, to_host


def arrays_by_field(
    name: str, fields: Mapping[str, bool], lengths: Mapping[str, str], given: Any
) -> dict[str, NDArray[Any]]:
    """Arrays [example, ...] by field of what was given to a set. `fields` says which are more than
    one number, `lengths` which run over time, and by which field they end, "" where all are alike.
    Raises `DlnError` E550, E551, E552, E557."""
    ends = {n for n in lengths.values() if n}
    specs = [WantedField(f, (), "real", "length" if f in ends else "real") for f in fields]
    if is_frame(given):
        wide = {f: more for f, more in fields.items() if f not in ends}
        given = _by_column(name, wide, given)
    by_field = dict(given) if isinstance(given, Mapping) else in_order(name, specs, given)
    found: dict[str, NDArray[Any]] = {}
    for key, value in by_field.items():
        if key not in fields:
            near = nearest(str(key), fields) or f"it takes {', '.join(fields)}"
            raise DlnError([Problem("E550", f'{name} has no field "{key}"', remedy=near)])
        if key in lengths and (steps := unequal(value)) is not None:
            if not lengths[key]:
                text = f"{name}: the sequences of {key} have {min(steps)} to {max(steps)} steps"
                remedy = "write length into given(...), beside what runs over time"
                raise DlnError([Problem("E551", text, remedy=remedy)])
            found.setdefault(lengths[key], np.asarray(steps))
            value = filled(value, steps)
        found[key] = _array(name, key, value)
    if not found or not all(a.ndim for a in found.values()):
        raise DlnError([Problem("E556", f"{name} is given no examples")])
    return found


def is_frame(given: Any) -> bool:
    """Whether it has named columns, as the frames of pandas and polars have."""
    return hasattr(given, "columns") and hasattr(given, "__getitem__") and hasattr(given, "shape")


def _by_column(name: str, fields: Mapping[str, bool], frame: Any) -> dict[str, Any]:
    columns = list(frame.columns)
    found = {f: frame[f] for f in fields if f in columns}
    rest, left = [f for f in fields if f not in found], [c for c in columns if c not in found]
    if len(rest) == 1 and left and fields[rest[0]]:
        found[rest[0]] = frame[left]
    elif rest:
        text = f"{name}: the frame has no column {' and no column '.join(rest)}"
        remedy = f"give the fields by name: {{{', '.join(f'{f!r}: ...' for f in fields)}}}"
        raise DlnError(
            [
                Problem(
                    "E550", text, facts=(f"it has {', '.join(map(str, columns))}",), remedy=remedy
                )
            ]
        )
    return found


def _array(name: str, key: str, value: Any) -> NDArray[Any]:
    found = _words_of(value) or to_host(value)
    if isinstance(found, Problem):
        message = f"{name}: {key}: {found.message}"
        raise DlnError([Problem(found.code, message, facts=found.facts, remedy=found.remedy)])
    return found


def _words_of(value: Any) -> Problem | None:
    """The first column of a frame that does not hold numbers."""
    if not is_frame(value):
        return None
    for column in value.columns:
        array = np.asarray(value[column])
        if array.dtype.kind not in "iufb":
            odd = next((x for x in array.tolist() if not isinstance(x, int | float)), None)
            shown = f": {odd!r}" if odd is not None else ""
            what = "words" if isinstance(odd, str) else f"{array.dtype}"
            remedy = "give numbers, or leave the column out"
            return Problem("E552", f"column {column} holds {what}{shown}", remedy=remedy)
    return None


# ---- sequences of unequal lengths --------------------------------------------------------------


def unequal(value: Any) -> list[int] | None:
    """How many steps each of several sequences has, where they differ."""
    rows = list(value) if isinstance(value, list | tuple) else []
    if isinstance(value, np.ndarray) and value.dtype == object and value.ndim == 1:
        rows = list(value)
    if not rows or not all(isinstance(r, list | tuple | np.ndarray) and np.ndim(r) for r in rows):
        return None
    steps = [len(r) for r in rows]
    return steps if len(set(steps)) > 1 else None


def filled(rows: Any, steps: Sequence[int]) -> NDArray[Any]:
    """Sequences in one array [example, time, ...], each with zeros past its end."""
    arrays = [np.asarray(r) for r in rows]
    dtype = np.result_type(*(a.dtype for a in arrays if a.size))
    shape = next(a.shape[1:] for a in arrays if len(a))
    found = np.zeros((len(arrays), max(steps), *shape), dtype)
    for row, a in zip(found, arrays, strict=True):
        row[: len(a)] = a
    return found


# ---- classes that have names -------------------------------------------------------------------


def distinct(array: NDArray[Any]) -> tuple[str, ...]:
    """The names of the classes in an array [example, ...]: its words, or its numbers, in order."""
    flat = array.reshape(-1)
    if array.dtype.kind == "O":
        flat = flat.astype(str)
    return tuple(_name(v) for v in np.unique(flat).tolist())


def coded(array: NDArray[Any], names: Sequence[str]) -> NDArray[Any] | Problem:
    """The number of each class [example, ...], where classes have names. Whole numbers stand for
    themselves where no name is one."""
    whole = array.dtype.kind in "iub" or (array.dtype.kind == "f" and not (array % 1).any())
    if whole and not any(name.lstrip("-").isdigit() for name in names):
        return array.astype(np.int64)
    flat, at = np.unique(
        array.astype(str) if array.dtype.kind == "O" else array, return_inverse=True
    )
    order = {name: i for i, name in enumerate(names)}
    strange = next((v for v in flat.tolist() if _name(v) not in order), None)
    if strange is not None:
        first = int(np.argmax(array.reshape(-1) == strange))
        listed = ", ".join(names[:12]) + ", ..." * (len(names) > 12)
        example = first // max(1, array.size // len(array))
        return Problem("E554", f"example {example} is {strange!r}, none of the classes {listed}")
    numbers = np.array([order[_name(v)] for v in flat.tolist()], np.int64)
    return numbers[at].reshape(array.shape)


def numbered(value: Any, names: Sequence[str] | None, field: str) -> Any:
    """What was given, with the numbers of classes in place of their names, where these have any.
    Raises `DlnError` E554."""
    array = to_host(value) if names else None
    if array is None or isinstance(array, Problem) or not array.size:
        return value
    found = coded(array, names or ())
    if isinstance(found, Problem):
        raise DlnError([Problem(found.code, f"{field}: {found.message}")])
    return found


def _name(value: Any) -> str:
    """A class as it is called: a whole number as such, however it is stored."""
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value) if whole else value)
