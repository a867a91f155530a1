"""Programs and graphs as text and drawings, the same in every process.

Names of nodes in a drawing are n0, n1, ... in the order the graph was built; the nodes of one step
of a loop n7 are n7_0, n7_1, .... All that comes from a spec stands inside quoted labels, made safe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from dln.compiler.ir.formula import label, number
from dln.compiler.ir.graph import Graph, Node, ancestors
from dln.compiler.ir.ops.loop import Body, body_of, requested
from dln.compiler.ir.structure import is_item, is_param, is_slot
from dln.compiler.plan import LOOKED, Program, buffer_bytes, memory

HIDDEN = frozenset({"type", "name", "path", "value", "site", "body", "joins", "number", "role"})
"""Attributes that a drawing leaves out: they are in the label already, or long."""


# ---- programs ----------------------------------------------------------------------------------


def plan_text(program: Program, n: int | None = None) -> str:
    """The text of a program, the table of its buffers and what one run costs on n examples."""
    n = program.capacity if n is None else n
    head = f"{program.name}: {program.target}, {program.dtype}, {examples(n)}"
    return "\n\n".join([head, program.text.rstrip(), buffer_table(program, n), totals(program, n)])


def buffer_table(program: Program, n: int) -> str:
    """One row for each buffer: name, place, shape, bytes for n examples, what it holds."""
    rows = [("name", "place", "shape", "bytes", "what")]
    for b in program.buffers:
        place = f"{b.place} {b.slot}" if b.slot >= 0 else b.place
        shape = "[" + ", ".join(map(str, b.shape_at(n))) + "]"
        what = b.key or b.note or constant(program, b.name)
        rows.append((b.name, place, shape, f"{buffer_bytes(program, b, n):,}", plain(what, 60)))
    return table(rows, right={3})


def constant(program: Program, name: str) -> str:
    return number(program.constants[name]) if name in program.constants else ""


def totals(program: Program, n: int) -> str:
    """Memory by place, and the arithmetic and traffic of one run on n examples."""
    parts = memory(program, n)
    flops, traffic = program.flops(n), program.traffic(n)
    alone = sum(buffer_bytes(program, b, n) for b in program.buffers if b.place == "arena")
    rows = [
        ("memory", f"{sum(parts.values()):,} bytes for {examples(n)}"),
        ("parameters", f"{parts['param']:,} bytes"),
        ("states", f"{parts['state']:,} bytes"),
        ("inputs, values", f"{parts['input'] + parts['value']:,} bytes"),
        *([("whole data", f"{parts['whole']:,} bytes")] if parts["whole"] else ()),
        ("arena", f"{parts['arena']:,} bytes in {len(program.slots)} slots"),
        ("without sharing", f"{alone:,} bytes"),
        ("calls", f"{sum(line.call is not None for line in program.lines)}"),
        *([("forms", "; ".join(program.forms))] if program.forms else ()),
        *([("looked at", looked(program))] if LOOKED in program.clocks else ()),
        ("arithmetic", f"{flops:,} operations"),
        ("traffic", f"{traffic:,} bytes, {flops / max(1, traffic):.2f} operations a byte"),
    ]
    return table(rows)


def looked(program: Program) -> str:
    """How many calls, and which results, are left out where nobody looks; and why."""
    left_out = [line for line in program.lines if line.looked]
    names = {b.name: b.key for b in program.values}
    said = ", ".join(names[line.writes] for line in left_out if line.writes in names)
    calls = sum(line.call is not None for line in left_out)
    return f"{calls} calls, which only the report of {said} needs"


def examples(n: int) -> str:
    return f"{n} example" + ("s" if n != 1 else "")


def table(rows: Iterable[tuple[str, ...]], right: Iterable[int] = ()) -> str:
    """Rows as columns of text; the columns of `right` are set flush right."""
    rows, right = list(rows), set(right)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def cell(i: int, text: str) -> str:
        return text.rjust(widths[i]) if i in right else text.ljust(widths[i])

    return "\n".join("  ".join(cell(i, t) for i, t in enumerate(row)).rstrip() for row in rows)


# ---- graphs ------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class DrawnLoop:
    """One step of a loop as it is drawn: its nodes with their names, operands first."""

    body: Body
    ids: dict[Node, str]

    def role(self, node: Node, ids: dict[Node, str], operands: tuple[Node, ...]) -> str:
        """What a slot stands for: `row(n3)`, `fixed(n4)`, `carried(n5; then n7_8)`."""
        body, given = self.body, ids[operands[self.body.slots.index(node)]]
        if node["role"] == "carried":
            return f"carried({given}; then {self.ids[body.nexts[body.carried.index(node)]]})"
        return f"{node['role'].removesuffix('s')}({given})"


def loops(ids: dict[Node, str]) -> dict[Node, DrawnLoop]:
    """The loops among some nodes, with the names of what is inside."""
    found = {}
    for node, values in requested(list(ids)).items():
        body = body_of(node)
        inside = dict.fromkeys([*body.slots, *ancestors([*body.nexts, *values])])
        found[node] = DrawnLoop(body, {n: f"{ids[node]}_{i}" for i, n in enumerate(inside)})
    return found


def graph_text(graph: Graph) -> str:
    """One line for each node that the outputs need, operands first, then the outputs. The step of a
    loop stands below the loop."""
    ids, rows = identify(graph), []
    steps = loops(ids)

    def row(graph: Graph, ids: dict[Node, str], node: Node, call: str = "") -> tuple[str, ...]:
        known = label(graph, node)
        what = plain(known, 60) if known not in (node.op, node.attrs.get("role")) else ""
        where = next((str(s) for s in graph.spans.get(node, ())), "")
        return ids[node], call or written(ids, node, steps), str(node.type), what, where

    for node in ids:
        rows.append(row(graph, ids, node))
        step = steps.get(node)
        for n in step.ids if step is not None else ():
            assert step is not None
            call = step.role(n, ids, node.operands) if is_slot(n) else ""
            rows.append(row(step.body.graph, step.ids, n, call))
    body = table(rows) if rows else ""
    outputs = [f"{plain(str(key), 80)} = {ids[node]}" for key, node in graph.outputs.items()]
    return "\n".join([body, "", *outputs])


def written(ids: dict[Node, str], node: Node, steps: dict[Node, DrawnLoop]) -> str:
    """A node as a call: `sum(n3; axes=(0,))`; `item(n7; value=n7_4)` of a loop."""
    operands = ", ".join(ids[o] for o in node.operands)
    if is_item(node):
        return f"item({operands}; value={steps[node.operands[0]].ids[node['value']]})"
    return f"{node.op}({operands}{attributes(node, '; ' if operands else '')})"


def graph_dot(graph: Graph) -> str:
    """The graph for Graphviz; the step of a loop is a box of its own."""

    def box(node: Node, name: str, lines: list[str]) -> str:
        text = r"\n".join(map(quoted, lines))
        return f'{name} [label="{text}"{" style=bold" if is_param(node) else ""}];'

    head = ["digraph dln {", "  rankdir=LR;", '  node [shape=box, fontname="monospace"];']
    step = 'subgraph cluster_{0} {{ label="one step of {0}";', "}"
    arrows = "{0} -> {1};", '{0} -> {1} [label="{2}"];'
    output = 'out{0} [label="{1}", shape=plaintext];'
    return "\n".join([*head, *_drawn(graph, box, step, arrows, output, quoted), "}"])


def graph_mermaid(graph: Graph) -> str:
    """The graph for Mermaid; the step of a loop is a box of its own."""

    def box(node: Node, name: str, lines: list[str]) -> str:
        return f'{name}["{"<br>".join(map(escaped, lines))}"]'

    step = 'subgraph {0}_step ["one step of {0}"]', "end"
    arrows = "{0} --> {1}", "{0} -->|{2}| {1}"
    return "\n".join(
        ["flowchart LR", *_drawn(graph, box, step, arrows, 'out{0}(["{1}"])', escaped)]
    )


def _drawn(
    graph: Graph,
    box: Callable[[Node, str, list[str]], str],
    step: tuple[str, str],
    arrows: tuple[str, str],
    output: str,
    safe: Callable[[str], str],
) -> Iterator[str]:
    """The lines of a drawing: the box of a node, what begins and ends a step, an arrow without and
    with its slot, an output; and what makes a text safe."""
    ids = identify(graph)
    steps = loops(ids)
    for node, name in ids.items():
        yield "  " + box(node, name, caption(graph, node))
        if node in steps:
            inner = steps[node]
            yield "  " + step[0].format(name)
            for n, k in inner.ids.items():
                yield "    " + box(n, k, caption(inner.body.graph, n))
            yield "  " + step[1]
    for a, b, slot in edges(ids, steps):
        yield "  " + arrows[bool(slot)].format(a, b, slot)
    for i, (key, node) in enumerate(graph.outputs.items()):
        yield "  " + output.format(i, safe(plain(str(key), 60)))
        yield "  " + arrows[0].format(ids[node], f"out{i}")


def identify(graph: Graph) -> dict[Node, str]:
    """n0, n1, ... for the nodes that the outputs need; for all where there are no outputs."""
    nodes = ancestors(graph.outputs.values()) if graph.outputs else list(graph.topological())
    return {node: f"n{i}" for i, node in enumerate(nodes)}


def edges(ids: dict[Node, str], steps: dict[Node, DrawnLoop]) -> Iterable[tuple[str, str, str]]:
    """From operand to user; the slot is said only where there are several. Of a loop also from what
    comes in to its place in the step, from what is carried to where the next step finds it, and
    from a value of the step to its sequence."""
    for node, name in ids.items():
        for slot, operand in enumerate(node.operands):
            yield ids[operand], name, str(slot) if len(node.operands) > 1 else ""
        if is_item(node) and node.operands[0] in steps:
            yield steps[node.operands[0]].ids[node["value"]], name, "each"
    for node, step in steps.items():
        body = step.body
        for operand, held in zip(node.operands, body.slots, strict=True):
            yield ids[operand], step.ids[held], held["role"]
        for new, held in zip(body.nexts, body.carried, strict=True):
            yield step.ids[new], step.ids[held], "next"
        yield from edges(step.ids, {})


def caption(graph: Graph, node: Node) -> list[str]:
    """What stands in the box of a node: its operation and name, its type."""
    known = label(graph, node)
    head = node.op if known == node.op else f"{node.op} {plain(known, 40)}"
    return [head + attributes(node, " "), str(node.type)]


def attributes(node: Node, lead: str) -> str:
    """The attributes of a node that are worth a look."""
    shown = ", ".join(f"{k}={v}" for k, v in node.attrs.items() if k not in HIDDEN)
    return lead + plain(shown, 80) if shown else ""


def plain(text: str, most: int) -> str:
    """Text on one line, printable, not longer than `most`."""
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= most else text[: most - 3] + "..."


def quoted(text: str) -> str:
    """Text for inside the double quotes of Graphviz."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


def escaped(text: str) -> str:
    """Text for inside the double quotes of Mermaid, where entities are understood."""
    codes = {"&": "#amp;", '"': "#quot;", "<": "#lt;", ">": "#gt;", "#": "#35;", "`": "#96;"}
    return "".join(codes.get(c, c) for c in text)
