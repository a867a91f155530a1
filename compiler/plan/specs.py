"""What a runtime does with the programs of a plan: parameters, data, phases, functions, tasks."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from dln.compiler.plan.program import Place, ProgramTable
from dln.compiler.schema import keys, records
from dln.compiler.schema.headers import DataSource
from dln.compiler.schema.keys import Output, PhaseNumber, ProgramKey, ValueKey, WholeField
from dln.grammar.diagnostics import Problem
from dln.grammar.record import Record


class ParamSpec(records.ParameterFacts):
    """A parameter: its shape and where it is declared; `live` is the number of the entries that
    exist where some are dead."""

    shape: tuple[int, ...]
    place: Place | None
    live: int | None = None

    @property
    def numbers(self) -> int:
        """How many numbers it has, dead entries left out."""
        return prod(self.shape) if self.live is None else self.live


class FieldSpec(Record):
    """A field of data, or a port: its shape for one example, kind (real, index) and domain.

    `domain` is real, positive, prob, logit, binary or class; `classes` goes with class. The
    shape begins with the steps of what runs over time. The domain `length` is that of the lengths
    of sequences, 1 to `classes` steps. `cells` are the columns of a table that the numbers of an
    example come from, -1 where it is not one; empty where that is not known. `timed` is what runs
    over time, `ends` the field that says where each sequence of it ends.
    """

    name: str
    shape: tuple[int, ...]
    kind: str
    domain: str = "real"
    classes: int | None = None
    place: Place | None = None
    cells: tuple[int, ...] = ()
    timed: bool = False
    ends: str = ""

    @property
    def label(self) -> bool:
        """Whether it is one class for each example."""
        return self.domain == "class" and not self.shape


class MeasureSpec(records.MeasureFacts):
    """A value of a data set that is measured over a part: numbers of the `shape` of an example, or
    of a step of what is timed."""

    shape: tuple[int, ...]


class DataSpec(records.DeclaredData, kw_only=True):
    """A data set: its program of the kind `data` takes what the reader gives and leaves the fields.

    `claims` are what is to be checked before that runs, by the program of the kind `claims`;
    `measured` what it takes beside that, by the program of the kind `measures`. Where it is `plain`
    each field is an array of raw as it stands.
    """

    raw: tuple[FieldSpec, ...]
    fields: tuple[FieldSpec, ...]
    drawn: bool
    place: Place | None
    claims: Mapping[str, FieldSpec] = {}
    measured: Mapping[str, MeasureSpec] = {}
    plain: bool = False


class WatchSpec(records.WatchFacts):
    """A watched value. `program` is None where the step itself leaves it. It is one number, or a
    vector of so many `numbers`.

    On a part of a stream phase the program's states `carried` (paths with shapes) are the watch's
    own, zero at its start, kept from window to window. What is no sum over examples, and cannot be
    made of such, is then averaged over the windows.

    In place of `program`, which is the first of them, a value of a whole part may have `rounds`: of
    each a program that leaves sums, which are added up over the part, and one that takes all sums
    so far and leaves what the next round needs, or in the end the watch.
    """

    program: ProgramKey | None
    place: Place | None
    carried: Mapping[str, tuple[int, ...]] = {}
    numbers: int | None = None
    rounds: tuple[tuple[ProgramKey, ProgramKey], ...] = ()


class KeepSpec(Record):
    """`checkpoint every ...`, or `checkpoint best by ...` with the program of its value, which may
    be `handed` on."""

    every: tuple[int, str] | None
    program: ProgramKey | None
    handed: bool = False


class LoadSpec(Record):
    """A parameter that starts with the array of a `name` in a file."""

    path: str
    file: DataSource
    name: str


class EstimateSpec(Record):
    """States that are estimated: at the start of every `every` epochs `program` runs on the first
    `sample` examples of the epoch's order, and its values, means over the examples, go to `states`.
    """

    program: ProgramKey
    sample: int
    every: int
    states: tuple[str, ...]


POINTS, SLOPES, COUNT = "descent.points", "descent.slopes", "descent.count"
"""The states of a descent: the differences of points and gradients, and how many there were."""


class DescentSpec(records.DescentRules):
    """A descent along lines (L-BFGS) over the parameters `params`, taken as one vector.

    The step program then moves nothing: it leaves the `loss`, and the gradient by each parameter.
    The pairs of differences are kept in states of the phase.
    """

    params: tuple[str, ...]


class LineSpec(Record):
    """A `minimize` line: the value of the phase's program of losses that is its loss, the
    parameters that it moves, and those of its loss that earlier steps have `left` other values
    in."""

    value: ValueKey
    moves: tuple[str, ...]
    left: tuple[str, ...] = ()


class RoundSpec(Record):
    """A round of an update in shards: the program that each shard runs on its rows, none where
    there is nothing to do for them, and the one that is run on the sums over the shards."""

    shard: ProgramKey | None
    join: ProgramKey


class UncutSpec(Record):
    """Why a phase cannot be cut into shards, at a line of the spec (E437)."""

    place: Place | None
    message: str
    label: str
    facts: tuple[str, ...]
    remedy: str


class PhaseSpec(records.PhaseFacts):
    """A phase: its states, how long, what is watched and kept.

    `states` are the optimiser states with their shapes. `starts` are the parameters that are
    handed something when the phase begins. It ends where the value of one of the programs `until`
    is not 0. `stops`: the loss holds a `stop`, so that its gradient is not the slope of its value,
    on purpose. In shards the programs of its updates are not run; `cuts` has the rounds that
    each of them is cut into. Where shards were asked of it that it cannot be cut into, `uncut` says
    why: it is not to be run.
    """

    states: Mapping[str, tuple[int, ...]]
    watches: tuple[WatchSpec, ...]
    keeps: tuple[KeepSpec, ...]
    starts: tuple[str, ...]
    until: tuple[ProgramKey, ...]
    place: Place | None
    stops: bool = False
    estimates: tuple[EstimateSpec, ...] = ()
    descent: DescentSpec | None = None
    lines: tuple[LineSpec, ...] = ()
    loads: tuple[LoadSpec, ...] = ()
    cuts: tuple[tuple[RoundSpec, ...], ...] = ()
    uncut: tuple[UncutSpec, ...] = ()

    @property
    def data(self) -> str:
        """The data set that it learns from."""
        return self.on.data

    @property
    def part(self) -> str:
        """The part of the data set."""
        return self.on.part

    @property
    def step(self) -> ProgramKey:
        """The program of an update, of the first one where they differ."""
        return self.steps[0]

    @property
    def steps(self) -> tuple[ProgramKey, ...]:
        """The programs of the updates of a round, one for each turn that there is."""
        numbers = dict.fromkeys(self.rounds or (0,))
        return tuple(keys.ProgramKind.STEP.of(self.name, i or None) for i in numbers)

    @property
    def run(self) -> tuple[ProgramKey, ...]:
        """The programs that updates run: those of the steps, or where they are cut into shards all
        of their rounds."""
        pieces = (k for cut in self.cuts for r in cut for k in (r.shard, r.join) if k is not None)
        return tuple(pieces) or self.steps

    def step_of(self, update: int) -> ProgramKey:
        """The program of an update, by its number."""
        return self.steps[self.rounds[update % len(self.rounds)]] if self.rounds else self.step

    @property
    def handed(self) -> bool:
        """Whether it hands on what it was at its best report."""
        return any(keep.handed for keep in self.keeps)

    @property
    def rows(self) -> int | None:
        """The most examples that a minibatch may have: so many rows its states have."""
        return self.states[self.kept[0]][0] if self.kept else None


class AppliedSpec(Record):
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


class PartSpec(records.PartFacts):
    """A part of what a task emits: a value of its program, the history of a watch, or a text."""

    value: Output | PhaseNumber | str

    @property
    def key(self) -> str:
        """Under which the program leaves its value; nothing of what is no value."""
        return str(self.value.key) if isinstance(self.value, Output) else ""


class EmitSpec(records.EmitFacts):
    """What a task emits.

    What is made of examples is worked out by a `program` of its own, which leaves a value for each
    part, and `where` if only those count for which it is not 0.
    """

    parts: tuple[PartSpec, ...]
    place: Place | None = None
    program: ProgramKey | None = None


class TaskSpec(records.TaskFacts):
    """A task: its program, and what it emits of the program's values."""

    program: ProgramKey
    emits: tuple[EmitSpec, ...]


class Plan(Record):
    """Everything a runtime needs: programs by key, and what to do with them.

    `programs` may make a program when it is first asked for. `wholes` are the fields of whole parts
    that programs read. `refused` are the instances that are no functions on their own, each with
    the reason.
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
    refused: Mapping[str, Problem] = {}

    def __repr__(self) -> str:
        numbers = sum(p.numbers for p in self.params.values())
        return f"Plan({self.name}, {numbers:,} parameters, {self.target} {self.dtype})"
