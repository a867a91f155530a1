"""A table gone through once, some rows at a time: of any length, in memory for these rows alone.

What a row may hold is known from the table that was learnt from: by name, which columns are
numbers, dates or classes. Of small tables and large ones the same is read.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from dln.grammar.diagnostics import Fault
from dln.runtime.readers.table import arrow, parquet
from dln.runtime.readers.table import columns as plain
from dln.runtime.readers.table.columns import Column, Decimals
from dln.runtime.readers.table.dialect import PARQUET, Dialect
from dln.runtime.readers.table.lines import RowReader

ROWS = 6144  # a multiple of the rows that a kernel of products takes at once, 24 or fewer


@dataclass(frozen=True)
class RowBlock:
    """Some rows from number `first` on: their columns, and cells as they stand by column."""

    first: int
    count: int
    columns: dict[int, Column]
    texts: Mapping[int, Sequence[str]]


class Begun(Exception):
    """A table is of another kind than its first rows told: it is to be gone through anew, as the
    `dialect` says."""

    def __init__(self, dialect: Dialect, slowly: bool = False) -> None:
        super().__init__()
        self.dialect, self.slowly = dialect, slowly


def blocks(
    path: Path, dialect: Dialect, wanted: Sequence[int], words: Sequence[int],
    kept: Sequence[int], slowly: bool = False,
) -> Iterator[RowBlock]:  # fmt: skip
    """The rows of a table, `ROWS` at a time: columns that are wanted, of which some hold `words`;
    of those that are `kept` the cells as they stand. Raises `Begun` where it has to be begun again,
    `Fault` E503, E506."""
    if dialect.encoding == PARQUET:
        yield from _cut(parquet.batches(path, wanted, kept), wanted, kept)
        return
    both = set(kept) & set(wanted) - set(words)
    if not slowly and not both and arrow.worth(path, dialect):
        found = arrow.batches(path, dialect, wanted, set(words), kept)
        try:
            yield from _cut(found, wanted, kept)
        except arrow.Unlike:
            raise Begun(dialect, slowly=True) from None
        return
    rows = RowReader(path, dialect.encoding, dialect.mark)
    decimals = Decimals(dialect.decimal, dialect.sure)
    try:
        yield from _plainly(rows, dialect, decimals, wanted, kept)
    except plain.Undecided:
        other = "," if dialect.decimal == "." else "."
        raise Begun(replace(dialect, decimal=other, sure=True), slowly=True) from None
    except UnicodeDecodeError:
        if dialect.encoding == "cp1252":
            raise Fault(f"{path} is not UTF-8 text", "save it as UTF-8", "E503") from None
        raise Begun(replace(dialect, encoding="cp1252"), slowly=True) from None
    if decimals.either is not None and not decimals.sure and dialect.mark != ",":
        line, column, text = decimals.either
        message = f'{path}, line {line}, column {column + 1}: "{text}" may be read in two ways'
        raise Fault(message, "set decimal = point, or set decimal = comma in the spec", "E514")


def _plainly(
    rows: RowReader, dialect: Dialect, decimals: Decimals, wanted: Sequence[int],
    kept: Sequence[int],
) -> Iterator[RowBlock]:  # fmt: skip
    """With the standard library alone."""
    width, count, each = dialect.width, 0, iter(rows)
    allowed = {width, width + 1} if dialect.trailing else {width}
    if dialect.names is not None:
        plain.fits(next(each, []), rows, dialect)
    while block := list(islice(each, ROWS)):
        extra = dialect.trailing and any(len(r) > width and r[-1].strip() for r in block)
        if not set(map(len, block)) <= allowed or extra:
            plain.ragged(rows.path, dialect, count)
        found = {k: Column() for k in wanted}
        for k, column in found.items():
            cells = [r[k] for r in block]
            decimals.look(cells, rows.number, k)
            column.add(cells, dialect.decimal)
        texts = {k: [r[k].strip() for r in block] for k in kept}
        yield RowBlock(count, len(block), found, texts)
        count += len(block)


def _cut(
    batches: Iterator[tuple[int, dict[int, Column], dict[int, list[str]]]],
    wanted: Sequence[int], kept: Sequence[int],
) -> Iterator[RowBlock]:  # fmt: skip
    """The pieces of pyarrow, cut to those of the standard library."""
    held, texts = {k: Column() for k in wanted}, {k: list[str]() for k in kept}
    first = ready = 0
    for count, found, cells in batches:
        ready += count
        for k, column in found.items():
            _join(held[k], column)
        for k, some in cells.items():
            texts[k] += some
        while ready >= ROWS:
            taken = {k: _split(held, k) for k in wanted}
            yield RowBlock(first, ROWS, taken, {k: c[:ROWS] for k, c in texts.items()})
            texts = {k: c[ROWS:] for k, c in texts.items()}
            first, ready = first + ROWS, ready - ROWS
    if ready:
        yield RowBlock(first, ready, held, texts)


def _join(held: Column, more: Column) -> None:
    """Put the rows of a column behind those that are held."""
    start = len(held.numbers)
    places = {code: held.texts.setdefault(t, len(held.texts)) for t, code in more.texts.items()}
    held.rows.extend(array("q", [start + row for row in more.rows]))
    held.codes.extend(array("i", [places[code] for code in more.codes]))
    held.numbers.extend(more.numbers)


def _split(held: dict[int, Column], k: int) -> Column:
    """The first rows of a column; the others stay."""
    every = held[k]
    at, names = bisect_left(every.rows, ROWS), list(every.texts)
    held[k] = rest = Column(every.numbers[ROWS:])
    rest.rows = array("q", [row - ROWS for row in every.rows[at:]])
    places = (rest.texts.setdefault(names[c], len(rest.texts)) for c in every.codes[at:])
    rest.codes = array("i", places)
    return Column(every.numbers[:ROWS], every.rows[:at], every.codes[:at], every.texts)


def place_of(path: Path, dialect: Dialect, row: int) -> str:
    """Where a row stands: `line 12`, of Parquet files `row 11`; nothing where it cannot be told."""
    if dialect.encoding == PARQUET:
        return f"row {row + 1}"
    with suppress(Fault, UnicodeDecodeError):
        line = plain.lines_of(path, dialect, [row]).get(row, 0)
        return f"line {line}" if line else ""
    return ""
