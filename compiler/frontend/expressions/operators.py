"""Literals, lists and operators.

What is known when the spec is read is worked out here and now; tensors become nodes.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from typing import Any

from dln.compiler.frontend.context import broadcasting, counting
from dln.compiler.frontend.context.build_context import Build, Scope, Value
from dln.compiler.frontend.context.place import replace
from dln.compiler.frontend.context.static_values import listed, static, tensor
from dln.compiler.frontend.context.values import NUMBER, VALUE, DataValue, describe, unfit
from dln.compiler.frontend.data import assertions, splits
from dln.compiler.frontend.tensors import affine_index, axes, pointwise, reductions
from dln.compiler.ir.graph import Node
from dln.compiler.ir.sizes import Size
from dln.compiler.schema.tables import COMPARISONS
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Span

LONGEST = 100_000  # entries of a range
ARITHMETIC: dict[str, tuple[str, Callable[[Any, Any], Any]]] = {
    "+": ("add", operator.add),
    "-": ("sub", operator.sub),
    "*": ("mul", operator.mul),
    "/": ("div", operator.truediv),
    "^": ("pow", operator.pow),
}


# ---- literals, lists, ranges -------------------------------------------------------------------


def _range(b: Build, expr: s.RangeOf, scope: Scope) -> Value:
    first = static(b, expr.first, scope, "the start of a range")
    last = static(b, expr.last, scope, "the end of a range")
    step = 1 if expr.step is None else static(b, expr.step, scope, "the step of a range")
    numbers: list[float] = []
    for value, part in ((first, expr.first), (last, expr.last), (step, expr.step or expr.last)):
        if not isinstance(value, int | float):
            text = "a range goes from number to number"
            unfit(b, "E305", text, part.span, value, NUMBER)
        numbers.append(value)
    start, stop, stride = numbers
    if stride <= 0:
        b.fail("E306", "the step of a range must be positive", (expr.step or expr).span)
    n = math.floor((stop - start) / stride + 1e-9) + 1
    if n < 1 and isinstance(expr.first, s.Number) and isinstance(expr.last, s.Number):
        text = f"the range {expr.span.text} is empty"
        fact = f"the two alone, in this order, are [{expr.first.span.text}, {expr.last.span.text}]"
        b.fail("E306", text, expr.span, "a range goes upwards", facts=(fact,))
    if n > LONGEST:
        label = f"at most {LONGEST} are worked out while a spec is read"
        b.fail("E309", f"a list of {n} numbers is too long", expr.span, label)
    return [start + i * stride for i in range(n)]


def _comprehension(b: Build, expr: s.Comprehension, scope: Scope) -> Value:
    out = []
    for i, value in enumerate(listed(b, expr.range, scope)):
        inner = scope.child()
        inner.value(expr.name, value, expr.span)
        out.append(_item(b, expr.body, inner, f"[{i}]"))
    return out


def _item(b: Build, expr: s.Expr, scope: Scope, suffix: str) -> Value:
    return replace(b, naming=b.naming.part(suffix)).evaluate(expr, scope)


# ---- operators ---------------------------------------------------------------------------------


def _binary(b: Build, expr: s.Binary, scope: Scope) -> Value:
    if expr.op in ("and", "or"):
        return _logic(b, expr, scope)
    left, right = b.evaluate(expr.left, scope), b.evaluate(expr.right, scope)
    spans = (expr.left.span, expr.right.span)
    if expr.op == "@":
        return reductions.contract(b, left, right, expr.span, spans)
    if expr.op in COMPARISONS:
        return _compare(b, expr.op, left, right, expr.span, spans)
    if counting.is_index(left) or counting.is_index(right):
        form = affine_index.arithmetic(b, expr.op, left, right, expr.span, spans)
        if form is not None:
            return form
    if isinstance(left, list) or isinstance(right, list):
        left, right = (
            broadcasting.as_tensor(b, v, p) if isinstance(v, list) else v
            for v, p in zip((left, right), spans, strict=True)
        )
    if isinstance(left, DataValue) and isinstance(right, DataValue) and expr.op in "+-":
        return splits.joined(b, expr.op, left, right, expr)
    if _plain(left) and _plain(right):
        return _arithmetic(b, expr, left, right)
    return pointwise.binary(b, ARITHMETIC[expr.op][0], left, right, expr.span, spans)


def _plain(value: Value) -> bool:
    return isinstance(value, int | float | str | Size)


def _arithmetic(b: Build, expr: s.Binary, left: Value, right: Value) -> Value:
    """Arithmetic on numbers and sizes, here and now."""
    for v, e in ((left, expr.left), (right, expr.right)):
        if isinstance(v, str):
            fact = 'texts and numbers are joined by text: text("a", 1)'
            b.fail("E302", "a text is no number", e.span, "is a text", facts=(fact,))
    left, right = (b.resolve(v) if isinstance(v, Size) else v for v in (left, right))
    if isinstance(left, Size) or isinstance(right, Size):
        if isinstance(left, int | Size) and isinstance(right, int | Size):
            if expr.op in "+-":
                return left + right if expr.op == "+" else left - right
            if expr.op == "*" and isinstance(right, int):
                return left * right
            if expr.op == "*" and isinstance(left, int):
                return right * left
        spans = (expr.left.span, expr.right.span)
        return pointwise.binary(b, ARITHMETIC[expr.op][0], left, right, expr.span, spans)
    assert isinstance(left, int | float) and isinstance(right, int | float)
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
    if isinstance(left, str) != isinstance(right, str):
        other = describe(right if isinstance(left, str) else left)
        text, fact = f"a text and {other} cannot be compared", "both are texts, or both numbers"
        b.fail("E302", text, span, facts=(fact,))
    if isinstance(left, list) and isinstance(right, list) and op in ("==", "!="):
        if not any(isinstance(v, Node) for v in [*left, *right]):
            same = [b.resolve(v) if isinstance(v, Size) else v for v in left] == right
            return same == (op == "==")
    if isinstance(left, int | float | str) and isinstance(right, int | float | str):
        return COMPARISONS[op][1](left, right)
    return pointwise.compare(b, op, left, right, span, spans)


def _logic(b: Build, expr: s.Binary, scope: Scope) -> Value:
    left = b.evaluate(expr.left, scope)
    if isinstance(left, bool) and left == (expr.op == "or"):
        return left
    right = b.evaluate(expr.right, scope)
    if isinstance(left, bool):
        return right
    nodes = [truth(b, v, e.span) for v, e in ((left, expr.left), (right, expr.right))]
    return b.at(expr.span)(expr.op, *broadcasting.align(b, nodes, expr.span))


def truth(b: Build, value: Value, span: Span, what: str = "and, or and not take") -> Node:
    """A value as one that holds or does not; a number is none."""
    node = broadcasting.as_tensor(b, value, span)
    if node.type.kind != "bool":
        is_ = "numbers" if node.type.example else "a number"
        is_ = "a class" if node.type.domain.name == "class" else is_
        held = span.text if re.fullmatch(r"[A-Za-z_][\w.]*", span.text) else "x"
        remedy = f"compare it: {held} > 0"
        b.fail("E314", f"{what} truth values", span, f"is {is_}", remedy=remedy)
    return node


def _unary(b: Build, expr: s.Unary, scope: Scope) -> Value:
    value = b.evaluate(expr.body, scope)
    if expr.op == "not":
        if isinstance(value, bool):
            return not value
        return b.at(expr.span)("not", truth(b, value, expr.body.span))
    if counting.is_index(value):
        sides = (expr.span, expr.body.span)
        form = affine_index.arithmetic(b, "-", 0, value, expr.span, sides)
        return pointwise.unary(b, "neg", value, expr.span) if form is None else form
    if isinstance(value, Node | list):
        return pointwise.unary(b, "neg", value, expr.span)
    if isinstance(value, bool) or not isinstance(value, int | float | Size):
        unfit(b, "E302", "only numbers have a minus", expr.body.span, value, VALUE)
    return -value


def _choose(b: Build, expr: s.Choose, scope: Scope) -> Value:
    test = b.evaluate(expr.test, scope)
    if isinstance(test, bool):
        return b.evaluate(expr.then if test else expr.other, scope)
    then, other = b.evaluate(expr.then, scope), b.evaluate(expr.other, scope)
    spans = (expr.test.span, expr.then.span, expr.other.span)
    return pointwise.choose(b, test, then, other, expr.span, spans)


RULES: dict[type, Callable[..., Value]] = {
    s.Number: lambda b, expr, scope: expr.value,
    s.String: lambda b, expr, scope: expr.value,
    s.Group: lambda b, expr, scope: b.evaluate(expr.body, scope),
    s.Binary: _binary,
    s.Unary: _unary,
    s.Choose: _choose,
    s.Asserted: lambda b, expr, scope: assertions.asserted(
        b, tensor(b, expr.body, scope), expr, scope
    ),
    s.RangeOf: _range,
    s.Transpose: lambda b, expr, scope: axes.transpose(b, b.evaluate(expr.body, scope), expr.span),
    s.ListOf: lambda b, expr, scope: [
        _item(b, e, scope, f"[{i}]") for i, e in enumerate(expr.items)
    ],
    s.Comprehension: _comprehension,
}
