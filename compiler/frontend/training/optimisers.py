"""Optimisers: the equations of an `optimiser` block applied to a parameter and its gradient.

The result is graph like everything else: the parameter's new value, and the new values of the
optimiser's states. A state may be estimated instead of carried along: `curvature(500) every 1
epoch`.
"""

from __future__ import annotations

from dln.compiler.frontend.context import broadcasting, ports
from dln.compiler.frontend.context.build_context import Build, Scope
from dln.compiler.frontend.context.static_values import lookup, positive, tensor, word
from dln.compiler.frontend.context.values import Builtin, OptimiserUse
from dln.compiler.ir.graph import Node, up_to
from dln.compiler.ir.op import op_of
from dln.compiler.ir.structure import is_derivative, is_state, is_stop, number
from dln.compiler.model import Estimating
from dln.grammar import syntax as s
from dln.grammar.record import bundle, field


@bundle()
class Updated:
    """What an optimiser does to one parameter: its new value; states with first and new values;
    states that are estimated (their new value stands in `states` only where an equation gives it).
    """

    value: Node
    states: dict[str, Node]
    first: dict[str, Node]
    estimates: list[Estimating] = field(default_factory=list)


def optimise(
    b: Build, use: OptimiserUse, param: Node, *,
    held: Node, grad: Node, count: Node, site: str, loss: Node,
) -> Updated:  # fmt: skip
    """One parameter under an optimiser. It holds the parameter itself, or what earlier steps have
    left in it. `n` is the `count` of its updates from 1. States are estimated on `loss`."""
    syntax = use.definition.syntax
    b.built.met.add(id(syntax))
    scope = use.definition.scope.child()
    target, gradient = syntax.names
    scope.value(target, held, use.span)
    scope.value(gradient, grad, use.span)
    scope.value("n", count, use.span)
    out = Updated(held, {}, {})
    with b.call(use.span, syntax.name, syntax.span, use.argument) as inner:
        bind_options(inner, use, scope)
        paths = _states(inner, syntax, scope, param, site, loss, out)
        refuse_unset(inner, syntax)
        for st in syntax.body:
            if isinstance(st, s.SetTo | s.Define):  # for the lines that follow
                name = st.name if isinstance(st, s.SetTo) else st.target.name
                node = tensor(inner, st.value, scope, name)
                node = broadcasting.quantity(inner, node, st.value.span)
                if isinstance(st, s.SetTo):
                    node = ports.shaped(inner, node, param.type, st.value.span)
                scope.value(name, node, st.span)
    out.value = broadcasting.as_tensor(b, lookup(b, target, use.span, scope), use.span)
    fixed = {e.path for e in out.estimates}
    for name, path in paths.items():
        new = broadcasting.as_tensor(b, lookup(b, name, use.span, scope), use.span)
        if path not in fixed or not is_state(new):
            out.states[path] = new
    return out


def refuse_unset(b: Build, syntax: s.Optimiser) -> None:
    """What an optimiser keeps from update to update, the parameter and its states, is set with :=
    and never with =, which would name a value of this update alone."""
    kept = {st.name: st.span for st in syntax.body if isinstance(st, s.State)}
    estimated = {st.name for st in syntax.body if isinstance(st, s.State) and st.every is not None}
    target, said = syntax.names[0], {st.name for st in syntax.body if isinstance(st, s.SetTo)}
    for st in syntax.body:
        if isinstance(st, s.Define) and (name := st.target.name) in (target, *kept):
            what = "parameter" if name == target else "state"
            text = f"the {what} {name} of an optimiser is set with :="
            remedy = f"{name} := {broadcasting.whole_text(st.value.span.text)}"
            b.fail("E402", text, st.span, "is an equation of this update alone", remedy=remedy)
    for name in kept.keys() - said - estimated:
        text = f"it is not said what is kept in {name}"
        b.fail("E403", text, kept[name], "is never set", remedy=f"{name} := ...")
    if target not in said:
        text = f"{syntax.name} never changes {target}"
        at = word(syntax.span, syntax.name)
        if syntax.names[1] in said:
            at = word(syntax.span, f"{syntax.names[0]}, {syntax.names[1]}")
            text = f"{syntax.name} sets {syntax.names[1]}: the first name is the parameter"
            remedy = f"{syntax.names[1]}, {syntax.names[0]}"
            b.fail("E403", text, at, "the second is its gradient", (), remedy)
        b.fail("E403", text, at, f"has no line {target} := ...", remedy=f"{target} := ...")


