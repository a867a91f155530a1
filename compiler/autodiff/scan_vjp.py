"""The reverse of a loop: back-propagation through time as another loop, from the last step to the
first.

The body of the reverse holds the derivative of one step. Its slots are the cotangents that come
from outside (rows), what the later step hands back (carried), and the values of the forward step
that the derivative mentions: rows of the forward loop's own items. Nothing is unrolled, and what
the cotangents of a matrix add up to over time is left to `fission`, which takes it out of the loop.

Werbos 1990, "Backpropagation through time: what it does and how to do it".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from dln.compiler.autodiff.walks import Rows, between, gradient, walk
from dln.compiler.ir.graph import Graph, Node, ancestors
from dln.compiler.ir.op import Make, op_of
from dln.compiler.ir.ops.loop import Body, body_of, item, row_type, slot
from dln.compiler.ir.structure import is_const, is_slot


def backward(
    m: Make, loop: Node, bars: Mapping[Node, Node], active: set[Node], wanted: Sequence[Node]
) -> tuple[Rows, dict[Node, Node]]:
    """The cotangents of a loop's active operands, given those of its items (by body node).

    Beside them, those of `wanted`: nodes of the body whose total derivative at each step is asked
    for.
    """
    reverse = Reverse(m, loop)
    reverse.walk(bars, active, wanted)
    made = reverse.loop()
    pairs = zip(reverse.body.slots, loop.operands, strict=True)
    received = [reverse.cotangent(made, s) if o in active else None for s, o in pairs]
    return received, {v: reverse.sequence(made, v) for v in wanted if v in reverse.bars}


class Reverse:
    """Makes the reverse loop: a body whose slots are rows of what the forward loop has left.

    The derivative of one step is written out in `step`, beside the step itself; what it needs moves
    from there into `graph`, the body. `bars` are the cotangents of the nodes of a step, `carried`
    the slots of those that the later step hands back.
    """

    def __init__(self, m: Make, forward: Node) -> None:
        self.m, self.forward, self.body = m, forward, body_of(forward)
        self.step, self.graph = Graph(), Graph()
        self.numbers = self.body.numbers()
        self.bars: dict[Node, Node] = {}
        self.carried: dict[Node, Node] = {}
        self.rows: dict[Node, Node] = {}
        self.fixed: dict[Node, Node] = {}
        self.to: dict[Node, Node] = {}

    def walk(self, given: Mapping[Node, Node], active: set[Node], wanted: Sequence[Node]) -> None:
        """The derivative of one step, from the cotangents `given` of its values."""
        body = self.body
        order = ancestors([*body.nexts, *given, *wanted])
        for n in (*body.slots, *order):
            self.step.include(n, *body.graph.about(n))
        inside = self._active(order, {s for s in body.slots if self._operand(s) in active}, wanted)
        parts: dict[Node, list[Node]] = {}
        for value, bar in given.items():
            made = slot(self.step, row_type(bar.type), next(self.numbers), "rows")
            self.rows[made] = bar
            parts.setdefault(value, []).append(made)
        for held, new in zip(body.carried, body.nexts, strict=True):
            if held in inside:
                made = slot(self.step, held.type, next(self.numbers), "carried")
                self.carried[held] = made
                parts.setdefault(new, []).append(made)
        m = Make(self.step, self.m.spans)
        self.bars = walk(m, body.graph.spans, order, inside, parts, gradient)

    def _active(self, order: Sequence[Node], slots: set[Node], wanted: Sequence[Node]) -> set[Node]:
        """The nodes of a step through which a derivative flows, from step to step as well."""
        roots = slots | set(wanted)
        while True:
            active = between(order, roots) | roots
            pairs = zip(self.body.carried, self.body.nexts, strict=True)
            more = {s for s, n in pairs if n in active and s not in roots and s.type.kind == "real"}
            if not more:
                return active
            roots = roots | more

    def _operand(self, s: Node) -> Node:
        return self.body.operand(self.forward, s)

    # ---- the reverse loop ----------------------------------------------------------------------

    def loop(self) -> Node:
        """The reverse loop in the outer graph."""
        body = self.body
        for s in (*self.rows, *self.carried.values()):
            self.to[s] = self.graph.include(s)
        make = Make(self.step)
        nexts = [self.bars.get(held) or make.zeros(held.type) for held in self.carried]
        self._move([*nexts, *self.bars.values()])
        zeros = [self.m.zeros(s.type) for s in self.carried.values()]
        made = Body(
            self.graph,
            tuple(self.rows),
            tuple(self.fixed),
            tuple(self.carried.values()),
            tuple(self.to[n] for n in nexts),
            body.length,
            not body.reverse,
        )
        return self.m("scan", *self.rows.values(), *self.fixed.values(), *zeros, body=made)

    def sequence(self, made: Node, node: Node) -> Node:
        """The cotangents of a node of the forward step, step by step."""
        return item(self.m, made, self.to[self.bars[node]])

    def cotangent(self, made: Node, s: Node) -> Node | None:
        """The cotangent of the operand of a forward slot, from the items of the reverse loop. What
        reaches the value before the first step is that loop's last result."""
        m, body = self.m, body_of(made)
        if s["role"] != "carried":
            found = self.sequence(made, s) if s in self.bars else None
            return found if found is None or s["role"] == "rows" else m.sum(found, (0,))
        results = item(m, made, body.nexts[list(self.carried).index(s)])
        at = 0 if body.reverse else body.length.constant - 1
        cut = m("slice", results, axis=0, start=at, stop=at + 1)
        return m("reshape", cut, shape=s.type.shape, running=s.type.running)

    def _move(self, wanted: Iterable[Node]) -> None:
        """The nodes that the derivative needs, operands first, from the step into the body; those
        of the forward step as rows of its items, but for views and constants, which cost nothing to
        make again."""
        forward = {*self.body.graph.topological(), *self.body.slots}

        def stored(node: Node) -> bool:
            view = bool(node.operands) and op_of(node).is_("view")
            return node in forward and not is_const(node) and not view

        def before(node: Node) -> Sequence[Node]:
            return () if node in self.to or stored(node) else node.operands[::-1]

        for node in ancestors(wanted, before):
            if node not in self.to:
                self.to[node] = self._stored(node) if stored(node) else self._again(node)

    def _again(self, node: Node) -> Node:
        made = self.graph.add(node.op, [self.to[o] for o in node.operands], node.type, **node.attrs)
        self.graph.mark(made, *self.step.about(node))
        return made

    def _stored(self, node: Node) -> Node:
        """A value of the forward step as a slot."""
        if is_slot(node) and node["role"] != "carried":
            held = self.rows if node["role"] == "rows" else self.fixed
            held[node] = self._operand(node)
            made = self.graph.include(node)
        else:
            made = slot(self.graph, node.type, next(self.numbers), "rows")
            self.rows[made] = item(self.m, self.forward, node)
        self.graph.mark(made, *self.body.graph.about(node))
        return made
