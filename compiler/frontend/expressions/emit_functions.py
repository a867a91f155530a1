"""What tasks make to be seen: `text`, `plot` and `log_plot`, `tiles`, `examples`.

All but `tiles` take their arguments unread, for the places and the names of the arguments.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import prod

from dln.compiler.frontend.context import broadcasting, lengths
from dln.compiler.frontend.context.build_context import Build, Scope, Value
from dln.compiler.frontend.context.frame import Frame
from dln.compiler.frontend.context.static_values import tensor, whole
from dln.compiler.frontend.context.values import Examples, Plot, Text, describe, shown, whole_number
from dln.compiler.frontend.data.datasets import bind_fields, on_part
from dln.compiler.ir.graph import Node
from dln.compiler.ir.sizes import Size
from dln.compiler.ir.structure import is_clock
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Note, Span

Piece = tuple[str | Node, str]
OPTIONS = ("on", "where", "n")


def label_of(expr: s.Expr) -> str:
    """What is emitted, in the spec's words; of `tiles(x, h, w)` x."""
    span: Span = expr.span
    if isinstance(expr, s.Call) and expr.function.span.text == "tiles" and expr.arguments:
        span = expr.arguments[0].span
    return broadcasting.short(span.text)


# ---- text --------------------------------------------------------------------------------------


def text(b: Build, expr: s.Call, scope: Scope) -> Text:
    """`text(prime, s)`: texts, sequences of classes in the alphabet of their data, and numbers."""
    pieces: list[Piece] = []
    for arg in expr.arguments:
        if isinstance(arg, s.Named | s.Ranged):
            b.fail("E322", "text takes no named arguments", arg.span, "takes the pieces in order")
        pieces += _pieces(b, b.evaluate(arg, scope), arg.span)
    return Text(tuple(pieces))


def _pieces(b: Build, value: Value, span: Span) -> Iterator[Piece]:
    if isinstance(value, Text):
        yield from value.pieces
    elif isinstance(value, str):
        yield value, ""
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield f"{value:g}", ""
    elif isinstance(value, Node) and value.type.domain.name == "class":
        yield value, _alphabet(b, value, span)
    elif isinstance(value, Node) and not value.type.shape and value.type.kind == "real":
        yield value, ""
    else:
        found = b.shown(value.type) if isinstance(value, Node) else describe(value)
        message = "a text is made of texts, classes and single numbers"
        b.fail("E390", message, span, f"is {found}", remedy="text(prime, s)")


def _alphabet(b: Build, node: Node, span: Span) -> str:
    """The alphabet of the text data set that has so many classes."""
    size = node.type.domain.size
    count = None if size is None else b.sizes.resolve(size).value
    sets = [d for d in b.data.sets.values() if d.alphabet is not None]
    fits = {d.alphabet: d for d in sets if d.alphabet and len(d.alphabet) == count}
    if len(fits) == 1:
        return next(iter(fits))
    domain = broadcasting.domain_text(b, node.type.domain)
    notes = tuple(
        Note(d.span, f"{d.name} has {len(d.alphabet or '')} characters")
        for d in (fits.values() or sets)
    )
    if fits:
        b.fail("E391", f"{len(fits)} texts have {count} characters", span, f"is a {domain}", notes)
    b.fail("E391", f"no text has the alphabet of a {domain}", span, f"is a {domain}", notes)


# ---- pictures ----------------------------------------------------------------------------------


def plot(b: Build, expr: s.Call, scope: Scope) -> Plot:
    """`plot(a, b)`: curves in one picture; `plot(RNN = a, LSTM = b)` says what they are called."""
    return _plot(b, expr, scope, log=False)


def log_plot(b: Build, expr: s.Call, scope: Scope) -> Plot:
    """The same on a logarithmic scale."""
    return _plot(b, expr, scope, log=True)


def _plot(b: Build, expr: s.Call, scope: Scope, log: bool) -> Plot:
    name = broadcasting.short(expr.function.span.text)
    if not expr.arguments:
        b.fail("E322", f"{name} takes at least one curve", expr.span, remedy=f"{name}(sse.error)")
    curves: list[tuple[str, Node, Span]] = []
    for arg in expr.arguments:
        if isinstance(arg, s.Ranged):
            b.fail("E322", f"{name} binds no index", arg.span, "takes curves")
        curves += _curves(b, arg, scope)
    return Plot(tuple(curves), log)


def _curves(b: Build, arg: s.Arg, scope: Scope) -> Iterator[tuple[str, Node, Span]]:
    """The curve of an argument, called by its name or else by its text; or those of a list."""
    expr = arg.value if isinstance(arg, s.Named) else arg
    label = arg.name if isinstance(arg, s.Named) else broadcasting.short(arg.span.text)
    value = b.evaluate(expr, scope)
    if not _is_several(value):
        yield label, broadcasting.as_tensor(b, value, expr.span, "a curve"), expr.span
        return
    items = expr.items if isinstance(expr, s.ListOf) and expr is arg else ()
    for i, v in enumerate(value):
        name = broadcasting.short(items[i].span.text) if items else f"{label}[{i}]"
        yield name, broadcasting.as_tensor(b, v, expr.span, "a curve"), expr.span


