"""Tables: numbers in rows and columns, in a file or written in the spec.

Cells of a file are separated by commas, semicolons or tabs, whichever its first lines have; where
it is not the comma, `5,1` is a number. A cell may be quoted. What is no number is remembered with
its place, and is an error only where a field reads its column: so a table may have names in it.
"""

from __future__ import annotations

import csv
import math
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dln.compiler.schema.headers import DataSource, HeaderField, Oddity, Schema, Stretch
from dln.grammar.diagnostics import Fault
from dln.runtime.readers.binary import cut
from dln.runtime.readers.files import decoded, file_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEPARATORS = {"\t": "tabs", ";": "semicolons", ",": "commas"}


@dataclass
class Cells:
    """The cells of a table row by row, NaN where there is no number, and what stands there."""

    columns: int
    cells: array[float]
    odd: dict[int, Oddity] = field(default_factory=dict)


# ---- files -------------------------------------------------------------------------------------


class FileRows:
    """The rows of a file: the number of the line, the cells, and their numbers, None for what is
    none. A first line without any number is a heading, which has no numbers. Where cells are not
    separated by commas, a comma may stand before the decimals: then it does so in the whole file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        text = decoded(path)
        self.text = text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
        self.number = self.opened = 0  # the line read last, and one with a quote not closed there
        self.mark = separator([line for line, _ in zip(self._lines(), range(2), strict=False)])
        self.commas: bool | None = False if self.mark == "," else None

    def __iter__(self) -> Iterator[tuple[int, list[str], list[float | None]]]:
        self.opened, first = 0, True
        rows = csv.reader(self._lines(), delimiter=self.mark, skipinitialspace=self.mark != "\t")
        try:
            for row in rows:
                values = [self._value(cell) for cell in row]
                heading, first = first and all(v is None for v in values), False
                yield self.number, row, [] if heading else values
        except csv.Error as e:
            message = f"{self.path}, line {self.number}: {e}"
            raise Fault(message, "shorter cells", "E503") from e
        if self.opened:
            message = f"{self.path}, line {self.opened}: a quote is never closed"
            raise Fault(message, 'close every quote, as in "a, b"', "E503")

    def _lines(self) -> Iterator[str]:
        """The lines that hold rows."""
        at, self.number = 0, 0
        while at <= len(self.text):  # one at a time: a list of lines takes many times the text
            stop = self.text.find("\n", at)
            stop = len(self.text) if stop < 0 else stop
            line, at = self.text[at:stop], stop + 1
            self.number = number = self.number + 1
            if line.strip() and not line.lstrip().startswith("#"):
                if line.count('"') % 2:
                    self.opened = 0 if self.opened else number
                yield line

    def _value(self, cell: str) -> float | None:
        """The number of a cell, if it has one."""
        try:
            if "_" in cell:
                return None
            if "," not in cell:
                value = float(cell)
                if "." in cell:
                    self.commas = bool(self.commas)
                return None if self.commas and "." in cell else value
            if self.commas is False or "." in cell:
                return None
            value = float(cell.replace(",", "."))
            self.commas = True
            return value
        except ValueError:
            return None


def separator(lines: Sequence[str]) -> str:
    """What separates the cells: that of which the first two lines have equally many,
    outside of quotes."""
    counts = {
        mark: ["".join(line.split('"')[::2]).count(mark) for line in lines] for mark in SEPARATORS
    }
    alike = [mark for mark, n in counts.items() if n and n[0] and len(set(n)) == 1]
    some = [mark for mark, n in counts.items() if any(n)]
    return (alike or some or [","])[0]


def read_table(path: Path) -> Cells:
    """The table of a file, of a row for each example. Raises `Fault` E503, E506 where a row has
    another number of cells, E507, E508."""
    rows, table = FileRows(path), Cells(0, array("d"))
    for line, row, values in rows:
        table.columns = table.columns or len(row)
        if not values:
            continue
        if len(row) != table.columns:
            raise _ragged(path, line, row, table.columns, rows.mark)
        numeric = [v for v in values if v is not None]
        if len(numeric) == len(row) and math.isfinite(sum(numeric)):
            table.cells.extend(numeric)
        else:
            table.cells.extend(list(_noted(table, values, row, f"{path}, line {line}")))
    if not table.cells:
        raise Fault(f"{path} holds no rows of numbers", code="E503")
    if table.columns == 1 and len(table.odd[0].words if table.odd else ()) == len(table.cells):
        message = f'{table.odd[0].where}: "{table.odd[0].text}" is not a number'
        raise Fault(message, "separate cells by commas, semicolons or tabs", "E507")
    return table


def _ragged(path: Path, line: int, row: list[str], columns: int, mark: str) -> Fault:
    cells = f"{len(row)} cell" + "s" * (len(row) != 1)
    message = f"{path}, line {line}: {cells}, but {columns} above, separated by {SEPARATORS[mark]}"
    remedy = "give every row the same number of cells, and put a cell with such a mark in quotes"
    return Fault(message, remedy, "E506")


def _noted(
    table: Cells, values: Sequence[float | None], row: Sequence[str], where: str
) -> Iterator[float]:
    """The numbers of a row, NaN in place of what is none, which is remembered by its column."""
    for column, (value, cell) in enumerate(zip(values, row, strict=True)):
        if value is not None and math.isfinite(value):
            yield value
            continue
        example = len(table.cells) // table.columns
        found = table.odd.setdefault(column, Oddity(where, example, cell.strip()[:40], value, []))
        found.words.append(cell.strip()[:40])
        yield math.nan


def place_of(decl: DataSource, example: int) -> str:
    """Where an example of a table stands: `points.csv, line 12`."""
    path = file_of(decl)
    for line, _, values in FileRows(path):
        example -= bool(values)
        if example < 0:
            return f"{path.name}, line {line}"
    return ""


# ---- rows written in the spec ------------------------------------------------------------------


def _rows(decl: DataSource) -> Cells:
    """The cells of a list of lists."""
    rows: Any = decl.args[0] if len(decl.args) == 1 else None
    if not _is_list(rows) or not rows or not all(_is_list(r) and r for r in rows):
        message = "rows takes a list of rows, as in rows([[0, 1], [1, 0]])"
        raise Fault(message, code="E509")
    cells, columns = array("d"), len(rows[0])
    for number, row in enumerate(rows, 1):
        if len(row) != columns:
            message = f"row {number} has {len(row)} numbers, but row 1 has {columns}"
            raise Fault(message, "give every row the same length", "E506")
        for column, value in enumerate(row, 1):
            if not isinstance(value, int | float) or not math.isfinite(value):
                message = f"row {number}, column {column}: {value!r} is not a finite number"
                raise Fault(message, code="E507")
        cells.extend(row)
    return Cells(columns, cells)


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple)


# ---- as data -----------------------------------------------------------------------------------


def _cells(decl: DataSource) -> Cells:
    return _rows(decl) if decl.reader == "rows" else read_table(file_of(decl))


def cells_probe(decl: DataSource) -> Schema:
    found = _cells(decl)
    fields = {"": HeaderField((found.columns,), "real")}
    return Schema(fields, len(found.cells) // found.columns, odd=found.odd)


def cells_read(decl: DataSource, stretch: Stretch | None) -> dict[str, NDArray[Any]]:
    """The numbers of a table that is written in the spec, [row, column]."""
    import numpy as np  # late: NumPy

    found = _cells(decl)
    return {"": cut(np.frombuffer(found.cells, np.float64).reshape(-1, found.columns), stretch)}
