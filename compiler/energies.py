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
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from dln.compiler import tensors
from dln.compiler.axes import axes_stop
from dln.compiler.differentiate import cotangents
from dln.compiler.equations import bind_statements
from dln.compiler.graph import Node, ancestors
from dln.compiler.machines import Group, groups_of, machine_of
from dln.compiler.op import Make, op_of
from dln.compiler.ports import fit
from dln.compiler.state import Build
from dln.compiler.statics import want_domain
from dln.compiler.tensor import PROB, TensorType, fits
from dln.compiler.values import IndexVar, Instance, Record, Value
from dln.grammar.diagnostics import Note, Span

Units = dict[str, Value]  # a value for each group: a tensor, or an index that runs over a class


# ---- what is asked of a machine ----------------------------------------------------------------


def call(
    b: Build, made: Instance, verb: str, given: Sequence[tuple[Value, Span]], span: Span
) -> Value:
    """`R.up(v)`, `R.down(h)`, `R.free(v)`, `R.energy(v, h)`."""
    visible, hidden = sides(made)
    takes = {"up": visible, "free": visible, "down": hidden}.get(verb, [*visible, *hidden])
    with b.call(span, f"{made.name}.{verb}"), b.within(mapped=_maps_time(given)):
        units = units_of(b, made, takes, given, span, f"{made.path}.{verb}")
        if verb == "energy":
            return energy(b, made, units, span)
        if verb == "free":
            return free(b, made, units, span)
        return one_or_all(means(b, made, hidden if verb == "up" else visible, units, span))


def _maps_time(given: Sequence[tuple[Value, Span]]) -> bool:
    return any(isinstance(v, Node) and "time" in v.type.running for v, _ in given)


def sides(made: Instance) -> tuple[list[Group], list[Group]]:
    """The visible and the hidden groups."""
    found = groups_of(made)
    return [g for g in found if not g.hidden], [g for g in found if g.hidden]


def one_or_all(values: Mapping[str, Node]) -> Value:
    """The value of the only group, or those of all by name."""
    return next(iter(values.values())) if len(values) == 1 else Record(values)


def units_of(
    b: Build,
    made: Instance,
    takes: Sequence[Group],
    given: Sequence[tuple[Value, Span]],
    span: Span,
    who: str,
) -> Units:
    """The given values as units of these groups, in order."""
    if len(given) != len(takes):
        names = ", ".join(g.name for g in takes)
        many = "s" * (len(takes) > 1)
        b.fail("E322", f"{who} takes the group{many} {names} of {made.name}", span,
               f"is given {len(given)}")  # fmt: skip
    pairs = zip(takes, given, strict=True)
    return {g.name: as_units(b, g, value, at, who) for g, (value, at) in pairs}


def as_units(b: Build, group: Group, value: Value, at: Span, who: str) -> Value:
    """A value of one group. Probabilities may stand for binary units: their mean."""
    if group.classes is not None:
        return _as_class(b, group, value, at, who)
    node = tensors.quantity(b, tensors.as_tensor(b, value, at, group.name), at)
    fit(b, node, (), group.sizes, at, f"{who} takes {group.text}", group.span)
    if group.domain.name == "binary" and (fits(node.type.domain, PROB) or _is_share(value)):
        return node
    return want_domain(b, node, group.domain, at, who)


def _is_share(value: Value) -> bool:
    """Whether a value is a number from 0 to 1, or a list of such."""
    if isinstance(value, list):
        return all(map(_is_share, value))
    return isinstance(value, int | float) and 0 <= value <= 1


def _as_class(b: Build, group: Group, value: Value, at: Span, who: str) -> Value:
    """A class: a tensor of classes, an index bound outside, or its number."""
    assert group.classes is not None
    if isinstance(value, IndexVar):
        tensors.equal(b, value.size, group.classes, at, f"{value.name} runs over {group.text}")
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        known = b.sizes.resolve(group.classes).value
        if value != int(value) or value < 0 or (known is not None and value >= known):
            last = "" if known is None else f", 0 to {known - 1}"
            b.fail("E208", f"{group.name} is a class{last}", at, f"is {value:g}")
        plain = b.at(at).const(int(value), "index")
        return b.make("asserted", plain, domain=group.domain)
    node = tensors.as_tensor(b, value, at, group.name)
    fit(b, node, (), group.sizes, at, f"{who} takes {group.text}", group.span)
    return want_domain(b, node, group.domain, at, who)


