"""What a line of a program knows of the spec: formula, place, operands as users call them."""

from __future__ import annotations

from dln.compiler.ir.formula import Known, formula, transparent
from dln.compiler.ir.graph import Graph, Node, Spans
from dln.compiler.ir.op import op_of
from dln.compiler.plan import Line, Place


def place(graph: Graph, node: Node) -> Place | None:
    """The first place of the spec that a node came from."""
    return Place.of(next(iter(graph.spans.get(node, ())), None))


def about(graph: Graph, node: Node, known: Known) -> Line:
    """A line without code, with what it says of its operation: also for when that fails."""
    first = graph.spans.get(node, ())[:1]
    steep = (o for o in node.operands if op_of(o).is_("steep"))
    slope = any(graph.spans.get(o, ())[:1] == first for o in steep)
    record = op_of(node)
    asked = record.refuge.slot if record.refuge and record.is_("spoken") else None
    names = tuple(named(graph, o, first, i == asked, known) for i, o in enumerate(node.operands))
    return Line(
        code="",
        formula=formula(graph, node, known=known),
        place=place(graph, node),
        op=node.op,
        operands=names,
        axes=node.type.running,
        slope=slope,
    )


def named(graph: Graph, node: Node, whole: Spans, in_the_text: bool, known: Known) -> str:
    """What an operand is called, else how the spec writes it or how it is worked out."""
    while transparent(node) and node not in graph.names:
        (node,) = node.operands
    first = graph.spans.get(node, ())[:1]
    if node in graph.names or not (in_the_text and node.operands and first and first != whole):
        return graph.names.get(node) or formula(graph, node, 3, known)
    text = first[0].text
    return text if len(text) <= 60 and "\n" not in text else formula(graph, node, 3, known)
