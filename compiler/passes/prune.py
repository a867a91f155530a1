"""Dead ends: nodes that no output needs, and states that only keep themselves.

A state is a value carried from step to step; its new value is the output "state:<path>". Where
its old value is read by nothing but its own new value (or by other such states), the whole circle
goes: nobody would see a difference. States with a row for each example are those that a phase
declares: watches and checks may ask for them, so they stay.
"""

from __future__ import annotations

from dln.compiler.graph import Graph, Node, ancestors, rewrite
from dln.compiler.passes.rewriting import Firing, Log

STATE = "state:"


def prune(graph: Graph, log: Log | None = None) -> Graph:
    """The graph with what its outputs need and nothing else."""
    live = live_outputs(graph)
    if live == graph.outputs and len(ancestors(live.values())) == len(graph):
        return graph
    if log is not None:
        log += [
            Firing("unread state", True, f"{name} is kept", "gone", graph.spans.get(node, ()))
            for name, node in graph.outputs.items()
            if name not in live
        ]
    short = Graph()
    short.spans, short.names, short.outputs = graph.spans, graph.names, live
    return rewrite(short, lambda *_: None)[0]


def live_outputs(graph: Graph) -> dict[str, Node]:
    """The outputs that are seen: all but states, the states that those read, and so on; and those
    with a row for each example."""
    seen = (k for k, v in graph.outputs.items() if not k.startswith(STATE) or v.type.running)
    live = {k: graph.outputs[k] for k in seen}
    while True:
        read = {n["path"] for n in ancestors(live.values()) if n.op == "state"}
        more = [k for k in graph.outputs if k not in live and k[len(STATE) :] in read]
        if not more:
            return {k: v for k, v in graph.outputs.items() if k in live}
        live |= {k: graph.outputs[k] for k in more}
