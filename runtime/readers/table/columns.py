"""The columns of a table, read with the standard library alone: numbers, and what is none."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import NoReturn

from dln.grammar.diagnostics import Fault
from dln.runtime.readers.table.cells import decimal_of, number
from dln.runtime.readers.table.dialect import Dialect, spoken
from dln.runtime.readers.table.lines import RowReader

CELLS = 1 << 14  # cells at a time, of whole rows


@dataclass
class Column:
    """A column: a number for each row, NaN where there is none; the `rows` of these, and the code
    of the text that stands there instead. Texts are numbered as they come."""

    numbers: array[float] = field(default_factory=lambda: array("d"))
    rows: array[int] = field(default_factory=lambda: array("q"))
    codes: array[int] = field(default_factory=lambda: array("i"))
    texts: dict[str, int] = field(default_factory=dict)
    kind: str = ""

    def add(self, cells: Sequence[str], decimal: str) -> None:
        """Take up the cells of some rows."""
        plain: Iterable[str] = cells
        joined = "\n".join(cells)
        if decimal == ",":
            fine = "." not in joined
            plain = joined.replace(",", ".").split("\n") if fine else ()
        else:
            fine = True
        if fine and "_" not in joined:
            try:
                values = array("d", map(float, plain))
                if len(values) == len(cells) and math.isfinite(sum(values)):
                    self.numbers.extend(values)
                    return
            except ValueError:
                pass
        self.numbers.extend([self._number(cell, decimal, i) for i, cell in
                             enumerate(cells, len(self.numbers))])  # fmt: skip

    def _number(self, cell: str, decimal: str, row: int) -> float:
        """The number of a cell. What is none is remembered."""
        text = cell.strip()
        if text not in self.texts:
            value = number(text, decimal)
            if value is not None and math.isfinite(value):
                return value
        self.rows.append(row)
        self.codes.append(self.texts.setdefault(text, len(self.texts)))
        return math.nan


class Undecided(Exception):
    """A table shows what stands before its decimals, which is not what was taken for it."""


class Decimals:
    """What the cells that are read show to stand before decimals. `either` is the first one that
    may be read in two ways, with its line and column."""

    def __init__(self, decimal: str, sure: bool) -> None:
        self.decimal, self.sure = decimal, sure
        self.either: tuple[int, int, str] | None = None

    def look(self, cells: Sequence[str], line: int, column: int) -> None:
        """Look at the cells of some rows up to a line, while nothing is sure. Raises `Undecided`
        where the other mark stands before decimals."""
        if self.sure:
            return
        for cell in cells:
            found = decimal_of(cell.strip())
            if found == "?":
                self.either = self.either or (line, column, cell.strip())
            elif found:
                self.sure = True
                if found != self.decimal:
                    self.decimal = found
                    raise Undecided
                return


@dataclass
class Gathered:
    """Columns by their number, and how many rows there are."""

    rows: int
    columns: dict[int, Column]
    decimals: Decimals


def gather(path: Path, dialect: Dialect, wanted: Sequence[int]) -> Gathered:
    """The columns of a table that are wanted. Raises `Fault` E503, E506 where a row has another
    number of cells; `Undecided`; `UnicodeDecodeError`."""
    rows = RowReader(path, dialect.encoding, dialect.mark)
    found = {k: Column() for k in wanted}
    decimals = Decimals(dialect.decimal, dialect.sure)
    width, count, each = dialect.width, 0, iter(rows)
    allowed = {width, width + 1} if dialect.trailing else {width}
    if dialect.names is not None:
        fits(next(each, []), rows, dialect)
    some = max(1, CELLS // width)
    while block := list(islice(each, some)):
        if not set(map(len, block)) <= allowed:
            ragged(path, dialect, count)
        if dialect.trailing and any(len(r) > width and r[-1].strip() for r in block):
            ragged(path, dialect, count)
        for k, column in found.items():
            cells = [r[k] for r in block]
            decimals.look(cells, rows.number, k)
            column.add(cells, dialect.decimal)
        count += len(block)
    return Gathered(count, found, decimals)


def fits(row: Sequence[str], rows: RowReader, dialect: Dialect) -> None:
    """The header has as many cells as it had when it was looked at."""
    if len(row) not in (dialect.width, dialect.width + dialect.trailing):
        raise _another(rows.path, rows.number, row, dialect)


def ragged(path: Path, dialect: Dialect, count: int) -> NoReturn:
    """Say which row behind the first `count` has another number of cells. Raises `Fault` E506."""
    rows = RowReader(path, dialect.encoding, dialect.mark)
    for row in rows:
        more = len(row) == dialect.width + 1 and dialect.trailing and not row[-1].strip()
        if len(row) != dialect.width and not more:
            raise _another(path, rows.number, row, dialect)
    raise Fault(f"{path} has changed while it was read", "run it again", "E503")


def _another(path: Path, line: int, row: Sequence[str], dialect: Dialect) -> Fault:
    cells = f"{len(row)} cell" + "s" * (len(row) != 1)
    above = f"{dialect.width} above, separated by {spoken(dialect.mark)}"
    remedy = "give every row the same number of cells, and put a cell with such a mark in quotes"
    return Fault(f"{path}, line {line}: {cells}, but {above}", remedy, "E506")


def lines_of(path: Path, dialect: Dialect, wanted: Sequence[int]) -> dict[int, int]:
    """The lines of some rows, by the numbers of the rows."""
    rows, left, found = (
        RowReader(path, dialect.encoding, dialect.mark),
        set(wanted),
        dict[int, int](),
    )
    header = dialect.names is not None
    for count, _ in enumerate(rows, -int(header)):
        if count in left:
            found[count] = rows.number
            left.discard(count)
            if not left:
                break
    return found
