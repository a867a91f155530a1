"""Functions of the language that make, join and reshape tensors."""

from __future__ import annotations

import re
from collections.abc import Callable
from math import prod
from typing import NoReturn

from dln.compiler.frontend.context import absences, broadcasting, lengths
from dln.compiler.frontend.context.build_context import Build, Value
from dln.compiler.frontend.context.static_values import whole_size
from dln.compiler.frontend.context.values import IndexVar, shown, whole_number
from dln.compiler.ir.graph import Node
from dln.compiler.ir.sizes import Size
from dln.compiler.ir.tensor_type import TensorType
from dln.grammar.diagnostics import Span


def onehot(b: Build, span: Span, label: Value) -> Node:
    """1 at a class and 0 elsewhere; for an index one such row at each of its values."""
    if isinstance(label, IndexVar):
        values = b.at(span)("classes", size=label.size)
        node = b.at(span)("running", values, running=(label.axis,))
        return b.at(span)("onehot", node, size=label.size)
    node = broadcasting.as_tensor(b, label, span)
    if node.type.domain.name != "class" or node.type.domain.size is None:
        remedy = "declare its number of classes: label: class(10)"
        text, found = "onehot takes a class", f"is a {node.type.domain}"
        at = b.blame(label, span)
        said = rf"^\s*(\w+)\s*:\s*class\([^)]*\)\s*=\s*{re.escape(at.text)}\s*$"
        if (field := re.search(said, at.source.text, re.MULTILINE)) is not None:
            remedy = field[1]
        elif node.type.example:
            found, remedy = f"is {b.shown(node.type)}", ""
        b.fail("E310", text, b.blame(label, span), found, remedy=remedy)
    node, has = absences.split(b, node, span)
    made = b.at(span)("onehot", node, size=node.type.domain.size)
    if has is None:
        return made
    test = b.at(span).broadcast(has, made.type.like(kind="bool"), tuple(range(len(has.type.shape))))
    return absences.nothing(b, made, test, span)


def filled(value: float) -> Callable[..., Node]:
    def call(b: Build, span: Span, *sizes: Value) -> Node:
        shape = tuple(whole_size(b, v, span) for v in sizes)
        return b.at(span).broadcast(b.at(span).const(value), TensorType(shape), ())

    return call


def outer(b: Build, span: Span, x: Value, y: Value) -> Node:
    """The matrix x[i] * y[j]."""
    nodes = [broadcasting.quantity(b, v, span) for v in (x, y)]
    for n in nodes:
        if len(n.type.example) != 1:
            b.fail("E206", "outer takes two vectors", b.blame(n, span), f"is {b.shown(n.type)}")
    lead = broadcasting.lead_of(b, nodes, span)
    (p,), (q,) = (n.type.example for n in nodes)
    like = TensorType((*lead.shape, p, q), lead.running)
    parts = []
    for place, n in enumerate(nodes, len(lead.running)):
        axes = (*map(lead.running.index, n.type.running), place)
        parts.append(broadcasting.placed(b, n, like, axes, span))
    return b.at(span).mul(*parts)


def flatten(b: Build, span: Span, x: Value) -> Node:
    """All axes of one example in one, the last running fastest."""
    node = broadcasting.as_tensor(b, x, span)
    sizes = [b.sizes.resolve(size) for size in node.type.example]
    if any(size.value is None for size in sizes):
        b.fail("E209", "flatten needs known sizes", span, f"is {b.shown(node.type)}")
    total = prod(size.constant for size in sizes)
    lead, running = len(node.type.lead), node.type.running
    if len(node.type.example) == 1:
        return node
    parts = [i for i in lengths.uneven(b, node.type) if i >= lead]
    if any(i > lead for i in parts):
        remedy = "put the axis of the steps first: y[t, i] = x[i, t]"
        if len(node.type.example) == 2:
            remedy = f"flatten(({broadcasting.short(b.blame(x, span).text)})')"
        _refuse_inside(b, span, x, "flatten", remedy)
    found = lengths.extent(b, node.type.shape[lead]) if parts else None
    made = b.at(span)("reshape", node, shape=(*node.type.lead, Size.of(total)), running=running)
    if found is None:
        return made
    return lengths.ended(b, made, lead, lengths.longer(b, found, 0, total // sizes[0].constant))


def _refuse_inside(b: Build, span: Span, x: Value, who: str, remedy: str) -> NoReturn:
    """Sequences of unequal lengths may end nowhere but at the end of what is made of them."""
    text = f"{who} would leave what stands past the end of a sequence in the middle"
    b.fail("E220", text, b.blame(x, span), "has sequences of unequal lengths", remedy=remedy)


def concat(b: Build, span: Span, *parts: Value) -> Value:
    """Lists joined, or vectors laid end to end."""
    lists = [p for p in parts if isinstance(p, list)]
    if parts and len(lists) == len(parts):
        return [x for p in lists for x in p]
    if not parts:
        b.fail("E322", "concat takes at least one argument", span, "takes vectors, or lists")
    nodes = [broadcasting.quantity(b, p, span) for p in parts]
    lead = broadcasting.lead_of(b, nodes, span)
    for n in nodes:
        if len(n.type.example) != 1:
            b.fail("E206", "concat takes vectors", b.blame(n, span), f"is {b.shown(n.type)}")
    likes = [TensorType((*lead.shape, *n.type.example), lead.running) for n in nodes]
    spread = [broadcasting.spread(b, *pair, span) for pair in zip(nodes, likes, strict=True)]
    if len(spread) == 1:
        return spread[0]
    axis = len(lead.running)
    founds = [lengths.extent(b, n.type.shape[axis]) for n in spread]
    for part, found in zip(parts[:-1], founds, strict=False):
        if found is not None:
            others = [broadcasting.short(b.blame(p, span).text) for p in parts if p is not part]
            last_of_all = ", ".join([*others, broadcasting.short(b.blame(part, span).text)])
            _refuse_inside(b, span, part, "concat", f"concat({last_of_all})")
    made = b.at(span)("concat", *spread, axis=axis)
    if (last := founds[-1]) is None:
        return made
    before = [b.number(n.type.shape[axis]) for n in spread[:-1]]
    if any(n is None for n in before):
        b.fail("E209", "concat needs known sizes before a sequence", span)
    return lengths.ended(b, made, axis, lengths.longer(b, last, sum(n or 0 for n in before)))


def pad(b: Build, span: Span, x: Value, n: Value) -> Node:
    """A border of `n` zeros around the last two axes (the image), or around a vector."""
    node = broadcasting.quantity(b, x, span)
    border = whole_number(n)
    if border is None or border < 0:
        b.fail("E305", "a border is a whole number", b.blame(n, span), f"is {shown(n)}")
    if not node.type.example:
        b.fail("E206", "pad takes an image or a vector", b.blame(x, span), "is a single number")
    last = len(node.type.shape)
    for axis in range(last - min(2, len(node.type.example)), last):
        found = lengths.extent(b, node.type.shape[axis])
        node = lengths.filled(b, node, (axis,), 0.0, span)
        node = b.at(span)("pad", node, axis=axis, before=border, after=border)
        if found is not None:
            node = lengths.ended(b, node, axis, lengths.longer(b, found, 2 * border))
    return node
