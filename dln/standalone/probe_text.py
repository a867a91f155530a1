"""What checks ask of phases, on their first minibatch, before the first update or after the last:
programs of their own, in double precision."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from json import dumps

from dln.compiler.ir.graph import Node, ancestors
from dln.compiler.ir.structure import is_const, is_input, is_param
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
        self.reads: set[str] = set()  # parameters of phases
        self.own_values: WrittenProgram | None = None  # of instances that checks have made
        expects = [e for check in model.checks for e in check.expects]
        for e in (e for e in expects if all(p in phases for p in e.phases)):
            for key in probes_of(e):
                probe = model.probes.get(key)
                if probe is not None and probe.phase in phases:
                    self.asked.setdefault((probe.phase, probe.when), {})[str(key)] = probe.node
        self.work_out()
        self.write_sides(e for e in expects if all(p in phases for p in e.phases))
        self.write_own()

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
                self.reads |= {b.key for b in program.buffers if b.place == "param"}
                said = f"What checks ask of {phase} {when} it was trained."
                called = f"asked_{ident(phase)}_{when}"
                self.made[phase, when] = function_text(
                    program, called, said, self.own, self.texts, None, True
                )

    def write_sides(self, expects: Iterator[Expectation]) -> None:
        """A function for each side that is worked out of what was asked."""
        for e in expects:
            for node in (e.left, e.right):
                known = side(node) is not None or is_input(node) or node in self.sides
                if known or not self.known(node):
                    continue
                program = self.program({"side": node})
                if program is None or not all(map(self.given, own_arrays(program))):
                    continue
                if all(isinstance(c, PhaseNumber | str) for c in program.clocks):
                    called = f"side_{len(self.sides) + 1}"
                    said = "A side of what a check expects."
                    self.sides[node] = function_text(program, called, said, self.own, self.texts)

    def given(self, array: Buffer) -> bool:
        """Whether what a side reads is asked of a phase, or the first value of what a check has
        made for itself."""
        made = self.model.params.get(array.key) if array.place == "param" else None
        return array.place == "input" or (
            made is not None and made.checks and made.init is not None
        )

    def write_own(self) -> None:
        """A function for the first values of what checks have made for themselves; where that
        cannot be, sides that read them are left out."""
        read = {node: [n["path"] for n in ancestors([node]) if is_param(n)] for node in self.sides}
        paths = {path: self.model.params[path].init for some in read.values() for path in some}
        nodes = {path: init for path, init in paths.items() if init is not None}
        program = self.program(nodes) if nodes else None
        if program is not None and not own_arrays(program):
            said = "The first values of what checks have made for themselves."
            self.own_values = function_text(
                program, "own_values", said, self.own, self.texts, None, True
            )
        else:
            self.sides = {node: w for node, w in self.sides.items() if not read[node]}

    def known(self, node: Node) -> bool:
        """Whether all that a side asks of phases is worked out."""
        names = [n["name"] for n in ancestors([node]) if is_input(n)]
        found = [self.model.probes.get(name) for name in names]
        return all(p is not None and (p.phase, p.when) in self.made for p in found)

    def functions(self) -> Iterator[str]:
        """The functions."""
        own = [self.own_values] if self.own_values is not None else []
        for written in (*self.made.values(), *own, *self.sides.values()):
            yield f"\n{written.text}"

    def lines(self) -> Iterator[str]:
        """What is asked, worked out where checks are tested."""
        if self.made or self.sides:
            yield "    probed = {}"
        if self.own_values is not None:
            clocks = dict.fromkeys(("update", "epoch", "progress"), "0")
            call = self.own_values.call("probed", clocks, seed="given.seed", n="1")
            yield from broken(f"    own = {call}")
        if self.made:
            yield "    if not cut:"
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
        clocks = dict[object, str]((c, "0") for c in ("update", "epoch", "progress"))
        for _, key in written.asks:
            if isinstance(key, PhaseNumber):
                clocks[key] = f"np.float64({number_of(key)})"
        return written.call("probed", clocks, n="1", seed="given.seed", param="own")


def probes_of(e: Expectation) -> Iterator[ProbeInput]:
    """What an expectation asks of phases."""
    for node in ancestors([e.left, e.right]):
        if is_input(node) and not is_const(node):
            yield node["name"]


def own_arrays(program: Program) -> list[Buffer]:
    """The arrays that a program is given."""
    return [b for b in program.buffers if b.place in ("param", "state", "whole", "input")]
