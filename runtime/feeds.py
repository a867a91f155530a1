"""Checks of arrays against the declared fields: names, shapes, types, values, numbers of examples.

The same checks serve arrays fed from Python and data read from files. Problems: E550 a field
missing or not known, E551 shape, E552 type, E553 not a finite number, E554 outside of the domain,
E555 numbers of examples that differ, E556 no examples.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dln.compiler.plan import FieldSpec
from dln.grammar.diagnostics import DlnError, Problem, nearest
from dln.runtime.places import span_of

Array = NDArray[Any]
Arrays = dict[str, Array]
BOUNDS = {"prob": (0.0, 1.0), "positive": (0.0, np.inf), "binary": (0.0, 1.0)}
WANTED = {
    "prob": "a probability, 0 to 1",
    "positive": "a number of at least 0",
    "binary": "0 or 1",
    "class": "a class, 0 to {last}",
    "length": "a length, 1 to {most} steps",
}


def check_fields(
    specs: Sequence[FieldSpec],
    given: Mapping[str, object],
    owner: str,
    texts: Mapping[str, str] | None = None,
) -> Arrays:
    """Host arrays by field, first axis the example, or a `DlnError` with a problem for each field.

    `owner` is what the fields belong to, for messages: `the phase "sse"`. Arrays may be anything
    that NumPy understands, or that has DLPack's or CuPy's way out. Lengths of sequences that are
    not given are full.
    """
    texts = texts or {}
    problems = list(_names(specs, given, owner))
    arrays: Arrays = {}
    for spec in sorted(specs, key=lambda spec: spec.domain == "length"):
        if spec.name in given:
            try:
                arrays[spec.name] = check_field(spec, given[spec.name], texts)
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
    spec: FieldSpec, given: object, texts: Mapping[str, str] | None = None, first: int = 0
) -> Array:
    """One array checked; `first` is the number of its first example, for messages."""
    array = to_host(given)
    problem = array if isinstance(array, Problem) else _wrong(spec, array, first)
    if problem is None:
        assert not isinstance(array, Problem)
        return array
    span = span_of(texts or {}, spec.place)
    label = f"{spec.name} is declared here" if span else ""
    message = f"{spec.name}: {problem.message}"
    raise DlnError(
        [Problem(problem.code, message, span, label, facts=problem.facts, remedy=problem.remedy)]
    )


def to_host(given: Any) -> Array | Problem:
    """A NumPy array of what was given, without a copy where that can be."""
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


def _wrong(spec: FieldSpec, array: Array, first: int) -> Problem | None:
    """The first thing that is wrong with an array, if anything is."""
    return _wrong_type(spec, array) or _wrong_shape(spec, array) or _wrong_value(spec, array, first)


def _wrong_type(spec: FieldSpec, array: Array) -> Problem | None:
    kind = array.dtype.kind
    allowed = "iu" if spec.kind == "index" else "iufb" if spec.domain == "binary" else "iuf"
    if kind in allowed:
        return None
    found = "text" if kind in "US" else str(array.dtype)
    wanted = "integers" if spec.kind == "index" else "real numbers"
    remedy = f"{spec.name}.astype({'int' if spec.kind == 'index' else 'float'})"
    return Problem("E552", f"is {found}, expected {wanted}", remedy="" if kind in "OUS" else remedy)


def _wrong_shape(spec: FieldSpec, array: Array) -> Problem | None:
    want, found = spec.shape, array.shape
    if found[1:] == want and found:
        return None if found[0] else Problem("E556", "there are no examples")
    remedy = ""
    if found == want:
        remedy = f"{spec.name}[None] (an axis for the examples, first)"
    elif found and want and np.prod(found[1:], dtype=object) == np.prod(want, dtype=object):
        remedy = f"{spec.name}.reshape({', '.join(map(str, (found[0], *want)))})"
    elif not want and found[1:] == (1,):
        remedy = f"{spec.name}[:, 0]"
    each = f"{list(want)} for each example" if want else "one number for each example"
    message = f"the array has shape {found}, expected {each}: {_shape_text(want)}"
    return Problem("E551", message, remedy=remedy)


def _shape_text(want: tuple[int, ...]) -> str:
    return f"(examples{''.join(f', {n}' for n in want)}{'' if want else ','})"


def _wrong_value(spec: FieldSpec, array: Array, first: int) -> Problem | None:
    """A value that is not finite or lies outside of the domain: which, and in which example.

    Minimum and maximum carry NaN along, so two passes over the array are enough to be sure.
    """
    low, high = BOUNDS.get(spec.domain, (-np.inf, np.inf))
    if spec.domain == "class" and spec.classes is not None:
        low, high = 0, spec.classes - 1
    elif spec.domain == "length" and spec.classes is not None:
        low, high = 1, spec.classes
    if not array[0].size:
        return None
    least, most = array.min(), array.max()
    if array.dtype.kind != "f":
        fine = low <= least and most <= high
    else:
        fine = low <= least <= most <= high and bool(np.isfinite(least) and np.isfinite(most))
    if fine and spec.domain == "binary" and array.dtype.kind == "f":
        fine = bool(((array == 0) | (array == 1)).all())
    return None if fine else _bad_value(spec, array, first, low, high)


def _bad_value(spec: FieldSpec, array: Array, first: int, low: float, high: float) -> Problem:
    bad = ~np.isfinite(array)
    code, wanted = "E553", "a finite number"
    if not bad.any():
        code = "E554"
        wanted = WANTED[spec.domain].format(last=(spec.classes or 1) - 1, most=spec.classes)
        bad = (array < low) | (array > high)
        if not bad.any():
            bad = (array != 0) & (array != 1)
    place = np.unravel_index(int(np.argmax(bad)), array.shape)
    inside = f"[{', '.join(str(int(i)) for i in place[1:])}]" if len(place) > 1 else ""
    value = array[place].item()
    shown = f"{value:.6g}" if isinstance(value, float) else value
    more = int(bad.sum()) - 1
    facts = (f"{more:,} more {'value' if more == 1 else 'values'} like it",) if more else ()
    message = f"example {first + int(place[0])} has {shown}{inside and ' at ' + inside}, "
    return Problem(code, f"{message}expected {wanted}", facts=facts, remedy=_scaled(spec, array))


def _scaled(spec: FieldSpec, array: Array) -> str:
    """Bytes where probabilities are expected are the commonest slip."""
    if spec.domain == "prob" and array.min() >= 0 and 1 < array.max() <= 255:
        return f"{spec.name} / 255"
    return ""
