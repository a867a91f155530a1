"""The first step of a program that does not compute what the evaluator says of its node.

The program of a graph is run once with a call after each step that keeps what the step has written.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from dln.bisecting.comparing import ROUNDED, Deviation, differences
from dln.bisecting.given import Array, Given, Values
from dln.compiler.ir.graph import Graph, Node
from dln.compiler.ir.structure import is_left, is_scan
from dln.compiler.lower.emit import program
from dln.compiler.lower.emit_loop import loop_lines
from dln.compiler.lower.schedule import Schedule, Step, schedule
from dln.compiler.lower.targets import TARGETS
from dln.compiler.lower.writer import Common, Writer
from dln.compiler.plan import Line
from dln.grammar.record import Record
from dln.runtime.device.host import Host
from dln.runtime.execution.executable import Executable, dtype_of


class Misstep(Record):
    """A step that goes wrong: its line in the text, none where the copies that lowering adds to the
    graph do; and what differs."""

    number: int | None
    line: Line | None
    results: list[Deviation]


class Traced(Writer):
    """A writer that notes which statements are those of each step."""

    def __init__(self, made: Schedule, common: Common) -> None:
        super().__init__(made, common, loop_lines)
        self.steps: list[tuple[Step, int, int]] = []

    def step(self, step: Step) -> None:
        first = len(self.lines)
        super().step(step)
        self.steps.append((step, first, len(self.lines)))


class Lowered:
    """The program of an optimised graph, run on what is given."""

    def __init__(self, name: str, graph: Graph, given: Given) -> None:
        self.graph, self.given = graph, given
        self.made = schedule(graph, TARGETS["numpy"], given.examples, "float64")
        self.writer = Traced(self.made, Common(self.made))
        self.writer.write()
        self.program = program(self.writer, name, "float64")
        self.left: dict[int, list[tuple[str, Node]]] = {
            i: self._left(step) for i, (step, _, _) in enumerate(self.writer.steps)
        }
        self.kept: dict[str, Array] = {}
        self.values = self._run()

    def _left(self, step: Step) -> list[tuple[str, Node]]:
        """The buffers that a step fills, each with the node whose value it then holds."""
        if not is_scan(step.node):
            return [(step.out, step.node)]
        users = [u for u, _ in self.made.graph.users(step.node) if is_left(u)]
        return [(self.made.home[u], u) for u in users if u in self.made.home]

    def _run(self) -> Values:
        """What the program leaves, by the text of its key."""
        code, first = self.program.text.split("\n"), self.program.first - 1
        for i, (_, _, end) in reversed(list(enumerate(self.writer.steps))):
            calls = [f"        keep({i}, {k}, {b})" for k, (b, _) in enumerate(self.left[i])]
            code[first + end : first + end] = calls
        text = self.program.changed(text="\n".join(code))
        env = self.given.env(self.graph.outputs.values())
        by_text = {(place, str(key)): v for (place, key), v in env.items()}

        def arrays(place: str) -> dict[str, Array]:
            asked = (b for b in self.program.buffers if b.place == place)
            return {
                b.key: np.array(by_text[place, b.key], dtype_of(self.program, b)) for b in asked
            }

        def keep(step: int, number: int, buffer: Array) -> None:
            self.kept[f"{step}.{number}"] = np.array(buffer)

        params, states = arrays("param"), arrays("state")
        ready = Executable(text, Host(), params, states, self.given.seed, arrays("whole"),
                           keep=keep)  # fmt: skip
        bound = ready.at(self.given.examples)
        for key, target in bound.inputs.items():
            target[...] = by_text["input", key]
        with np.errstate(all="ignore"):
            bound.run(*(by_text["clock", str(name)] for name in self.program.clocks))
        found: Values = {f"param:{k}": a for k, a in params.items()}
        found |= {f"state:{k}": a for k, a in states.items()}
        return found | {f"value:{k}": a for k, a in bound.values.items()}

    # ---- against the evaluator -----------------------------------------------------------------

    def wrong(self) -> list[Deviation]:
        """Where what the program leaves is not what the evaluator says of the graph."""
        return self._differ(self.graph.outputs, self.values)

    def first(self) -> Misstep | None:
        """The first step that computes anything else than its node; None where all are right."""
        if found := self._differ(self.graph.outputs, self.given.evaluated(self.made.graph.outputs)):
            return Misstep(None, None, found)
        for i, (_, start, end) in enumerate(self.writer.steps):
            nodes = {f"{i}.{k}": node for k, (_, node) in enumerate(self.left[i])}
            if found := self._differ(nodes, self.kept):
                lines = self.writer.lines[start:end]
                loop = (n for n, line in enumerate(lines) if line.code.startswith("for "))
                at = start + next(loop, len(lines) - 1)
                return Misstep(at + 1, self.writer.lines[at], found)
        return None

    def _differ(self, nodes: Mapping[Any, Node], found: Values) -> list[Deviation]:
        """Where values are not what the evaluator says of some nodes."""
        said = partial(self.given.evaluated, nodes)
        return differences(said(), found, ROUNDED, partial(said, np.longdouble))
