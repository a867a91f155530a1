"""What checks ask of phases, on their first minibatch, before the first update or after the last:
programs of their own, in double precision."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from json import dumps

from dln.compiler.ir.graph import Node, ancestors
from dln.compiler.ir.structure import is_const, is_input
from dln.compiler.lower.emit import lower
from dln.compiler.lower.targets import TARGETS
from dln.compiler.model import Expectation, Model
from dln.compiler.pipeline.compiled import optimised
from dln.compiler.pipeline.recipes import values
from dln.compiler.plan import Buffer, PhaseNumber, Program
from dln.compiler.schema.keys import ProbeInput
from dln.grammar.diagnostics import DlnError, Fault
from dln.standalone.check_text import number_of, side
from dln.standalone.program.layout import broken
from dln.standalone.program.text import WrittenProgram, function_text, ident


class ProbeText:
    """Writes what the expectations of a model ask that is no report, for some phases."""

    def __init__(self, model: Model, phases: Collection[str], own: str) -> None:
        self.model, self.own = model, own
        self.texts = {path: source.text for path, source in model.sources.items()}
        self.asked: dict[tuple[str, str], dict[str, Node]] = {}
        self.sides: dict[Node, WrittenProgram] = {}
        self.made: dict[tuple[str, str], WrittenProgram] = {}
        expects = [e for check in model.checks for e in check.expects]
        for e in (e for e in expects if all(p in phases for p in e.phases)):
            for key in probes_of(e):
                probe = model.probes.get(key)
                if probe is not None and probe.phase in phases:
                    self.asked.setdefault((probe.phase, probe.when), {})[str(key)] = probe.node
        self.work_out()
        self.write_sides(e for e in expects if all(p in phases for p in e.phases))

    @property
    def phases(self) -> set[str]:
        """The phases of which their first minibatch and parameters are kept."""
        return {phase for phase, _ in self.made}

    def program(self, nodes: dict[str, Node]) -> Program | None:
        """The program of some nodes; None of what cannot be lowered."""
        try:
            graph = optimised(self.model, values(nodes))
            return lower("check", graph, TARGETS["numpy"], "float64", 1)
        except (DlnError, Fault, ValueError):
            return None

    def work_out(self) -> None:
        """A function for all that is asked of a phase at one time."""
        for (phase, when), nodes in self.asked.items():
            program = self.program(nodes)
            if program is not None and all(isinstance(c, str) for c in program.clocks):
                said = f"What checks ask of {phase} {when} it was trained."
                called = f"asked_{ident(phase)}_{when}"
                self.made[phase, when] = function_text(
                    program, called, said, self.own, self.texts, None, True
                )

    def write_sides(self, expects: Iterator[Expectation]) -> None:
        """A function for each side that is worked out of what was asked."""
        for e in expects:
            for node in (e.left, e.right):
                if side(node) is not None or is_input(node) or not self.known(node):
                    continue
                program = self.program({"side": node})
                if program is None or any(b.place != "input" for b in own_arrays(program)):
                    continue
                if all(isinstance(c, PhaseNumber) and not c.best for c in program.clocks):
                    called = f"side_{len(self.sides) + 1}"
                    said = "A side of what a check expects."
                    self.sides[node] = function_text(program, called, said, self.own, self.texts)

    def known(self, node: Node) -> bool:
        """Whether all that a side asks of phases is worked out."""
        names = [n["name"] for n in ancestors([node]) if is_input(n)]
        found = [self.model.probes.get(name) for name in names]
        return all(p is not None and (p.phase, p.when) in self.made for p in found)

    def functions(self) -> Iterator[str]:
        """The functions."""
        for written in (*self.made.values(), *self.sides.values()):
            yield f"\n{written.text}"

    def lines(self) -> Iterator[str]:
        """What is asked, worked out where checks are tested."""
        if self.made:
            yield "        probed = {}"
        for (phase, when), written in self.made.items():
            yield f'        asked = told["asked {phase}"]'
            call = written.call(
                "some", dict.fromkeys(("update", "epoch", "progress"), "0.0"),
                param=f'wide(asked["{when}"][0])', state=f'wide(asked["{when}"][1])',
                seed="given.seed", n="1",
            )  # fmt: skip
            yield '        some = wide(asked["first"])'
            yield from broken(f"        probed |= {call}")

    def side(self, node: Node) -> str | None:
        """One side of an expectation; None for what a file does not test."""
        if (plain := side(node)) is not None:
            return plain
        if is_input(node) and self.known(node):
            return f"probed[{dumps(str(node['name']))}]"
        written = self.sides.get(node)
        if written is None:
            return None
        clocks = {key: number_of(key) for kind, key in written.asks
                  if kind == "clock" and isinstance(key, PhaseNumber)}  # fmt: skip
        return written.call("probed", clocks, n="1", seed="given.seed")


def probes_of(e: Expectation) -> Iterator[ProbeInput]:
    """What an expectation asks of phases."""
    for node in ancestors([e.left, e.right]):
        if is_input(node) and not is_const(node):
            yield node["name"]


def own_arrays(program: Program) -> list[Buffer]:
    """The arrays that a program is given."""
    return [b for b in program.buffers if b.place in ("param", "state", "whole", "input")]
