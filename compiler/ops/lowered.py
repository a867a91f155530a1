"""Operations that no spec writes and only the compiler makes: copies, fused regions, and the
arrays that a loop fills row by row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from dln.compiler.graph import Attrs, Graph, Node, Spans
from dln.compiler.op import OPS, Array, Op, Site, Spelling, register
from dln.compiler.sizes import Size
from dln.compiler.tensor import TensorType
from dln.grammar.diagnostics import Fault


@dataclass(frozen=True, slots=True)
class Part:
    """One operation of a region. `operands` count first the region's operands, then its parts."""

    op: str
    operands: tuple[int, ...]
    attrs: Attrs
    type: TensorType
    spans: Spans = ()
    name: str | None = None

    def node(self, operands: tuple[Node, ...]) -> Node:
        """The operation as a node that stands alone."""
        return Node(self.op, operands, dict(self.attrs), self.type)


def fused_type(attrs: Mapping[str, Any], types: tuple[TensorType, ...]) -> TensorType:
    """The type of the last part."""
    last: TensorType = attrs["body"][-1].type
    return last


def evaluate_fused(site: Site, *operands: Array) -> Array:
    """The parts one after another, each by its own record."""
    values = list(operands)
    for part in site.attrs["body"]:
        here = replace(site, attrs=dict(part.attrs))
        values.append(OPS[part.op].evaluate(here, *(values[i] for i in part.operands)))
    return values[-1]


def fused_flops(node: Node) -> Size | int:
    """The sum over the parts."""
    total = Size(0)
    for part in parts_as_nodes(node):
        total = total + OPS[part.op].flops(part)
    return total


def parts_as_nodes(node: Node) -> list[Node]:
    """The parts of a fused node as nodes that read one another."""
    nodes = list(node.operands)
    for part in node["body"]:
        nodes.append(part.node(tuple(nodes[i] for i in part.operands)))
    return nodes[len(node.operands) :]


register(
    Op(
        "copy",
        infer=lambda attrs, types: types[0],
        evaluate=lambda site, x: x,
        gradient=lambda m, node, bar: (bar,),
        spell=MappingProxyType({"array": Spelling("{xp}.copyto({out}, {0})")}),
        flops=lambda node: 0,
        facts=frozenset({"pointwise"}),
        formula="{0}",
    ),
    Op(
        "fused",
        infer=fused_type,
        evaluate=evaluate_fused,
        flops=fused_flops,
        facts=frozenset({"pointwise"}),
    ),
)


def left_type(attrs: Mapping[str, Any], types: tuple[TensorType, ...]) -> TensorType:
    """The type stands among the attributes."""
    type: TensorType = attrs["type"]
    return type


def not_alone(site: Site, *operands: Array) -> Array:
    raise Fault("what a loop leaves is read through its items")


register(
    # What a loop fills: the values of `carried` slot number `of` with the first one before them
    # (or behind, in a reverse loop), or those of the body's output number `of`.
    Op("left", left_type, not_alone, facts=frozenset({"loop"}), formula="{kind} {of}"),
)


def unfold(graph: Graph, node: Node, operands: tuple[Node, ...]) -> list[Node]:
    """Write a fused node out again in another graph, with its places and names; its parts."""
    nodes = list(operands)
    for part in node["body"]:
        read = tuple(nodes[i] for i in part.operands)
        made = graph.add(part.op, read, part.type, part.spans, **dict(part.attrs))
        graph.mark(made, (), part.name)
        nodes.append(made)
    return nodes[len(operands) :]
