"""What building a spec gives: the graph, and what the spec says about its nodes.

A `Model` is frozen data over one `Graph`. Phases, watches, tasks and checks name nodes of it;
`pipeline` turns each of them into a program.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dln.compiler.ir.graph import Graph, Node
from dln.compiler.ir.sizes import Size, Sizes
from dln.compiler.schema import records
from dln.compiler.schema.headers import DataSource
from dln.compiler.schema.keys import PhaseNumber, ProbeInput
from dln.grammar.diagnostics import DlnError, Problem, Source, Span
from dln.grammar.record import Record


class Parameter(records.ParameterFacts):
    """A parameter or fixed value: its node, and the node of its initial value.

    `space` is the kind of place that made it: one that a check has made for itself is no parameter
    of the network.
    """

    node: Node
    init: Node | None
    span: Span
    space: str = "spec"

    @property
    def checks(self) -> bool:
        """Whether a check has made it for itself."""
        return self.space == "check"


class FieldOf(Record):
    """A field of a data set: what phases see (`node`, an input), and how it follows from raw.

    `timed` is what runs over time though its type does not say so; `ends` names the field that says
    where its sequences end; `names` are those of its classes, where they are words of a table.
    """

    name: str
    node: Node
    value: Node
    drawn: bool
    span: Span
    timed: bool = False
    ends: str = ""
    names: tuple[str, ...] = ()


class Measuring(records.MeasureFacts):
    """A value of which it is measured how it lies in a part; `by` is that part as it is written,
    until it is found."""

    value: Node
    span: Span
    by: Any = None


class DataSet(records.DeclaredData, kw_only=True):
    """A declared data set.

    `alphabet` is that of a text. `lengths` names the fields that hold the lengths of sequences of
    unequal length. `claims` are the values inside of fields of which a domain is asserted (`node`),
    with the numbers that it is asserted of (`value`): these are checked before a field is made.
    `ports` are the places of what it wants to be handed, `split` is where it is divided, `measured`
    are the values by whose numbers over a part fields are standardised or scaled.
    """

    raw: Mapping[str, Node]
    fields: Mapping[str, FieldOf]
    span: Span
    alphabet: str | None = None
    lengths: tuple[str, ...] = ()
    claims: tuple[FieldOf, ...] = ()
    ports: Mapping[str, Span] = {}
    split: Span | None = None
    measured: Mapping[str, Measuring] = {}


class Watching(records.WatchFacts):
    """A watched value. On the data of a stream `states` are what is carried from window to window,
    `carried` their shapes."""

    value: Node
    span: Span
    states: Mapping[str, Node] = {}
    carried: Mapping[str, tuple[Size, ...]] = {}


class Keeping(Record):
    """`checkpoint every ...` or `checkpoint best by ...` (a node over watch values), or `keep best
    by ...`, where the best is `handed` on."""

    every: tuple[int, str] | None
    best: Node | None
    span: Span
    handed: bool = False


class Starting(Record):
    """`start target := value`, done once when the phase begins."""

    path: str
    value: Node
    span: Span


class Loading(Record):
    """`start target := load("file")`: the array of a `name` in a file, for one parameter."""

    path: str
    file: DataSource
    name: str
    span: Span


class Estimating(Record):
    """A state of an optimiser that is estimated: at the start of every `every` epochs, `value` is
    worked out on the first `sample` examples of the epoch's order and put into the state `path`."""

    path: str
    value: Node
    sample: int
    every: int
    span: Span


class Descending(records.DescentRules):
    """A descent with a line search: the optimiser's name and its numbers."""

    name: str
    span: Span


class Minimizing(Record):
    """A `minimize` line: its `loss` as its step meets it, the gradients by the parameters that it
    moves, and what earlier steps have `left` in parameters by then; `span` is what stands behind
    `over`."""

    loss: Node
    slopes: Mapping[str, Node]
    left: Mapping[str, Node]
    span: Span


class Turn(Record):
    """What one update of a phase does where not every update does all steps: the same as is said of
    a phase."""

    objectives: tuple[Node, ...]
    lines: tuple[Minimizing, ...]
    updates: Mapping[str, Node]
    states: Mapping[str, Node]

    @property
    def losses(self) -> tuple[Node, ...]:
        """The losses as the steps meet them."""
        return tuple(line.loss for line in self.lines)

    def slopes(self, path: str) -> list[Node]:
        """The gradients by a parameter that its updates use, line by line."""
        return [line.slopes[path] for line in self.lines if path in line.slopes]


