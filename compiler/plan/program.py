"""Programs as frozen data: a text, its table of buffers, and where each line came from.

An extent grows with the number n of examples: `(a, b)` means `a + b * n`, `(a, b, c)` has `c * n^2`
beside it. Axes are of the first kind; a tensor may have several that grow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest
from typing import TypeAlias

from dln.compiler.schema.keys import Clock, ProgramKey
from dln.grammar.diagnostics import Span
from dln.grammar.record import Record

Extent: TypeAlias = tuple[int, ...]


def at(extent: Extent, n: int) -> int:
    """The value of an extent for n examples.

    >>> at((8, 2), 10)
    28
    """
    total = 0
    for coefficient in reversed(extent):
        total = total * n + coefficient
    return total


def product(shape: tuple[Extent, ...]) -> Extent:
    """The number of elements of a shape.

    >>> product(((0, 1), (100, 0))), product(((0, 1), (0, 1)))
    ((0, 100), (0, 0, 1))
    """
    total = [1, 0]
    for a, b in shape:
        grown = [b * c for c in total] if b else []
        total = [a * c for c in total] + [0] * (b != 0)
        for i, c in enumerate(grown, 1):
            total[i] += c
        while len(total) > 2 and not total[-1]:
            total.pop()
    return tuple(total)


def added(extents: Iterable[Extent]) -> Extent:
    """The sum of some extents."""
    return tuple(map(sum, zip_longest((0, 0), *extents, fillvalue=0)))


def site_number(site: str) -> int:
    """The number under which a place that draws random numbers is known: 64 bits of SHA-256.

    `name@t` is the place at step t of a loop: t places further.
    """
    import hashlib  # late: only what draws asks

    name, _, step = site.partition("@")
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    return (number + int(step or 0)) % (1 << 64)


class Place(Record):
    """Where in a spec a line comes from: the file, and offsets into its text."""

    path: str
    line: int
    column: int
    start: int
    stop: int

    @staticmethod
    def of(span: Span | None) -> Place | None:
        """A span as plain data."""
        if span is None:
            return None
        return Place(span.source.path, span.line, span.column, span.start, span.stop)

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}"


class Buffer(Record):
    """A named array of a program.

    `place` is input, whole, param, state, value, const, scalar (one number that the program fills
    in) or arena; `key` is the input's name, the parameter's or state's path, the value's name, or
    `data.part.field` for a field of a whole part. Arena buffers share `slot`s. `kind` is real,
    index or bool.
    """

    name: str
    place: str
    key: str
    kind: str
    shape: tuple[Extent, ...]
    slot: int = -1
    note: str = ""

    def shape_at(self, n: int) -> tuple[int, ...]:
        """The shape for n examples."""
        return tuple(at(e, n) for e in self.shape)


class Called(Record):
    """What a statement calls: the function of a spelling, what it is given, and what it writes, as
    they stand in the text. `whole` says that it is all of an operation that works element by
    element."""

    function: str
    given: tuple[str, ...]
    out: str
    whole: bool = False


class Line(Record):
    """A statement of a program, with what it computes, where that was written and its cost.

    `reads` and `writes` name buffers; `flops` and `bytes` are those of one execution, of which
    there are `times` in a run (the steps of a loop). `operands` are what the operation `op` is done
    to, in the user's words, `axes` the running axes of the result; `slope` says that it seems to be
    part of the derivative of a root or power. `call` is what is called: there is none in the head
    of a loop. What is `looked` at is computed for a report alone, under `if looked:`.
    """

    code: str
    formula: str = ""
    place: Place | None = None
    reads: tuple[str, ...] = ()
    writes: str = ""
    flops: Extent = (0, 0)
    bytes: Extent = (0, 0)
    times: int = 1
    op: str = ""
    operands: tuple[str, ...] = ()
    axes: tuple[str, ...] = ()
    slope: bool = False
    call: Called | None = None
    looked: bool = False


class Program(Record):
    """One compiled graph.

    `text` defines `bind(xp, n, seed, v)`, which takes the array module, the number of examples,
    the seed and the buffers by name, makes the views of `setup` once, and returns
    `run(*clocks)`. `slots` are the arena's pieces in bytes; each lies above those that `below`
    names of it, and above all before it where nothing is said. A value or a new parameter is left
    in its buffer. `first` is the line of `text` (from 1) on which `lines` begin.
    `forms` says which products are computed in another form than they are written in.
    """

    name: str
    target: str
    dtype: str
    capacity: int
    clocks: tuple[Clock, ...]
    buffers: tuple[Buffer, ...]
    constants: Mapping[str, object]
    setup: tuple[Line, ...]
    lines: tuple[Line, ...]
    slots: tuple[Extent, ...]
    text: str
    first: int = 0
    forms: tuple[str, ...] = ()
    below: tuple[tuple[int, ...], ...] = ()

    @property
    def inputs(self) -> tuple[Buffer, ...]:
        return tuple(b for b in self.buffers if b.place == "input")

    @property
    def values(self) -> tuple[Buffer, ...]:
        return tuple(b for b in self.buffers if b.place == "value")

    def flops(self, n: int) -> int:
        """Floating-point operations of one run on n examples."""
        return sum(at(line.flops, n) * line.times for line in self.lines)

    def heavy(self, n: int, least: int) -> int:
        """Floating-point operations of one run on n examples in statements that have so many."""
        each = ((at(line.flops, n), line.times) for line in self.lines)
        return sum(flops * times for flops, times in each if flops >= least)

    def traffic(self, n: int) -> int:
        """Bytes read and written by one run on n examples."""
        return sum(at(line.bytes, n) * line.times for line in self.lines)

    def line_at(self, number: int) -> Line | None:
        """The statement on a line of `text`, counted from 1; None where there is none of a spec."""
        index, early = number - self.first, number - self.first + 2 + len(self.setup)
        if 0 <= early < len(self.setup):
            return self.setup[early]
        return self.lines[index] if 0 <= index < len(self.lines) else None


class ProgramTable(Mapping[str, Program]):
    """The programs of a plan by their keys, or by the texts of these, in the order of the plan."""

    def __init__(self, held: Mapping[str, Program]) -> None:
        self.held = held

    def __getitem__(self, key: ProgramKey | str) -> Program:
        return self.held[str(key)]

    @property
    def alike(self) -> Mapping[str, str]:
        """Of each program the first that is the same, where whoever makes them says so."""
        return getattr(self.held, "alike", None) or {name: name for name in self.held}

    def find(self, key: ProgramKey) -> Program | None:
        """The program of a key, or None where the plan has none."""
        return self[key] if key in self else None

    def __contains__(self, key: object) -> bool:
        return str(key) in self.held

    def __iter__(self) -> Iterator[str]:
        return iter(self.held)

    def __len__(self) -> int:
        return len(self.held)