# ---- the energy itself -------------------------------------------------------------------------


def energy(b: Build, made: Instance, units: Units, span: Span) -> Node:
    """E for a value of every group: one number for each example."""
    key = (b.frame.version, *map(id, units.values()))
    if key not in made.memo:
        made.memo[key] = (_energy(b, made, units), list(units.values()))
    found: Node = made.memo[key][0]
    return found


def _energy(b: Build, made: Instance, units: Units) -> Node:
    body, st = made.scope.child(), machine_of(made.definition.syntax)
    assert st is not None
    body.owner = made
    for group in groups_of(made):
        body.value(group.name, units[group.name], group.span)
    bind_statements(b, made.definition.syntax.body, body)
    if b.frame not in made.bodies or not any(map(unknown, units.values())):
        made.bodies[b.frame] = made.last = body
    value = b.evaluate(st.value, body)
    node = tensors.quantity(b, tensors.as_tensor(b, value, st.value.span), st.value.span)
    if node.type.example:
        remedy = f"sum({tensors.short(st.value.span.text)})"
        b.fail("E410", "an energy is one number for each example", st.value.span,
               f"is {b.shown(node.type)}", remedy=remedy)  # fmt: skip
    _holds_all(b, made, units, node, st.span)
    return b.mark(node, st.span, f"{made.path}.energy")


def _holds_all(b: Build, made: Instance, units: Units, node: Node, span: Span) -> None:
    """Every group takes part in the energy; one that does not is a slip of the pen."""
    inside = set(ancestors([node]))
    for group in groups_of(made):
        value = units[group.name]
        if value in inside or (isinstance(value, IndexVar) and value.axis in node.type.running):
            continue
        message = f"the energy of {made.name} does not depend on {group.name}"
        notes = (Note(group.span, f"{group.name} is declared here"),)
        b.fail("E414", message, span, f"holds no {group.name}", notes)


def unknown(value: Value) -> bool:
    """Whether a value is a symbol for unknown units, or an index over a class."""
    symbol = isinstance(value, Node) and value.op == "input" and "?" in value["name"]
    return symbol or isinstance(value, IndexVar)


def needs_unknown(value: Value) -> bool:
    """Whether a value is made of unknown units, and so none at all."""
    return isinstance(value, Node) and any(map(unknown, ancestors([value])))


# ---- unknown units -----------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Open:
    """The energy with some groups unknown: a `symbol` for each of them, and the pull on its units,
    -dE/dg (for all but classes)."""

    energy: Node
    symbols: Mapping[str, Node]
    pulls: Mapping[str, Node]


def opened(
    b: Build, made: Instance, unknown: Sequence[Group], units: Units, span: Span, apart: bool = True
) -> Open:
    """The energy over unknown groups, differentiated by each. They must not join one another; with
    `apart` that includes classes."""
    lead = lead_of(b, units, span)
    symbols = {g.name: _symbol(b, g, lead) for g in unknown}
    node = energy(b, made, {**units, **symbols}, span)
    wanted = {g.name: symbols[g.name] for g in unknown if g.classes is None}
    whole = b.make.neg(_spread(b, node, lead, span))
    bars = cotangents(b.graph, whole, wanted.values())
    pulls = {k: bars.get(x) or b.make.zeros(x.type) for k, x in wanted.items()}
    for group in unknown:
        if group.classes is None:
            _joins_none(b, group, unknown, Open(node, symbols, pulls), span, apart)
    return Open(node, symbols, pulls)


def lead_of(b: Build, units: Units, span: Span) -> TensorType:
    """The axes over which the given units run."""
    nodes = [v for v in units.values() if isinstance(v, Node)]
    running = tensors.running_union(nodes)
    sizes = tensors.lead_sizes(b, nodes, running, span)
    for v in units.values():
        if isinstance(v, IndexVar) and v.axis not in running:
            running, sizes = (*running, v.axis), [*sizes, v.size]
    return TensorType(tuple(sizes), running)


