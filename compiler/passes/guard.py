"""Choices: what is not chosen is not computed from values that it cannot take.

Both branches of `a if test else b` are worked out, over arrays, and one of them is dropped. So

    log(p) if p > 0 else 0  ->  log(p if p > 0 else 1) if p > 0 else 0

and the value, the slope and every further derivative of what is dropped are finite numbers, to be
dropped. An operation that can leave the numbers says in its record by which operand, and a number
that keeps it among them (`refuge`). Where it is needed (`needs`) the operand stays as it is.

Logarithms, roots, quotients and powers are guarded wherever a choice decides; what can only grow
too large (`grows`: products, sums, exp) where its operands may be of any size. The pass runs once,
before derivatives are written out: they are taken of the guarded forms.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from typing import Any

from dln.compiler.formula import formula
from dln.compiler.graph import Graph, Node, ancestors
from dln.compiler.needs import ALWAYS, Need, Test, asked, moved, needs, places_of, shortest
from dln.compiler.op import Make, op_of
from dln.compiler.passes.bounds import bound, overflows, whole_power
from dln.compiler.passes.fold import evaluated
from dln.compiler.passes.rewriting import Firing, Log
from dln.compiler.tensor import TensorType

HARMLESS = ("log", "sqrt", "reciprocal", "div")
"""What nothing can happen to where its operand is known now, and at least 1."""


def guard(graph: Graph, log: Log | None = None) -> Graph:
    """The graph with the operands of what a choice may drop guarded."""
    order = ancestors(graph.outputs.values())
    if not any(n.op == "where" for n in order):
        return graph
    finder = Finder(graph, order)
    return Writer(graph, finder).graph(log) if finder.found else graph


# ---- what must be guarded ----------------------------------------------------------------------


class Finder:
    """Finds the guards: for a node, its operand and where that is needed.

    `wide` bounds the values of each node anywhere, `tame` where the node is not needed.
    """

    def __init__(self, graph: Graph, order: Sequence[Node]) -> None:
        self.need = needs(graph.outputs.values())
        self.order = {n: i for i, n in enumerate(order)}
        self.wide: dict[Node, float] = {}
        self.tame: dict[Node, float] = {}
        self.found: dict[Node, tuple[Node, Need, float]] = {}
        self.waits: dict[Node, set[Node]] = {}
        self.fixed: set[Node] = set()
        for node in order:
            self._look(node)

    def _look(self, node: Node) -> None:
        if node.op == "const" or node.operands and all(o in self.fixed for o in node.operands):
            self.fixed.add(node)
        self.wide[node] = bound(node, [self.wide[o] for o in node.operands])
        if self.need[node] == ALWAYS:
            self.tame[node] = self.wide[node]
            return
        seen = [self._seen(node, slot) for slot in range(len(node.operands))]
        guarded = False
        for slot, value in refuges(node, seen):
            if self._enter(node, slot, value):
                here, guarded = node.operands[slot], True
                seen = [
                    abs(value) if o is here else s for o, s in zip(node.operands, seen, strict=True)
                ]
                break
        self.tame[node] = bound(node, seen, guarded)

    def _seen(self, node: Node, slot: int) -> float:
        """The bound of an operand where the node is not needed."""
        operand = node.operands[slot]
        need, exact = asked(node, slot, self.need[node])
        same = exact and need == self.need[operand]
        return (self.tame if same else self.wide)[operand]

    def _enter(self, node: Node, slot: int, value: float) -> bool:
        """Guard an operand, if there is a test that says where and does not wait for the node."""
        need, operand = self.need[node], node.operands[slot]
        if node.op in HARMLESS and operand in self.fixed:
            if all(v >= 1.0 for v in flat(evaluated(operand))):
                return False
        if op_of(node).is_("grows"):
            need = without_padding(need)
        if not op_of(node).is_("pointwise"):
            places = places_of(node, slot)
            need, exact = (ALWAYS, False) if places is None else moved(need, places)
            if not exact:
                return False
        tests = {t.node for term in need for t in term}
        if need == ALWAYS or any(self._reaches(t, node) for t in tests):
            return False
        self.waits[node] = tests
        self.found[node] = operand, need, value
        return True

    def _reaches(self, start: Node, goal: Node) -> bool:
        """Whether a node is worked out from another one, guards included."""
        stack, done = [start], {start}
        while stack:
            node = stack.pop()
            if node is goal:
                return True
            for o in (*node.operands, *self.waits.get(node, ())):
                if o not in done:
                    done.add(o)
                    stack.append(o)
        return False


def refuges(node: Node, seen: Sequence[float]) -> list[tuple[int, float]]:
    """The operands by which a node may leave the numbers, each with the number to put there."""
    record = op_of(node)
    if record.refuge is None or not may_leave(node, seen):
        return []
    slot, value = record.refuge
    if slot is not None:
        return [(slot, value)]
    slots = [i for i, s in enumerate(seen) if s > 1.0]
    return [(i, value) for i in sorted(slots, key=lambda i: -len(node.operands[i].type.shape))]


def flat(value: Any) -> Iterator[float]:
    """The numbers in nested lists."""
    if isinstance(value, list):
        for part in value:
            yield from flat(part)
    else:
        yield value


def may_leave(node: Node, seen: Sequence[float]) -> bool:
    """Whether a node with operands within such bounds may leave the numbers."""
    if op_of(node).is_("grows") or (node.op == "pow" and whole_power(node) is not None):
        return overflows(node, seen)
    if node.op == "div" and node.operands[1].op == "const":
        return not node.operands[1]["value"]
    return True


def without_padding(need: Need) -> Need:
    """A need without the tests of which steps a sequence has: what stands past its end is 0."""
    return shortest({frozenset(t for t in term if not counts_steps(t.node)) for term in need})


def counts_steps(test: Node) -> bool:
    """Whether a test compares the numbers of steps."""
    for o in test.operands:
        while o.op in ("broadcast", "running"):
            o = o.operands[0]
        if o.op == "const" and o.type.kind == "index" and o.type.shape:
            return True
    return False


# ---- the graph with guards ---------------------------------------------------------------------


class Writer:
    """Writes the graph anew, tests before what they guard."""

    def __init__(self, old: Graph, finder: Finder) -> None:
        self.old, self.finder = old, finder
        self.new = Graph()
        self.to: dict[Node, Node] = {}

    def graph(self, log: Log | None) -> Graph:
        old, new = self.old, self.new
        for node in self._order():
            spans = old.spans.get(node, ())
            operands = tuple(self.to[o] for o in node.operands)
            if node in self.finder.found:
                operand, need, value = self.finder.found[node]
                held = self._guarded(operand, need, value, node.type)
                operands = tuple(
                    held if o is operand else n
                    for o, n in zip(node.operands, operands, strict=True)
                )
            made = (
                new.include(node)
                if operands == node.operands
                else Make(new)(node.op, *operands, **node.attrs)
            )
            new.mark(made, spans, old.names.get(node))
            self.to[node] = made
            if log is not None and node in self.finder.found:
                log.append(Firing("guard", True, formula(old, node), formula(new, made), spans))
        new.outputs = {k: self.to[v] for k, v in old.outputs.items()}
        if old.asked is not None:
            new.asked = frozenset(self.to[n] for n in old.asked)
        return new

    def _order(self) -> list[Node]:
        """Operands and tests before the nodes that wait for them."""
        done: dict[Node, None] = {}
        for output in self.old.outputs.values():
            stack = [(output, False)]
            while stack:
                node, ready = stack.pop()
                if node in done:
                    continue
                if ready:
                    done[node] = None
                    continue
                stack.append((node, True))
                tests = sorted(self.finder.waits.get(node, ()), key=self.finder.order.__getitem__)
                stack.extend((o, False) for o in (*tests, *node.operands) if o not in done)
        return list(done)

    def _guarded(self, operand: Node, need: Need, value: float, like: TensorType) -> Node:
        """The operand where it is needed, else the number. It goes by the operand's name."""
        m = Make(self.new, self.old.spans.get(operand, ()))
        node = self.to[operand]
        like = node.type if node.type.shape else like
        (term, *more) = need
        tests = list(term)
        if not more and len(tests) == 1 and not tests[0].holds and not tests[0].over:
            bit = self._spread(m, self.to[tests[0].node], tests[0], like)
            made = m("where", bit, m.const(value), node)
        else:
            made = m("where", self._test(m, need, like), node, m.const(value))
        self.new.mark(made, (), self.old.names.get(operand) or formula(self.old, operand))
        return made

    def _test(self, m: Make, need: Need, like: TensorType) -> Node:
        """The truth of a need at each element of a tensor."""
        place = self.finder.order

        def key(test: Test) -> tuple[int, bool, tuple[int, ...]]:
            return place[test.node], test.holds, test.over

        terms = sorted(sorted(map(key, term)) for term in need)
        known = {key(t): t for term in need for t in term}
        made = [
            reduce(lambda a, b: m("and", a, b), [self._bit(m, known[k], like) for k in t])
            for t in terms
        ]
        return reduce(lambda a, b: m("or", a, b), made)

    def _bit(self, m: Make, test: Test, like: TensorType) -> Node:
        node = self.to[test.node]
        bit = node if test.holds else m("not", node)
        if test.over:
            bit = m("ne", m.sum(m("cast", bit, kind="real"), test.over), m.const(0.0))
        return self._spread(m, bit, test, like)

    @staticmethod
    def _spread(m: Make, bit: Node, test: Test, like: TensorType) -> Node:
        return m.broadcast(bit, like.like(kind="bool"), test.axes) if bit.type.shape else bit
