"""Expressions to values: `evaluate(b, expr, scope)`.

Constants, lists, instances and functions are worked out here and now; tensors become nodes. The
stage of every expression is known, so a dynamic value where a static one is needed is an error
that names the tensor.
"""

from __future__ import annotations

import inspect
import math
import operator
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NoReturn

from dln.compiler import asking, blocks, tensors
from dln.compiler.graph import Node
from dln.compiler.sizes import Reason, Size, Var
from dln.compiler.state import Build, Naming
from dln.compiler.statics import domain_of, listed, lookup, static, tensor, unknown, whole, word
from dln.compiler.values import (
    BlockDef,
    Builtin,
    Chain,
    DataValue,
    Function,
    IndexVar,
    Instance,
    Module,
    OptimiserDef,
    OptimiserUse,
    PhaseValue,
    PhaseVerb,
    Record,
    Scope,
    Value,
    describe,
)
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Fault, Span

LONGEST = 100_000  # entries of a range
WORK = 500_000  # expressions worked out in one build
ARITHMETIC: dict[str, tuple[str, Callable[[Any, Any], Any]]] = {
    "+": ("add", operator.add),
    "-": ("sub", operator.sub),
    "*": ("mul", operator.mul),
    "/": ("div", operator.truediv),
    "^": ("pow", operator.pow),
}
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def evaluate(b: Build, expr: s.Expr, scope: Scope) -> Value:
    """The value of an expression in a scope. What an operation refuses is said with its place."""
    b.work += 1
    if b.work > WORK:
        b.fail("E316", f"this spec takes more than {WORK:,} steps to read", expr.span,
               "was worked out too often")  # fmt: skip
    try:
        return RULES[type(expr)](b, expr, scope)
    except Fault as fault:
        b.fail("E299", fault.message, expr.span, remedy=fault.remedy)


def _name(b: Build, expr: s.Name, scope: Scope) -> Value:
    return lookup(b, expr.id, expr.span, scope)


# ---- literals, lists, ranges -------------------------------------------------------------------


def _number(b: Build, expr: s.Number, scope: Scope) -> Value:
    return expr.value


def _string(b: Build, expr: s.String, scope: Scope) -> Value:
    return expr.value


def _group(b: Build, expr: s.Group, scope: Scope) -> Value:
    return evaluate(b, expr.body, scope)


def _range(b: Build, expr: s.RangeOf, scope: Scope) -> Value:
    first = static(b, expr.first, scope, "the start of a range")
    last = static(b, expr.last, scope, "the end of a range")
    step = 1 if expr.step is None else static(b, expr.step, scope, "the step of a range")
    for value, part in ((first, expr.first), (last, expr.last), (step, expr.step or expr.last)):
        if not isinstance(value, int | float):
            b.fail("E305", "a range goes from number to number", part.span, describe(value))
    if step <= 0:
        b.fail("E306", "the step of a range must be positive", (expr.step or expr).span)
    n = math.floor((last - first) / step + 1e-9) + 1
    if n > LONGEST:
        b.fail("E309", f"a list of {n} numbers is too long", expr.span,
               f"at most {LONGEST} are worked out while a spec is read")  # fmt: skip
    return [first + i * step for i in range(n)]


def _list(b: Build, expr: s.ListOf, scope: Scope) -> Value:
    return [_item(b, e, scope, f"[{i}]") for i, e in enumerate(expr.items)]


def _comprehension(b: Build, expr: s.Comprehension, scope: Scope) -> Value:
    out = []
    for i, value in enumerate(listed(b, expr.range, scope)):
        inner = scope.child()
        inner.value(expr.name, value, expr.span)
        out.append(_item(b, expr.body, inner, f"[{i}]"))
    return out


def _item(b: Build, expr: s.Expr, scope: Scope, suffix: str) -> Value:
    with b.within(naming=Naming(b.naming.path + suffix)):
        return evaluate(b, expr, scope)


# ---- operators ---------------------------------------------------------------------------------