def _symbol(b: Build, group: Group, lead: TensorType) -> Node:
    """A source that stands for unknown units; none is left when the derivation is done."""
    name = f"{group.name}?{next(b.counter)}"
    kind: Any = "real" if group.classes is None else "index"
    type = TensorType((*lead.shape, *group.sizes), lead.running, kind, group.domain)
    return b.mark(b.at(group.span)("input", name=name, type=type), group.span, group.name)


def _spread(b: Build, node: Node, lead: TensorType, span: Span) -> Node:
    """An energy over all axes of the units, so that each gets a pull of its own."""
    return tensors.spread(b, node, lead, span) if lead.shape and node.type.shape else node


def substituted(b: Build, node: Node, to: Mapping[Node, Node]) -> Node:
    """A value with other nodes in place of some."""
    new = dict(to)
    for n in ancestors([node]):
        if n not in new:
            operands = [new.get(o, o) for o in n.operands]
            if any(o is not p for o, p in zip(operands, n.operands, strict=True)):
                new[n] = Make(b.graph, b.graph.spans.get(n, ()))(n.op, *operands, **n.attrs)
    return new.get(node, node)


def at_zero(b: Build, node: Node, symbols: Mapping[str, Node]) -> Node:
    """A value where the unknown units are off; of a class the first value is taken."""
    zeros = {}
    for x in symbols.values():
        zero = b.make.zeros(x.type)
        if x.type.kind == "index":
            flat = b.make.const(0, "index")
            zero = b.make(
                "broadcast", flat, axes=(), shape=x.type.shape, running=x.type.running
            )  # fmt: skip
            zero = b.make("asserted", zero, domain=x.type.domain)
        zeros[x] = zero
    return substituted(b, node, zeros)


# ---- restrictions ------------------------------------------------------------------------------


def _joins_none(
    b: Build,
    group: Group,
    unknown: Sequence[Group],
    found: Open,
    span: Span,
    apart: bool,
) -> None:
    """Refuse an energy that joins units of a group with one another, or two groups of one side."""
    pull, inside = found.pulls[group.name], set(ancestors([found.pulls[group.name]]))
    for other in unknown:
        if found.symbols[other.name] not in inside or (other.classes is not None and not apart):
            continue
        if other is group and group.domain.name == "real":
            _quadratic(b, group, found, pull, span)
        else:
            _refuse(b, group, other, found)


def _quadratic(b: Build, group: Group, found: Open, pull: Node, span: Span) -> None:
    """The energy of real units is quadratic, and joins none of them with another."""
    symbol = found.symbols[group.name]
    for n in _through(pull, symbol):
        if not _each_alone(n, symbol):
            _refuse_joined(b, group, found, n)
    if symbol in ancestors([curvature(b, pull, symbol, span)]):
        place = _place(b, _culprits(b, pull, symbol, symbol))
        notes = (Note(group.span, f"{group.name} is declared here"),)
        b.fail("E413", f"no Gibbs step for {group.name}: the energy is not quadratic in it", place,
               "is no square", notes,
               facts=("real units need a Gauss curve: squares, and nothing higher",))  # fmt: skip


def _each_alone(node: Node, symbol: Node) -> bool:
    """Whether an operation takes the units one by one, each to its own place."""
    if node.op == "contract":  # v @ v gives its pull as a product with a number
        sides = (node["left"], node["right"])
        pairs = zip(node.operands, sides, strict=True)
        return all(labels == node["out"] for o, labels in pairs if _depends(o, symbol))
    alone = op_of(node).is_("pointwise") or node.op in ("asserted", "running", "broadcast")
    deep = len(symbol.type.shape)
    ranks = [len(n.type.shape) for n in (node, *node.operands) if n.type.shape]
    return alone and all(rank == deep for rank in ranks)


def _mixed(node: Node, symbol: Node) -> bool:
    """Whether an operation takes what is made of several units."""
    return any(not _each_alone(m, symbol) for o in node.operands for m in _through(o, symbol))


def curvature(b: Build, pull: Node, symbol: Node, span: Span) -> Node:
    """The second derivative of an energy by each unit of its own."""
    lead = len(symbol.type.running)
    total = b.make.neg(b.at(span).sum(pull, range(lead, len(pull.type.shape))))
    return cotangents(b.graph, total, [symbol]).get(symbol) or b.make.zeros(symbol.type)


