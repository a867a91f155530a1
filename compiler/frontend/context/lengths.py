"""Sequences of unequal lengths: which axes have them, and how what lies past the end is left out.

The steps of a data set with a field `length` are counted by a size variable of their own. It is
fixed to the number of steps that there is room for, so it is a number like any other; but it stays
in the types, and so goes with the axis wherever that goes: under an index, into an axis of an
equation, through blocks, functions and scans. Who takes the elements of an axis together, or one of
them, asks its size here how many of them each example has: its extent.

What an axis holds past its extent may be anything. Nothing looks at it: it is left out by a choice
(`where`), never by a product, so it may be infinite or no number at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial, reduce

from dln.compiler.frontend.context import absences
from dln.compiler.frontend.context.build_context import Build, Instance
from dln.compiler.frontend.context.place import Extent
from dln.compiler.ir.graph import Node
from dln.compiler.ir.op import op_of
from dln.compiler.ir.sizes import BATCH_SIZE, Reason, Size, Var
from dln.compiler.ir.structure import is_choice, is_spread
from dln.compiler.ir.tensor_type import TIME, TensorType
from dln.grammar.diagnostics import Span

LARGE = 3e38
"""Larger than any number that is met: what lies past the end is no smallest element."""

NO_POWER = -1e30
"""exp of it is 0."""


# ---- which axes have an extent -----------------------------------------------------------------


def extent(b: Build, size: Size) -> Extent | None:
    """The extent of an axis of this size; None where all examples have all of it."""
    if not b.facts.extents or len(size.terms) != 1 or size.constant:
        return None
    return b.facts.extents.get(size.terms[0][0])


def extent_at(b: Build, type: TensorType, axis: int) -> Extent | None:
    """The extent of an axis of a tensor; None as well where it is not one for each example."""
    return extent(b, type.shape[axis]) if "batch" in type.running else None


def uneven(b: Build, type: TensorType) -> list[int]:
    """The axes of a tensor that have an extent."""
    return [i for i in range(len(type.shape)) if extent_at(b, type, i) is not None]


def sized(b: Build, number: int, found: Extent) -> Size:
    """A size for an axis of so many elements with an extent; the same one for the same extent."""
    known = b.facts.extent_sizes.get((found.count, number))
    if known is None:
        var = Var("time")
        known = b.facts.extent_sizes[found.count, number] = Size.of(var)
        b.sizes.equate(known, number, Reason(None, "as many as there are steps"))
        b.facts.extents[var] = found
    return known


def merged(b: Build, left: Size, right: Size) -> Size:
    """The size of an axis that two tensors share: the elements that both have."""
    if left == right or not b.facts.extents:
        return left
    mine, theirs = extent(b, left), extent(b, right)
    if mine is None or theirs is None:
        return right if mine is None and theirs is not None else left
    number = b.sizes.resolve(left).constant
    low = b.make("minimum", _real(b, mine.count), _real(b, theirs.count))
    return sized(b, number, Extent(low, min(mine.least, theirs.least)))


def resized(b: Build, node: Node, sizes: dict[int, Size]) -> Node:
    """The same tensor with these sizes, equal in number, for some of its axes."""
    shape = tuple(sizes.get(i, size) for i, size in enumerate(node.type.shape))
    if shape == node.type.shape:
        return node
    return b.make("reshape", node, shape=shape, running=node.type.running)


def ended(b: Build, node: Node, axis: int, found: Extent | None) -> Node:
    """The same tensor, an axis of which has an extent from here on."""
    if found is None:
        return node
    number = b.sizes.resolve(node.type.shape[axis]).constant
    return resized(b, node, {axis: sized(b, number, found)})


def of_each(b: Build, node: Node, span: Span) -> Node:
    """A tensor that is the same for all examples, as one for each of them, where an axis of it has
    an extent: each has a part of its own."""
    if all(extent(b, size) is None for size in node.type.shape):
        return node
    return each(b, node, span)


def each(b: Build, node: Node, span: Span) -> Node:
    """A tensor with one for each example, where there are several."""
    type = node.type
    if "batch" in type.running or not b.frame.batched:
        return node
    at = int(TIME in type.running)
    shape = (*type.shape[:at], BATCH_SIZE, *type.shape[at:])
    like = type.like(shape=shape, running=(*type.running[:at], "batch", *type.running[at:]))
    return b.at(span).broadcast(node, like, tuple(i for i in range(len(shape)) if i != at))


def even(b: Build, node: Node) -> Node:
    """The same tensor, all of which counts from here on."""
    sizes = enumerate(node.type.shape)
    return resized(b, node, {i: b.sizes.resolve(x) for i, x in sizes if extent(b, x) is not None})


# ---- extents of parts of an axis ---------------------------------------------------------------


def _real(b: Build, count: Node) -> Node:
    return count if count.type.kind == "real" else b.make("cast", count, kind="real")


def stepped(b: Build, found: Extent | None, start: int, step: int, number: int) -> Extent | None:
    """The extent of `number` places of an axis: `start`, `start + step`, ...

    A place counts where the axis has it, so of n elements (n - start - 1) // step + 1 do.
    """
    if found is None:
        return None
    if (start, step) == (0, 1):
        least, count = found.least, _real(b, found.count)
    else:
        make = b.make
        least = max((found.least - start - 1) // step + 1, 0)
        count = make("sub", _real(b, found.count), make.const(float(start)))
        if step > 1:
            rounds = make.div(make.sub(count, make.const(1.0)), make.const(float(step)))
            count = make.add(make("floor", rounds), make.const(1.0))
        count = make("maximum", count, make.const(0.0))
    if least >= number:
        return None
    return Extent(b.make("minimum", count, b.make.const(float(number))), least)


def longer(b: Build, found: Extent, more: int, times: int = 1) -> Extent:
    """The extent of an axis in which each element stands `times` times, and `more` before them."""
    count = _real(b, found.count)
    if times != 1:
        count = b.make.mul(count, b.make.const(float(times)))
    if more:
        count = b.make.add(count, b.make.const(float(more)))
    return Extent(count, found.least * times + more)


# ---- what lies past the end left out -----------------------------------------------------------


def inside(b: Build, type: TensorType, axis: int, span: Span) -> Node:
    """Truth values in the shape of a type: whether the element at its place along an axis is one
    that the example has."""
    found = extent(b, type.shape[axis])
    assert found is not None
    make, batch = b.at(span), type.running.index("batch")
    both = tuple(sorted((axis, batch)))
    names = tuple(type.running[i] for i in both if i < len(type.running))
    kind = found.count.type.kind
    small = TensorType(tuple(type.shape[i] for i in both), names, kind)
    number = b.sizes.resolve(type.shape[axis]).constant
    places = tuple(range(number)) if kind == "index" else tuple(map(float, range(number)))
    steps = make.broadcast(make.const(places, kind), small, (both.index(axis),))
    counts = make.broadcast(found.count, small, (both.index(batch),))
    return make.broadcast(make("lt", steps, counts), type, both)


def filled(
    b: Build,
    node: Node,
    axes: Iterable[int],
    value: float,
    span: Span,
    rest: Sequence[int] = (),
) -> Node:
    """A tensor with a value in place of what lies past the end of some axes. What lies past the end
    of the `rest` stays as it is: nothing looks at it, and a row of it has more than that value."""
    domain = node.type.domain
    for axis in axes:
        if extent_at(b, node.type, axis) is None:
            continue
        test = inside(b, node.type, axis, span)
        for other in rest:
            test = b.at(span)("or", test, b.at(span)("not", inside(b, node.type, other, span)))
        if node.type.kind == "index":
            node = absences.nothing(b, node, test, span)
        else:
            node = b.at(span)("where", test, node, b.at(span).const(value))
    if value == 0.0 and node.type.domain != domain and domain.name != "logit":
        node = b.at(span)("asserted", node, domain=domain)
    return node


def cleared(b: Build, node: Node, span: Span) -> Node:
    """A tensor for all to see: with nothing past its ends, all of which counts from here on."""
    axes = uneven(b, node.type)
    if not axes:
        return node
    if node.type.kind == "bool":
        node = b.at(span)("cast", node, kind="real")
    return even(b, filled(b, node, axes, 0.0, span))


def zeroed(b: Build, node: Node, axes: Sequence[int], span: Span) -> Node:
    """A tensor with 0 in place of what lies past the end of some axes. In a product of tensors the
    factors are, so that a sum of products stays one; in exp(z) z is, so that softmax stays one."""
    rest = tuple(a for a in uneven(b, node.type) if a not in axes)
    for axis in axes:
        if extent_at(b, node.type, axis) is not None:
            node = _zeroed(b, node, axis, span, rest)
    return node


def _zeroed(b: Build, node: Node, axis: int, span: Span, rest: tuple[int, ...]) -> Node:
    if node.op == "mul":
        parts = [_of_data(o, axis) for o in node.operands]
        if any(parts):
            pairs = zip(node.operands, parts, strict=True)
            made = (_zeroed(b, o, axis, span, rest) if p else o for o, p in pairs)
            return b.at(span)("mul", *made)
    if is_spread(node) and _of_data(node, axis):
        inner, place = node.operands[0], node["axes"].index(axis)
        found = {node["axes"].index(a): a for a in (axis, *rest) if a in node["axes"]}
        inner = resized(b, inner, {i: node.type.shape[a] for i, a in found.items()})
        held = tuple(i for i, a in found.items() if a != axis)
        return b.at(span)("broadcast", _zeroed(b, inner, place, span, held), **node.attrs)
    if op_of(node).is_("identity") and node.operands[0].type.running == node.type.running:
        return b.at(span)(node.op, _zeroed(b, node.operands[0], axis, span, rest), **node.attrs)
    if node.op == "exp":
        return b.at(span)("exp", filled(b, node.operands[0], (axis,), NO_POWER, span, rest))
    return filled(b, node, (axis,), 0.0, span, rest)


def _of_data(node: Node, axis: int) -> bool:
    """Whether an operand has something of its own at each place of an axis, in each example."""
    if is_spread(node):
        if axis not in node["axes"]:
            return False
        return _of_data(node.operands[0], node["axes"].index(axis))
    return len(node.type.shape) > axis and "batch" in node.type.running


def numerator(b: Build, top: Node, bottom: Node) -> Node:
    """exp(z) over a sum of exp(z) that leaves out what lies past the end: leaves it out too, so
    that both are of the same numbers."""
    while is_spread(bottom):
        bottom = bottom.operands[0]
    if top.op != "exp" or bottom.op != "sum" or bottom.operands[0].op != "exp":
        return top
    z = bottom.operands[0].operands[0]
    while is_choice(z) and z is not top.operands[0]:
        z = z.operands[1]
    return bottom.operands[0] if z is top.operands[0] else top


# ---- how many there are ------------------------------------------------------------------------


def number(b: Build, node: Node, places: Sequence[int], span: Span) -> Node:
    """How many elements there are over some axes: one number, or one for each example."""
    make, type = b.at(span), node.type
    found = {p: extent_at(b, type, p) for p in places}
    counts = [f for f in found.values() if f is not None]
    wholes = (make.size(type.shape[p]) for p, f in found.items() if f is None)
    total = reduce(make.mul, wholes, make.size(Size.of(1)))
    each = reduce(make.mul, (_real(b, f.count) for f in counts), total)
    return each if all(f.least for f in counts) else make("maximum", each, make.const(1.0))


def some(
    b: Build, type: TensorType, places: Sequence[int], like: TensorType, span: Span
) -> Node | None:
    """Truth values in the shape of a reduction over some axes: whether the example has any element
    there. None where it is sure to have."""
    short = [f for p in places if (f := extent(b, type.shape[p])) is not None and not f.least]
    if not short or "batch" not in like.running:
        return None
    make = b.at(span)
    tests = [make("gt", _real(b, f.count), make.const(0.0)) for f in short]
    return make.broadcast(reduce(partial(make, "and"), tests), like, (like.running.index("batch"),))


# ---- one element -------------------------------------------------------------------------------


def there(b: Build, node: Node, found: Extent | None, at: int, span: Span) -> Node:
    """The element at a place of an axis, 0 in the examples that end before it."""
    if found is None or at < found.least or "batch" not in node.type.running:
        return node
    make = b.at(span)
    kind = found.count.type.kind
    has = make("gt", found.count, make.const(at if kind == "index" else float(at), kind))
    batch = node.type.running.index("batch")
    test = make.broadcast(has, node.type.like(kind="bool"), (batch,))
    return absences.nothing(b, node, test, span)


def is_element(b: Build, node: Node) -> bool:
    """Whether a node is an element of an axis, 0 in the examples that end before it."""
    if not is_choice(node) or not b.facts.extents:
        return False
    test = node.operands[0]
    test = test.operands[0] if is_spread(test) else test
    counts = [found.count for found in b.facts.extents.values()]
    return test.op == "gt" and test.operands[0] in counts


def in_step(made: Instance) -> bool:
    """Whether an instance takes sequences, and all that it was last applied to are as long."""
    return made.timed and len(set(made.along.values())) < 2


def of_data(b: Build, steps: int, lengths: Node) -> Size:
    """The number of steps of the sequences of a data set, with the lengths that they have."""
    return sized(b, steps, Extent(lengths, 1))
