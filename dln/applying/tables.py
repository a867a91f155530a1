"""A table as new data: columns found by name, read as in training, row by row the same checks.

Faults: E580 a column that is not there, E584 another kind of values than was learnt from, E585
something is missing of which the spec does not say what is done, E583 no such column to keep; E507,
E513 as in training.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dln.applying.feeding import InstanceFeed
from dln.applying.pieces import NewExamples
from dln.compiler.frontend.data.columns import plain
from dln.compiler.plan import DataSpec, FieldSpec
from dln.compiler.schema.headers import WORDS, ColumnFacts
from dln.grammar.diagnostics import Fault, nearest
from dln.runtime.readers import files
from dln.runtime.readers.table import facts as known
from dln.runtime.readers.table import parquet
from dln.runtime.readers.table.cells import kinds_of, missing
from dln.runtime.readers.table.columns import Column
from dln.runtime.readers.table.dialect import PARQUET, Dialect, recognised
from dln.runtime.readers.table.pieces import Begun, RowBlock, blocks, place_of

LISTED = 12
SPOKEN = {"number": "numbers", "date": "dates", "percent": "numbers with a percent sign",
          "truth": "truth values", "nothing": "nothing"}  # fmt: skip


class NewTable:
    """A table whose columns are those that a set was learnt from, by name where both have such.
    `kept` are columns whose cells are handed through."""

    def __init__(self, path: Path, spec: DataSpec, feed: InstanceFeed, kept: Sequence[str]) -> None:
        assert feed.table is not None
        self.path, self.spec, self.feed, self.facts = path, spec, feed, feed.table
        self.options: Mapping[str, Any] = spec.options
        listed: Any = self.options.get("classes", ())
        self.classes: dict[str, tuple[int, tuple[str, ...]]] = {
            key: (column, names) for key, column, names in listed if key in feed.raw
        }
        self.dialect = self._recognised()
        self.notes: list[str] = []
        self.at = self._places()
        self.kept = {name: kept_column(path, self.dialect, name) for name in kept}
        self.said = f"{path.name}, {', '.join(self.dialect.said)}"
        self.slowly = False

    # ---- which columns -------------------------------------------------------------------------

    @property
    def needed(self) -> list[int]:
        """The columns of the table learnt from that are needed."""
        return sorted({*self.feed.columns, *(c for c, _ in self.classes.values())})

    def _recognised(self) -> Dialect:
        """What the file is recognised as. Where the first row may be a header, the names that are
        looked for tell."""
        said = {k: self.options[k] for k in WORDS["table"] if k in self.options and k != "missing"}
        files.check_table(self.path)
        if files.head(self.path, 4) == b"PAR1":
            return parquet.recognised(self.path)
        try:
            return recognised(self.path, said)
        except Fault as fault:
            if fault.code != "E514" or "header" in said or self.facts.names is None:
                raise
            found = recognised(self.path, {**said, "header": "yes"})
            names = [self.facts.names[k] for k in self.needed]
            if {plain(n).casefold() for n in names} <= {
                plain(n).casefold() for n in found.names or ()
            }:
                return found
            raise

    def _places(self) -> dict[int, int]:
        """Where each column that is needed stands in the new file. Raises `Fault` E580."""
        mine, theirs, needed = self.dialect.names, self.facts.names, self.needed
        if mine is None or theirs is None:
            return self._in_order(needed)
        found, lacking = dict[int, int](), list[str]()
        for k in needed:
            name = theirs[k]
            at = column_called(self.path, name, mine)
            if at is None:
                lacking.append(name)
            else:
                found[k] = at
        if lacking:
            listed = ", ".join(mine[:LISTED]) + ", ..." * (len(mine) > LISTED)
            near = nearest(lacking[0], [n for n in mine if n not in theirs])
            what = f"column{'s' * (len(lacking) > 1)} {', '.join(lacking)}"
            text = f"{self.path} has no {what}; its columns are {listed}"
            remedy = f"call {near} {lacking[0]}, as in training" if near else f"add {what}"
            raise Fault(text, remedy, "E580")
        return found

    def _in_order(self, needed: list[int]) -> dict[int, int]:
        """Columns by their places, where a header is missing: all of them, or those that are
        needed."""
        width, all_ = self.dialect.width, self.facts.width
        which = "it" if self.dialect.names is None else f"{self.facts.file}, learnt from,"
        if width == all_:
            self.notes.append(f"{which} has no header: columns are taken as they stand")
            return {k: k for k in needed}
        if width == len(needed):
            names = ", ".join(self._called(k) for k in needed)
            self.notes.append(f"{which} has no header: columns are taken as {names}")
            return dict(zip(needed, range(width), strict=True))
        names = ", ".join(self._called(k) for k in needed)
        text = f"{self.path} has no header and {width} columns, and {all_} were learnt from"
        raise Fault(text, f"a header with {names}, or {len(needed)} columns in this order", "E580")

    def _called(self, k: int) -> str:
        names = self.facts.names
        return names[k] if names is not None and names[k] else f"column {k + 1}"

    # ---- row by row ----------------------------------------------------------------------------

    def pieces(self) -> Iterator[NewExamples]:
        """All rows, in order. Raises `Begun` where they have to be gone through anew."""
        words = [self.at[c] for c, _ in self.classes.values()]
        words += [self.at[k] for k in self.feed.columns if self._kind(k) not in ("number", "")]
        columns = sorted(set(self.at.values()))
        rows = 0
        for block in blocks(self.path, self.dialect, columns, words,
                            list(self.kept.values()), self.slowly):  # fmt: skip
            rows += block.count
            yield self._piece(block)
        if not rows:
            raise Fault(f"{self.path} holds no rows but its header", "at least one row", "E580")

    def again(self, begun: Begun) -> None:
        """Go through it as it is now known to be."""
        self.dialect, self.slowly = begun.dialect, begun.slowly or self.slowly

    def _kind(self, k: int) -> str:
        found = self.facts.columns.get(k)
        return found.kind if isinstance(found, ColumnFacts) else ""

    def _piece(self, block: RowBlock) -> NewExamples:
        gone = np.zeros(block.count, bool)
        raw: dict[str, NDArray[Any]] = {}
        wide = self.spec.columns if self.spec.columns is not None else range(self.facts.width)
        if "" in self.feed.raw:
            raw[""] = np.zeros((block.count, len(wide)))
            for i, k in enumerate(wide):
                if k in self.feed.columns:
                    raw[""][:, i] = self._numbers(block, k, gone)
        for key, (k, names) in self.classes.items():
            raw[key] = self._codes(block, k, names, gone)

        def where(f: FieldSpec, example: int, element: int) -> str:
            at = place_of(self.path, self.dialect, example)
            return f"{self.path.name}, {at}" if at else ""

        kept = {name: block.texts[at] for name, at in self.kept.items()}
        return NewExamples(block.first, block.count, raw, kept=kept, gone=gone, where=where)

    def _numbers(self, block: RowBlock, k: int, gone: NDArray[np.bool_]) -> NDArray[np.float64]:
        """The numbers of a column, what is missing filled as in training."""
        col, kind = block.columns[self.at[k]], self._kind(k)
        made = np.array(col.numbers, np.float64)
        stored = self.dialect.encoding == PARQUET and parquet.kind_of(self.path, self.at[k])
        if kind in SPOKEN and kind not in ("number", "nothing", stored):
            self._of_kind(block, col, k, kind, made)
        else:
            texts = list(col.texts)
            for row, code in zip(col.rows, col.codes, strict=True):
                if not missing(texts[code]):
                    place = self._place(block, row, k)
                    raise Fault(
                        f'{place}: "{texts[code]}" is not a number', "write a number there", "E507"
                    )
        gaps = known.gaps(col)
        if gaps:
            self._filled(block, k, gaps, made, gone)
        return made

    def _of_kind(
        self, block: RowBlock, col: Column, k: int, kind: str, made: NDArray[np.float64]
    ) -> None:  # fmt: skip
        """Put in the numbers that stand for dates and the like. Raises `Fault` E584."""
        texts = [t for t in col.texts if not missing(t)]
        found, values = kinds_of(texts, self.dialect.decimal) if texts else (kind, {})
        plain_row = _first_not(col, block.count) if len(col.rows) < block.count else None
        wrong, decimal = plain_row, self.dialect.decimal
        if wrong is None and found != kind:
            code = next(c for t, c in col.texts.items()
                        if not missing(t) and kinds_of([t], decimal)[0] != kind)  # fmt: skip
            wrong = next(r for r, c in zip(col.rows, col.codes, strict=True) if c == code)
        if wrong is not None:
            text = cell_of(col, wrong)
            place = self._place(block, wrong, k)
            message = f'{place}: "{text}", and the column held {SPOKEN[kind]} in training'
            raise Fault(message, _like(kind), "E584")
        by_code = {code: values.get(t, math.nan) for t, code in col.texts.items()}
        for row, code in zip(col.rows, col.codes, strict=True):
            made[row] = by_code[code]

    def _filled(
        self, block: RowBlock, k: int, gaps: Sequence[int], made: NDArray[np.float64],
        gone: NDArray[np.bool_],
    ) -> None:  # fmt: skip
        """What is missing, as the spec says. Raises `Fault` E585 where it does not."""
        how = self.options.get("missing")
        if how == "drop":
            gone[list(gaps)] = True
            made[list(gaps)] = 0.0
            return
        means = {**self.facts.means, **dict(self.options.get("fill", ()))}
        if how != "mean" or not math.isfinite(means.get(k, math.nan)):
            place = self._place(block, gaps[0], k)
            more = f" ({len(gaps) - 1:,} more below)" if len(gaps) > 1 else ""
            text = f"{place}: nothing stands there, and {self.spec.name} does not say what is then"
            remedy = "fill it in or take the line out; or train with set missing = mean"
            raise Fault(text + more, remedy, "E585")
        made[list(gaps)] = means[k]

    def _codes(
        self, block: RowBlock, k: int, names: Sequence[str], gone: NDArray[np.bool_]
    ) -> NDArray[np.int64]:  # fmt: skip
        """The classes of a column by their places among names. Raises `Fault` E513, E585."""
        col = block.columns[self.at[k]]
        places, others = known.codes(col, names)
        for row in others[:1]:
            text = cell_of(col, row)
            listed = ", ".join(names[:LISTED]) + ", ..." * (len(names) > LISTED)
            message = f'{self._place(block, row, k)}: "{text}" is none of the classes {listed}'
            raise Fault(message, nearest(text, names) or "a class that was learnt from", "E513")
        found = np.array(places, np.int64)
        gaps = np.flatnonzero(found < 0)
        if len(gaps):
            if self.options.get("missing") is None:
                text = f"{self._place(block, int(gaps[0]), k)}: no class stands there"
                raise Fault(text, "fill it in or take the line out", "E585")
            gone[gaps], found[gaps] = True, 0
        return found

    def _place(self, block: RowBlock, row: int, k: int) -> str:
        line, at = place_of(self.path, self.dialect, block.first + row), self.at[k]
        name = (self.dialect.names or ())[at : at + 1]
        return f"{self.path}, {line}, column {at + 1}" + (f' ("{name[0]}")' if name else "")


def column_called(path: Path, name: str, mine: Sequence[str]) -> int | None:
    """The place of a column of a name, as it is or as the language writes it. Raises `Fault` E580
    where several are called so."""
    for alike in (str, plain, lambda n: plain(n).casefold()):
        found = [i for i, n in enumerate(mine) if alike(n) == alike(name)]
        if len(found) > 1:
            text = f"{path} has {len(found)} columns called {name}"
            raise Fault(text, "give each a name of its own", "E580")
        if found:
            return found[0]
    return None


def kept_column(path: Path, dialect: Dialect, name: str) -> int:
    """The place of a column that is handed through. Raises `Fault` E583."""
    mine = dialect.names
    if mine is None:
        if name.isdigit() and int(name) < dialect.width:
            return int(name)
        text = f"{path} has no header, so no column is called {name}"
        raise Fault(text, f"--keep 0 to --keep {dialect.width - 1}", "E583")
    at = column_called(path, name, mine)
    if at is None:
        near = nearest(name, mine) or " or ".join(mine[:LISTED])
        raise Fault(f"{path} has no column {name}", f"--keep {near}", "E583")
    return at


def cell_of(col: Column, row: int) -> str:
    """What stands in a cell."""
    for at, code in zip(col.rows, col.codes, strict=True):
        if at == row:
            return list(col.texts)[code][:40]
    return known.spelled(col.numbers[row])


def _first_not(col: Column, count: int) -> int:
    """The first row that holds a plain number."""
    odd = set(col.rows)
    return next(row for row in range(count) if row not in odd)


def _like(kind: str) -> str:
    return {"date": "dates as 2026-11-30", "truth": "yes and no, or true and false",
            "percent": "numbers with %"}[kind]  # fmt: skip
