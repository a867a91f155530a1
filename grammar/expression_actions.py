"""The actions of the grammar for expressions, and the places and limits that all actions share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias, TypeVar

from lark import Token

from dln.grammar import syntax as s
from dln.grammar.diagnostics import DlnError, Problem, Source, Span

Kids = list[Any]
Node = TypeVar("Node", bound=s.Syntax)
Action: TypeAlias = "Callable[[Expressions, Kids], s.Syntax]"

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


def held(kid: Any) -> Any:
    """What a node holds of a child: the text of a token, without its quotes; several values as a
    tuple."""
    if type(kid) is Token:
        return kid.value[1:-1] if kid.type == "STRING" else kid.value
    return tuple(kid) if type(kid) is Piece else kid


def expression(kind: type[s.Syntax], *places: int) -> Action:
    """The action that makes an expression of the children at some places."""
    return lambda self, c: self.expr(kind, c, *[held(c[i]) for i in places])


def statement(kind: type[s.Syntax], *places: int) -> Action:
    """The action that makes a statement, an item or a part of one."""
    return lambda self, c: self.make(kind, c, *[held(c[i]) for i in places])


class Expressions:
    """`begin` a source; then each action builds the node of the rule it is named like."""

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

    def pieces(self, c: Kids) -> Piece:
        """Those of the children that are nodes."""
        return self.piece(c)

    arglist = index = pieces

    # ---- expressions ---------------------------------------------------------------------------

    flow = expression(s.Flow, 0, 2)
    choose = expression(s.Choose, 0, 2, 4)
    binary = expression(s.Binary, 1, 0, 2)
    or_ = and_ = compare = add = sub = mul = div = dot = pow = binary
    minus = not_ = expression(s.Unary, 0, 1)
    asserted = expression(s.Asserted, 0, 2)
    span_of = expression(s.RangeOf, 0, 2, 4)
    domain = expression(s.Domain, 0, 2)
    named = expression(s.Named, 0, 2)
    ranged = expression(s.Ranged, 0, 2)
    reduce = expression(s.Reduce, 0, 2, 4)
    index_of = expression(s.Index, 0, 2)
    slice = expression(s.Slice, 0, 2)
    transpose = expression(s.Transpose, 0)
    string = expression(s.String, 0)
    name = expression(s.Name, 0)
    group = expression(s.Group, 1)
    comprehension = expression(s.Comprehension, 2, 4, 6)

    def call(self, c: Kids) -> s.Call:
        before, after = c[2] or ((), ())
        return self.expr(s.Call, c, c[0], before, after)

    def args(self, c: Kids) -> Piece:
        before, after = (c[0], None) if len(c) == 1 else (c[0], c[2])
        return self.piece(c, (tuple(before or ()), tuple(after or ())))

    def attr(self, c: Kids) -> s.Attr:
        return self.expr(s.Attr, c, c[0], c[2].value, self.span(c[2:]))

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

    def long_string(self, c: Kids) -> s.String:
        return self.expr(s.String, c, c[0].value[3:-3].replace("\r\n", "\n"), True)

    def list(self, c: Kids) -> s.ListOf:
        return self.expr(s.ListOf, c, tuple(c[1] or ()))
