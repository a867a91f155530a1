"""Writes the program text: straight-line array calls over preallocated buffers.

All names are made here: v0, v1, ... are buffers, w0, ... views bound once, s0, ... Python numbers;
a function of the array module keeps its own name. Nothing in the text comes from a spec but the
comments, which are printable and on one line. A step allocates nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from dln.compiler.ir.formula import formula, transparent
from dln.compiler.ir.graph import Graph, Node, Spans, ancestors
from dln.compiler.ir.op import OPS
from dln.compiler.ir.ops.loop import body_of
from dln.compiler.ir.sizes import BATCH, Size
from dln.compiler.ir.tensor_type import scalar
from dln.compiler.lower.materialise import base
from dln.compiler.lower.schedule import Schedule, Step, extent, schedule
from dln.compiler.lower.targets import Target, spelling
from dln.compiler.plan import Buffer, Extent, Line, Place, Program
from dln.grammar.diagnostics import Fault

PARAMETER = re.compile(r"\{(\w+)(?:!r)?\}")
VIEW = re.compile(r"\[\[(.+?)\]\](?!\])")
NUMBER = re.compile(r"(?<![\w.\"'])(\d+\.\d+(?:e-?\d+)?)(?![\w.\"'])")
FUNCTION = re.compile(r"\bxp\.([a-z_]\w*(?:\.[a-z]\w*)?)\(")
CLOCKS = frozenset({"epoch", "update", "progress"})
BUILTINS = frozenset({"abs", "min", "max", "float", "int", "bool"})
"""What host expressions may call besides `math`; functions of these names are not bound bare."""


def lower(
    name: str, graph: Graph, target: Target, dtype: str = "float32", capacity: int = 1
) -> Program:
    """The program of an optimised graph.

    The graph's outputs are called `param:path`, `state:path` and `value:name`. `capacity` is the
    number of examples that memory is laid out for; the text serves any number.
    """
    if dtype not in target.dtypes:
        raise Fault(f"{target.name} does not compute in {dtype}", f"{' or '.join(target.dtypes)}")
    made = schedule(graph, target, capacity, dtype)
    writer = Writer(made)
    writer.write()
    return writer.program(name, dtype)


class Writer:
    """Collects the statements of a program; `names` is how each node reads as an operand."""

    def __init__(self, made: Schedule) -> None:
        self.made = made
        self.graph = made.graph
        self.names: dict[Node, str] = {}
        self.views: dict[str, str] = {}
        self.numbers: dict[float, str] = {}
        self.constants: dict[str, object] = {}
        self.setup: list[Line] = []
        self.lines: list[Line] = []
        self.clocks: dict[str, str] = {}
        self.at_run: set[Node] = set()
        self.scalars = 0

    def write(self) -> None:
        """Name every node, then write every step."""
        for node in ancestors(self.graph.outputs.values()):
            role = self.made.roles.role[node]
            if node.op == "scan":
                continue
            if role == "host":
                self.names[node] = self.host(node)
            elif role == "view":
                self.names[node] = self.view(self.expression(node))
            else:
                self.names[node] = self.made.home[node]
                if node.op == "const":
                    self.constants[self.made.home[node]] = node["value"]
            if role == "host" and node in self.made.home:
                self.box(node)
        for step in self.made.steps:
            self.step(step)

    # ---- numbers known on the host -------------------------------------------------------------

    def host(self, node: Node) -> str:
        """A number known without looking at a tensor: a literal, a clock, or a new local."""
        if node.op == "const":
            return literal(node["value"])
        if node.op == "size":
            text = literal(node["size"])
            return text if text.isalnum() else f"({text})"
        if node.op == "clock":
            self.at_run.add(node)
            return self.clock(node["name"])
        self.at_run.update({node} if any(o in self.at_run for o in node.operands) else ())
        name = f"s{self.scalars}"
        self.scalars += 1
        form = OPS[node.op].spell["host"]
        text = form.form if not callable(form) else form(node).form
        self.host_line(node, f"{name} = {self.fill(text, node, {})}", name)
        return name

    def host_line(self, node: Node, code: str, writes: str) -> None:
        lines = self.lines if node in self.at_run else self.setup
        said, where = formula(self.graph, node), self.place(node)
        lines.append(Line(code, said, where, writes=writes, **about(self.graph, node)))

    def clock(self, name: str) -> str:
        """A clock is an argument of `run`: `epoch` by its name, what a spec named as c0, c1, ..."""
        if name not in self.clocks:
            self.clocks[name] = name if name in CLOCKS else f"c{len(self.clocks)}"
        return self.clocks[name]

    def box(self, node: Node) -> None:
        """Put a number where array operations can read it."""
        buffer = self.made.home[node]
        if node.op == "const":
            self.constants[buffer] = node["value"]
        else:
            self.host_line(node, f"{buffer}.fill({self.names[node]})", buffer)

    def number(self, match: re.Match[str]) -> str:
        """A number written inside a spelling, as a 0-d array where the target prefers that."""
        value = float(match[1])
        if value not in self.numbers:
            name = self.made.add_buffer("const", "", scalar())
            self.numbers[value] = name
            self.constants[name] = value
        return self.numbers[value]

    # ---- arrays --------------------------------------------------------------------------------

    def operand(self, node: Node, slot: int) -> str:
        """How an operation reads one of its operands."""
        operand = node.operands[slot]
        if node.op != "copy" and operand in self.made.home:
            return self.made.home[operand]
        return self.names[operand]

    def fill(self, form: str, node: Node, more: dict[str, str]) -> str:
        """A template with operands, attributes and buffers put in."""
        host = self.made.roles.role[node] == "host"

        def value(match: re.Match[str]) -> str:
            key = match[1]
            if key.isdigit():
                slot = int(key)
                return self.names[node.operands[slot]] if host else self.operand(node, slot)
            if key == "xp" or key in more:
                return more.get(key, "xp")
            quoted = match[0].endswith("!r}")
            return repr(node[key]) if quoted else literal(node[key])

        return PARAMETER.sub(value, form)

    def expression(self, node: Node) -> str:
        return self.fill(spelling(self.made.target, node).form.strip(), node, {})

    def view(self, text: str) -> str:
        """The name of a view expression, bound once; a plain name stands for itself."""
        text = text.strip()
        if text.isidentifier() or NUMBER.fullmatch(text):
            return text
        if text not in self.views:
            name = self.views[text] = f"w{len(self.views)}"
            self.setup.append(Line(f"{name} = {text}", writes=name))
        return self.views[text]

    def step(self, step: Step) -> None:
        """The statements that compute a node; the first carries its cost."""
        node = step.node
        if node.op == "scan":
            self.loop(step)
            return
        if node.op == "draw":
            self.clock("update")
        form = self.form(node)
        if self.made.target.boxes:
            form = NUMBER.sub(self.number, form)
        text = self.fill(form, node, {"out": step.out, **step.scratch})
        text = VIEW.sub(lambda m: self.view(m[1]), text)
        flops, moved = cost(self.made, node)
        said, where, reads = formula(self.graph, node), self.place(node), self.reads(step)
        for code in filter(None, map(str.strip, text.splitlines())):
            line = Line(code, said, where, reads, step.out, flops, moved)
            self.lines.append(replace(line, **about(self.graph, node)))
            flops = moved = (0, 0)

    def form(self, node: Node) -> str:
        """The template of a node's statements."""
        return spelling(self.made.target, node).form.strip()

    def loop(self, step: Step) -> None:
        """A loop: the first values, and for each step the statements of its body."""
        from dln.compiler.lower.emit_loop import LoopWriter

        writer = LoopWriter(self, step.node)
        self.lines += writer.firsts()
        writer.write()
        self.scalars = writer.scalars
        self.lines.append(writer.head())
        times = body_of(step.node).length.constant
        for line in writer.lines:
            self.lines.append(replace(line, code=f"    {line.code}", times=times))

    def reads(self, step: Step) -> tuple[str, ...]:
        roots = (base(self.made.roles, o) for o in step.node.operands)
        return tuple(dict.fromkeys(self.made.home[r] for r in roots if r in self.made.home))

    def place(self, node: Node) -> Place | None:
        """The first place of the spec that a node came from."""
        for span in self.graph.spans.get(node, ()):
            return Place(span.source.path, span.line, span.column, span.start, span.stop)
        return None

    # ---- the text ------------------------------------------------------------------------------

    def program(self, name: str, dtype: str) -> Program:
        made = self.made
        notes = held(made)
        buffers = tuple(
            replace(b, key="", note=b.key or notes.get(b.name, "")) if b.place == "arena" else b
            for b in made.buffers.values()
        )
        bound = functions(self.lines)
        setup = [self.bare(line, ()) for line in self.setup]
        lines = [self.bare(line, bound) for line in self.lines]
        head = ["def bind(xp, n, seed, v):"]
        taken = ((f'{b.name} = v["{b.name}"]', described(b)) for b in buffers)
        head += [f"    {commented(*parts)}" for parts in taken]
        head += [f"    {f.replace('.', '_')} = xp.{f}" for f in bound]
        head += [f"    {written(line)}" for line in setup]
        head += ["", f"    def run({', '.join(self.clocks.values())}):"]
        body = [f"        {written(line)}" for line in lines] or ["        pass"]
        return Program(
            name=name,
            target=made.target.name,
            dtype=dtype,
            capacity=made.capacity,
            clocks=tuple(self.clocks),
            buffers=buffers,
            constants=self.constants,
            setup=tuple(setup),
            lines=tuple(lines),
            slots=tuple(made.slots),
            text="\n".join([*head, *body, "", "    return run", ""]),
            first=len(head) + 1,
        )

    def bare(self, line: Line, bound: Iterable[str]) -> Line:
        """A statement with the functions that are bound once called by their bare names."""
        code = line.code
        for f in bound:
            code = code.replace(f"xp.{f}(", f"{f.replace('.', '_')}(")
        return replace(line, code=code)


