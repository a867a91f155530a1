"""What the records of the model and those of the plan have in common, said once.

A record of the model adds nodes of the graph and places of the spec, one of the plan programs and
shapes: `PlanRecord.extending(model_record, ...)` takes over what both share.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dln.compiler.schema.headers import DataSource
from dln.compiler.schema.tables import BATCH, ORDER
from dln.grammar.record import Record


def stretches(asked: Iterable[tuple[str, float]], count: int) -> dict[str, tuple[int, int]]:
    """The parts of so many examples, one after the other: where each starts, how many it has. Sizes
    below 1 are fractions, which are rounded once each.

    >>> stretches([("fit", 0.8), ("valid", 2)], 10)
    {'all': (0, 10), 'fit': (0, 8), 'valid': (8, 2)}
    """
    parts, start, stop = {"all": (0, count)}, 0, 0.0
    for name, size in asked:
        stop += size * count if size < 1 else int(size)
        parts[name] = (start, round(stop) - start)
        start = round(stop)
    return parts


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


class DeclaredData(DataSource, kw_only=True):
    """A data set as it is declared: its `parts` are (start, count) in the file's order, `all` is
    among them. Of a set that is handed its examples they follow from the sizes that are `asked` for
    (fractions below 1); where it is not `counted` yet, parts and count are made up. `names` are
    those of the classes of a field, where they are words of a table."""

    name: str
    parts: Mapping[str, tuple[int, int]]
    count: int
    asked: tuple[tuple[str, float], ...] = ()
    counted: bool = True
    names: Mapping[str, tuple[str, ...]] = {}

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
    it has any; `after` are earlier phases.
    """

    batch: int | None = BATCH
    duration: tuple[int, str] = (1, "epoch")
    order: str = ORDER
    balanced: str | None = None
    dtype: str | None = None
    seed: int | None = None
    after: tuple[str, ...] = ()


class PhaseFacts(Clauses, kw_only=True):
    """A `train`: its name, data and clauses.

    `fields` are the fields that its step reads. The states `carried` are set to zero at the start
    of each epoch; the `kept` have a row for each example. `rounds` says which of several programs
    each update of a round runs, by its number; empty where there is but one. `heard` are the
    watches whose reports its updates read.
    """

    name: str
    on: On
    fields: tuple[str, ...]
    slow: bool = False
    carried: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    rounds: tuple[int, ...] = ()
    heard: tuple[str, ...] = ()


class PartFacts(Record, kw_only=True):
    """A part of what is emitted: `label` is what a person calls it, `axis` what its values are
    counted by (of a watch the unit, epoch or update), `rows` what the several values of an example
    are called; classes are letters of an `alphabet`, where one is given."""

    label: str = ""
    axis: str = "index"
    alphabet: str = ""
    rows: tuple[str, ...] = ()


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
