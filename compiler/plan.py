"""The plan: frozen data that a runtime can execute without the compiler.

A plan holds programs. A program is a text (straight-line Python over preallocated buffers), the
table of its buffers, and for each line the formula and the place of the spec that it came from.
Extents are affine in the number of examples: `(a, b)` means `a + b * n`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from math import prod
from typing import Any, TypeAlias

from dln.grammar.diagnostics import Problem

Extent: TypeAlias = tuple[int, int]

ALIGNMENT = 256
"""Bytes that the start of every piece of an arena is a multiple of."""


def at(extent: Extent, n: int) -> int:
    """The value of an extent for n examples.

    >>> at((8, 2), 10)
    28
    """
    return extent[0] + extent[1] * n


def product(shape: tuple[Extent, ...]) -> Extent:
    """The number of elements of a shape: at most one axis may grow with n.

    >>> product(((0, 1), (100, 0)))
    (0, 100)
    """
    a, b = 1, 0
    for p, q in shape:
        assert not (b and q), "two axes grow with the number of examples"
        a, b = a * p, a * q + b * p
    return a, b


def site_number(site: str) -> int:
    """The number under which a place that draws random numbers is known: 64 bits of SHA-256.

    `name@t` is the place at step t of a loop: t places further.
    """
    import hashlib

    name, _, step = site.partition("@")
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    return (number + int(step or 0)) % (1 << 64)


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a spec a line comes from: the file, and offsets into its text."""

    path: str
    line: int
    column: int
    start: int
    stop: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Buffer:
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


