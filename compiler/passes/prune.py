"""Dead ends: nodes that no output needs, and states that only keep themselves.

A state is a value carried from step to step; its new value is an output of that state. Where
its old value is read by nothing but its own new value (or by other such states), the whole circle
goes: nobody would see a difference. What other programs of the phase ask for stays: states with a
row for each example, which a phase declares, and what a stream carries from window to window.
"""

from __future__ import annotations

from collections.abc import Hashable

from dln.compiler.ir.graph import Graph, Node, ancestors
from dln.compiler.ir.structure import is_state
from dln.compiler.passes.rewriting import Firing, Log, clean, spent
from dln.compiler.schema.keys import Output, new_state


def prune(graph: Graph, log: Log | None = None) -> Graph:
    """The graph with what its outputs need and nothing else."""
    live = live_outputs(graph)
    if spent(log) or live == graph.outputs and len(ancestors(live.values())) == len(graph):
        return graph
    if log is not None:
        log += [
            Firing("unread state", True, f"{name} is kept", "gone", graph.spans.get(node, ()))
            for name, node in graph.outputs.items()
            if name not in live
        ]
    short = Graph()
    short.spans, short.names, short.outputs = graph.spans, graph.names, live
    return clean(short)


def live_outputs(graph: Graph) -> dict[Hashable, Node]:
    """The outputs that are seen: all but states, the states that those read, and so on; and those
    that are asked for elsewhere."""
    held = (n for n in ancestors(graph.outputs.values()) if is_state(n))
    asked = {new_state(n["path"]) for n in held if n.attrs.get("asked")}
    kept = {k for k in graph.outputs if isinstance(k, Output) and k.place == "state"}
    live = {k for k, v in graph.outputs.items() if k not in kept or k in asked or by_example(v)}
    while True:
        found = {k: v for k, v in graph.outputs.items() if k in live}
        more = {new_state(n["path"]) for n in ancestors(found.values()) if is_state(n)} - live
        if not more & kept:
            return found
        live |= more


def by_example(node: Node) -> bool:
    """Whether a value has a row for each example. What else it runs along are names that axes have
    from equations."""
    return "batch" in node.type.running
