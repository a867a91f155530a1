"""Energies: what a machine is, derived from one equation.

A block with an `energy` has groups of units: its ports are visible, `hidden` declares the rest.
With E the energy and g a group, everything follows by differentiating E:

    binary   p(g = 1 | others) = sigmoid(-dE/dg), and sum over g of exp(-E) = exp(-E(g = 0)) *
             prod(1 + exp(-dE/dg)), where dE/dg does not hold g
    real     a Gauss curve around -dE/dg(g = 0) / d with variance 1 / d, where d = d2E/dg2 holds no
             unit of g, and joins none to another
    class    softmax over -E, one value after the other

(Smolensky 1986; Hinton, Osindero and Teh 2006; Welling, Rosen-Zvi and Hinton 2005 for real and
class units.) `free` is F(v) = -log(sum over the hidden of exp(-E)).

Gradients are written out here and now: it is the way to see whether a group is gone from them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from dln.compiler.autodiff.reverse_mode import cotangents
from dln.compiler.frontend.context import broadcasting
from dln.compiler.frontend.context.build_context import Build, Instance, Scope, Value
from dln.compiler.frontend.context.place import replace
from dln.compiler.frontend.context.values import IndexVar
from dln.compiler.frontend.energy.groups import machine_of
from dln.compiler.frontend.energy.separability import Open, curvature, declared, joins_none
from dln.compiler.frontend.energy.unit_values import (
    Units,
    choice,
    lead_of,
    one_or_all,
    sides,
    units_of,
)
from dln.compiler.frontend.scan import preconditions
from dln.compiler.frontend.scan.equations import substituted
from dln.compiler.frontend.tensors.axes import axes_stop
from dln.compiler.ir.graph import Node, ancestors
from dln.compiler.ir.structure import is_input, number
from dln.compiler.ir.tensor_type import PROB, Kind, TensorType
from dln.compiler.ir.unit_group import UnitGroup
from dln.grammar import syntax as s
from dln.grammar.diagnostics import DlnError, Span

# ---- what is asked of a machine ----------------------------------------------------------------


def call(
    b: Build, made: Instance, verb: str, given: Sequence[tuple[Value, Span]], span: Span
) -> Value:
    """`R.up(v)`, `R.down(h)`, `R.free(v)`, `R.energy(v, h)`."""
    visible, hidden = sides(made)
    takes = {"up": visible, "free": visible, "down": hidden}.get(verb, [*visible, *hidden])
    time = replace(b.time, mapped=broadcasting.runs_over_time(b, [v for v, _ in given]))
    with replace(b, time=time).call(span, f"{made.name}.{verb}") as inner:
        units = units_of(inner, made, takes, given, span, f"{made.path}.{verb}")
        if verb == "energy":
            return energy(inner, made, units, span)
        if verb == "free":
            return free(inner, made, units, span)
        found = conditionals(inner, made, hidden if verb == "up" else visible, units, span)
        marked = {k: b.mark(mean, span, f"{made.path}.{k}") for k, (mean, _) in found.items()}
        if b.outside.trace is not None:
            b.outside.trace.gave(marked)
        return one_or_all(marked)


# ---- the energy itself -------------------------------------------------------------------------


def energy(b: Build, made: Instance, units: Units, span: Span) -> Node:
    """E for a value of every group: one number for each example."""
    key = (b.frame.version, *map(id, units.values()))
    if key not in made.memo:
        made.memo[key] = (_energy(b, made, units), list(units.values()))
    found, _ = made.memo[key]
    assert isinstance(found, Node)
    return found


def _energy(b: Build, made: Instance, units: Units) -> Node:
    b.built.met.add(id(made.definition.syntax))
    body, st = made.scope.child(), machine_of(made.definition.syntax)
    assert st is not None
    body.owner = made
    for group in made.groups:
        body.value(group.name, units[group.name], group.span)
    b.bind(made.definition.syntax.body, body)
    if b.frame not in made.bodies or not any(map(unknown, units.values())):
        made.bodies[b.frame] = made.last = body
    try:
        value = b.evaluate(st.value, body)
    except DlnError:
        _refuse_products(b, st.value, body)
        raise
    preconditions.ask(b, body)
    node = broadcasting.quantity(b, value, st.value.span)
    if node.type.example:
        _refuse_products(b, st.value, body)
        b.fail("E410", "an energy is one number for each example", st.value.span,
               f"is {b.shown(node.type)}", remedy=_summed(b, st.value, body),
               facts=("so is each of its terms: a sum of products is written @",))  # fmt: skip
    _holds_all(b, made, units, body, node, st.span)
    return b.mark(node, st.span, f"{made.path}.energy")


def _summed(b: Build, energy: s.Expr, body: Scope) -> str:
    """The sum of an energy, none of whose terms is one number already."""

    def single(e: s.Syntax) -> bool:
        if isinstance(e, s.Group | s.Unary):
            return single(e.body)
        if isinstance(e, s.Binary) and e.op in "+-":
            return single(e.left) or single(e.right)
        return not broadcasting.quantity(b, b.evaluate(e, body), e.span).type.example

    return "" if single(energy) else f"sum({broadcasting.whole_text(energy.span.text)})"


def _refuse_products(b: Build, expr: s.Syntax, body: Scope) -> None:
    """`a * v` among the terms of an energy, of two vectors: each term is one number."""
    if isinstance(expr, s.Call):
        return
    if isinstance(expr, s.Binary) and expr.op == "*":
        sides = [b.evaluate(e, body) for e in (expr.left, expr.right)]
        shapes = [[*map(b.resolve, x.type.example)] for x in sides if isinstance(x, Node)]
        if len(shapes) == 2 and shapes[0] == shapes[1] and len(shapes[0]) == 1:
            texts = (broadcasting.whole_text(e.span.text) for e in (expr.left, expr.right))
            label = f"is [{shapes[0][0]}]"
            text = "each term of an energy is one number: a sum of products is written @"
            b.fail("E410", text, expr.span, label, remedy=" @ ".join(texts))
    for part in expr.children():
        _refuse_products(b, part, body)


def _holds_all(b: Build, made: Instance, units: Units, body: Scope, node: Node, span: Span) -> None:
    """Every group takes part in the energy; one that does not is a slip of the pen. Of an index
    over a class, whose axis other units have too, it is asked whether anything has named it."""
    inside = set(ancestors([node]))
    for group in made.groups:
        value = units[group.name]
        named = isinstance(value, IndexVar) and body.names[group.name].cache
        if named or value in inside:
            continue
        message = f"the energy of {made.name} does not depend on {group.name}"
        b.fail("E414", message, span, f"holds no {group.name}", declared(group))


def unknown(value: Value) -> bool:
    """Whether a value is a symbol for unknown units, or an index over a class."""
    symbol = isinstance(value, Node) and is_input(value) and "?" in value["name"]
    return symbol or isinstance(value, IndexVar)


def needs_unknown(value: Value) -> bool:
    """Whether a value is made of unknown units, and so none at all."""
    return isinstance(value, Node) and any(map(unknown, ancestors([value])))


# ---- unknown units -----------------------------------------------------------------------------


def opened(
    b: Build, made: Instance, unknown: Sequence[UnitGroup], units: Units, span: Span
) -> Open:
    """The energy over unknown groups, differentiated by each. They must not join one another."""
    lead = lead_of(b, units, span)
    symbols = {g.name: _symbol(b, g, lead) for g in unknown}
    node = energy(b, made, {**units, **symbols}, span)
    wanted = {g.name: symbols[g.name] for g in unknown if g.classes is None}
    whole = broadcasting.spread(b, node, lead, span) if lead.shape else node
    bars = cotangents(b.graph, b.at(span).neg(whole), wanted.values())
    pulls = {k: bars.get(x) or b.at(span).zeros(x.type) for k, x in wanted.items()}
    found = Open(node, symbols, pulls)
    for group in unknown:
        if group.classes is None:
            joins_none(b, group, unknown, found, span)
    return found


def _symbol(b: Build, group: UnitGroup, lead: TensorType) -> Node:
    """A source that stands for unknown units; none is left when the derivation is done."""
    name = f"{group.name}?{next(b.counter)}"
    kind: Kind = "real" if group.classes is None else "index"
    type = TensorType((*lead.shape, *group.sizes), lead.running, kind, group.domain)
    return b.mark(b.at(group.span)("input", name=name, type=type), group.span, group.name)


def at_zero(b: Build, node: Node, symbols: Mapping[str, Node]) -> Node:
    """A value where the unknown units are off; of a class the first value is taken."""
    zeros = {}
    for x in symbols.values():
        if x.type.kind == "index":
            first = b.make.broadcast(b.make.const(0, "index"), x.type, ())
            zeros[x] = b.make("asserted", first, domain=x.type.domain)
        else:
            zeros[x] = b.make.zeros(x.type)
    return substituted(b, node, zeros)


# ---- conditionals ------------------------------------------------------------------------------


def conditionals(
    b: Build, made: Instance, wanted: Sequence[UnitGroup], units: Units, span: Span
) -> dict[str, tuple[Node, Node | None]]:
    """The conditional mean of each group of one side, given the other: probabilities of binary
    units and of the values of a class, the mean of real units with their standard deviation."""
    found, out = opened(b, made, wanted, units, span), dict[str, tuple[Node, Node | None]]()
    make = b.at(span)
    for group in wanted:
        if group.classes is not None:
            out[group.name] = _class_mean(b, made, group, wanted, units, span), None
        elif group.domain.name == "binary":
            out[group.name] = make("sigmoid", found.pulls[group.name]), None
        else:
            pull, bend = gauss(b, group, found, span)
            out[group.name] = make.div(pull, bend), make("sqrt", make("reciprocal", bend))
    return out


def gauss(b: Build, group: UnitGroup, found: Open, span: Span) -> tuple[Node, Node]:
    """The pull on real units where they are 0, and the curvature of the energy."""
    pull = found.pulls[group.name]
    bend = curvature(b, pull, found.symbols[group.name], span)
    known = number(bend)
    if known is not None and known <= 0:
        square = "a square" if known == 0 else "a positive square"
        b.fail("E413", f"no Gibbs step for {group.name}: the energy is not quadratic in it",
               group.span, "is real", facts=(f"without {square} its units have no bound",),
               remedy=f"energy = sum({group.name}^2) / 2 - ...")  # fmt: skip
    return at_zero(b, pull, found.symbols), bend


def _class_mean(
    b: Build, made: Instance, group: UnitGroup, side: Sequence[UnitGroup], units: Units, span: Span
) -> Node:
    """softmax(-E) over the values of a class; other groups of its side do not matter."""
    index, others = choice(b, group), [g for g in side if g is not group]
    lead = lead_of(b, {**units, group.name: index}, span)
    symbols = {g.name: _symbol(b, g, lead) for g in others}
    node = energy(b, made, {**units, **symbols, group.name: index}, span)
    scores = axes_stop(b, b.at(span).neg(at_zero(b, node, symbols)), [index], span)
    rest = lead_of(b, units, span)
    like = TensorType((*rest.shape, index.size), rest.running)
    scores = broadcasting.spread(b, scores, like, span)
    last, make = len(scores.type.shape) - 1, b.at(span)
    top = make("exp", scores)
    total = make.broadcast(make.sum(top, (last,)), top.type, tuple(range(last)))
    return make("asserted", make.div(top, total), domain=PROB)


# ---- groups summed out -------------------------------------------------------------------------


def free(b: Build, made: Instance, units: Units, span: Span) -> Node:
    """The free energy of the visible groups: -log(sum over the hidden of exp(-E))."""
    return summed_out(b, made, sides(made)[1], units, span)


def summed_out(
    b: Build, made: Instance, out: Sequence[UnitGroup], units: Units, span: Span
) -> Node:
    """-log(sum of exp(-E)) over some groups, in closed form for binary and real units given the
    values of classes, and over those one by one."""
    choices = {g.name: choice(b, g) for g in out if g.classes is not None}
    rest = [g for g in out if g.classes is None]
    found = opened(b, made, rest, {**units, **choices}, span)
    total = at_zero(b, found.energy, found.symbols)
    for group in rest:
        terms = [total, _log_sum(b, group, found, span)]
        total = b.at(span).add(*broadcasting.align(b, terms, span))
    for index in choices.values():
        total = soft_minimum(b, total, index.axis, span)
    return b.mark(total, span, f"{made.path}.free")


def _log_sum(b: Build, group: UnitGroup, found: Open, span: Span) -> Node:
    """What summing a group out adds to the energy where it is off."""
    lead, make = len(found.symbols[group.name].type.running), b.at(span)
    if group.domain.name == "binary":
        each = make("softplus", found.pulls[group.name])
        return make.neg(make.sum(each, range(lead, len(each.type.shape))))
    pull, bend = gauss(b, group, found, span)
    square = make.div(make("square", pull), make.scale(bend, 2.0))
    width = make.scale(make("log", make.scale(bend, 1 / (2 * math.pi))), 0.5)
    return make.sum(make.sub(width, square), range(lead, len(pull.type.shape)))


def soft_minimum(b: Build, node: Node, axis: str, span: Span) -> Node:
    """-log(sum(exp(-e))) over a running axis."""
    make = b.at(span)
    at = node.type.running.index(axis)
    return make.neg(make("log", make.sum(make("exp", make.neg(node)), (at,))))
