"""Expressions of a spec, made piece by piece; the printer puts the brackets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dln.grammar import syntax as s
from dln.grammar.diagnostics import Source, Span
from dln.grammar.printer import expr_text

NOWHERE = Span(Source("", ""), 0, 0)


def name(text: str) -> s.Expr:
    return s.Name(text, span=NOWHERE)


def number(value: float | int) -> s.Expr:
    """A number as short as it can be; -2 is a sign and a number."""
    value = int(value) if float(value).is_integer() and abs(value) < 1e15 else float(value)
    if value < 0:
        return s.Unary("-", s.Number(-value, span=NOWHERE), span=NOWHERE)
    return s.Number(value, span=NOWHERE)


def call(function: str, *arguments: s.Expr, **options: s.Expr) -> s.Expr:
    named = [s.Named(k, v, span=NOWHERE) for k, v in options.items()]
    return s.Call(name(function), (*arguments, *named), span=NOWHERE)


def binary(op: str, left: s.Expr, right: s.Expr) -> s.Expr:
    return s.Binary(op, left, right, span=NOWHERE)


def minus(body: s.Expr) -> s.Expr:
    return s.Unary("-", body, span=NOWHERE)


def negated(body: s.Expr) -> s.Expr:
    return s.Unary("not", body, span=NOWHERE)


def choose(test: s.Expr, then: s.Expr, other: s.Expr) -> s.Expr:
    return s.Choose(then, test, other, span=NOWHERE)


def index(body: s.Expr, at: Sequence[s.Expr | s.Slice]) -> s.Expr:
    return s.Index(body, tuple(at), span=NOWHERE) if at else body


def part(start: int | None, stop: int | None) -> s.Slice:
    """`start:stop`, counted from 0."""
    first, last = (None if v is None else number(v) for v in (start or None, stop))
    return s.Slice(first, last, span=NOWHERE)


def reduce(function: str, over: Iterable[s.Arg], body: s.Expr) -> s.Expr:
    return s.Reduce(name(function), tuple(over), body, span=NOWHERE)


def ranged(index: str, size: int) -> s.Arg:
    """`index in 0..size-1`."""
    return s.Ranged(index, s.RangeOf(number(0), number(size - 1), None, span=NOWHERE), span=NOWHERE)


def flow(source: s.Expr, target: s.Expr) -> s.Expr:
    return s.Flow(source, target, span=NOWHERE)


def items(values: Iterable[s.Expr]) -> s.Expr:
    return s.ListOf(tuple(values), span=NOWHERE)


def domained(body: s.Expr, domain: str, size: int | None = None) -> s.Expr:
    held = s.Domain(domain, None if size is None else number(size), span=NOWHERE)
    return s.Asserted(body, held, span=NOWHERE)


def text(value: str) -> s.Expr:
    return s.String(value, span=NOWHERE)


def texts(values: Iterable[s.Syntax]) -> list[str]:
    return [expr_text(v) for v in values]
