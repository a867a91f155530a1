"""Pointwise operations on aligned tensors: arithmetic, comparison, choice."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dln.compiler.frontend.context import absences, counting, lengths
from dln.compiler.frontend.context.broadcasting import (
    align,
    as_tensor,
    domain_text,
    equal,
    quantity,
    short,
    whole_text,
)
from dln.compiler.frontend.context.build_context import Build, Value
from dln.compiler.frontend.context.values import IndexVar
from dln.compiler.ir.graph import Node, ancestors
from dln.compiler.ir.sizes import Size
from dln.compiler.ir.structure import is_const, is_draw, is_input
from dln.compiler.ir.tensor_type import BINARY, TIME, Domain, IndexAxis
from dln.compiler.schema.tables import COMPARISONS
from dln.grammar.diagnostics import Note, Span


def unary(b: Build, op: str, value: Value, span: Span) -> Node:
    return b.at(span)(op, quantity(b, value, span))


def binary(
    b: Build, op: str, left: Value, right: Value, span: Span, spans: Sequence[Span] = ()
) -> Node:
    """An arithmetic operation on two values of which at least one is a tensor. `spans` are theirs,
    where they stand in places of their own."""
    spans = spans or (span, span)
    _refuse_class(b, (left, right), spans)
    nodes = [quantity(b, v, s) for v, s in zip((left, right), spans, strict=True)]
    refuse_pairs(b, nodes, spans)
    for node, other in (nodes, nodes[::-1]):
        if (at := b.facts.single.get(node)) is not None and not _mixes(node):
            _warn_of_one(b, at, other)
    nodes = align(b, nodes, span, spans)
    if op == "div":
        nodes[0] = lengths.numerator(b, *nodes)
    return b.at(span)(op, *nodes)


def _mixes(node: Node) -> bool:
    """Whether a draw is a share, `u * a + (1 - u) * b`, of which one for all of it is meant."""
    kinds = {n["kind"] for n in ancestors([node]) if is_draw(n)}
    return node.type.domain != BINARY and kinds == {"uniform"}


def _warn_of_one(b: Build, at: Span, other: Node) -> None:
    """`keep ~ bernoulli(0.7)` beside a vector: the same draw for all of it."""
    axes = zip(other.type.running, other.type.lead, strict=True)
    indexed = [size for axis, size in axes if isinstance(axis, IndexAxis)]
    sizes = [b.number(n) for n in (*indexed, *other.type.example)]
    if not sizes:
        return
    if at.source is b.source and None not in sizes:
        text = f"{at.text} is one draw for each example, and meets {sizes}"
        remedy = f"{at.text}[{', '.join(map(str, sizes))}]"
        fact = f"drawn as {remedy} it is another at each index, {at.text}[i]"
        own = {"facts": (fact,)} if indexed else {"remedy": remedy}
        b.warn("W308", text, at, label="is the same for all of it", **own)


def compare(
    b: Build, sign: str, left: Value, right: Value, span: Span, spans: tuple[Span, Span]
) -> Node:
    """A comparison. Classes compare with classes (and whole numbers) by == and != only."""
    values = (left, right)
    nodes = [as_tensor(b, v, s) for v, s in zip((left, right), spans, strict=True)]
    classes = [n.type.domain.name == "class" for n in nodes]
    if any(classes) and sign not in ("==", "!="):
        b.fail("E311", "classes have no order", span, remedy="compare them with == or !=")
    if all(classes):
        x, y = (n.type.domain.size for n in nodes)
        if x is not None and y is not None:
            equal(b, x, y, span, "the two are classes of different sets")
    elif any(classes):
        at = classes.index(True)
        of = nodes[at].type.domain
        if counting.is_index(values[1 - at]) and sign in ("==", "!="):
            return _with_place(b, sign, nodes[at], values[1 - at], span, spans)
        nodes = [_as_class(b, n, of, s) for n, s in zip(nodes, spans, strict=True)]
    elif len({n.type.kind for n in nodes}) > 1:
        nodes = [quantity(b, n, s) for n, s in zip(nodes, spans, strict=True)]
    refuse_pairs(b, nodes, spans)
    return b.at(span)(COMPARISONS[sign][0], *align(b, nodes, span, spans))


def _with_place(
    b: Build, sign: str, node: Node, index: Value, span: Span, spans: tuple[Span, Span]
) -> Node:
    """`i == label`: an index runs over the classes, and one of them is the class's own."""
    size = node.type.domain.size
    if isinstance(index, IndexVar) and not index.ranged and size is not None:
        equal(b, index.size, size, span, f"{index.name} runs over the classes")
    node, has = absences.split(b, node, span)
    number = b.at(span)("cast", node, kind="real")
    places = as_tensor(b, index, span)
    made = b.at(span)(COMPARISONS[sign][0], *align(b, [number, places], span, spans))
    if has is None:
        return made
    word, there = ("and", has) if sign == "==" else ("or", b.at(span)("not", has))
    return b.at(span)(word, *align(b, [there, made], span))


