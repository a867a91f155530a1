"""ToldResults into files, some rows at a time: `.csv`, `.npz`, `.npy`, `.parquet`, or to stdout.

A file is there when it is whole: what breaks off leaves what was there before. Faults: E542 the
system refuses, E582 a kind of file that there is not.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dln.applying.results import ToldColumn
from dln.grammar.diagnostics import Fault

MARKS = frozenset(',"\n\r')
KINDS = (".csv", ".npz", ".npy", ".parquet")


class Sink(Protocol):
    """Where results go: columns of a table, or arrays."""

    arrays: bool

    def begin(self) -> None:
        """Forget what was written."""
        ...

    def put(self, found: Any) -> None:
        """Write some rows."""
        ...

    def end(self) -> None:
        """Put the file where it is to be."""
        ...


def kind_of(to: str | None) -> str:
    """The kind of file that is asked for. Raises `Fault` E582."""
    if to in (None, "-"):
        return ".csv"
    kind = Path(str(to)).suffix.lower()
    if kind not in KINDS:
        text = f"results are written as {', '.join(KINDS)}, not {kind or to}"
        raise Fault(text, "--to out.csv", "E582")
    return kind


@contextmanager
def sink(to: str | None) -> Iterator[Sink]:
    """What writes to a file, or to stdout. Raises `Fault` E542, E582."""
    kind = kind_of(to)
    with ExitStack() as stack:
        try:
            folder = None if to in (None, "-") else str(Path(str(to)).absolute().parent)
            if folder is not None and not os.path.isdir(folder):
                raise Fault(f"cannot write {to}: there is no folder {Path(str(to)).parent}",
                            "make it first, or give another --to", "E542")  # fmt: skip
            if kind == ".csv":
                yield Csv(stack, to, folder)
            elif kind == ".parquet":
                yield Parquet(stack, str(to), str(folder))
            else:
                yield Npz(stack, str(to), str(folder), single=kind == ".npy")
        except BrokenPipeError:
            raise
        except OSError as e:
            why = e.strerror or str(e)
            remedy = "free some space, or give another --to"
            raise Fault(f"cannot write {to or 'the results'}: {why}", remedy, "E542") from e


def _temporary(stack: ExitStack, folder: str | None) -> IO[bytes]:
    """A file without a name, beside where it is to be."""
    return stack.enter_context(tempfile.TemporaryFile(dir=folder))


def _placed(held: IO[bytes], to: str) -> None:
    """Put the contents of a file under a name, whole or not at all."""
    beside = Path(to).with_name(f".{Path(to).name}.{os.getpid()}.tmp")
    held.seek(0)
    try:
        with open(beside, "wb") as made:
            shutil.copyfileobj(held, made, 1 << 20)
        os.replace(beside, to)
    except OSError:
        with suppress(OSError):
            beside.unlink()
        raise


class Csv:
    """Rows of text, with a header."""

    arrays = False

    def __init__(self, stack: ExitStack, to: str | None, folder: str | None) -> None:
        self.held, self.to = _temporary(stack, folder), to
        self.begun = False

    def begin(self) -> None:
        self.held.seek(0)
        self.held.truncate()
        self.begun = False

    def put(self, found: Sequence[ToldColumn]) -> None:
        if not self.begun:
            self.held.write((",".join(_quoted([t.name for t in found])) + "\n").encode())
            self.begun = True
        cells = [shares_of(t.values) if t.share else texts_of(t.values) for t in found]
        lines = map(",".join, zip(*cells, strict=True))
        self.held.write(("\n".join(lines) + "\n").encode())

    def end(self) -> None:
        if self.to in (None, "-"):
            self.held.seek(0)
            reader = io.TextIOWrapper(self.held, "utf-8", newline="")
            shutil.copyfileobj(reader, sys.stdout)
            sys.stdout.flush()
            reader.detach()
        else:
            _placed(self.held, str(self.to))


class JsonColumns:
    """Columns by name, for the one object of `--json`."""

    arrays = False

    def __init__(self) -> None:
        self.columns: dict[str, list[Any]] = {}

    def begin(self) -> None:
        self.columns.clear()

    def put(self, found: Sequence[ToldColumn]) -> None:
        for told in found:
            self.columns.setdefault(told.name, []).extend(np.asarray(told.values).tolist())

    def end(self) -> None:
        """All is here."""


def texts_of(values: Any) -> list[str]:
    """Values as cells: numbers with all their digits, in quotes what needs them, nothing for what
    there is not."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "iu":
        return list(map(str, values.tolist()))
    if isinstance(values, np.ndarray) and values.dtype.kind == "f":
        if values.dtype == np.float64:
            return list(map(repr, values.tolist()))
        return [str(v) for v in values]
    listed = values.tolist() if isinstance(values, np.ndarray) else values
    if all(isinstance(v, str) for v in listed):
        return _quoted(listed)
    cells = ["" if v is None else v if isinstance(v, str) else _digits(v) for v in listed]
    return _quoted(cells)


