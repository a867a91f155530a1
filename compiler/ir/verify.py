"""What a graph promises between stages, as checks that run in tests and in debug runs.

Always: no cycle, operands before users, edges that agree with the operands, every type as the
rule of its operation finds it again. After `infer`: no size is open but running ones. After
`differentiate`: nothing symbolic is left. Domains are not compared: rewriting may find a
narrower one, and the checks on domains are over when the graph is built.
"""

from __future__ import annotations

from collections.abc import Iterator

from dln.compiler.ir.graph import Graph, Node, ancestors
from dln.compiler.ir.op import OPS, op_of
from dln.grammar.diagnostics import Fault

STAGES = ("build", "infer", "differentiate")


def verify(graph: Graph, stage: str = "differentiate") -> None:
    """Raise a Fault that lists what is wrong with a graph that has been through `stage`."""
    found = list(faults(graph, stage))
    if found:
        raise Fault(f"after {stage} the graph is not sound:\n  " + "\n  ".join(found))


def faults(graph: Graph, stage: str = "differentiate") -> Iterator[str]:
    """The broken promises, one sentence each."""
    level = STAGES.index(stage)
    seen: set[Node] = set()
    for node in graph.topological():
        yield from structure(graph, node, seen)
        seen.add(node)
    for name, output in graph.outputs.items():
        if output not in graph:
            yield f"output {name} is not in the graph"
    for node in ancestors(graph.outputs.values()):
        yield from typing(node)
        if level >= 1:
            sizes = (s for s in node.type.shape if any(not v.running for v, _ in s.terms))
            yield from (f"{node!r} has an open size {size}" for size in sizes)
        if level >= 2 and op_of(node).is_("symbolic"):
            yield f"{node!r} should have been written out"


def structure(graph: Graph, node: Node, seen: set[Node]) -> Iterator[str]:
    """Operands come first (so there is no cycle) and the edges agree with them."""
    for operand in node.operands:
        if operand not in seen:
            yield f"{node!r} comes before its operand {operand!r}"
    edges = sorted((slot, o) for o, _, slot in graph.nx.in_edges(node, keys=True))
    if tuple(o for _, o in edges) != node.operands:
        yield f"the edges into {node!r} are not its operands"
    if node.op not in OPS:
        yield f"there is no operation {node.op}"


def typing(node: Node) -> Iterator[str]:
    """The type is what the operation's rule says, and pointwise shapes are equal."""
    operands = tuple(o.type for o in node.operands)
    try:
        again = op_of(node).type_of(node.attrs, operands)
    except Fault as fault:
        yield f"{node!r} is refused by its rule: {fault.message}"
        return
    if (again.shape, again.kind) != (node.type.shape, node.type.kind):
        yield f"{node!r} should have type {again}"
    if op_of(node).is_("pointwise"):
        if len({t.shape for t in operands if t.shape}) > 1:
            yield f"{node!r} is pointwise over different shapes"
