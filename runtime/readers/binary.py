"""The binary format idx: headers without NumPy, then whole arrays.

A header states the length of what follows. The length is worked out in Python integers, which do
not wrap, and compared with the file before anything is allocated.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dln.compiler.schema.headers import DataSource, HeaderField, Schema, Stretch
from dln.grammar.diagnostics import Fault
from dln.runtime.readers import files
from dln.runtime.readers.folders.patterns import files_meant

if TYPE_CHECKING:
    from numpy.typing import NDArray


EXACT = 1 << 53  # whole numbers up to here are numbers of double precision
EXACT_BYTES = 3  # of memory, to test one number for that


@dataclass(frozen=True)
class ArrayHeader:
    """An array of a file as its header says; `name` is what messages call it."""

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


def _schema(headers: Mapping[str, ArrayHeader]) -> Schema:
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
class _Idx(ArrayHeader):
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


def idx_headers(decl: DataSource) -> dict[str, list[_Idx]]:
    """Headers by field: one axis is `label`, more are `image`; a second one is `image2`. A list or
    a pattern is one field, whose examples lie in several files. Raises `Fault` E503, E504, E527."""
    found: dict[str, list[_Idx]] = {}
    for arg in decl.args:
        headers = [_idx_header(f.path) for f in files_meant(decl, arg)]
        for header in headers[1:]:
            if (header.dtype, header.shape[1:]) != (headers[0].dtype, headers[0].shape[1:]):
                mine, other = (f"{h.dtype} {list(h.shape[1:])}" for h in (header, headers[0]))
                text = f"{header.path}: each example is {mine}, in {headers[0].path} {other}"
                raise Fault(text, "files of one set hold the same kind of examples", "E527")
        stem = "label" if len(headers[0].shape) == 1 else "image"
        same = sum(name.rstrip("0123456789") == stem for name in found)
        found[stem if not same else f"{stem}{same + 1}"] = headers
    if not found:
        raise Fault(f"{decl.reader} takes file names", code="E509")
    return found


def idx_probe(decl: DataSource) -> Schema:
    return _schema({name: _joined(some) for name, some in idx_headers(decl).items()})


def _joined(headers: Sequence[_Idx]) -> _Idx:
    """The header of all examples of a field."""
    count = sum(h.shape[0] for h in headers)
    first = headers[0]
    return _Idx(first.name, first.dtype, (count, *first.shape[1:]), first.path)


def idx_read(decl: DataSource, stretch: Stretch | None) -> dict[str, NDArray[Any]]:
    """The arrays of IDX files by field, [example, ...]: images as uint8, labels as int64."""
    headers = idx_headers(decl)
    _schema({name: _joined(some) for name, some in headers.items()})
    return {name: _idx_array(some, stretch) for name, some in headers.items()}


def _idx_array(headers: Sequence[_Idx], stretch: Stretch | None) -> NDArray[Any]:
    """The examples of a stretch, read to where they stay."""
    import numpy as np  # late: NumPy

    whole = _joined(headers)
    low, high = taken(whole.shape[0], stretch)
    values, at = np.empty((high - low, *whole.shape[1:]), whole.dtype), 0
    for header in headers:
        start, stop = max(low - at, 0), min(high - at, header.shape[0])
        if start < stop:
            _fill(header, values[at + start - low : at + stop - low], start)
        at += header.shape[0]
    if not values.dtype.isnative:
        values = values.byteswap(inplace=True).view(values.dtype.newbyteorder("="))
    return values.astype(np.int64) if whole.kind == "index" else values


def _fill(header: _Idx, values: NDArray[Any], start: int) -> None:
    """Fill an array with the examples [example, ...] of a file from number `start` on."""
    import numpy as np  # late: NumPy

    skip = header.start + start * header.row
    last = start + len(values) == header.shape[0]
    found = files.fill(header.path, values.reshape(-1).view(np.uint8).data, skip, last)
    if found != values.nbytes:
        told = "it holds more" if found > values.nbytes else f"it holds {max(skip + found, 0):,}"
        raise files.wrong_length(header.path, header.nbytes, told)


# ---- some of the examples -----------------------------------------------------------------------


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


def exact(path: Path, name: str, values: NDArray[Any], first: int | NDArray[Any] = 0) -> None:
    """Whole numbers [example, ...] that double precision does not have would come out as others;
    `first` is the number of the first example, or those of all. Raises `Fault` E554."""
    import numpy as np  # late: NumPy

    if values.dtype.kind not in "iu" or values.dtype.itemsize < 8:
        return
    bad = (values > EXACT) | (values < -EXACT) if values.dtype.kind == "i" else values > EXACT
    if bad.any():
        place = np.unravel_index(int(np.argmax(bad)), values.shape)
        number = first + place[0] if isinstance(first, int) else first[place[0]]
        message = f"raw.{name}: example {number} of {path.name} has {values[place]}"
        remedy = "store smaller numbers, for instance differences from the smallest"
        raise Fault(f"{message}, which double precision does not have", remedy, "E554")
