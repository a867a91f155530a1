"""Where elements lie: what is repeated stays thin, moves one after the other become one."""

from __future__ import annotations

from dln.compiler.ir.graph import Node
from dln.compiler.ir.op import op_of
from dln.compiler.ir.structure import is_item, is_reshape, is_slice
from dln.exporting.transposed import conv_transpose
from dln.exporting.writing import OnnxValue, OnnxWriter

END = -(2**62)
"""Before the first element, for a slice that goes backwards."""


def row_broadcast(w: OnnxWriter, node: Node) -> OnnxValue:
    """Nothing is repeated before somebody asks for it."""
    (a,) = node.operands
    return w.aligned(w.values[a], len(a.type.shape), node["axes"], len(node.type.shape))


def row_reshape(w: OnnxWriter, node: Node) -> OnnxValue:
    """An axis that is not known follows from the others. One of size 1 that goes is cut off
    with the slice that left it."""
    (a,) = node.operands
    if is_slice(a) and (found := one_of(w, node, a)) is not None:
        return found
    shape = [s.value for s in node.type.shape]
    before = [s for s in a.type.shape if s.value != 1]
    if before == [s for s in node.type.shape if s.value != 1]:
        return thinned(w, node)
    if shape.count(None) > 1:
        return w.whole(w.call("Reshape", w.full(a), w.shape(node.type.shape)), node)
    sizes = w.ints(*(-1 if s is None else s for s in shape))
    return w.whole(w.call("Reshape", w.full(a), sizes), node)


def thinned(w: OnnxWriter, node: Node) -> OnnxValue:
    """Axes of size 1 go, then others come."""
    (a,) = node.operands
    name = w.full(a)
    gone = [i for i, s in enumerate(a.type.shape) if s.value == 1]
    come = [i for i, s in enumerate(node.type.shape) if s.value == 1]
    if gone:
        name = w.call("Squeeze", name, w.ints(*gone))
    if come:
        name = w.call("Unsqueeze", name, w.ints(*come))
    return w.whole(name, node)


def one_of(w: OnnxWriter, node: Node, cut: Node) -> OnnxValue | None:
    """One position of an axis, which goes: of the steps of a loop the last is what it ends
    with."""
    (a,), axis, start = cut.operands, cut["axis"], cut["start"]
    if not one_position(node, cut):
        return None
    if is_item(a) and axis == 0 and (found := w.lasts.get((a, start))) is not None:
        return w.whole(found, node)
    return w.whole(w.call("Gather", w.full(a), w.number(start, "index"), axis=axis), node)


def one_position(node: Node, cut: Node) -> bool:
    """Whether a node is one position of an axis, as a slice and what takes its axis away."""
    rest = [s for i, s in enumerate(cut.type.shape) if i != cut["axis"]]
    return is_reshape(node) and cut["stop"] - cut["start"] == 1 and list(node.type.shape) == rest


def row_transpose(w: OnnxWriter, node: Node) -> OnnxValue:
    """What stays in a loop is turned once, before it; of rows of a table which they are."""
    (a,), perm = node.operands, list(node["perm"])
    if op_of(a).is_("lookup") and w.nameless(a):
        table, at = a.operands
        first = len(at.type.shape)
        if perm[first:] == list(range(first, len(perm))):
            rows = w.turned(at, perm[:first])
            return w.whole(w.call("Gather", w.full(table), rows.name, axis=0), node)
    return w.turned(a, perm)


def row_slice(w: OnnxWriter, node: Node) -> OnnxValue:
    """Slices along several axes are one; around a ConvTranspose they are its padding."""
    if (made := conv_transpose(w, node)) is not None:
        return made
    found, a = {node["axis"]: node}, node.operands[0]
    while is_slice(a) and w.nameless(a) and a["axis"] not in found:
        found[a["axis"]], a = a, a.operands[0]
    cuts = [found[axis] for axis in sorted(found)]
    starts, stops = (w.ints(*(cut[end] for cut in cuts)) for end in ("start", "stop"))
    axes = w.ints(*(cut["axis"] for cut in cuts))
    return w.whole(w.call("Slice", w.full(a), starts, stops, axes), node)


def row_pad(w: OnnxWriter, node: Node) -> OnnxValue:
    """Zeros along several axes are put there at once."""
    a, before, after = padded(w, node)
    zero = w.number(0, node.type.kind)
    return w.whole(w.call("Pad", w.full(a), w.ints(*before, *after), zero), node)


def padded(w: OnnxWriter, node: Node) -> tuple[Node, list[int], list[int]]:
    """What is padded, and the zeros before and after it, axis by axis."""
    rank = len(node.type.shape)
    before, after, op = [0] * rank, [0] * rank, node.op
    while True:
        before[node["axis"]] += node["before"]
        after[node["axis"]] += node["after"]
        below = node.operands[0]
        if below.op != op or not w.nameless(below):
            return below, before, after
        node = below


def row_concat(w: OnnxWriter, node: Node) -> OnnxValue:
    parts = [w.full(o) for o in node.operands]
    return w.whole(w.call("Concat", *parts, axis=node["axis"]), node)


def row_flip(w: OnnxWriter, node: Node) -> OnnxValue:
    (a,), axis = node.operands, node["axis"]
    ends = (w.ints(-1), w.ints(END), w.ints(axis), w.ints(-1))
    return w.whole(w.call("Slice", w.full(a), *ends), node)
