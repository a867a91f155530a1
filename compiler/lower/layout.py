"""Which arrays lie with their examples innermost.

What a convolution reads and writes is copied, pooled and added up in runs as long as the last axes
that lie together. With the examples first such a run is one row of one picture; with the examples
last it is a row of all of them, and the products over windows of all examples are one product:

    f(x[batch, ...])  ->  transpose(f'(x'[..., batch]))

Nodes of which one is worked out from another example by example go together, so that nothing
between them is copied; a contraction cuts, since a product reads and writes either way. A group is
turned where one of it is an operand or the result of a contraction over windows.
"""

from __future__ import annotations

from collections.abc import Sequence

from dln.compiler.ir.graph import Graph, Node, ancestors, keep, rewrite
from dln.compiler.ir.op import Make, op_of
from dln.compiler.ir.structure import is_contraction, is_input, is_spread, is_transpose
from dln.compiler.ir.tensor_type import TensorType
from dln.compiler.lower.im2col import overlaps

ENOUGH = 8
"""Examples from which on they make the better run: of fewer, rows of a picture are longer."""


def examples_last(graph: Graph, capacity: int) -> Graph:
    """The graph with the groups around its convolutions turned, for `capacity` examples."""
    chosen = around(graph, capacity)
    if not chosen:
        return graph
    last: dict[Node, Node] = {}
    left = set(graph.outputs.values())

    def rule(new: Graph, node: Node, operands: tuple[Node, ...]) -> Node | None:
        make = Make(new, graph.spans.get(node, ()))
        if is_contraction(node):
            read = [last.get(o, o) for o in operands]
            made = contracted(make, node, read, operands, node in chosen)
        elif node in chosen:
            made = worked_out(make, node, [put_last(make, o, last) for o in operands])
        elif len(operands) == 1 and operands[0] in last and closed(node):
            made = worked_out(make, node, [last[operands[0]]])
        elif node in left and turned(node) and operands[0] in last:
            return last[operands[0]]
        elif handed(node):
            given = keep(new, node, operands)
            last[given] = operands[0]
            return given
        else:
            return None
        if node not in chosen:
            return make.running(made, node.type)
        new.mark(made, *graph.about(node))
        rank = len(node.type.shape)
        back = make.running(make("transpose", made, perm=(rank - 1, *range(rank - 1))), node.type)
        last[back] = made
        return back

    return rewrite(graph, rule)[0]


# ---- which nodes -------------------------------------------------------------------------------


def around(graph: Graph, capacity: int) -> set[Node]:
    """The nodes of the groups that a contraction over windows reads or makes, and of those that
    other programs give or are given with their examples last."""
    return around_windows(graph) if capacity >= ENOUGH else set()


def around_windows(graph: Graph) -> set[Node]:
    nodes, left = ancestors(graph.outputs.values()), set(graph.outputs.values())
    group: dict[Node, Node] = {}

    def first(node: Node) -> Node:
        while (above := group.get(node, node)) is not node:
            group[node] = group.get(above, above)
            node = above
        return node

    free = {n for n in nodes if movable(n)}
    wound: list[Node] = []
    for node in nodes:
        if is_contraction(node):
            if any(map(overlaps, node.operands)):
                wound += (node, *node.operands)
        elif node in left and turned(node):
            wound += node.operands
        elif node in free:
            wound += (node,) if any(map(handed, node.operands)) else ()
            for operand in free.intersection(node.operands):
                group[first(operand)] = first(node)
    chosen = {first(n) for n in wound if n in free}
    return {n for n in free if first(n) in chosen}


def turned(node: Node) -> bool:
    """Whether a node is another one with its examples last."""
    shape = node.type.shape
    return is_transpose(node) and node["perm"] == moved(len(shape)) and bool(shape[-1].terms)


def handed(node: Node) -> bool:
    """Whether a node is what a program is given with its examples last."""
    shape = node.type.shape
    back = is_transpose(node) and moved(len(shape)) == tuple(
        map(node["perm"].index, range(len(shape)))
    )
    return back and is_input(node.operands[0]) and bool(shape[0].terms)


def movable(node: Node) -> bool:
    """Whether a node has an axis of examples in front that can as well stand last."""
    shape, record = node.type.shape, op_of(node)
    if len(shape) < 2 or not shape[0].terms:
        return False
    if is_contraction(node) or record.is_("pointwise"):
        return bool(node.operands)
    if record.behind is None or record.places is None:
        return False
    places = [record.places(node, slot) for slot in range(len(node.operands))]
    if is_spread(node) and 0 not in places[0]:
        return not node.operands[0].type.shape or not node.operands[0].type.shape[0].terms
    return all(p.get(0) == 0 for p in places)


def closed(node: Node) -> bool:
    """Whether the examples of the one operand are gone in a node, or its only axis."""
    record, rank = op_of(node), len(node.type.shape)
    if record.behind is None or record.places is None:
        return False
    places = record.places(node, 0)
    return set(places) == set(range(rank)) and (0 not in places.values() or places == {0: 0})


# ---- turning -----------------------------------------------------------------------------------


def put_last(m: Make, node: Node, last: dict[Node, Node]) -> Node:
    """A node with its examples last: as it has been worked out, else a copy. What has no examples,
    or nothing else, is the same."""
    rank = len(node.type.shape)
    if node in last or rank < 2 or not node.type.shape[0].terms:
        return last.get(node, node)
    last[node] = m("copy", moved_last(m, node))
    return last[node]


def moved(rank: int) -> tuple[int, ...]:
    """The order of axes that has the first one last."""
    return (*range(1, rank), 0)


def moved_last(m: Make, node: Node) -> Node:
    """A node with its first axis last, as it lies."""
    return m("transpose", node, perm=moved(len(node.type.shape)))


def examples_first(m: Make, type: TensorType, name: str) -> Node:
    """A value of a type that a program is given by a name, with its examples last."""
    shape, rank = type.shape, len(type.shape)
    held = type.like(shape=(*shape[1:], shape[0]), running=())
    given = m("input", name=name, type=held)
    return m.running(m("transpose", given, perm=(rank - 1, *range(rank - 1))), type)


def worked_out(m: Make, node: Node, operands: Sequence[Node]) -> Node:
    """A node from operands with their examples last, its own last."""
    behind = op_of(node).behind
    return m(node.op, *operands, **node.attrs) if behind is None else behind(m, node, operands)


def contracted(
    m: Make, node: Node, operands: Sequence[Node], given: Sequence[Node], out: bool
) -> Node:
    """A contraction that reads each operand as it lies, and writes its examples last."""
    sides = [
        ls if mine is old else (*ls[1:], ls[0])
        for ls, mine, old in zip((node["left"], node["right"]), operands, given, strict=True)
    ]
    labels = (*node["out"][1:], node["out"][0]) if out else node["out"]
    return m("contract", *operands, left=sides[0], right=sides[1], out=labels)