def _binary(b: Build, expr: s.Binary, scope: Scope) -> Value:
    if expr.op in ("and", "or"):
        return _logic(b, expr, scope)
    left, right = evaluate(b, expr.left, scope), evaluate(b, expr.right, scope)
    spans = (expr.left.span, expr.right.span)
    if expr.op == "@":
        return tensors.contract(b, left, right, expr.span, spans)
    if isinstance(left, IndexVar) or isinstance(right, IndexVar):
        b.unbuilt("arithmetic on an index (a window over an axis)", expr.span)
    if expr.op in COMPARISONS:
        return _compare(b, expr.op, left, right, expr.span, spans)
    if isinstance(left, list) or isinstance(right, list):
        left, right = (_listed_tensor(b, v, p) for v, p in zip((left, right), spans, strict=True))
    if _plain(left) and _plain(right):
        return _arithmetic(b, expr, left, right)
    return tensors.binary(b, ARITHMETIC[expr.op][0], left, right, expr.span, spans)


def _listed_tensor(b: Build, value: Value, span: Span) -> Value:
    return tensors.as_tensor(b, value, span) if isinstance(value, list) else value


def _plain(value: Value) -> bool:
    return isinstance(value, int | float | str | Size)


def _arithmetic(b: Build, expr: s.Binary, left: Value, right: Value) -> Value:
    """Arithmetic on numbers and sizes, here and now."""
    for v, e in ((left, expr.left), (right, expr.right)):
        if isinstance(v, str):
            b.fail("E302", "a text is no number", e.span, "is a text")
    left, right = (b.resolve(v) if isinstance(v, Size) else v for v in (left, right))
    if isinstance(left, Size) or isinstance(right, Size):
        whole_numbers = all(isinstance(v, int | Size) for v in (left, right))
        if expr.op in "+-" and whole_numbers:
            return left + right if expr.op == "+" else left - right
        if expr.op == "*" and whole_numbers and not all(isinstance(v, Size) for v in (left, right)):
            return left * right
        spans = (expr.left.span, expr.right.span)
        return tensors.binary(b, ARITHMETIC[expr.op][0], left, right, expr.span, spans)
    try:
        if expr.op == "^" and right * math.log2(max(abs(left), 1)) > 1024:
            raise OverflowError
        value = ARITHMETIC[expr.op][1](left, right)
        if isinstance(value, complex) or not math.isfinite(value):
            raise OverflowError
        return value
    except (ZeroDivisionError, OverflowError, ValueError):
        b.fail("E308", f"{left} {expr.op} {right} is not a finite number", expr.span)


def _compare(
    b: Build, op: str, left: Value, right: Value, span: Span, spans: tuple[Span, Span]
) -> Value:
    left, right = (b.resolve(v) if isinstance(v, Size) else v for v in (left, right))
    if isinstance(left, list) and isinstance(right, list) and op in ("==", "!="):
        if not any(isinstance(v, Node) for v in [*left, *right]):
            same = [b.resolve(v) if isinstance(v, Size) else v for v in left] == right
            return same == (op == "==")
    if _plain(left) and _plain(right) and not isinstance(left, Size | Node):
        if isinstance(left, str) != isinstance(right, str):
            b.fail("E302", "a text and a number cannot be compared", span)
        return COMPARISONS[op](left, right)
    return tensors.compare(b, op, left, right, span, spans)


def _logic(b: Build, expr: s.Binary, scope: Scope) -> Value:
    left = evaluate(b, expr.left, scope)
    if isinstance(left, bool) and left == (expr.op == "or"):
        return left
    right = evaluate(b, expr.right, scope)
    if isinstance(left, bool):
        return right
    nodes = [_truth(b, v, e.span) for v, e in ((left, expr.left), (right, expr.right))]
    return b.at(expr.span)(expr.op, *tensors.align(b, nodes, expr.span))


def _truth(b: Build, value: Value, span: Span) -> Node:
    node = tensors.as_tensor(b, value, span)
    if node.type.kind != "bool":
        b.fail("E314", "and, or and not take truth values", span, "is a number",
               remedy="compare it: x > 0")  # fmt: skip
    return node


