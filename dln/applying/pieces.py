"""New data, some examples at a time: what each reader gives, whatever the file is.

Faults: E580 something that is needed is not there, E581 a file of no kind that could be read here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dln.compiler.plan import DataSpec, FieldSpec
from dln.grammar.diagnostics import Fault, nearest
from dln.runtime.readers.npz.file_rows import FileRows
from dln.runtime.readers.npz.members import members

ROWS = 6144  # a multiple of the rows that a kernel of products takes at once, 24 or fewer
Arrays = dict[str, NDArray[Any]]


@dataclass
class NewExamples:
    """Some examples from number `first` on: arrays of the reader (`raw`), or the fields themselves;
    cells that are handed through (`kept`), the examples that lack something (`gone`, [examples]),
    the `lengths` of stretches of a text, and where an example stands."""

    first: int
    count: int
    raw: Arrays = field(default_factory=dict)
    fields: Arrays = field(default_factory=dict)
    kept: Mapping[str, Sequence[str]] = field(default_factory=dict)
    gone: NDArray[np.bool_] | None = None
    lengths: NDArray[np.int64] | None = None
    where: Callable[[FieldSpec, int, int], str] = lambda f, example, element: ""


class NewData(Protocol):
    """New data for a data set: said in words, and in pieces; these are begun anew each time."""

    said: str

    def pieces(self) -> Iterator[NewExamples]:
        """All examples, in order."""
        ...


class GivenArrays:
    """Arrays by name, [example, ...]: those of the reader, or the fields themselves."""

    def __init__(
        self, name: str, arrays: Mapping[str, Any], spec: DataSpec, raw: Sequence[str],
        fields: Sequence[str], rows: int = ROWS,
    ) -> None:  # fmt: skip
        self.said, self.name, self.notes = name, name, list[str]()
        self.raw = {f.name: f for f in spec.raw if f.name in raw}
        self.fields = {f.name: f for f in spec.fields if f.name in fields}
        self.arrays, self.rows = dict(arrays), rows
        self.ends = {f.ends for f in self.fields.values() if f.ends}
        self.steps = {f.name: f.shape[0] for f in self.fields.values() if f.timed and f.ends}
        self.as_raw, self.partly = False, spec.columns is not None
        self.which = self._which()

    def _which(self) -> dict[str, str]:
        """Which array is which: those of the reader where they are all there, else the fields.
        Raises `Fault` E580."""
        held = self.arrays
        ends = self.ends
        for kind in (self.raw, self.fields):
            names = [n for n in kind if n in held]
            lacking = [n for n in kind if n not in held and n not in ends]
            if not lacking and names:
                self.as_raw = kind is self.raw
                return {n: n for n in names}
        shapes = [np.shape(a)[1:] for a in held.values()]
        for kind in (self.raw, self.fields):
            only = [n for n in kind if n not in ends]
            fits = [kind[n].shape for n in only] == shapes and not (
                kind is self.raw and self.partly
            )
            if (len(only) == len(held) == 1) and (fits or kind is self.fields):
                self.as_raw = kind is self.raw
                return {only[0]: next(iter(held))}
        there = ", ".join(held) or "nothing"
        wanted = ", ".join(n for n in self.fields if n not in held)
        near = nearest(next(iter(self.fields)), held)
        also = f" (or {', '.join(n for n in self.raw if n)}, as the spec reads them)"
        also = also if any(self.raw) else ""
        text = f"{self.name} holds {there}, and no {wanted}{also}"
        raise Fault(text, f"call {near} {wanted}" if near else f"an array called {wanted}", "E580")

    def pieces(self) -> Iterator[NewExamples]:
        """Some examples at a time. Raises `Fault` E580 where numbers of examples differ."""
        counts = {n: len(self.arrays[held]) for n, held in self.which.items()}
        if len(set(counts.values())) > 1:
            listed = ", ".join(f"{n} {c:,}" for n, c in counts.items())
            raise Fault(
                f"{self.name}: the numbers of examples differ: {listed}",
                "arrays of the same examples",
                "E580",
            )
        count = next(iter(counts.values()))
        if not count:
            raise Fault(f"{self.name} holds no examples", "at least one example", "E580")
        most = min(self.rows, ROWS)
        for low in range(0, count, most):
            some = {n: np.asarray(self.arrays[held][low : low + most])
                    for n, held in self.which.items()}  # fmt: skip
            size = min(most, count - low)
            self._fill(some, size)
            if self.as_raw:
                raw = {n: self._shaped(n, a) for n, a in some.items() if n in self.raw}
                yield NewExamples(low, size, raw=raw)
            else:
                yield NewExamples(low, size, fields=some)

    def _fill(self, some: Arrays, size: int) -> None:
        """Sequences that are shorter than those learnt from, with room for these; those of which
        nothing says where they end, end where they do."""
        for name, steps in self.steps.items():
            array = some.get(name)
            if array is None or array.ndim < 2:
                continue
            for end in self.ends - some.keys():
                some[end] = np.full(size, min(array.shape[1], steps))
            if array.shape[1] < steps:
                room = np.zeros((size, steps - array.shape[1], *array.shape[2:]), array.dtype)
                some[name] = np.concatenate([array, room], 1)

    def _shaped(self, name: str, array: NDArray[Any]) -> NDArray[Any]:
        """An array of the reader, which has the shape that it had."""
        want = self.raw[name].shape
        if array.shape[1:] != want:
            found = list(array.shape[1:]) or "one number"
            text = f"{self.name}: each example of {name or 'raw'} is {found}, and was {list(want)}"
            raise Fault(text, "examples of the shape that was learnt from", "E580")
        return array


def of_npy(path: Path) -> dict[str, Any]:
    """The arrays of an `.npz` or `.npy` file, where they can be left in it. Raises `Fault` E503."""
    found: dict[str, Any] = {}
    for member in members(path):
        if member.start is not None and not member.turned:
            found[member.name] = FileRows.of([member])
        else:
            with np.load(path, allow_pickle=False) as held:
                found[member.name] = held[member.name] if hasattr(held, "files") else held
    return found