def shares_of(values: NDArray[Any]) -> list[str]:
    """Probabilities as cells, in six digits."""
    return ["" if v is None else f"{v:.6g}" for v in values.tolist()]


def _digits(value: Any) -> str:
    return repr(value) if type(value) is float else str(value)


def _quoted(cells: Sequence[str]) -> list[str]:
    different = {c for c in set(cells) if not MARKS.isdisjoint(c) or c != c.strip()}
    if not different:
        return list(cells)
    return ['"' + c.replace('"', '""') + '"' if c in different else c for c in cells]


class Npz:
    """Arrays by name, each written as it comes; a `single` one is the first result alone."""

    arrays = True

    def __init__(self, stack: ExitStack, to: str, folder: str, single: bool) -> None:
        self.stack, self.to, self.folder, self.single = stack, to, folder, single
        self.parts: dict[str, IO[bytes]] = {}
        self.forms: dict[str, tuple[np.dtype[Any], tuple[int, ...], int]] = {}

    def begin(self) -> None:
        self.parts.clear()
        self.forms.clear()

    def put(self, found: Mapping[str, NDArray[Any]]) -> None:
        for name, array in found.items():
            if name not in self.parts:
                self.parts[name] = _temporary(self.stack, self.folder)
                self.forms[name] = array.dtype, array.shape[1:], 0
            kind, shape, count = self.forms[name]
            if array.dtype != kind and array.dtype.kind == "U":
                kind = self._widened(name, array.dtype)
            self.parts[name].write(np.ascontiguousarray(array, kind).tobytes())
            self.forms[name] = kind, shape, count + len(array)

    def _widened(self, name: str, kind: np.dtype[Any]) -> np.dtype[Any]:
        """Texts so far with room for longer ones."""
        was, shape, count = self.forms[name]
        if kind.itemsize <= was.itemsize:
            return was
        old, new = self.parts[name], _temporary(self.stack, self.folder)
        old.seek(0)
        while some := old.read(was.itemsize * 65536):
            new.write(np.frombuffer(some, was).astype(kind).tobytes())
        self.parts[name] = new
        return kind

    def end(self) -> None:
        made = _temporary(self.stack, self.folder)
        if self.single:
            self._array(made, next(iter(self.parts)))
        else:
            with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED, allowZip64=True) as z:
                for name in self.parts:
                    with z.open(f"{name}.npy", "w", force_zip64=True) as member:
                        self._array(member, name)
        _placed(made, self.to)

    def _array(self, file: IO[bytes], name: str) -> None:
        kind, shape, count = self.forms[name]
        facts = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False,
                 "shape": (count, *shape)}  # fmt: skip
        np.lib.format.write_array_header_2_0(file, facts)
        self.parts[name].seek(0)
        shutil.copyfileobj(self.parts[name], file, 1 << 20)


class Parquet:
    """Columns as pyarrow writes them."""

    arrays = False

    def __init__(self, stack: ExitStack, to: str, folder: str) -> None:
        try:
            self.pa, self.parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
        except ImportError:
            text = "parquet is written by pyarrow, which is not installed"
            raise Fault(text, 'pip install "dln[table]", or --to a .csv file', "E582") from None
        self.stack, self.to, self.folder = stack, to, folder
        self.begin()

    def begin(self) -> None:
        self.held = _temporary(self.stack, self.folder)
        self.writer: Any = None

    def put(self, found: Sequence[ToldColumn]) -> None:
        named = {t.name: self.pa.array(t.values, from_pandas=True) for t in found}
        table = self.pa.table(named)
        if self.writer is None:
            self.writer = self.parquet.ParquetWriter(self.held, table.schema)
        self.writer.write_table(table.cast(self.writer.schema))

    def end(self) -> None:
        assert self.writer is not None
        self.writer.close()
        _placed(self.held, self.to)
