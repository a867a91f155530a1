"""The syntax tree of expressions: one record for each construct, named like the grammar's rule."""

from __future__ import annotations

from typing import TypeAlias

from dln.grammar.diagnostics import Span
from dln.grammar.record import Record


class Syntax(Record, kw_only=True):
    """Anything with a place in a source."""

    span: Span

    def children(self) -> list[Syntax]:
        """What it is made of."""
        found: list[Syntax] = []
        for value in vars(self).values():
            if isinstance(value, Syntax):
                found.append(value)
            elif isinstance(value, tuple):
                found.extend([part for part in value if isinstance(part, Syntax)])
        return found


class Number(Syntax):
    """`2`, `0.5`, `1e-4`: an int where it is written without point and exponent."""

    value: int | float


class String(Syntax):
    """`"text"`, or `\"\"\"long text\"\"\"` when `long`."""

    value: str
    long: bool = False


class Name(Syntax):
    id: str


class Group(Syntax):
    """`(body)`: kept, so that the printer gives back the brackets that were written."""

    body: Expr


class Binary(Syntax):
    """`left op right`, op one of `+ - * / @ ^ == != <= >= < > and or`."""

    op: str
    left: Expr
    right: Expr


class Unary(Syntax):
    """`-body` or `not body`."""

    op: str
    body: Expr


class Flow(Syntax):
    """`source -> target`: the left side is the port of the right."""

    source: Expr
    target: Expr


class Choose(Syntax):
    """`then if test else other`."""

    then: Expr
    test: Expr
    other: Expr


class Asserted(Syntax):
    """`body as domain`."""

    body: Expr
    domain: Domain


class RangeOf(Syntax):
    """`first..last by step`, both ends included."""

    first: Expr
    last: Expr
    step: Expr | None


class Named(Syntax):
    """`name = value` among arguments."""

    name: str
    value: Expr


class Ranged(Syntax):
    """`name in range` among the indices of a reduction."""

    name: str
    range: Expr


class Call(Syntax):
    """`function(positional; options)`. Arguments before and after the semicolon are kept apart."""

    function: Expr
    arguments: tuple[Arg, ...]
    options: tuple[Arg, ...] = ()

    @property
    def plain(self) -> list[Expr]:
        """The arguments that are given by their places."""
        return [a for a in self.arguments if not isinstance(a, Named | Ranged)]

    @property
    def named(self) -> dict[str, Named]:
        """The arguments that are given by name."""
        return {a.name: a for a in self.arguments if isinstance(a, Named)}

    @property
    def only(self) -> Expr | None:
        """The argument of a call that has one, given by its place."""
        return self.plain[0] if len(self.arguments) == len(self.plain) == 1 else None


class Reduce(Syntax):
    """`function(i, j in 0..2: body)`: a reduction over bound indices."""

    function: Expr
    indices: tuple[Arg, ...]
    body: Expr


class Slice(Syntax):
    """`start:stop` inside an index; `stop` excluded."""

    start: Expr | None
    stop: Expr | None


class Index(Syntax):
    body: Expr
    indices: tuple[Expr | Slice, ...]


class Attr(Syntax):
    body: Expr
    name: str
    name_span: Span


class Transpose(Syntax):
    body: Expr


class ListOf(Syntax):
    items: tuple[Expr, ...]


class Comprehension(Syntax):
    """`[for name in range: body]`."""

    name: str
    range: Expr
    body: Expr


class Domain(Syntax):
    """`prob`, `class(10)`, ...; the `words` of `class("no", "yes")`, whose size is their number."""

    name: str
    size: Expr | None
    words: tuple[String, ...] = ()


Expr: TypeAlias = (
    Number | String | Name | Group | Binary | Unary | Flow | Choose | Asserted | RangeOf
    | Call | Reduce | Index | Attr | Transpose | ListOf | Comprehension
)  # fmt: skip
Arg: TypeAlias = Expr | Named | Ranged
