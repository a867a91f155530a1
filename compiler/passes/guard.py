"""Choices: what is not chosen is not computed from values that it cannot take.

Both branches of `a if test else b` are worked out, over arrays, and one of them is dropped. So

    log(p) if p > 0 else 0  ->  log(p if p > 0 else 1) if p > 0 else 0

and the value, the slope and every further derivative of what is dropped are finite numbers, to be
dropped. An operation that can leave the numbers says in its record by which operand, and a number
that keeps it among them (`refuge`). Where it is needed (`needs`) the operand stays as it is.

Logarithms, roots, quotients and powers are guarded wherever a choice decides; what can only grow
too large (`grows`: products, sums, exp) where its operands may be of any size. A loop that is
needed by some examples only is told so, as one more value that stays from step to step. The pass
runs once, before derivatives are written out: they are taken of the guarded forms.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import replace
from functools import reduce

from dln.compiler.ir.formula import formula
from dln.compiler.ir.graph import Graph, Node, ancestors
from dln.compiler.ir.op import Make
from dln.compiler.ir.ops.loop import (
    Body,
    body_of,
    item,
    items_of,
    outputs_of,
    rebuilt,
    requested,
    slot,
    with_outputs,
)
from dln.compiler.ir.structure import is_choice, is_derivative, is_item, is_scan
from dln.compiler.ir.tensor_type import TensorType
from dln.compiler.passes.needs import ALWAYS, Need, Outcome, either, examples
from dln.compiler.passes.refuges import Finder
from dln.compiler.passes.rewriting import Firing, Log


def guard(graph: Graph, log: Log | None = None) -> Graph:
    """The graph with the operands of what a choice may drop guarded, in loops too."""
    if not chooses(ancestors(graph.outputs.values())):
        return graph
    return guarded(graph, dict.fromkeys(graph.outputs, ALWAYS), log)


def chooses(nodes: Iterable[Node]) -> bool:
    """Whether something is chosen among some nodes, or in a step of their loops."""
    for n in nodes:
        if is_choice(n) or (is_scan(n) and chooses(n["body"].graph.topological())):
            return True
    return False


def guarded(graph: Graph, wanted: Mapping[Hashable, Need], log: Log | None) -> Graph:
    """A graph whose outputs are needed where it is said."""
    outputs: dict[Node, Need] = {}
    for name, node in graph.outputs.items():
        outputs[node] = either(outputs[node], wanted[name]) if node in outputs else wanted[name]
    return GuardWriter(graph, Finder(outputs), log).graph()


class GuardWriter:
    """Writes the graph anew, tests before what they guard."""

    def __init__(self, old: Graph, finder: Finder, log: Log | None) -> None:
        self.old, self.finder, self.log = old, finder, log
        nodes = ancestors(old.outputs.values())
        self.asked = requested(nodes)
        self.derived = [n.operands[1] for n in nodes if is_derivative(n)]
        self.steps: dict[Node, dict[Node, Node]] = {}
        self.new = Graph()
        self.to: dict[Node, Node] = {}

    def graph(self) -> Graph:
        old, new = self.old, self.new
        for node in self._order():
            spans = old.spans.get(node, ())
            made = self._made(Make(new, spans), node)
            new.mark(made, spans, old.names.get(node))
            self.to[node] = made
            if self.log is not None and node in self.finder.found:
                said = formula(old, node), formula(new, made)
                self.log.append(Firing("guard", True, *said, spans))
        new.outputs = {k: self.to[v] for k, v in old.outputs.items()}
        if old.asked is not None:
            new.asked = frozenset(self.to[n] for n in old.asked)
        return new

    def _made(self, m: Make, node: Node) -> Node:
        operands = tuple(self.to[o] for o in node.operands)
        if is_scan(node):
            return self._loop(m, node, operands)
        if is_item(node):
            made = item(m, operands[0], self.steps[node.operands[0]][node["value"]])
            same = made.type.running == node.type.running
            return made if same else m("running", made, running=node.type.running)
        if node in self.finder.found:
            operand, need, value = self.finder.found[node]
            held = self._guarded(operand, need, value, node.type)
            pairs = zip(node.operands, operands, strict=True)
            operands = tuple(held if o is operand else n for o, n in pairs)
        if operands == node.operands:
            return self.new.include(node)
        return m(node.op, *operands, **node.attrs)

    def _loop(self, m: Make, node: Node, operands: tuple[Node, ...]) -> Node:
        """A loop with its steps guarded. One that is not needed always has a slot more, that says
        for which examples it is."""
        body, values = body_of(node), self.asked[node]
        need = self.finder.loops.get(node, ALWAYS)
        if not any("batch" in o.type.running for o in node.operands):
            need = ALWAYS  # it is the same for all examples, and some may need it
        inner = with_outputs(body, outputs_of(body, values))
        if self.derived:
            inner.asked = frozenset(n["value"] for n in self.derived if n.operands[:1] == (node,))
        wanted, told = dict.fromkeys(inner.outputs, ALWAYS), tuple[Node, ...]()
        if need != ALWAYS:
            test = self._test(m, need, examples(node))
            number = 1 + max((s["number"] for s in body.slots), default=0)
            made = slot(inner, test.type, number, "fixed")
            body = Body(
                inner,
                body.rows,
                (*body.fixed, made),
                body.carried,
                body.nexts,
                body.length,
                body.reverse,
            )
            wanted = {k: _told(made, v) for k, v in inner.outputs.items()}
            told = (test,)
        better = guarded(inner, wanted, self.log)
        self.steps[node] = items_of(better, values)
        firsts = len(operands) - len(body.carried)
        operands = (*operands[:firsts], *told, *operands[firsts:])
        return m("scan", *operands, body=rebuilt(body, better))

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
                tests = sorted(self.finder.waits.get(node, ()), key=self._place)
                stack.extend((o, False) for o in (*tests, *node.operands) if o not in done)
        return list(done)

    def _place(self, test: Node) -> int:
        """Where a test stands; the one that a loop is told by stands in front."""
        return self.finder.order.get(test, -1)

    def _guarded(self, operand: Node, need: Need, value: float, like: TensorType) -> Node:
        """The operand where it is needed, else the number. It goes by the operand's name."""
        m = Make(self.new, self.old.spans.get(operand, ()))
        node = self.to[operand]
        like = node.type if node.type.shape else like
        tests = [t for term in need for t in term]
        if len(need) == len(tests) == 1 and not tests[0].holds and not tests[0].over:
            bit = self._bit(m, replace(tests[0], holds=True), like)
            made = m("where", bit, m.const(value), node)
        else:
            made = m("where", self._test(m, need, like), node, m.const(value))
        self.new.mark(made, (), self.old.names.get(operand) or formula(self.old, operand))
        return made

    def _test(self, m: Make, need: Need, like: TensorType) -> Node:
        """The truth of a need at each element of a tensor."""
        if not need:
            return m.const(False, "bool")

        terms = sorted(sorted(map(self._key, term)) for term in need)
        known = {self._key(t): t for term in need for t in term}
        made = [
            reduce(lambda a, b: m("and", a, b), [self._bit(m, known[k], like) for k in t])
            for t in terms
        ]
        return reduce(lambda a, b: m("or", a, b), made)

    def _key(self, test: Outcome) -> str:
        """What tells a test from all others, the same in every run."""
        if isinstance(test.node, Node):
            what = str(self._place(test.node))
        else:
            what = f"({' '.join(sorted(map(self._key, test.node.term)))})"
        return f"{what}/{test.holds}/{test.axes}/{test.over}"

    def _bit(self, m: Make, test: Outcome, like: TensorType) -> Node:
        if isinstance(test.node, Node):
            node = self.to[test.node]
        else:
            node = self._test(m, frozenset({test.node.term}), test.node.type)
        bit = node if test.holds else m("not", node)
        if test.over:
            bit = m("ne", m.sum(m("cast", bit, kind="real"), test.over), m.const(0.0))
        return self._spread(m, bit, test, like)

    @staticmethod
    def _spread(m: Make, bit: Node, test: Outcome, like: TensorType) -> Node:
        if not bit.type.shape:
            return bit
        order = sorted(range(len(test.axes)), key=test.axes.__getitem__)
        if order != sorted(order):
            bit = m("transpose", bit, perm=tuple(order))
        return m.broadcast(bit, like.like(kind="bool"), tuple(sorted(test.axes)))


def _told(test: Node, output: Node) -> Need:
    """The need of a value of a step, by the slot that says which examples need the loop."""
    running = output.type.running
    if not test.type.shape:
        return frozenset({frozenset({Outcome(test, (), True)})})
    if "batch" not in running:
        return frozenset({frozenset({Outcome(test, (), True, (0,))})})
    return frozenset({frozenset({Outcome(test, (running.index("batch"),), True)})})