ASKED = {"div": (1,), "pow": (0, 1), "log": (0,), "sqrt": (0,), "exp": (0,), "reciprocal": (0,)}
"""Operands by which an operation leaves the numbers. In a derivative too they are values of the
spec, so that its own text may stand for them."""
STEEP = ("sqrt", "pow")
"""Functions whose slope is a quotient by their value."""


def about(graph: Graph, node: Node) -> dict[str, Any]:
    """What a line says of its operation, for when it fails."""
    first = graph.spans.get(node, ())[:1]
    slope = any(o.op in STEEP and graph.spans.get(o, ())[:1] == first for o in node.operands)
    asked = ASKED.get(node.op, ())
    names = tuple(named(graph, o, first, i in asked) for i, o in enumerate(node.operands))
    return {"op": node.op, "operands": names, "axes": node.type.running, "slope": slope}


def named(graph: Graph, node: Node, whole: Spans, in_the_text: bool) -> str:
    """What an operand is called, else how the spec writes it or how it is worked out."""
    while transparent(node) and node not in graph.names:
        (node,) = node.operands
    first = graph.spans.get(node, ())[:1]
    if node in graph.names or not (in_the_text and node.operands and first and first != whole):
        return graph.names.get(node) or formula(graph, node, 3)
    text = first[0].text
    return text if len(text) <= 60 and "\n" not in text else formula(graph, node, 3)


