"""Readers of the data a spec names: idx, npz, table, rows, text, synthetic.

`probe` answers what a set holds (fields, count, classes) from headers, without NumPy, so that
`dln check` stays quick. `read` gives whole arrays. Lengths are worked out in Python integers and
compared with the file before anything is allocated; `files.py` says where files may lie.

Every wrong file is a `Fault`: E501 not found, E502 refused name or kind of file, E503 wrong
format, E504 wrong length, E505 counts differ, E506 ragged row, E507 not a number, E508 too large,
E509 wrong arguments, E510 synthetic sets, E511 the system refuses to read.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dln.grammar.diagnostics import Fault, nearest
from dln.runtime.binary import idx_probe, idx_read, npz_probe, npz_read
from dln.runtime.files import LIMIT, file_of, too_large, whole
from dln.runtime.files import Decl as Decl
from dln.runtime.files import RawField as RawField
from dln.runtime.files import Schema as Schema
from dln.runtime.files import locate as locate

if TYPE_CHECKING:
    from numpy.typing import NDArray

DRAWING = 1_000_000  # bytes of a file of drawings
WINDOW = 50  # characters that a window of a text foretells, where nothing else is said
OPTIONS = {"text": ("window",)}


def probe(decl: Decl) -> Schema:
    """The fields and the number of examples, read from headers.

    >>> probe(Decl("rows", ([[0.05, 0.1, 0.99]],), {}, "."))
    Schema(fields={'': RawField(shape=(3,), kind='real')}, count=1, classes=None, alphabet=None)
    """
    with _readable(decl):
        return _reader(decl)[0](decl)


def read(decl: Decl) -> dict[str, NDArray[Any]]:
    """The whole arrays by field, first axis the example; idx images stay uint8, indices int64."""
    with _readable(decl):
        return _reader(decl)[1](decl)


def alphabet(decl: Decl) -> str:
    """The distinct characters of a `text` set, sorted: index i stands for character i."""
    with _readable(decl):
        return _distinct(_text(decl))


def drawing(name: str, base: str) -> tuple[str, str]:
    """The path and the text of a file of drawings, looked for where data files are."""
    decl = Decl("glyphs", (name,), {}, base)
    with _readable(decl):
        try:
            path = file_of(decl)
        except Fault as fault:
            remedy = "put the file beside the spec" if "--data" in fault.remedy else fault.remedy
            raise Fault(fault.message, remedy, fault.code) from None
        if path.stat().st_size > DRAWING:
            raise Fault(f"{path} is too long for a drawing", "at most a million bytes", "E508")
        return str(path), _decoded(path)


def _reader(decl: Decl) -> tuple[Callable[[Decl], Schema], Callable[[Decl], dict[str, Any]]]:
    found = READERS.get(decl.reader)
    if found is None:
        near = nearest(decl.reader, READERS) or f"one of {', '.join(sorted(READERS))}"
        raise Fault(f'there is no reader "{decl.reader}"', near, "E509")
    for option in decl.options:
        if option not in OPTIONS.get(decl.reader, ()) and decl.reader != "synthetic":
            raise Fault(f'{decl.reader} has no option "{option}"', code="E509")
    return found


@contextmanager
def _readable(decl: Decl) -> Iterator[None]:
    """Refusals of the operating system as faults."""
    try:
        yield
    except OSError as e:
        what = e.filename or f"the data of {decl.reader}"
        remedy = "check that the file exists and that you may read it"
        raise Fault(f"cannot read {what}: {e.strerror or e}", remedy, "E511") from e


# ---- table and rows ----------------------------------------------------------------------------


def _decoded(path: Path) -> str:
    data = whole(path, LIMIT)
    if len(data) > LIMIT:
        raise too_large(path, len(data))
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        raise Fault(f"{path}, line {line}: not UTF-8 text", "save it as UTF-8", "E503") from e


def _number(cell: str) -> float | None:
    """The number a cell holds, or None."""
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def _table(path: Path) -> tuple[int, array[float]]:
    """Columns and cells, row by row. A first line without any number is a heading."""
    cells, columns, first = array("d"), 0, True
    for number, line in enumerate(_decoded(path).split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        row = line.split(",")
        values = [_number(c) for c in row]
        heading, first = first and all(v is None for v in values), False
        if heading:
            columns = len(row)
            continue
        columns = columns or len(row)
        if len(row) != columns:
            message = f"{path}, line {number}: {len(row)} cells, but {columns} above"
            raise Fault(message, "give every row the same number of cells", "E506")
        cells.extend(_checked(values, row, f"{path}, line {number}"))
    if not cells:
        raise Fault(f"{path} holds no rows of numbers", code="E503")
    return columns, cells


def _checked(values: Sequence[float | None], row: Sequence[str], where: str) -> Iterator[float]:
    for column, (value, cell) in enumerate(zip(values, row, strict=True), 1):
        if value is None or not math.isfinite(value):
            message = f'{where}, column {column}: "{cell.strip()[:40]}" is not a finite number'
            raise Fault(message, "write numbers separated by commas", "E507")
        yield value


def _rows(decl: Decl) -> tuple[int, array[float]]:
    """Columns and cells of a list of lists written in the spec."""
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
    return columns, cells


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple)


def _cells(decl: Decl) -> tuple[int, array[float]]:
    return _rows(decl) if decl.reader == "rows" else _table(file_of(decl))


def _cells_probe(decl: Decl) -> Schema:
    columns, cells = _cells(decl)
    return Schema({"": RawField((columns,), "real")}, len(cells) // columns)


def _cells_read(decl: Decl) -> dict[str, NDArray[Any]]:
    import numpy as np

    columns, cells = _cells(decl)
    return {"": np.array(cells, np.float64).reshape(-1, columns)}


# ---- text --------------------------------------------------------------------------------------


def _text(decl: Decl) -> str:
    path = file_of(decl)
    text = _decoded(path)
    if not text:
        raise Fault(f"{path} is empty", code="E503")
    return text


def _distinct(text: str) -> str:
    """The distinct characters of a text, sorted.

    What a first stretch holds is taken out of the rest in one pass over its bytes, which is ten
    times as quick as looking at every character.
    """
    seen = set(text[:4096])
    if text.isascii():
        text = text.encode().translate(None, "".join(seen).encode()).decode()
    return "".join(sorted(seen | set(text)))


def _windows(decl: Decl, text: str) -> tuple[int, int]:
    """Windows in a text, and the characters that each goes on by: the next one begins with its
    last character, so that every character is once foretold."""
    window = decl.options.get("window", WINDOW)
    if not isinstance(window, int) or isinstance(window, bool) or window < 1:
        message = f"window must be a whole number of at least 1, not {window!r}"
        raise Fault(message, "set window = 50", "E509")
    if len(text) <= window:
        message = f"the text has {len(text):,} characters, a window of {window:,} takes one more"
        remedy = f"set window = {len(text) - 1}" if len(text) > 1 else "a longer text"
        raise Fault(message, remedy, "E504")
    return (len(text) - 1) // window, window


def _text_probe(decl: Decl) -> Schema:
    text = _text(decl)
    count, window = _windows(decl, text)
    alphabet = _distinct(text)
    return Schema({"": RawField((window + 1,), "index")}, count, len(alphabet), alphabet)


def _text_read(decl: Decl) -> dict[str, NDArray[Any]]:
    """Stretches of window + 1 characters as indices into the alphabet: looks into one array."""
    import numpy as np

    text = _text(decl)
    count, window = _windows(decl, text)
    codes = np.frombuffer(text.encode("utf-32-le"), "<u4")
    present = np.unique(codes)
    index = np.zeros(int(present[-1]) + 1, np.int64)
    index[present] = np.arange(len(present))
    every = np.lib.stride_tricks.sliding_window_view(index[codes], window + 1)
    return {"": every[: count * window : window]}


# ---- synthetic ---------------------------------------------------------------------------------


def _synthetic_probe(decl: Decl) -> Schema:
    from dln.runtime import synthetic

    shapes, count, classes = synthetic.shapes(decl.args, decl.options)
    return Schema({n: RawField(*f) for n, f in shapes.items()}, count, classes)


def _synthetic_read(decl: Decl) -> dict[str, NDArray[Any]]:
    from dln.runtime import synthetic

    return synthetic.generate(decl.args, decl.options)


READERS: dict[str, tuple[Callable[[Decl], Schema], Callable[[Decl], dict[str, Any]]]] = {
    "idx": (idx_probe, idx_read),
    "npz": (npz_probe, npz_read),
    "rows": (_cells_probe, _cells_read),
    "synthetic": (_synthetic_probe, _synthetic_read),
    "table": (_cells_probe, _cells_read),
    "text": (_text_probe, _text_read),
}
