"""What a spec is handed by an estimator: X, what is to be learnt, weights.

It is read off the text, before any size is known. Faults: E591 a spec that takes something else
than an estimator has, with the place of the data set.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any, NoReturn

from dln import given
from dln.compiler.schema import arguments
from dln.given import GivenField, GivenSet
from dln.grammar import syntax as s
from dln.grammar.diagnostics import DlnError, Problem, Source, Span
from dln.grammar.record import Record
from dln.spec import find, load_used, parsed, read

WEIGHTS = ("weight", "weights", "sample_weight")
"""What a field of weights is called."""


class SpecError(DlnError, ValueError):
    """A spec or arrays that an estimator cannot be fitted to, as scikit-learn expects it."""


class Columns(Record, eq=False):
    """The data set of a spec that an estimator hands its arrays to: the field that takes X, the one
    that takes y if there is one, the one that takes weights if there is one, its parts, and where
    it stands. `words` are the names of the classes of y, where the spec says them."""

    data: str
    x: GivenField
    target: GivenField | None
    weight: GivenField | None
    parts: tuple[str, ...]
    span: Span | None
    words: tuple[str, ...] = ()


def source_of(spec: Any) -> Source:
    """The text of a spec, given as a path, as the name of a shipped one, or itself. Raises
    `DlnError` E010, E011, E563."""
    if isinstance(spec, str) and "\n" in spec:
        return Source("<text>", str(spec))
    text = arguments.path(
        "the spec", os.fspath(spec) if isinstance(spec, Path) else spec, "net.dln"
    )
    return read(find(text))


def module_of(source: Source) -> s.Module:
    """The tree of a spec; that of a text which was asked for before is kept."""
    return parsed(source.path, source.text)[1]


def refuse(message: str, span: Span | None, label: str = "", remedy: str = "") -> NoReturn:
    """Raise `DlnError` E591, of a spec that an estimator cannot be made of."""
    raise SpecError([Problem("E591", message, span, label, remedy=remedy)])


def columns_of(source: Source, constants: Mapping[str, object], kind: str) -> Columns:
    """The fields that an estimator of a `kind` (classifier, regressor, transformer) hands over.
    Raises `DlnError` E591 where the spec has not just one set with such fields."""
    kept, module = parsed(source.path, source.text)
    wanting = given.asked(kept, module, load_used)
    found = given.described(wanting, constants)
    spans = {item.name: item.span for item in module.items if isinstance(item, s.Data)}
    wanted = EXAMPLES[kind]
    if not found:
        span, remedy = next(iter(spans.values()), None), f"data d = {wanted}"
        refuse(f"a {kind} hands arrays to a set that is given, and the spec has none", span,
               "reads its examples itself" if span else "", remedy)  # fmt: skip
    names = list(found)
    if len(found) > 1:
        text = f"a {kind} has one X, and the spec wants several sets: {', '.join(names)}"
        remedy = "split fit 0.8, valid 0.2 in one set in place of a second one"
        refuse(text, spans.get(names[1]), "is a second one", remedy)
    name = names[0]
    asked = _fields(found[name], spans.get(name), kind)
    domains = {p.name: p.domain for p in wanting.ports[name]}
    domain = None if asked.target is None else domains[asked.target.name]
    words = () if domain is None else tuple(word.value for word in domain.words)
    return asked.changed(words=words)


EXAMPLES = {
    "classifier": "given(x[n], label: class(k))",
    "regressor": "given(x[n], y[m])",
    "transformer": "given(x[n])",
}


def _fields(wants: GivenSet, span: Span | None, kind: str) -> Columns:
    """Which field of a set is which: weights by their name, y by its domain, or as the last."""
    fields = [f for f in wants.fields if f.name not in WEIGHTS]
    weight = next((f for f in wants.fields if f.name in WEIGHTS), None)
    labels = [f for f in fields if f.domain == "class" and not f.shape]
    target = None
    if kind == "classifier":
        if len(labels) != 1:
            how = "no field of one class" if not labels else f"{len(labels)} fields of classes"
            refuse(f"a classifier learns one class for each example, and {wants.name} has {how}",
                   span, "is handed X and y", f"data {wants.name} = {EXAMPLES[kind]}")  # fmt: skip
        target = labels[0]
    elif kind == "regressor":
        if labels:
            text = f"a regressor learns numbers, and {labels[0].name} of {wants.name} is a class"
            refuse(text, span, "is handed X and y", "DlnClassifier for classes")
        target = fields[1] if len(fields) > 1 else None
        if target is None:
            text = f"a regressor is given y, and {wants.name} has no field for it"
            refuse(text, span, "is handed X and y", f"data {wants.name} = {EXAMPLES[kind]}")
    elif labels and len(fields) == 2:
        target = labels[0]
    rest = [f for f in fields if f is not target]
    if len(rest) != 1:
        listed = ", ".join(f.name for f in rest) or "no such field"
        text = f"a {kind} hands X to one field, and {wants.name} has {listed}"
        remedy = f"data {wants.name} = {EXAMPLES[kind]}, its columns cut as x[0:3]"
        refuse(text, span, "is handed one X", remedy)
    if weight is not None and weight.shape:
        text = f"{weight.name} takes the weights of examples, one number each"
        refuse(text, span, "has more for each example", weight.name)
    return Columns(wants.name, rest[0], target, weight, wants.parts, span)


# ---- sizes -------------------------------------------------------------------------------------


def sizes_of(asked: Columns, features: int, classes: int | None, outputs: int) -> dict[str, int]:
    """The open sizes of a set by name, for X of so many `features`, and y of so many `classes`, or
    `outputs` for each example. Raises `DlnError` E591 where they do not fit."""
    sizes = dict[str, int]()
    _shaped(asked, asked.x, features, sizes)
    target = asked.target
    if target is None or classes is None:
        if target is not None:
            _shaped(asked, target, outputs, sizes)
        return sizes
    if asked.words and len(asked.words) != classes:
        text = (
            f"{target.name} has the classes {', '.join(asked.words)}, and y has {classes} classes"
        )
        refuse(text, asked.span, "says which", f"{target.name}: class(k)")
    if isinstance(target.classes, str):
        sizes.setdefault(target.classes, classes)
        if sizes[target.classes] != classes:
            text = f"{target.classes} is {sizes[target.classes]} in X, and y has {classes} classes"
            refuse(text, asked.span)
    elif target.classes is not None and target.classes != classes:
        text = f"{target.name} has {target.classes} classes, and y has {classes}"
        remedy = f"{target.name}: class(k), where k is defined nowhere: it follows from y"
        refuse(text, asked.span, "says how many", remedy)
    return sizes


def _shaped(asked: Columns, field: GivenField, numbers: int, sizes: dict[str, int]) -> None:
    """The open size of a field of which each example has so many numbers."""
    known = [sizes.get(d, d) if isinstance(d, str) else d for d in field.shape]
    still = [d for d in known if isinstance(d, str)]
    fixed = prod(d for d in known if isinstance(d, int))
    shown = f"{field.name}[{', '.join(map(str, field.shape))}]" if field.shape else field.name
    if len(still) > 1:
        text = f"which sizes {shown} has does not follow from the {numbers} numbers of an example"
        remedy = ", ".join(f"{name} = ..." for name in still[1:])
        refuse(text, asked.span, "leaves several open", f"constants of the estimator: {remedy}")
    if still and fixed and numbers % fixed == 0:
        if not still[0].isidentifier():
            refuse(f"{shown} does not follow from arrays", asked.span, "has a size worked out")
        sizes[still[0]] = numbers // fixed
    elif still or fixed != numbers:
        text = f"{shown} of {asked.data} cannot take {numbers} numbers for each example"
        refuse(text, asked.span, "says another size", f"{field.name}[n], n defined nowhere")


def shape_of(field: GivenField, sizes: Mapping[str, object]) -> tuple[int, ...]:
    """The shape of an example, with open sizes as they are bound."""
    found = (sizes.get(d, d) if isinstance(d, str) else d for d in field.shape)
    return tuple(d for d in found if isinstance(d, int))
