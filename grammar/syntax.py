"""The syntax tree: one record for each construct, named like the grammar's rule.

Every node has a `span`, which takes no part in comparison: two texts that differ only in layout
have equal trees. Nothing here knows what a name means; the compiler's front end resolves them.
"""

from __future__ import annotations

from typing import TypeAlias

from dln.grammar.expressions import Arg as Arg
from dln.grammar.expressions import Asserted as Asserted
from dln.grammar.expressions import Attr as Attr
from dln.grammar.expressions import Binary as Binary
from dln.grammar.expressions import Call as Call
from dln.grammar.expressions import Choose as Choose
from dln.grammar.expressions import Comprehension as Comprehension
from dln.grammar.expressions import Domain as Domain
from dln.grammar.expressions import Expr as Expr
from dln.grammar.expressions import Flow as Flow
from dln.grammar.expressions import Group as Group
from dln.grammar.expressions import Index as Index
from dln.grammar.expressions import ListOf as ListOf
from dln.grammar.expressions import Name as Name
from dln.grammar.expressions import Named as Named
from dln.grammar.expressions import Number as Number
from dln.grammar.expressions import Ranged as Ranged
from dln.grammar.expressions import RangeOf as RangeOf
from dln.grammar.expressions import Reduce as Reduce
from dln.grammar.expressions import Slice as Slice
from dln.grammar.expressions import String as String
from dln.grammar.expressions import Syntax as Syntax
from dln.grammar.expressions import Transpose as Transpose
from dln.grammar.expressions import Unary as Unary

# ---- ports, options, declarations --------------------------------------------------------------


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
    """`name[indices]: domain = value`; with `adds`, `name[2*i + u] += value`."""

    target: Port
    value: Expr
    adds: bool = False


class Draw(Syntax):
    """`name ~ distribution`."""

    target: Port
    value: Expr


class Energy(Syntax):
    value: Expr


class Scan(Syntax):
    name: str
    range: Expr | None
    by: Expr | None
    backwards: bool
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
    """One part of a split: a count, or a fraction below 1; or so many `folds` of what is left."""

    name: str
    size: Expr | None
    folds: Expr | None = None


class Split(Syntax):
    """`clauses` are of the kinds shuffled, seed, by and apart, whose field is the `word`."""

    parts: tuple[Part, ...]
    clauses: tuple[Clause, ...] = ()


class Setting(Syntax):
    name: str
    value: Expr


class Given(Syntax):
    """`given(x[784], label: class(10))`: what a data set wants to be handed."""

    ports: tuple[Port, ...]


class Data(Syntax):
    name: str
    reader: Expr | Given
    like: str | None
    body: tuple[Field | Split | Setting, ...]


class Clause(Syntax):
    """A clause of `train`: kind is batch, for, stream, order, dtype, seed or
    shards.

    `unit` goes with `for` (epoch, update, step or second, singular); `word` with dtype; `times`
    with batch, where the gradients of several are added up.
    """

    kind: str
    value: Expr | None = None
    unit: str | None = None
    word: str | None = None
    times: Expr | None = None


class After(Syntax):
    phases: tuple[NameIx, ...]


class Minimize(Syntax):
    total: bool
    loss: Expr
    over: tuple[Expr, ...]
    optimiser: Expr
    clip: Expr | None = None


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
    """`step name { ... }`, `step name[index] { ... }` in a `for`, `step name 5 times { ... }`."""

    name: NameIx
    times: Expr | None
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
    """`checkpoint every 1 epoch`, `checkpoint best by error`, or `keep best by error`, by which the
    best is `handed` on."""

    every: Every | None
    best: Expr | None
    handed: bool = False


class Stalls(Syntax):
    """`stalls for 5 epochs by 0.001`, of a value that is to become smaller; the unit in the
    singular."""

    count: Expr
    unit: str
    by: Expr | None


class Until(Syntax):
    value: Expr
    stalls: Stalls | None = None


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