def _unary(b: Build, expr: s.Unary, scope: Scope) -> Value:
    value = evaluate(b, expr.body, scope)
    if expr.op == "not":
        if isinstance(value, bool):
            return not value
        return b.at(expr.span)("not", _truth(b, value, expr.body.span))
    if isinstance(value, bool | str) or not (_plain(value) or isinstance(value, Node | list)):
        b.fail("E302", "only numbers have a minus", expr.body.span, f"is {describe(value)}")
    if isinstance(value, Node | list):
        return tensors.unary(b, "neg", value, expr.span)
    return -value


def _choose(b: Build, expr: s.Choose, scope: Scope) -> Value:
    test = evaluate(b, expr.test, scope)
    if isinstance(test, bool):
        return evaluate(b, expr.then if test else expr.other, scope)
    then, other = evaluate(b, expr.then, scope), evaluate(b, expr.other, scope)
    spans = (expr.test.span, expr.then.span, expr.other.span)
    return tensors.choose(b, test, then, other, expr.span, spans)


def _asserted(b: Build, expr: s.Asserted, scope: Scope) -> Value:
    node = tensor(b, expr.body, scope)
    domain = domain_of(b, expr.domain, scope)
    assert domain is not None
    return b.at(expr.span)("asserted", node, domain=domain)


def _transpose(b: Build, expr: s.Transpose, scope: Scope) -> Value:
    return tensors.transpose(b, evaluate(b, expr.body, scope), expr.span)


# ---- calls and pipelines -----------------------------------------------------------------------


def _flow(b: Build, expr: s.Flow, scope: Scope) -> Value:
    """`x -> f -> g`. Several blocks made in one pipeline are numbered: `net.y[0]`, `net.y[1]`."""
    steps: list[s.Expr] = []
    source: s.Expr = expr
    while isinstance(source, s.Flow):
        steps.insert(0, source.target)
        source = source.source
    made = sum(_makes_block(step, scope) for step in steps)
    naming = Naming(b.naming.path, many=True) if made > 1 else b.naming
    value = evaluate(b, source, scope)
    span = source.span
    with b.within(naming=naming):
        for step in steps:
            value = _flow_step(b, value, span, step, scope)
            span = expr.span
    return value


def _makes_block(step: s.Expr, scope: Scope) -> bool:
    head = step.function if isinstance(step, s.Call) else step
    binding = scope.lookup(head.id) if isinstance(head, s.Name) else None
    return binding is not None and binding.static and isinstance(binding.find(), BlockDef)


def _flow_step(b: Build, value: Value, span: Span, step: s.Expr, scope: Scope) -> Value:
    if isinstance(step, s.Call):
        target = evaluate(b, step.function, scope)
        if isinstance(target, Function) or (isinstance(target, Builtin) and not target.makes):
            return _call_with(b, target, step, scope, [(value, span)])
    if isinstance(step, s.Binary | s.Unary | s.Choose):
        remedy = ""
        if isinstance(step, s.Binary):
            parts = [tensors.short(p.text) for p in (span, step.left.span, step.right.span)]
            remedy = f"({parts[0]} -> {parts[1]}) {step.op} {parts[2]}"
        b.fail("E332", "-> passes on to a function, block or instance", step.span,
               "is an expression; a pipeline binds loosest", remedy=remedy)  # fmt: skip
    target = evaluate(b, step, scope)
    return apply(b, target, [(value, span)], step.span)


def _call(b: Build, expr: s.Call, scope: Scope) -> Value:
    target = evaluate(b, expr.function, scope)
    return _call_with(b, target, expr, scope, [])


