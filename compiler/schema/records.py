"""What the records of the model and those of the plan have in common, said once.

A record of the model adds nodes of the graph and places of the spec, one of the plan programs and
shapes: `PlanRecord.extending(model_record, ...)` takes over what both share.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dln.compiler.schema.headers import DataSource
from dln.compiler.schema.tables import BATCH, ORDER
from dln.grammar.record import Record, keyword


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


class ParameterFacts(Record):
    """A parameter or fixed value: its path, and whether training may change it.

    `joins` is a table of 0 and 1 over its leading axes that says which entries exist: dead ones, at
    0, are no parameters and stay 0. None where all exist.
    """

    path: str = keyword(kw_only=True)
    trainable: bool = keyword(kw_only=True, default=True)
    joins: tuple[Any, ...] | None = keyword(kw_only=True, default=None)


class DeclaredData(DataSource):
    """A data set as it is declared: its `parts` are (start, count) in the file's order, `all` is
    among them."""

    name: str = keyword(kw_only=True)
    parts: Mapping[str, tuple[int, int]] = keyword(kw_only=True)
    count: int = keyword(kw_only=True)

    @property
    def source(self) -> DataSource:
        """Where it comes from."""
        return DataSource.extending(self)


class WatchFacts(Record):
    """A watched value: a sum over the examples when `per_example` (their mean is reported unless it
    is `total`), else one number for a whole batch.

    `every` is (count, unit) or None for the end of the phase. Without `on` it is taken on the
    phase's own minibatches. `fields` are what it reads. On the data of a `stream`, so many rows are
    read side by side.
    """

    name: str = keyword(kw_only=True)
    per_example: bool = keyword(kw_only=True)
    total: bool = keyword(kw_only=True)
    on: On | None = keyword(kw_only=True)
    every: tuple[int, str] | None = keyword(kw_only=True)
    fields: tuple[str, ...] = keyword(kw_only=True)
    stream: int | None = keyword(kw_only=True, default=None)


class DescentRules(Record):
    """A descent with a line search, as L-BFGS is.

    `history` pairs of differences are kept; `c1` and `c2` are the constants of the strong Wolfe
    conditions, `trials` the looks along one line; it ends where no slope is above `grad_tol` or
    the loss changes by less than `change_tol` of itself.
    """

    history: int = keyword(kw_only=True)
    c1: float = keyword(kw_only=True)
    c2: float = keyword(kw_only=True)
    trials: int = keyword(kw_only=True)
    grad_tol: float = keyword(kw_only=True)
    change_tol: float = keyword(kw_only=True)


class Clauses(Record):
    """What the clauses of a `train` say, or what holds where they do not: in which minibatches and
    order it learns, for how long.

    `batch` is None for all examples at once; `duration` (count, unit of epoch, update or second);
    `balanced` the field of the classes where the order is that; `dtype` and `seed` are its own, if
    it has any; `after` are earlier phases.
    """

    batch: int | None = keyword(kw_only=True, default=BATCH)
    duration: tuple[int, str] = keyword(kw_only=True, default=(1, "epoch"))
    order: str = keyword(kw_only=True, default=ORDER)
    balanced: str | None = keyword(kw_only=True, default=None)
    dtype: str | None = keyword(kw_only=True, default=None)
    seed: int | None = keyword(kw_only=True, default=None)
    after: tuple[str, ...] = keyword(kw_only=True, default=())


class PhaseFacts(Clauses):
    """A `train`: its name, data and clauses.

    `fields` are the fields that its step reads. The states `carried` are set to zero at the start
    of each epoch; the `kept` have a row for each example.
    """

    name: str = keyword(kw_only=True)
    on: On = keyword(kw_only=True)
    fields: tuple[str, ...] = keyword(kw_only=True)
    slow: bool = keyword(kw_only=True, default=False)
    carried: tuple[str, ...] = keyword(kw_only=True, default=())
    kept: tuple[str, ...] = keyword(kw_only=True, default=())


class PartFacts(Record):
    """A part of what is emitted: `label` is what a person calls it, `axis` what its values are
    counted by (of a watch the unit, epoch or update), `rows` what the several values of an example
    are called; classes are letters of an `alphabet`, where one is given."""

    label: str = keyword(kw_only=True, default="")
    axis: str = keyword(kw_only=True, default="index")
    alphabet: str = keyword(kw_only=True, default="")
    rows: tuple[str, ...] = keyword(kw_only=True, default=())


class EmitFacts(Record):
    """What is emitted, in which `form`, into the file `to` (None prints).

    What is made of examples is made of the first `count` of the part `on` (of all, if that is 0).
    """

    form: str = keyword(kw_only=True)
    to: str | None = keyword(kw_only=True)
    on: On | None = keyword(kw_only=True, default=None)
    count: int = keyword(kw_only=True, default=0)


class TaskFacts(Record):
    """A `task`: what it is called, and the phases that it comes after."""

    name: str = keyword(kw_only=True)
    after: tuple[str, ...] = keyword(kw_only=True, default=())
