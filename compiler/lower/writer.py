"""Writes the statements of a step: array calls over preallocated buffers.

All names are made here: v0, v1, ... are buffers, w0, ... views bound once, s0, ... Python numbers;
a function of the array module keeps its own name. Nothing in the text comes from a spec but the
comments, which are printable and on one line. A step allocates nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

from dln.compiler.ir import spelling
from dln.compiler.ir.formula import Known
from dln.compiler.ir.graph import Node, ancestors
from dln.compiler.ir.op import op_of
from dln.compiler.ir.sizes import Size
from dln.compiler.ir.structure import is_clock, is_const, is_scan, is_size
from dln.compiler.ir.tensor_type import scalar
from dln.compiler.lower.line_facts import about
from dln.compiler.lower.materialise import base
from dln.compiler.lower.python_text import Bare, Named, call_text, literal, plain, view_text
from dln.compiler.lower.schedule import Schedule, Step, extent
from dln.compiler.plan import Called, Extent, Line, added, site_number
from dln.compiler.schema.keys import CLOCKS, LOOKED, Clock
from dln.compiler.schema.shards import FIRST, ROWS


@dataclass(frozen=True, slots=True)
class StepRow:
    """The array of the step at hand, in a list that has one for each step of a loop."""

    rows: str

    def __str__(self) -> str:
        return f"{self.rows}[t]"


Name: TypeAlias = str | StepRow
"""How an array reads in a statement."""


@dataclass
class Common:
    """What a program has once, for its step and the steps of its loops."""

    made: Schedule
    views: dict[str, str] = field(default_factory=dict)
    numbers: dict[float, str] = field(default_factory=dict)
    constants: dict[str, object] = field(default_factory=dict)
    setup: list[Line] = field(default_factory=list)
    clocks: dict[Clock, str] = field(default_factory=dict)
    functions: Bare = field(default_factory=Bare)
    scalars: int = 0
    made_ready: int = 0
    known: Known = field(default_factory=dict)

    def clock(self, name: Clock) -> str:
        """A clock is an argument of `run`: `epoch` by its name, what a spec named as c0, c1, ..."""
        if name not in self.clocks:
            self.clocks[name] = (
                str(name) if name in (*CLOCKS, LOOKED, FIRST, ROWS) else f"c{len(self.clocks)}"
            )
        return self.clocks[name]

    def number(self, value: float) -> str:
        """A number that a spelling holds, as an array or as it is: what the target prefers."""
        if not self.made.target.boxes:
            return literal(value)
        if value not in self.numbers:
            name = self.numbers[value] = self.made.add_buffer("const", "", scalar())
            self.constants[name] = value
        return self.numbers[value]

    def bound(self, text: str) -> str:
        """The name of a view, bound once."""
        if text not in self.views:
            name = self.views[text] = f"w{len(self.views)}"
            self.setup.append(Line(f"{name} = {text}", writes=name))
        return self.views[text]

    def ready(self, function: str, text: str) -> str:
        """The name of a call that is made ready once."""
        name, self.made_ready = f"{function}{self.made_ready}", self.made_ready + 1
        self.setup.append(Line(f"{name} = {text}", writes=name))
        return name

    def scalar(self) -> str:
        """A new name for a Python number."""
        self.scalars += 1
        return f"s{self.scalars - 1}"


class Writer:
    """Collects the statements of a step; `names` is how each node reads as an operand.

    `loop` writes the statements of a loop: it is handed in, since it needs a writer itself.
    """

    def __init__(
        self, made: Schedule, common: Common, loop: Callable[[Writer, Node], list[Line]]
    ) -> None:
        self.made, self.common, self.loop = made, common, loop
        self.graph = made.graph
        self.names: dict[Node, Name] = {}
        self.lines: list[Line] = []
        self.at_run: set[Node] = set()

    def write(self) -> None:
        """Name every node, then write every step."""
        for node in ancestors(self.graph.outputs.values()):
            if not is_scan(node):
                self.names[node] = self.name(node)
        for step in self.made.steps:
            first = len(self.lines)
            self.step(step)
            if step.node in self.made.unread:
                self.lines[first:] = self.if_looked(first)

    def name(self, node: Node) -> Name:
        """How a node reads; a view is bound, a number worked out."""
        role = self.made.roles.role[node]
        if role == "view":
            return self.array(self.made.roles.view(node), Step(node, ""))
        if role != "host":
            buffer = self.buffer(self.made.home[node])
            if is_const(node):
                self.common.constants[str(buffer)] = node["value"]
            return buffer
        number = self.host(node)
        if node in self.made.home:
            self.box(node, number, str(self.buffer(self.made.home[node])))
        return number

    # ---- numbers known on the host -------------------------------------------------------------

    def host(self, node: Node) -> str:
        """A number known without looking at a tensor: a literal, a clock, or a new local."""
        if is_const(node):
            return literal(node["value"])
        if is_size(node):
            text = literal(node["size"])
            return text if text.isalnum() else f"({text})"
        if is_clock(node):
            self.at_run.add(node)
            return self.common.clock(node["name"])
        self.at_run.update({node} if any(o in self.at_run for o in node.operands) else ())
        name = self.common.scalar()
        given = tuple(str(self.names[o]) for o in node.operands)
        code = op_of(node).host.format(*given)
        calls, whole = self.calls(node)
        function = calls[0].function if whole else ""
        self.host_line(node, f"{name} = {code}", Called(function, given, name, whole))
        return name

    def calls(self, node: Node) -> tuple[tuple[spelling.Call, ...], bool]:
        """The calls that compute a node as an array; and whether there is one alone, that works
        element by element."""
        spelled = self.made.roles.spelling(node)
        calls = spelled.calls if isinstance(spelled, spelling.Statements) else ()
        return calls, len(calls) == 1 and op_of(node).is_("pointwise")

    def host_line(self, node: Node, code: str, call: Called) -> None:
        lines = self.lines if node in self.at_run else self.common.setup
        lines.append(
            about(self.graph, node, self.common.known).changed(
                code=code, writes=call.out, call=call
            )
        )

    def box(self, node: Node, number: str, buffer: str) -> None:
        """Put a number where array operations can read it."""
        if is_const(node):
            self.common.constants[buffer] = node["value"]
        else:
            self.host_line(node, f"{buffer}.fill({number})", Called("fill", (number,), buffer))

    # ---- arrays --------------------------------------------------------------------------------

    def buffer(self, name: str) -> Name:
        """How a buffer of the schedule reads."""
        return name

    def operand(self, node: Node, slot: int, boxed: bool = True) -> Name:
        """How an operation reads one of its operands."""
        operand = node.operands[slot]
        if boxed and operand in self.made.home:
            return self.buffer(self.made.home[operand])
        return self.names[operand]

    def array(self, array: spelling.Leaf | spelling.View, step: Step) -> Name:
        """How an array or a view of it reads in a statement. A view is bound once; of what has a
        row for each step of a loop there is one for each row."""
        match array:
            case spelling.Operand(slot, boxed):
                return self.operand(step.node, slot, boxed)
            case spelling.Memory(name):
                return self.buffer(step.out if name == "out" else step.scratch[name])
            case spelling.View(spelling.Operand() | spelling.Memory() as of, ()):
                return self.array(of, step)
        return self.once(partial(view_text, array), step, self.common.bound)

    def once(self, text: Callable[[Named], str], step: Step, bind: Callable[[str], str]) -> Name:
        """What is made once, by a text over arrays, and bound to a name: of what has a row for each
        step of a loop a list, with one for each row."""
        rows: dict[StepRow, str] = {}

        def leaf(value: spelling.Value) -> str:
            if not isinstance(value, spelling.Operand | spelling.Memory | spelling.View):
                return self.value(value, step)
            found = self.array(value, step)
            return rows.setdefault(found, f"r{len(rows)}") if isinstance(found, StepRow) else found

        made = text(leaf)
        if not rows:
            return bind(made)
        lists = ", ".join(row.rows for row in rows)
        several = f"zip({lists})" if len(rows) > 1 else lists
        return StepRow(bind(f"[{made} for {', '.join(rows.values())} in {several}]"))

    def value(self, value: spelling.Value, step: Step) -> str:
        """How what a call is given reads."""
        match value:
            case spelling.Operand() | spelling.Memory() | spelling.Constants() | spelling.View():
                return str(self.array(value, step))
            case spelling.Attr(name):
                return literal(step.node[name])
            case spelling.DrawSite(site, rows):
                clocks = ("update", FIRST, ROWS) if rows else ("update",)
                return ", ".join(("seed", self.site(site), *map(self.common.clock, clocks)))
            case float():
                return self.common.number(value)
        return plain(value, lambda inner: self.value(inner, step))

    def site(self, site: str) -> str:
        """The number of a place that draws."""
        return str(site_number(site))

    # ---- statements ----------------------------------------------------------------------------

    def step(self, step: Step) -> None:
        """The statements that compute a node; the first carries its cost."""
        node = step.node
        if is_scan(node):
            self.lines += self.loop(self, node)
            return
        calls, whole = self.calls(node)
        flops, moved = cost(self.made, node)
        text = partial(self.value, step=step)
        line = about(self.graph, node, self.common.known).changed(
            reads=self.reads(step), writes=str(self.buffer(step.out)), flops=flops, bytes=moved
        )
        for call in calls:
            if call.function == "copy" and text(call.args[0]) == text(call.out):
                continue  # it is there
            code = self.ready(call, step) if call.ready else self.code(call, text)
            self.lines.append(line.changed(code=code, call=called(call, text, whole)))
            line = line.changed(flops=(0, 0), bytes=(0, 0))

    def if_looked(self, first: int) -> list[Line]:
        """The statements from one on, run only where somebody looks; those that follow others of
        the kind are under one head."""
        inside = [ln.changed(code=f"    {ln.code}", looked=True) for ln in self.lines[first:]]
        if not inside or first and self.lines[first - 1].looked:
            return inside
        head = Line(f"if {self.common.clock(LOOKED)}:", "what only a report reads", looked=True)
        return [head, *inside]

    def code(self, call: spelling.Call, text: Callable[[spelling.Value], str]) -> str:
        """A call as the target writes it."""
        return call_text(self.made.target.form(call), call, text, self.common.functions)

    def ready(self, call: spelling.Call, step: Step) -> str:
        """A call of what was made ready when the program was bound."""
        bind = partial(self.common.ready, call.function)
        return f"{self.once(partial(self.code, call), step, bind)}()"

    def reads(self, step: Step) -> tuple[str, ...]:
        roots = (base(self.made.roles, o) for o in step.node.operands)
        homes = (self.made.home[r] for r in roots if r in self.made.home)
        return tuple(dict.fromkeys(str(self.buffer(name)) for name in homes))


def called(
    call: spelling.Call, text: Callable[[spelling.Value], str], whole: bool = False
) -> Called:
    """What a call that has been written says: its arrays and numbers."""
    given = (
        v
        for v in call.args
        if isinstance(v, spelling.Operand | spelling.Memory | spelling.View | float)
    )
    return Called(call.function, tuple(map(text, given)), text(call.out), whole)


def cost(made: Schedule, node: Node) -> tuple[Extent, Extent]:
    """Floating-point operations, and bytes read and written, of one node."""
    flops = extent(Size.of(op_of(node).flops(node)))
    arrays = [o.type for o in node.operands if made.roles.role[o] != "host"] + [node.type]
    sizes = [made.bytes_of(t) for t in arrays]
    return flops, added(sizes)
