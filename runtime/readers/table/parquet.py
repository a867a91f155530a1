"""Parquet files as tables, by pyarrow: columns have names and types, so that nothing is guessed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dln.grammar.diagnostics import Fault
from dln.runtime.readers.table import arrow
from dln.runtime.readers.table.columns import Column, Decimals, Gathered
from dln.runtime.readers.table.dialect import PARQUET, Dialect

ROWS = 1 << 16  # at a time
DAY = 86_400_000_000  # microseconds


def opened(path: Path) -> Any:
    """The file. Raises `Fault` E516 where pyarrow is missing, E503 for what is no such file."""
    if find_spec("pyarrow") is None:
        message = f"{path} is a Parquet file, which pyarrow reads"
        raise Fault(message, "pip install 'dln[table]'", "E516")
    pa, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    try:
        return parquet.ParquetFile(path)
    except (pa.ArrowException, OSError) as e:
        raise _damaged(path, e) from e


def recognised(path: Path) -> Dialect:
    """The columns of a Parquet file. Raises `Fault` E503, E516."""
    names = tuple(opened(path).schema_arrow.names)
    if not names:
        raise Fault(f"{path} holds no columns", code="E503")
    return Dialect(PARQUET, ",", len(names), names, ".", True)


def kind_of(path: Path, k: int) -> str:
    """What a column holds by its type, where that stands for numbers: date, truth; nothing."""
    types, kind = import_module("pyarrow").types, opened(path).schema_arrow.types[k]
    if types.is_date(kind) or types.is_timestamp(kind):
        return "date"
    return "truth" if types.is_boolean(kind) else ""


def gather(path: Path, dialect: Dialect, wanted: Sequence[int]) -> Gathered:
    """The columns that are wanted. Raises `Fault` E503 where one holds neither numbers nor words,
    or the file is damaged."""
    pa, file = import_module("pyarrow"), opened(path)
    found = {k: Column() for k in wanted}
    names = [file.schema_arrow.names[k] for k in wanted]
    try:
        for batch in file.iter_batches(batch_size=ROWS, columns=names) if names else ():
            for (k, column), cells in zip(found.items(), batch.columns, strict=True):
                _taken(path, pa, column, cells, k, names[[*found].index(k)])
    except (pa.ArrowException, OSError) as e:
        raise _damaged(path, e) from e
    return Gathered(file.metadata.num_rows, found, Decimals(".", True))


def batches(
    path: Path, wanted: Sequence[int], kept: Sequence[int]
) -> Iterator[tuple[int, dict[int, Column], dict[int, list[str]]]]:
    """The rows of a file, some at a time: how many, the columns that are wanted, and values as they
    stand. Raises `Fault` as `gather` does."""
    pa, file = import_module("pyarrow"), opened(path)
    names = {k: file.schema_arrow.names[k] for k in dict.fromkeys([*wanted, *kept])}
    try:
        for batch in file.iter_batches(batch_size=ROWS, columns=list(names.values())):
            cells = dict(zip(names, batch.columns, strict=True))
            found = {k: Column() for k in wanted}
            for k, column in found.items():
                _taken(path, pa, column, cells[k], k, names[k])
            texts = {k: ["" if v is None else str(v) for v in cells[k].to_pylist()] for k in kept}
            yield batch.num_rows, found, texts
    except (pa.ArrowException, OSError) as e:
        raise _damaged(path, e) from e


def _taken(path: Path, pa: Any, column: Column, cells: Any, k: int, name: str) -> None:
    """Take up some cells of a column of any type."""
    types, kind = pa.types, cells.type
    if types.is_dictionary(kind):
        cells = cells.dictionary_decode()
        kind = cells.type
    if types.is_string(kind) or types.is_large_string(kind) or types.is_null(kind):
        arrow.take_texts(column, cells.cast(pa.string()).fill_null(""), plain=False)
        return
    try:
        if types.is_boolean(kind):
            values = cells.cast(pa.uint8()).cast(pa.float64())
        elif types.is_date(kind):
            values = cells.cast(pa.date32()).cast(pa.int32()).cast(pa.float64())
        elif types.is_timestamp(kind):
            whole = cells.cast(pa.timestamp("us"), safe=False).cast(pa.int64())
            values = import_module("pyarrow.compute").divide(whole.cast(pa.float64()), float(DAY))
        elif types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
            values = cells.cast(pa.float64())
        else:
            message = f'{path}, column {k + 1} ("{name}") holds {kind}, neither numbers nor words'
            raise Fault(message, "store it in another form", "E503")
    except pa.ArrowInvalid as e:
        message = f'{path}, column {k + 1} ("{name}"): {e}'
        raise Fault(message, "store smaller numbers, or such with decimals", "E554") from e
    _numbers(column, values)


def _numbers(column: Column, cells: Any) -> None:
    """Take up numbers; what is no finite number is remembered, NaN as missing."""
    import numpy as np  # late: NumPy

    values = np.array(cells.to_numpy(zero_copy_only=False), np.float64)
    for row in np.flatnonzero(~np.isfinite(values)).tolist():
        text = "" if math.isnan(values[row]) else repr(float(values[row]))
        column.rows.append(row + len(column.numbers))
        column.codes.append(column.texts.setdefault(text, len(column.texts)))
        values[row] = math.nan
    column.numbers.frombytes(values.tobytes())


def _damaged(path: Path, e: Exception) -> Fault:
    return Fault(f"{path} is damaged: {str(e).splitlines()[0]}", "fetch it again", "E503")
