"""What the records of the model and those of the plan have in common, said once.

A record of the model adds nodes of the graph and places of the spec, one of the plan programs and
shapes: `PlanRecord.extending(model_record, ...)` takes over what both share.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import accumulate, pairwise
from typing import Any, Self

from dln.compiler.schema.headers import DataSource
from dln.compiler.schema.tables import BATCH, ORDER
from dln.grammar.record import Record


class On(Record):
    """A part of a data set."""

    data: str
    part: str

    def __str__(self) -> str:
        return f"{self.data}.{self.part}"

    @property
    def spoken(self) -> str:
        """As a spec says it: all examples need no part."""
        return self.data if self.part == "all" else str(self)


class ParameterFacts(Record, kw_only=True):
    """A parameter or fixed value: its path, and whether training may change it.

    `joins` is a table of 0 and 1 over its leading axes that says which entries exist: dead ones, at
    0, are no parameters and stay 0. None where all exist.
    """

    path: str
    trainable: bool = True
    joins: tuple[Any, ...] | None = None


class AskedPart(Record):
    """A part as a spec asks for it: so many examples, or a share of them below 1; or so many
    `folds` of all that the other parts leave."""

    name: str
    size: float = 0.0
    folds: int = 0

    @property
    def text(self) -> str:
        """As it is written."""
        return f"{self.name}[{self.folds}]" if self.folds else f"{self.name} {self.size:g}"


def piece_sizes(asked: Iterable[AskedPart], count: int) -> tuple[int, ...]:
    """How many of so many examples go to each piece, in order: a part is one, and each fold; the
    last is what is left over. Shares are rounded once each. Where too much is asked for a piece is
    empty or less.

    >>> piece_sizes([AskedPart("fit", 0.8), AskedPart("valid", 1)], 10)
    (8, 1, 1)
    >>> piece_sizes([AskedPart("test", 0.1), AskedPart("fold", folds=2)], 10)
    (1, 5, 4, 0)
    """
    asked, sizes = list(asked), dict[int, list[int]]()
    start, stop = 0, 0.0
    for i, part in enumerate(asked):
        if not part.folds:
            stop += part.size * count if part.size < 1 else int(part.size)
            sizes[i] = [round(stop) - start]
            start = round(stop)
    left = count - start
    for i, part in enumerate(asked):
        if part.folds:
            sizes[i] = [left // part.folds + (k < left % part.folds) for k in range(part.folds)]
            left = 0
    return (*(n for i in sorted(sizes) for n in sizes[i]), left)


def scaled(sizes: Iterable[int], n: int) -> tuple[int, ...]:
    """Pieces with their shares of n examples, in order.

    >>> scaled((6, 3, 1), 20), scaled((6, 3, 1), 5)
    ((12, 6, 2), (3, 1, 1))
    """
    ends = list(accumulate(sizes, initial=0))
    cuts = [end * n // max(1, ends[-1]) for end in ends]
    return tuple(b - a for a, b in pairwise(cuts))


class Portion(Record):
    """A part of a data set: how many examples it has, and the pieces of the set's division that it
    is made of, by their numbers, in ascending order."""

    count: int
    pieces: tuple[int, ...]


class Division(Record):
    """How the examples of a set are divided into pieces of some `sizes`, the last of them what is
    left over: in the order of the file or `shuffled` by a `seed`, each class by itself where a
    field is named that they are divided `by`.

    >>> halves = Division((2, 3, 1, 0))
    >>> halves.stretch(Portion(4, (1, 2))), halves.stretch(Portion(3, (0, 2)))
    ((2, 4), None)
    """

    sizes: tuple[int, ...]
    shuffled: bool = False
    seed: int = 0
    by: str = ""

    @property
    def placed(self) -> bool:
        """Whether pieces are stretches of the file."""
        return not (self.shuffled or self.by)

    @property
    def told_by(self) -> tuple[str, ...]:
        """The fields that decide who is in which piece."""
        return (self.by,) if self.by else ()

    @property
    def asked_for(self) -> tuple[int, ...]:
        """The sizes as they are asked for."""
        return self.sizes

    def sized(self, sizes: tuple[int, ...]) -> Self:
        """The same with other sizes asked for."""
        return self.changed(sizes=sizes)

    def stretch(self, part: Portion) -> tuple[int, int] | None:
        """Where in the file a part begins, and how many examples it has; None where it is not one
        stretch of it."""
        if len(part.pieces) == len(self.sizes):
            return 0, part.count
        low, high = part.pieces[0], part.pieces[-1] + 1
        if not self.placed or any(self.sizes[k] for k in {*range(low, high)} - {*part.pieces}):
            return None
        return sum(self.sizes[:low]), part.count


class GroupedDivision(Division, kw_only=True):
    """One in which examples that are equal in the field `apart` are in one piece. The `wanted`
    sizes are what is asked for, `sizes` what comes of it."""

    apart: str
    wanted: tuple[int, ...] = ()

    @property
    def placed(self) -> bool:
        """Whether pieces are stretches of the file: never, whatever stands side by side."""
        return False

    @property
    def told_by(self) -> tuple[str, ...]:
        """The fields that decide who is in which piece."""
        return (*super().told_by, self.apart)

    @property
    def asked_for(self) -> tuple[int, ...]:
        """The sizes as they are asked for."""
        return self.wanted

    def sized(self, sizes: tuple[int, ...]) -> Self:
        """The same with other sizes asked for."""
        return self.changed(sizes=sizes, wanted=sizes)


class MeasureFacts(Record, kw_only=True):
    """A value of a data set that is measured over a `part` of it, for a `field`: its kind is
    standardised (by mean and deviation) or scaled (by the least number and the range). What is
    `timed` is measured over all steps of all sequences."""

    name: str
    kind: str
    part: str
    field: str
    timed: bool

    @property
    def kept(self) -> tuple[str, str]:
        """What is kept of it."""
        return ("mean", "deviation") if self.kind == "standardised" else ("least", "most")


class DeclaredData(DataSource, kw_only=True):
    """A data set as it is declared: its `parts` by name, `all` among them, which are pieces of its
    `division`. They follow from the sizes that are `asked` for; where it is not `counted` yet, as
    it is still to be handed its examples, parts and count are made up. `names` are those of the
    classes of a field, where they are words of a table."""

    name: str
    parts: Mapping[str, Portion]
    division: Division
    count: int
    asked: tuple[AskedPart, ...] = ()
    counted: bool = True
    names: Mapping[str, tuple[str, ...]] = {}

    def stretch(self, part: str) -> tuple[int, int] | None:
        """Where in the file a part begins, and how many examples it has; None where it is not one
        stretch of it."""
        return self.division.stretch(self.parts[part])

    def of(self, n: int, shares: bool = False) -> Self:
        """The set with n examples in place of its own: its parts are as large as is asked for, or
        have their `shares` of them."""
        sizes = scaled(self.division.asked_for, n) if shares else piece_sizes(self.asked, n)
        parts = {name: Portion(sum(sizes[k] for k in part.pieces), part.pieces)
                 for name, part in self.parts.items()}  # fmt: skip
        division = self.division.sized(sizes)
        return self.changed(count=n, parts=parts, division=division, counted=True)

    @property
    def source(self) -> DataSource:
        """Where it comes from."""
        return DataSource.extending(self)


class WatchFacts(Record, kw_only=True):
    """A watched value: a sum over the examples when `per_example` (their mean is reported unless it
    is `total`), else one number for a whole batch.

    `every` is (count, unit) or None for the end of the phase. Without `on` it is taken on the
    phase's own minibatches. `fields` are what it reads. On the data of a `stream`, so many rows are
    read side by side.
    """

    name: str
    per_example: bool
    total: bool
    on: On | None
    every: tuple[int, str] | None
    fields: tuple[str, ...]
    stream: int | None = None


class DescentRules(Record, kw_only=True):
    """A descent with a line search, as L-BFGS is.

    `history` pairs of differences are kept; `c1` and `c2` are the constants of the strong Wolfe
    conditions, `trials` the looks along one line; it ends where no slope is above `grad_tol` or
    the loss changes by less than `change_tol` of itself.
    """

    history: int
    c1: float
    c2: float
    trials: int
    grad_tol: float
    change_tol: float


class Clauses(Record, kw_only=True):
    """What the clauses of a `train` say, or what holds where they do not: in which minibatches and
    order it learns, for how long.

    `batch` is None for all examples at once; `duration` (count, unit of epoch, update or second);
    `balanced` the field of the classes where the order is that; `dtype` and `seed` are its own, if
    it has any; `after` are earlier phases. A minibatch is summed in so many `shards`; None is one.
    """

    batch: int | None = BATCH
    duration: tuple[int, str] = (1, "epoch")
    order: str = ORDER
    balanced: str | None = None
    dtype: str | None = None
    seed: int | None = None
    after: tuple[str, ...] = ()
    shards: int | None = None


class PhaseFacts(Clauses, kw_only=True):
    """A `train`: its name, data and clauses.

    `fields` are the fields that its step reads. The states `carried` are set to zero at the start
    of each epoch; the `kept` have a row for each example. `rounds` says which of several programs
    each update of a round runs, by its number; empty where there is but one. `heard` are the
    watches whose reports its updates read. The states `weighed` hold the weights of the classes of
    a field each.
    """

    name: str
    on: On
    fields: tuple[str, ...]
    slow: bool = False
    carried: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    rounds: tuple[int, ...] = ()
    heard: tuple[str, ...] = ()
    weighed: tuple[tuple[str, str], ...] = ()


class PartFacts(Record, kw_only=True):
    """A part of what is emitted: `label` is what a person calls it, `axis` what its values are
    counted by (of a watch the unit, epoch or update), `rows` what the several values of an example
    are called; classes are letters of an `alphabet`, where one is given, or called `classes`."""

    label: str = ""
    axis: str = "index"
    alphabet: str = ""
    rows: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()


class EmitFacts(Record, kw_only=True):
    """What is emitted, in which `form`, into the file `to` (None prints).

    What is made of examples is made of the first `count` of the part `on` (of all, if that is 0).
    """

    form: str
    to: str | None
    on: On | None = None
    count: int = 0


class TaskFacts(Record, kw_only=True):
    """A `task`: what it is called, and the phases that it comes after."""

    name: str
    after: tuple[str, ...] = ()
