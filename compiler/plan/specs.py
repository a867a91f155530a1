"""What a runtime does with the programs of a plan: parameters, data, phases, functions, tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

from dln.compiler.plan.program import Place, ProgramTable
from dln.compiler.schema.keys import ProgramKey, ProgramKind, ValueKey, WholeField
from dln.grammar.diagnostics import Problem


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
    program: ProgramKey | None
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
    program: ProgramKey | None


@dataclass(frozen=True, slots=True)
class EstimateSpec:
    """States that are estimated: at the start of every `every` epochs `program` runs on the first
    `sample` examples of the epoch's order, and its values, means over the examples, go to `states`.
    """

    program: ProgramKey
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

    value: ValueKey
    moves: tuple[str, ...]
    left: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PhaseSpec:
    """A phase: its step program, its data and order, how long, what is watched and kept.

    `states` are the optimiser states with their shapes; the program `states:<phase>` gives their
    first values, `start:<phase>` what is handed over when the phase begins. It ends where the value
    of one of the programs `until` is not 0. Those that are
    `carried` are set to zero at the start of each epoch; the `kept` have a row for each example of
    a full minibatch. `stops`: the loss holds a `stop`, so that its gradient is not the slope of its
    value, on purpose.
    """

    name: str
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
    until: tuple[ProgramKey, ...]
    slow: bool
    place: Place | None
    carried: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    stops: bool = False
    estimates: tuple[EstimateSpec, ...] = ()
    descent: DescentSpec | None = None
    lines: tuple[LineSpec, ...] = ()

    @property
    def step(self) -> ProgramKey:
        """The program of one update."""
        return ProgramKind.STEP.of(self.name)

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

    program: ProgramKey
    ports: tuple[FieldSpec, ...]
    results: tuple[str, ...]
    step: AppliedSpec | None = None
    carried: tuple[str, ...] = ()
    first: ProgramKey | None = None


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

    The first `count` examples of the part `on` are worked out by a `program` of their own, which
    leaves `value`, and `where` if only those count for which it is not 0.
    """

    form: str
    parts: tuple[PartSpec, ...]
    to: str | None
    place: Place | None = None
    program: ProgramKey | None = None
    on: tuple[str, str] | None = None
    count: int = 0


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """A task: its program, what it emits of the program's values, and after which phases."""

    name: str
    program: ProgramKey
    emits: tuple[EmitSpec, ...]
    after: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything a runtime needs: programs by name, and what to do with them.

    `programs` may make a program when it is first asked for. `wholes` are the fields of whole parts
    that programs read. `refused` are the instances that are no functions
    on their own, each with the reason.
    """

    name: str
    target: str
    dtype: str
    programs: ProgramTable
    params: Mapping[str, ParamSpec]
    data: Mapping[str, DataSpec]
    phases: Mapping[str, PhaseSpec]
    applied: Mapping[str, AppliedSpec]
    tasks: Mapping[str, TaskSpec]
    texts: Mapping[str, str]
    constants: Mapping[str, object]
    fingerprint: str
    wholes: tuple[WholeField, ...] = ()
    refused: Mapping[str, Problem] = field(default_factory=dict)
