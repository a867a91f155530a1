"""What reading a data set takes in memory, known from headers and lengths before it is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import NamedTuple

from dln.compiler.plan import DataSpec, Stretch
from dln.runtime.readers import handed, synthetic
from dln.runtime.readers.binary import EXACT_BYTES, idx_headers, taken
from dln.runtime.readers.files import CHUNK, file_of, length
from dln.runtime.readers.npz import reading
from dln.runtime.readers.readers import paths, readable
from dln.runtime.readers.table import arrow
from dln.runtime.readers.table import columns as table_columns
from dln.runtime.readers.table.by_field import is_table

PIECES = 4 * CHUNK  # what is unpacked piece by piece, packed and not
CELL, CODED = 150, 20  # bytes of a cell as text, with its place in a list; of one that is no number
BLOCKS = 12  # that pyarrow has at a time, packed and not
BLOCK = 3 << 18  # what NumPy unpacks of an npz at a time, and its copies


ROWS = 1000  # of a set that stays in its files, which are looked at at once


class Weight(NamedTuple):
    """Bytes that stay once a set is read, and the most that there are while it is."""

    held: int
    peak: int


def weight(spec: DataSpec, stretch: Stretch | None) -> Weight:
    """What reading a set, or a stretch of it, takes. Raises the faults of reading its headers."""
    with readable(spec.source):
        return WEIGHTS[spec.reader](spec, stretch)


def _idx(spec: DataSpec, stretch: Stretch | None) -> Weight:
    held = peak = 0
    for headers in idx_headers(spec.source).values():
        header = headers[0]
        low, high = taken(sum(h.shape[0] for h in headers), stretch)
        read = (high - low) * header.row
        kept = 8 * (high - low) if header.kind == "index" else read
        peak = max(peak, held + read + PIECES + kept * (header.kind == "index"))
        held += kept
    return Weight(held, peak)


def _npz(spec: DataSpec, stretch: Stretch | None) -> Weight:
    found = reading.segments(spec.source)
    if reading.mapped(spec.source, found):
        return Weight(0, sum(ROWS * some[0].row for some in found.values()))
    held = peak = turned = tested = 0
    for some in found.values():
        low, high = taken(reading.count_of(found), stretch)
        kept, whole = (high - low) * some[0].row, max(m.nbytes for m in some)
        apart = stretch is not None or len(some) > 1  # what is read is copied to where it stays
        peak = max(peak, held + whole + BLOCK + (kept if apart else 0))
        held += kept
        turned += 8 * (high - low) * (some[0].kind == "index" and some[0].itemsize != 8)
        if some[0].dtype.lstrip("<>|=")[0] in "iu" and some[0].itemsize == 8:
            tested = max(tested, EXACT_BYTES * kept // 8)
    return Weight(held + turned, max(peak, held + max(turned, tested)))


def mapped(spec: DataSpec) -> bool:
    """Whether the examples of a set stay in their files."""
    source = spec.source
    if spec.reader == "given":
        source = handed.as_file(source)
    if source.reader != "npz" or (spec.reader == "given" and spec.override is None):
        return False
    with readable(source):
        return reading.mapped(source, reading.segments(source))


def _images(spec: DataSpec, stretch: Stretch | None) -> Weight:
    from dln.runtime.readers.folders import pictures  # late: few sets are pictures

    low, high = taken(spec.count, stretch)
    each = pictures.asked_of(spec.source)
    held = (high - low) * (prod(each.shape) + 8)
    return Weight(held, held + pictures.decoding(spec.source))


def _cells(spec: DataSpec, stretch: Stretch | None) -> Weight:
    """Numbers are added to an array that grows by a sixteenth."""
    columns = prod(spec.raw[0].shape)
    grown = 8 * _grown(spec.count * columns)
    if stretch is None:
        return Weight(grown, grown)
    kept = 8 * (stretch.stop - stretch.start) * columns
    return Weight(kept, grown + kept)


def _table(spec: DataSpec, stretch: Stretch | None) -> Weight:
    """The columns that are read, each as such an array, of classes with the rows and what stands
    there, those of several files put together; some rows of text; then the numbers, column by
    column, each given back when it is taken.
    """
    width, n = prod(spec.raw[0].shape), spec.count
    columns = width if spec.columns is None else len(spec.columns)
    classes = len(spec.raw) - 1
    sizes = [length(path) for some in paths(spec.source).values() for path in some]
    scanned = _grown(n) * (8 * columns + CODED * classes) * (2 if len(sizes) > 1 else 1)
    read = PIECES + CELL * min(n * width, table_columns.CELLS)
    if max(sizes) >= arrow.LARGE:
        read = max(read, BLOCKS * arrow.BLOCK)
    whole = 8 * n * (columns + classes)
    if stretch is None:
        return Weight(whole, scanned + max(read, 8 * n * (1 + 2 * classes)))
    kept = 8 * (stretch.stop - stretch.start) * (columns + classes)
    return Weight(kept, max(scanned + max(read, 8 * n * (1 + 2 * classes)), whole + kept))


def _grown(count: int) -> int:
    """The room of an `array.array` to which so many numbers were added (CPython, arraymodule.c)."""
    room = 0
    while room < count:
        room += 1
        room += (room >> 4) + (3 if room < 8 else 7)
    return room


def _text(spec: DataSpec, stretch: Stretch | None) -> Weight:
    """The bytes and the text together, then the text and a code for each letter."""
    text, window = length(file_of(spec.source)), spec.raw[0].shape[0] - 1
    low, high = taken(spec.count, stretch)
    codes = 8 * ((high - low) * window + 1)
    return Weight(codes, max(2 * text, text + codes + PIECES))


def _synthetic(spec: DataSpec, stretch: Stretch | None) -> Weight:
    each = sum(8 * prod(field.shape) for field in spec.raw)
    made, peak = each * spec.count, int(each * spec.count * synthetic.peak(spec.source))
    if stretch is None:
        return Weight(made, peak)
    kept = each * (stretch.stop - stretch.start)
    return Weight(kept, max(peak, made + kept))


def _given(spec: DataSpec, stretch: Stretch | None) -> Weight:
    """A file in the place of what is to be handed over."""
    if spec.override is None:
        raise handed.unhanded(spec.source, spec.name)
    if is_table(spec.override):  # a column at a time, then the fields, which are whole
        numbers = sum(prod(f.shape) for f in handed.wanted(spec.source))
        whole = 8 * spec.count * numbers
        kept = whole if stretch is None else 8 * (stretch.stop - stretch.start) * numbers
        return Weight(kept, _grown(spec.count) * 8 * numbers + PIECES + whole + kept)
    return _npz(spec.changed(reader="npz", args=handed.as_file(spec.source).args), stretch)


WEIGHTS: Mapping[str, Callable[[DataSpec, Stretch | None], Weight]] = {
    "given": _given, "idx": _idx, "images": _images, "npz": _npz, "rows": _cells,
    "synthetic": _synthetic, "table": _table, "text": _text,
}  # fmt: skip
"""By reader."""