def functions(lines: list[Line]) -> list[str]:
    """The array functions that a program calls in its step, in order of first use."""
    found = dict.fromkeys(f for line in lines for f in FUNCTION.findall(line.code))
    return [f for f in found if f not in BUILTINS]


def cost(made: Schedule, node: Node) -> tuple[Extent, Extent]:
    """Floating-point operations, and bytes read and written, of one node."""
    flops = extent(Size.of(OPS[node.op].flops(node)))
    arrays = [o.type for o in node.operands if made.roles.role[o] != "host"] + [node.type]
    sizes = [made.bytes_of(t) for t in arrays]
    return flops, (sum(a for a, _ in sizes), sum(b for _, b in sizes))


def literal(value: object) -> str:
    """An attribute as Python text; the number of examples is `n`.

    >>> literal((Size(3), 0.5)), literal(float("inf"))
    ('(3, 0.5)', 'math.inf')
    """
    if isinstance(value, Size):
        a, b = extent(value)
        grows = "n" if b == 1 else f"{b} * n"
        return str(a) if not b else grows if not a else f"{grows} + {a}"
    if isinstance(value, tuple):
        return f"({', '.join(map(literal, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return "math.inf" if value > 0 else "-math.inf"
    if isinstance(value, float) and value != value:
        return "math.nan"
    return value if isinstance(value, str) else repr(value)


def held(made: Schedule) -> dict[str, str]:
    """What each buffer holds in the course of a step, by name."""
    found: dict[str, dict[str, None]] = {}
    for step in made.steps:
        found.setdefault(step.out, {})[formula(made.graph, step.node, 2)] = None
    return {name: "; ".join(texts) for name, texts in found.items()}


def described(buffer: Buffer) -> str:
    """What a buffer is, for the comment where it is bound."""
    sizes = ", ".join(literal(Size(a, ((BATCH, b),) if b else ())) for a, b in buffer.shape)
    return f"{buffer.place} {buffer.key}".strip() + f" [{sizes}]"


def written(line: Line) -> str:
    """A statement with its place and its formula as a comment."""
    where = f"{line.place.path.rsplit('/', 1)[-1]}:{line.place.line}  " if line.place else ""
    return commented(line.code, f"{where}{line.formula}")


def commented(code: str, text: str) -> str:
    """Code with a comment beside it: one line, printable ASCII, not too long."""
    text = re.sub(r"[^ -~]+", "?", text).strip()
    text = text if len(text) <= 100 else text[:97] + "..."
    return f"{code:<44}  # {text}" if text else code