@dataclass(frozen=True, slots=True)
class Line:
    """A statement of a program, with what it computes, where that was written and its cost.

    `reads` and `writes` name buffers; `flops` and `bytes` are those of one execution, of which
    there are `times` in a run (the steps of a loop). `operands` are what the operation `op` is done
    to, in the user's words, `axes` the running axes of the result; `slope` says that it seems to be
    part of the derivative of a root or power.
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


@dataclass(frozen=True, slots=True)
class Program:
    """One compiled graph.

    `text` defines `bind(xp, n, seed, v)`, which takes the array module, the number of examples,
    the seed and the buffers by name, makes the views of `setup` once, and returns
    `run(*clocks)`. `slots` are the arena's pieces in bytes; a value or a new parameter is left in
    its buffer. `first` is the line of `text` (from 1) on which `lines` begin.
    """

    name: str
    target: str
    dtype: str
    capacity: int
    clocks: tuple[str, ...]
    buffers: tuple[Buffer, ...]
    constants: Mapping[str, object]
    setup: tuple[Line, ...]
    lines: tuple[Line, ...]
    slots: tuple[Extent, ...]
    text: str
    first: int = 0

    @property
    def inputs(self) -> tuple[Buffer, ...]:
        return tuple(b for b in self.buffers if b.place == "input")

    @property
    def values(self) -> tuple[Buffer, ...]:
        return tuple(b for b in self.buffers if b.place == "value")

    def flops(self, n: int) -> int:
        """Floating-point operations of one run on n examples."""
        return sum(at(line.flops, n) * line.times for line in self.lines)

    def largest(self, n: int) -> int:
        """The floating-point operations of its largest single operation on n examples; where it
        has loops, of the largest inside one: that is what is called again and again."""
        looped = [line for line in self.lines if line.times > 1 and line.flops != (0, 0)]
        return max((at(line.flops, n) for line in looped or self.lines), default=0)

    def traffic(self, n: int) -> int:
        """Bytes read and written by one run on n examples."""
        return sum(at(line.bytes, n) * line.times for line in self.lines)

    def line_at(self, number: int) -> Line | None:
        """The statement on a line of `text`, counted from 1; None where there is none of a spec."""
        index, early = number - self.first, number - self.first + 2 + len(self.setup)
        if 0 <= early < len(self.setup):
            return self.setup[early]
        return self.lines[index] if 0 <= index < len(self.lines) else None


def item_size(program: Program, buffer: Buffer) -> int:
    """Bytes of one element of a buffer."""
    return {"index": 8, "bool": 1}.get(buffer.kind) or (8 if program.dtype == "float64" else 4)


def buffer_bytes(program: Program, buffer: Buffer, n: int) -> int:
    """Bytes of a buffer for n examples."""
    return at(product(buffer.shape), n) * item_size(program, buffer)


def slot_offsets(program: Program, n: int) -> list[int]:
    """Where each slot of the arena starts for n examples, and after the last one its length."""
    offsets = [0]
    for slot in program.slots:
        offsets.append(offsets[-1] + -(-at(slot, n) // ALIGNMENT) * ALIGNMENT)
    return offsets


def arena_bytes(program: Program, n: int) -> int:
    """Bytes of the arena for n examples."""
    return slot_offsets(program, n)[-1]


def memory(program: Program, n: int) -> dict[str, int]:
    """Bytes by place for n examples: arena, whole, param, state, input, value, const, scalar."""
    found = {"arena": arena_bytes(program, n)}
    for place in ("whole", "param", "state", "input", "value", "const", "scalar"):
        mine = (b for b in program.buffers if b.place == place)
        found[place] = sum(buffer_bytes(program, b, n) for b in mine)
    return found


@dataclass(frozen=True, slots=True)
class Sources:
    """The texts that places point into, by path."""

    texts: Mapping[str, str] = field(default_factory=dict)


# ---- plain data --------------------------------------------------------------------------------


def program_to_json(program: Program) -> dict[str, Any]:
    """A program as plain data that `json` can write."""
    return asdict(program)


def program_from_json(data: Mapping[str, Any]) -> Program:
    """The program that `program_to_json` gave, also after a way through JSON text."""
    given = dict(data)
    given["clocks"] = tuple(given["clocks"])
    given["buffers"] = tuple(_buffer(b) for b in given["buffers"])
    given["constants"] = {k: _frozen(c) for k, c in given["constants"].items()}
    given["setup"] = tuple(_line(line) for line in given["setup"])
    given["lines"] = tuple(_line(line) for line in given["lines"])
    given["slots"] = tuple(_extents(given["slots"]))
    return Program(**given)


def _extents(pairs: Any) -> Iterator[Extent]:
    return ((int(a), int(b)) for a, b in pairs)


def _buffer(data: Mapping[str, Any]) -> Buffer:
    return Buffer(**{**data, "shape": tuple(_extents(data["shape"]))})


def _line(data: Mapping[str, Any]) -> Line:
    flops, bytes_ = _extents([data["flops"], data["bytes"]])
    place = Place(**data["place"]) if data["place"] else None
    names = {key: tuple(data[key]) for key in ("reads", "operands", "axes")}
    return Line(**{**data, **names, "place": place, "flops": flops, "bytes": bytes_})


def _frozen(value: object) -> object:
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value


# ---- what is run with the programs -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ParamSpec:
    """A parameter: its path, shape, whether training may change it, and where it is declared.

    `joins` is a table of 0 and 1 over its leading axes: dead entries, those at 0, are no
    parameters and stay 0. `live` is the number of the others. Both are None where all exist.
    """

    path: str
    shape: tuple[int, ...]
    trainable: bool
    place: Place | None
    joins: tuple[Any, ...] | None = None
    live: int | None = None

    @property
    def numbers(self) -> int:
        """How many numbers it has, dead entries left out."""
        return prod(self.shape) if self.live is None else self.live


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """A field of data, or a port: its shape for one example, kind (real, index) and domain.

    `domain` is real, positive, prob, logit, binary or class; `classes` goes with class. The
    shape begins with the steps of what runs over time. The domain `length` is that of the lengths
    of sequences, 1 to `classes` steps. `cells` are the columns of a table that the numbers of an
    example come from, -1 where it is not one; empty where that is not known. `timed` is what runs
    over time.
    """

    name: str
    shape: tuple[int, ...]
    kind: str
    domain: str = "real"
    classes: int | None = None
    place: Place | None = None
    cells: tuple[int, ...] = ()
    timed: bool = False


@dataclass(frozen=True, slots=True)
class DataSpec:
    """A data set: its reader with what that is given, and its parts as (start, count).

    The program `data:<name>` takes inputs `raw:<name>.<key>` and leaves the fields as values.
    `claims` are what is to be checked before it runs, the values of the program `claims:<name>`.
    """

    name: str
    reader: str
    args: tuple[object, ...]
    options: Mapping[str, object]
    base: str
    override: str | None
    raw: tuple[FieldSpec, ...]
    fields: tuple[FieldSpec, ...]
    drawn: bool
    parts: Mapping[str, tuple[int, int]]
    count: int
    place: Place | None
    claims: Mapping[str, FieldSpec] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WatchSpec:
    """A watched value. `program` is None where the step itself leaves it as `watch:<name>`.

    The value is a sum over the examples when `per_example` (the runner divides by their number
    unless `total`), else one number for the whole batch.

    On a part of a stream phase, `stream` rows are read side by side as the phase does; the
    program's states `carried` (paths with shapes) are the watch's own, zero at its start, kept
    from window to window. What is no sum over examples is then averaged over the windows.
    """

    name: str
    program: str | None
    per_example: bool
    total: bool
    on: tuple[str, str] | None
    every: tuple[int, str] | None
    fields: tuple[str, ...]
    place: Place | None
    stream: int | None = None
    carried: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KeepSpec:
    """`checkpoint every ...`, or `checkpoint best by ...` with the program of its value."""

    every: tuple[int, str] | None
    program: str | None


@dataclass(frozen=True, slots=True)
class EstimateSpec:
    """States that are estimated: at the start of every `every` epochs `program` runs on the first
    `sample` examples of the epoch's order, and its values, means over the examples, go to `states`.
    """

    program: str
    sample: int
    every: int
    states: tuple[str, ...]


POINTS, SLOPES, COUNT = "descent.points", "descent.slopes", "descent.count"
"""The states of a descent: the differences of points and gradients, and how many there were."""


@dataclass(frozen=True, slots=True)
class DescentSpec:
    """A descent along lines (L-BFGS) over the parameters `params`, taken as one vector.

    The step program then moves nothing: it leaves the `loss`, and each parameter's gradient as
    `grad:<path>`. `history` pairs of differences are kept in states, `c1` and `c2` are the
    constants of the strong Wolfe conditions, a line is looked at `trials` times. The phase ends
    where no slope is above `grad_tol`, or the loss changes by less than `change_tol` of itself.
    """

    params: tuple[str, ...]
    history: int
    c1: float
    c2: float
    trials: int
    grad_tol: float
    change_tol: float


@dataclass(frozen=True, slots=True)
class LineSpec:
    """A `minimize` line: the value of the program `loss:<phase>` that is its loss, the parameters
    that it moves, and those of its loss that earlier steps have `left` other values in.

    The program `left:<phase>` gives these as `<number of the line>:<path>`.
    """

    value: str
    moves: tuple[str, ...]
    left: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PhaseSpec:
    """A phase: its step program, its data and order, how long, what is watched and kept.

    `states` are the optimiser states with their shapes; the program `states:<phase>` gives their
    first values, `start:<phase>` what is handed over when the phase begins. It ends where the value
    of the program `until`, or of one in `or_until`, is not 0. Those that are
    `carried` are set to zero at the start of each epoch; the `kept` have a row for each example of
    a full minibatch. `stops`: the loss holds a `stop`, so that its gradient is not the slope of its
    value, on purpose.
    """

    name: str
    step: str
    data: str
    part: str
    batch: int | None
    duration: tuple[int, str]
    order: str
    balanced: str | None
    dtype: str | None
    seed: int | None
    after: tuple[str, ...]
    fields: tuple[str, ...]
    states: Mapping[str, tuple[int, ...]]
    watches: tuple[WatchSpec, ...]
    keeps: tuple[KeepSpec, ...]
    starts: tuple[str, ...]
    until: str | None
    slow: bool
    place: Place | None
    carried: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    stops: bool = False
    estimates: tuple[EstimateSpec, ...] = ()
    descent: DescentSpec | None = None
    lines: tuple[LineSpec, ...] = ()
    or_until: tuple[str, ...] = ()

    @property
    def rows(self) -> int | None:
        """The most examples that a minibatch may have: so many rows its states have."""
        return self.states[self.kept[0]][0] if self.kept else None


@dataclass(frozen=True, slots=True)
class AppliedSpec:
    """An instance as a function: its program, ports and the names of its results.

    Of one that takes sequences, `step` is the form for one step. Its program has an input for each
    name in `carried`, beside the ports, and a value of that name: what the next step is given. The
    program `first` gives them before the first step.
    """

    program: str
    ports: tuple[FieldSpec, ...]
    results: tuple[str, ...]
    step: AppliedSpec | None = None
    carried: tuple[str, ...] = ()
    first: str = ""


@dataclass(frozen=True, slots=True)
class PartSpec:
    """A part of what a task emits: where it comes from, and what it is called.

    `source` says what `key` is: a `value` of the task's program, the `history` of a watch
    (`sse.error`), or a `text` itself. `axis` names the first axis of a value, and the unit
    (epoch, update) by which a watch is taken, `rows` the several values of an example.
    """

    source: str
    key: str
    label: str = ""
    alphabet: str = ""
    axis: str = "index"
    rows: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EmitSpec:
    """What a task emits: a value, text, plot, log_plot or examples, into the file `to` (None
    prints).

    What is made of examples of the part `on`, of the first `count` or of all (0), is worked out by
    a `program` of its own, which leaves a value for each part, and `where` if only those count for
    which it is not 0.
    """

    form: str
    parts: tuple[PartSpec, ...]
    to: str | None
    place: Place | None = None
    program: str | None = None
    on: tuple[str, str] | None = None
    count: int = 0


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """A task: its program, what it emits of the program's values, and after which phases."""

    name: str
    program: str
    emits: tuple[EmitSpec, ...]
    after: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything a runtime needs: programs by name, and what to do with them.

    `programs` may make a program when it is first asked for. `wholes` names the fields of whole
    parts that programs read, `data.part.field`. `refused` are the instances that are no functions
    on their own, each with the reason.
    """

    name: str
    target: str
    dtype: str
    programs: Mapping[str, Program]
    params: Mapping[str, ParamSpec]
    data: Mapping[str, DataSpec]
    phases: Mapping[str, PhaseSpec]
    applied: Mapping[str, AppliedSpec]
    tasks: Mapping[str, TaskSpec]
    texts: Mapping[str, str]
    constants: Mapping[str, object]
    fingerprint: str
    wholes: tuple[str, ...] = ()
    refused: Mapping[str, Problem] = field(default_factory=dict)
