"""The syntax tree: one frozen dataclass for each construct, named like the grammar's rule.

Every node has a `span`, which takes no part in comparison: two texts that differ only in layout
have equal trees. Nothing here knows what a name means; `compiler.build` resolves them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from dln.grammar.diagnostics import Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Syntax:
    """Anything with a place in a source."""

    span: Span = field(compare=False, repr=False)


# ---- expressions -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Number(Syntax):
    """`2`, `0.5`, `1e-4`: an int where it is written without point and exponent."""

    value: int | float


@dataclass(frozen=True, slots=True)
class String(Syntax):
    """`"text"`, or `\"\"\"long text\"\"\"` when `long`."""

    value: str
    long: bool = False


@dataclass(frozen=True, slots=True)
class Name(Syntax):
    id: str


@dataclass(frozen=True, slots=True)
class Group(Syntax):
    """`(body)`: kept, so that the printer gives back the brackets that were written."""

    body: Expr


@dataclass(frozen=True, slots=True)
class Binary(Syntax):
    """`left op right`, op one of `+ - * / @ ^ == != <= >= < > and or`."""

    op: str
    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True)
class Unary(Syntax):
    """`-body` or `not body`."""

    op: str
    body: Expr


@dataclass(frozen=True, slots=True)
class Flow(Syntax):
    """`source -> target`: the left side is the port of the right."""

    source: Expr
    target: Expr


@dataclass(frozen=True, slots=True)
class Choose(Syntax):
    """`then if test else other`."""

    then: Expr
    test: Expr
    other: Expr


@dataclass(frozen=True, slots=True)
class Asserted(Syntax):
    """`body as domain`."""

    body: Expr
    domain: Domain


@dataclass(frozen=True, slots=True)
class RangeOf(Syntax):
    """`first..last by step`, both ends included."""

    first: Expr
    last: Expr
    step: Expr | None


@dataclass(frozen=True, slots=True)
class Named(Syntax):
    """`name = value` among arguments."""

    name: str
    value: Expr


@dataclass(frozen=True, slots=True)
class Ranged(Syntax):
    """`name in range` among the indices of a reduction."""

    name: str
    range: Expr


@dataclass(frozen=True, slots=True)
class Call(Syntax):
    """`function(positional; options)`. Arguments before and after the semicolon are kept apart."""

    function: Expr
    arguments: tuple[Arg, ...]
    options: tuple[Arg, ...] = ()


@dataclass(frozen=True, slots=True)
class Reduce(Syntax):
    """`function(i, j in 0..2: body)`: a reduction over bound indices."""

    function: Expr
    indices: tuple[Arg, ...]
    body: Expr


@dataclass(frozen=True, slots=True)
class Slice(Syntax):
    """`start:stop` inside an index; `stop` excluded."""

    start: Expr | None
    stop: Expr | None


@dataclass(frozen=True, slots=True)
class Index(Syntax):
    body: Expr
    indices: tuple[Expr | Slice, ...]


@dataclass(frozen=True, slots=True)
class Attr(Syntax):
    body: Expr
    name: str
    name_span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Transpose(Syntax):
    body: Expr


@dataclass(frozen=True, slots=True)
class ListOf(Syntax):
    items: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Comprehension(Syntax):
    """`[for name in range: body]`."""

    name: str
    range: Expr
    body: Expr


Expr: TypeAlias = (
    Number | String | Name | Group | Binary | Unary | Flow | Choose | Asserted | RangeOf
    | Call | Reduce | Index | Attr | Transpose | ListOf | Comprehension
)  # fmt: skip
Arg: TypeAlias = Expr | Named | Ranged


# ---- ports, options, declarations --------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Domain(Syntax):
    """`prob`, `class(10)`, ..."""

    name: str
    size: Expr | None


@dataclass(frozen=True, slots=True)
class Port(Syntax):
    """`name[dims]: domain`; `dims` is None where no brackets stand."""

    name: str
    dims: tuple[Expr, ...] | None
    domain: Domain | None


@dataclass(frozen=True, slots=True)
class Option(Syntax):
    name: str
    dims: tuple[Expr, ...] | None
    default: Expr | None


@dataclass(frozen=True, slots=True)
class Declared(Syntax):
    """One parameter or fixed value: `name[dims] = value where mask` or `~ draw`."""

    name: str
    dims: tuple[Expr, ...] | None
    value: Expr
    drawn: bool
    where: Expr | None


@dataclass(frozen=True, slots=True)
class NameIx(Syntax):
    """`name` or `name[index]`, the name of a phase."""

    name: str
    index: Expr | None


# ---- statements --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Param(Syntax):
    declared: tuple[Declared, ...]


@dataclass(frozen=True, slots=True)
class Fixed(Syntax):
    declared: tuple[Declared, ...]


@dataclass(frozen=True, slots=True)
class Hidden(Syntax):
    ports: tuple[Port, ...]


@dataclass(frozen=True, slots=True)
class Define(Syntax):
    """`name[indices]: domain = value`."""

    target: Port
    value: Expr


@dataclass(frozen=True, slots=True)
class Draw(Syntax):
    """`name ~ distribution`."""

    target: Port
    value: Expr


@dataclass(frozen=True, slots=True)
class Energy(Syntax):
    value: Expr


@dataclass(frozen=True, slots=True)
class Scan(Syntax):
    name: str
    range: Expr | None
    body: tuple[Stmt, ...]


@dataclass(frozen=True, slots=True)
class For(Syntax):
    """`for name in range { ... }`, of items or of statements."""

    name: str
    range: Expr
    body: tuple[Item | Stmt, ...]


@dataclass(frozen=True, slots=True)
class Let(Syntax):
    name: str
    value: Expr


@dataclass(frozen=True, slots=True)
class Expect(Syntax):
    value: Expr
    within: Expr | None


# ---- items -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Use(Syntax):
    path: str
    alias: str | None


@dataclass(frozen=True, slots=True)
class Const(Syntax):
    name: str
    value: Expr


@dataclass(frozen=True, slots=True)
class Fn(Syntax):
    """`fn name(ports) -> domain = value`."""

    name: str
    ports: tuple[Port, ...]
    domain: Domain | None
    value: Expr


@dataclass(frozen=True, slots=True)
class Block(Syntax):
    name: str
    ports: tuple[Port, ...]
    options: tuple[Option, ...]
    results: tuple[Port, ...]
    body: tuple[Stmt, ...]


@dataclass(frozen=True, slots=True)
class State(Syntax):
    name: str
    value: Expr


@dataclass(frozen=True, slots=True)
class SetTo(Syntax):
    """`name := value`."""

    name: str
    value: Expr


@dataclass(frozen=True, slots=True)
class Optimiser(Syntax):
    name: str
    names: tuple[str, ...]
    options: tuple[Option, ...]
    body: tuple[State | SetTo | Define, ...]


@dataclass(frozen=True, slots=True)
class Field(Syntax):
    """A field of a data set, drawn afresh at each visit when `drawn`."""

    port: Port
    value: Expr
    drawn: bool = False


@dataclass(frozen=True, slots=True)
class Part(Syntax):
    """One part of a split: a count, or a fraction below 1."""

    name: str
    size: Expr


@dataclass(frozen=True, slots=True)
class Split(Syntax):
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Setting(Syntax):
    name: str
    value: Expr


@dataclass(frozen=True, slots=True)
class Data(Syntax):
    name: str
    reader: Expr
    like: str | None
    body: tuple[Field | Split | Setting, ...]


@dataclass(frozen=True, slots=True)
class Clause(Syntax):
    """A clause of `train`: kind is batch, for, stream, order, dtype or seed.

    `unit` goes with `for` (epoch, update, step or second, singular); `word` with dtype.
    """

    kind: str
    value: Expr | None = None
    unit: str | None = None
    word: str | None = None


@dataclass(frozen=True, slots=True)
class After(Syntax):
    phases: tuple[NameIx, ...]


@dataclass(frozen=True, slots=True)
class Minimize(Syntax):
    total: bool
    loss: Expr
    over: tuple[Expr, ...]
    optimiser: Expr


@dataclass(frozen=True, slots=True)
class Update(Syntax):
    """`update total target += value`."""

    total: bool
    target: Expr
    value: Expr


@dataclass(frozen=True, slots=True)
class Start(Syntax):
    """`start target := value`."""

    target: Expr
    value: Expr


@dataclass(frozen=True, slots=True)
class Step(Syntax):
    name: str
    body: tuple[Stmt, ...]


@dataclass(frozen=True, slots=True)
class Every(Syntax):
    """`every count unit`; the unit in the singular."""

    count: Expr
    unit: str


@dataclass(frozen=True, slots=True)
class Watch(Syntax):
    total: bool
    name: str
    value: Expr
    on: Expr | None
    every: Every | None


@dataclass(frozen=True, slots=True)
class Checkpoint(Syntax):
    """`checkpoint every 1 epoch` or `checkpoint best by error`."""

    every: Every | None
    best: Expr | None


@dataclass(frozen=True, slots=True)
class Until(Syntax):
    value: Expr


@dataclass(frozen=True, slots=True)
class Train(Syntax):
    name: NameIx
    on: Expr
    clauses: tuple[Clause | After, ...]
    body: tuple[Stmt, ...]


@dataclass(frozen=True, slots=True)
class Emit(Syntax):
    value: Expr
    to: str | None


@dataclass(frozen=True, slots=True)
class Task(Syntax):
    name: str
    options: tuple[Option, ...]
    body: tuple[Stmt, ...]


@dataclass(frozen=True, slots=True)
class Vary(Syntax):
    name: str
    range: Expr


@dataclass(frozen=True, slots=True)
class Report(Syntax):
    values: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Sweep(Syntax):
    name: str
    body: tuple[Vary | Report | Expect, ...]


@dataclass(frozen=True, slots=True)
class Check(Syntax):
    text: str
    slow: bool
    body: tuple[Stmt, ...]


Stmt: TypeAlias = (
    Param | Fixed | Hidden | Let | Define | Draw | Energy | Scan | For | Expect
    | Minimize | Update | Start | Step | Watch | Checkpoint | Until | Emit
)  # fmt: skip
Item: TypeAlias = (
    Use | Const | Fn | Block | Optimiser | Let | Data | Train | Task | Sweep | Check | For
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Module(Syntax):
    """A whole file: the version of the language it asks for, and its items in order."""

    version: int | float | None
    items: tuple[Item, ...]
