"""The reverse of a loop: back-propagation through time as another loop, from the last step to the
first.

The body of the reverse holds the derivative of one step. Its slots are the cotangents that come
from outside (rows), what the later step hands back (carried), and the values of the forward step
that the derivative mentions: rows of the forward loop's own items. Nothing is unrolled, and what
the cotangents of a matrix add up to over time is left to `fission`, which takes it out of the loop.

Werbos 1990, "Backpropagation through time: what it does and how to do it".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from dln.compiler.autodiff.walks import between, share, total
from dln.compiler.ir.graph import Graph, Node, ancestors
from dln.compiler.ir.op import Make, op_of
from dln.compiler.ir.ops.loop import Body, body_of, item, row_type, slot
from dln.compiler.ir.structure import is_const, is_slot


def backward(
    m: Make,
    loop: Node,
    bars: Mapping[Node, Node],
    active: set[Node],
    wanted: Sequence[Node],
) -> tuple[list[Node | None], dict[Node, Node]]:
    """The cotangents of a loop's active operands, given those of its items (by body node).

    Beside them, those of `wanted`: nodes of the body whose total derivative at each step is asked
    for.
    """
    body = body_of(loop)
    walk = StepWalk(body, bars, {s for s in body.slots if body.operand(loop, s) in active}, wanted)
    walk.run(m)
    maker = Reverse(m, loop, body, walk)
    made = maker.loop()
    out: list[Node | None] = []
    for s, operand in zip(body.slots, loop.operands, strict=True):
        part = maker.cotangent(made, s) if operand in active else None
        out.append(None if part is None else m.running(part, operand.type))
    values = {v: item(m, made, maker.to[walk.bars[v]]) for v in wanted if v in walk.bars}
    return out, values


@dataclass
class StepWalk:
    """The derivative of one step, written out in `graph` beside the step itself."""

    body: Body
    given: Mapping[Node, Node]
    active_slots: set[Node]
    wanted: Sequence[Node]
    graph: Graph = field(default_factory=Graph)
    bars: dict[Node, Node] = field(default_factory=dict)
    rows: dict[Node, Node] = field(default_factory=dict)
    carried: dict[Node, Node] = field(default_factory=dict)
    numbers: Iterator[int] = field(init=False)

    def run(self, m: Make) -> None:
        body = self.body
        order = ancestors([*body.nexts, *self.given, *self.wanted])
        for n in (*body.slots, *order):
            self.graph.include(n, *body.graph.about(n))
        self.numbers = body.numbers()
        active = self._active(order)
        parts: dict[Node, list[Node]] = {}
        for value, bar in self.given.items():
            made = slot(self.graph, row_type(bar.type), next(self.numbers), "rows")
            self.rows[made] = bar
            parts.setdefault(value, []).append(made)
        for held, new in zip(body.carried, body.nexts, strict=True):
            if held in active:
                made = slot(self.graph, held.type, next(self.numbers), "carried")
                self.carried[held] = made
                parts.setdefault(new, []).append(made)
        for node in reversed(order):
            if node in active and node in parts:
                spans = body.graph.spans.get(node, m.spans)
                self.bars[node] = bar = total(self.graph, parts.pop(node), spans)
                if any(o in active for o in node.operands):
                    share(Make(self.graph, spans), node, bar, active, parts)

    def _active(self, order: Sequence[Node]) -> set[Node]:
        """The nodes of a step through which a derivative flows, from step to step as well."""
        roots = self.active_slots | set(self.wanted)
        while True:
            active = between(order, roots) | roots
            pairs = zip(self.body.carried, self.body.nexts, strict=True)
            more = {s for s, n in pairs if n in active and s not in roots and s.type.kind == "real"}
            if not more:
                return active
            roots = roots | more


class Reverse:
    """Makes the reverse loop: a body whose slots are rows of what the forward loop has left."""

    def __init__(self, m: Make, forward: Node, body: Body, walk: StepWalk) -> None:
        self.m, self.forward, self.body, self.walk = m, forward, body, walk
        self.graph = Graph()
        self.to: dict[Node, Node] = {}
        self.rows: dict[Node, Node] = {}
        self.fixed: dict[Node, Node] = {}
        self.steps = set(body.graph.topological()) | set(body.slots)

    def loop(self) -> Node:
        """The reverse loop in the outer graph."""
        walk, body = self.walk, self.body
        self.rows |= walk.rows
        for s in (*walk.rows, *walk.carried.values()):
            self.to[s] = self.graph.include(s)
        make = Make(walk.graph)
        nexts = [walk.bars.get(held) or make.zeros(held.type) for held in walk.carried]
        self._move([*nexts, *walk.bars.values()])
        zeros = [self.m.zeros(s.type) for s in walk.carried.values()]
        made = Body(
            self.graph,
            tuple(self.rows),
            tuple(self.fixed),
            tuple(walk.carried.values()),
            tuple(self.to[n] for n in nexts),
            body.length,
            not body.reverse,
        )
        return self.m("scan", *self.rows.values(), *self.fixed.values(), *zeros, body=made)

    def cotangent(self, made: Node, s: Node) -> Node | None:
        """The cotangent of the operand of a forward slot, from the items of the reverse loop."""
        m, walk = self.m, self.walk
        if s["role"] == "carried":
            return self._first(made, s) if s in walk.carried else None
        if s not in walk.bars:
            return None
        sequence = item(m, made, self.to[walk.bars[s]])
        return sequence if s["role"] == "rows" else m.sum(sequence, (0,))

    def _first(self, made: Node, s: Node) -> Node:
        """What reaches the value before the first step: the reverse loop's last result."""
        body = body_of(made)
        new = body.nexts[list(self.walk.carried).index(s)]
        sequence = item(self.m, made, new)
        at = 0 if body.reverse else body.length.constant - 1
        cut = self.m("slice", sequence, axis=0, start=at, stop=at + 1)
        return self.m("reshape", cut, shape=s.type.shape, running=s.type.running)

    # ---- from the walk's graph into the body ---------------------------------------------------

    def _move(self, wanted: Iterable[Node]) -> None:
        """The nodes that the derivative needs, operands first; those of the forward step as rows
        of its items, but for views and constants, which cost nothing to make again."""
        stack = [(n, False) for n in wanted]
        while stack:
            node, ready = stack.pop()
            if node in self.to:
                continue
            again = is_const(node) or (bool(node.operands) and op_of(node).is_("view"))
            if node in self.steps and not again:
                self.to[node] = self._stored(node)
            elif ready:
                operands = tuple(self.to[o] for o in node.operands)
                self.to[node] = self.graph.add(node.op, operands, node.type, **node.attrs)
                self.graph.mark(self.to[node], *self.walk.graph.about(node))
            else:
                stack.append((node, True))
                stack.extend((o, False) for o in node.operands if o not in self.to)

    def _stored(self, node: Node) -> Node:
        """A value of the forward step as a slot."""
        if is_slot(node) and node["role"] != "carried":
            held = self.rows if node["role"] == "rows" else self.fixed
            held[node] = self.body.operand(self.forward, node)
            made = self.graph.include(node)
        else:
            made = slot(self.graph, node.type, next(self.walk.numbers), "rows")
            self.rows[made] = item(self.m, self.forward, node)
        self.graph.mark(made, *self.body.graph.about(node))
        return made
