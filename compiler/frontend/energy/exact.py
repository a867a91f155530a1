"""Exact likelihoods of small machines, by adding up over all states of their units.

What a closed form says of a large machine can be checked here on a small one: nothing of it is
used, but for machines of which one side alone is small enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NoReturn

from dln.compiler.frontend.context import broadcasting
from dln.compiler.frontend.context.build_context import Build, Instance, Scope
from dln.compiler.frontend.context.unit_group import UnitGroup
from dln.compiler.frontend.context.values import IndexVar
from dln.compiler.frontend.energy import derivation, gibbs
from dln.compiler.frontend.energy.unit_values import Units, choice, sides, units_of
from dln.compiler.ir.graph import Node
from dln.compiler.ir.sizes import Size
from dln.compiler.ir.tensor_type import BINARY
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Span

MOST = 1 << 20  # states


def log_z(b: Build, expr: s.Call, scope: Scope) -> Node:
    """`log_z(R)`: the logarithm of the sum of exp(-E) over all states of all units."""
    if len(expr.arguments) != 1:
        b.fail("E322", f"log_z takes a machine, not {len(expr.arguments)} arguments", expr.span)
    first = expr.arguments[0]
    plain = None if isinstance(first, s.Named | s.Ranged) else first
    made = gibbs.machine(b, plain, scope, expr, "log_z")
    return partition(b, made, expr.span)


def log_likelihood(b: Build, expr: s.Call, scope: Scope) -> Node:
    """`log_likelihood(R, v)`: log p(v), the hidden units added up too."""
    plain = [a for a in expr.arguments if not isinstance(a, s.Named | s.Ranged)]
    made = gibbs.machine(b, plain[0] if plain else None, scope, expr, "log_likelihood")
    visible, hidden = sides(made)
    given = [(b.evaluate(a, scope), a.span) for a in plain[1:]]
    units = units_of(b, made, visible, given, expr.span, "log_likelihood")
    few = (states(b, hidden) or MOST + 1) <= MOST
    with b.call(expr.span, "log_likelihood") as inner:
        closed = derivation.free if not few else _enumerated
        up = closed(inner, made, units, expr.span)
        down = partition(inner, made, expr.span)
        make = inner.at(expr.span)
        return make.neg(make.add(*broadcasting.align(b, [up, down], expr.span)))


def _enumerated(b: Build, made: Instance, units: Units, span: Span) -> Node:
    return added_up(b, made, sides(made)[1], units, span)


def partition(b: Build, made: Instance, span: Span) -> Node:
    """log Z by all states of all units, or of one side where the other has a closed form."""
    visible, hidden = sides(made)
    for side in ([*visible, *hidden], visible, hidden):
        count = states(b, side)
        if count is not None and count <= MOST:
            rest = [g for g in (*visible, *hidden) if g not in side]
            if not rest:
                return b.at(span).neg(added_up(b, made, side, {}, span))
            units = {g.name: every(b, g, span) for g in side}
            part = derivation.summed_out(b, made, rest, units, span)
            return b.at(span).neg(_over(b, part, units, span))
    _too_large(b, made, [side for side in (visible, hidden) if not _any_real(side)], span)


def _any_real(groups: Sequence[UnitGroup]) -> bool:
    return any(g.domain.name == "real" for g in groups)


def _too_large(
    b: Build, made: Instance, sides: Sequence[Sequence[UnitGroup]], span: Span
) -> NoReturn:
    """Refuse to add up over the states of a machine; `sides` are those without real units."""
    if not sides:
        b.fail("E418", f"{made.path} has real units on both sides, and no states to add up over",
               span, "has no value")  # fmt: skip
    found = [states(b, side) for side in sides]
    counts = [n for n in found if n is not None]
    if len(counts) < len(found):
        b.fail("E418", f"the sizes of {made.path} are not known where its states are added up",
               span, "are open",
               remedy=f"{made.path}.free(v) before, for units of a known size")  # fmt: skip
    b.fail("E418", f"{made.path} is too large to add up over all its states", span,
           f"the smaller side has 2^{min(counts).bit_length() - 1} states",
           facts=("up to 20 units are added up over, on one side or in all",))  # fmt: skip


def states(b: Build, groups: Sequence[UnitGroup]) -> int | None:
    """How many states some groups have; None where a size is open, or a unit real."""
    counts = []
    for g in groups:
        sizes = [b.sizes.resolve(x).value for x in (*g.sizes, *((g.classes,) if g.classes else ()))]
        if g.domain.name == "real" or any(n is None for n in sizes):
            return None
        total = prod(n for n in sizes if n is not None)
        counts.append(total if g.classes is not None else 1 << min(total, 4096))
    return prod(counts)


def added_up(
    b: Build, made: Instance, groups: Sequence[UnitGroup], given: Units, span: Span
) -> Node:
    """-log(sum of exp(-E)) over all states of some groups, with no use of a closed form."""
    units = {g.name: every(b, g, span) for g in groups}
    return _over(b, derivation.energy(b, made, {**given, **units}, span), units, span)


def _over(b: Build, node: Node, units: Units, span: Span) -> Node:
    """The soft minimum over the states of some units, all at once."""
    axes = [v.axis if isinstance(v, IndexVar) else v.type.running[0] for v in units.values()]
    node = b.at(span)("running", node, running=node.type.running)
    for axis in axes:
        node = derivation.soft_minimum(b, node, axis, span)
    return node


def every(b: Build, group: UnitGroup, span: Span) -> Node | IndexVar:
    """All states of a group, over an axis of their own."""
    if group.classes is not None:
        return choice(b, group)
    shape = [b.sizes.resolve(x).constant for x in group.sizes]
    n = prod(shape)
    bits = b.at(span)("states", units=n)
    running = (f"{group.name}.{next(b.counter)}",)
    shaped = (Size(1 << n), *map(Size, shape))
    node = b.at(span)("reshape", bits, shape=shaped, running=running)
    return b.at(span)("asserted", node, domain=BINARY)
