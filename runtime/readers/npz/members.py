"""What the headers of `.npz` and `.npy` files say, without NumPy.

A header states the length of what follows. It is worked out in Python integers, which do not wrap,
and compared with the file before anything is allocated.
"""

from __future__ import annotations

import ast
import math
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from dln.grammar.diagnostics import Fault
from dln.runtime.readers import files
from dln.runtime.readers.binary import ArrayHeader

MAGIC = b"\x93NUMPY"
LONGEST = 10_000  # bytes of a header
LARGE = 1 << 30  # bytes of a set from which on it is looked at through a map
LOCAL = 30  # bytes of the header of a member, before its name


@dataclass(frozen=True)
class Member(ArrayHeader):
    """An array of a file: its name, type and shape as its header says; `start` is where its numbers
    begin in the file, None where they are packed. `turned` is what lies column by column."""

    path: Path
    start: int | None
    turned: bool

    @property
    def nbytes(self) -> int:
        return self.shape[0] * self.row

    @property
    def form(self) -> tuple[str, tuple[int, ...]]:
        """What arrays have in common that are put one after the other."""
        return self.dtype.lstrip("<>|="), self.shape[1:]


def members(path: Path) -> list[Member]:
    """The arrays of a file. Raises `Fault` E503, E504 for a damaged one, E508 for one too large."""
    with open(path, "rb") as f:
        begin = f.read(len(MAGIC))
        if begin == MAGIC:
            f.seek(0)
            size = path.stat().st_size
            return [_header(path, path.stem, f, size, 0)]
    if not zipfile.is_zipfile(path):
        raise Fault(f"{path} is not an NPZ file", "write it with numpy.savez", "E503")
    try:
        with zipfile.ZipFile(path) as z, open(path, "rb") as raw:
            return [_member(path, z, info, raw) for info in z.infolist()]
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as e:
        raise files.damaged(path, e) from e


def _member(path: Path, z: zipfile.ZipFile, info: zipfile.ZipInfo, raw: IO[bytes]) -> Member:
    """One array of a zip, checked against the length that the zip gives."""
    if info.compress_type not in (0, 8):
        raise Fault(f'"{info.filename}" in {path} has no axis of examples', code="E503")
    at = _begin(info, raw) if info.compress_type == 0 else None
    with z.open(info) as f:
        found = _header(path, info.filename.removesuffix(".npy"), f, info.file_size, at)
    packed = info.compress_size * files.EXPANSION + 65536
    if info.file_size > packed:
        told = f'"{info.filename}" has {info.file_size:,}'
        raise files.wrong_length(path, found.nbytes, told)
    if at is None and info.file_size > files.LIMIT:
        message = f"{path} holds {info.file_size:,} packed bytes, more than the limit of"
        remedy = "write it with numpy.savez, not savez_compressed: it is read through a map then"
        raise Fault(f"{message} {files.LIMIT:,}", remedy, "E508")
    return found


def _begin(info: zipfile.ZipInfo, raw: IO[bytes]) -> int:
    """Where the bytes of a stored member begin in the file."""
    raw.seek(info.header_offset)
    local = raw.read(LOCAL)
    if len(local) < LOCAL or local[:4] != b"PK\3\4":
        raise zipfile.BadZipFile(f'the header of "{info.filename}" is broken')
    name, extra = (int.from_bytes(local[i : i + 2], "little") for i in (26, 28))
    return info.header_offset + LOCAL + name + extra


def _header(path: Path, name: str, f: IO[bytes], size: int, at: int | None) -> Member:
    """Read the header of one array, which has `size` bytes with it, and check it against that."""
    begin = f.read(12)
    wide = begin[6:7] > b"\1"
    start, length = (12, begin[8:12]) if wide else (10, begin[8:10])
    long = int.from_bytes(length, "little")
    text = (begin[start:] + f.read(min(long, LONGEST)))[:long].decode("latin-1")
    try:
        facts = ast.literal_eval(text.strip())
        dtype, shape = str(facts["descr"]), tuple(int(n) for n in facts["shape"])
        turned = bool(facts.get("fortran_order")) and sum(n > 1 for n in shape) > 1
        found = Member(name, dtype, shape, path, None if at is None else at + start + long, turned)
        itemsize = found.itemsize
    except (ValueError, SyntaxError, TypeError, KeyError, RecursionError, MemoryError) as e:
        remedy = "store plain numbers, with numpy.savez"
        raise Fault(f'"{name}" in {path} is no array of numbers', remedy, "E503") from e
    if not shape or min(shape) < 0:
        raise Fault(f'"{name}" in {path} has no axis of examples', code="E503")
    expected = start + long + math.prod(shape) * itemsize
    if expected != size:
        raise files.wrong_length(path, expected, f'"{name}" has {size:,}')
    return found
