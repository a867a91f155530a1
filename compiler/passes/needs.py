"""Where the value of a node is needed, in terms of the tests of choices.

Of `x if test else y` the value x is needed where the test holds, and y where it does not. A `Need`
says so of a node, element by element: a set of terms, of which one must hold, each a set of tests,
which must all hold. What is read outside of any choice is needed always.

A need may be wider than it must be, never narrower: an axis that a test has and a node has not
counts as a whole, and of an operation that nothing is known of every element is needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import reduce
from typing import TypeAlias

from dln.compiler.ir.graph import Node, ancestors
from dln.compiler.ir.op import Places, op_of
from dln.compiler.ir.ops.axes import same
from dln.compiler.ir.structure import is_and, is_choice, is_not, is_or, is_scan, is_spread
from dln.compiler.ir.tensor_type import TensorType, scalar
from dln.grammar.record import Record

MOST = 16
"""Terms of a need; with more of them a node counts as needed always."""


class All(Record):
    """Several tests of the elements of a tensor of this type, as one test."""

    term: Term
    type: TensorType


class Outcome(Record):
    """That `node` holds, or does not. Its axes `over` count as a whole: somewhere along them; the
    others are the axes `axes` of the tensor that the test is about."""

    node: Node | All
    axes: tuple[int, ...]
    holds: bool
    over: tuple[int, ...] = ()


Term: TypeAlias = "frozenset[Outcome]"
Need: TypeAlias = frozenset[Term]
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
    merged = found
    while merged:
        merged = {t - {x} for t in found for x in t if (t - {x}) | {opposite(x)} in found}
        found |= merged
        found = {t for t in found if not any(s < t for s in found)}
    return frozenset(found) if len(found) <= MOST else ALWAYS


def opposite(test: Outcome) -> Outcome | None:
    """The test that holds where this one does not; None where axes count as a whole."""
    return None if test.over else test.changed(holds=not test.holds)


def tested(test: Node, holds: bool, axes: tuple[int, ...]) -> Need:
    """The need of what is chosen where a test holds, or where it does not."""
    if is_spread(test):
        return tested(test.operands[0], holds, tuple(axes[i] for i in test["axes"]))
    if is_not(test):
        return tested(test.operands[0], not holds, axes)
    if is_and(test) or is_or(test):
        parts = [tested(o, holds, axes if o.type.shape else ()) for o in test.operands]
        return reduce(both if is_and(test) == holds else either, parts)
    return frozenset({frozenset({Outcome(test, axes, holds)})})


# ---- from a node to what it reads --------------------------------------------------------------


def moved(need: Need, places: Places, like: TensorType) -> tuple[Need, bool]:
    """A need of a tensor of type `like` over other axes: axis i becomes axis `places[i]`, or counts
    as a whole where it has no place. True beside it where all axes have one."""
    joined = [together(term, places, like) for term in need]
    found = {t: _moved(t, places) for term in joined for t in term}
    exact = all(test.over == made.over for test, made in found.items())
    return shortest(frozenset(found[t] for t in term) for term in joined), exact


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
    return test.changed(axes=axes, over=tuple(sorted({*test.over, *gone})))


def asked(node: Node, slot: int, need: Need) -> tuple[Need, bool]:
    """Where an operand is needed by a node that is needed itself so; and whether that is exact."""
    if is_choice(node) and slot > 0:
        test = node.operands[0]
        axes = tuple(range(len(test.type.shape)))
        need = both(need, tested(test, slot == 1, axes))
    if need == ALWAYS:
        return ALWAYS, True
    places = places_of(node, slot)
    if places is None:
        return ALWAYS, False
    # a need has axes of a node's elements, but of a loop's examples
    return moved(need, places, examples(node) if is_scan(node) else node.type)


def examples(loop: Node) -> TensorType:
    """Whether each example needs a loop, as a tensor."""
    sizes = (o.type.size_of("batch") for o in loop.operands if "batch" in o.type.running)
    size = next(sizes, None)
    return scalar("bool") if size is None else TensorType((size,), ("batch",), "bool")


def places_of(node: Node, slot: int) -> Places | None:
    """Which axis of an operand each axis of the result is; None where nothing is known."""
    record = op_of(node)
    if record.places is not None:
        return record.places(node, slot)
    return same(node, slot) if record.is_("pointwise") else None


def everywhere(outputs: Mapping[Node, Need]) -> dict[Node, Need]:
    """Where each node is needed, given that of the outputs. Operands come before users."""
    order = ancestors(outputs)
    found: dict[Node, Need] = dict.fromkeys(order, NEVER) | dict(outputs)
    for node in reversed(order):
        for slot, operand in enumerate(node.operands):
            if found[operand] != ALWAYS:
                found[operand] = either(found[operand], asked(node, slot, found[node])[0])
    return found
