"""The first rewrite that changes a result, among all that the passes make of one program.

The graph after each stage is worked out by the evaluator and held against the graph as it was
built. In the first stage that changes a result its log is halved: a stage that is given a ration of
k firings makes the first k as ever, and no more. Where a curvature is asked for, the graph is that
of its stable forms: what a curvature leaves out depends on the operations that it passes, so it is
one of these forms by definition.
"""

from __future__ import annotations

import numpy as np

from dln.bisecting.comparing import EXACT, ROUNDED, Deviation, differences
from dln.bisecting.given import Given, Values, sources
from dln.compiler.ir.evaluate import name_of
from dln.compiler.ir.graph import Graph
from dln.compiler.ir.ops.loop import everything
from dln.compiler.ir.structure import is_curvature
from dln.compiler.passes import Firing, Log, Pass
from dln.compiler.passes.rewriting import Ration
from dln.compiler.schema.keys import Output, new_state
from dln.compiler.stages import BEFORE, STAGES, optimise
from dln.grammar.record import Record


class Rewrite(Record):
    """The rewrite that changes results: of which pass, which of its firings (none where the pass
    does it outside of its rules), and which results."""

    stage: str
    number: int
    of: int
    firing: Firing | None
    results: list[Deviation]


class Bisection:
    """The passes over the graph of one program, held against that graph."""

    def __init__(self, given: Given, graph: Graph) -> None:
        first = any(map(is_curvature, everything(graph.outputs.values())))
        self.stages = STAGES[len(BEFORE) :] if first else STAGES
        self.given, self.graph = given, optimise(graph, BEFORE) if first else graph
        self.before: Values = given.values(self.graph)
        self._precise: Values | None = None

    def precise(self) -> Values:
        """What the graph as it was built gives, in more digits where the machine has them."""
        if self._precise is None:
            self._precise = self.given.values(self.graph, np.longdouble)
        return self._precise

    def optimised(self) -> tuple[Graph, Log]:
        """The graph after all stages, and what fired."""
        graph, everything = self.graph, list[Firing]()
        for _, stage in self.stages:
            graph = stage(graph, log := list[Firing]())
            everything += log
        return graph, everything

    def wrong(self, graph: Graph, log: Log) -> list[Deviation]:
        """Where the results of a graph are not what they were, though only this has fired."""
        allowed = EXACT if all(f.exact for f in log) else ROUNDED
        found = differences(self.before, self.given.values(graph), allowed, self.precise)
        return found + [Deviation(str(k), (), 1.0, 0.0) for k in missing(self.graph, graph)]

    def first(self) -> Rewrite | None:
        """The first rewrite that changes a result; None where none does."""
        graph, done = self.graph, list[Firing]()
        for name, stage in self.stages:
            after = stage(graph, log := list[Firing]())
            if self.wrong(after, done + log):
                return self.halved(name, stage, graph, done, log)
            graph, done = after, done + log
        return None

    def halved(self, name: str, stage: Pass, graph: Graph, done: Log, log: Log) -> Rewrite:
        """The firing of a stage before which all is well, and after which it is not."""

        def wrong(count: int) -> list[Deviation]:
            return self.wrong(stage(graph, Ration(count)), done + log[:count])

        if found := wrong(0):
            return Rewrite(name, 0, len(log), None, found)
        well, ill = 0, len(log)
        while ill - well > 1:
            middle = (well + ill) // 2
            well, ill = (well, middle) if wrong(middle) else (middle, ill)
        found = wrong(ill) or self.wrong(stage(graph, None), done + log)
        return Rewrite(name, ill, len(log), log[ill - 1] if log else None, found)


def missing(before: Graph, after: Graph) -> list[object]:
    """Results that are gone, but for states that nothing reads."""
    read = {new_state(name) for op, name in map(name_of, sources(after.outputs.values()))
            if op == "state"}  # fmt: skip
    gone = [k for k in before.outputs if k not in after.outputs]
    return [k for k in gone if not (isinstance(k, Output) and k.place == "state") or k in read]
