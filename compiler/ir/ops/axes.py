"""How operations work along axes: which axis of an operand an axis of the result is (`places`), how
what one step does is done for all steps of a sequence at once (`vmap`), and how a sum of what they
make is one of what they are given (`summed`).

A vmap rule gets the operands anew, of which some are sequences (`Stacked`), and gives the node over
all steps. An operation that works along axes does so one axis further on.
"""

from __future__ import annotations

from collections.abc import Sequence

from dln.compiler.ir.graph import Node
from dln.compiler.ir.op import Attrs, Make, Over, Places, Stacked
from dln.compiler.ir.ops.loop import sequence_type
from dln.compiler.ir.structure import is_spread
from dln.compiler.ir.tensor_type import TensorType


def same(node: Node, slot: int) -> Places:
    """The axes of the result are the first ones of the operand."""
    both = zip(node.type.shape, node.operands[slot].type.shape, strict=False)
    return {i: i for i, _ in enumerate(both)}


def along(node: Node, slot: int) -> Places:
    """The axes of the operand; along `axis` or `axes` elements are mixed or moved."""
    return {i: i for i in same(node, slot) if i not in worked_along(node.attrs)}


def reduced(node: Node, slot: int) -> Places:
    """The axes of the operand without `axis` or `axes`."""
    axes = range(len(node.operands[slot].type.shape))
    return dict(enumerate(i for i in axes if i not in worked_along(node.attrs)))


def worked_along(attrs: Attrs) -> tuple[int, ...]:
    axes: tuple[int, ...] = (attrs["axis"],) if "axis" in attrs else attrs["axes"]
    return axes


def unchanged(m: Make, node: Node, over: Stacked) -> Node:
    """Of what has one operand and names no axes: it works on elements, or along the last axis."""
    return m(node.op, *over.operands, **node.attrs)


def one_further(m: Make, node: Node, over: Stacked) -> Node:
    """Of what works along the attributes `axis`, `axes` and `places`."""
    attrs = dict(node.attrs)
    if "axis" in attrs:
        attrs["axis"] += 1
    for key in ("axes", "places"):
        if attrs.get(key) is not None:
            attrs[key] = tuple(a + 1 for a in attrs[key])
    return m(node.op, *as_sequences(m, node, over), **attrs)


def one_ahead(m: Make, node: Node, operands: Sequence[Node]) -> Node:
    """Of what works along the attributes `axis`, `axes` and `places`, with the first axis last."""
    attrs, rank = dict(node.attrs), len(node.operands[0].type.shape)
    if "axis" in attrs:
        attrs["axis"] = (attrs["axis"] - 1) % rank
    for key in ("axes", "places"):
        if attrs.get(key) is not None:
            attrs[key] = tuple((a - 1) % rank for a in attrs[key])
    if "axes" in attrs:
        attrs["axes"] = tuple(sorted(attrs["axes"]))
    return m(node.op, *operands, **attrs)


def elementwise(m: Make, node: Node, over: Stacked) -> Node:
    """Equal shapes and single numbers: a number of each step is spread over what it goes with, and
    what stays is repeated."""
    wide = sequence_type(node.type, over.length)
    made = []
    for old, new, is_seq in zip(node.operands, over.operands, over.seq, strict=True):
        if is_seq and old.type.shape != node.type.shape:
            new = m("broadcast", new, axes=(0,), shape=wide.shape, running=wide.running)
        elif not is_seq and old.type.shape:
            new = repeated(m, new, wide)
        made.append(new)
    return m(node.op, *made, **node.attrs)


def as_sequences(m: Make, node: Node, over: Stacked) -> list[Node]:
    """Every operand as a sequence."""
    return [
        new if is_seq else repeated(m, new, sequence_type(old.type, over.length))
        for old, new, is_seq in zip(node.operands, over.operands, over.seq, strict=True)
    ]


def repeated(m: Make, node: Node, like: TensorType, first: int = 1) -> Node:
    """A value that stays, once for each step: its axes become those from `first` on."""
    axes = tuple(range(first, first + len(node.type.shape)))
    return m("broadcast", node, axes=axes, shape=like.shape, running=like.running)


# ---- sums along axes -----------------------------------------------------------------------------


def alike(node: Node, axes: tuple[int, ...]) -> Node | None:
    """A value without some axes, along which it is alike: a single number, or what is spread along
    just these. None where that cannot be seen."""
    if not node.type.shape:
        return node
    rest = tuple(i for i in range(len(node.type.shape)) if i not in axes)
    return node.operands[0] if is_spread(node) and node["axes"] in ((), rest) else None


def sum_of_terms(m: Make, node: Node, axes: tuple[int, ...], over: Over) -> Node | None:
    """Of a sum or difference. What is alike for all stays with what it is added to: it may be what
    makes that small."""
    if any(alike(o, axes) is not None for o in node.operands):
        return None
    return m(node.op, *(over(o, axes) for o in node.operands))


def sum_of_product(m: Make, node: Node, axes: tuple[int, ...], over: Over) -> Node | None:
    """A factor that is alike for all is taken out."""
    for slot in (1, 0):
        factor, rows = alike(node.operands[slot], axes), node.operands[1 - slot]
        if factor is not None and rows.type.shape:
            return m(node.op, *([over(rows, axes), factor] if slot else [factor, over(rows, axes)]))
    return None


def sum_of_quotient(m: Make, node: Node, axes: tuple[int, ...], over: Over) -> Node | None:
    rows, by = node.operands[0], alike(node.operands[1], axes)
    return None if by is None or not rows.type.shape else m(node.op, over(rows, axes), by)


def sum_of_same(m: Make, node: Node, axes: tuple[int, ...], over: Over) -> Node | None:
    """Of what has one operand, and does the same to a sum."""
    return m(node.op, over(node.operands[0], axes))