def _is_several(value: Value) -> bool:
    """Whether a list is one of curves (vectors, watches), not of the numbers of one curve."""
    nodes = [v for v in value if isinstance(v, Node)] if isinstance(value, list) else []
    return any(n.type.shape or is_clock(n) for n in nodes)


def tiles(b: Build, span: Span, x: Value, h: Value, w: Value) -> Node:
    """The numbers of one example as images of h x w: one, or n of them, [n, h, w]."""
    node = broadcasting.as_tensor(b, x, span)
    at = b.blame(x, span)
    h, w = (_side(b, v, span) for v in (h, w))
    sizes = [b.sizes.resolve(size).value for size in node.type.example]
    known = [n for n in sizes if n is not None]
    if len(known) < len(sizes):
        b.fail("E209", "tiles needs known sizes", at, f"is {b.shown(node.type)}")
    if h * w not in [prod(known[i:]) for i in range(len(known))]:
        message = f"tiles of {h} x {w} need {h * w} numbers each"
        b.fail("E392", message, at, f"is {b.shown(node.type)}")
    node = lengths.cleared(b, node, span)
    n = prod(known) // (h * w)
    many = (Size(n),) if n > 1 or not node.type.running else ()
    shape = (*node.type.lead, *many, Size(h), Size(w))
    return b.at(span)("reshape", node, shape=shape, running=node.type.running)


def _side(b: Build, side: Value, span: Span) -> int:
    number = whole_number(side)
    if number is None or number < 1:
        label = f"is {shown(side)}"
        b.fail("E305", "the sides of a tile are whole numbers", b.blame(side, span), label)
    return number


# ---- examples of data --------------------------------------------------------------------------


def examples(b: Build, expr: s.Call, scope: Scope) -> Examples:
    """`examples(x, on = mnist_test, where = argmax(net(x)) != label, n = 20)`: an expression over
    the fields of a data set, for its first n examples that a condition holds for.

    `examples(seen = x, made = net(x), on = mnist_test)`: several of one shape, with their names.
    """
    named = {a.name: a.value for a in expr.arguments if isinstance(a, s.Named)}
    rows = {name: value for name, value in named.items() if name not in OPTIONS}
    plain = [a for a in expr.arguments if not isinstance(a, s.Named | s.Ranged)]
    ranged = [a for a in expr.arguments if isinstance(a, s.Ranged)]
    if ranged or "on" not in named or (len(plain) != 1 if not rows else plain):
        at = ranged[0].span if ranged else plain[-1].span if len(plain) > 1 or rows else expr.span
        label = "takes one expression, or several with names, and on, where, n"
        remedy = "examples(x, on = mnist_test)"
        b.fail("E322", "examples takes expressions over a data set", at, label, remedy=remedy)
    data, part = on_part(b, named["on"], scope)
    count = whole(b, named["n"], scope, "the number of examples") if "n" in named else 20
    if count < 1:
        b.fail("E305", "the number of examples is at least 1", named["n"].span, f"is {count}")
    inner = scope.child()
    bind_fields(b, data, inner)
    each = replace(b, frame=Frame(next(b.counter), batched=True, site=f"{scope.path}.examples"))
    value = _rows(each, rows, inner) if rows else tensor(each, plain[0], inner)
    value = _of_each(each, value, expr.span if rows else plain[0].span)
    where = _condition(each, named["where"], inner) if "where" in named else None
    label = ", ".join(rows) or label_of(plain[0])
    return Examples(value, where, data.name, part, count, label, tuple(rows))


def _rows(b: Build, rows: Mapping[str, s.Expr], scope: Scope) -> Node:
    """Several values of an example, one above the other."""
    exprs = list(rows.values())
    span = exprs[0].span.to(exprs[-1].span)
    return broadcasting.as_tensor(b, [tensor(b, e, scope) for e in exprs], span)


def _condition(b: Build, expr: s.Expr, scope: Scope) -> Node:
    where = _of_each(b, tensor(b, expr, scope), expr.span)
    if len(where.type.shape) > 1:
        label = f"is {b.shown(where.type)}"
        b.fail("E396", "a condition is one truth value for each example", expr.span, label)
    return where


def _of_each(b: Build, node: Node, span: Span) -> Node:
    """A tensor with the examples as its first axis."""
    running = node.type.running
    if "batch" not in running:
        b.fail("E396", "examples shows what differs from example to example", span, "is one value")
    if node.type.kind != "bool":
        node = lengths.cleared(b, node, span)
    k = running.index("batch")
    perm = (k, *(i for i in range(len(node.type.shape)) if i != k))
    return node if k == 0 else b.at(span)("transpose", node, perm=perm)
