"""What every walk against the direction of the edges needs: which nodes lie on the way, how a node
hands on what it has received, and how contributions add up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dln.compiler.ir.graph import Graph, Node, Spans
from dln.compiler.ir.op import Make, op_of
from dln.compiler.ir.structure import is_item, is_stop
from dln.compiler.ir.tensor_type import TensorType
from dln.grammar.diagnostics import Fault


def between(order: Sequence[Node], wanted: set[Node]) -> set[Node]:
    """The real nodes that depend on a wanted node, the wanted ones included: also a stopped one,
    such as the value that an earlier step has left."""
    active: set[Node] = {x.operands[0] for x in wanted if is_item(x)} & set(order)
    for node in order:
        passes = node.type.kind == "real" and not is_stop(node)
        if node in wanted or (passes and any(o in active for o in node.operands)):
            active.add(node)
    return active


def share(m: Make, node: Node, bar: Node, active: set[Node], parts: dict[Node, list[Node]]) -> None:
    """Hand a node's cotangent to those operands that lie on the way."""
    try:
        rows = op_of(node).gradient(m, node, bar)
    except Fault as fault:
        raise fault.at(m.spans[0] if m.spans else None) from None
    hand_on(m, node, rows, active, parts)


def hand_on(
    m: Make,
    node: Node,
    rows: Iterable[Node | None],
    active: set[Node],
    parts: dict[Node, list[Node]],
) -> None:
    """What a rule gives for each operand, fitted to its shape, to those that lie on the way."""
    for operand, part in zip(node.operands, rows, strict=True):
        if part is not None and operand in active:
            fitted = m.running(undo_spread(m, part, operand.type), operand.type)
            parts.setdefault(operand, []).append(fitted)


def undo_spread(m: Make, part: Node, like: TensorType) -> Node:
    """A number that went with a whole tensor gets the sum over it; a number that stands for the
    cotangent of a whole tensor is spread."""
    if len(part.type.shape) == len(like.shape):  # sizes may still be open
        return part
    if like.shape == ():
        return m.sum(part, range(len(part.type.shape)))
    assert part.type.shape == (), f"a cotangent of shape {part.type} for {like}"
    return m.broadcast(part, like, ())


def total(new: Graph, parts: list[Node], spans: Spans) -> Node:
    """The sum of the contributions, in the order they came."""
    m, sum_ = Make(new, spans), parts[0]
    for part in parts[1:]:
        sum_ = m.add(sum_, part)
    return sum_
