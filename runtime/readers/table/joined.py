"""Several tables as one: the rows of one file after those of the other.

Each is recognised by itself; all have the same columns, in the same order, by the same names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dln.compiler.schema.headers import DataSource
from dln.grammar.diagnostics import Fault
from dln.runtime.readers.files import file_of
from dln.runtime.readers.folders.patterns import files_meant, is_pattern
from dln.runtime.readers.table.columns import Column
from dln.runtime.readers.table.scan import Table, table

KEPT = 2  # sets of tables


@dataclass
class JoinedTable(Table):
    """Tables that are one: `path` is what the spec calls them, `dialect` that of the first."""

    parts: Sequence[Table] = ()
    starts: list[int] = field(default_factory=list)

    def read(self, wanted: Iterable[int]) -> None:
        """Read those columns that have not been read, of every file. Raises the faults of each."""
        left = sorted(set(wanted) - self.columns.keys())
        if not left and self.rows >= 0:
            return
        for part in self.parts:
            part.read(left)
        self.starts = [sum(p.rows for p in self.parts[:i]) for i in range(len(self.parts))]
        self.rows = sum(p.rows for p in self.parts)
        for column in left:
            pieces = [p.columns[column] for p in self.parts]
            self.columns[column] = _joined(pieces, self.starts)
        for part in self.parts:
            part.columns.clear()  # they are here now

    def _part(self, row: int) -> tuple[Table, int]:
        """The file that a row is in, and its number there."""
        at = max(i for i, start in enumerate(self.starts) if start <= row)
        return self.parts[at], row - self.starts[at]

    def line(self, row: int) -> int:
        """The line of a row in its file, counted from 1; 0 past the end."""
        part, inside = self._part(row)
        return part.line(inside)

    def file(self, row: int) -> Path:
        """The file that a row is in."""
        return self._part(row)[0].path

    def where(self, row: int) -> str:
        part, inside = self._part(row)
        return part.where(inside)


def _joined(pieces: Sequence[Column], starts: Sequence[int]) -> Column:
    """The rows of some columns one after the other; texts are numbered anew."""
    made = Column()
    for piece, start in zip(pieces, starts, strict=True):
        made.numbers.extend(piece.numbers)
        made.rows.extend(row + start for row in piece.rows)
        code = [made.texts.setdefault(text, len(made.texts)) for text in piece.texts]
        made.codes.extend(code[c] for c in piece.codes)
    return made


_joins: dict[str, JoinedTable] = {}


def table_of(decl: DataSource, options: Mapping[str, Any]) -> Table:
    """The table of a set, in one file or several. Raises `Fault` E501, E502, E509, E527 where
    columns differ, and those of recognising a table."""
    arg = decl.args[0] if len(decl.args) == 1 else None
    if not isinstance(arg, list) and not is_pattern(arg):
        return table(file_of(decl), options)
    parts = [table(f.path, options) for f in files_meant(decl, arg)]
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    for part in parts[1:]:
        _alike(first, part)
    name = arg if isinstance(arg, str) else f"{first.path.name} and {len(parts) - 1} more"
    key = repr([(p.path, id(p)) for p in parts])
    found = _joins.pop(key, None) or JoinedTable(Path(name), first.dialect, parts=parts)
    _joins[key] = found
    if len(_joins) > KEPT:
        del _joins[next(iter(_joins))]
    return found


def _alike(first: Table, other: Table) -> None:
    """Raise `Fault` E527 where two tables have other columns."""
    mine, theirs = other.dialect, first.dialect
    if mine.width != theirs.width:
        text = f"{other.path} has {mine.width} columns, {first.path} has {theirs.width}"
        raise Fault(text, "tables of one set have the same columns", "E527")
    if mine.names == theirs.names:
        return
    if mine.names is None or theirs.names is None:
        has, lacks = (first, other) if mine.names is None else (other, first)
        text = f"{lacks.path} has no header, and {has.path} has one"
        raise Fault(text, "write the header into each, or set header = yes", "E527")
    both = enumerate(zip(mine.names, theirs.names, strict=True), 1)
    at, (a, b) = next((i, pair) for i, pair in both if pair[0] != pair[1])
    text = f'{other.path}: column {at} is "{a}", in {first.path} "{b}"'
    raise Fault(text, "give all files the same columns in the same order", "E527")
