"""A pass over the bodies of loops as well as over the graph that they stand in."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from dln.compiler.graph import Graph, Node, ancestors, rewrite
from dln.compiler.op import Make
from dln.compiler.ops.loop import body_of, item, outputs_of, rebuilt, requested, with_outputs

if TYPE_CHECKING:
    from dln.compiler.passes.rewriting import Log


def inside(
    stage: Callable[[Graph, Log | None], Graph],
) -> Callable[[Graph, Log | None], Graph]:
    """The stage, run first on the body of every loop, which is a graph with outputs of its own."""

    def run(graph: Graph, log: Log | None = None) -> Graph:
        return stage(bodies(graph, stage, log), log)

    return run


def bodies(
    graph: Graph, stage: Callable[[Graph, Log | None], Graph], log: Log | None = None
) -> Graph:
    """The graph with every body rewritten. What its items ask for is followed."""
    asked = requested(ancestors(graph.outputs.values()))
    if not asked:
        return graph
    moved: dict[Node, dict[Node, Node]] = {}

    def rule(new: Graph, node: Node, operands: tuple[Node, ...]) -> Node | None:
        make = Make(new, graph.spans.get(node, ()))
        if node.op == "scan":
            body, values = body_of(node), asked[node]
            better = stage(with_outputs(body, outputs_of(body, values)), log)
            moved[node] = {v: better.outputs[f"item:{i}"] for i, v in enumerate(values)}
            return make("scan", *operands, body=rebuilt(body, better))
        if node.op == "item":
            value = moved[node.operands[0]][node["value"]]
            made = item(make, operands[0], value)
            same = made.type.running == node.type.running
            return made if same else make("running", made, running=node.type.running)
        return None

    return rewrite(graph, rule)[0]
