"""`expect` in a block: what must hold of its sizes and options wherever it is applied.

It is tested when the spec is read, where every size is known; what needs numbers of a run belongs
into a `check`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Self

from dln.compiler.frontend.context import broadcasting
from dln.compiler.frontend.context.build_context import Build, Scope, Value
from dln.compiler.frontend.context.static_values import lookup, static
from dln.compiler.frontend.context.values import NUMBER, VALUE, describe, unfit
from dln.compiler.ir.graph import Node
from dln.compiler.ir.sizes import Size
from dln.compiler.schema.tables import COMPARISONS
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Note


class Requirement(str):
    """Under which name a scope holds a requirement; no spec can say it."""

    def __new__(cls, st: s.Expect) -> Self:
        return super().__new__(cls, f"_expect {st.span.start}")


def ask(b: Build, scope: Scope) -> None:
    """Test what is required in a scope."""
    for name, binding in list(scope.names.items()):
        if isinstance(name, Requirement) and binding.span is not None:
            lookup(b, name, binding.span, scope)


def require(b: Build, st: s.Expect, scope: Scope) -> bool:
    """Read a requirement, and test it as soon as the sizes in it are known."""
    if b.built.rehearsal:  # it is of how the block is used
        _kinds(b, st, scope)
        return True
    value = st.value
    while isinstance(value, s.Group):
        value = value.body
    op, within = "==", 0.0
    if isinstance(value, s.Binary) and value.op in COMPARISONS:
        op, left, right = value.op, _known(b, value.left, scope), _known(b, value.right, scope)
    else:
        left, right = _known(b, value, scope), True
    if st.within is not None:
        tolerance = static(b, st.within, scope, "a tolerance")
        if not isinstance(tolerance, int | float):
            unfit(b, "E305", "a tolerance is a number", st.within.span, tolerance, NUMBER)
        within = tolerance
        if op != "==":
            b.fail("E370", "within goes with ==", st.within.span, f"a tolerance beside {op}")
    test = partial(_test, b, st, op, left, right, within)
    if any(isinstance(v, Size) and b.number(v) is None for v in _flat([left, right])):
        b.owned.requirements.append(test)
    else:
        test()
    return True


def _kinds(b: Build, st: s.Expect, scope: Scope) -> None:
    """Whether what a block requires may hold at all: a comparison, of two things of one kind."""
    value = st.value
    while isinstance(value, s.Group):
        value = value.body
    if not (isinstance(value, s.Binary) and value.op in COMPARISONS):
        found = b.evaluate(value, scope)
        if isinstance(found, Size | int | float | str | list) and not isinstance(found, bool):
            fact = "as in expect m < n, or expect shape(y) == [m]"
            text = "a block requires what holds or not"
            b.fail("E439", text, value.span, f"is {describe(found)}", facts=(fact,))
        return
    sides = [b.evaluate(e, scope) for e in (value.left, value.right)]
    for side, e in zip(sides, (value.left, value.right), strict=True):
        if not isinstance(side, Size | int | float | str | list | range | Node):
            text = "a block requires something of numbers, sizes and texts"
            unfit(b, "E439", text, e.span, side, VALUE)
    lists = [isinstance(v, list | range) for v in sides]
    if lists[0] != lists[1] and not any(isinstance(v, Node) for v in sides):
        text, label = "a list equals a list alone", f"is {describe(sides[0])}"
        notes = (Note(value.left.span, label),)
        fact = "as in shape(y) == [m], or shape(y)[0] == m"
        b.fail("E439", text, value.right.span, f"is {describe(sides[1])}", notes, facts=(fact,))


def _known(b: Build, expr: s.Expr, scope: Scope) -> Value:
    """A number, text or truth value, a size that will be known, or a list of such."""
    value = b.evaluate(expr, scope)
    if isinstance(value, Size):
        return value
    for part in _flat(value):
        if not isinstance(part, Size | int | float | str):
            text = "what a block requires must be known when the spec is read"
            label, remedy = "is worked out in a run", "expect it in a check"
            b.fail("E304", text, expr.span, label, remedy=remedy)
    return value


def _flat(value: Value) -> Iterator[Value]:
    if isinstance(value, list | range):
        for part in value:
            yield from _flat(part)
    else:
        yield value


def _test(b: Build, st: s.Expect, op: str, left: Value, right: Value, within: float) -> None:
    found, wanted = _resolved(b, left), _resolved(b, right)
    if _holds(op, found, wanted, within):
        return
    sizes = [v for v in _flat([left, right]) if isinstance(v, Size)]
    text = f"{broadcasting.whole_text(st.value.span.text)} is required"
    label = "is false" if wanted is True else f"{found} {op} {wanted} is false"
    b.fail("E373", text, st.span, label, b.proof_notes(*sizes, skip=st.span))


def _resolved(b: Build, value: Value) -> Value:
    if isinstance(value, list | range):
        return [_resolved(b, v) for v in value]
    return b.resolve(value) if isinstance(value, Size) else value


def _holds(op: str, left: Value, right: Value, within: float) -> bool:
    """Whether two values compare as required; lists element by element."""
    if isinstance(left, list) and isinstance(right, list):
        pairs = zip(left, right, strict=False)
        return len(left) == len(right) and all(_holds(op, a, c, within) for a, c in pairs)
    if isinstance(left, list) or isinstance(right, list):
        return False
    if within and isinstance(left, int | float) and isinstance(right, int | float):
        return abs(left - right) <= within
    try:
        return bool(COMPARISONS[op][1](left, right))
    except TypeError:
        return False