class Phase(records.PhaseFacts):
    """A `train`: what is learned.

    `updates` maps parameter paths to their new values, `states` optimiser states to theirs (with
    their first values in `state_init`). `objectives` are the losses of the `minimize` lines with
    no parameter moved. It ends where any of `until` holds. Where steps are done several times,
    `turns` are what its updates do, which `rounds` counts off; else there are none.
    """

    objectives: tuple[Node, ...]
    lines: tuple[Minimizing, ...]
    updates: Mapping[str, Node]
    states: Mapping[str, Node]
    state_init: Mapping[str, Node]
    watches: tuple[Watching, ...]
    keeps: tuple[Keeping, ...]
    starts: tuple[Starting, ...]
    until: tuple[Node, ...]
    span: Span
    estimates: tuple[Estimating, ...] = ()
    descent: Descending | None = None
    turns: tuple[Turn, ...] = ()
    loads: tuple[Loading, ...] = ()

    @property
    def losses(self) -> tuple[Node, ...]:
        """The losses as the steps meet them."""
        return tuple(line.loss for line in self.lines)

    def slopes(self, path: str) -> list[Node]:
        """The gradients by a parameter that its updates use, line by line."""
        return [line.slopes[path] for line in self.lines if path in line.slopes]


class Probe(Record):
    """A value asked of a phase by a check: `node` on its first minibatch, `before` the first
    update or `after` the last."""

    phase: str
    when: str
    node: Node


class Expectation(Record):
    """`expect left op right within tolerance`; sides are nodes over constants, clocks, probes."""

    op: str
    left: Node
    right: Node
    within: Node | None
    phases: tuple[str, ...]
    text: str
    span: Span


class Checking(Record):
    """A `check` block: its sentence and what it expects. The `expect` lines of a `phase` are one
    as well, slow where the phase is."""

    text: str
    slow: bool
    expects: tuple[Expectation, ...]
    span: Span
    phase: str = ""


class EmittedPart(records.PartFacts):
    """A part of what is emitted: a tensor, or a text.

    A text stands for itself in a `text`; elsewhere it is a watch, whose history is meant. Of what
    is made of examples `key` is what its program calls it.
    """

    value: Node | str | PhaseNumber
    key: str = ""


class Emission(records.EmitFacts):
    """`emit e to "file"`, of the examples that `where` holds for."""

    parts: tuple[EmittedPart, ...]
    span: Span
    where: Node | None = None


class Tasking(records.TaskFacts):
    """A `task`: what it emits; its options are constants by name."""

    options: Mapping[str, object]
    emits: tuple[Emission, ...]
    span: Span


class Sweeping(Record):
    """A `sweep`: the constants it varies, their values run by run, what each run reports and
    expects, and the phases of which it asks something."""

    name: str
    vary: tuple[str, ...]
    runs: tuple[Mapping[str, object], ...]
    reports: tuple[tuple[str, Node], ...]
    expects: tuple[Expectation, ...]
    span: Span
    phases: tuple[str, ...] = ()


class Applied(Record):
    """An instance as a function from Python: port nodes (inputs) and result nodes.

    Of one that takes sequences, `step` is the form for one step; `carried` are then its memory by
    name: the value before the first step, the input that holds the last, and the value after.
    `ends` names for each port the one that says how long its sequences are, where these are of
    unequal lengths.
    """

    path: str
    ports: Mapping[str, Node]
    results: Mapping[str, Node]
    step: Applied | None = None
    carried: Mapping[str, tuple[Node, Node, Node]] = {}
    ends: Mapping[str, str] = {}


class Functions(Record):
    """The instances as functions from Python. Those that cannot be called on their own are
    `refused`, each with the reason: the spec is none the worse for it. `own` are the nodes that
    only functions need."""

    applied: Mapping[str, Applied] = {}
    refused: Mapping[str, Problem] = {}
    own: frozenset[Node] = frozenset()

    def each(self, to: Callable[[Node], Node]) -> Functions:
        """The functions with every node replaced; one where that fails is refused."""
        applied, refused = dict[str, Applied](), dict(self.refused)
        for path, function in self.applied.items():
            try:
                applied[path] = remap(function.changed(step=None), to)
            except DlnError as error:
                refused[path] = error.problems[0]
                continue
            try:
                applied[path] = applied[path].changed(step=remap(function.step, to))
            except DlnError as error:
                refused[f"{path}.step"] = error.problems[0]
        return Functions(applied, refused)


class Model(Record):
    """A built spec. `drawings` are the files of bitmaps it has read."""

    source: Source
    sources: Mapping[str, Source]
    graph: Graph
    constants: Mapping[str, object]
    params: Mapping[str, Parameter]
    data: Mapping[str, DataSet]
    phases: Mapping[str, Phase]
    probes: Mapping[ProbeInput, Probe]
    checks: tuple[Checking, ...]
    tasks: Mapping[str, Tasking]
    sweeps: Mapping[str, Sweeping]
    functions: Functions
    notes: tuple[str, ...]
    sizes: Sizes
    warnings: tuple[Problem, ...] = ()
    drawings: tuple[Source, ...] = ()


def remap(value: Any, to: Callable[[Node], Node]) -> Any:
    """A copy of a model (or a part of one) with every node replaced."""
    if isinstance(value, Node):
        return to(value)
    if isinstance(value, tuple):
        return tuple(remap(v, to) for v in value)
    if isinstance(value, Mapping):
        return {k: remap(v, to) for k, v in value.items()}
    if isinstance(value, Record):
        return value.changed(**{k: remap(getattr(value, k), to) for k in value._fields})
    return value