def _refuse(b: Build, group: Group, other: Group, found: Open) -> NoReturn:
    """Refuse an energy whose derivative by one group holds a group of its own side."""
    notes = (Note(group.span, f"{group.name} is declared here"),)
    symbol, held = found.symbols[group.name], found.symbols[other.name]
    guilty = _culprits(b, found.energy, symbol, held) or [found.energy]
    if other is not group:
        side = "hidden" if group.hidden else "visible"
        message = f"no Gibbs step for {group.name} without {other.name}: the energy joins them"
        fact = f"a restricted machine has no links between its {side} groups"
        label = f"joins {group.name} with {other.name}"
        b.fail("E412", message, _place(b, guilty), label, notes, facts=(fact,))
    if _mixed(guilty[0], symbol):
        _refuse_joined(b, group, found, guilty[0])
    message = f"no Gibbs step for {group.name}: the energy is not linear in {group.name}"
    fact = "binary units stand in products with what is outside of their group"
    b.fail("E412", message, _place(b, guilty), f"is not linear in {group.name}", notes,
           facts=(fact,))  # fmt: skip


def _refuse_joined(b: Build, group: Group, found: Open, node: Node) -> NoReturn:
    """Refuse an energy with links inside a group: where they are, or else at a node of the pull."""
    symbol = found.symbols[group.name]
    guilty = [n for n in _culprits(b, found.energy, symbol, symbol) if _mixed(n, symbol)]
    how = f"is not linear in {group.name}" if group.domain.name != "real" else "joins its units"
    notes = (Note(group.span, f"{group.name} is declared here"),)
    b.fail("E412", f"no Gibbs step for {group.name}: the energy {how}", _place(b, guilty or [node]),
           f"joins units of {group.name} with one another", notes,
           facts=("a restricted machine has no links inside a group",))  # fmt: skip


def _depends(node: Node, symbol: Node) -> bool:
    return symbol in ancestors([node])


def _through(node: Node, symbol: Node) -> list[Node]:
    """The nodes on the way from a symbol to a value."""
    reached, found = {symbol}, []
    for n in ancestors([node]):
        if any(o in reached for o in n.operands):
            reached.add(n)
            found.append(n)
    return found


def _culprits(b: Build, node: Node, symbol: Node, held: Node) -> list[Node]:
    """The operations whose own derivative on the way from a symbol still holds one, the first of
    them first."""
    found = []
    for n in _through(node, symbol):
        bar = b.graph.add("input", (), n.type, name=f"bar?{next(b.counter)}", type=n.type)
        rows = op_of(n).gradient(Make(b.graph), n, bar)
        for operand, row in zip(n.operands, rows, strict=True):
            if row is not None and _depends(operand, symbol) and _depends(row, held):
                found.append(n)
                break
    return found


def _place(b: Build, nodes: Sequence[Node]) -> Span | None:
    spans = [b.graph.spans.get(n, ()) for n in nodes]
    return next((at[-1] for at in spans if at), None)


# ---- conditionals ------------------------------------------------------------------------------


def means(
    b: Build, made: Instance, wanted: Sequence[Group], units: Units, span: Span
) -> dict[str, Node]:
    """The conditional mean of each group of one side, given the other: probabilities of binary
    units and of the values of a class, the mean of real units."""
    found = conditionals(b, made, wanted, units, span)
    return {k: b.mark(mean, span, f"{made.path}.{k}") for k, (mean, _) in found.items()}


def conditionals(
    b: Build, made: Instance, wanted: Sequence[Group], units: Units, span: Span
) -> dict[str, tuple[Node, Node | None]]:
    """The conditional means, for real units with the standard deviation."""
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


def gauss(b: Build, group: Group, found: Open, span: Span) -> tuple[Node, Node]:
    """The pull on real units where they are 0, and the curvature of the energy."""
    pull = found.pulls[group.name]
    bend = curvature(b, pull, found.symbols[group.name], span)
    known = _number(bend)
    if known is not None and known <= 0:
        square = "a square" if known == 0 else "a positive square"
        b.fail("E413", f"no Gibbs step for {group.name}: the energy is not quadratic in it",
               group.span, "is real", facts=(f"without {square} its units have no bound",),
               remedy=f"energy = sum({group.name}^2) / 2 - ...")  # fmt: skip
    return at_zero(b, pull, found.symbols), bend


