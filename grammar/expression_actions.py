"""The actions of the grammar for expressions, and the places and limits that all actions share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from lark import Token

from dln.grammar import syntax as s
from dln.grammar.diagnostics import DlnError, Problem, Source, Span

Kids = list[Any]
Node = TypeVar("Node", bound=s.Syntax)

MAX_DEPTH = 200  # of an expression: recursive walks over it stay below Python's own limit
MAX_OPERANDS = 10_000
MAX_DIGITS = 4_300


class Piece(tuple[Any, ...]):
    """Several values that are no node of their own, and the stretch of text they come from."""

    start: int
    stop: int


def _ends(kid: Any) -> tuple[int, int]:
    if isinstance(kid, s.Syntax):
        return kid.span.start, kid.span.stop
    if isinstance(kid, Token):
        return int(kid.start_pos or 0), int(kid.end_pos or 0)
    return kid.start, kid.stop


def _stretch(kids: Kids) -> tuple[int, int]:
    """Where the text of the children starts and stops, the end of a line left out."""
    there = [k for k in kids if k is not None and not (type(k) is Token and k.type == "_NL")]
    return (_ends(there[0])[0], _ends(there[-1])[1]) if there else (0, 0)


def is_node(kid: Any) -> bool:
    return isinstance(kid, s.Syntax)


class Expressions:
    """`begin` a source; then each method builds the node of the rule it is named like."""

    source: Source
    problems: list[Problem]

    def begin(self, source: Source) -> None:
        self.source = source
        self.problems = []
        self._sizes: dict[int, tuple[int, int]] = {}

    # ---- places and limits -----------------------------------------------------------------

    def span(self, kids: Kids) -> Span:
        return Span(self.source, *_stretch(kids))

    def make(self, kind: Callable[..., Node], kids: Kids, *values: Any) -> Node:
        """A statement, an item or a part of one."""
        return kind(*values, span=self.span(kids))

    def expr(self, kind: Callable[..., Node], kids: Kids, *values: Any) -> Node:
        """An expression, refused when it is too deep or too long."""
        node = kind(*values, span=self.span(kids))
        self._sizes[id(node)] = self._measure(kids, node.span)
        return node

    def _measure(self, kids: Kids, span: Span) -> tuple[int, int]:
        """Depth of the expression built from `kids` and its number of operands."""
        sizes, depth, operands = self._sizes, 0, 0
        for kid in kids:
            for part in kid if type(kid) is Piece else (kid,):
                size = sizes.get(id(part)) if isinstance(part, s.Syntax) else None
                if size:
                    depth, operands = max(depth, size[0]), operands + size[1]
        if depth >= MAX_DEPTH:
            raise DlnError([self._too_big(span, f"more than {MAX_DEPTH} operations deep")])
        if operands > MAX_OPERANDS:
            raise DlnError([self._too_big(span, f"longer than {MAX_OPERANDS} operands")])
        return depth + 1, max(1, operands)

    def _too_big(self, span: Span, what: str) -> Problem:
        start = Span(span.source, span.start, span.start + 1)
        remedy = "give parts of it names of their own, or reduce over an index: sum(i: ...)"
        return Problem("E151", f"this expression is {what}", start, "starts here", remedy=remedy)

    def piece(self, kids: Kids, values: Iterable[Any] | None = None) -> Piece:
        made = Piece(filter(is_node, kids) if values is None else values)
        made.start, made.stop = _stretch(kids)
        return made

    # ---- expressions ---------------------------------------------------------------------------

    def flow(self, c: Kids) -> s.Flow:
        return self.expr(s.Flow, c, c[0], c[2])

    def choose(self, c: Kids) -> s.Choose:
        return self.expr(s.Choose, c, c[0], c[2], c[4])

    def binary(self, c: Kids) -> s.Binary:
        return self.expr(s.Binary, c, c[1].value, c[0], c[2])

    or_ = and_ = compare = add = sub = mul = div = dot = pow = binary

    def minus(self, c: Kids) -> s.Unary:
        return self.expr(s.Unary, c, c[0].value, c[1])

    not_ = minus

    def asserted(self, c: Kids) -> s.Asserted:
        return self.expr(s.Asserted, c, c[0], c[2])

    def span_of(self, c: Kids) -> s.RangeOf:
        return self.expr(s.RangeOf, c, c[0], c[2], c[4])

    def call(self, c: Kids) -> s.Call:
        before, after = c[2] or ((), ())
        return self.expr(s.Call, c, c[0], before, after)

    def args(self, c: Kids) -> Piece:
        before, after = (c[0], None) if len(c) == 1 else (c[0], c[2])
        return self.piece(c, (tuple(before or ()), tuple(after or ())))

    def arglist(self, c: Kids) -> Piece:
        return self.piece(c)

    def named(self, c: Kids) -> s.Named:
        return self.expr(s.Named, c, c[0].value, c[2])

    def ranged(self, c: Kids) -> s.Ranged:
        return self.expr(s.Ranged, c, c[0].value, c[2])

    def reduce(self, c: Kids) -> s.Reduce:
        return self.expr(s.Reduce, c, c[0], tuple(c[2]), c[4])

    def index_of(self, c: Kids) -> s.Index:
        return self.expr(s.Index, c, c[0], tuple(c[2]))

    def index(self, c: Kids) -> Piece:
        return self.piece(c)

    def slice(self, c: Kids) -> s.Slice:
        return self.expr(s.Slice, c, c[0], c[2])

    def attr(self, c: Kids) -> s.Attr:
        return self.expr(s.Attr, c, c[0], c[2].value, self.span(c[2:]))

    def transpose(self, c: Kids) -> s.Transpose:
        return self.expr(s.Transpose, c, c[0])

    def number(self, c: Kids) -> s.Number:
        return self.expr(s.Number, c, self._value(c[0]))

    def _value(self, token: Token) -> int | float:
        """The value of a written number; one that no float holds is a problem, and 0."""
        whole = token.value.isdecimal()
        if len(token) <= MAX_DIGITS:
            value = int(token) if whole else float(token)
            if whole or math.isfinite(value):
                return value
        message = f"this number has more than {MAX_DIGITS} digits"
        if len(token) <= MAX_DIGITS:
            message = "this number is too large: the largest is about 1.8e308"
        self.problems.append(Problem("E152", message, self.span([token])))
        return 0

    def string(self, c: Kids) -> s.String:
        return self.expr(s.String, c, c[0].value[1:-1])

    def long_string(self, c: Kids) -> s.String:
        return self.expr(s.String, c, c[0].value[3:-3].replace("\r\n", "\n"), True)

    def name(self, c: Kids) -> s.Name:
        return self.expr(s.Name, c, c[0].value)

    def group(self, c: Kids) -> s.Group:
        return self.expr(s.Group, c, c[1])

    def list(self, c: Kids) -> s.ListOf:
        return self.expr(s.ListOf, c, tuple(c[1] or ()))

    def comprehension(self, c: Kids) -> s.Comprehension:
        return self.expr(s.Comprehension, c, c[2].value, c[4], c[6])
