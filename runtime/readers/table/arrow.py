"""The columns of a large table by pyarrow, which are those that the standard library reads.

Only what both understand alike is read so; of anything else, `columns` has the word. Columns of
numbers are turned into such by pyarrow, which rounds as Python does; in one where any cell is none,
each different text is looked at once, as `columns` would.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dln.runtime.readers import files
from dln.runtime.readers.table.cells import MISSING, number
from dln.runtime.readers.table.columns import Column, Decimals, Gathered
from dln.runtime.readers.table.dialect import Dialect

LARGE = 4 << 20  # bytes of a file from which on it is worth the import
PIECE = 1 << 18  # bytes that are looked at at a time
BLOCK = 4 << 20  # bytes that are turned into numbers at a time
NUMBERS = re.compile(r"In CSV column #(\d+):.*conversion error to double")


class Unlike(Exception):
    """A file that may mean another thing to pyarrow."""


def worth(path: Path, dialect: Dialect) -> bool:
    """Whether a table is so large that pyarrow is used, which is there, and plain enough for it."""
    plain = dialect.width > 1 and not dialect.trailing and dialect.mark != " "
    known = dialect.sure or dialect.mark == ","
    coded = dialect.encoding in ("utf-8", "utf-8-sig")
    large = path.stat().st_size >= LARGE
    return large and plain and known and coded and find_spec("pyarrow") is not None


def gather(path: Path, dialect: Dialect, wanted: Sequence[int]) -> Gathered | None:
    """The columns of a table that are wanted, as `columns.gather` gives them; None where that has
    the word."""
    pa = import_module("pyarrow")
    words: set[int] = set()
    while True:
        try:
            return _gathered(path, dialect, wanted, words)
        except pa.ArrowInvalid as e:
            found = NUMBERS.search(str(e))
            column = int(found[1]) if found else -1
            if column not in wanted or column in words:
                return None
            words.add(column)
        except Infinite as e:
            words.add(e.column)
        except (Unlike, pa.ArrowException, UnicodeDecodeError):
            return None


class Infinite(Exception):
    """A column in which pyarrow has found a number that is not finite."""

    def __init__(self, column: int) -> None:
        super().__init__(column)
        self.column = column


def batches(
    path: Path, dialect: Dialect, wanted: Sequence[int], words: set[int], kept: Sequence[int]
) -> Iterator[tuple[int, dict[int, Column], dict[int, list[str]]]]:
    """The rows of a table, some at a time: how many, the columns that are wanted, of which some
    hold words, and cells as they stand. Raises `Unlike` where the standard library has the word."""
    pa = import_module("pyarrow")
    try:
        source, reader = _opened(path, dialect, [*wanted, *kept], words | set(kept))
        for batch in reader:
            found = {k: Column() for k in wanted}
            for k, column in found.items():
                if k in words or k in kept:
                    take_texts(column, batch.column(str(k)), dialect.decimal)
                else:
                    _numbers(column, batch.column(str(k)), k)
            texts = {k: [c.strip() for c in batch.column(str(k)).to_pylist()] for k in kept}
            if any('"' in c for cells in texts.values() for c in cells):
                raise Unlike
            yield batch.num_rows, found, texts
        source.settle()
    except (Infinite, pa.ArrowException, UnicodeDecodeError) as e:
        raise Unlike from e


def _gathered(path: Path, dialect: Dialect, wanted: Sequence[int], words: set[int]) -> Gathered:
    source, reader = _opened(path, dialect, wanted, words)
    found, rows = {k: Column() for k in wanted}, 0
    for batch in reader:
        for k, column in found.items():
            if k in words:
                take_texts(column, batch.column(str(k)), dialect.decimal)
            else:
                _numbers(column, batch.column(str(k)), k)
        rows += batch.num_rows
    source.settle()
    return Gathered(rows, found, Decimals(dialect.decimal, dialect.sure))


def _opened(
    path: Path, dialect: Dialect, wanted: Sequence[int], words: set[int]
) -> tuple[Guarded, Any]:
    """A file as pyarrow reads it, and what gives its rows, some at a time."""
    pa, csv = import_module("pyarrow"), import_module("pyarrow.csv")
    names = [str(k) for k in range(dialect.width)]
    source = Guarded(path)
    skipped = source.begin(dialect)
    kinds = {names[k]: pa.string() if k in words else pa.float64() for k in wanted}
    first = [] if wanted else [names[0]]  # so that rows are counted
    reader = csv.open_csv(
        pa.PythonFile(source, mode="r"),
        read_options=csv.ReadOptions(column_names=names, block_size=BLOCK, use_threads=False),
        parse_options=csv.ParseOptions(
            delimiter=dialect.mark, newlines_in_values=skipped or dialect.quotes
        ),
        convert_options=csv.ConvertOptions(
            column_types=kinds | dict.fromkeys(first, pa.string()),
            include_columns=[*kinds, *first],
            null_values=NULLS,
            strings_can_be_null=False,
            quoted_strings_can_be_null=True,
            decimal_point=dialect.decimal,
            check_utf8=True,
        ),
    )
    return source, reader


def _spellings() -> Iterator[str]:
    """All ways of writing that a value is missing, in large and in small letters."""
    for word in MISSING:
        yield from map("".join, itertools.product(*({c, c.upper()} for c in word)))


NULLS = sorted(set(_spellings()))


def _numbers(column: Column, cells: Any, k: int) -> None:
    """Take up numbers, NaN where a value is missing."""
    import numpy as np  # late: NumPy

    values = cells.to_numpy(zero_copy_only=False)
    if cells.null_count:
        gaps = np.flatnonzero(cells.is_null().to_numpy(zero_copy_only=False))
        code = column.texts.setdefault("", len(column.texts))
        column.rows.frombytes((gaps + len(column.numbers)).astype("int64").tobytes())
        column.codes.frombytes(np.full(len(gaps), code, "int32").tobytes())
        if np.isfinite(values).sum() < len(values) - len(gaps):
            raise Infinite(k)
    elif not np.isfinite(values).all():
        raise Infinite(k)
    column.numbers.frombytes(np.ascontiguousarray(values, np.float64).tobytes())


def take_texts(column: Column, cells: Any, decimal: str = ".", plain: bool = True) -> None:
    """Take up cells of which any is no number: each different text is looked at once. Texts of a
    file of types are words, and not numbers, whatever they look like."""
    import numpy as np  # late: NumPy

    coded = cells.dictionary_encode()
    values, codes = np.empty(len(coded.dictionary)), np.full(len(coded.dictionary), -1, "int32")
    for i, cell in enumerate(coded.dictionary.to_pylist()):
        if plain and ('"' in cell or "\n" in cell or "\r" in cell):
            raise Unlike
        text = cell.strip()
        value = number(text, decimal) if plain and text not in column.texts else None
        if value is not None and math.isfinite(value):
            values[i] = value
        else:
            values[i] = math.nan
            codes[i] = column.texts.setdefault(text, len(column.texts))
    at = coded.indices.to_numpy(zero_copy_only=False)
    every = codes[at]
    odd = np.flatnonzero(every >= 0)
    column.rows.frombytes((odd + len(column.numbers)).astype("int64").tobytes())
    column.codes.frombytes(every[odd].tobytes())
    column.numbers.frombytes(values[at].tobytes())


class Guarded:
    """A file as pyarrow reads it, each piece looked at before: what only `columns` understands as
    it is meant, comments and quotes that are never closed, raises `Unlike`."""

    closed = False

    def __init__(self, path: Path) -> None:
        self.pieces = files.pieces(path, PIECE)
        self.rest, self.last, self.quotes = b"", b"\n", 0

    def begin(self, dialect: Dialect) -> bool:
        """Leave out what stands before the first example; whether there are quotes behind it in the
        first piece."""
        head = next(self.pieces, b"").removeprefix(b"\xef\xbb\xbf")
        while dialect.names is not None:
            line, end, head = head.partition(b"\n")
            text = line.strip()
            if not end or b"\r" in text or line.count(b'"') % 2:
                raise Unlike
            if text and not text.startswith(b"#"):
                break
        self.rest = self._looked(head)
        return b'"' in head

    def _looked(self, piece: bytes) -> bytes:
        if b"#" in piece and re.search(rb"[\r\n][ \t]*#", self.last + piece):
            raise Unlike
        if b"\0" in piece or (b"\r" in piece and re.search(rb"\r(?!\n)", piece[:-1])):
            raise Unlike
        self.quotes += piece.count(b'"')
        self.last = piece[-64:] or self.last
        return piece

    def settle(self) -> None:
        """At the end, all quotes are closed."""
        if self.quotes % 2:
            raise Unlike

    def read(self, count: int = -1) -> bytes:
        """At most so many bytes."""
        while not self.rest:
            piece = next(self.pieces, None)
            if piece is None:
                return b""
            self.rest = self._looked(piece)
        count = len(self.rest) if count < 0 else count
        made, self.rest = self.rest[:count], self.rest[count:]
        return made

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def close(self) -> None:
        self.closed = True

    def flush(self) -> None:
        """Nothing is written."""
