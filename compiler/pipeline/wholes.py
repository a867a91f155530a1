"""A watch of a whole part that is no sum over examples: what of it is added up, and what is made of
the sums at the end.

`sum(batch: a) / sum(batch: b)` is worked out some examples at a time: a program leaves both sums
for each of them, and another divides what all have come to. Where a sum is of something that
another sum is part of, as in a variance, the part is gone through once more.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dln.compiler.ir.graph import Graph, Node, ancestors, keep
from dln.compiler.ir.op import op_of
from dln.compiler.ir.sizes import BATCH
from dln.compiler.ir.structure import is_clock, is_param, is_scan, is_size, is_sum
from dln.compiler.schema.keys import CLOCKS


@dataclass(frozen=True)
class Round:
    """Once through a part: `sums` are added up over all examples, and `then` is what is made of all
    sums so far, by name. What stands under the names is an input of what comes after."""

    sums: dict[str, Node]
    then: dict[str, Node]

    @property
    def owned(self) -> bool:
        """Whether what is made of the sums depends on parameters."""
        return any(map(is_param, ancestors(self.then.values())))


def rounds(graph: Graph, value: Node) -> list[Round]:
    """How often, and for what, a part is gone through for a value of all of it; nothing where it
    cannot be taken apart: an extreme over all, a gradient by something."""
    nodes = ancestors([value])
    many = _of_each(nodes)
    depth, added = dict[Node, int](), list[Node]()
    for n in nodes:
        depth[n] = max((depth[o] for o in n.operands), default=0)
        if depth[n] and op_of(n).is_("symbolic"):  # a derivative goes through the sums below it
            return []
        if n not in many and not many.isdisjoint(n.operands):
            if not is_sum(n):
                return []
            depth[n] += 1
            added.append(n)
        elif is_clock(n) and n["name"] not in CLOCKS:
            return []
    users = {o for n in many for o in n.operands if o not in many}
    early = ancestors(n for n in users if depth[n] == 0)
    if not added or value in many or any(map(_counts, early)):
        return []
    sums = {n: _given(graph, f"sum:{i}", n) for i, n in enumerate(added)}
    to, found = dict[Node, Node](), list[Round]()
    for turn in range(1, depth[value] + 1):
        made = {str(sums[n]["name"]): _instead(graph, n, to) for n in added if depth[n] == turn}
        needed = [n for n in nodes if depth[n] == turn and n in users]
        asked = {f"now:{turn}.{i}": n for i, n in enumerate(needed)}
        asked |= {"watch": value} if depth[value] == turn else {}
        found.append(Round(made, {name: _instead(graph, n, sums) for name, n in asked.items()}))
        to |= {n: _given(graph, name, n) for name, n in asked.items()}
    return found


def _of_each(nodes: Iterable[Node]) -> set[Node]:
    """What there is one of for each example; a loop over such has no type of its own."""
    many = set[Node]()
    for n in nodes:
        if "batch" in n.type.running or (is_scan(n) and not many.isdisjoint(n.operands)):
            many.add(n)
    return many


def _counts(node: Node) -> bool:
    """Whether a node is made of how many examples there are."""
    return is_size(node) and BATCH in dict(node["size"].terms)


def _given(graph: Graph, name: str, node: Node) -> Node:
    return graph.add("input", (), node.type, name=name, type=node.type)


def _instead(graph: Graph, node: Node, to: dict[Node, Node]) -> Node:
    """A value with others in the place of some that it is made of."""
    made = dict[Node, Node]()
    for n in ancestors([node], lambda n: () if n in to else n.operands):
        made[n] = to[n] if n in to else keep(graph, n, tuple(made[o] for o in n.operands))
    return made[node]
