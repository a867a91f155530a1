"""What must be guarded: by which operand a node may leave the numbers where it is not needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dln.compiler.ir.graph import Node, ancestors
from dln.compiler.ir.op import ANY, op_of
from dln.compiler.ir.structure import bare, is_const, is_scan
from dln.compiler.passes import needs
from dln.compiler.passes.fold import evaluated
from dln.compiler.passes.needs import ALWAYS, Need


class Finder:
    """Finds the guards: for a node, its operand and where that is needed; and of the loops that are
    not needed always, where they are.

    `wide` bounds the values of each node anywhere, `tame` where the node is not needed.
    """

    def __init__(self, outputs: Mapping[Node, Need]) -> None:
        order = ancestors(outputs)
        self.need = needs.everywhere(outputs)
        self.order = {n: i for i, n in enumerate(order)}
        self.wide: dict[Node, float] = {}
        self.tame: dict[Node, float] = {}
        self.found: dict[Node, tuple[Node, Need, float]] = {}
        self.loops: dict[Node, Need] = {}
        self.waits: dict[Node, set[Node]] = {}
        self.fixed: set[Node] = set()
        for node in order:
            self._look(node)

    def _look(self, node: Node) -> None:
        if is_const(node) or node.operands and all(o in self.fixed for o in node.operands):
            self.fixed.add(node)
        self.wide[node] = bound(node, [self.wide[o] for o in node.operands])
        if self.need[node] == ALWAYS:
            self.tame[node] = self.wide[node]
            return
        if is_scan(node) and self._waits(node, need := without_padding(self.need[node])):
            self.loops[node] = need  # for its steps to know
        seen = [self._seen(node, slot) for slot in range(len(node.operands))]
        ways = refuges(node, seen)
        found = next(((slot, v) for slot, v in ways if self._enter(node, slot, v)), None)
        if found is not None:
            here, safe = node.operands[found[0]], abs(found[1])
            seen = [safe if o is here else s for o, s in zip(node.operands, seen, strict=True)]
        self.tame[node] = bound(node, seen, guarded=found is not None)

    def _seen(self, node: Node, slot: int) -> float:
        """The bound of an operand where the node is not needed."""
        operand = node.operands[slot]
        need, exact = needs.asked(node, slot, self.need[node])
        same = exact and need == self.need[operand]
        return (self.tame if same else self.wide)[operand]

    def _enter(self, node: Node, slot: int, value: float) -> bool:
        """Guard an operand, if there is a test that says where and does not wait for the node."""
        need, operand, refuge = self.need[node], node.operands[slot], op_of(node).refuge
        assert refuge is not None
        if refuge.safe_from < ANY and operand in self.fixed:
            if (evaluated(operand) >= refuge.safe_from).all():
                return False
        if refuge.by_size:
            need = without_padding(need)
        if not op_of(node).is_("pointwise"):
            places = needs.places_of(node, slot)
            need, exact = needs.moved(need, places or {}, node.type)
            if places is None or not exact:
                return False
        if not self._waits(node, need):
            return False
        self.found[node] = operand, need, value
        return True

    def _waits(self, node: Node, need: Need) -> bool:
        """Let a node wait for the tests of a need, if there are some and none waits for it."""
        tests = {n for term in need for t in term for n in needs.nodes_of(t)}
        if need == ALWAYS or node in ancestors(tests, self._before):
            return False
        self.waits[node] = tests
        return True

    def _before(self, node: Node) -> Sequence[Node]:
        """What a node is worked out from, guards included."""
        return (*node.operands, *self.waits.get(node, ()))


LARGE = 1e15
"""What grows beyond this counts as of any size."""


def bound(node: Node, seen: Sequence[float], guarded: bool = False) -> float:
    """A bound of a node's values over operands within `seen`; `guarded` where it has its refuge for
    an operand."""
    if node.type.kind == "bool":
        return 1.0
    rule = op_of(node).bound
    found = ANY if rule is None else rule(node, seen, guarded)
    return found if found <= LARGE else ANY


def refuges(node: Node, seen: Sequence[float]) -> list[tuple[int, float]]:
    """The operands by which a node may leave the numbers, each with the number to put there."""
    refuge = op_of(node).refuge
    if refuge is None or not refuge.leaves(node, seen, bound(node, seen)):
        return []
    if refuge.slot is not None:
        return [(refuge.slot, refuge.value)]
    slots = (i for i, s in enumerate(seen) if s > 1.0)
    wide = sorted(slots, key=lambda i: -len(node.operands[i].type.shape))
    return [(i, refuge.value) for i in wide]


def without_padding(need: Need) -> Need:
    """A need without the tests of which steps a sequence has: what stands past its end is 0."""

    def stays(test: needs.Outcome) -> bool:
        return not any(map(counts_steps, needs.nodes_of(test)))

    return needs.shortest(frozenset(filter(stays, term)) for term in need)


def counts_steps(test: Node) -> bool:
    """Whether a test compares the numbers of steps."""
    tables = [o for o in map(bare, test.operands) if is_const(o) and len(o.type.shape) == 1]
    return any(o["value"] == tuple(range(len(o["value"]))) for o in tables)
