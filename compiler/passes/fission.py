"""Loop fission: a loop keeps only what one step needs of the step before.

What does not depend on what is carried is worked out before the loop, for all steps at once: the
input's product with its matrix is one product over the whole sequence. What the steps do not need
is worked out after it: the gradient of a matrix, summed over time, becomes one product of whole
sequences. What is left inside are the recurrent products and what stands between them.

The values are the same to the last bits of the sums: an ordinary product of larger matrices.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import reduce

from dln.compiler.ir.formula import formula
from dln.compiler.ir.graph import Graph, Node, ancestors, keep, rewrite
from dln.compiler.ir.op import Make, Stacked, op_of
from dln.compiler.ir.ops import loop as loops
from dln.compiler.ir.ops.axes import elementwise, repeated
from dln.compiler.ir.structure import is_const, is_item, is_scan, is_slot
from dln.compiler.passes.rewriting import Firing, Log, readers, spent
from dln.compiler.passes.simplify import simplify


def fission(graph: Graph, log: Log | None = None) -> Graph:
    """The graph with every loop cut down to its recurrence."""
    asked = loops.requested(ancestors(graph.outputs.values()))
    if not asked:
        return graph
    splits: dict[Node, Split] = {}

    def rule(new: Graph, node: Node, operands: tuple[Node, ...]) -> Node | None:
        make = Make(new, graph.spans.get(node, ()))
        if is_scan(node) and not spent(log):
            splits[node] = split = Split(make, node, operands, asked[node])
            if log is not None:
                text = f"{split.body.length} steps of {len(split.order)} operations"
                kept = f"{len(split.kept)} stay inside the loop"
                log.append(Firing("fission", False, text, kept, make.spans))
            return split.loop or make.const(0.0)
        if is_item(node) and node.operands[0] in splits:
            return splits[node.operands[0]].value(make, node["value"])
        return None

    # A product and the sum over time that it is taken into are one product: said here and now.
    return simplify(rewrite(graph, rule)[0], log)


class Split:
    """One loop taken apart. `kept` are the nodes of its body that stay inside."""

    def __init__(
        self, m: Make, node: Node, operands: Sequence[Node], values: Sequence[Node]
    ) -> None:
        self.m, self.body = m, loops.body_of(node)
        self.given = dict(zip(self.body.slots, operands, strict=True))
        self.asked = {v: v for v in values}
        nexts = self._look(values)
        if self._regroup(values):
            nexts = self._look(list(self.asked.values()))
        roots = [*nexts, *(n for n in self.order if n in self.stuck)]
        self.kept = [n for n in ancestors(roots) if n in self.moving]
        self.outer: dict[Node, tuple[Node, bool]] = {}
        self.to: dict[Node, Node] = {}
        self.loop = self._loop(nexts) if self.kept or self.live else None

    def _look(self, values: Sequence[Node]) -> list[Node]:
        """What the body does; the nodes that live slots hold after a step."""
        self.live = self._live(values)
        nexts = [n for s, n in self._pairs() if s in self.live]
        self.order = ancestors([*nexts, *values])
        self.moving, self.stuck = self._moving()
        return nexts

    def _regroup(self, values: Sequence[Node]) -> bool:
        """Sums of which several terms do not wait for the step before: those are added first, so
        that they can go out together. W x + U h + b becomes (W x + b) + U h."""
        graph = loops.with_outputs(self.body, loops.outputs_of(self.body, values))
        uses, moving = readers(graph, graph.topological()), self.moving
        orders: dict[Node, list[Node]] = {}
        sums = [n for n in graph.topological() if n.op == "add" and n in moving]
        inner = {o for n in sums for o in n.operands if o.op == "add" and uses[o] == 1}
        for node in sums:
            terms = list(node.operands)  # of a sum of sums, from left to right
            while any(t in inner for t in terms):
                terms = [part for t in terms for part in (t.operands if t in inner else (t,))]
            still = [t for t in terms if t not in moving]
            alike = all(t.type.shape == node.type.shape for t in terms)
            if node not in inner and alike and len(still) > 1:
                orders[node] = [*still, *(t for t in terms if t in moving)]
        moved: dict[Node, Node] = {}

        def rule(new: Graph, node: Node, operands: tuple[Node, ...]) -> Node:
            if node in orders:
                make = Make(new, graph.spans.get(node, ()))
                moved[node] = reduce(make.add, [moved[t] for t in orders[node]])
            else:
                moved[node] = keep(new, node, operands)
            return moved[node]

        if orders:
            better = rewrite(graph, rule)[0]
            self.asked = loops.items_of(better, values)
            self.body = loops.rebuilt(self.body, better)
        return bool(orders)

    def _pairs(self) -> Iterable[tuple[Node, Node]]:
        return zip(self.body.carried, self.body.nexts, strict=True)

    # ---- what stays ----------------------------------------------------------------------------

    def _live(self, values: Sequence[Node]) -> set[Node]:
        """The slots of what is carried that some value needs, from step to step."""
        live: set[Node] = set()
        while True:
            needed = set(ancestors([*values, *(n for s, n in self._pairs() if s in live)]))
            more = {s for s in self.body.carried if s in needed} - live
            if not more:
                return live
            live |= more

    def _moving(self) -> tuple[set[Node], set[Node]]:
        """What depends on the step before, and what cannot be done for all steps at once."""
        moving, stuck, seq = set(self.live), set[Node](), dict[Node, bool]()
        for n in self.order:
            flags = [seq[o] for o in n.operands]
            seq[n] = n in moving or any(flags) or (is_slot(n) and n["role"] == "rows")
            if is_slot(n) or self.constant(n):
                continue
            record = op_of(n)
            # a table that another operand points into stays as it is
            table = record.is_("lookup") and flags[0]
            stacks = not table and (record.vmap is not None or record.is_("pointwise"))
            if record.is_("random") or (any(flags) and not stacks):
                stuck.add(n)
            if n in stuck or any(o in moving for o in n.operands):
                moving.add(n)
                seq[n] = True
        return moving, stuck

    @staticmethod
    def constant(node: Node) -> bool:
        """A constant, or one spread over a shape: it costs nothing anywhere."""
        while node.operands and op_of(node).is_("view"):
            node = node.operands[0]
        return is_const(node)

    # ---- the loop ------------------------------------------------------------------------------

    def _loop(self, nexts: Sequence[Node]) -> Node:
        """The loop over what is kept; everything else that it reads comes in through slots."""
        self.graph = Graph()
        self.rows: dict[Node, Node] = {}
        self.fixed: dict[Node, Node] = {}
        self.numbers = self.body.numbers()
        carried = [s for s in self.body.carried if s in self.live]
        for n in (*carried, *self.kept):
            if n not in self.to:
                operands = tuple(self._inside(o) for o in n.operands)
                self.to[n] = made = keep(self.graph, n, operands)
                self.graph.mark(made, *self.body.graph.about(n))
        inside = tuple(self._inside(n) for n in nexts)
        body = replace(
            self.body,
            graph=self.graph,
            rows=tuple(self.rows),
            fixed=tuple(self.fixed),
            carried=tuple(carried),
            nexts=inside,
        )
        firsts = [self.given[s] for s in carried]
        return self.m("scan", *self.rows.values(), *self.fixed.values(), *firsts, body=body)

    def _inside(self, node: Node) -> Node:
        """A node as an operand inside the loop."""
        if node in self.to:
            return self.to[node]
        if self.constant(node):
            for n in ancestors([node]):
                self.to[n] = keep(self.graph, n, tuple(self.to[o] for o in n.operands))
            return self.to[node]
        outside, is_seq = self._outside(self.m, node)
        held, role = (self.rows, "rows") if is_seq else (self.fixed, "fixed")
        made = next((s for s, o in held.items() if o is outside), None)
        if made is None:
            made = loops.slot(self.graph, node.type, next(self.numbers), role)
        held[made], self.to[node] = outside, made
        spans, name = self.body.graph.about(node)
        self.graph.mark(made, spans, name or formula(self.body.graph, node, 2))
        return made

    # ---- what goes out -------------------------------------------------------------------------

    def value(self, m: Make, wanted: Node) -> Node:
        """The sequence of a value of the old body."""
        node, is_seq = self._outside(m, self.asked[wanted])
        like = loops.sequence_type(wanted.type, self.body.length)
        return m.running(node, like) if is_seq else repeated(m, node, like)

    def _outside(self, m: Make, wanted: Node) -> tuple[Node, bool]:
        """The value of a node of the body for all steps, and whether it changes from step to
        step. Nodes that stay inside give an item of the loop."""

        def stays(node: Node) -> bool:
            return node in self.to and node in self.moving

        def before(node: Node) -> Sequence[Node]:
            return () if node in self.outer or stays(node) else node.operands[::-1]

        for node in ancestors([wanted], before):
            if node in self.outer:
                continue
            if stays(node):
                assert self.loop is not None
                self.outer[node] = loops.item(m, self.loop, self.to[node]), True
            elif is_slot(node):
                self.outer[node] = self.given[node], node["role"] == "rows"
            else:
                self.outer[node] = self._again(m, node)
        return self.outer[wanted]

    def _again(self, m: Make, node: Node) -> tuple[Node, bool]:
        """The operation of a step, done for all steps where an operand changes."""
        pairs = [self.outer[o] for o in node.operands]
        operands, seq = [n for n, _ in pairs], [s for _, s in pairs]
        m = Make(m.graph, self.body.graph.spans.get(node, m.spans))
        if any(seq):
            vmap = op_of(node).vmap or elementwise
            made = vmap(m, node, Stacked(operands, seq, self.body.length))
        else:
            made = m(node.op, *operands, **node.attrs)
        m.graph.mark(made, (), self.body.graph.names.get(node))
        return made, any(seq)
