"""What a block promises of its results, and its equations do not give: time, or another shape."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dln.compiler.frontend.context import broadcasting
from dln.compiler.frontend.context.build_context import Build, Instance, Scope
from dln.compiler.frontend.context.ports import Axes
from dln.compiler.frontend.context.static_values import lookup
from dln.compiler.ir.graph import Node
from dln.compiler.ir.sizes import Size
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Note, Span


def refuse_timed(
    b: Build, made: Instance, port: s.Port, node: Node, running: Axes, who: str, body: Scope
) -> None:
    """A sequence for a result that runs over no time: its last element is meant, or all of it. Only
    a block that is mapped over time, as what it is given runs over it, gives one."""
    if "time" not in node.type.running or "time" in running or _is_mapped(b, made, body):
        return
    rest = re.sub(r"^\w+\[", lambda m: f"{m[0]}time, ", port.span.text)
    if not port.dims:
        rest = re.sub(r"^\w+", lambda m: f"{m[0]}[time]", port.span.text)
    fact = f"at the end alone it is last({port.name}), under a name of its own"
    text, label = f"{who}, which runs over no time", f"is {b.shown(node.type)}"
    b.fail("E214", text, port.span, label, (), rest, (fact,), _lasts(made, port))


def _is_mapped(b: Build, made: Instance, body: Scope) -> bool:
    """Whether what a block is given, or made with, runs over time where no port says so."""
    if any("time" in axes for axes, *_ in made.ports):
        return False
    syntax = made.definition.syntax
    given = [(body, p.name) for p in syntax.ports]
    given += [(made.scope, o.name) for o in syntax.options if o.name in made.scope.names]
    values = (lookup(b, name, syntax.span, scope) for scope, name in given)
    return any(isinstance(v, Node) and "time" in v.type.running for v in values)


def _lasts(made: Instance, port: s.Port) -> tuple[tuple[Span, str], ...]:
    """What gives the end of a sequence alone, in the equation of a result."""
    lines = (st for st in made.definition.syntax.body if isinstance(st, s.Define))
    value = next((st.value for st in lines if st.target.name == port.name), None)
    if value is None:
        return ()
    return ((value.span, f"last({broadcasting.whole_text(value.span.text)})"),)


def refuse_rank(
    b: Build,
    made: Instance,
    port: s.Port,
    node: Node,
    sizes: Sequence[Size],
    body: Scope,
) -> None:
    """A vector for `-> y`, which is one number: one of one entry is summed, another is promised."""
    lines = (st for st in made.definition.syntax.body if isinstance(st, s.Define))
    line = next((st for st in lines if st.target.name == port.name), None)
    if line is not None and line.target.dims and len(node.type.example) > len(sizes):
        value = line.value.span.text
        free = [
            d for d in line.target.dims if not re.search(rf"\b{d.span.text.split()[0]}\b", value)
        ]
        kept = [d.span.text for d in line.target.dims if d not in free]
        if free and line.target.span.source is b.source:
            text = f"{free[0].span.text} stands nowhere in the value of {port.name}"
            remedy = f"{port.name}[{', '.join(kept)}]" if kept else port.name
            b.fail("E215", text, line.target.span, f"makes it {b.shown(node.type)}", (), remedy)
    if port.dims or len(node.type.example) != 1 or port.span.source is not b.source:
        return
    known = b.number(node.type.example[0])
    text, label = f"{made.name} promises {port.name}: a single number", f"is {b.shown(node.type)}"
    notes = (Note(port.span, "is promised here"),)
    if line is not None and (product := _product_in(b, line.value, body)) is not None:
        remedy = " @ ".join(e.span.text for e in (product.left, product.right))
        text += ": a sum of products is written @"
        b.fail("E215", text, product.span, label, notes, remedy)
    if known == 1 and line is not None and (of := _first_step(b, line.value, body)):
        text += f", and {broadcasting.short(line.value.span.text)} is the first step of a sequence"
        b.fail("E215", text, line.value.span, label, notes, f"last({of})[0]")
    if "time" in node.type.running and line is not None:
        facts = ("of a sequence, last(...) is its last element",)
        b.fail("E215", text, line.value.span, label, notes, "", facts)
    if known == 1 and line is not None:
        remedy = f"sum({broadcasting.whole_text(line.value.span.text)})"
        b.fail("E215", text, line.value.span, label, notes, remedy)
    if known is not None:
        remedy = re.sub(r"^\w+", lambda m: f"{m[0]}[{known}]", port.span.text)
        b.fail("E215", text, port.span, label, (), remedy)


def _first_step(b: Build, expr: s.Expr, body: Scope) -> str:
    """`z` of `z[0]`, where z runs over time: its first step has been taken for its first number."""
    if not isinstance(expr, s.Index) or expr.span.text.count("[") != 1:
        return ""
    value = b.evaluate(expr.body, body)
    timed = isinstance(value, Node) and "time" in value.type.running
    return expr.body.span.text if timed and re.search(r"\[\s*0\s*\]$", expr.span.text) else ""


def _product_in(b: Build, expr: s.Syntax, body: Scope) -> s.Binary | None:
    """The product of two vectors, element by element, among the terms of an equation."""
    if isinstance(expr, s.Binary) and expr.op == "*":
        values = [b.evaluate(e, body) for e in (expr.left, expr.right)]
        ranks = [len(v.type.example) for v in values if isinstance(v, Node)]
        return expr if ranks == [1, 1] else None
    if isinstance(expr, s.Flow):
        return None
    return next(filter(None, (_product_in(b, part, body) for part in expr.children())), None)
