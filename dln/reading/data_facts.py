"""What the data sets of a spec hold, gone through a thousand examples at a time.

Fields are worked out by their program, as in training, but not checked: what is odd is counted.
Of fields that are drawn anew at each visit it is the first visit, of so many examples (`DRAWN`).
Past its end a sequence has no values.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dln.compiler.plan import DataSpec, FieldSpec
from dln.compiler.schema.headers import TableFacts
from dln.grammar.diagnostics import DlnError, Fault, Problem
from dln.runtime.data.division import ChosenRows
from dln.runtime.device.source_map import placed
from dln.runtime.readers import readers
from dln.runtime.readers.validation import bounds, wrong_value
from dln.runtime.session import Session

DRAWN = 10_000  # examples that are looked at where drawing them may take long
COLUMNS = 40  # of a table that are looked at, though no field reads them
FIRST = 3  # examples that are kept


@dataclass
class FieldFacts:
    """The values of a field: how many, their range and mean, and what is odd among them.

    `low` and `high` are the range of each number of an example [its shape, of what runs over time
    without the steps], `holes` where one is not finite; `classes` how often each class occurs
    [classes]; `lengths` those of its sequences; `first` the first examples. `outside` are numbers
    beyond the domain.
    """

    spec: FieldSpec
    count: int = 0
    nan: int = 0
    infinite: int = 0
    outside: int = 0
    no_class: int = 0
    total: float = 0.0
    low: NDArray[Any] = field(default_factory=lambda: np.array(np.inf))
    high: NDArray[Any] = field(default_factory=lambda: np.array(-np.inf))
    holes: NDArray[Any] = field(default_factory=lambda: np.array(False))
    classes: NDArray[Any] | None = None
    lengths: list[NDArray[Any]] = field(default_factory=list)
    first: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.spec.domain == "class" and self.spec.classes:
            self.classes = np.zeros(self.spec.classes, np.int64)

    def add(self, values: NDArray[Any], ends: NDArray[Any] | None) -> None:
        """Take up some examples [examples, *shape], of sequences each with its own end."""
        self.first += [v if ends is None else v[: ends[i]]
                       for i, v in enumerate(values[: FIRST - len(self.first)])]  # fmt: skip
        if self.spec.domain == "length":
            self.lengths.append(np.rint(values).astype(np.int64))
        rest = None if ends is None else np.arange(values.shape[1]) >= ends[:, None]
        values = np.asarray(values, np.float64)
        if rest is not None and rest.any():
            values = values[~rest]  # [steps of all examples, *shape of one step]
        elif self.spec.timed:
            values = values.reshape(-1, *values.shape[2:])
        self._numbers(values)

    def _numbers(self, values: NDArray[np.float64]) -> None:
        """Numbers with the examples, or all their steps, as the first axis."""
        self.count += values.size
        total = float(values.sum())
        least, most = bounds(self.spec)
        low, high = values.min(0, initial=np.inf), values.max(0, initial=-np.inf)
        if not np.isfinite(total):
            bad = ~np.isfinite(values)
            nan = int(np.isnan(values).sum())
            self.nan, self.infinite = self.nan + nan, self.infinite + int(bad.sum()) - nan
            self.holes = self.holes | bad.any(0)
            low = np.where(bad, np.inf, values).min(0, initial=np.inf)
            high = np.where(bad, -np.inf, values).max(0, initial=-np.inf)
            values = values[~bad]
            total = float(values.sum())
        self.total += total
        self.low, self.high = np.minimum(self.low, low), np.maximum(self.high, high)
        if self.classes is not None:
            found, many = np.rint(values).astype(np.int64), len(self.classes)
            self.no_class += int((found < 0).sum())
            self.outside += int((found >= many).sum())
            known = found[(found >= 0) & (found < many)]
            self.classes += np.bincount(known.reshape(-1), minlength=many)
        elif low.min(initial=np.inf) < least or high.max(initial=-np.inf) > most:
            self.outside += int(((values < least) | (values > most)).sum())

    @property
    def least(self) -> float:
        """The least number, infinite where there is none."""
        return float(self.low.min(initial=np.inf))

    @property
    def most(self) -> float:
        """The largest number, minus infinity where there is none."""
        return float(self.high.max(initial=-np.inf))

    @property
    def mean(self) -> float:
        """The mean of all finite numbers; NaN where there is none."""
        known = self.count - self.nan - self.infinite
        return self.total / known if known else float("nan")

    @property
    def constant(self) -> int:
        """How many numbers of an example are the same in all examples."""
        return int(((self.low == self.high) & ~self.holes).sum())


@dataclass
class DataFacts:
    """A data set: the files that it lies in, its fields, how many examples were looked at, and what
    a run would refuse in it; of a table what it holds, read or not."""

    spec: DataSpec
    files: list[str]
    fields: dict[str, FieldFacts]
    fine: bool = True
    seen: int = 0
    problems: list[Problem] = field(default_factory=list)
    table: TableFacts | None = None

    @property
    def lengths(self) -> dict[str, float] | None:
        """The least, median and largest length of its sequences, where it has such."""
        found = [n for f in self.fields.values() for n in f.lengths]
        fixed = [f.spec.shape[:1] for f in self.fields.values() if f.spec.timed]
        lengths = np.concatenate(found or fixed[:1] or [()])
        if not lengths.size:
            return None
        quantiles = np.quantile(lengths, [0, 0.5, 1]).tolist()
        return dict(zip(("least", "median", "most"), quantiles, strict=True))


def table_facts(spec: DataSpec) -> TableFacts | None:
    """What the columns of a table hold, those that are read and the first of the others."""
    mine = sorted({*(spec.columns or ()), *range(COLUMNS)})
    head = readers.probe(spec.source.changed(options={**spec.options, "head": True})).table
    width = 0 if head is None else head.width
    for look in (tuple(k for k in mine if k < width), tuple(spec.columns or ())):
        try:
            options = {**spec.options, "look": look}
            return readers.probe(spec.source.changed(options=options)).table
        except Fault:  # of a column that nobody reads
            continue
    return head


def data_facts(session: Session, name: str) -> DataFacts:
    """What a data set of a session's plan holds. Raises DlnError for files that cannot be read."""
    plan, fields = session.plan, session.datasets.fields
    spec = plan.data[name]
    with placed(plan.texts, spec.place):
        files = [str(found[0]) if len(found) == 1 else f"{name}, {len(found):,} files"
                 for name, found in readers.paths(spec.source).items()]  # fmt: skip
        found = DataFacts(spec, files, {f.name: FieldFacts(f) for f in spec.fields})
        if spec.reader == "table":
            found.table = table_facts(spec)
        for values in fields.unchecked(spec):
            for f in spec.fields:
                at = np.rint(values[f.ends]).astype(int) if f.timed and f.ends else None
                found.fields[f.name].add(values[f.name], at)
                wrong = wrong_value(f, np.asarray(values[f.name]), 0, None, plan.dtype)
                found.fine &= wrong is None
            found.seen += len(next(iter(values.values())))
            if spec.drawn and found.seen >= DRAWN:
                break
    try:  # what a training would find wrong, in its words
        with placed(plan.texts, spec.place):
            fields.check_claims(spec, ChosenRows(0, spec.count))
        if not found.fine:
            session.datasets.part(spec.name, "all", plan.dtype)
    except DlnError as error:
        found.problems = list(error.problems)
    return found
