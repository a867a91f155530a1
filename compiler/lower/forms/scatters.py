"""Products with one-hot rows that sum over the rows: what points to a class is added up.

    onehot(c)[n, k] d[n, o]  ->  [k, o]    becomes    scatter(d, c)

It is the derivative of what is looked up. Class by class the rows of d are read once, where a
product goes over them for each class; where classes are few, or rows short, the product is quicker.
"""

from __future__ import annotations

from math import prod

from dln.compiler.ir.graph import Graph, Node, rewrite
from dln.compiler.ir.op import Make, op_of
from dln.compiler.ir.structure import is_contraction, is_product_added
from dln.compiler.lower.forms.turned import nodes_of
from dln.compiler.lower.im2col import number

CLASS, NUMBER, TERM = 2.5, 0.0004, 0.000024
"""Microseconds for a class, for a number that is added up, and for a term of a product."""


def products_added_up(graph: Graph, capacity: int) -> tuple[Graph, tuple[str, ...]]:
    """The graph with such products as sums by class, for `capacity` examples; and what is said of
    each."""
    said = list[str]()

    def rule(new: Graph, node: Node, operands: tuple[Node, ...]) -> Node | None:
        slot = summed_by_class(node, capacity)
        if slot is None:
            return None
        make = Make(new, graph.spans.get(node, ()))
        classes, rows = operands[slot].operands[0], operands[1 - slot]
        size, lead = operands[slot].type.shape[-1], len(classes.type.shape)
        sums = make("scatter_add", rows, classes, size=size, by_class=True)
        sides = node["left"], node["right"]
        perm = tuple(map((sides[slot][-1], *sides[1 - slot][lead:]).index, node["out"]))
        if perm != tuple(range(len(perm))):
            sums = make("transpose", sums, perm=perm)
        said.append(f"rows added up for {size} classes, for a product")
        if is_contraction(node):
            return make.running(sums, node.type)
        held, by = operands[2:]
        return make.running(make.add(held, make.mul(by, sums)), node.type)

    there = any(summed_by_class(n, capacity) is not None for n in nodes_of(graph))
    return (rewrite(graph, rule)[0] if there else graph), tuple(said)


def summed_by_class(node: Node, capacity: int) -> int | None:
    """Which operand of a product is one-hot rows by which the other's are added up; None where none
    is, or where a product is quicker."""
    if not is_contraction(node) and not is_product_added(node):
        return None
    for slot, hot in enumerate(node.operands[:2]):
        labels, others = (node["left"], node["right"])[:: 1 if slot == 0 else -1]
        if not op_of(hot).is_("one_hot") or hot.operands[0].type.domain.partial:
            continue
        *lead, k = labels
        rest = others[len(lead) :]
        if not lead or others[: len(lead)] != tuple(lead) or k in others:
            continue
        if not rest or set(node["out"]) != {k, *rest}:
            continue
        rows = prod(number(s, capacity) for s in hot.operands[0].type.shape)
        classes = number(hot.type.shape[-1], capacity)
        numbers = prod(number(s, capacity) for s in node.operands[1 - slot].type.shape)
        width = numbers // max(rows, 1)
        added = CLASS * classes + NUMBER * numbers + NUMBER * classes * width
        return slot if added < TERM * numbers * classes / 2 else None
    return None
