"""Operations over a whole sequence at once: what one step does, done for all steps.

`lifted(m, node, operands, seq, length)` is the node over operands of which some are sequences, time
first. An operation that works along axes does so one axis further on; a product gets one more
label; element by element, what stays is repeated. None where an operation has no such form: it
then stays inside its loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from dln.compiler.ir.graph import Node
from dln.compiler.ir.op import Make, op_of
from dln.compiler.ir.ops.loop import sequence_type
from dln.compiler.ir.sizes import Size
from dln.compiler.ir.tensor_type import TIME, TensorType

Flags: TypeAlias = Sequence[bool]
Lift: TypeAlias = Callable[[Make, Node, Sequence[Node], Flags, Size], Node]

ALONG = frozenset(
    "sum max min argmax argmin log_sum_exp softmax log_softmax slice pad flip concat window "
    "unwindow cumsum".split()
)
"""What works along the attributes `axis`, `axes` and `places`."""

SAME = frozenset("onehot lowest cast stop asserted".split())
"""What has one operand, and names no axes: it works on elements, or along the last axis."""


def may_lift(node: Node, seq: Flags) -> bool:
    """Whether an operation has a form over sequences, given which operands are such."""
    if node.op == "gather":
        return not seq[0]
    if op_of(node).is_("random") or op_of(node).is_("loop"):
        return False
    known = node.op in RULES or node.op in ALONG or node.op in SAME
    return known or op_of(node).is_("pointwise")


def lifted(m: Make, node: Node, operands: Sequence[Node], seq: Flags, length: Size) -> Node:
    """The node for all steps; one of its operands at least is a sequence."""
    rule = RULES.get(node.op)
    if rule is not None:
        return rule(m, node, operands, seq, length)
    if node.op in ALONG:
        return _along(m, node, operands, seq, length)
    if node.op in SAME:
        return m(node.op, *operands, **node.attrs)
    return _pointwise(m, node, operands, seq, length)


def repeated(m: Make, node: Node, like: TensorType, first: int = 1) -> Node:
    """A value that stays, once for each step: its axes become those from `first` on."""
    axes = tuple(range(first, first + len(node.type.shape)))
    return m("broadcast", node, axes=axes, shape=like.shape, running=like.running)


def _pointwise(m: Make, node: Node, operands: Sequence[Node], seq: Flags, length: Size) -> Node:
    """Equal shapes and single numbers: a number of each step is spread over what it goes with."""
    wide = sequence_type(node.type, length)
    made = []
    for old, new, is_seq in zip(node.operands, operands, seq, strict=True):
        if is_seq and old.type.shape != node.type.shape:
            new = m("broadcast", new, axes=(0,), shape=wide.shape, running=wide.running)
        elif not is_seq and old.type.shape:
            new = repeated(m, new, wide)
        made.append(new)
    return m(node.op, *made, **node.attrs)


def _along(m: Make, node: Node, operands: Sequence[Node], seq: Flags, length: Size) -> Node:
    attrs = dict(node.attrs)
    if "axis" in attrs:
        attrs["axis"] += 1
    for key in ("axes", "places"):
        if attrs.get(key) is not None:
            attrs[key] = tuple(a + 1 for a in attrs[key])
    return m(node.op, *_all(m, node, operands, seq, length), **attrs)


def _all(m: Make, node: Node, operands: Sequence[Node], seq: Flags, length: Size) -> list[Node]:
    """Every operand as a sequence."""
    return [
        new if is_seq else repeated(m, new, sequence_type(old.type, length))
        for old, new, is_seq in zip(node.operands, operands, seq, strict=True)
    ]


def _broadcast(m: Make, node: Node, operands: Sequence[Node], seq: Flags, length: Size) -> Node:
    axes = (0, *(a + 1 for a in node["axes"]))
    shape, running = (length, *node["shape"]), (TIME, *node["running"])
    return m("broadcast", *operands, axes=axes, shape=shape, running=running)


def _reshape(m: Make, node: Node, operands: Sequence[Node], seq: Flags, length: Size) -> Node:
    shape, running = (length, *node["shape"]), (TIME, *node["running"])
    return m("reshape", *operands, shape=shape, running=running)


def _transpose(m: Make, node: Node, operands: Sequence[Node], seq: Flags, length: Size) -> Node:
    return m("transpose", *operands, perm=(0, *(p + 1 for p in node["perm"])))


def _running(m: Make, node: Node, operands: Sequence[Node], seq: Flags, length: Size) -> Node:
    return m("running", *operands, running=(TIME, *node["running"]))


def _contract(m: Make, node: Node, operands: Sequence[Node], seq: Flags, length: Size) -> Node:
    sides = [node["left"], node["right"]]
    t = 1 + max((*sides[0], *sides[1]), default=-1)
    sides = [(t, *labels) if is_seq else labels for labels, is_seq in zip(sides, seq, strict=True)]
    return m("contract", *operands, left=sides[0], right=sides[1], out=(t, *node["out"]))


def _pick(m: Make, node: Node, operands: Sequence[Node], seq: Flags, length: Size) -> Node:
    return m("pick", *_all(m, node, operands, seq, length))


def _gather(m: Make, node: Node, operands: Sequence[Node], seq: Flags, length: Size) -> Node:
    return m("gather", *operands)


RULES: dict[str, Lift] = {
    "broadcast": _broadcast,
    "reshape": _reshape,
    "transpose": _transpose,
    "running": _running,
    "contract": _contract,
    "pick": _pick,
    "gather": _gather,
}
