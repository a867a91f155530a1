"""What tasks make to be seen: `text`, `plot` and `log_plot`, `tiles`; `example_functions` has what
they make of examples.

All but `tiles` take their arguments unread, for the places and the names of the arguments. Which
forms there are stands in `context/artefacts.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod

from dln.compiler.frontend.context import broadcasting, lengths
from dln.compiler.frontend.context.artefacts import Artefact, Part
from dln.compiler.frontend.context.build_context import Build, Scope, Value
from dln.compiler.frontend.context.values import describe, shown, whole_number
from dln.compiler.ir.graph import Node
from dln.compiler.ir.sizes import Size
from dln.compiler.ir.structure import is_clock
from dln.compiler.model import EmittedPart
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Note, Span


def label_of(expr: s.Expr) -> str:
    """What is emitted, in the spec's words; of `tiles(x, h, w)` x."""
    span: Span = expr.span
    if isinstance(expr, s.Call) and expr.function.span.text == "tiles" and expr.arguments:
        span = expr.arguments[0].span
    return broadcasting.short(span.text)


# ---- text --------------------------------------------------------------------------------------


def text(b: Build, expr: s.Call, scope: Scope) -> Artefact:
    """`text(prime, s)`: texts, sequences of classes in the alphabet of their data, and numbers."""
    pieces: list[Part] = []
    for arg in expr.arguments:
        if isinstance(arg, s.Named | s.Ranged):
            b.fail("E322", "text takes no named arguments", arg.span, "takes the pieces in order")
        pieces += _pieces(b, b.evaluate(arg, scope), arg.span)
    return Artefact("text", tuple(pieces))


def _pieces(b: Build, value: Value, span: Span) -> Iterator[Part]:
    if isinstance(value, Artefact) and value.form == "text":
        yield from value.parts
    elif isinstance(value, str):
        yield EmittedPart(value), span
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield EmittedPart(f"{value:g}"), span
    elif isinstance(value, Node) and value.type.domain.name == "class":
        yield EmittedPart(value, alphabet=_alphabet(b, value, span)), span
    elif isinstance(value, Node) and not value.type.shape and value.type.kind == "real":
        yield EmittedPart(value), span
    else:
        found = b.shown(value.type) if isinstance(value, Node) else describe(value)
        message = "a text is made of texts, classes and single numbers"
        b.fail("E390", message, span, f"is {found}", remedy="text(prime, s)")


def _alphabet(b: Build, node: Node, span: Span) -> str:
    """The alphabet of the text data set that has so many classes."""
    size = node.type.domain.size
    count = None if size is None else b.sizes.resolve(size).value
    fits = b.data.alphabets(count)
    if len(fits) == 1:
        return next(iter(fits))
    domain = broadcasting.domain_text(b, node.type.domain)
    notes = tuple(
        Note(d.span, f"{d.name} has {len(d.alphabet or '')} characters")
        for d in (fits or b.data.sets).values()
        if d.alphabet is not None
    )
    if fits:
        b.fail("E391", f"{len(fits)} texts have {count} characters", span, f"is a {domain}", notes)
    b.fail("E391", f"no text has the alphabet of a {domain}", span, f"is a {domain}", notes)


# ---- pictures ----------------------------------------------------------------------------------


def curves(form: str) -> Callable[[Build, s.Call, Scope], Artefact]:
    """`plot(a, b)`: curves in one picture; `plot(RNN = a, LSTM = b)` says what they are called."""

    def plot(b: Build, expr: s.Call, scope: Scope) -> Artefact:
        name = broadcasting.short(expr.function.span.text)
        if not expr.arguments:
            said = f"{name} takes at least one curve"
            b.fail("E322", said, expr.span, remedy=f"{name}(sse.error)")
        found: list[Part] = []
        for arg in expr.arguments:
            if isinstance(arg, s.Ranged):
                b.fail("E322", f"{name} binds no index", arg.span, "takes curves")
            found += _curves(b, arg, scope)
        return Artefact(form, tuple(found))

    return plot


def _curves(b: Build, arg: s.Arg, scope: Scope) -> Iterator[Part]:
    """The curve of an argument, called by its name or else by its text; or those of a list."""
    expr = arg.value if isinstance(arg, s.Named) else arg
    label = arg.name if isinstance(arg, s.Named) else broadcasting.short(arg.span.text)
    value = b.evaluate(expr, scope)
    if not _is_several(value):
        yield _curve(b, value, label, expr.span)
        return
    items = expr.items if isinstance(expr, s.ListOf) and expr is arg else ()
    for i, v in enumerate(value):
        name = broadcasting.short(items[i].span.text) if items else f"{label}[{i}]"
        yield _curve(b, v, name, expr.span)


def _curve(b: Build, value: Value, label: str, span: Span) -> Part:
    return EmittedPart(broadcasting.as_tensor(b, value, span, "a curve"), label=label), span


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