ARITHMETIC: dict[str, Callable[..., float]] = {
    "neg": operator.neg,
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
}


def _number(node: Node) -> float | None:
    """The number that a curvature is everywhere, None where it is no plain number."""
    if node.op == "const":
        return float(node["value"]) if isinstance(node["value"], int | float) else None
    parts = [_number(o) for o in node.operands]
    if node.op in ("broadcast", "asserted", "running") and parts:
        return parts[0]
    if node.op not in ARITHMETIC or None in parts:
        return None
    return ARITHMETIC[node.op](*parts)


def _class_mean(
    b: Build, made: Instance, group: Group, wanted: Sequence[Group], units: Units, span: Span
) -> Node:
    """softmax(-E) over the values of a class; other groups of its side do not matter."""
    index = choice(b, group)
    others = [g for g in wanted if g is not group]
    lead = lead_of(b, {**units, group.name: index}, span)
    symbols = {g.name: _symbol(b, g, lead) for g in others}
    node = energy(b, made, {**units, **symbols, group.name: index}, span)
    scores = axes_stop(b, b.make.neg(at_zero(b, node, symbols)), [index], span)
    rest = lead_of(b, units, span)
    scores = tensors.spread(b, scores, TensorType((*rest.shape, index.size), rest.running), span)
    last = len(scores.type.shape) - 1
    top = b.at(span)("exp", scores)
    total = b.make.sum(top, (last,))
    kept = tuple(range(last))
    share = b.make.div(top, b.make.broadcast(total, top.type, kept))
    return b.make("asserted", share, domain=PROB)


def choice(b: Build, group: Group) -> IndexVar:
    """An index that runs over the values of a class."""
    assert group.classes is not None
    return IndexVar(group.name, f"{group.name}.{next(b.counter)}", group.classes)


# ---- groups summed out -------------------------------------------------------------------------


def free(b: Build, made: Instance, units: Units, span: Span) -> Node:
    """The free energy of the visible groups: -log(sum over the hidden of exp(-E))."""
    return summed_out(b, made, sides(made)[1], units, span)


def summed_out(b: Build, made: Instance, out: Sequence[Group], units: Units, span: Span) -> Node:
    """-log(sum of exp(-E)) over some groups, in closed form for binary and real units given the
    values of classes, and over those one by one."""
    choices = {g.name: choice(b, g) for g in out if g.classes is not None}
    rest = [g for g in out if g.classes is None]
    found = opened(b, made, rest, {**units, **choices}, span)
    total = at_zero(b, found.energy, found.symbols)
    for group in rest:
        total = _added(b, total, _log_sum(b, group, found, span), span)
    for index in choices.values():
        total = soft_minimum(b, total, index.axis, span)
    return b.mark(total, span, f"{made.path}.free")


def _log_sum(b: Build, group: Group, found: Open, span: Span) -> Node:
    """What summing a group out adds to the energy where it is off."""
    lead, make = len(found.symbols[group.name].type.running), b.at(span)
    if group.domain.name == "binary":
        each = make("softplus", found.pulls[group.name])
        return make.neg(make.sum(each, range(lead, len(each.type.shape))))
    pull, bend = gauss(b, group, found, span)
    square = make.div(make("square", pull), make.scale(bend, 2.0))
    width = make.scale(make("log", make.scale(bend, 1 / (2 * math.pi))), 0.5)
    return make.sum(make.sub(width, square), range(lead, len(pull.type.shape)))


def _added(b: Build, x: Node, y: Node, span: Span) -> Node:
    return b.at(span).add(*tensors.align(b, [x, y], span))


def soft_minimum(b: Build, node: Node, axis: str, span: Span) -> Node:
    """-log(sum(exp(-e))) over a running axis."""
    make = b.at(span)
    at = node.type.running.index(axis)
    return make.neg(make("log", make.sum(make("exp", make.neg(node)), (at,))))
