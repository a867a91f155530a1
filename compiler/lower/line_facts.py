"""What a line of a program knows of the spec: its place, and its operands in the user's words."""

from __future__ import annotations

from typing import Any

from dln.compiler.ir.formula import formula, transparent
from dln.compiler.ir.graph import Graph, Node, Spans
from dln.compiler.plan import Place

ASKED = {"div": (1,), "pow": (0, 1), "log": (0,), "sqrt": (0,), "exp": (0,), "reciprocal": (0,)}
"""Operands by which an operation leaves the numbers. In a derivative too they are values of the
spec, so that its own text may stand for them."""
STEEP = ("sqrt", "pow")
"""Functions whose slope is a quotient by their value."""


def place(graph: Graph, node: Node) -> Place | None:
    """The first place of the spec that a node came from."""
    for span in graph.spans.get(node, ()):
        return Place(span.source.path, span.line, span.column, span.start, span.stop)
    return None


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
