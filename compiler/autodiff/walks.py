"""The walk against the direction of the edges, for all derivatives: which nodes lie on the way, how
contributions add up, and how a node hands on what it has received."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import TypeAlias

from dln.compiler.ir.graph import Node, Spans
from dln.compiler.ir.op import Make, op_of
from dln.compiler.ir.structure import is_item, is_scan, is_stop
from dln.compiler.ir.tensor_type import TensorType
from dln.grammar.diagnostics import Fault

Rows: TypeAlias = Sequence[Node | None]
Rule: TypeAlias = Callable[[Make, Node, Node | None], Rows]


def between(order: Sequence[Node], wanted: set[Node]) -> set[Node]:
    """The real nodes that depend on a wanted node, the wanted ones included: also a stopped one,
    such as the value that an earlier step has left."""
    active: set[Node] = {x.operands[0] for x in wanted if is_item(x)} & set(order)
    for node in order:
        passes = node.type.kind == "real" and not is_stop(node)
        if node in wanted or (passes and any(o in active for o in node.operands)):
            active.add(node)
    return active


def walk(
    m: Make,
    spans: Mapping[Node, Spans],
    order: Sequence[Node],
    active: set[Node],
    parts: dict[Node, list[Node]],
    rule: Rule,
) -> dict[Node, Node]:
    """What each active node of an order receives in all, users first, given what some receive.

    `rule(m, node, sum)` says what a node hands to each of its operands; its sum is None where it
    has received nothing. What is made for a node has its `spans`, else those of `m`.
    """
    sums: dict[Node, Node] = {}
    for node in (n for n in reversed(order) if n in active):
        here = Make(m.graph, spans.get(node, m.spans))
        if node in parts:
            sums[node] = reduce(here.add, parts.pop(node))
        if is_scan(node) or any(o in active for o in node.operands):  # inside it may be asked for
            rows = rule(here, node, sums.get(node))
            for operand, part in zip(node.operands, rows, strict=bool(rows)):
                if part is not None and operand in active:
                    fitted = here.running(undo_spread(here, part, operand.type), operand.type)
                    parts.setdefault(operand, []).append(fitted)
    return sums


def gradient(m: Make, node: Node, bar: Node | None) -> Rows:
    """The rule of reverse mode: the rows of an operation's record."""
    try:
        return () if bar is None else op_of(node).gradient(m, node, bar)
    except Fault as fault:
        raise fault.at(m.spans[0] if m.spans else None) from None


def undo_spread(m: Make, part: Node, like: TensorType) -> Node:
    """A number that went with a whole tensor gets the sum over it; a number that stands for the
    cotangent of a whole tensor is spread."""
    if len(part.type.shape) == len(like.shape):  # sizes may still be open
        return part
    if like.shape == ():
        return m.sum(part, range(len(part.type.shape)))
    assert part.type.shape == (), f"a cotangent of shape {part.type} for {like}"
    return m.broadcast(part, like, ())
