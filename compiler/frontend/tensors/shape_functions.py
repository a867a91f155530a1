"""Functions of the language that make, join and reshape tensors."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from math import isqrt, prod
from typing import NoReturn

from dln.compiler.frontend.context import absences, broadcasting, counting, lengths
from dln.compiler.frontend.context.build_context import Build, Value
from dln.compiler.frontend.context.static_values import whole_size
from dln.compiler.frontend.context.values import (
    SIZES,
    WHOLE,
    IndexVar,
    describe,
    unfit,
    whole_number,
)
from dln.compiler.ir.graph import Node
from dln.compiler.ir.sizes import Conflict, Size
from dln.compiler.ir.tensor_type import TensorType
from dln.grammar.diagnostics import Note, Span


def onehot(b: Build, span: Span, label: Value) -> Node:
    """1 at a class and 0 elsewhere; for an index one such row at each of its values."""
    if isinstance(label, IndexVar):
        values = b.at(span)("classes", size=label.size)
        node = b.at(span)("running", values, running=(label.axis,))
        return b.at(span)("onehot", node, size=label.size)
    if counting.is_index(label):
        fact = "1 at a place is a choice: y[i] = 1 if i == t else 0"
        b.fail("E310", "onehot takes a class", b.blame(label, span), "is an index", facts=(fact,))
    node = broadcasting.as_tensor(b, label, span)
    if node.type.domain.name != "class" or node.type.domain.size is None:
        remedy = "declare its number of classes: label: class(10)"
        text, found = "onehot takes a class", f"is a {node.type.domain}"
        at, known = b.blame(label, span), ""
        said = rf"^\s*(\w+)\s*:\s*class\([^)]*\)\s*=\s*{re.escape(at.text)}\s*$"
        if (field := re.search(said, at.source.text, re.MULTILINE)) is not None:
            remedy = field[1]
        elif node.type.example:
            found, remedy = f"is {b.shown(node.type)}", ""
            known = "of the largest entry it is onehot(argmax(x))"
        facts: tuple[str, ...] = (known,) if known and not remedy else ()
        if whole_number(label) is not None:
            found, remedy = "is a number", ""
            facts = (f"a number is said to be a class by as: onehot({at.text} as class(10))",)
        b.fail("E310", text, b.blame(label, span), found, remedy=remedy, facts=facts)
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


def concat(b: Build, span: Span, *parts: Value, axis: Value = None) -> Value:
    """Lists joined, or tensors laid end to end along an axis, the first where none is said."""
    lists = [p for p in parts if isinstance(p, list)]
    if parts and len(lists) == len(parts) and axis is None:
        return [x for p in lists for x in p]
    if len(lists) == len(parts) == 1:
        parts = tuple(lists[0])
    if not parts:
        b.fail("E322", "concat takes at least one argument", span, "takes vectors, or lists")
    nodes = [broadcasting.quantity(b, p, span) for p in parts]
    lead = broadcasting.lead_of(b, nodes, span)
    for n, part in zip(nodes, parts, strict=True):
        if not n.type.example or len(n.type.example) != len(nodes[0].type.example):
            text = "concat joins vectors, or tensors with as many axes"
            single = () if n.type.example else ("a number joins as a list of one: [1]",)
            facts = single or (
                "flatten(x) makes a vector of a tensor, [x] a tensor with one axis more",
            )
            b.fail("E206", text, b.blame(part, span), f"is {b.shown(n.type)}", facts=facts)
    k = _axis(b, span, axis, nodes[0])
    rest = _agreeing(b, span, nodes, k)
    shapes = [(*lead.shape, *rest[:k], n.type.example[k], *rest[k:]) for n in nodes]
    likes = [TensorType(shape, lead.running) for shape in shapes]
    spread = [broadcasting.spread(b, *pair, span) for pair in zip(nodes, likes, strict=True)]
    if len(spread) == 1:
        return spread[0]
    at = len(lead.running) + k
    founds = [lengths.extent(b, n.type.shape[at]) for n in spread]
    for part, found in zip(parts[:-1], founds, strict=False):
        if found is not None:
            others = [broadcasting.short(b.blame(p, span).text) for p in parts if p is not part]
            last_of_all = ", ".join([*others, broadcasting.short(b.blame(part, span).text)])
            _refuse_inside(b, span, part, "concat", f"concat({last_of_all})")
    made = b.at(span)("concat", *spread, axis=at)
    if (last := founds[-1]) is None:
        return made
    before = [b.number(n.type.shape[at]) for n in spread[:-1]]
    if any(n is None for n in before):
        b.fail("E209", "concat needs known sizes before a sequence", span)
    return lengths.ended(b, made, at, lengths.longer(b, last, sum(n or 0 for n in before)))


def _axis(b: Build, span: Span, axis: Value, of: Node) -> int:
    """The number of an axis of a tensor."""
    last, number = len(of.type.example) - 1, whole_number(0 if axis is None else axis)
    if number is None:
        unfit(b, "E305", "an axis is a whole number", b.blame(axis, span), axis, WHOLE)
    if not 0 <= number <= last:
        text, label = f"there is no axis {number}", f"the axes are 0 to {last}"
        remedy = f"axis = {last}" if number == -1 else ""
        b.fail("E208", text, span, label if last else "there is one axis, 0", remedy=remedy)
    return number


def _agreeing(b: Build, span: Span, nodes: Sequence[Node], k: int) -> list[Size]:
    """The sizes of all axes but one, in which tensors that are joined along it agree."""
    first, *others = ([s for i, s in enumerate(n.type.example) if i != k] for n in nodes)
    for node, sizes in zip(nodes[1:], others, strict=True):

        def fail(c: Conflict | None, node: Node = node) -> NoReturn:
            places = [b.blame(n, span) for n in (nodes[0], node)]
            notes = [Note(places[0], f"is {b.shown(nodes[0].type)}")] * (places[0] != places[1])
            text = f"concat along axis {k} joins tensors that agree in the other axes"
            label = f"is {b.shown(node.type)}"
            b.fail("E202", text, places[1], label, tuple(notes))

        b.same_shape(first, sizes, span, "the other axes of what is joined", fail)
        first = [lengths.merged(b, x, y) for x, y in zip(first, sizes, strict=True)]
    return first


def stack(b: Build, span: Span, *parts: Value, axis: Value = None) -> Node:
    """Tensors of one shape, or those of a list, along a new axis: the first where none is said."""
    given = parts[0] if len(parts) == 1 and isinstance(parts[0], list) else list(parts)
    if not given:
        text = "stack takes at least one argument"
        b.fail("E322", text, span, "takes tensors of one shape, or a list of them")
    node = broadcasting.as_tensor(b, given, span)
    k, lead = _axis(b, span, axis, node), len(node.type.running)
    order = [i for i in range(len(node.type.shape)) if i != lead]
    order.insert(lead + k, lead)
    return broadcasting.ordered(b, node, order, span)


def reshape(b: Build, span: Span, x: Value, sizes: Value) -> Node:
    """The numbers of one example in another shape, the last axis running fastest."""
    node = broadcasting.as_tensor(b, x, span)
    if not isinstance(sizes, list):
        at = b.blame(sizes, span)
        text, label = "the shape is a list of sizes", f"is {describe(sizes)}"
        unfit(b, "E302", text, at, sizes, SIZES, label, f"[{at.text}]" if _is_size(sizes) else "")
    old = [b.number(size) for size in node.type.example]
    if None in old:
        b.fail("E209", "reshape needs known sizes", span, f"is {b.shown(node.type)}")
    total = prod(n or 0 for n in old)
    if (rest := _rest_of(sizes, total)) is not None:
        text = "every size is said: none is worked out from the others"
        at = b.blame(sizes, span)
        b.fail("E212", text, at, "has a size below 0", remedy=rest)
    new = [b.number(whole_size(b, size, b.blame(sizes, span))) for size in sizes]
    if None in new:
        b.fail("E209", "reshape needs known sizes", b.blame(sizes, span))
    if prod(n or 0 for n in new) != total:
        notes = (Note(b.blame(x, span), f"is {b.shown(node.type)}: {total} numbers"),)
        text = f"{total} numbers do not fit a shape of {prod(n or 0 for n in new)}"
        known, side = [n or 0 for n in new], isqrt(total // (new[0] or 1)) if len(new) == 3 else 0
        square = side > 1 and known[0] * side * side == total
        remedy = f"[{known[0]}, {side}, {side}]" if square else ""
        b.fail("E202", text, b.blame(sizes, span), f"is {_product(new)}", notes, remedy)
    if lengths.uneven(b, node.type) and old != new:
        _refuse_inside(b, span, x, "reshape", "")
    shape = (*node.type.lead, *(Size(n or 0) for n in new))
    return b.at(span)("reshape", node, shape=shape, running=node.type.running)


def _is_size(value: Value) -> bool:
    return isinstance(value, Size) or whole_number(value) is not None


def _rest_of(sizes: Sequence[Value], total: int) -> str | None:
    """The shape that is meant where one size is -1: `[4, -1]` of 12 numbers is [4, 3]."""
    known = [n for n in map(whole_number, sizes) if n is not None]
    if -1 not in known:
        return None
    others = prod(n for n in known if n != -1)
    if len(known) < len(sizes) or known.count(-1) > 1 or others < 1 or total % others:
        return ""
    return str([total // others if n == -1 else n for n in known])


def _product(sizes: Sequence[int | None]) -> str:
    return " x ".join(map(str, sizes))


def upsample(b: Build, span: Span, x: Value, k: Value) -> Node:
    """Every element of an image (the last two axes), or of a vector, repeated k times each way."""
    node, k = broadcasting.quantity(b, x, span), b.resolve(k) if isinstance(k, Size) else k
    times = whole_number(k)
    if times is None or times < 1:
        text = "how often each element stands is a whole number, at least 1"
        if isinstance(k, list) and k and all(n == k[0] for n in k) and whole_number(k[0]):
            remedy = str(k[0])  # by rows and columns
            b.fail("E305", text, b.blame(k, span), "is one number for both", (), remedy)
        unfit(b, "E305", text, b.blame(k, span), k, WHOLE)
    if not node.type.example:
        b.fail("E206", "upsample takes an image or a vector", b.blame(x, span),
               "is a single number")  # fmt: skip
    for axis in _borders(b, span, node, None):
        found = lengths.extent(b, node.type.shape[axis])
        shape, running = node.type.shape, node.type.running
        like = TensorType((*shape[: axis + 1], Size(times), *shape[axis + 1 :]), running)
        places = (*range(axis + 1), *range(axis + 2, len(shape) + 1))
        made = b.at(span).broadcast(node, like, places)
        longer = (*shape[:axis], b.sizes.resolve(shape[axis]) * times, *shape[axis + 1 :])
        node = b.at(span)("reshape", made, shape=longer, running=running)
        if found is not None:
            node = lengths.ended(b, node, axis, lengths.longer(b, found, 0, times))
    return node


def pad(b: Build, span: Span, x: Value, n: Value, *, axis: Value = None) -> Node:
    """A border of `n` zeros around an image (the last two axes) or a vector, or at both ends
    of one axis."""
    node, n = broadcasting.quantity(b, x, span), b.resolve(n) if isinstance(n, Size) else n
    border = whole_number(n)
    if border is None or border < 0:
        unfit(b, "E305", "a border is a whole number", b.blame(n, span), n, WHOLE)
    if not node.type.example:
        b.fail("E206", "pad takes an image or a vector", b.blame(x, span), "is a single number")
    for at in _borders(b, span, node, axis) if border else ():
        found = lengths.extent(b, node.type.shape[at])
        node = lengths.filled(b, node, (at,), 0.0, span)
        node = b.at(span)("pad", node, axis=at, before=border, after=border)
        if found is not None:
            node = lengths.ended(b, node, at, lengths.longer(b, found, 2 * border))
    return node


def _borders(b: Build, span: Span, node: Node, axis: Value) -> Sequence[int]:
    """The axis that is said, else those of the image, the last two, or that of a vector."""
    if axis is not None:
        return (len(node.type.running) + _axis(b, span, axis, node),)
    last = len(node.type.shape)
    return range(last - min(2, len(node.type.example)), last)