def bind_options(b: Build, use: OptimiserUse, scope: Scope) -> None:
    """Bind the options of an optimiser: those given, then the defaults of the others."""
    for name, value in use.options.items():
        scope.value(name, value, use.places[name])
    for option in use.definition.syntax.options:
        if option.name not in use.options and option.default is not None:
            scope.value(option.name, b.evaluate(option.default, scope), option.span)


def _states(
    b: Build, syntax: s.Optimiser, scope: Scope, param: Node, site: str, loss: Node, out: Updated
) -> dict[str, str]:
    """The states of an optimiser for one parameter, of the parameter's shape."""
    paths = {}
    for st in syntax.body:
        if isinstance(st, s.State):
            path = f"{site}.{syntax.name}.{st.name}:{param['path']}"
            estimated = _estimated(b, st, scope)
            if estimated is not None:
                bend = b.at(st.span)("curvature", loss, param)
                out.estimates.append(Estimating(path, bend, *estimated, st.span))
            value = 0 if estimated is not None else b.evaluate(st.value, scope)
            first = broadcasting.as_tensor(b, value, st.span)
            if first.type.example:
                text = f"a state has the shape of the parameter: {st.name} begins as one number"
                b.fail("E202", text, st.value.span, f"is {b.shown(first.type)}", remedy="0")
            out.first[path] = broadcasting.repeated(b, first, param.type, st.span)
            scope.value(st.name, b.at(st.span)("state", path=path, type=param.type), st.span)
            paths[st.name] = path
    return paths


def remembers(done: Updated) -> bool:
    """Whether an optimiser's new value depends on what it keeps. What is multiplied by the number
    0 does not count: `sgd` without momentum."""

    def ends(node: Node) -> bool:
        nothing = op_of(node).is_("bilinear") and any(number(o) == 0 for o in node.operands)
        return nothing or is_derivative(node) or is_stop(node)

    found = up_to([done.value], ends)
    return any(is_state(node) and node["path"] in done.first for node in found)


# ---- states that are estimated -----------------------------------------------------------------


def _estimated(b: Build, st: s.State, scope: Scope) -> tuple[int, int] | None:
    """The sample and the number of epochs of `curvature(sample) every n epochs`; None for a state
    that begins with a value."""
    text = broadcasting.short(st.value.span.text)
    call = own_call(b, st.value, scope, "curvature")
    if call is None and st.every is None:
        return None
    if call is None:
        b.evaluate(st.value, scope)  # curvature as a part of it has an error of its own
        remedy = f"state {st.name} = {text}"
        place = st.every.span if st.every is not None else st.span
        b.fail("E364", "only curvature is estimated every so often", place, remedy=remedy)
    if st.every is None:
        remedy = f"state {st.name} = {text} every 1 epoch"
        b.fail("E363", "it is not said how often curvature is estimated", call.span, remedy=remedy)
    if st.every.unit != "epoch":
        label, remedy = f"counts {st.every.unit}s", "every 1 epoch"
        b.fail("E364", "curvature is estimated at the start of an epoch", st.every.span, label,
               remedy=remedy)  # fmt: skip
    if call.only is None:
        b.fail("E322", "curvature takes the number of examples it is estimated on", call.span,
               remedy="curvature(500)")  # fmt: skip
    text = "a sample has at least one example"
    sample = positive(b, call.only, scope, "a sample", text)
    between = "the time between estimates"
    return sample, positive(b, st.every.count, scope, between, f"{between} has at least one epoch")


def own_call(b: Build, expr: s.Expr, scope: Scope, name: str) -> s.Call | None:
    """The call of the language's own function of a name, if an expression is one."""
    if not isinstance(expr, s.Call) or not isinstance(expr.function, s.Name):
        return None
    found = scope.lookup(expr.function.id)
    value = found.find(b) if found is not None and found.static else None
    return expr if isinstance(value, Builtin) and value.name == name else None