def _call_with(
    b: Build, target: Value, expr: s.Call, scope: Scope, first: list[tuple[Value, Span]]
) -> Value:
    """A call whose arguments are still syntax; `first` are values that a pipeline passed in."""
    if isinstance(target, BlockDef):
        if expr.options:
            instance = blocks.instance(b, target, expr.options, scope, expr.span)
            return apply(b, instance, _arguments(b, expr, scope), expr.span)
        return blocks.instance(b, target, expr.arguments, scope, expr.span)
    if isinstance(target, OptimiserDef):
        options = blocks.option_values(b, target.syntax.options, expr.arguments, scope,
                                       target.syntax.name, expr.span)  # fmt: skip
        made = {k: evaluate(b, e, where) for k, (e, where, _) in options.items()}
        return OptimiserUse(target, made, expr.span)
    if isinstance(target, PhaseVerb):
        return asking.ask(b, target, expr, scope)
    if isinstance(target, Builtin) and target.lazy:
        return target.call(b, expr, scope)
    if expr.options:
        b.fail("E321", "only a block takes options behind a semicolon", expr.span,
               f"{tensors.short(expr.function.span.text)} is {describe(target)}")  # fmt: skip
    if isinstance(target, Builtin):
        named = {a.name: a for a in expr.arguments if isinstance(a, s.Named)}
        given = [*first, *_arguments(b, expr, scope)]
        values = {k: (evaluate(b, a.value, scope), a.value.span) for k, a in named.items()}
        return call_builtin(b, target, given, expr.span, values)
    if isinstance(target, Function):
        return _call_function(b, target, expr, scope, first)
    if not isinstance(target, Instance | Chain):
        _not_applied(b, target, expr.function.span)
    return apply(b, target, [*first, *_arguments(b, expr, scope)], expr.span)


def _not_applied(b: Build, target: Value, span: Span) -> NoReturn:
    b.fail("E324", "only functions, blocks and instances can be applied", span,
           f"is {describe(target)}")  # fmt: skip


def _called_at(b: Build, expr: s.Call, scope: Scope) -> Span:
    """The place of a call; of `act(...)` in a library block, the activation that the user gave."""
    if isinstance(expr.function, s.Name) and expr.span.source is not b.source:
        binding = scope.lookup(expr.function.id)
        if binding is not None and binding.span and binding.span.source is b.source:
            return binding.span
    return expr.span


def _arguments(b: Build, expr: s.Call, scope: Scope) -> list[tuple[Value, Span]]:
    """The positional arguments, worked out."""
    return [
        (evaluate(b, a, scope), a.span)
        for a in expr.arguments
        if not isinstance(a, s.Named | s.Ranged)
    ]


def _call_function(
    b: Build, target: Function, expr: s.Call, scope: Scope, first: list[tuple[Value, Span]]
) -> Value:
    names = [p.name for p in target.syntax.ports]
    given = [*first, *_arguments(b, expr, scope)]
    values = dict(zip(names, given, strict=False))
    for a in expr.arguments:
        if isinstance(a, s.Named):
            if a.name not in names:
                unknown(b, "argument", a.name, word(a.span, a.name), names, target.syntax.name)
            values[a.name] = (evaluate(b, a.value, scope), a.value.span)
    if len(given) > len(names) or len(values) < len(names):
        _wrong_count(b, target.syntax.name, names, len(given), expr.span)
    return blocks.call_function(b, target, values, _called_at(b, expr, scope))


def _wrong_count(b: Build, name: str, names: Sequence[str], found: int, span: Span) -> NoReturn:
    takes = ", ".join(names) or "nothing"
    b.fail("E322", f"{name} takes {len(names)} argument{'s' * (len(names) != 1)}, not {found}",
           span, f"takes {takes}")  # fmt: skip


def call_builtin(
    b: Build,
    target: Builtin,
    given: Sequence[tuple[Value, Span]],
    span: Span,
    options: dict[str, tuple[Value, Span]] | None = None,
) -> Value:
    """A function of the language itself on worked-out arguments."""
    named = {k: v for k, (v, _) in (options or {}).items()}
    names, needed, many = arity(target.call)
    given_names = [*names[: len(given)], *named]
    unknown_names = [k for k in named if k not in names]
    if (len(given) > len(names) and not many) or unknown_names or (
        len(set(given_names)) < len(given_names) or not needed <= set(given_names)):  # fmt: skip
        _wrong_count(b, target.name, names, len(given), span)
    outer, b.given = b.given, tuple(given)  # so that an error can point at the argument
    try:
        return target.call(b, span, *(v for v, _ in given), **named)
    finally:
        b.given = outer


