"""A table as it has been read: its columns, kept until their numbers are asked for.

When a spec is read its tables are looked into, and when it is run their numbers are taken: what was
found the first time is kept for the second. Columns that nobody asks for are not looked at.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dln.compiler.schema.headers import WORDS
from dln.grammar.diagnostics import CHOICES, Fault
from dln.runtime.readers import files
from dln.runtime.readers.table import arrow, parquet
from dln.runtime.readers.table import columns as plain
from dln.runtime.readers.table.columns import Column, Gathered
from dln.runtime.readers.table.dialect import PARQUET, Dialect, recognised
from dln.runtime.readers.table.lines import RowReader

KEPT = 4  # tables


@dataclass
class Table:
    """A file with what it is recognised as, and the columns that were read of it."""

    path: Path
    dialect: Dialect
    rows: int = -1
    columns: dict[int, Column] = field(default_factory=dict)
    lines: dict[int, int] = field(default_factory=dict)

    def read(self, wanted: Iterable[int]) -> None:
        """Read those columns that have not been read. Raises `Fault` E503, E504, E506, E508, E514
        where numbers may be read in two ways."""
        left = sorted(set(wanted) - self.columns.keys())
        if not left and self.rows >= 0:
            return
        found = self._gathered(left)
        self.rows = found.rows
        if not found.rows:
            raise Fault(f"{self.path} holds no rows of numbers", code="E503")
        self.columns |= found.columns

    def _gathered(self, wanted: list[int]) -> Gathered:
        """The columns, read anew where more of the file shows that it is another kind of table."""
        if self.dialect.encoding == PARQUET:
            return parquet.gather(self.path, self.dialect, wanted)
        while True:
            try:
                quick = arrow.worth(self.path, self.dialect)
                found = arrow.gather(self.path, self.dialect, wanted) if quick else None
                found = found or plain.gather(self.path, self.dialect, wanted)
            except UnicodeDecodeError:
                if self.dialect.encoding == "cp1252":
                    raise Fault(
                        f"{self.path} is not UTF-8 text", "save it as UTF-8", "E503"
                    ) from None
                self.dialect = replace(self.dialect, encoding="cp1252")
            except plain.Undecided:
                other = "," if self.dialect.decimal == "." else "."
                self.dialect = replace(self.dialect, decimal=other, sure=True)
                wanted = sorted({*wanted, *self.columns})
            else:
                self._clear(found)
                return found

    def _clear(self, found: Gathered) -> None:
        """Refuse numbers that may be read in two ways. Raises `Fault` E514."""
        decimals = found.decimals
        if decimals.sure:
            self.dialect = replace(self.dialect, sure=True)
        elif decimals.either is not None:
            _, column, text = decimals.either
            if self.dialect.mark == "," and "." in text:
                return  # between commas stands no number with a comma before its decimals
            one = float(text.replace(",", "."))
            two = int(text.replace(",", "").replace(".", ""))
            where = self._where_of(column, text)
            message = f'{where}: "{text}" may be {one:g} or {two}, and no other cell tells'
            point, comma = ("point", "comma") if "." in text else ("comma", "point")
            remedy = (
                f"{CHOICES}set decimal = {point} for {one:g}, or set decimal = {comma} for {two}"
            )
            raise Fault(message, remedy, "E514")

    def _where_of(self, column: int, text: str) -> str:
        """The place of the first cell of a column with a text."""
        rows = RowReader(self.path, self.dialect.encoding, self.dialect.mark)
        line = next((rows.number for r in rows if r[column].strip() == text), 0)
        return f"{self.path}, line {line}, column {column + 1}"

    def line(self, row: int) -> int:
        """The line of a row, counted from 1."""
        if self.dialect.encoding == PARQUET:
            return row + 1
        if row not in self.lines:
            self.lines |= plain.lines_of(self.path, self.dialect, [row])
        return self.lines.get(row, 0)

    def where(self, row: int) -> str:
        return f"{self.path}, {self.unit} {self.line(row)}"

    @property
    def unit(self) -> str:
        """What the examples of the file are counted in."""
        return "row" if self.dialect.encoding == PARQUET else "line"


_tables: dict[str, Table] = {}


def table(path: Path, options: Mapping[str, Any]) -> Table:
    """A table, as it was read before if the file has not changed. Raises `Fault` E503, E514."""
    said = {k: options[k] for k in WORDS["table"] if k in options and k != "missing"}
    stat = os.stat(path)
    key = repr((os.path.realpath(path), stat.st_size, stat.st_mtime_ns, stat.st_ino, said))
    found = _tables.pop(key, None)
    if found is None:
        files.check_table(path)
        stored = files.head(path, 4) == b"PAR1"
        found = Table(path, parquet.recognised(path) if stored else recognised(path, said))
    _tables[key] = found = replace(found, path=path) if found.path != path else found
    if len(_tables) > KEPT:
        del _tables[next(iter(_tables))]
    return found


def forget(found: Table) -> None:
    """Give back the memory of the columns of a table, whose numbers were taken."""
    found.columns.clear()
