"""Checks of arrays against the declared fields: names, shapes, types, values, numbers of examples.

The same checks serve arrays fed from Python and data read from files. Problems: E550 a field
missing or not known, E551 shape, E552 type, E553 not a finite number, E554 outside of the domain,
E555 numbers of examples that differ, E556 no examples.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dln.compiler.plan import BOUNDS, WANTED, FieldSpec
from dln.grammar.diagnostics import DlnError, Problem, nearest
from dln.runtime.device.source_map import span_of
from dln.runtime.readers.binary import EXACT
from dln.runtime.readers.given import settled, to_host

Array = NDArray[Any]
Arrays = dict[str, Array]

Where = Callable[[FieldSpec, int, int], str]
"""What says where the number `element` of an example comes from: a file, a line, a column."""


def check_fields(
    specs: Sequence[FieldSpec],
    given: Mapping[str, object],
    owner: str,
    texts: Mapping[str, str] | None = None,
    dtype: str = "float64",
) -> Arrays:
    """Host arrays by field, first axis the example, or a `DlnError` with a problem for each field.

    `owner` is what the fields belong to, for messages: `the phase "sse"`. Arrays may be anything
    that NumPy understands, or that has DLPack's or CuPy's way out. Lengths of sequences that are
    not given are full.
    """
    texts = texts or {}
    problems = list(_names(specs, given, owner))
    given = settled(specs, given)
    arrays: Arrays = {}
    for spec in sorted(specs, key=lambda spec: spec.domain == "length"):
        if spec.name in given:
            try:
                arrays[spec.name] = check_field(spec, given[spec.name], texts, dtype=dtype)
            except DlnError as e:
                problems += e.problems
        elif spec.domain == "length" and arrays:
            arrays[spec.name] = np.full(len(next(iter(arrays.values()))), spec.classes)
    if len({len(a) for a in arrays.values()}) > 1:
        counts = ", ".join(f"{name} {len(a):,}" for name, a in arrays.items())
        remedy = "feed the same examples to every field"
        problems.append(Problem("E555", f"the numbers of examples differ: {counts}", remedy=remedy))
    if problems:
        raise DlnError(problems)
    return arrays


def check_field(
    spec: FieldSpec,
    given: object,
    texts: Mapping[str, str] | None = None,
    first: int | Array = 0,
    where: Where | None = None,
    dtype: str = "float64",
) -> Array:
    """One array [example, ...] checked, classes and lengths as integers; `first` is the number of
    its first example, for messages, or those of all. Real numbers must be such in the precision
    `dtype`. Raises `DlnError` E551 to E554 or E556."""
    array = to_host(given)
    if not isinstance(array, Problem):
        problem = _wrong_type(spec, array) or _wrong_shape(spec, array)
        problem = problem or wrong_value(spec, array, first, where, dtype)
        if problem is None:
            whole = spec.kind == "index" and array.dtype.kind not in "iu"
            return np.rint(array).astype(np.int64) if whole else array
    else:
        problem = array
    span = span_of(texts or {}, spec.place)
    label = f"{spec.name} is declared here" if span else ""
    message, remedy = f"{spec.name}: {problem.message}", problem.remedy
    if span is not None and where is not None and remedy.startswith(spec.name):
        remedy = _in_its_line(span.text, remedy.removeprefix(spec.name))
    raise DlnError([Problem(problem.code, message, span, label, (), problem.facts, remedy)])


HEAD = re.compile(r"\w+\s*(\[[^\]=]*\])?\s*(:[^=]*)?=(?!=)\s*")
"""What stands before the value of a field, as in `x[784]: prob = raw.image`."""


def _in_its_line(text: str, remedy: str) -> str:
    """A remedy that goes on from the value of a field, written with what stands for that value in
    the line of the field: `raw.label - 1`. An assertion is made of what comes out."""
    head = HEAD.match(text)
    value, said, domain = (text[head.end() :], "", "") if head else text.rpartition(" as ")
    change, comma, reason = remedy.partition(",")
    value = value if re.fullmatch(r"[\w.\[\], :]+", value) else f"({value})"
    return value + change + said + domain + comma + reason


def _names(
    specs: Sequence[FieldSpec], given: Mapping[str, object], owner: str
) -> Iterable[Problem]:
    known = [s.name for s in specs]
    unknown = [name for name in given if name not in known]
    missing = [s.name for s in specs if s.name not in given and s.domain != "length"]
    listed = ", ".join(known) or "no fields"
    for name in unknown:
        near = nearest(name, missing or known) or f"{owner} takes {listed}"
        yield Problem("E550", f'{owner} has no field "{name}"', remedy=near)
    if missing and len(unknown) < len(missing):
        names = ", ".join(missing)
        yield Problem("E550", f"{owner} lacks {names}", remedy=f"feed {listed}")


def _wrong_type(spec: FieldSpec, array: Array) -> Problem | None:
    """Truth values are 0 and 1, and whole numbers may be written as real ones."""
    kind = array.dtype.kind
    if kind in "iufb":
        return None
    found = "text" if kind in "US" else str(array.dtype)
    classes = spec.domain in ("class", "length")
    wanted = "whole numbers" if classes else "real numbers"
    remedy = f"{spec.name}.real" if kind == "c" else ""
    if kind in "US" and spec.domain == "class":
        remedy = f"numpy.unique({spec.name}, return_inverse=True)[1]"
    return Problem("E552", f"is {found}, expected {wanted}", remedy=remedy)


def _wrong_shape(spec: FieldSpec, array: Array) -> Problem | None:
    want, found = spec.shape, array.shape
    if found[1:] == want and found:
        return None if found[0] else Problem("E556", "there are no examples")
    if spec.domain == "class" and found[1:-1] == want and len(found) > 1:
        classes = found[-1]
        if classes > 1 and array.size and _is_onehot(array):
            message = f"is one-hot, {classes} numbers for each class, expected the class itself"
            return Problem("E551", message, remedy=f"{spec.name}.argmax(axis=-1)")
    remedy = ""
    if found == want:
        remedy = f"{spec.name}[None] (an axis for the examples, first)"
    elif found and want and np.prod(found[1:], dtype=object) == np.prod(want, dtype=object):
        remedy = f"{spec.name}.reshape({', '.join(map(str, (found[0], *want)))})"
    elif not want and found[1:] == (1,):
        remedy = f"{spec.name}[:, 0]"
    each = f"{list(want)} for each example" if want else "one number for each example"
    whole = f"(examples{''.join(f', {n}' for n in want)}{'' if want else ','})"
    message = f"the array has shape {found}, expected {each}: {whole}"
    return Problem("E551", message, remedy=remedy)


def _is_onehot(array: Array) -> bool:
    """Whether rows have a single 1 beside zeros, where the number of a class is meant."""
    return bool(((array == 0) | (array == 1)).all() and (array.sum(axis=-1) == 1).all())


# ---- values ------------------------------------------------------------------------------------

ROUNDING = 4 * float(np.finfo(np.float64).eps)


def bounds(spec: FieldSpec) -> tuple[float, float]:
    """The smallest and the largest value of a domain."""
    if spec.domain == "class" and spec.classes is not None:
        return 0, spec.classes - 1
    if spec.domain == "length" and spec.classes is not None:
        return 1, spec.classes
    if spec.kind == "index":
        return -EXACT, EXACT
    return BOUNDS.get(spec.domain, (-np.inf, np.inf))


def wrong_value(
    spec: FieldSpec,
    array: Array,
    first: int | Array,
    where: Where | None = None,
    dtype: str = "float64",
) -> Problem | None:
    """A value that is not finite or lies outside of the domain: which, and in which example.

    Minimum and maximum carry NaN along, so two passes over the array are enough to be sure.
    """
    low, high = bounds(spec)
    if not array[0].size:
        return None
    if array.dtype.kind == "b":
        array = array.astype(np.int64)
    least, most = array.min(), array.max()
    real = array.dtype.kind == "f"
    fine = bool(low <= least <= most <= high)
    if fine and real:
        fine = bool(np.isfinite(least) and np.isfinite(most))
        if spec.kind == "index":
            fine = fine and bool(_whole(array).all())
        elif fine and dtype != "float64":
            fine = -_largest(dtype) <= float(least) and float(most) <= _largest(dtype)
    elif fine and spec.kind != "index":
        fine = -EXACT <= int(least) and int(most) <= EXACT
    if fine and spec.domain == "binary" and real:
        fine = bool(((array == 0) | (array == 1)).all())
    return None if fine else _bad_value(spec, array, first, where, dtype)


def _whole(array: Array) -> Array:
    """Which numbers are whole, but for the rounding of a division."""
    found: Array = np.abs(array - np.rint(array)) <= ROUNDING * np.maximum(1, np.abs(array))
    return found


@cache
def _largest(dtype: str) -> float:
    return float(np.finfo(dtype).max)


def _bad_value(
    spec: FieldSpec, array: Array, first: int | Array, where: Where | None, dtype: str
) -> Problem:
    (low, high), bad = bounds(spec), ~np.isfinite(array)
    code, wanted = "E554", WANTED.get(spec.domain, "a whole number")
    wanted = wanted.format(last=(spec.classes or 1) - 1, most=spec.classes)
    if bad.any():
        code, wanted = (code, wanted) if spec.kind == "index" else ("E553", "a finite number")
    else:
        bad = (array < low) | (array > high)
        if spec.kind == "index" and array.dtype.kind == "f":
            bad |= ~_whole(array)
        elif spec.domain == "binary":
            bad |= (array != 0) & (array != 1)
        if not bad.any():
            most = EXACT if array.dtype.kind != "f" else _largest(dtype)
            bad, wanted = (array < -most) | (array > most), f"a number that {dtype} has"
    place = np.unravel_index(int(np.argmax(bad)), array.shape)
    inside = f"[{', '.join(str(int(i)) for i in place[1:])}]" if len(place) > 1 else ""
    value = array[place].item()
    shown = _shown(value) if isinstance(value, float) else value
    more = int(bad.sum()) - 1
    facts = (f"{more:,} more {'value' if more == 1 else 'values'} like it",) if more else ()
    example = first + int(place[0]) if isinstance(first, int) else int(first[place[0]])
    said = f"example {example}"
    if where is not None:
        element = int(np.ravel_multi_index(place[1:], array.shape[1:])) if len(place) > 1 else 0
        at = where(spec, example, element)
        said += f" ({at})" if at else ""
    message = f"{said} has {shown}{inside and ' at ' + inside}, expected {wanted}"
    return Problem(code, message, facts=facts, remedy=_remedy(spec, array))


def _shown(value: float) -> str:
    """A number as it is read, with all its digits where six would hide what is wrong."""
    short = f"{value:.6g}"
    hides = float(short) != value and float(short).is_integer()
    return repr(value) if hides else short


def _remedy(spec: FieldSpec, array: Array) -> str:
    """The commonest slips: bytes where probabilities are expected, classes counted from 1 or from
    below 0."""
    least, most = array.min(), array.max()
    if spec.domain == "prob" and least >= 0 and 1 < most <= 255 and _whole(array).all():
        return f"{spec.name} / 255"
    if spec.domain == "class" and least >= 1 and most == spec.classes and _whole(array).all():
        return f"{spec.name} - 1, if classes are counted from 1"
    if spec.domain == "class" and least < 0 and _whole(array).all() and spec.classes:
        if spec.classes == 2 and set(array.reshape(-1).tolist()) <= {-1, 1}:
            return f"({spec.name} + 1) / 2, if classes are -1 and 1"
        if most - least < spec.classes:
            return f"{spec.name} + {-least:g}, if classes are counted from {least:g}"
    return ""
