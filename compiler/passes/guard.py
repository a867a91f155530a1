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

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from functools import partial, reduce

from dln.compiler.ir.formula import formula
from dln.compiler.ir.graph import Graph, Node, ancestors
from dln.compiler.ir.op import Make
from dln.compiler.ir.ops import loop as loops
from dln.compiler.ir.structure import is_choice, is_derivative, is_item, is_scan
from dln.compiler.ir.tensor_type import TensorType
from dln.compiler.passes.needs import ALWAYS, Need, Outcome, either, examples
from dln.compiler.passes.refuges import Finder
from dln.compiler.passes.rewriting import Firing, Log, spent
from dln.compiler.passes.scan_bodies import step_of


def guard(graph: Graph, log: Log | None = None) -> Graph:
    """The graph with the operands of what a choice may drop guarded, in loops too."""
    if not any(map(is_choice, loops.everything(graph.outputs.values()))):
        return graph
    return guarded(graph, dict.fromkeys(graph.outputs, ALWAYS), log)


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
        self.asked = loops.requested(nodes)
        self.derived = [n.operands[1] for n in nodes if is_derivative(n)]
        self.steps: dict[Node, dict[Node, Node]] = {}
        self.new = Graph()
        self.to: dict[Node, Node] = {}

    def graph(self) -> Graph:
        old, new = self.old, self.new
        for node in ancestors(old.outputs.values(), self._before):
            spans, name = old.about(node)
            self.to[node] = made = self._made(Make(new, spans), node)
            new.mark(made, spans, name)
            if self.log is not None and node in self.finder.found and not spent(self.log):
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
            made = loops.item(m, operands[0], self.steps[node.operands[0]][node["value"]])
            return m.running(made, node.type)
        if node in self.finder.found and not spent(self.log):
            operand, need, value = self.finder.found[node]
            held = self._guarded(operand, need, value, node.type)
            operands = tuple(held if o is operand else self.to[o] for o in node.operands)
        if operands == node.operands:
            return self.new.include(node)
        return m(node.op, *operands, **node.attrs)

    def _loop(self, m: Make, node: Node, operands: tuple[Node, ...]) -> Node:
        """A loop with its steps guarded. One that is not needed always has a slot more, that says
        for which examples it is."""
        body, values = loops.body_of(node), self.asked[node]
        need = self.finder.loops.get(node, ALWAYS)
        if not any("batch" in o.type.running for o in node.operands):
            need = ALWAYS  # it is the same for all examples, and some may need it
        inner = step_of(node, values, self.derived)
        wanted, told = dict.fromkeys(inner.outputs, ALWAYS), tuple[Node, ...]()
        if need != ALWAYS:
            test = self._test(m, need, examples(node))
            made = loops.slot(inner, test.type, next(body.numbers()), "fixed")
            body = replace(body, graph=inner, fixed=(*body.fixed, made))
            for k, v in inner.outputs.items():  # by the slot that says which examples need the loop
                per_example = test.type.shape and "batch" in v.type.running
                axes = (v.type.running.index("batch"),) if per_example else ()
                over = (0,) if test.type.shape and not axes else ()
                wanted[k] = frozenset({frozenset({Outcome(made, axes, True, over)})})
            told = (test,)
        better = guarded(inner, wanted, self.log)
        self.steps[node] = loops.items_of(better, values)
        firsts = len(operands) - len(body.carried)
        operands = (*operands[:firsts], *told, *operands[firsts:])
        return m("scan", *operands, body=loops.rebuilt(body, better))

    def _before(self, node: Node) -> Sequence[Node]:
        """A node waits for its operands, the last one first, and then for tests."""
        tests = sorted(self.finder.waits.get(node, ()), key=self._place)
        return (*tests, *node.operands)[::-1]

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
            bit = self._bit(m, tests[0].changed(holds=True), like)
            made = m("where", bit, m.const(value), node)
        else:
            made = m("where", self._test(m, need, like), node, m.const(value))
        self.new.mark(made, (), self.old.names.get(operand) or formula(self.old, operand))
        return made

    def _test(self, m: Make, need: Need, like: TensorType) -> Node:
        """The truth of a need at each element of a tensor."""
        known = {self._key(t): t for term in need for t in term}
        terms = sorted(sorted(map(self._key, term)) for term in need)
        parts = [[self._bit(m, known[k], like) for k in keys] for keys in terms]
        made = [reduce(partial(m, "and"), bits) for bits in parts]
        return reduce(partial(m, "or"), made) if made else m.const(False, "bool")

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
        if not bit.type.shape:
            return bit
        order = sorted(range(len(test.axes)), key=test.axes.__getitem__)
        if order != sorted(order):
            bit = m("transpose", bit, perm=tuple(order))
        return m.broadcast(bit, like.like(kind="bool"), tuple(sorted(test.axes)))
