"""Readers of the data a spec names: idx, npz, table, rows, text, synthetic.

`probe` answers what a set holds (fields, count, classes) from headers, without NumPy, so that
`dln check` stays quick. `read` gives whole arrays. Lengths are worked out in Python integers and
compared with the file before anything is allocated; `files.py` says where files may lie.

Every wrong file is a `Fault`: E501 not found, E502 refused name or kind of file, E503 wrong
format, E504 wrong length, E505 counts differ, E506 ragged row, E507 not a number, E508 too large,
E509 wrong arguments, E510 synthetic sets, E511 the system refuses to read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dln.compiler.schema.headers import SETTINGS, WORDS
from dln.compiler.schema.headers import DataSource as DataSource
from dln.compiler.schema.headers import HeaderField as HeaderField
from dln.compiler.schema.headers import Schema as Schema
from dln.compiler.schema.headers import Stretch as Stretch
from dln.grammar.diagnostics import Fault, nearest
from dln.runtime.readers.binary import cut, idx_probe, idx_read, taken
from dln.runtime.readers.files import CHUNK, decoded, file_of
from dln.runtime.readers.files import locate as locate
from dln.runtime.readers.folders.patterns import files_meant

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dln.compiler.plan import FieldSpec
    from dln.runtime.readers.npz.file_rows import FileRows

DRAWING = 1_000_000  # bytes of a file of drawings


class Reader(NamedTuple):
    """How a kind of data is read: `probe` from headers, `read` as whole arrays, by `rows` where
    there is a way.

    `files` says that what is read lies in files, which the arguments name. Options are the settings
    of the reader, or `parameters` that it checks itself; beside them what the compiler has `asked`.
    """

    probe: Callable[[DataSource], Schema]
    read: Callable[[DataSource, Stretch | None], dict[str, NDArray[Any]]]
    files: bool = False
    parameters: bool = False
    asked: tuple[str, ...] = ()
    rows: Callable[[DataSource, Stretch | None], dict[str, FileRows] | None] | None = None


def probe(decl: DataSource) -> Schema:
    """The fields and the number of examples, read from headers. Raises `Fault` E501 to E511.

    >>> probe(DataSource("rows", ([[0.05, 0.1, 0.99]],), {}, "."))
    Schema(fields={'': HeaderField(shape=(3,), kind='real')}, count=1, classes=None, alphabet=None)
    """
    with readable(decl):
        reader = reader_of(decl)
        if decl.override is not None and not reader.files:
            message = f"{decl.reader} reads no file, so that none can take its place"
            raise Fault(message, "leave out what gives it another file", "E509")
        return reader.probe(decl)


def read(decl: DataSource, stretch: Stretch | None = None) -> dict[str, NDArray[Any]]:
    """The arrays by field, [example, ...], of all examples or of a stretch of them; idx images stay
    uint8, indices int64. Raises `Fault` E501 to E511."""
    with readable(decl):
        return reader_of(decl).read(decl, stretch)


def by_rows(decl: DataSource, stretch: Stretch | None = None) -> dict[str, FileRows] | None:
    """The arrays by field of a set that `read` would read whole, still in their files; None where
    these can only be read whole, or stay in them anyway. Raises `Fault` E501 to E511."""
    rows = reader_of(decl).rows
    with readable(decl):
        return None if rows is None else rows(decl, stretch)


def paths(decl: DataSource) -> dict[str, list[Path]]:
    """The files that a set lies in, by the names that the spec has for them. Raises `Fault` E501,
    E502 or E509."""
    if not reader_of(decl).files:
        return {}
    if decl.reader == "given":
        from dln.runtime.readers import handed  # late: few sets are handed over

        file = handed.as_file(decl)
        return {} if decl.override is None else {decl.override: [file_of(file)]}
    if decl.reader == "images":
        names = decl.args[0] if isinstance(decl.args[0], list) else decl.args[:1]
        return {str(name): [n.path for n in files_meant(decl, name)] for name in names}
    return {str(arg): [f.path for f in files_meant(decl, arg)] for arg in decl.args}


def origin(decl: DataSource, spec: FieldSpec, example: int, element: int) -> str:
    """Where a number stands: `points.csv, line 12, column 3`, or the picture it is of; nothing for
    other sets."""
    if decl.reader == "images":
        from dln.runtime.readers.folders import pictures  # late: few sets are pictures

        return pictures.place_of(decl, example)
    if decl.reader != "table":
        return ""
    column = spec.cells[element] if element < len(spec.cells) else -1
    from dln.runtime.readers.tables import place_of  # late: few sets are tables

    place = place_of(decl, example)
    return f"{place}, column {column + 1}" if place and column >= 0 else place


def drawing(name: str, base: str) -> tuple[str, str]:
    """The path and the text of a file of drawings, looked for where data files are. Raises `Fault`
    E501 to E503, and E508 where it is too long."""
    decl = DataSource("glyphs", (name,), {}, base)
    with readable(decl):
        try:
            path = file_of(decl)
        except Fault as fault:
            remedy = "put the file beside the spec" if "--data" in fault.remedy else fault.remedy
            raise Fault(fault.message, remedy, fault.code) from None
        if path.stat().st_size > DRAWING:
            raise Fault(f"{path} is too long for a drawing", "at most a million bytes", "E508")
        return str(path), decoded(path)


def reader_of(decl: DataSource) -> Reader:
    """The reader that a set names. Raises `Fault` E509 for one that there is not, or an option that
    it does not have."""
    found = READERS.get(decl.reader)
    if found is None:
        near = nearest(decl.reader, READERS) or f"one of {', '.join(sorted(READERS))}"
        raise Fault(f'there is no reader "{decl.reader}"', near, "E509")
    for option in decl.options:
        known = (*SETTINGS[decl.reader], *found.asked, *WORDS.get(decl.reader, ()))
        if not found.parameters and option not in known:
            raise Fault(f'{decl.reader} has no option "{option}"', code="E509")
    return found


@contextmanager
def readable(decl: DataSource) -> Iterator[None]:
    """Refusals of the operating system as faults. Raises Fault (E511)."""
    try:
        yield
    except OSError as e:
        what = e.filename or f"the data of {decl.reader}"
        remedy = "check that the file exists and that you may read it"
        raise Fault(f"cannot read {what}: {e.strerror or e}", remedy, "E511") from e


# ---- text --------------------------------------------------------------------------------------


def _distinct(text: str) -> str:
    """The distinct characters of a text, sorted.

    What is known is taken out of each stretch in one pass over its bytes, which is ten times as
    quick as looking at every character.
    """
    seen = set(text[:4096])
    for at in range(0, len(text), CHUNK):
        part = text[at : at + CHUNK]
        if part.isascii():
            known = "".join(filter(str.isascii, seen)).encode()
            part = part.encode().translate(None, known).decode()
        seen.update(part)
    return "".join(sorted(seen))


def _windows(decl: DataSource) -> tuple[str, int, int]:
    """A text, the windows in it, and the characters that each goes on by: the next one begins with
    its last character, so that every character is once foretold."""
    path = file_of(decl)
    text = decoded(path)
    if not text:
        raise Fault(f"{path} is empty", code="E503")
    window = decl.options.get("window", SETTINGS["text"]["window"])
    if not isinstance(window, int) or isinstance(window, bool) or window < 1:
        message = f"window must be a whole number of at least 1, not {window!r}"
        raise Fault(message, "set window = 50", "E509")
    if len(text) <= window:
        message = f"the text has {len(text):,} characters, a window of {window:,} takes one more"
        remedy = f"set window = {len(text) - 1}" if len(text) > 1 else "a longer text"
        raise Fault(message, remedy, "E504")
    return text, (len(text) - 1) // window, window


def _text_probe(decl: DataSource) -> Schema:
    text, count, window = _windows(decl)
    alphabet = _distinct(text)
    return Schema({"": HeaderField((window + 1,), "index")}, count, len(alphabet), alphabet)


def _text_read(decl: DataSource, stretch: Stretch | None) -> dict[str, NDArray[Any]]:
    """Stretches of window + 1 characters as indices into the alphabet: looks into one array."""
    import numpy as np  # late: NumPy

    text, count, window = _windows(decl)
    low, high = taken(count, stretch)
    present = np.frombuffer(_distinct(text).encode("utf-32-le"), "<u4")
    index = np.zeros(int(present[-1]) + 1, np.int64)
    index[present] = np.arange(len(present))
    codes = np.empty((high - low) * window + 1, np.int64)
    for at in range(0, len(codes), CHUNK):
        room, first = codes[at : at + CHUNK], low * window + at
        letters = text[first : first + len(room)].encode("utf-32-le")
        index.take(np.frombuffer(letters, "<u4"), out=room, mode="clip")
    return {"": np.lib.stride_tricks.sliding_window_view(codes, window + 1)[::window]}


# ---- synthetic ---------------------------------------------------------------------------------


def _synthetic_probe(decl: DataSource) -> Schema:
    from dln.runtime.readers import synthetic  # late: few sets are synthetic

    return synthetic.probe(decl)


def _synthetic_read(decl: DataSource, stretch: Stretch | None) -> dict[str, NDArray[Any]]:
    from dln.runtime.readers import synthetic  # late: few sets are synthetic

    return {name: cut(a, stretch) for name, a in synthetic.read(decl).items()}


# ---- tables ------------------------------------------------------------------------------------

ASKED = ("head", "look", "classes", "mean", "fill", "apart")
"""What the compiler asks of a table beside what a spec says."""


def _table_probe(decl: DataSource) -> Schema:
    from dln.runtime.readers import tables  # late: few sets are tables

    return tables.table_probe(decl)


def _table_read(decl: DataSource, stretch: Stretch | None) -> dict[str, NDArray[Any]]:
    from dln.runtime.readers import tables  # late: few sets are tables

    return tables.table_read(decl, stretch)


def _rows_probe(decl: DataSource) -> Schema:
    from dln.runtime.readers import tables  # late: few sets are tables

    return tables.rows_probe(decl)


def _rows_read(decl: DataSource, stretch: Stretch | None) -> dict[str, NDArray[Any]]:
    from dln.runtime.readers import tables  # late: few sets are tables

    return tables.rows_read(decl, stretch)


# ---- what is handed over -----------------------------------------------------------------------


def _given_probe(decl: DataSource) -> Schema:
    from dln.runtime.readers import handed  # late: few sets are handed over

    return handed.probe(decl)


def _given_read(decl: DataSource, stretch: Stretch | None) -> dict[str, NDArray[Any]]:
    from dln.runtime.readers import handed  # late: few sets are handed over

    return handed.read(decl, stretch)


# ---- npz ---------------------------------------------------------------------------------------


def _npz_probe(decl: DataSource) -> Schema:
    from dln.runtime.readers.npz import reading  # late: few sets are npz

    return reading.probe(decl)


def _npz_read(decl: DataSource, stretch: Stretch | None) -> dict[str, NDArray[Any]]:
    from dln.runtime.readers.npz import reading  # late: few sets are npz

    return reading.read(decl, stretch)


def _npz_rows(decl: DataSource, stretch: Stretch | None) -> dict[str, FileRows] | None:
    from dln.runtime.readers.npz import reading  # late: few sets are npz

    return reading.by_rows(decl, stretch)


# ---- pictures ----------------------------------------------------------------------------------


def _images_probe(decl: DataSource) -> Schema:
    from dln.runtime.readers.folders import pictures  # late: few sets are pictures

    return pictures.probe(decl)


def _images_read(decl: DataSource, stretch: Stretch | None) -> dict[str, NDArray[Any]]:
    from dln.runtime.readers.folders import pictures  # late: few sets are pictures

    return pictures.read(decl, stretch)


def _arrays_probe(decl: DataSource) -> Schema:
    from dln.runtime.readers import arrays  # late: few specs start from files

    return arrays.header_probe(decl)


def _arrays_read(decl: DataSource, stretch: Stretch | None) -> dict[str, NDArray[Any]]:
    from dln.runtime.readers import arrays  # late: few specs start from files

    return arrays.arrays_read(decl, stretch)


READERS: dict[str, Reader] = {
    "given": Reader(_given_probe, _given_read, files=True, parameters=True),
    "idx": Reader(idx_probe, idx_read, files=True),
    "images": Reader(_images_probe, _images_read, files=True, parameters=True),
    "npz": Reader(_npz_probe, _npz_read, files=True, rows=_npz_rows),
    "rows": Reader(_rows_probe, _rows_read),
    "safetensors": Reader(_arrays_probe, _arrays_read, files=True),  # of `load`, not of a data set
    "synthetic": Reader(_synthetic_probe, _synthetic_read, parameters=True),
    "table": Reader(_table_probe, _table_read, files=True, asked=ASKED),
    "text": Reader(_text_probe, _text_read, files=True),
}
