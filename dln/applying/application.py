"""An instance of a run applied to new data: what goes in, some examples at a time, what comes out.

The fields are made by the program that made them in training, with the numbers that were measured
then, and are checked as they were. Faults: those of `feeding`, of the new data and of their fields,
E581 data of no kind that could be read, E583 what cannot be kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import prod
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dln.applying import loose
from dln.applying.feeding import InstanceFeed, feed_of
from dln.applying.pieces import ROWS, GivenArrays, NewExamples, of_npy
from dln.applying.plain_tables import PlainTable
from dln.applying.results import ToldResults
from dln.applying.several import SeveralTables
from dln.applying.tables import NewTable
from dln.applying.writing import Sink
from dln.compiler.plan import AppliedSpec, DataSpec, Program, memory
from dln.grammar.diagnostics import Fault
from dln.runtime.device.source_map import placed
from dln.runtime.readers.folders.patterns import is_pattern
from dln.runtime.readers.table.pieces import Begun
from dln.runtime.readers.validation import check_field
from dln.runtime.session import Session
from dln.spec import Spec

ARRAYS = (".npz", ".npy")
MEMORY = 256 << 20  # bytes for examples that go through at a time
PLACES = ("arena", "input", "value")
Values = dict[str, NDArray[Any]]


@dataclass
class AppliedExamples:
    """Some examples that have been through: what came out by result, with what was handed through
    of them and which have no result."""

    piece: NewExamples
    values: Values
    lengths: NDArray[np.int64] | None


@dataclass
class AppliedCounts:
    """How many examples went through, and how many of them have no result."""

    examples: int = 0
    without: int = 0
    lines: list[int] = field(default_factory=list)


class AppliedRun:
    """An instance at a path, with the data set whose fields it is given."""

    def __init__(self, spec: Spec, session: Session, path: str, wanted: str | None = None) -> None:
        self.session, self.path = session, path
        self.applied: AppliedSpec = session.applied(path)
        self.feed: InstanceFeed = feed_of(spec, session.plan, path, self.applied, wanted)
        self.spec: DataSpec = session.plan.data[self.feed.data]
        program = session.plan.programs[self.applied.program]
        self.dtype = program.dtype
        self.rows = _rows(program, self.spec, self.feed)

    # ---- new data ------------------------------------------------------------------------------

    def source(self, data: Any, kept: Sequence[str] = ()) -> Any:
        """New data, of whatever kind: a file, a pattern of files, arrays. Raises `Fault`."""
        raw, fields = [k for k in self.feed.raw], self.feed.fields
        if not isinstance(data, str | PathLike):
            self._refuse_kept(kept, "arrays from Python")
            arrays = loose.arrays_of(data, self.spec, self.feed)
            return GivenArrays("the data", arrays, self.spec, raw, fields, self.rows)
        path = Path(data)
        if self.spec.reader not in ("images", "idx", "text") and is_pattern(str(data)):
            if not path.exists():
                return SeveralTables(str(data), partial(self._table, kept=kept))
        if path.suffix.lower() in ARRAYS:
            self._refuse_kept(kept, f"{path.name}")
            _there(path)
            return GivenArrays(str(path), of_npy(path), self.spec, raw, fields, self.rows)
        if self.spec.reader in ("images", "idx", "text"):
            self._refuse_kept(kept, str(path))
            if self.spec.reader != "images":
                _there(path)
            found = loose.other_files(str(data), self.spec, self.feed)
            if found is not None:
                return found
        return self._table(path, kept)

    def _table(self, path: Path, kept: Sequence[str]) -> NewTable | PlainTable:
        """One table."""
        _there(path)
        if self.feed.table is not None:
            return NewTable(path, self.spec, self.feed, kept)
        return PlainTable(path, self.spec, self.feed, kept)

    def _refuse_kept(self, kept: Sequence[str], what: str) -> None:
        if kept:
            raise Fault(f"{what} has no columns to keep", "leave out --keep", "E583")

    # ---- through -------------------------------------------------------------------------------

    def outcomes(self, source: Any) -> Iterator[AppliedExamples]:
        """What comes out of all examples, in order. Raises `Begun` where it is to be begun anew,
        `DlnError` for data that are not as declared."""
        for piece in _read(source):
            with placed(self.session.plan.texts):
                fields = self._fields(piece)
            given = {port: fields[name] for port, name in self.feed.ports.items()}
            ends = [p.name for p in self.applied.ports if p.domain == "length"]
            values = self._values(given, piece.count)
            lengths = np.asarray(given[ends[0]]) if ends else piece.lengths
            yield AppliedExamples(piece, values, lengths)

    def _values(self, given: Values, count: int) -> Values:
        """The results for some examples, so many at a time as there is memory for."""
        parts = []
        for low in range(0, count, self.rows):
            some = {port: array[low : low + self.rows] for port, array in given.items()}
            found = self.session.apply(self.path, **some)
            parts.append(found if isinstance(found, dict) else {self.applied.results[0]: found})
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}

    def _fields(self, piece: NewExamples) -> Values:
        """The fields that are needed, of some examples."""
        if piece.raw:
            made = self.session.datasets.fields.made_of(
                self.spec, piece.raw, self.feed.fields, self.feed.claims, piece.first,
                piece.where, self.dtype,
            )  # fmt: skip
            return made
        known = {f.name: f for f in self.spec.fields}
        found = {}
        for name in self.feed.fields:
            f = known[name]
            if name not in piece.fields and f.domain == "length":
                found[name] = np.full(piece.count, f.classes)
                continue
            found[name] = check_field(f, piece.fields[name], self.session.plan.texts,
                                      piece.first, piece.where, self.dtype)  # fmt: skip
        return found

    def write(self, source: Any, sink: Sink, every: bool, kept: Sequence[str]) -> AppliedCounts:
        """Write what comes out of all examples; how many there were."""
        told = ToldResults(self.spec, self.applied, self.feed, every, kept)
        while True:
            counts = AppliedCounts()
            sink.begin()
            try:
                for out in self.outcomes(source):
                    self._put(told, sink, out, counts)
            except Begun as begun:
                source.again(begun)
                continue
            sink.end()
            return counts

    def _put(
        self, told: ToldResults, sink: Sink, out: AppliedExamples, counts: AppliedCounts
    ) -> None:
        piece = out.piece
        gone = piece.gone if piece.gone is not None and piece.gone.any() else None
        if sink.arrays:
            sink.put(told.arrays(out.values, piece.kept, gone, out.lengths))
        else:
            sink.put(told.columns(out.values, piece.kept, gone, piece.first, out.lengths))
        counts.examples += piece.count
        counts.without += 0 if gone is None else int(gone.sum())


def _rows(program: Program, spec: DataSpec, feed: InstanceFeed) -> int:
    """How many examples go through at a time: of a size at whose multiples products have the
    bits of larger ones."""
    many, few = (sum(memory(program, n)[k] for k in PLACES) for n in (1024, 512))
    fields = sum(8 * prod(f.shape) for f in spec.fields if f.name in feed.fields)
    fields += sum(8 * prod(f.shape) for f in spec.raw if f.name in feed.raw)
    each, rows = (many - few) // 512 + 2 * fields, ROWS
    while rows > 1 and rows * each > MEMORY:
        rows //= 2
    return rows


def _read(source: Any) -> Iterator[NewExamples]:
    """The pieces of new data; refusals of the system as faults. Raises `Fault` E511."""
    each = source.pieces()
    while True:
        try:
            piece = next(each)
        except StopIteration:
            return
        except OSError as e:
            remedy = "check that the file exists and that you may read it"
            raise Fault(f"cannot read {e.filename or source.said}: {e.strerror or e}", remedy,
                        "E511") from e  # fmt: skip
        yield piece


def _there(path: Path) -> None:
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise Fault(f"{path} {what}", "name a file with new data", "E581")


Given = Mapping[str, Any]
