"""Tables: numbers and words in rows and columns, in a file or written in the spec.

Of a file the compiler asks in turn what its header is (`head`), what some columns hold (`look`),
and how many examples there are once it is known which are read: `columns` as numbers, `classes` as
words. What is no number is an error only where a field reads its column.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dln.compiler.schema.headers import (
    DataSource,
    HeaderField,
    Schema,
    Stretch,
    TableFacts,
)
from dln.grammar.diagnostics import Fault, nearest
from dln.runtime.readers.binary import cut
from dln.runtime.readers.table import facts as known
from dln.runtime.readers.table import scan
from dln.runtime.readers.table.joined import JoinedTable, table_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

LISTED = 6  # words that a message lists


# ---- what the compiler asks --------------------------------------------------------------------


def table_probe(decl: DataSource) -> Schema:
    """What a table holds, as far as it is asked. Raises `Fault` E503, E504, E506, E508, E514."""
    options: Mapping[str, Any] = decl.options
    found = table_of(decl, options)
    width, head = found.dialect.width, bool(options.get("head"))
    facts = TableFacts(found.path.name, found.dialect.names, width, found.dialect.said)
    facts = facts.changed(unit=found.unit)
    fields = {"": HeaderField((width,), "real")}
    if head:
        return Schema(fields, 0, table=facts)
    taken = range(width) if decl.columns is None else decl.columns
    look = set(options.get("look", range(width) if decl.columns is None else ()))
    classes = _classes(options)
    found.read({*taken, *look, *(c for _, c, _ in classes)})
    for _, column, names in classes:
        coded(found, column, names)
    lost = _dropped(found, decl)
    facts = facts.changed(
        said=found.dialect.said,
        rows=found.rows,
        columns={k: known.facts(found, k) for k in sorted(look)},
        dropped=len(lost),
        means=_means(found, options, lost),
        pieces=_pieces(found, options, lost),
    )
    fields |= {key: HeaderField((), "index") for key, _, _ in classes}
    odd = {k: f.odd for k, f in facts.columns.items() if f.odd is not None}
    return Schema(fields, found.rows - len(lost), odd=odd, table=facts)


def _classes(options: Mapping[str, Any]) -> Sequence[tuple[str, int, tuple[str, ...]]]:
    """The columns that are read as classes: under which name, which, and the names of these."""
    found: Sequence[tuple[str, int, tuple[str, ...]]] = options.get("classes", ())
    return found


def _dropped(found: scan.Table, decl: DataSource) -> set[int]:
    """The rows that are left out, as something is missing that is read."""
    lost: set[int] = set()
    how = decl.options.get("missing")
    for column in decl.columns or () if how == "drop" else ():
        lost.update(known.gaps(found.columns[column]))
    for _, column, names in _classes(decl.options) if how else ():
        lost.update(known.gaps(found.columns[column], names))
    return lost


def _means(found: scan.Table, options: Mapping[str, Any], lost: set[int]) -> dict[int, float]:
    """The means of columns over the examples of some pieces of a division."""
    if "mean" not in options:
        return {}
    import numpy as np  # late: NumPy

    wanted, division, pieces, *told_by = options["mean"]
    kept, dealt_to = _dealt(found, division, told_by, lost)
    kept = kept[np.isin(dealt_to, pieces)]
    made = {}
    for column in wanted:
        known.kind_of(found, column)
        values = np.array(found.columns[column].numbers)[kept]
        values = values[~np.isnan(values)]
        made[column] = math.fsum(values.tolist()) / len(values) if len(values) else math.nan
    return made


def _pieces(found: scan.Table, options: Mapping[str, Any], lost: set[int]) -> tuple[int, ...]:
    """How many examples are in each piece of a division that keeps groups together."""
    if "apart" not in options:
        return ()
    import numpy as np  # late: NumPy

    division, *told_by = options["apart"]
    dealt_to = _dealt(found, division, told_by, lost)[1]
    return tuple(np.bincount(dealt_to, minlength=len(division.wanted)).tolist())


def _dealt(
    found: scan.Table, division: Any, told_by: Sequence[Any], lost: set[int]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The rows that are left, and the piece of a division that each is in; `told_by` are the
    columns that decide it, of classes with the names of these."""
    import numpy as np  # late: NumPy

    from dln.runtime.readers.dealing import dealt  # late: NumPy

    kept = np.arange(found.rows)
    kept = np.setdiff1d(kept, np.fromiter(lost, np.int64)) if lost else kept
    told = {}
    for name, (column, names) in zip(division.told_by, filter(None, told_by), strict=True):
        values: Any = coded(found, column, names) if names else found.columns[column].numbers
        told[name] = np.array(values)[kept]
    return kept, dealt(division, told)[1]


