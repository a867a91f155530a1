"""Gibbs chains: `gibbs(R, v, k)`, contrastive divergence `cd(R, v, k)`.

A step draws all hidden groups given the visible ones, then all visible groups given the hidden
ones; a clamped group stays. Every group is drawn, the last time too: the statistics of `cd` are
those of samples, with the hidden units summed out (F(v) - F(v_k); Hinton 2002). No gradient runs
through a chain. More than one step is a loop in the graph, as large for a thousand as for two; but
inside of another loop, and over sequences, the steps are written out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from dln.compiler.frontend.context import broadcasting, time_axis
from dln.compiler.frontend.context.build_context import Build, Chain, Instance, Scope, Value
from dln.compiler.frontend.context.frame import Drawing, OpenLoop
from dln.compiler.frontend.context.missing import known
from dln.compiler.frontend.context.place import replace
from dln.compiler.frontend.context.static_values import whole
from dln.compiler.frontend.context.values import describe
from dln.compiler.frontend.energy import derivation
from dln.compiler.frontend.energy.unit_values import Units, lead_of, one_or_all, sides, units_of
from dln.compiler.frontend.scan.body_builder import BodyMaker
from dln.compiler.frontend.tensors import distributions
from dln.compiler.ir.graph import Node
from dln.compiler.ir.ops.loop import item, slot
from dln.compiler.ir.sizes import Size
from dln.compiler.ir.tensor_type import TensorType
from dln.compiler.ir.unit_group import UnitGroup
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Span
from dln.grammar.record import bundle

TAKES = {"log_z": "R", "log_likelihood": "R, v"}

# ---- calls -------------------------------------------------------------------------------------


@bundle(frozen=True)
class Asked:
    """A call understood: a machine, a start for each visible group, steps, what is clamped."""

    machine: Instance
    start: Units
    steps: int
    clamped: frozenset[str]
    span: Span


def gibbs(b: Build, expr: s.Call, scope: Scope) -> Value:
    """`gibbs(R, v, k)`: the visible groups after k steps; with several groups all by name."""
    asked = _asked(b, expr, scope, "gibbs", clamps=True)
    return one_or_all(run(b, asked))


def cd(b: Build, expr: s.Call, scope: Scope) -> Node:
    """`cd(R, v, k)`: F(v) - F(v_k), whose gradient is the rule of contrastive divergence (Hinton
    2002, "Training products of experts by minimizing contrastive divergence")."""
    asked = _asked(b, expr, scope, "cd", steps=1)
    after = run(b, asked)
    start = derivation.free(b, asked.machine, asked.start, asked.span)
    end = derivation.free(b, asked.machine, after, asked.span)
    return b.at(asked.span).sub(*broadcasting.align(b, [start, end], asked.span))


def _asked(
    b: Build, expr: s.Call, scope: Scope, name: str, steps: int | None = None, clamps: bool = False
) -> Asked:
    """The arguments: a machine, its visible groups, then `k`, and `clamp` by name."""
    named, plain = expr.named, expr.plain
    known = ("k", "clamp")[: 1 + clamps]
    for key, arg in named.items():
        if key not in known:
            label = f"by name: {' and '.join(known)}"
            b.fail("E322", f"{name} takes no {key}", arg.span, label)
    made = machine(b, expr, scope, name)
    visible, _ = sides(made)
    said = named["k"].value if "k" in named else plain[-1] if plain else expr
    if len(plain) == len(visible) + 2 and "k" not in named:
        _refuse_order(b, expr, plain, name, scope)
        steps = whole(b, plain.pop(), scope, "the number of steps")
    elif "k" in named:
        steps = whole(b, named["k"].value, scope, "the number of steps")
    if len(plain) != len(visible) + 1 or steps is None:
        takes, given = [*(g.name for g in visible), "k"], len(plain) - 1
        missing = ", ".join(takes[given:-1] or ["the number of steps"])
        label = "has too many arguments" if given > len(visible) else f"lacks {missing}"
        text = f"{name} takes the visible groups of {made.name}, then the number of steps"
        texts = [broadcasting.whole_text(e.span.text) for e in plain[1 : len(visible) + 1]]
        texts = [made.path, *texts, *(_at_hand(b, scope, g) for g in visible[len(texts) :])]
        texts.append(named["k"].value.span.text if "k" in named else "1")
        remedy = f"{name}({', '.join(texts)})"
        b.fail("E322", text, expr.span, label, remedy=remedy)
    if steps < 1:
        b.fail("E305", "a chain has at least one step", said.span, f"is {steps}")
    values = [(b.evaluate(a, scope), a.span) for a in plain[1:]]
    start = units_of(b, made, visible, values, expr.span, name)
    clamped = _clamped(b, named["clamp"].value, scope, visible) if "clamp" in named else ()
    return Asked(made, start, steps, frozenset(clamped), expr.span)


def _at_hand(b: Build, scope: Scope, group: UnitGroup) -> str:
    """The one name of a place that a group of units may be given as."""
    found = [(name, known(b, scope.lookup(name))) for name in dict.fromkeys(scope.visible())]
    given = {name: v.type for name, v in found if isinstance(v, Node) and "batch" in v.type.running}
    ranks = {name for name, t in given.items() if len(t.example) == len(group.sizes)}
    classed = group.classes is not None
    fit = [name for name in given if name in ranks and classed == (given[name].kind == "index")]
    return fit[0] if len(fit) == 1 else "..."


def _refuse_order(b: Build, expr: s.Call, plain: Sequence[s.Expr], name: str, scope: Scope) -> None:
    """`gibbs(R, 5, v)`: the number of steps, which stands last, in front of the groups."""
    numbers = [e for e in plain[1:-1] if isinstance(e, s.Number)]
    if len(numbers) == 1 and isinstance(b.evaluate(plain[-1], scope), Node):
        order = [*(e for e in plain if e is not numbers[0]), numbers[0]]
        remedy = f"{name}({', '.join(broadcasting.whole_text(e.span.text) for e in order)})"
        text = f"{name} takes a machine, its visible groups, and last the number of steps"
        b.fail("E322", text, expr.span, "", (), remedy)


def machine(b: Build, call: s.Call, scope: Scope, name: str) -> Instance:
    """The first argument of a function of machines."""
    first = call.plain[0] if call.plain else None
    made = None if first is None else b.evaluate(first, scope)
    if not isinstance(made, Instance) or not made.groups:
        at = call.span if first is None else first.span
        found = "is missing" if first is None else f"is {describe(made)}"
        if isinstance(made, Instance):
            found = f"{made.name} has no energy"
        machines = [e for e in call.plain[1:] if isinstance(e, s.Name)]
        for e in machines:
            value = b.evaluate(e, scope)
            if isinstance(value, Instance) and value.groups:
                order = [e, *(a for a in call.arguments if a is not e)]
                remedy = f"{name}({', '.join(broadcasting.whole_text(a.span.text) for a in order)})"
                b.fail("E416", f"{name} takes a machine first", call.span, "", (), remedy)
        parts = made.parts if isinstance(made, Chain) else ()
        if any(isinstance(p, Instance) and p.groups for p in parts):
            it = at.text
            fact = f"machines learn one after another: {it}[0] in one phase, {it}[1] in the next"
            b.fail("E416", f"{name} takes one machine", at, found, facts=(fact,))
        b.fail("E416", f"{name} takes a machine: an instance of a block with an energy", at, found,
               remedy=f"{name}({TAKES.get(name, 'R, v, k')}) with let R = rbm(500)")  # fmt: skip
    return made


def _clamped(b: Build, expr: s.Expr, scope: Scope, visible: Sequence[UnitGroup]) -> list[str]:
    known = [g.name for g in visible]
    if isinstance(expr, s.Name) and expr.id in known and scope.lookup(expr.id) is None:
        b.fail("E417", "what is clamped is said by its name, as a text", expr.span, "is a name",
               remedy=f'"{expr.id}"')  # fmt: skip
    found = b.evaluate(expr, scope)
    names = found if isinstance(found, list) else [found]
    clamped = [name for name in names if isinstance(name, str) and name in known]
    for name in names:
        if name not in clamped:
            shown = f'"{name}"' if isinstance(name, str) else describe(name)
            b.fail("E417", "only visible groups can be clamped", expr.span, f"is {shown}",
                   remedy=f'clamp = "{known[-1]}"')  # fmt: skip
    if len(set(clamped)) == len(known):
        b.fail("E417", "a chain in which all is clamped does not move", expr.span, "clamps all")
    return clamped


# ---- chains ------------------------------------------------------------------------------------


def run(b: Build, asked: Asked) -> Units:
    """The visible groups after the steps of a chain."""
    visible, hidden = sides(asked.machine)
    moving = [g for g in visible if g.name not in asked.clamped]
    site = distributions.place_site(b, asked.span, "gibbs")
    drawings = {g.name: Drawing(f"{site}.{g.name}", None) for g in (*moving, *hidden)}

    def step(b: Build, units: Units) -> Units:
        given = {g.name: units[g.name] for g in visible}
        over = drawn(b, asked.machine, hidden, given, drawings, asked.span)
        still = {k: v for k, v in units.items() if k in asked.clamped}
        new = drawn(b, asked.machine, moving, {**over, **still}, drawings, asked.span)
        return {**units, **new}

    with b.call(asked.span, "gibbs") as inner:
        timed = broadcasting.runs_over_time(b, list(asked.start.values()))
        if asked.steps == 1 or b.time.loop is not None or timed:  # no loop goes inside another
            units = asked.start
            for _ in range(asked.steps):
                units = step(inner, units)
        else:
            units = _looped(inner, asked, moving, step)
    real = {k: v for k, v in units.items() if isinstance(v, Node) and v.type.kind == "real"}
    return {**units, **{k: b.at(asked.span)("stop", v) for k, v in real.items()}}


def _looped(
    b: Build, asked: Asked, moving: Sequence[UnitGroup], step: Callable[[Build, Units], Units]
) -> Units:
    """The steps as one loop, which carries the groups that move."""
    start = {g.name: _begun(b, g, asked) for g in moving}
    number = next(b.counter)
    slots = {
        k: b.mark(slot(b.graph, n.type, next(b.counter), "carried"), asked.span, f"{k} before")
        for k, n in start.items()
    }
    loop = OpenLoop(number, "the chain", asked.span)
    after = step(replace(b, time=replace(b.time, loop=loop)), {**asked.start, **slots})
    maker = BodyMaker(b, number, tuple(slots.values()))
    ends = {k: broadcasting.as_tensor(b, after[k], asked.span, k) for k in slots}
    fitted = (broadcasting.spread(b, ends[k], held.type, asked.span) for k, held in slots.items())
    nexts = tuple(map(maker.inner, fitted))
    body = maker.body(nexts, Size(asked.steps))
    make, done = b.at(asked.span), dict(asked.start)
    scan = make("scan", *maker.rows.values(), *maker.fixed.values(), *start.values(), body=body)
    for group, node in zip(moving, nexts, strict=True):
        end = time_axis.final(b, item(make, scan, node), asked.span)
        done[group.name] = make("asserted", end, domain=group.domain)
    return done


def _begun(b: Build, group: UnitGroup, asked: Asked) -> Node:
    """The start of a group, over all axes that a chain runs over."""
    lead, node = lead_of(b, asked.start, asked.span), asked.start[group.name]
    assert isinstance(node, Node)
    whole = TensorType((*lead.shape, *node.type.example), lead.running)
    like = distributions.for_each(b, whole).like(kind=node.type.kind, domain=node.type.domain)
    return broadcasting.repeated(b, node, like, asked.span)


def drawn(
    b: Build,
    made: Instance,
    groups: Sequence[UnitGroup],
    given: Units,
    drawings: Mapping[str, Drawing],
    span: Span,
) -> Units:
    """A draw of each of some groups of one side, given all others: those that a clamp holds may be
    joined to the ones that move."""
    found = derivation.conditionals(b, made, groups, given, span)
    out: dict[str, Value] = {}
    for group in groups:
        mean, width = found[group.name]
        inner = replace(b, drawing=drawings[group.name], given=())
        if group.classes is not None:
            plain = distributions.categorical(inner, span, mean)
            out[group.name] = b.at(span)("asserted", plain, domain=group.domain)
        elif width is None:
            out[group.name] = distributions.bernoulli(inner, span, mean)
        else:
            out[group.name] = distributions.normal(inner, span, mean, width)
    return out
