"""The column of graph stages, each named, in the order they run; drawn in compiler/README.md.

`build` and `infer` work on a whole spec; scheduling and lowering are the target's and
stand in `pipeline`. What is here runs once for each program, on the part of the graph that its
outputs need. The same column prepares the expectations of checks for the evaluator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from dln.compiler.autodiff.differentiate import differentiate
from dln.compiler.ir.graph import Graph, K, Node, ancestors
from dln.compiler.model import Model
from dln.compiler.passes import PASSES, Log, Pass
from dln.compiler.passes.scan_bodies import inside


def _differentiate(graph: Graph, log: Log | None) -> Graph:
    return differentiate(graph)


# Constants are folded only when no gradient is left: a derivative may be asked for at a constant.
BEFORE: tuple[tuple[str, Pass], ...] = tuple(
    x for x in PASSES if x[0] in ("simplify", "stabilise", "guard")
)
# What a choice drops is guarded once: derivatives are those of the guarded forms.
AFTER: tuple[tuple[str, Pass], ...] = tuple(x for x in PASSES if x[0] != "guard")
STAGES: tuple[tuple[str, Pass], ...] = (
    *BEFORE,
    ("differentiate", inside(_differentiate)),
    *AFTER,
)
# A step in shards is cut before products are added in place: what they are added to is elsewhere.
WHOLE = tuple(x for x in STAGES if x[0] != "accumulate")
APART = tuple(x for x in STAGES if x[0] == "accumulate")


def part(model: Model, outputs: Mapping[K, Node]) -> Graph:
    """The part of the model's graph that some outputs need."""
    graph = Graph()
    for node in ancestors(outputs.values()):
        graph.include(node, model.graph.spans.get(node, ()), model.graph.names.get(node))
    graph.outputs = dict(outputs.items())
    return graph


def optimise(
    graph: Graph,
    steps: Iterable[tuple[str, Pass]] = STAGES,
    seen: Callable[[str, Graph, Graph, Log], None] | None = None,
) -> Graph:
    """A graph through the column; `seen` is shown each stage with what went in and came out."""
    for name, stage in steps:
        log: Log = []
        after = stage(graph, None if seen is None else log)
        if seen is not None:
            seen(name, graph, after, log)
        graph = after
    return graph