# ---- numbers -----------------------------------------------------------------------------------


def table_read(decl: DataSource, stretch: Stretch | None) -> dict[str, NDArray[Any]]:
    """The numbers of a table [row, column], of the columns that are read; the classes of each row
    by their names, as whole numbers. Raises `Fault` E513 for a word that is no class."""
    import numpy as np  # late: NumPy

    options: Mapping[str, Any] = decl.options
    found = table_of(decl, options)
    taken = range(found.dialect.width) if decl.columns is None else decl.columns
    classes = _classes(options)
    found.read({*taken, *(c for _, c, _ in classes)})
    kept = None
    if lost := _dropped(found, decl):
        kept = np.setdiff1d(np.arange(found.rows), np.fromiter(lost, np.int64))
    fill = dict(options.get("fill", ()))
    made = np.empty((len(taken), found.rows - len(lost))).T  # a column lies in one piece
    for i, column in enumerate(taken):
        known.kind_of(found, column)
        values = np.frombuffer(found.columns[column].numbers, np.float64)
        made[:, i] = values if kept is None else values[kept]
        if column in fill:
            made[np.isnan(made[:, i]), i] = fill[column]
        del values
        if all(column != c for _, c, _ in classes):
            del found.columns[column]  # as soon as it is taken, so that no more is held than twice
    arrays = {"": cut(made, stretch)}
    for key, column, names in classes:
        codes = np.frombuffer(coded(found, column, names), np.int64)
        arrays[key] = cut(codes if kept is None else codes[kept], stretch)
    scan.forget(found)
    return arrays


def in_place(some: NDArray[Any], columns: Sequence[int] | None, width: int) -> NDArray[Any]:
    """The columns [row, column] of a table that are read, each in its place: [row, width]; the
    others are 0, and nothing looks at them."""
    import numpy as np  # late: NumPy

    if columns is None:
        return some
    made = np.zeros((len(some), width))
    made[:, list(columns)] = some
    return made


def coded(found: scan.Table, column: int, names: Sequence[str]) -> array[int]:
    """The classes of a column by their places among `names`. Raises `Fault` E513 where another word
    stands."""
    places, others = known.codes(found.columns[column], names)
    for row in others[:1]:
        text = _text(found, column, row)
        listed = ", ".join(names[:LISTED]) + ", ..." * (len(names) > LISTED)
        more = f" ({len(others) - 1:,} more are none of them)" if len(others) > 1 else ""
        where = f"{found.where(row)}, column {column + 1}"
        message = f'{where}: "{text}" is none of the classes {listed}{more}'
        raise Fault(message, nearest(text, names) or "", "E513")
    return places


def _text(found: scan.Table, column: int, row: int) -> str:
    """What stands in a cell."""
    col = found.columns[column]
    for at, code in zip(col.rows, col.codes, strict=True):
        if at == row:
            return list(col.texts)[code]
    return known.spelled(col.numbers[row])


def place_of(decl: DataSource, example: int) -> str:
    """Where an example of a table stands: `points.csv, line 12`."""
    options = decl.options
    found = table_of(decl, options)
    if options.get("missing"):
        found.read({*(decl.columns or ()), *(c for _, c, _ in _classes(options))})
        lost = _dropped(found, decl)
        rows = (i for i in range(found.rows) if i not in lost)
        example = next((row for i, row in enumerate(rows) if i == example), found.rows)
    line = found.line(example)
    path = found.file(example) if isinstance(found, JoinedTable) else found.path
    return f"{path.name}, {found.unit} {line}" if line else ""


# ---- rows written in the spec ------------------------------------------------------------------


def _cells(decl: DataSource) -> tuple[array[float], int]:
    """The numbers of a list of lists, and how many columns there are."""
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
    return cells, columns


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple)


def rows_probe(decl: DataSource) -> Schema:
    cells, columns = _cells(decl)
    return Schema({"": HeaderField((columns,), "real")}, len(cells) // columns)


def rows_read(decl: DataSource, stretch: Stretch | None) -> dict[str, NDArray[Any]]:
    """The numbers of a table that is written in the spec, [row, column]."""
    import numpy as np  # late: NumPy

    cells, columns = _cells(decl)
    return {"": cut(np.frombuffer(cells, np.float64).reshape(-1, columns), stretch)}
