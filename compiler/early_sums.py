"""Sums over the examples written so that they are known in as few rounds as may be.

What is added up may hold a factor that is made of other sums, alike for all examples: with it the
sum waits for them, and then for messages of its own. Taken out, both go into one round. So the two
sums by which a batch norm hands a derivative down are ready together.

A sum is taken apart only where that saves a round, and into sums of rows alone: what is alike for
all is not taken from what it is added to, as the mean is not from what is centred by it.
"""

from __future__ import annotations

from collections.abc import Container

from dln.compiler.ir.graph import Graph, Node, keep, rewrite
from dln.compiler.ir.op import Make, op_of
from dln.compiler.ir.structure import is_sum


def early(graph: Graph, joined: Container[Node]) -> Graph:
    """The graph of a step, in which examples meet in the nodes that are `joined`: sums that wait
    for others without need are taken apart."""
    depth: dict[Node, int] = {}

    def after(node: Node) -> int:
        """After how many sums over the examples a node is known."""
        if node not in depth:
            depth[node] = max(map(after, node.operands), default=0)
        return depth[node]

    def rule(new: Graph, node: Node, operands: tuple[Node, ...]) -> Node:
        made = keep(new, node, operands)
        if node not in joined:
            after(made)
            return made
        depth[made] = max(map(after, operands)) + 1
        if not is_sum(node) or depth[made] == 1:
            return made
        make = Make(new, graph.spans.get(node, ()))

        def over(rows: Node, axes: tuple[int, ...]) -> Node:
            """The sum of rows, as early as may be; of two ways that are, the plain one."""
            plain = make("sum", rows, axes=axes)
            depth[plain] = after(rows) + 1
            summed = op_of(rows).summed
            other = None if summed is None or depth[plain] == 1 else summed(make, rows, axes, over)
            return plain if other is None or after(other) >= depth[plain] else other

        return over(operands[0], node["axes"])

    return rewrite(graph, rule)[0]
