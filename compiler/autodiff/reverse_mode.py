"""Reverse mode, from graph to graph: the derivatives of one s by every x asked for.

The rules are the rows of the operations; what holds for all of them is in `walks`: contributions
add up, a single number that was used with a tensor receives the sum over it, indices and truth
values receive nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from dln.compiler.autodiff.scan_vjp import backward
from dln.compiler.autodiff.walks import Rows, between, gradient, walk
from dln.compiler.ir.graph import Graph, Node, ancestors
from dln.compiler.ir.op import Make
from dln.compiler.ir.structure import is_item, is_scan


def cotangents(new: Graph, s: Node, wanted: Iterable[Node]) -> dict[Node, Node]:
    """The derivative of s with respect to each wanted node that s depends on.

    A loop has heard the cotangents of its items when it is reached. Where items themselves are
    asked for, each is the whole derivative with respect to the value at its step, through all the
    steps that follow.
    """
    wanted = list(wanted)
    order = ancestors([s])
    active = between(order, set(wanted))
    heard: dict[Node, dict[Node, Node]] = {}
    asked: dict[Node, Node] = {}

    def rule(m: Make, node: Node, bar: Node | None) -> Rows:
        if is_item(node):
            if bar is not None:
                heard.setdefault(node.operands[0], {})[node["value"]] = bar
            return ()
        if not is_scan(node):
            return gradient(m, node, bar)
        if node not in heard:
            return ()
        items = {x["value"]: x for x in wanted if is_item(x) and x.operands[0] is node}
        received, values = backward(m, node, heard[node], active, list(items))
        asked.update({x: values[v] for v, x in items.items() if v in values})
        return received

    first = Make(new, new.spans.get(s, ()))
    parts = {s: [first.broadcast(first.const(1.0), s.type, ())]}
    bars = walk(Make(new), new.spans, order, active, parts, rule) | asked
    return {x: bars[x] for x in wanted if x in bars}
