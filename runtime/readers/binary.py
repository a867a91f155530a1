"""The binary formats, idx and npz: headers without NumPy, then whole arrays.

A header states the length of what follows. The length is worked out in Python integers, which do
not wrap, and compared with the file before anything is allocated.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dln.compiler.schema.headers import DataSource, HeaderField, Schema, Stretch
from dln.grammar.diagnostics import Fault
from dln.runtime.readers import files

if TYPE_CHECKING:
    from numpy.typing import NDArray


EXACT = 1 << 53  # whole numbers up to here are numbers of double precision
EXACT_BYTES = 3  # of memory, to test one number for that


@dataclass(frozen=True)
class _Header:
    """An array as its header says; `name` is what messages call it."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def itemsize(self) -> int:
        """Bytes of a number."""
        return int(self.dtype.lstrip("<>|=biuf"))

    @property
    def row(self) -> int:
        """Bytes of an example."""
        return math.prod(self.shape[1:]) * self.itemsize

    @property
    def kind(self) -> Literal["real", "index"]:
        """Whole numbers along the examples alone are indices."""
        whole = self.dtype.lstrip("<>|=")[0] in "iu"
        return "index" if len(self.shape) == 1 and whole else "real"


def _schema(headers: Mapping[str, _Header]) -> Schema:
    """What arrays hold that agree on the number of examples."""
    counts = {h.name: h.shape[0] for h in headers.values()}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{name} {n:,}" for name, n in counts.items())
        remedy = "name files that belong together"
        raise Fault(f"the numbers of examples differ: {listed}", remedy, "E505")
    count = next(iter(counts.values()), 0)
    if not count:
        raise Fault(f"{', '.join(counts) or 'the set'} holds no examples", code="E503")
    return Schema({n: HeaderField(h.shape[1:], h.kind) for n, h in headers.items()}, count)


# ---- idx (LeCun, Cortes and Burges: the format of the MNIST files) ------------------------------

_IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_IDX_AXES = 8


@dataclass(frozen=True)
class _Idx(_Header):
    path: Path

    @property
    def start(self) -> int:
        return 4 + 4 * len(self.shape)

    @property
    def nbytes(self) -> int:
        return self.start + self.shape[0] * self.row


def _idx_header(path: Path) -> _Idx:
    begin = files.head(path, 4 + 4 * _IDX_AXES)
    axes = begin[3] if len(begin) > 3 else 0
    if begin[:2] != b"\0\0" or len(begin) < 4 or begin[2] not in _IDX_TYPES:
        begins = begin[:4].hex(" ") or "nothing"
        message = f"{path} is not an IDX file: it begins with {begins}, not with 00 00 08"
        raise Fault(message, "fetch it again, or use the reader for its format", "E503")
    if not 1 <= axes <= _IDX_AXES or len(begin) < 4 + 4 * axes:
        raise Fault(f"{path} has a broken IDX header", "fetch it again", "E503")
    shape = struct.unpack_from(f">{axes}I", begin, 4)
    found = _Idx(path.name, _IDX_TYPES[begin[2]], shape, path)
    files.check_length(path, found.nbytes)
    return found


def idx_headers(decl: DataSource) -> dict[str, _Idx]:
    """Headers by field: one axis is `label`, more are `image`; a second one is `image2`."""
    found: dict[str, _Idx] = {}
    for header in map(_idx_header, files.files_of(decl)):
        stem = "label" if len(header.shape) == 1 else "image"
        same = sum(name.rstrip("0123456789") == stem for name in found)
        found[stem if not same else f"{stem}{same + 1}"] = header
    return found


def idx_probe(decl: DataSource) -> Schema:
    return _schema(idx_headers(decl))


def idx_read(decl: DataSource, stretch: Stretch | None) -> dict[str, NDArray[Any]]:
    """The arrays of IDX files by field, [example, ...]: images as uint8, labels as int64."""
    headers = idx_headers(decl)
    _schema(headers)
    return {name: _idx_array(h, stretch) for name, h in headers.items()}


def _idx_array(header: _Idx, stretch: Stretch | None) -> NDArray[Any]:
    """The examples of a stretch, read to where they stay."""
    import numpy as np  # late: NumPy

    low, high = taken(header.shape[0], stretch)
    values = np.empty((high - low, *header.shape[1:]), header.dtype)
    skip = header.start + low * header.row
    last = high == header.shape[0]
    found = files.fill(header.path, values.reshape(-1).view(np.uint8).data, skip, last)
    if found != values.nbytes:
        told = "it holds more" if found > values.nbytes else f"it holds {max(skip + found, 0):,}"
        raise files.wrong_length(header.path, header.nbytes, told)
    if not values.dtype.isnative:
        values = values.byteswap(inplace=True).view(values.dtype.newbyteorder("="))
    return values.astype(np.int64) if header.kind == "index" else values


