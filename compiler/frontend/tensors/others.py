"""The other examples of a minibatch: `sum(k in batch: exp(p @ q[k]))`, `max(k in others: q[k])`.

While `k` is bound, `q[k]` is what q is of example k, and q alone what it is of the example at hand.
The axis of the examples gets another name, so that a value runs over the examples twice: over those
at hand, and over those that they are held against. `others` are all but the one at hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeGuard

from dln.compiler.frontend.context import broadcasting, counting, lengths
from dln.compiler.frontend.context.build_context import Build, Scope, Value
from dln.compiler.frontend.context.values import IndexForm, IndexVar
from dln.compiler.frontend.tensors import reductions
from dln.compiler.ir.graph import Node
from dln.compiler.ir.sizes import BATCH_SIZE
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Span

RANGES = ("batch", "others")
"""What an index over examples may run over, unless the spec uses the name for something else."""


def bound(arg: s.Arg, axis: str, scope: Scope) -> IndexVar | None:
    """The index that `k in batch` or `k in others` binds; None for any other range."""
    if not isinstance(arg, s.Ranged) or not _over(arg, scope):
        return None
    return IndexVar(arg.name, axis, BATCH_SIZE, reduced=True, examples=True)


def _over(arg: s.Ranged, scope: Scope) -> str:
    """Which examples an index runs over; nothing of one that runs over something else."""
    name = arg.range.id if isinstance(arg.range, s.Name) else ""
    return name if name in RANGES and scope.lookup(name) is None else ""


def apart(arg: s.Arg, scope: Scope) -> bool:
    """Whether an index runs over the other examples alone."""
    return isinstance(arg, s.Ranged) and _over(arg, scope) == "others"


def reduced(
    b: Build, name: str, node: Node, axes: Sequence[str], apart: Sequence[str], span: Span
) -> Node:
    """A reduction over running axes, of which those `apart` leave out the example at hand. Of one
    example that has no others a sum, mean or extreme is 0."""
    for axis in apart:
        node = _left_out(b, node, axis, reductions.OUTSIDE.get(name, 0.0), span)
    made = reductions.reduce(b, name, node, axes, span)
    make, n = b.at(span), b.at(span).size(BATCH_SIZE)
    for _ in apart:
        rest = make.sub(n, make.const(1.0))
        if name == "mean":
            made = make.mul(made, make.div(n, make("maximum", rest, make.const(1.0))))
        elif name in ("max", "min"):
            some = make("gt", rest, make.const(0.0))
            made = make("where", make.broadcast(some, made.type, ()), made, make.const(0.0))
    return made


def _left_out(b: Build, node: Node, axis: str, value: float, span: Span) -> Node:
    """A value in place of what a tensor is where an axis has the example at hand."""
    make = b.at(span)
    own, other = (counting.places(make, BATCH_SIZE, a) for a in ("batch", axis))
    lead = broadcasting.lead_of(b, [own, other, node], span)
    like = node.type.like(shape=(*lead.shape, *node.type.example), running=lead.running)
    own, other, node = (broadcasting.spread(b, n, like, span) for n in (own, other, node))
    return make("where", make("eq", own, other), make.const(value), node)


def is_other(value: Value) -> TypeGuard[IndexVar]:
    """Whether a value is an index over the examples."""
    return isinstance(value, IndexVar) and value.examples


def refuse_shifted(b: Build, value: Value, span: Span) -> None:
    """`q[k+1]`: the examples stand in no order that means anything."""
    if isinstance(value, IndexForm) and any(is_other(i) for i, _ in value.terms):
        text = "examples of a minibatch have no neighbours: their order is by chance"
        name = next(i.name for i, _ in value.terms if is_other(i))
        b.fail("E423", text, span, "looks beside an example", remedy=name)


def refuse_later(b: Build, index: IndexVar, span: Span) -> None:
    """`W[k]` of a tensor that every example has alike, or k behind another index."""
    text = f"{index.name} says which example of the minibatch is meant"
    fact = f"it comes first in the brackets, as in q[{index.name}, 2]"
    b.fail("E423", text, span, "stands where an entry is meant", facts=(fact,))


def of(b: Build, node: Node, index: IndexVar, expr: s.Index) -> Node:
    """What a tensor is of the example that an index, the first in the brackets, names."""
    type, span = node.type, expr.indices[0].span
    said = broadcasting.short(expr.body.span.text)
    alone = len(expr.indices) == 1
    at, remedy = (expr.span, said) if alone else (span, "")
    if b.frame.alone:
        text = f"{said} holds the examples of a minibatch against one another"
        fact = "it has a value in phases, and in their watches and checks"
        b.fail("E423", text, span, "a call from Python has no minibatch", facts=(fact,))
    if index.axis in type.running:
        text = f"{said} has a value for each {index.name} already"
        b.fail("E423", text, at, f"names {index.name} again", remedy=remedy)
    if "batch" not in type.running:
        text = f"{said} is the same for all examples"
        label = f"asks for that of example {index.name}"
        label = label if b.frame.batched else "there is no minibatch here"
        b.fail("E423", text, at, label, remedy=remedy)
    if lengths.uneven(b, type):
        text = f"{said} has a length of its own for each example"
        fact = "two examples are held against each other by what is made of each, as last(h)"
        b.fail("E423", text, span, "is of another length", facts=(fact,))
    place = type.running.index("batch")
    rest = [i for i in range(len(type.running)) if i != place]
    order = [*rest, place, *range(len(type.running), len(type.shape))]
    running = (*(type.running[i] for i in rest), index.axis)
    return b.at(span)("running", broadcasting.ordered(b, node, order, span), running=running)