@cache
def arity(call: Callable[..., Any]) -> tuple[list[str], set[str], bool]:
    """The arguments of a function behind build and place: all, those needed, whether any number."""
    all_of = list(inspect.signature(call).parameters.values())[2:]
    plain = [p for p in all_of if p.kind is not p.VAR_POSITIONAL]
    needed = {p.name for p in plain if p.default is p.empty}
    return [p.name for p in plain], needed, len(plain) < len(all_of)


def apply(b: Build, target: Value, given: Sequence[tuple[Value, Span]], span: Span) -> Value:
    """A function, block, instance or chain on worked-out arguments."""
    match target:
        case BlockDef():
            return apply(b, blocks.instance(b, target, (), target.scope, span), given, span)
        case Instance():
            return blocks.apply_instance(b, target, given, span)
        case Chain():
            value = given
            for part in target.parts:
                value = [(apply(b, part, value, span), span)]
            return value[0][0]
        case Function():
            names = [p.name for p in target.syntax.ports]
            if len(names) != len(given):
                _wrong_count(b, target.syntax.name, names, len(given), span)
            return blocks.call_function(b, target, dict(zip(names, given, strict=True)), span)
        case Builtin():
            return call_builtin(b, target, given, span)
        case PhaseVerb():
            b.fail("E323", describe(target), span, remedy=f"{target.phase}.{target.verb}(...)")
    _not_applied(b, target, span)


def _reduce(b: Build, expr: s.Reduce, scope: Scope) -> Value:
    """`sum(i, j: e)`, `mean(batch: h)`: a reduction over bound indices or a named running axis."""
    target = evaluate(b, expr.function, scope)
    if not (isinstance(target, Builtin) and target.reduces):
        b.fail("E325", "only sum, mean, max, min, argmax, argmin and norm bind an index",
               expr.function.span, f"is {describe(target)}")  # fmt: skip
    inner, axes = scope.child(), []
    for arg in expr.indices:
        axes.append(_bind_index(b, arg, inner))
    body = tensor(b, expr.body, inner)
    return tensors.reduce(b, target.name, body, axes, expr.span)


def _bind_index(b: Build, arg: s.Arg, scope: Scope) -> str:
    """Bind an index of a reduction; the running axis it stands for."""
    name = arg.name if isinstance(arg, s.Ranged) else arg.id if isinstance(arg, s.Name) else None
    if name is None:
        b.fail("E326", "an index is a name, or name in range", arg.span, remedy="sum(i: x[i])")
    if name in ("batch", "time") and not isinstance(arg, s.Ranged):
        return name
    axis = f"{name}.{next(b.counter)}"
    n = Size.of(Var(name, span=arg.span))
    if isinstance(arg, s.Ranged):
        values = listed(b, arg.range, scope)
        if values != list(range(len(values))):
            b.unbuilt("an index range that does not start at 0 and go up by 1", arg.span)
        b.sizes.equate(n, len(values), Reason(arg.span, f"{name} in 0..{len(values) - 1}"))
    scope.value(name, IndexVar(name, axis, n), arg.span)
    return axis


# ---- attributes and indices --------------------------------------------------------------------


def _attr(b: Build, expr: s.Attr, scope: Scope) -> Value:
    body = evaluate(b, expr.body, scope)
    match body:
        case Instance():
            return blocks.attribute(b, body, expr.name, expr.name_span)
        case Record():
            if expr.name not in body.values:
                of = tensors.short(expr.body.span.text)
                kind = "field" if of == "raw" else "result"
                unknown(b, kind, expr.name, expr.name_span, list(body.values), of)
            return body.values[expr.name]
        case Module():
            if body.scope.lookup(expr.name) is None:
                known = list(body.scope.names)
                unknown(b, "name", expr.name, expr.name_span, known, body.name)
            return lookup(b, expr.name, expr.name_span, body.scope)
        case DataValue(part=None):
            data = b.data[body.name]
            if expr.name not in data.parts:
                unknown(b, "part", expr.name, expr.name_span, list(data.parts), body.name)
            return DataValue(body.name, expr.name)
        case PhaseValue():
            return asking.phase_attribute(b, body.name, expr.name, expr.name_span)
    b.fail("E327", f"{describe(body)} has no parts", expr.name_span, "nothing is called so here")