# ---- npz ---------------------------------------------------------------------------------------


def npz_probe(decl: DataSource) -> Schema:
    return _schema(npz_headers(files.file_of(decl)))


def npz_headers(path: Path) -> dict[str, _Header]:
    """From the header of each member of the zip. Raises `Fault` where it is none, or damaged."""
    import zipfile  # late: few sets are npz

    if not zipfile.is_zipfile(path):
        raise Fault(f"{path} is not an NPZ file", "write it with numpy.savez", "E503")
    try:
        with zipfile.ZipFile(path) as z:
            headers = (_npy_header(path, z, member) for member in z.infolist())
            return {h.name: h for h in headers}
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as e:
        raise files.damaged(path, e) from e


def _npy_header(path: Path, z: Any, info: Any) -> _Header:
    """Read the header of one array and check it against the length the zip gives."""
    import ast  # late: few sets are npz

    with z.open(info) as f:
        begin = f.read(12)
        wide = begin[6:7] > b"\1"
        start, length = (12, begin[8:12]) if wide else (10, begin[8:10])
        size = int.from_bytes(length, "little")
        text = (begin[start:] + f.read(min(size, 10_000)))[:size].decode("latin-1")
    try:
        facts = ast.literal_eval(text.strip())
        dtype, shape = str(facts["descr"]), tuple(int(n) for n in facts["shape"])
        itemsize = int(dtype.lstrip("<>|=biuf"))
    except (ValueError, SyntaxError, TypeError, KeyError, RecursionError, MemoryError) as e:
        remedy = "store plain numbers, with numpy.savez"
        raise Fault(f'"{info.filename}" in {path} is no array of numbers', remedy, "E503") from e
    expected = start + size + math.prod(shape) * itemsize
    if expected > files.LIMIT:
        raise files.too_large(path, f"{expected:,}")
    if not shape or min(shape) < 0 or info.compress_type not in (0, 8):
        raise Fault(f'"{info.filename}" in {path} has no axis of examples', code="E503")
    if expected != info.file_size or expected > info.compress_size * files.EXPANSION + 65536:
        raise files.wrong_length(path, expected, f'"{info.filename}" has {info.file_size:,}')
    return _Header(info.filename.removesuffix(".npy"), dtype, shape)


def npz_read(decl: DataSource, stretch: Stretch | None) -> dict[str, NDArray[Any]]:
    """The arrays of an NPZ file by name, [example, ...]. Raises `Fault` E503 for a damaged one."""
    import zipfile  # late: few sets are npz

    import numpy as np  # late: NumPy

    schema, path = npz_probe(decl), files.file_of(decl)
    try:
        with np.load(path, allow_pickle=False) as z:
            found = {name: cut(z[name], stretch) for name in schema.fields}
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, KeyError) as e:
        raise files.damaged(path, e) from e
    for name, array in found.items():
        _exact(path, name, array)
    kinds = {n: f.kind for n, f in schema.fields.items()}
    return {
        n: a.astype(np.int64, copy=False) if kinds[n] == "index" else a for n, a in found.items()
    }


def cut(values: NDArray[Any], stretch: Stretch | None) -> NDArray[Any]:
    """The examples [example, ...] of a stretch; the others do not stay in memory."""
    low, high = taken(len(values), stretch)
    return values if stretch is None else values[low:high].copy()


def taken(count: int, stretch: Stretch | None) -> tuple[int, int]:
    """Which of the examples of a set are taken. Raises `Fault` E557 where it had another number
    when the spec was read."""
    if stretch is None:
        return 0, count
    if count != stretch.count:
        message = f"there are {count:,} examples, but there were {stretch.count:,} before"
        raise Fault(message, "compile the spec again", "E557")
    return stretch.start, stretch.stop


def _exact(path: Path, name: str, values: NDArray[Any]) -> None:
    """Whole numbers that double precision does not have would come out as others."""
    import numpy as np  # late: NumPy

    if values.dtype.kind not in "iu" or values.dtype.itemsize < 8:
        return
    bad = (values > EXACT) | (values < -EXACT) if values.dtype.kind == "i" else values > EXACT
    if bad.any():
        place = np.unravel_index(int(np.argmax(bad)), values.shape)
        message = f"raw.{name}: example {place[0]} of {path.name} has {values[place]}"
        remedy = "store smaller numbers, for instance differences from the smallest"
        raise Fault(f"{message}, which double precision does not have", remedy, "E554")
