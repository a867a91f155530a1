"""Windows side by side: no elements are shared and none is left out, as where pictures are pooled.

Such windows are the elements of an axis in another shape, and so is what adds them up again:

    window(x), unwindow(x)  ->  reshape(x)

What is spread over such windows and then only multiplied (the derivative of a mean over them) is
spread while it is multiplied, and not written out before; where what is repeated is short, along
the first of their axes only:

    f(reshape(broadcast(x)), y)  ->  reshape(f(broadcast(x), reshape(y)))
"""

from __future__ import annotations

from math import prod

from dln.compiler.ir.graph import Graph, Node, rewrite
from dln.compiler.ir.op import Make, op_of
from dln.compiler.ir.ops.common import contiguous
from dln.compiler.ir.ops.window import tiles
from dln.compiler.ir.structure import is_reshape, is_spread, is_unwindow, is_window
from dln.compiler.ir.tensor_type import TensorType
from dln.compiler.lower.im2col import number

RUN = 16
"""Elements that must lie together so that repeating them costs less than writing them out."""


def tiles_reshaped(graph: Graph, capacity: int) -> Graph:
    """The graph with such windows as other shapes, for `capacity` examples."""

    def rule(new: Graph, node: Node, operands: tuple[Node, ...]) -> Node | None:
        make = Make(new, graph.spans.get(node, ()))
        if is_window(node) and tiles(node.attrs, operands[0].type.shape[node["axis"]]):
            return reshaped(make, operands[0], node.type)
        if is_unwindow(node) and tiles(node.attrs, node["size"]):
            return reshaped(make, operands[0], node.type)
        if op_of(node).is_("pointwise"):
            return spread_on_the_way(make, node, operands, capacity)
        return None

    return rewrite(graph, rule)[0]


def reshaped(m: Make, operand: Node, like: TensorType) -> Node:
    """An operand in the shape of a type; one reshape where it is one already."""
    while is_reshape(operand):
        operand = operand.operands[0]
    if operand.type.shape == like.shape:
        return m.running(operand, like)
    return m("reshape", operand, shape=like.shape, running=like.running)


def spread_on_the_way(
    m: Make, node: Node, operands: tuple[Node, ...], capacity: int
) -> Node | None:
    """The rule for what is spread; None where another operand would have to be copied for it, or
    what is repeated is short."""
    wide = next((o for o in operands if is_reshape(o) and spread(o.operands[0])), None)
    if wide is None or not all(o is wide or not o.type.shape or contiguous(o) for o in operands):
        return None
    inner = still_spread(m, wide, capacity)
    if inner is None:
        return None
    read = [
        inner if o is wide else reshaped(m, o, inner.type) if o.type.shape else o for o in operands
    ]
    return reshaped(m, m(node.op, *read, **node.attrs), node.type)


def spread(node: Node) -> bool:
    """Whether a node repeats an array, and is none itself."""
    return is_spread(node) and bool(node["axes"])


def still_spread(m: Make, wide: Node, capacity: int) -> Node | None:
    """What a reshape joins to its neighbours, still spread. Where what is repeated is short it is
    spread along the first axis only, and written out along the others; None where that is short
    too, or the reshape joins otherwise."""
    (whole,) = wide.operands
    (x,), shape, axes = whole.operands, whole.type.shape, whole["axes"]
    first, *others = (i for i in range(len(shape)) if i not in axes)
    if prod(number(s, capacity) for s in shape[max(first, *others, 0) + 1 :]) >= RUN:
        return whole
    joined = [i for i in range(len(shape)) if i not in others]
    sizes = {i: shape[i] for i in joined}
    for i in others:
        if i - 1 not in sizes:
            return None
        sizes[i - 1] = shape[i] * (shape[i - 1].value or 0)
    run = prod(number(sizes[i], capacity) for i in joined if i > first)
    before = max((i for i in joined if i < first), default=-1)
    flat = [sizes[i] * (shape[first].value or 0) if i == before else sizes[i]
            for i in joined if i != first]  # fmt: skip
    if run < RUN or tuple(flat) != wide.type.shape:
        return None
    kept = [i for i in range(len(shape)) if i != first]
    near = m("broadcast", x, axes=tuple(map(kept.index, axes)),
             shape=tuple(shape[i] for i in kept), running=())  # fmt: skip
    part = TensorType(tuple(sizes[i] for i in joined if i != first))
    places = tuple(at for at, i in enumerate(joined) if i != first)
    return m("broadcast", reshaped(m, near, part), axes=places,
             shape=tuple(sizes[i] for i in joined), running=())  # fmt: skip
