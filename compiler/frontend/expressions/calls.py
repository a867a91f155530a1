"""Calls, pipelines and reductions: functions, blocks and instances on their arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import TypeAlias

from dln.compiler.frontend.context import broadcasting, counting, ports, standing
from dln.compiler.frontend.context.build_context import (
    BlockDef,
    Build,
    Chain,
    Instance,
    Scope,
    Value,
)
from dln.compiler.frontend.context.place import replace
from dln.compiler.frontend.context.static_values import (
    listed,
    refuse_shadow,
    tensor,
    unknown,
)
from dln.compiler.frontend.context.values import (
    Builtin,
    Function,
    IndexForm,
    IndexVar,
    InstanceVerb,
    OptimiserDef,
    OptimiserUse,
    PhaseVerb,
    describe,
)
from dln.compiler.frontend.expressions import phase_queries, refusing
from dln.compiler.frontend.instances import application, chains, instances, one_step
from dln.compiler.frontend.instances.options import option_values
from dln.compiler.frontend.tensors import others, reductions
from dln.compiler.ir.graph import Node
from dln.compiler.ir.sizes import Reason, Size, Var
from dln.compiler.ir.tensor_type import IndexAxis, spoken
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Note, Span

Given: TypeAlias = "Sequence[tuple[Value, Span]]"
"""Arguments worked out, each with its place."""

# ---- pipelines ---------------------------------------------------------------------------------


def _flow(b: Build, expr: s.Flow, scope: Scope) -> Value:
    """`x -> f -> g`. Several blocks made in one pipeline are numbered: `net.y[0]`, `net.y[1]`."""
    steps: list[s.Expr] = []
    source: s.Expr = expr
    while isinstance(source, s.Flow):
        steps.insert(0, source.target)
        source = source.source
    if isinstance(source, s.Choose):
        _say_both_readings(b, source, expr.span)
    made = sum(_makes_block(b, step, scope) for step in steps)
    naming = b.naming.part(many=True) if made > 1 else b.naming
    value = b.evaluate(source, scope)
    span = source.span
    inner = replace(b, naming=naming)
    for step in steps:
        value = _flow_step(inner, value, span, step, scope)
        span = source.span.to(step.span)
    return value


def _say_both_readings(b: Build, choice: s.Choose, span: Span) -> None:
    """`x if c else y -> f` passes on what is chosen; whoever reads it may take it otherwise."""
    steps = span.source.text[choice.span.stop : span.stop]
    texts = (choice.span.text, choice.other.span.text, steps)
    whole, other, steps = map(broadcasting.whole_text, texts)
    head = whole.removesuffix(other)
    b.note(
        f"{span}: -> passes on whatever is chosen in front of it, as in ({whole}) {steps}: "
        f"write it so; or {head}({other} {steps}) for the other reading"
    )


def _makes_block(b: Build, step: s.Expr, scope: Scope) -> bool:
    head = step.function if isinstance(step, s.Call) else step
    binding = scope.lookup(head.id) if isinstance(head, s.Name) else None
    return binding is not None and binding.static and isinstance(binding.find(b), BlockDef)


def _flow_step(b: Build, value: Value, span: Span, step: s.Expr, scope: Scope) -> Value:
    if isinstance(step, s.Call):
        target = b.evaluate(step.function, scope)
        if isinstance(target, Function) or (isinstance(target, Builtin) and not target.makes):
            return _call(b, target, step, scope, [(value, span)])
    if isinstance(step, s.Binary | s.Unary | s.Choose):
        remedy = ""
        if isinstance(step, s.Binary):
            places = (span, step.left.span, step.right.span)
            source, left, right = (broadcasting.whole_text(p.text) for p in places)
            remedy = f"({source} -> {left}) {step.op} {right}"
        text = "-> passes on to a function, block or instance"
        label = "is an expression; a pipeline binds loosest"
        if remedy and len(places) == 3 and span.source is step.span.source:
            b.fail("E332", text, span.to(step.span), "", (Note(step.span, label),), remedy)
        b.fail("E332", text, step.span, label, remedy=remedy)
    target = b.evaluate(step, scope)
    return apply(b, target, [(value, span)], step.span)


# ---- calls -------------------------------------------------------------------------------------


def _call(b: Build, target: Value, expr: s.Call, scope: Scope, first: Given = ()) -> Value:
    """A call whose arguments are still syntax; `first` are values that a pipeline passed in."""
    b = counting.outside(b)
    written = (*expr.arguments, *expr.options)
    if isinstance(target, BlockDef):
        if expr.options and not _made_only(b, target, expr, scope):
            instance = instances.instance(b, target, expr.options, scope, expr.span)
            return apply(b, instance, _arguments(b, expr, scope), expr.span)
        return instances.instance(b, target, written, scope, expr.span)
    if isinstance(target, OptimiserDef):
        options = option_values(b, target.syntax, written, scope, expr.span)
        made = {k: _for_all(b, k, e, where) for k, (e, where, _) in options.items()}
        places = {k: at for k, (_, _, at) in options.items()}
        return OptimiserUse(target, made, places, expr.span)
    if isinstance(target, PhaseVerb):
        return phase_queries.ask(b, target, expr, scope)
    if isinstance(target, Builtin) and target.lazy and not expr.options:
        return target.call(b, expr, scope)
    if expr.options:
        text = "only a block or an optimiser takes options behind a semicolon"
        label = f"{broadcasting.short(expr.function.span.text)} is {describe(target)}"
        b.fail("E321", text, expr.span, label)
    if not isinstance(target, Builtin | Function | Instance | Chain | InstanceVerb):
        refusing.not_applied(b, target, expr.function.span, expr, scope)
    given = [*first, *_arguments(b, expr, scope)]
    if isinstance(target, Builtin):
        values = {k: b.evaluate(a.value, scope) for k, a in expr.named.items()}
        return call_builtin(b, target, given, expr.span, values)
    if isinstance(target, Function):
        return _call_function(b, target, given, expr.span, (expr, scope))
    if expr.named:
        refusing.by_name(b, expr)
    return apply(b, target, given, expr.span)


def _for_all(b: Build, name: str, expr: s.Expr, scope: Scope) -> Value:
    """An option of an optimiser, which moves a parameter once for all examples."""
    value = b.evaluate(expr, scope)
    if isinstance(value, Function) and len(value.syntax.ports) == 1:
        remedy = f"{broadcasting.whole_text(expr.span.text)}(epoch)"
        b.fail("E302", f"{name} is a number", expr.span, "is a function", (), remedy)
    if isinstance(value, Instance | Chain):
        what = expr.span.text
        text = "an optimiser is given its options only; over says what it moves"
        fact = f"as in minimize ... over {what} with sgd(lr = 0.1)"
        b.fail("E302", text, expr.span, f"is {describe(value)}", facts=(fact,))
    if isinstance(value, list):
        facts = (
            f"{name} that changes is an expression of epoch, update or progress",
            "of several parameters each has a line of minimize, with an optimiser of its own",
        )
        b.fail("E302", f"{name} is a number", expr.span, f"is {describe(value)}", facts=facts)
    if isinstance(value, Node) and value.type.running:
        ports.refuse_running(b, value, expr.span, name)
    return value


def _made_only(b: Build, target: BlockDef, expr: s.Call, scope: Scope) -> bool:
    """Whether all that stands in a call with a semicolon are options, `dense(10; act = tanh)`, and
    not what the ports are given, `dense(x; 10)`: where the ports have another number, where an
    option would be left out, or where what stands first is no tensor."""
    syntax, given = target.syntax, expr.arguments
    if len(expr.plain) < len(given) or len(given) != len(syntax.ports):
        return True
    named = {a.name for a in expr.options if isinstance(a, s.Named)}
    free = sum(not isinstance(a, s.Named) for a in expr.options)
    if any(o.default is None and o.name not in named for o in syntax.options[free:]):
        return True
    for a, port in zip(given, syntax.ports, strict=True):
        numbers = () if port.dims else (int, float, Size)
        if not isinstance(b.evaluate(a, scope), (Node, list, *numbers)):
            return True
    return False


def _arguments(b: Build, expr: s.Call, scope: Scope) -> list[tuple[Value, Span]]:
    """The positional arguments, worked out. Those that stand by their names do so once."""
    named: dict[str, s.Arg] = {}
    for a in expr.arguments:
        if isinstance(a, s.Ranged):
            text = "an index stands in reductions only, before a colon"
            b.fail("E326", text, a.span, facts=("as in sum(i in 0..2: x[i])",))
        if isinstance(a, s.Named) and named.setdefault(a.name, a) is not a:
            notes = (Note(named[a.name].span, "first here"),)
            b.fail("E329", f"{a.name} is given twice", a.span, "again", notes)
    return [(b.evaluate(a, scope), a.span) for a in expr.plain]


def _call_function(
    b: Build, target: Function, given: Given, span: Span, call: tuple[s.Call, Scope] | None = None
) -> Value:
    """A `fn` on values by place, and on those that a call in a scope gives by name."""
    names = [p.name for p in target.syntax.ports]
    values = dict(zip(names, given, strict=False))
    if call is not None:
        expr, scope = call
        for name, a in expr.named.items():
            if name not in names:
                unknown(b, "argument", name, a.span, names, target.syntax.name)
            if name in values:
                refusing.given_twice(b, expr, name, names, values[name][1], a.span)
            values[name] = (b.evaluate(a.value, scope), a.value.span)
    if len(given) > len(names) or len(values) < len(names):
        found = len(given) + (len(call[0].named) if call else 0)
        refusing.wrong_count(b, target.syntax.name, names, found, span)
    if call is not None:  # of `act(...)`, the activation given
        at = call[0].function.span
        span = at if (at := b.argument(at)) is not call[0].function.span else span
    return application.call_function(b, target, values, span)


def call_builtin(
    b: Build,
    target: Builtin,
    given: Given,
    span: Span,
    named: Mapping[str, Value] = MappingProxyType({}),
) -> Value:
    """A function of the language itself on worked-out arguments."""
    takes = target.takes
    places, names = takes.places, takes.names
    found = [*places[: len(given)], *named]
    for name in sorted(set(named) - set(names)):
        unknown(b, "argument", name, span, names, target.name)
    twice, too_many = len(set(found)) < len(found), len(given) > len(places) and not takes.many
    if too_many or twice or not takes.needed <= set(found) <= set(names):
        listed = target.makes and len(given) > 1 and not any(isinstance(v, list) for v, _ in given)
        inside = ", ".join(broadcasting.whole_text(at.text) for _, at in given)
        remedy = f"{target.name}([{inside}])" if listed and not named else ""
        refusing.wrong_count(b, target.name, places, len(given), span, remedy)
    inner = replace(b, given=tuple(given))  # so that an error can point at the argument
    return target.call(inner, span, *(v for v, _ in given), **named)


def apply(b: Build, target: Value, given: Given, span: Span) -> Value:
    """A function, block, instance or chain on worked-out arguments."""
    match target:
        case BlockDef():
            return apply(b, instances.instance(b, target, (), target.scope, span), given, span)
        case Instance():
            return application.apply_instance(b, target, given, span)
        case Chain():
            values = given
            for i, part in enumerate(target.parts):  # what a function in it makes is the chain's
                inner = replace(b, naming=b.naming.of_chain(target, i))
                chains.refuse_unflattened(b, target.span, part, values[0][0] if i else None)
                with chains.blaming(target, part, values):
                    values = [(apply(inner, part, values, span), span)]
            target.applied.append((tuple(v for v, _ in given), values[0][0]))
            if b.outside.trace is not None:
                b.outside.trace.chain(b, target.path, *target.applied[-1])
            return values[0][0]
        case Function():
            return _call_function(b, target, given, span)
        case Builtin(lazy=True):
            text = f"{target.name} takes what it is given in brackets: {target.name}(...)"
            b.fail("E322", text, span, "stands alone")
        case Builtin():
            return call_builtin(b, target, given, span)
        case InstanceVerb(instance=made, verb=verb) if made.groups:
            from dln.compiler.frontend.energy import derivation  # late: most specs have none

            return derivation.call(b, made, verb, given, span)
        case InstanceVerb():
            return one_step.call(b, target, given, span)
        case PhaseVerb():
            b.fail("E323", describe(target), span, remedy=f"{target.phase}.{target.verb}(...)")
    refusing.not_applied(b, target, span)


# ---- reductions --------------------------------------------------------------------------------


def _reduce(b: Build, expr: s.Reduce, scope: Scope) -> Value:
    """`sum(i, j: e)`, `mean(batch: h)`: a reduction over bound indices or a named running axis."""
    target = b.evaluate(expr.function, scope)
    if not (isinstance(target, Builtin) and target.reduces):
        text = "only sum, mean, max, min, argmax, argmin and norm bind an index"
        remedy = ""
        if isinstance(target, BlockDef | OptimiserDef) and isinstance(
            name := expr.indices[-1], s.Name
        ):
            given = [a.span.text for a in expr.indices[:-1]]
            given.append(f"{name.id} = {broadcasting.whole_text(expr.body.span.text)}")
            text = f"an option is given with =, not with a colon; {text.removeprefix('only ')}"
            remedy = f"{expr.function.span.text}({', '.join(given)})"
            b.fail("E325", text, expr.span, f"is {describe(target)}", remedy=remedy)
        b.fail("E325", text, expr.function.span, f"is {describe(target)}")
    b, inner = counting.outside(b), scope.child()
    axes = [_bind_index(b, arg, inner) for arg in expr.indices]
    body = tensor(b, expr.body, inner)
    _refuse_absent(b, target.name, expr, axes, body)
    apart = [a for arg, a in zip(expr.indices, axes, strict=True) if others.apart(arg, scope)]
    if apart:
        return others.reduced(b, target.name, body, axes, apart, expr.span)
    return reductions.reduce(b, target.name, body, axes, expr.span)


def _refuse_absent(b: Build, name: str, expr: s.Reduce, axes: Sequence[str], body: Node) -> None:
    """What is reduced runs over every axis that is named; but a single example is a batch of one.
    A mean or an extreme over what is not there is the value itself, and any other may be meant."""
    same = name in ("mean", "max", "min")
    there = (*body.type.running, "batch") if same else body.type.running
    missing = [a for a in axes if a not in there]
    if missing and not standing.is_sequence(b, body):  # of a single step it is said elsewhere
        kept = [
            arg.span.text for arg, axis in zip(expr.indices, axes, strict=True) if axis in there
        ]
        said = broadcasting.whole_text(expr.body.span.text)
        remedy = f"{name}({', '.join(kept)}: {said})" if kept else said
        text = f"nothing here runs over {', '.join(spoken(a) for a in missing)}"
        at = expr.indices[axes.index(missing[0])].span
        notes = (Note(expr.body.span, f"is {b.shown(body.type)}"),)
        single = not body.type.example and not kept
        facts = (f"{said} is one number for each example already",) * (single and not same)
        b.fail("E207", text, at, "is reduced over", notes, remedy if same else "", facts)


def _bind_index(b: Build, arg: s.Arg, scope: Scope) -> str:
    """Bind an index of a reduction; the running axis it stands for."""
    name = arg.name if isinstance(arg, s.Ranged) else arg.id if isinstance(arg, s.Name) else None
    if name is None:
        text = "an index is a name, or name in range"
        label = f"{broadcasting.short(arg.span.text)} is no name"
        b.fail("E326", text, arg.span, label, remedy="sum(i: x[i])")
    if name in ("batch", "time") and not isinstance(arg, s.Ranged):
        return name
    refuse_shadow(b, name, arg.span, scope)
    axis = IndexAxis(name, next(b.counter))
    if (other := others.bound(arg, axis, scope)) is not None:
        scope.value(name, other, arg.span)
        return axis
    n = Size.of(Var(name, span=arg.span))
    index = IndexVar(name, axis, n, isinstance(arg, s.Ranged), reduced=True)
    scope.value(name, index, arg.span)
    if isinstance(arg, s.Ranged):
        first, step, count = _progression(b, arg, scope)
        b.sizes.equate(n, count, Reason(arg.span, arg.span.text))
        if (first, step) != (0, 1):
            scope.value(name, IndexForm(((index, step),), first), arg.span)
    return axis


def _progression(b: Build, arg: s.Ranged, scope: Scope) -> tuple[int, int, int]:
    """What an index runs over: the first number, the step and how many there are."""
    values = listed(b, arg.range, scope)
    numbers = [v for v in values if isinstance(v, int) and not isinstance(v, bool)]
    steps = {q - p for p, q in pairwise(numbers)} or {1}
    if not values or len(numbers) < len(values) or len(steps) > 1 or 0 in steps:
        text = "an index runs over whole numbers in equal steps"
        label = f"is {broadcasting.short(str(values))}" if values else "is empty"
        remedy = f"{arg.name} in 2..8, {arg.name} in 0..8 by 2"
        b.fail("E326", text, arg.range.span, label, remedy=remedy)
    return numbers[0], steps.pop(), len(numbers)


RULES: dict[type, Callable[..., Value]] = {
    s.Flow: _flow,
    s.Call: lambda b, expr, scope: _call(b, b.evaluate(expr.function, scope), expr, scope),
    s.Reduce: _reduce,
}
