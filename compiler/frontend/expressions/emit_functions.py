"""What tasks make to be seen: `text`, `plot` and `log_plot`, `tiles`, and of the examples of a data
set `examples` and tables of classes (`confusion`).

All but `tiles` take their arguments unread, for the places and the names of the arguments. Which
forms there are stands in `context/artefacts.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from math import isqrt, prod

from dln.compiler.frontend.context import broadcasting, lengths
from dln.compiler.frontend.context.artefacts import FORMS, Artefact, Part
from dln.compiler.frontend.context.build_context import Build, Scope, Value
from dln.compiler.frontend.context.frame import Frame
from dln.compiler.frontend.context.place import replace
from dln.compiler.frontend.context.static_values import tensor, whole
from dln.compiler.frontend.context.values import WHOLE, describe, unfit, whole_number
from dln.compiler.frontend.data.datasets import bind_fields, on_part
from dln.compiler.frontend.tensors.domains import want_domain
from dln.compiler.ir.graph import Node
from dln.compiler.ir.meeting import meet
from dln.compiler.ir.sizes import Size
from dln.compiler.ir.structure import is_clock
from dln.compiler.ir.tensor_type import Domain
from dln.compiler.model import DataSet, EmittedPart
from dln.compiler.schema.records import On
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
        names = class_names(b, value)
        letters = "" if names else _alphabet(b, value, span)
        yield EmittedPart(value, alphabet=letters, classes=names), span
    elif isinstance(value, Node) and not value.type.shape and value.type.kind == "real":
        yield EmittedPart(value), span
    else:
        found = b.shown(value.type) if isinstance(value, Node) else describe(value)
        message = "a text is made of texts, classes and single numbers"
        b.fail("E390", message, span, f"is {found}", facts=("as in text(prime, s)",))


def class_names(b: Build, node: Node) -> tuple[str, ...]:
    """What the classes of a value are called, where the data have one set of so many names."""
    if node.type.domain.name != "class":
        return ()
    count = b.number(node.type.domain.size)
    found = {n for d in b.data.sets.values() for n in d.names.values() if len(n) == count}
    return next(iter(found)) if len(found) == 1 and not b.data.alphabets(count) else ()


def _alphabet(b: Build, node: Node, span: Span) -> str:
    """The alphabet of the text data set that has so many classes."""
    count = b.number(node.type.domain.size)
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
    if isinstance(value, str):
        text = "a picture of curves has their names, and no other words"
        fact = "as in plot(error = sse.error)"
        b.fail("E302", text, arg.span, "is a text", facts=(fact,))
    items = value if isinstance(value, list) else []
    nodes = [v for v in items if isinstance(v, Node)]
    if not any(n.type.shape or is_clock(n) for n in nodes):  # else vectors or watches, one a curve
        yield _curve(b, value, label, expr.span)
        return
    said = expr.items if isinstance(expr, s.ListOf) and expr is arg else ()
    for i, v in enumerate(items):
        name = broadcasting.short(said[i].span.text) if said else f"{label}[{i}]"
        yield _curve(b, v, name, expr.span)


def _curve(b: Build, value: Value, label: str, span: Span) -> Part:
    return EmittedPart(broadcasting.as_tensor(b, value, span, "a curve"), label=label), span


def tiles(b: Build, span: Span, x: Value, h: Value, w: Value) -> Node:
    """The numbers of one example as images of h x w: one, or n of them, [n, h, w]."""
    node = broadcasting.as_tensor(b, x, span)
    at = b.blame(x, span)
    sides = b.blame(h, span).to(b.blame(w, span))
    h, w = (_side(b, v, span) for v in (h, w))
    sizes = [b.number(size) for size in node.type.example]
    known = [n for n in sizes if n is not None]
    if len(known) < len(sizes):
        b.fail("E209", "tiles needs known sizes", at, f"is {b.shown(node.type)}")
    if h * w not in [prod(known[i:]) for i in range(len(known))]:
        message = f"tiles of {h} x {w} need {h * w} numbers each"
        side = isqrt(known[-1]) if known else 0
        remedy = f"{side}, {side}" if known and side * side == known[-1] else ""
        if len(known) == 2 and known[0] == h * w and re.fullmatch(r"[\w.]+", at.text):
            remedy = f"{at.text}'"  # pictures in its columns
        facts = ("what stands behind it are the sides of one picture, height and width",)
        facts = facts if known else ("as in tiles(x, 28, 28), of 784 numbers",)
        notes = (Note(sides, f"{h * w} numbers"),)
        b.fail(
            "E392", message, at, f"is {b.shown(node.type)}", notes, remedy, () if remedy else facts
        )
    node = lengths.cleared(b, node, span)
    n = prod(known) // (h * w)
    many = (Size(n),) if n > 1 or not node.type.running else ()
    shape = (*node.type.lead, *many, Size(h), Size(w))
    return b.at(span)("reshape", node, shape=shape, running=node.type.running)


def _side(b: Build, side: Value, span: Span) -> int:
    number = whole_number(side)
    if number is None or number < 1:
        text = "the sides of a tile are whole numbers"
        unfit(b, "E305", text, b.blame(side, span), side, WHOLE)
    return number


# ---- examples of a data set --------------------------------------------------------------------

OPTIONS = ("on", "where", "n")


def of_examples(form: str) -> Callable[[Build, s.Call, Scope], Artefact]:
    """The function of a form, such as

    `examples(x, on = mnist_test, where = argmax(net(x)) != label, n = 20)`: an expression over the
    fields of a data set, for its first n examples that a condition holds for; or several of one
    shape with their names, `examples(seen = x, made = net(x), on = mnist_test)`;

    `confusion(argmax(net(x)), label, on = mnist_test)`: classes of each example.
    """

    def make(b: Build, expr: s.Call, scope: Scope) -> Artefact:
        named = {name: a.value for name, a in expr.named.items()}
        rows = {name: value for name, value in named.items() if name not in OPTIONS}
        _refuse_others(b, form, expr, rows)
        data, part = on_part(b, named["on"], scope)
        count, n = FORMS[form].most, named.get("n")
        if n is not None:
            count = whole(b, n, scope, "the number of examples")
            if count < 1:
                text = "the number of examples is at least 1"
                unfit(b, "E305", text, n.span, count, WHOLE)
        inner = scope.child()
        bind_fields(b, data, inner)
        each = replace(b, frame=Frame(next(b.counter), batched=True, site=f"{scope.path}.{form}"))
        if FORMS[form].each:
            parts = _classes(each, form, expr.plain, inner, data)
        else:
            parts = (_shown(each, form, expr, rows, inner),)
        where, holds = named.get("where"), None
        if where is not None:
            holds = _of_each(each, form, tensor(each, where, inner), where.span)
            if len(holds.type.shape) > 1:
                text, label = "a condition is one truth value", f"is {b.shown(holds.type)}"
                b.fail("E396", f"{text} for each example", where.span, label)
        return Artefact(form, parts, On(data.name, part), holds, count)

    return make


def _refuse_others(b: Build, form: str, expr: s.Call, rows: Mapping[str, s.Expr]) -> None:
    """Refuse arguments that a form does not take; `rows` are those by name but for its options."""
    plain = expr.plain
    ranged = [a for a in expr.arguments if isinstance(a, s.Ranged)]
    wanted = FORMS[form].each
    fits = len(plain) == (len(wanted) or 1) if wanted or not rows else not plain
    if ranged or "on" not in expr.named or not fits or (wanted and rows):
        many = plain and (len(plain) > max(1, len(wanted)) or rows)
        at = ranged[0].span if ranged else plain[-1].span if many else expr.span
        takes = ", ".join(wanted) or "one expression, or several with names"
        what = "classes" if wanted else "expressions"
        message, label = f"{form} takes {what} over a data set", f"takes {takes}, and on, where, n"
        b.fail("E322", message, at, label, facts=(f"as in {FORMS[form].example}",))


def _shown(b: Build, form: str, expr: s.Call, rows: Mapping[str, s.Expr], scope: Scope) -> Part:
    """The value of each example; of several with names one above the other."""
    if not rows:
        one = expr.plain[0]
        value = _of_each(b, form, tensor(b, one, scope), one.span)
        return EmittedPart(value, label=label_of(one), axis="example", key="value"), one.span
    exprs = list(rows.values())
    span = exprs[0].span.to(exprs[-1].span)
    stacked = broadcasting.as_tensor(b, [tensor(b, e, scope) for e in exprs], span)
    value, label = _of_each(b, form, stacked, expr.span), ", ".join(rows)
    made = EmittedPart(value, label=label, axis="example", rows=tuple(rows), key="value")
    return made, expr.span


def _classes(
    b: Build, form: str, exprs: list[s.Expr], scope: Scope, data: DataSet
) -> tuple[Part, ...]:
    """The classes of each example, all of one set and one shape; `rows` are the names of the
    classes: the letters of the data, or numbers."""
    found = [want_domain(b, tensor(b, e, scope), Domain("class"), e.span, form, absent=True)
             for e in exprs]  # fmt: skip
    sizes = [node.type.domain.size for node in found]
    known = [size for size in sizes if size is not None]
    for size, expr in zip(sizes[1:], exprs[1:], strict=True):
        if size is not None and known[0] is not size:
            broadcasting.equal(b, known[0], size, expr.span, "these are classes of different sets")
    number = b.number(known[0]) if known else None
    if number is None:
        b.fail("E209", f"{form} needs to know how many classes there are", exprs[0].span)
    letters = data.alphabet if data.alphabet and len(data.alphabet) == number else None
    words = {names for names in data.names.values() if len(names) == number}
    named = next(iter(words)) if len(words) == 1 else _named_as(data, exprs, number)
    names = tuple(letters or named or map(str, range(number)))
    nodes = [_of_each(b, form, n, e.span) for n, e in zip(found, exprs, strict=True)]
    shapes = [[b.sizes.resolve(size) for size in node.type.shape] for node in nodes]
    for shape, expr in zip(shapes, exprs, strict=True):
        if shape != shapes[0]:
            label = f"is {_axes(shape)} for each example, not {_axes(shapes[0])}"
            b.fail("E396", f"{form} takes classes that go together", expr.span, label)
    parts = zip(FORMS[form].each, nodes, exprs, strict=True)
    return tuple((EmittedPart(node, key, label=label_of(e), axis="example", rows=names), e.span)
                 for key, node, e in parts)  # fmt: skip


def _named_as(data: DataSet, exprs: list[s.Expr], number: int) -> tuple[str, ...]:
    """The names of the classes of the field that one of the values is."""
    for expr in exprs:
        names = data.names.get(expr.id, ()) if isinstance(expr, s.Name) else ()
        if len(names) == number:
            return names
    return ()


def _axes(shape: list[Size]) -> str:
    """`[5]`, or that there is one number."""
    return f"[{', '.join(map(str, shape[1:]))}]" if shape[1:] else "one class"


def _of_each(b: Build, form: str, node: Node, span: Span) -> Node:
    """A tensor with the examples as its first axis."""
    running = node.type.running
    if "batch" not in running:
        text = f"{form} shows what differs from example to example"
        label = f"is {b.shown(node.type)}, the same for each"
        b.fail("E396", text, span, label, facts=("as in argmax(net(x)) != label, of its fields",))
    if meet([node]):
        text = f"{form} takes each example by itself, and here the examples of a minibatch meet"
        b.fail("E423", text, span, "depends on the others", facts=("it can be watched",))
    if node.type.kind != "bool":
        node = lengths.cleared(b, node, span)
    k = running.index("batch")
    perm = (k, *(i for i in range(len(node.type.shape)) if i != k))
    return node if k == 0 else b.at(span)("transpose", node, perm=perm)
