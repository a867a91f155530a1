"""A pass over the bodies of loops as well as over the graph that they stand in."""

from __future__ import annotations

from dln.compiler.ir.graph import Graph, Node, ancestors, rewrite
from dln.compiler.ir.op import Make
from dln.compiler.ir.ops.loop import (
    body_of,
    item,
    items_of,
    outputs_of,
    rebuilt,
    requested,
    with_outputs,
)
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
    asked = requested(nodes)
    if not asked:
        return graph
    derived = [n.operands[1] for n in nodes if is_derivative(n)]
    moved: dict[Node, dict[Node, Node]] = {}

    def rule(new: Graph, node: Node, operands: tuple[Node, ...]) -> Node | None:
        make = Make(new, graph.spans.get(node, ()))
        if is_scan(node):
            body, values = body_of(node), asked[node]
            inner = with_outputs(body, outputs_of(body, values))
            if derived:  # what `stop` stops is still to come, and these nodes must stay themselves
                inner.asked = frozenset(n["value"] for n in derived if n.operands[:1] == (node,))
            better = stage(inner, log)
            moved[node] = items_of(better, values)
            return make("scan", *operands, body=rebuilt(body, better))
        if is_item(node):
            value = moved[node.operands[0]][node["value"]]
            made = item(make, operands[0], value)
            same = made.type.running == node.type.running
            return made if same else make("running", made, running=node.type.running)
        return None

    return rewrite(graph, rule)[0]
