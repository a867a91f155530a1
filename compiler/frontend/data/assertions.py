"""`x as prob`, `n as real`, `raw[2] as class(3)`: a domain said by the one who knows.

In a data set it is checked when the data are read: what is asserted goes to `b.claims`. Elsewhere
nothing looks at the values, so no class is made there of numbers, whose fractions would be lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import Any

from dln.compiler.frontend.context import broadcasting, lengths
from dln.compiler.frontend.context.build_context import Build, Scope
from dln.compiler.frontend.context.static_values import domain_of
from dln.compiler.frontend.data.columns import as_classes, class_of
from dln.compiler.ir.graph import Node
from dln.compiler.ir.structure import is_const, is_input, number
from dln.compiler.ir.tensor_type import Domain
from dln.compiler.model import FieldOf
from dln.compiler.schema.tables import BOUNDS, WANTED
from dln.grammar import syntax as s

UNBOUNDED = ("real", "logit")


def asserted(b: Build, node: Node, expr: s.Asserted, scope: Scope) -> Node:
    """A tensor in the domain that is said."""
    if (coded := as_classes(b, expr.body, expr.domain, scope)) is not None:
        return class_of(b, coded, expr.span)
    domain = domain_of(b, expr.domain, scope)
    assert domain is not None
    value = node
    _within(b, node, domain, expr)
    if domain.name == "class":
        _may_be_class(b, node, domain, expr)
        if node.type.kind != "index":
            node = b.at(expr.span)("cast", node, kind="index")
    elif node.type.kind == "index" and domain.name == "real":
        node = b.at(expr.span)("cast", node, kind="real")
    elif node.type.kind == "index":
        node = broadcasting.quantity(b, node, expr.body.span)
    made = b.at(expr.span)("asserted", node, domain=domain)
    if b.claims is not None and domain.name not in UNBOUNDED and "batch" in made.type.running:
        if value.type.running != ("batch",):  # all axes but that of the examples as they stand
            at = value.type.running.index("batch")
            rest = (i for i in range(len(value.type.shape)) if i != at)
            value = b.at(expr.span)("transpose", value, perm=(at, *rest))
            value = b.at(expr.span)("running", value, running=("batch",))
        text, timed = broadcasting.short(expr.body.span.text), 1 in lengths.uneven(b, value.type)
        b.claims.append(FieldOf(text, made, value, False, expr.span, timed))
    return made


def _within(b: Build, node: Node, domain: Domain, expr: s.Asserted) -> None:
    """Refuse numbers that are known and lie outside of the domain that is said."""
    low, high = BOUNDS.get(domain.name, (-inf, inf))
    known = _flat(node["value"]) if is_const(node) else filter(None, [number(node)])
    for value in known:
        between = domain.name == "binary" and value not in (low, high)
        if between or not low <= value <= high:
            text, body = f"{domain.name} is {WANTED[domain.name]}, not {value:g}", expr.body.span
            label = f"{'holds' if node.type.shape else 'is'} {value:g}"
            remedy = f"other numbers, or {broadcasting.short(body.text)} alone"
            b.fail("E317", text, body, label, remedy=remedy)


def _may_be_class(b: Build, node: Node, domain: Domain, expr: s.Asserted) -> None:
    """A class may be made of what is checked: of data where they are read, of constants here; and
    of what can be nothing else, truth values and other classes, if it has as many values."""
    found, size, at = node.type.domain, b.number(domain.size), expr.body.span
    if is_const(node):
        for value in _flat(node["value"]):
            if value != int(value) or value < 0 or (size is not None and value >= size):
                shown = f"{value:g}" if isinstance(value, float) else value
                last = "" if size is None else f", 0 to {size - 1}"
                b.fail("E317", f"{shown} is no class{last}", at, f"holds {shown}")
    elif found.name == "class" or node.type.kind == "bool" or found.name == "binary":
        need = 2 if found.size is None else b.number(found.size)
        if size is not None and need is not None and size < need:
            text = f"{broadcasting.domain_text(b, found)} has {need} values"
            b.fail("E317", text, at, f"more than class({size}) names")
    elif b.claims is None:
        name = node["name"] if is_input(node) else "label"
        text = "numbers become a class where the data are read"
        label = "may have a fraction, or lie outside of the classes: nothing checks it here"
        field = f"declare the field in the data set, {name}: {broadcasting.domain_text(b, domain)}"
        b.fail("E317", text, at, label, remedy=f"{field} = ..., or take an argmax(...)")


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, tuple | list):
        for part in value:
            yield from _flat(part)
    elif hasattr(value, "tolist"):
        yield from _flat(value.tolist())
    else:
        yield value
