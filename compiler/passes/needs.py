"""Where the value of a node is needed, in terms of the tests of choices.

Of `x if test else y` the value x is needed where the test holds, and y where it does not. A `Need`
says so of a node, element by element: a set of terms, of which one must hold, each a set of tests,
which must all hold. What is read outside of any choice is needed always.

A need may be wider than it must be, never narrower: an axis that a test has and a node has not
counts as a whole, and of an operation that nothing is known of every element is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from typing import TypeAlias

from dln.compiler.ir.graph import Node, ancestors
from dln.compiler.ir.op import op_of
from dln.compiler.ir.ops.loop import Body
from dln.compiler.ir.sizes import Size
from dln.compiler.ir.tensor_type import TensorType

MOST = 16
"""Terms of a need; with more of them a node counts as needed always."""


@dataclass(frozen=True, slots=True)
class All:
    """Several tests of the elements of a tensor of this type, as one test."""

    term: Term
    type: TensorType


@dataclass(frozen=True, slots=True)
class Outcome:
    """That `node` holds, or does not. Its axes `over` count as a whole: somewhere along them; the
    others are the axes `axes` of the tensor that the test is about."""

    node: Node | All
    axes: tuple[int, ...]
    holds: bool
    over: tuple[int, ...] = ()


Term: TypeAlias = "frozenset[Outcome]"
Need: TypeAlias = frozenset[Term]
Places: TypeAlias = Mapping[int, int]
ALWAYS: Need = frozenset({frozenset()})
NEVER: Need = frozenset()


# ---- logic -------------------------------------------------------------------------------------


def either(a: Need, b: Need) -> Need:
    """Needed by one or the other."""
    if ALWAYS in (a, b):
        return ALWAYS
    return b if not a or a == b else a if not b else shortest(a | b)


def both(a: Need, b: Need) -> Need:
    """Needed where both hold."""
    return shortest({x | y for x in a for y in b})


def shortest(terms: Iterable[Term]) -> Need:
    """The same need in few terms: none within another, and `x and c or x and not c` as x."""
    found = {t for t in terms if not any(opposite(x) in t for x in t)}
    while True:
        merged = {t - {x} for t in found for x in t if (t - {x}) | {opposite(x)} in found}
        if not merged:
            break
        found |= merged
        found = {t for t in found if not any(s < t for s in found)}
    found = {t for t in found if not any(s < t for s in found)}
    return frozenset(found) if len(found) <= MOST else ALWAYS


def opposite(test: Outcome) -> Outcome | None:
    """The test that holds where this one does not; None where axes count as a whole."""
    return None if test.over else replace(test, holds=not test.holds)


def tested(test: Node, holds: bool, axes: tuple[int, ...]) -> Need:
    """The need of what is chosen where a test holds, or where it does not."""
    if test.op == "broadcast":
        return tested(test.operands[0], holds, tuple(axes[i] for i in test["axes"]))
    if test.op == "not":
        return tested(test.operands[0], not holds, axes)
    if test.op in ("and", "or"):
        parts = [tested(o, holds, axes if o.type.shape else ()) for o in test.operands]
        return reduce(both if (test.op == "and") == holds else either, parts)
    return frozenset({frozenset({Outcome(test, axes, holds)})})


# ---- from a node to what it reads --------------------------------------------------------------


def moved(need: Need, places: Places, like: TensorType) -> tuple[Need, bool]:
    """A need of a tensor of type `like` over other axes: axis i becomes axis `places[i]`, or counts
    as a whole where it has no place. True beside it where all axes have one."""
    exact, terms = True, []
    for term in need:
        tests = []
        for test in together(term, places, like):
            made = _moved(test, places)
            exact = exact and made.over == test.over
            tests.append(made)
        terms.append(frozenset(tests))
    return shortest(terms), exact


def together(term: Term, places: Places, like: TensorType) -> Term:
    """A term with the tests that lose axes as one more: they must hold at one element. Each stays
    too, for a term that has fewer of them to hold it."""
    losing = frozenset(t for t in term if any(a not in places for a in t.axes))
    if len(losing) < 2:
        return term
    axes = tuple(range(len(like.shape)))
    return term | {Outcome(All(losing, like.like(kind="bool")), axes, True)}


def nodes_of(test: Outcome) -> Iterator[Node]:
    """The nodes that a test is made of."""
    if isinstance(test.node, Node):
        yield test.node
    else:
        for part in test.node.term:
            yield from nodes_of(part)


def _moved(test: Outcome, places: Places) -> Outcome:
    kept = [i for i in range(len(test.node.type.shape)) if i not in test.over]
    pairs = [(i, places.get(a)) for i, a in zip(kept, test.axes, strict=True)]
    gone = {i for i, at in pairs if at is None}
    axes = tuple(at for _, at in pairs if at is not None)
    return replace(test, axes=axes, over=tuple(sorted({*test.over, *gone})))


def asked(node: Node, slot: int, need: Need) -> tuple[Need, bool]:
    """Where an operand is needed by a node that is needed itself so; and whether that is exact."""
    if node.op == "where" and slot > 0:
        test = node.operands[0]
        axes = tuple(range(len(test.type.shape)))
        need = both(need, tested(test, slot == 1, axes))
    if need == ALWAYS:
        return ALWAYS, True
    places = places_of(node, slot)
    return (ALWAYS, False) if places is None else moved(need, places, _asked_of(node))


def _asked_of(node: Node) -> TensorType:
    """What a need of a node has axes of: its elements, but of a loop the examples."""
    return examples(node) if node.op == "scan" else node.type


def examples(loop: Node) -> TensorType:
    """Whether each example needs a loop, as a tensor."""
    running = [o.type for o in loop.operands if "batch" in o.type.running]
    lead = [(t.size_of("batch"),) for t in running[:1]]
    return TensorType(lead[0], ("batch",), "bool") if lead else TensorType((), (), "bool")


def places_of(node: Node, slot: int) -> Places | None:
    """Which axis of an operand each axis of the result is; None where nothing is known."""
    operand, rule = node.operands[slot], PLACES.get(node.op)
    if rule is not None:
        return rule(node, slot)
    if op_of(node).is_("pointwise") or node.op in SAME:
        return same(operand) if operand.type.shape else {}
    if node.op in ALONG:
        along = {node["axis"]} if "axis" in node.attrs else set(node["axes"])
        return {i: i for i in same(operand) if i not in along}
    if node.op in REDUCE:
        gone = {node["axis"]} if "axis" in node.attrs else set(node["axes"])
        kept = [i for i in same(operand) if i not in gone]
        return dict(enumerate(kept))
    return None


def same(node: Node) -> dict[int, int]:
    return {i: i for i in range(len(node.type.shape))}


SAME = frozenset("running asserted stop cast onehot pick".split())
"""The axes of the result are the first ones of the operand."""
ALONG = frozenset("softmax log_softmax slice pad flip concat cumsum".split())
"""The axes of the operand; along `axis` or `axes` elements are mixed or moved."""
REDUCE = frozenset("sum max min argmax argmin log_sum_exp".split())
"""The axes of the operand without `axis` or `axes`."""


def _broadcast(node: Node, slot: int) -> Places:
    return {place: i for i, place in enumerate(node["axes"])}


def _transpose(node: Node, slot: int) -> Places:
    return dict(enumerate(node["perm"]))


def _contract(node: Node, slot: int) -> Places:
    labels = node["left" if slot == 0 else "right"]
    return {i: labels.index(x) for i, x in enumerate(node["out"]) if x in labels}


def _reshape(node: Node, slot: int) -> Places:
    """Axes that are the same from the front, and from the back."""
    shape, inner = node.type.shape, node.operands[0].type.shape
    front = _equal(shape, inner)
    back = _equal(shape[front:][::-1], inner[front:][::-1])
    places = {i: i for i in range(front)}
    return places | {len(shape) - 1 - i: len(inner) - 1 - i for i in range(back)}


def _equal(a: tuple[Size, ...], b: tuple[Size, ...]) -> int:
    """How many sizes are the same from the front."""
    n = 0
    while n < min(len(a), len(b)) and a[n] == b[n]:
        n += 1
    return n


def _window(node: Node, slot: int) -> Places:
    """The axis gives way to several."""
    axis, more = node["axis"], len(node["terms"]) - 1
    return {
        i if i < axis else i + more: i for i in range(len(node.operands[0].type.shape)) if i != axis
    }


def _gather(node: Node, slot: int) -> Places:
    """Rows of a table: which ones is not known."""
    return same(node.operands[1]) if slot == 1 else {}


def _grad(node: Node, slot: int) -> Places:
    """A derivative by x of a number for each example: each example for itself, unless something is
    taken over all of them."""
    operand, running = node.operands[slot], node.type.running
    if slot == 1:
        return same(operand)
    if mixes([operand]) or "batch" not in operand.type.running or "batch" not in running:
        return {}
    return {running.index("batch"): operand.type.running.index("batch")}


def mixes(values: Iterable[Node]) -> bool:
    """Whether something is taken over all examples on the way to some values."""
    return any(
        "batch" in o.type.running and "batch" not in n.type.running and n.op != "scan"
        for n in ancestors(values)
        for o in n.operands
    )


def _item(node: Node, slot: int) -> Places:
    """Of a loop itself it is asked for which examples it is needed: axis 0."""
    body: Body = node.operands[0]["body"]
    running = node.type.running
    if "batch" not in running or mixes([*body.nexts, node["value"]]):
        return {}
    return {running.index("batch"): 0}


def _scan(node: Node, slot: int) -> Places:
    running = node.operands[slot].type.running
    return {0: running.index("batch")} if "batch" in running else {}


PLACES: Mapping[str, Callable[[Node, int], Places]] = {
    "broadcast": _broadcast,
    "transpose": _transpose,
    "contract": _contract,
    "reshape": _reshape,
    "window": _window,
    "gather": _gather,
    "grad": _grad,
    "item": _item,
    "scan": _scan,
}


def needs(outputs: Mapping[Node, Need]) -> dict[Node, Need]:
    """Where each node is needed, given that of the outputs. Operands come before users."""
    order = ancestors(outputs)
    found: dict[Node, Need] = dict.fromkeys(order, NEVER) | dict(outputs)
    for node in reversed(order):
        for slot, operand in enumerate(node.operands):
            if found[operand] != ALWAYS:
                found[operand] = either(found[operand], asked(node, slot, found[node])[0])
    return found
