"""Reverse mode, from graph to graph: the derivatives of one s by every x asked for.

The rules are the rows of the operations; what holds for all of them is in `walks`: contributions
add up, a single number that was used with a tensor receives the sum over it, indices and truth
values receive nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from dln.compiler.autodiff.scan_vjp import backward
from dln.compiler.autodiff.walks import between, share, total
from dln.compiler.ir.graph import Graph, Node, ancestors
from dln.compiler.ir.op import Make
from dln.compiler.ir.structure import is_item, is_scan


def cotangents(new: Graph, s: Node, wanted: Iterable[Node]) -> dict[Node, Node]:
    """The derivative of s with respect to each wanted node that s depends on."""
    wanted = list(wanted)
    order = ancestors([s])
    active = between(order, set(wanted))
    m = Make(new, new.spans.get(s, ()))
    parts: dict[Node, list[Node]] = {s: [m.broadcast(m.const(1.0), s.type, ())]}
    bars: dict[Node, Node] = {}
    heard: dict[Node, dict[Node, Node]] = {}
    for node in reversed(order):
        spans = new.spans.get(node, ())
        if is_scan(node) and node in active and node in heard:
            through_loop(Make(new, spans), node, heard[node], active, parts, wanted, bars)
        if node not in active or node not in parts:
            continue
        bars[node] = bar = total(new, parts.pop(node), spans)
        if is_item(node):
            heard.setdefault(node.operands[0], {})[node["value"]] = bar
        elif any(o in active for o in node.operands):
            share(Make(new, spans), node, bar, active, parts)
    return {x: bars[x] for x in wanted if x in bars}


def through_loop(
    m: Make,
    loop: Node,
    heard: dict[Node, Node],
    active: set[Node],
    parts: dict[Node, list[Node]],
    wanted: list[Node],
    bars: dict[Node, Node],
) -> None:
    """Hand the cotangents of a loop's items on to its operands, and find those of the items that
    are asked for: each is the whole derivative with respect to the value at its step, through all
    the steps that follow."""
    asked = [x for x in wanted if is_item(x) and x.operands[0] is loop]
    received, values = backward(m, loop, heard, active, [x["value"] for x in asked])
    bars |= {x: values[x["value"]] for x in asked if x["value"] in values}
    for operand, part in zip(loop.operands, received, strict=True):
        if part is not None and operand in active:
            parts.setdefault(operand, []).append(part)