def _index(b: Build, expr: s.Index, scope: Scope) -> Value:
    body = evaluate(b, expr.body, scope)
    if isinstance(body, list):
        if any(isinstance(evaluate(b, i, scope), Node | IndexVar)
               for i in expr.indices if not isinstance(i, s.Slice)):  # fmt: skip
            return _tensor_index(b, tensors.as_tensor(b, body, expr.body.span), expr, scope)
        for part in expr.indices:
            body = _list_index(b, body, part, scope)
        return body
    if isinstance(body, PhaseValue | str):
        b.fail("E328", f"{describe(body)} is not indexed", expr.span)
    if not isinstance(body, Node):
        b.fail("E328", f"{describe(body)} cannot be indexed", expr.span)
    if body.op == "clock" and expr.indices and not isinstance(expr.indices[0], s.Slice):
        at = whole(b, expr.indices[0], scope, "the number of a report")
        return asking.history(b, body, at, expr.span)
    return _tensor_index(b, body, expr, scope)


def _list_index(b: Build, body: Value, part: s.Expr | s.Slice, scope: Scope) -> Value:
    if not isinstance(body, list):
        b.fail("E328", f"{describe(body)} cannot be indexed", part.span)
    if isinstance(part, s.Slice):
        start, stop = _bounds(b, part, scope)
        return body[start:stop]
    i = whole(b, part, scope, "the index of a list")
    if not 0 <= i < len(body):
        b.fail("E208", f"the index {i} is outside 0..{len(body) - 1}", part.span,
               f"the list has {len(body)}", remedy="indices count from 0")  # fmt: skip
    return body[i]


def _bounds(b: Build, part: s.Slice, scope: Scope) -> tuple[int | None, int | None]:
    start = None if part.start is None else whole(b, part.start, scope, "the start of a slice")
    stop = None if part.stop is None else whole(b, part.stop, scope, "the end of a slice")
    return start, stop


def _tensor_index(b: Build, node: Node, expr: s.Index, scope: Scope) -> Value:
    """`x[i, 2, label, :5]`: bound indices run, numbers take, classes pick, slices cut."""
    if len(expr.indices) > len(node.type.example):
        b.fail(
            "E213",
            f"{len(expr.indices)} indices on a tensor with {len(node.type.example)} axes",
            expr.span,
            f"{tensors.short(expr.body.span.text)} is {b.shown(node.type)}",
        )
    axis = 0
    for part in expr.indices:
        if isinstance(part, s.Slice):
            node = tensors.cut(b, node, axis, *_bounds(b, part, scope), part.span)
            axis += 1
            continue
        value = evaluate(b, part, scope)
        if isinstance(value, IndexVar):
            node = tensors.axes_run(b, node, axis, value, part.span)
        elif isinstance(value, Node):
            node = tensors.pick(b, node, axis, value, part.span)
        else:
            node = tensors.take(b, node, axis, whole(b, part, scope, "an index"), part.span)
    return b.mark(node, expr.span)


RULES: dict[type, Callable[..., Value]] = {
    s.Number: _number,
    s.String: _string,
    s.Name: _name,
    s.Group: _group,
    s.Binary: _binary,
    s.Unary: _unary,
    s.Flow: _flow,
    s.Choose: _choose,
    s.Asserted: _asserted,
    s.RangeOf: _range,
    s.Call: _call,
    s.Reduce: _reduce,
    s.Index: _index,
    s.Attr: _attr,
    s.Transpose: _transpose,
    s.ListOf: _list,
    s.Comprehension: _comprehension,
}
