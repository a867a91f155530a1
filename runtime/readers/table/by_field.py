"""A table in the place of what a set is handed: `--data d=FILE.csv` for `given(x[4], label)`.

Each field has the column of its name, and the one field of several numbers that has none the
columns that are left, in their order, as a frame from Python gives them. Faults: E623 a column that
there is not, E624 what is no number, and those of tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from dln.compiler.schema.headers import DataSource
from dln.grammar.diagnostics import Fault, nearest
from dln.runtime.readers.table import scan
from dln.runtime.readers.table.cells import missing
from dln.runtime.readers.table.facts import gaps, kind_of, spelled
from dln.runtime.readers.table.joined import table_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

ENDINGS = (".csv", ".tsv", ".txt", ".data", ".parquet", ".csv.gz", ".tsv.gz")
LISTED = 8  # columns that a message lists


class FieldColumns(NamedTuple):
    """What a field wants of a table: several numbers, a sequence, words for its classes."""

    wide: bool = False
    timed: bool = False
    words: bool = False


def is_table(path: str | None) -> bool:
    """Whether a file is a table by its name."""
    return path is not None and path.lower().endswith(ENDINGS)


def columns_by_field(path: str, fields: Mapping[str, FieldColumns]) -> dict[str, NDArray[Any]]:
    """Arrays [example] and [example, n] by field. Raises `Fault` E623, E624."""
    import numpy as np  # late: NumPy

    decl = DataSource("table", (path,), {}, "", path)
    found = table_of(decl, {})
    taken = _taken(path, list(found.dialect.names or ()), fields)
    found.read({k for columns in taken.values() for k in columns})
    made = {}
    for name, columns in taken.items():
        if fields[name].words and found.columns[columns[0]].rows:
            made[name] = np.array(_words(found, columns[0]))
            continue
        arrays = [_numbers(found, k) for k in columns]
        made[name] = np.stack(arrays, 1) if fields[name].wide else arrays[0]
    scan.forget(found)
    return made


def _taken(path: str, names: list[str], fields: Mapping[str, FieldColumns]) -> dict[str, list[int]]:
    """The columns of each field."""
    if not names:
        line = ",".join(fields)
        raise Fault(f"{path} does not say what its columns are", f"a first line: {line}", "E623")
    if timed := [f for f, wants in fields.items() if wants.timed]:
        text = f"{timed[0]} runs over time, and a row of {path} is one example"
        raise Fault(text, "an array [example, time, ...] in a FILE.npz", "E623")
    taken = {f: [names.index(f)] for f in fields if f in names}
    left = [k for k, name in enumerate(names) if name not in taken]
    rest = [f for f in fields if f not in taken]
    if len(rest) == 1 and left and fields[rest[0]].wide:
        taken[rest[0]] = left
    elif rest:
        wide = [f for f in rest if fields[f].wide]
        rest = wide if len(wide) > 1 else [f for f in rest if f not in wide] or rest
        listed = ", ".join(names[:LISTED]) + ", ..." * (len(names) > LISTED)
        near = nearest(rest[0], [names[k] for k in left])
        remedy = f"{rest[0]}, in place of {near or 'what it is called'} in the first line"
        if len(wide) > 1:
            remedy = f"arrays called {', '.join(rest)} in a FILE.npz"
        text = f"{path} has the columns {listed}, and no {' and no '.join(rest)}"
        raise Fault(text, remedy, "E623")
    return taken


def _numbers(found: scan.Table, column: int) -> NDArray[Any]:
    """A column as numbers; dates are days."""
    import numpy as np  # late: NumPy

    kind_of(found, column)
    values = np.array(found.columns[column].numbers)
    if (none := np.flatnonzero(np.isnan(values))).size:
        row = int(none[0])
        text = _cell(found, column, row)
        what = "nothing stands there" if missing(text) else f'"{text}" is no number'
        more = f" ({none.size - 1:,} more are none)" if none.size > 1 else ""
        name = (found.dialect.names or ())[column]
        raise Fault(f'{found.where(row)}, column "{name}": {what}{more}', _remedy(text), "E624")
    return values


def _remedy(text: str) -> str:
    if missing(text):
        return "fill it in, or leave the row out"
    return "a number; a class whose names are words is declared label: class"


def _words(found: scan.Table, column: int) -> list[str]:
    """A column as the names of classes."""
    col = found.columns[column]
    texts = list(col.texts)
    words = [spelled(value) for value in col.numbers]
    for row, code in zip(col.rows, col.codes, strict=True):
        words[row] = texts[code]
    if lost := gaps(col):
        row, name = lost[0], (found.dialect.names or ())[column]
        text = f'{found.where(row)}, column "{name}": nothing stands there'
        raise Fault(text, _remedy(""), "E624")
    return words


def _cell(found: scan.Table, column: int, row: int) -> str:
    col = found.columns[column]
    at = dict(zip(col.rows, col.codes, strict=True)).get(row)
    return "" if at is None else list(col.texts)[at]
