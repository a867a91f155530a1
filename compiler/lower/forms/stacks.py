"""Two products added to one array as one product over stacked rows.

    c + s a'b + s d'e  ->  c + s [a; d]' [b; e]
    c + s a'b - s d'e  ->  c + s [a; -d]' [b; e]

The two halves of contrastive divergence are such products, and so are those of a matrix that a net
reads twice. Each goes over the whole array; one goes over it once. What is stacked is copied, so it
is done where the array is the larger part.
"""

from __future__ import annotations

from math import prod

from dln.compiler.ir import structure
from dln.compiler.ir.graph import Graph, Node, rewrite
from dln.compiler.ir.op import Make
from dln.compiler.ir.ops.contract import Groups
from dln.compiler.ir.sizes import Size
from dln.compiler.ir.structure import is_product_added
from dln.compiler.lower.forms.turned import nodes_of
from dln.compiler.lower.im2col import number

PASS, COPY, CALLS = 0.05, 0.2, 2000.0
"""Nanoseconds for going over a number of the array once more, for copying a number, and for four
copies of nothing."""


def products_stacked(graph: Graph, capacity: int) -> tuple[Graph, tuple[str, ...]]:
    """The graph with such products as one, for `capacity` examples; and what is said of each."""
    said = list[str]()

    def rule(new: Graph, node: Node, operands: tuple[Node, ...]) -> Node | None:
        if not stackable(graph, node, capacity) or operands[2].attrs != node.attrs:
            return None
        make, before = Make(new, graph.spans.get(node, ())), operands[2]
        early, small = list(before.operands[:2]), smaller(before, capacity)
        if before.operands[3] is not operands[3]:
            early[small] = make("neg", early[small])
        pairs = zip(operands[:2], early, strict=True)
        rows = [make("concat", first(make, x), first(make, y), axis=0) for x, y in pairs]
        said.append(f"two products onto {node.type}, stacked")
        half = 1 + max((*node["left"], *node["right"]))
        sides = {side: (half, *node[side]) for side in ("left", "right")}
        return make(node.op, *rows, before.operands[2], operands[3], **sides, out=node["out"])

    there = any(stackable(graph, n, capacity) for n in nodes_of(graph))
    return (rewrite(graph, rule)[0] if there else graph), tuple(said)


def first(m: Make, node: Node) -> Node:
    """A node as the one entry of an axis in front."""
    return m("reshape", node, shape=(Size(1), *node.type.shape), running=())


def stackable(graph: Graph, node: Node, capacity: int) -> bool:
    """Whether a product is added to what a product with as many rows has just been added to."""
    if not is_product_added(node):
        return False
    a, b, before, by = node.operands
    if before.op != node.op or len(graph.users(before)) != 1:
        return False
    if before.operands[3] is not by and not opposite(before.operands[3], by):
        return False
    if before.attrs != node.attrs or before in graph.outputs.values():
        return False
    groups = Groups.of(node["left"], node["right"], node["out"])
    inner = groups.inner
    if len(inner) != 1 or node["left"][0] != inner[0] or node["right"][0] != inner[0]:
        return False
    if any(o.type.shape != p.type.shape for o, p in zip((a, b), before.operands, strict=False)):
        return False

    copied = 2 * (count(a, capacity) + count(b, capacity))
    return CALLS + COPY * copied < PASS * count(node, capacity)


def opposite(a: Node, b: Node) -> bool:
    """Whether a number is the negative of another."""
    x, y = structure.number(a), structure.number(b)
    return x is not None and y is not None and x == -y


def smaller(node: Node, capacity: int) -> int:
    """Which operand of a product is the smaller one."""
    a, b, *_ = node.operands
    return 0 if count(a, capacity) <= count(b, capacity) else 1


def count(node: Node, capacity: int) -> int:
    """How many numbers a node has, for so many examples."""
    return prod(number(s, capacity) for s in node.type.shape)
