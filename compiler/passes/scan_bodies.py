"""A pass over the bodies of loops as well as over the graph that they stand in."""

from __future__ import annotations

from collections.abc import Sequence

from dln.compiler.ir.graph import Graph, Node, ancestors, rewrite
from dln.compiler.ir.op import Make
from dln.compiler.ir.ops import loop as loops
from dln.compiler.ir.structure import is_derivative, is_item, is_scan
from dln.compiler.passes.rewriting import Log, Pass


def inside(stage: Pass) -> Pass:
    """The stage, run first on the body of every loop, which is a graph with outputs of its own."""

    def run(graph: Graph, log: Log | None = None) -> Graph:
        return stage(bodies(graph, stage, log), log)

    return run


def bodies(graph: Graph, stage: Pass, log: Log | None = None) -> Graph:
    """The graph with every body rewritten. What its items ask for is followed."""
    nodes = ancestors(graph.outputs.values())
    asked = loops.requested(nodes)
    if not asked:
        return graph
    derived = [n.operands[1] for n in nodes if is_derivative(n)]
    moved: dict[Node, dict[Node, Node]] = {}

    def rule(new: Graph, node: Node, operands: tuple[Node, ...]) -> Node | None:
        make = Make(new, graph.spans.get(node, ()))
        if is_scan(node):
            better = stage(step_of(node, asked[node], derived), log)
            moved[node] = loops.items_of(better, asked[node])
            return make("scan", *operands, body=loops.rebuilt(loops.body_of(node), better))
        if is_item(node):
            value = moved[node.operands[0]][node["value"]]
            return make.running(loops.item(make, operands[0], value), node.type)
        return None

    return rewrite(graph, rule)[0]


def step_of(loop: Node, values: Sequence[Node], derived: Sequence[Node]) -> Graph:
    """The body of a loop as a graph that works out some values. Nodes that derivatives outside ask
    for must stay themselves: what `stop` stops is still to come."""
    body = loops.body_of(loop)
    inner = loops.with_outputs(body, loops.outputs_of(body, values))
    if derived:
        inner.asked = frozenset(n["value"] for n in derived if n.operands[:1] == (loop,))
    return inner
