"""The program of an optimised graph: its statements put together as a text that stands alone."""

from __future__ import annotations

import re

from dln.compiler.ir.formula import Known, formula
from dln.compiler.ir.graph import Graph
from dln.compiler.ir.sizes import BATCH, Size
from dln.compiler.lower.emit_loop import loop_lines
from dln.compiler.lower.python_text import literal
from dln.compiler.lower.reported import only_reported
from dln.compiler.lower.schedule import Schedule, schedule
from dln.compiler.lower.targets import Target
from dln.compiler.lower.writer import Common, Writer
from dln.compiler.plan import Buffer, Line, Program
from dln.compiler.schema.keys import Output
from dln.grammar.diagnostics import Fault


def lower(
    name: str,
    graph: Graph,
    target: Target,
    dtype: str = "float32",
    capacity: int = 1,
    reported: frozenset[Output] = frozenset(),
) -> Program:
    """The program of an optimised graph.

    `capacity` is the number of examples that memory is laid out for; the text serves any number.
    What only `reported` outputs need is computed where the clock `looked` is not 0. Raises
    `Fault` for a precision that the target has not.
    """
    if dtype not in target.dtypes:
        raise Fault(f"{target.name} does not compute in {dtype}", f"{' or '.join(target.dtypes)}")
    made = schedule(graph, target, capacity, dtype)
    made.unread = only_reported(made, reported)
    writer = Writer(made, Common(made), loop_lines)
    writer.write()
    return program(writer, name, dtype)


def program(writer: Writer, name: str, dtype: str) -> Program:
    """The text around the statements of a step: buffers, functions and views bound, and `run`."""
    made, common = writer.made, writer.common
    notes = held(made, common.known)
    buffers = tuple(
        b.changed(key="", note=b.key or notes.get(b.name, "")) if b.place == "arena" else b
        for b in made.buffers.values()
    )
    head = ["def bind(xp, n, seed, v):"]
    taken = ((f'{b.name} = v["{b.name}"]', described(b)) for b in buffers)
    head += [f"    {commented(*parts)}" for parts in taken]
    head += [f"    {name} = xp.{function}" for function, name in common.functions.items()]
    head += [f"    {written(line)}" for line in common.setup]
    head += ["", f"    def run({', '.join(common.clocks.values())}):"]
    body = [f"        {written(line)}" for line in writer.lines] or ["        pass"]
    return Program(
        name=name,
        target=made.target.name,
        dtype=dtype,
        capacity=made.capacity,
        clocks=tuple(common.clocks),
        buffers=buffers,
        constants=common.constants,
        setup=tuple(common.setup),
        lines=tuple(writer.lines),
        slots=tuple(made.slots),
        below=tuple(made.below),
        text="\n".join([*head, *body, "", "    return run", ""]),
        first=len(head) + 1,
        forms=forms(made),
    )


def forms(made: Schedule) -> tuple[str, ...]:
    """What is said of products in other forms, those of loops with the rest."""
    return (*made.roles.forms, *(x for loop in made.loops.values() for x in forms(loop.step)))


def held(made: Schedule, known: Known) -> dict[str, str]:
    """What each buffer holds in the course of a step, by name."""
    found: dict[str, dict[str, None]] = {}
    for step in made.steps:
        found.setdefault(step.out, {})[formula(made.graph, step.node, 2, known)] = None
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
