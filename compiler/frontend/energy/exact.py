"""Exact likelihoods of small machines, by adding up over all states of their units.

What a closed form says of a large machine can be checked here on a small one: nothing of it is
used, but for machines of which one side alone is small enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from dln.compiler.frontend.context import broadcasting
from dln.compiler.frontend.context.build_context import Build, Instance, Scope
from dln.compiler.frontend.context.values import IndexVar
from dln.compiler.frontend.energy import derivation, gibbs
from dln.compiler.frontend.energy.unit_values import Units, choice, sides, units_of
from dln.compiler.ir.graph import Node
from dln.compiler.ir.sizes import Size
from dln.compiler.ir.tensor_type import BINARY, IndexAxis
from dln.compiler.ir.unit_group import UnitGroup
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Span

MOST = 1 << 20  # states


def log_z(b: Build, expr: s.Call, scope: Scope) -> Node:
    """`log_z(R)`: the logarithm of the sum of exp(-E) over all states of all units."""
    if len(expr.arguments) != 1:
        b.fail("E322", f"log_z takes a machine, not {len(expr.arguments)} arguments", expr.span)
    return partition(b, gibbs.machine(b, expr, scope, "log_z"), expr.span)


def log_likelihood(b: Build, expr: s.Call, scope: Scope) -> Node:
    """`log_likelihood(R, v)`: log p(v), the hidden units added up too."""
    made, span = gibbs.machine(b, expr, scope, "log_likelihood"), expr.span
    visible, hidden = sides(made)
    given = [(b.evaluate(a, scope), a.span) for a in expr.plain[1:]]
    units = units_of(b, made, visible, given, span, "log_likelihood")
    with b.call(span, "log_likelihood") as inner:
        if few(b, hidden):
            up = added_up(inner, made, hidden, units, span)
        else:
            up = derivation.free(inner, made, units, span)
        terms = broadcasting.align(b, [up, partition(inner, made, span)], span)
        return inner.at(span).neg(inner.at(span).add(*terms))


def partition(b: Build, made: Instance, span: Span) -> Node:
    """log Z by all states of all units, or of one side where the other has a closed form."""
    visible, hidden = sides(made)
    for side in ([*visible, *hidden], visible, hidden):
        if few(b, side):
            rest = [g for g in (*visible, *hidden) if g not in side]
            if not rest:
                return b.at(span).neg(added_up(b, made, side, {}, span))
            units = {g.name: every(b, g, span) for g in side}
            part = derivation.summed_out(b, made, rest, units, span)
            return b.at(span).neg(_over(b, part, units, span))
    countable = [s for s in (visible, hidden) if all(g.domain.name != "real" for g in s)]
    if not countable:
        b.fail("E418", f"{made.path} has real units on both sides, and no states to add up over",
               span, "has no value")  # fmt: skip
    found = [states(b, side) for side in countable]
    counts = [n for n in found if n is not None]
    if len(counts) < len(found):
        b.fail("E418", f"the sizes of {made.path} are not known where its states are added up",
               span, "are open",
               remedy=f"{made.path}.free(v) before, for units of a known size")  # fmt: skip
    b.fail("E418", f"{made.path} is too large to add up over all its states", span,
           f"the smaller side has 2^{min(counts).bit_length() - 1} states",
           facts=("up to 20 units are added up over, on one side or in all",))  # fmt: skip


def few(b: Build, groups: Sequence[UnitGroup]) -> bool:
    """Whether some groups have so few states that these are added up over."""
    count = states(b, groups)
    return count is not None and count <= MOST


def states(b: Build, groups: Sequence[UnitGroup]) -> int | None:
    """How many states some groups have; None where a size is open, or a unit real."""
    counts = []
    for g in groups:
        sizes = [b.number(x) for x in (*g.sizes, *((g.classes,) if g.classes else ()))]
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


def _over(b: Build, node: Node, units: Mapping[str, Node | IndexVar], span: Span) -> Node:
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
    running = (IndexAxis(group.name, next(b.counter)),)
    shaped = (Size(1 << n), *map(Size, shape))
    node = b.at(span)("reshape", bits, shape=shaped, running=running)
    return b.at(span)("asserted", node, domain=BINARY)
