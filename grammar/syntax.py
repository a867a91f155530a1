"""The syntax tree: one record for each construct, named like the grammar's rule.

Every node has a `span`, which takes no part in comparison: two texts that differ only in layout
have equal trees. Nothing here knows what a name means; `compiler.build` resolves them.
"""

from __future__ import annotations

from typing import TypeAlias

from dln.grammar.diagnostics import Span
from dln.grammar.record import Record, keyword


class Syntax(Record):
    """Anything with a place in a source."""

    span: Span = keyword(kw_only=True)


# ---- expressions -------------------------------------------------------------------------------


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


Expr: TypeAlias = (
    Number | String | Name | Group | Binary | Unary | Flow | Choose | Asserted | RangeOf
    | Call | Reduce | Index | Attr | Transpose | ListOf | Comprehension
)  # fmt: skip
Arg: TypeAlias = Expr | Named | Ranged


# ---- ports, options, declarations --------------------------------------------------------------


class Domain(Syntax):
    """`prob`, `class(10)`, ..."""

    name: str
    size: Expr | None


class Port(Syntax):
    """`name[dims]: domain`; `dims` is None where no brackets stand."""

    name: str
    dims: tuple[Expr, ...] | None
    domain: Domain | None


class Option(Syntax):
    name: str
    dims: tuple[Expr, ...] | None
    default: Expr | None


class Declared(Syntax):
    """One parameter or fixed value: `name[dims] = value where mask` or `~ draw`."""

    name: str
    dims: tuple[Expr, ...] | None
    value: Expr
    drawn: bool
    where: Expr | None


class NameIx(Syntax):
    """`name` or `name[index]`, the name of a phase."""

    name: str
    index: Expr | None


# ---- statements --------------------------------------------------------------------------------


class Param(Syntax):
    declared: tuple[Declared, ...]


class Fixed(Syntax):
    declared: tuple[Declared, ...]


class Hidden(Syntax):
    ports: tuple[Port, ...]


class Define(Syntax):
    """`name[indices]: domain = value`."""

    target: Port
    value: Expr


class Draw(Syntax):
    """`name ~ distribution`."""

    target: Port
    value: Expr


class Energy(Syntax):
    value: Expr


class Scan(Syntax):
    name: str
    range: Expr | None
    body: tuple[Stmt, ...]


class For(Syntax):
    """`for name in range { ... }`, of items or of statements."""

    name: str
    range: Expr
    body: tuple[Item | Stmt, ...]


class Let(Syntax):
    name: str
    value: Expr


class Expect(Syntax):
    value: Expr
    within: Expr | None


# ---- items -------------------------------------------------------------------------------------


class Use(Syntax):
    path: str
    alias: str | None


class Const(Syntax):
    name: str
    value: Expr


class Fn(Syntax):
    """`fn name(ports) -> domain = value`."""

    name: str
    ports: tuple[Port, ...]
    domain: Domain | None
    value: Expr


class Block(Syntax):
    name: str
    ports: tuple[Port, ...]
    options: tuple[Option, ...]
    results: tuple[Port, ...]
    body: tuple[Stmt, ...]


class State(Syntax):
    """`name = value`, in an optimiser; `every` where it is estimated again and again."""

    name: str
    value: Expr
    every: Every | None = None


class SetTo(Syntax):
    """`name := value`, in an optimiser or a phase."""

    name: str
    value: Expr


class Optimiser(Syntax):
    name: str
    names: tuple[str, ...]
    options: tuple[Option, ...]
    body: tuple[State | SetTo | Define, ...]


class Field(Syntax):
    """A field of a data set, drawn afresh at each visit when `drawn`."""

    port: Port
    value: Expr
    drawn: bool = False


class Part(Syntax):
    """One part of a split: a count, or a fraction below 1."""

    name: str
    size: Expr


class Split(Syntax):
    parts: tuple[Part, ...]


class Setting(Syntax):
    name: str
    value: Expr


class Data(Syntax):
    name: str
    reader: Expr
    like: str | None
    body: tuple[Field | Split | Setting, ...]


class Clause(Syntax):
    """A clause of `train`: kind is batch, for, stream, order, dtype or seed.

    `unit` goes with `for` (epoch, update, step or second, singular); `word` with dtype.
    """

    kind: str
    value: Expr | None = None
    unit: str | None = None
    word: str | None = None


class After(Syntax):
    phases: tuple[NameIx, ...]


class Minimize(Syntax):
    total: bool
    loss: Expr
    over: tuple[Expr, ...]
    optimiser: Expr


class Update(Syntax):
    """`update total target += value`."""

    total: bool
    target: Expr
    value: Expr


class Start(Syntax):
    """`start target := value`."""

    target: Expr
    value: Expr


class Kept(Syntax):
    """`state name[dims]: domain = value` in a phase, or drawn with `~`: kept for each row."""

    target: Port
    value: Expr
    drawn: bool


class Step(Syntax):
    name: str
    body: tuple[Stmt, ...]


class Every(Syntax):
    """`every count unit`; the unit in the singular."""

    count: Expr
    unit: str


class Watch(Syntax):
    total: bool
    name: str
    value: Expr
    on: Expr | None
    every: Every | None


class Checkpoint(Syntax):
    """`checkpoint every 1 epoch` or `checkpoint best by error`."""

    every: Every | None
    best: Expr | None


class Until(Syntax):
    value: Expr


class Train(Syntax):
    name: NameIx
    on: Expr
    clauses: tuple[Clause | After, ...]
    body: tuple[Stmt, ...]


class Emit(Syntax):
    value: Expr
    to: str | None


class Task(Syntax):
    """`task name(options) after phases { body }`."""

    name: str
    options: tuple[Option, ...]
    after: tuple[NameIx, ...]
    body: tuple[Stmt, ...]


class Vary(Syntax):
    """`vary hidden in 100..700 by 100`, or several in step: `vary a, b in [[1, 2], [3, 4]]`."""

    names: tuple[str, ...]
    range: Expr


class Report(Syntax):
    values: tuple[Expr, ...]


class Sweep(Syntax):
    name: str
    body: tuple[Vary | Report | Expect, ...]


class Check(Syntax):
    text: str
    slow: bool
    body: tuple[Stmt, ...]


Stmt: TypeAlias = (
    Param | Fixed | Hidden | Let | Define | Draw | Energy | Scan | For | Expect
    | Kept | SetTo | Minimize | Update | Start | Step | Watch | Checkpoint | Until | Emit
)  # fmt: skip
Item: TypeAlias = (
    Use | Const | Fn | Block | Optimiser | Let | Data | Train | Task | Sweep | Check | For
)  # fmt: skip


class Module(Syntax):
    """A whole file: the version of the language it asks for, and its items in order."""

    version: int | float | None
    items: tuple[Item, ...]
