"""A table as new data for a set that was none: its columns are the arrays by name.

The one array of several numbers that has no column of its name has the columns that are left, as a
frame from Python gives them. Faults: E580, E507, E585.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dln.applying.feeding import InstanceFeed
from dln.applying.pieces import NewExamples
from dln.applying.tables import cell_of, kept_column
from dln.compiler.plan import DataSpec, FieldSpec
from dln.grammar.diagnostics import Fault
from dln.runtime.readers import files
from dln.runtime.readers.table import facts as known
from dln.runtime.readers.table.dialect import recognised
from dln.runtime.readers.table.pieces import Begun, RowBlock, blocks, place_of


class PlainTable:
    """A table of numbers, and of classes by name, for arrays that are called as its columns."""

    def __init__(self, path: Path, spec: DataSpec, feed: InstanceFeed, kept: Sequence[str]) -> None:
        self.path, self.spec, self.feed = path, spec, feed
        files.check_table(path)
        self.dialect, self.slowly = recognised(path, {}), False
        self.kept = {name: kept_column(path, self.dialect, name) for name in kept}
        self.notes: list[str] = []
        self.said = f"{path.name}, {', '.join(self.dialect.said)}"
        raw = {f.name: f for f in spec.raw if f.name in feed.raw}
        fields = {f.name: f for f in spec.fields if f.name in feed.fields}
        self.as_raw = True
        try:
            self.places = self._places(raw)
        except Fault:
            self.places, self.as_raw = self._places(fields), False
        self.wanted = raw if self.as_raw else fields

    def _places(self, wanted: Mapping[str, FieldSpec]) -> dict[str, list[int]]:
        """The columns of each array. Raises `Fault` E580."""
        names = list(self.dialect.names or ())
        found = {n: [names.index(n)] for n, f in wanted.items() if n in names and not f.shape}
        taken = {c for at in found.values() for c in at} | set(self.kept.values())
        others = {f.name for f in self.spec.fields} - set(wanted)
        free = [i for i in range(self.dialect.width) if i >= len(names) or names[i] not in others]
        left = [i for i in free if i not in taken]
        rest = [n for n in wanted if n not in found]
        if len(rest) == 1:
            f = wanted[rest[0]]
            many = f.shape[0] if len(f.shape) == 1 else 1
            only = list(self.feed.columns) if f.name == "" else []
            both = [i for i in free if all(i not in at for at in found.values())]
            for some in (left, both):  # a column may be kept and read
                if len(some) == many or (only and len(some) == len(only)):
                    return {**found, rest[0]: some}
        listed = ", ".join(names) or f"{self.dialect.width} columns without names"
        lacking = ", ".join(f"{n}{list(wanted[n].shape) or ''}" for n in rest) or "numbers"
        text = f"{self.path} holds {listed}, and {self.feed.data} takes {lacking}"
        raise Fault(text, "a column for each number, by name; or an .npz file", "E580")

    def pieces(self) -> Iterator[NewExamples]:
        """All rows, in order. Raises `Begun` where they have to be gone through anew."""
        columns = sorted({c for at in self.places.values() for c in at})
        rows = 0
        for block in blocks(self.path, self.dialect, columns, [], list(self.kept.values()),
                            self.slowly):  # fmt: skip
            rows += block.count
            made = {n: self._array(block, n, at) for n, at in self.places.items()}
            kept = {name: block.texts[at] for name, at in self.kept.items()}
            raw, fields = (made, {}) if self.as_raw else ({}, made)
            yield NewExamples(block.first, block.count, raw, fields, kept, where=self._where)
        if not rows:
            raise Fault(f"{self.path} holds no rows but its header", "at least one row", "E580")

    def again(self, begun: Begun) -> None:
        """Go through it as it is now known to be."""
        self.dialect, self.slowly = begun.dialect, begun.slowly or self.slowly

    def _where(self, f: FieldSpec, example: int, element: int) -> str:
        at = place_of(self.path, self.dialect, example)
        return f"{self.path.name}, {at}" if at else ""

    def _array(self, block: RowBlock, name: str, at: Sequence[int]) -> NDArray[Any]:
        """An array [rows, ...] of some columns."""
        f = self.wanted[name]
        names = self.spec.names.get(name, ())
        if names and not f.shape:
            places, others = known.codes(block.columns[at[0]], names)
            if others or min(places) < 0:
                row = others[0] if others else list(places).index(-1)
                text = cell_of(block.columns[at[0]], row)
                listed = ", ".join(names[:12])
                place = self._place(block, row, at[0])
                raise Fault(f'{place}: "{text}" is none of the classes {listed}', names[0], "E513")
            return np.array(places, np.int64)
        found = np.stack([self._numbers(block, c) for c in at], 1)
        if name == "" and len(at) < f.shape[0]:
            whole = np.zeros((block.count, f.shape[0]))
            whole[:, list(self.feed.columns)] = found
            return whole
        return found if f.shape else found[:, 0]

    def _numbers(self, block: RowBlock, c: int) -> NDArray[np.float64]:
        col = block.columns[c]
        if len(col.rows):
            row, text = col.rows[0], cell_of(col, col.rows[0])
            place = self._place(block, row, c)
            if row in known.gaps(col):
                raise Fault(f"{place}: nothing stands there", "fill it in", "E585")
            raise Fault(f'{place}: "{text}" is not a number', "write a number there", "E507")
        return np.array(col.numbers, np.float64)

    def _place(self, block: RowBlock, row: int, c: int) -> str:
        line = place_of(self.path, self.dialect, block.first + row)
        return f"{self.path}, {line}, column {c + 1}"