def _as_class(b: Build, node: Node, of: Domain, span: Span) -> Node:
    """A whole number beside a class: one of its numbers, as no other would ever be equal."""
    if node.type.domain.name == "class":
        return node
    if is_const(node) and float(node["value"]).is_integer():
        number = int(node["value"])
        size = b.number(of.size)
        if number < 0 or (size is not None and number >= size):
            last = "" if size is None else f", 0 to {size - 1}"
            b.fail("E317", f"{number} is no class{last}", span, f"is {number}",
                   remedy="classes count from 0")  # fmt: skip
        return b.at(span).const(number, "index")
    sizes = [b.resolve(n) for n in node.type.example]
    scores = of.size is not None and sizes == [b.resolve(of.size)]
    text = whole_text(span.text)
    own = re.fullmatch(r"onehot\((\w+)\)", text)
    remedy = (own[1] if own is not None else f"argmax({text})") if scores else ""
    if own is None and remedy in span.source.line(span.line):  # what it is compared with
        remedy = ""
    label = f"is {b.shown(node.type)}: a number for each class" if scores else "is neither"
    largest = re.fullmatch(r"max\((.*)\)", text)
    if largest is not None and not node.type.example:
        label, remedy = "is the largest number, not its place", f"argmax({largest[1]})"
    before, after = span.source.text[: span.start], span.source.text[span.stop :]
    inside = re.match(r"\s*([=!]=)\s*(\w+)\s*\)", after)
    if scores and before.endswith(("argmax(", "argmin(")) and inside is not None:
        whole = Span(span.source, span.start - len("argmax("), span.stop + inside.end())
        said = f"{whole.text[:6]}({text}) {inside[1]} {inside[2]}"
        b.fail("E311", "the place of the largest is compared, not each number", whole, "", (), said)
    text = "a class is compared with a class or a whole number"
    b.fail("E311", text, span, label, (), remedy)


def _refuse_class(b: Build, values: Sequence[Value], spans: Sequence[Span]) -> None:
    """`y - label`: a class beside a number for each class."""
    if all(isinstance(v, Node) and v.type.domain.name == "class" for v in values):
        fact = "classes are compared, by == and !=; cross_entropy(z, label) is a loss of scores"
        b.fail("E311", "classes are names, not quantities", spans[0], "is a class", facts=(fact,))
    for i, v in enumerate(values):
        of, other = v.type.domain if isinstance(v, Node) else None, values[1 - i]
        if of is None or of.name != "class" or of.size is None or not isinstance(other, Node):
            continue
        at = b.blame(v, spans[i])
        if [b.resolve(n) for n in other.type.example] == [b.resolve(of.size)]:
            label, remedy = f"is a {domain_text(b, of)}", f"onehot({whole_text(at.text)})"
            b.fail("E311", "a class is a name, not a quantity", at, label, (), remedy)


def choose(
    b: Build, test: Value, then: Value, other: Value, span: Span, spans: tuple[Span, Span, Span]
) -> Node:
    """`then if test else other` on tensors, element by element."""
    nodes = [as_tensor(b, v, s) for v, s in zip((test, then, other), spans, strict=True)]
    if nodes[0].type.kind != "bool":
        nodes[0] = b.at(span)("ne", quantity(b, nodes[0], spans[0]), b.at(span).const(0.0))
    nodes[1:] = (quantity(b, n, s) for n, s in zip(nodes[1:], spans[1:], strict=True))
    refuse_pairs(b, nodes, spans)
    return b.at(span)("where", *align(b, nodes, span, spans))


# ---- sequences beside what does not run over time ----------------------------------------------


def refuse_pairs(
    b: Build, nodes: Sequence[Node], spans: Sequence[Span], axes: Sequence[int] = ()
) -> None:
    """Refuse a sequence beside what does not run over time: each step would meet each entry.

    That is meant of a vector of parameters, and of one that is the same in all steps. Of classes it
    is not, nor of numbers of which each example has as many as there are steps: those are one for
    each step, and were declared without `time`. Which is meant an index can say. `axes` are the
    axes of each tensor that a function takes as a whole."""
    mine = []
    for i, (node, span) in enumerate(zip(nodes, spans, strict=True)):
        if "batch" in node.type.running:
            whole = axes[i] if axes else 0
            mine.append((node, span, node.type.example[: len(node.type.example) - whole]))
    for x, at, single in mine:
        if TIME not in x.type.running or single:
            continue
        steps = b.sizes.resolve(x.type.size_of("time"))
        for y, other, many in mine:
            if len(many) != 1 or TIME in y.type.running:
                continue
            entries = b.sizes.resolve(many[0])
            if y.type.domain.name == "class" or (steps.value is not None and steps == entries):
                _refuse(b, (x, y), (steps, entries), (at, other))


def _refuse(
    b: Build, nodes: tuple[Node, Node], sizes: tuple[Size, Size], spans: tuple[Span, Span]
) -> None:
    """Refuse to pair a sequence, of so many steps, with something of so many entries."""
    (_, y), (steps, entries) = nodes, sizes
    over, at = (b.blame(n, p) for n, p in zip(nodes, spans, strict=True))
    text = "each step would meet each entry of what does not run over time"
    if steps.value is not None and entries.value is not None:
        text += f": {steps.value * entries.value} pairs"
    notes = () if over == at else (Note(over, f"runs over time, {steps} steps"),)
    name = y["name"] if is_input(y) else short(at.text)
    remedy = f"declare it over time where its values are: {name}[time]; where all pairs are meant"
    remedy += f" say so by an index: y[i] = ... {short(at.text)}[i] ..."
    b.fail("E222", text, at, f"is {b.shown(y.type)}", notes, remedy)
