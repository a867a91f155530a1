"""The body of a loop: the nodes of one step, moved into a graph of their own."""

from __future__ import annotations

from collections.abc import Sequence

from dln.compiler.frontend.context.build_context import Build
from dln.compiler.ir.graph import Graph, Node, ancestors
from dln.compiler.ir.op import op_of
from dln.compiler.ir.ops.loop import Body, slot
from dln.compiler.ir.sizes import Size
from dln.compiler.ir.structure import is_const, is_draw, is_element, is_scan, is_spread
from dln.compiler.ir.tensor_type import TIME, IndexAxis, TensorType


class BodyMaker:
    """Moves the nodes of a step into a graph of their own."""

    def __init__(self, b: Build, number: int, carried: Sequence[Node]) -> None:
        self.b, self.number, self.carried = b, number, tuple(carried)
        self.graph = Graph()
        self.rows: dict[Node, Node] = {}
        self.fixed: dict[Node, Node] = {}
        self.to: dict[Node, Node] = {}
        self.inside: set[Node] = set()
        for held in carried:
            self.graph.include(held, b.graph.spans.get(held, ()), b.graph.names.get(held))
            self.to[held] = held
            self.inside.add(held)

    def inner(self, wanted: Node) -> Node:
        """The node of the body for a node of a step."""
        for node in ancestors([wanted]):
            if node in self.to or node in self.inside:
                continue
            if is_element(node) and node["loop"] == self.number:
                self.inside.add(node)
                self.to[node] = self._slot(self.rows, node.operands[0], node.type, "rows", node)
                continue
            # Of its draws, so that each step draws anew, and of what else changes in it.
            own = is_draw(node) and self.b.facts.drawn.get(node) == self.number
            if own or any(o in self.inside for o in node.operands):
                self.inside.add(node)
                assert not is_scan(node), "written out by nested_scan"
                attrs, operands = dict(node.attrs), tuple(map(self._operand, node.operands))
                if TIME in attrs.get("running", ()):
                    attrs["running"] = self._axes(attrs["running"])
                type = self._named(node.type)
                self.to[node] = self.graph.add(node.op, operands, type, **attrs)
                self._mark(node, self.to[node])
        return self._operand(wanted)

    def _operand(self, node: Node) -> Node:
        """A node as an operand inside: what does not change from step to step is a slot, but for
        constants and what is spread, which the rules inside should see."""
        if node not in self.to:
            if _constant(node):
                for part in ancestors([node]):
                    self.to[part] = self.graph.include(part)
            elif is_spread(node):  # so that a product with it is one with what is spread
                attrs, operands = dict(node.attrs), (self._operand(node.operands[0]),)
                attrs["running"] = self._axes(attrs["running"])
                self.to[node] = self.graph.add(node.op, operands, self._named(node.type), **attrs)
                self._mark(node, self.to[node])
            else:
                self.to[node] = self._slot(self.fixed, node, node.type, "fixed", node)
        return self.to[node]

    def _slot(
        self, held: dict[Node, Node], operand: Node, type: TensorType, role: str, of: Node
    ) -> Node:
        known = [k for k, v in held.items() if v is operand]
        if known:
            return known[0]
        made = slot(self.graph, self._named(type), next(self.b.counter), role)
        held[made] = operand
        self._mark(of, made)
        return made

    def _named(self, type: TensorType) -> TensorType:
        """A type in which a time of its own, of a sequence that a step sees as a whole, has
        another name than the time of the loop."""
        if TIME not in type.running:
            return type
        return type.like(running=self._axes(type.running))

    def _axes(self, running: Sequence[str]) -> tuple[str, ...]:
        return tuple(IndexAxis(TIME, self.number) if a == TIME else a for a in running)

    def _mark(self, node: Node, made: Node) -> None:
        spans, name = self.b.graph.spans.get(node, ()), self.b.graph.names.get(node)
        self.graph.mark(made, spans, name)

    def body(self, nexts: tuple[Node, ...], length: Size) -> Body:
        return Body(self.graph, tuple(self.rows), tuple(self.fixed), self.carried, nexts, length)


def _constant(node: Node) -> bool:
    """Whether a node is a constant, or worked out from one, number by number."""
    if len(node.operands) == 1 and (op_of(node).is_("pointwise") or is_spread(node)):
        return _constant(node.operands[0])
    return is_const(node)
