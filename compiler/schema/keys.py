"""What programs are called, and what goes into them and comes out.

A key is a small frozen value. It becomes a text, `str(key)`, at the edge alone: in the tables of a
program, in a checkpoint, for what users type and read. What has to come back from a text does so
by the `parse` of its class, and nowhere else; a program is looked up among those of its plan.
Names that stand for themselves (a field, a parameter's path, `epoch`) are plain texts.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import ClassVar, TypeAlias

from dln.grammar.diagnostics import Fault
from dln.grammar.record import Record


class Key(Record):
    """What all keys have: a text, `form` with their fields put in, and one order, that of texts."""

    form: ClassVar[str]

    def __str__(self) -> str:
        return self.form.format_map(self.__dict__)

    @property
    def spoken(self) -> str:
        """As a spec or a message says it."""
        return str(self)

    def __lt__(self, other: Key) -> bool:
        return str(self) < str(other)

    def __repr__(self) -> str:
        return repr(str(self))


# ---- programs ----------------------------------------------------------------------------------


class ProgramKind(StrEnum):
    """What a program is for. The value is how the texts of its keys begin: none begins another."""

    INIT = "init:"  # first values of all parameters, in a precision
    DATA = "data:"  # the fields of a data set, from what its reader gives
    CLAIMS = "claims:"  # what is checked of a data set before its fields are made
    LABELS = "labels:"  # the classes by which a data set is divided
    MEASURES = "measures:"  # the values of a data set that are measured over a part of it
    STEP = "step:"  # one update of a phase
    SHARD = "shard:"  # what a shard of a minibatch makes of its rows, in a round of an update
    JOIN = "join:"  # what is made of the sums over the shards
    LOSS = "loss:"  # the losses of a phase at given parameters
    LEFT = "left:"  # what the earlier steps of an update leave in parameters that later lines read
    GRAD = "grad:"  # the gradient by each parameter that a phase moves
    STATES = "states:"  # first values of a phase's states
    ESTIMATE = "estimate:"  # states of a phase that are estimated
    START = "start:"  # what is handed to parameters when a phase begins
    UNTIL = "until:"  # a condition that ends a phase
    BEST = "best:"  # what checkpoints of a phase are kept by
    WATCH = "watch:"  # a watched value of a phase that the step itself does not leave
    TALLY = "tally:"  # what of a watch of a whole part is added up over its examples
    MADE = "made:"  # what is made of such sums
    APPLY = "apply:"  # an instance as a function
    ONE_STEP = "step of "  # an instance of sequences, a step at a time
    FIRST = "first of "  # what the first such step is given
    TASK = "task:"  # what a task emits; with a number, the examples that it picks

    def of(self, name: str, at: str | int | None = None) -> ProgramKey:
        """The program of this kind of a phase, data set, instance, task or precision; `at` tells
        several apart: a watch by its name, others by number."""
        return ProgramKey(self, name, at)


class ProgramKey(Key):
    """A program of a plan.

    >>> print(ProgramKind.STEP.of("sse"), ProgramKind.WATCH.of("sse", "error"))
    step:sse watch:sse.error
    """

    kind: ProgramKind
    of: str
    at: str | int | None = None

    def __str__(self) -> str:
        return f"{self.kind}{self.of}" + ("" if self.at is None else f".{self.at}")

    @property
    def spoken(self) -> str:
        """As a message says it: `start sse`."""
        return str(self).replace(":", " ", 1)

    @staticmethod
    def parse(text: str) -> ProgramKey:
        """The key that a text is. Raises `Fault`."""
        kind = next((k for k in ProgramKind if text.startswith(k) and text != k), None)
        if kind is None:
            known = ", ".join(f"{k}..." for k in ProgramKind)
            raise Fault(f"there is no program {text}", f"one of {known}", "E013")
        name = text[len(kind) :]
        of, dot, last = name.rpartition(".")
        if kind is ProgramKind.WATCH and dot:
            return kind.of(of, last)
        if kind in NUMBERED and dot and last.isdecimal():
            return kind.of(of, int(last))
        return kind.of(name)


NUMBERED = (
    ProgramKind.STEP,
    ProgramKind.ESTIMATE,
    ProgramKind.UNTIL,
    ProgramKind.BEST,
    ProgramKind.TASK,
)
"""The kinds of which a phase or task may have several."""

PIECES = (ProgramKind.SHARD, ProgramKind.JOIN)
"""The kinds that an update in shards is cut into."""


# ---- what a program leaves ---------------------------------------------------------------------


class WatchValue(Key):
    """What the step of a phase leaves of a watch."""

    form = "watch:{watch}"
    watch: str


class GradientValue(Key):
    """What the step of a descent leaves in place of a new parameter: the gradient by it."""

    form = "grad:{path}"
    path: str


class LineLoss(Key):
    """The loss of one of several `minimize` lines."""

    form = "line:{line}"
    line: int


class LeftValue(Key):
    """What earlier steps have left in a parameter when a `minimize` line is reached."""

    form = "{line}:{path}"
    line: int
    path: str


class EmittedValue(Key):
    """A part of what a task emits."""

    form = "emit:{emit}.{part}"
    emit: int
    part: int


ValueKey: TypeAlias = str | WatchValue | GradientValue | LineLoss | LeftValue | EmittedValue


class Output(Key):
    """What a program leaves: at `param` and `state` the new value of one, at `value` another.

    >>> print(new_param("net.W"), value(WatchValue("error")))
    param:net.W value:watch:error
    """

    form = "{place}:{key}"
    place: str
    key: ValueKey


def new_param(path: str) -> Output:
    """The new value of a parameter."""
    return Output("param", path)


def new_state(path: str) -> Output:
    """The new value of a state."""
    return Output("state", path)


def value(key: ValueKey) -> Output:
    """A value under a key."""
    return Output("value", key)


# ---- what a program is given -------------------------------------------------------------------


class RawInput(Key):
    """A field of a data set as its reader gives it; the name is empty where there is but one."""

    form = "raw:{data}.{name}"
    data: str
    name: str


class WholeField(Key):
    """A field of all examples of a part of a data set, as one tensor.

    >>> WholeField.parse("mnist.fit.x").part
    'fit'
    """

    form = "{data}.{part}.{field}"
    data: str
    part: str
    field: str

    @property
    def spoken(self) -> str:
        """As a spec says it: all examples need no part."""
        return f"{self.data}.{self.field}" if self.part == "all" else str(self)

    @staticmethod
    def parse(text: str) -> WholeField:
        """The field that a text names. Raises `Fault`."""
        names = text.split(".")
        if len(names) != 3 or not all(names):
            raise Fault(f"{text} names no field of a part", "data.part.field")
        return WholeField(*names)


class MeasuredInput(Key):
    """What is measured of a value of a data set over one part of it: its mean, deviation, least
    number or range.

    >>> MeasuredInput.parse("measured:iris.x.mean")
    'measured:iris.x.mean'
    """

    form = "measured:{data}.{name}.{what}"
    data: str
    name: str
    what: str

    @staticmethod
    def parse(text: str) -> MeasuredInput | None:
        """The key that a text is; None for any other."""
        kind, _, rest = text.partition(":")
        names = rest.split(".")
        return MeasuredInput(*names) if kind == "measured" and len(names) == 3 else None


class ProbeInput(Key):
    """What a check asks of a phase, by number: its value goes into what the check compares."""

    form = "probe:{number}"
    number: int


CLOCKS = ("epoch", "update", "progress")
"""How far a phase has come: whole epochs, updates, and the share of its length from 0 to 1."""

LOOKED = "looked"
"""Beside the clocks of specs: 1 where what only a report reads of a run is asked for, else 0."""


class WatchReport(Key):
    """A watched value of the running phase: the latest report of it, or report number `at`, which
    counts back from the latest where it is negative; of several numbers one `entry`."""

    watch: str
    at: int | None = None
    entry: int | None = None

    def __str__(self) -> str:
        return f"watch:{self.spoken}" + entry_text(self.entry)

    @property
    def spoken(self) -> str:
        """As a spec says it, without the entry."""
        return self.watch + ("" if self.at is None else f"[{self.at}]")


class ReportFold(Key):
    """What follows from all reports of a watch of the running phase so far, `sign` times what they
    are, so that smaller is better.

    `what` is epoch or update, how many of them lie between the best report and the latest, or
    plateau, by what a rate is multiplied. `rules` are the numbers of that.

    >>> print(ReportFold("epoch", "valid", 1, (0.001,)), ReportFold("plateau", "hits", -1, (), 2))
    fold:epoch,valid,1,,0.001 fold:plateau,hits,-1,2
    """

    what: str
    watch: str
    sign: int
    rules: tuple[float, ...] = ()
    entry: int | None = None

    def __str__(self) -> str:
        which = "" if self.entry is None else str(self.entry)
        return ",".join([f"fold:{self.what}", self.watch, str(self.sign), which,
                         *map(repr, self.rules)])  # fmt: skip

    @property
    def spoken(self) -> str:
        """As a spec says it."""
        return f"plateau of {self.watch}" if self.what == "plateau" else f"stalls of {self.watch}"


class PhaseNumber(Key):
    """A number that a phase has left: a watch or a count, at the end or at the `best` report; of a
    watch also report number `at`, and one `entry` where it is several numbers.

    >>> print(PhaseNumber("pre[0]", "error", at=3), PhaseNumber("sse", "hits", entry=2))
    pre[0].error[3] sse.hits#2
    """

    phase: str
    name: str
    best: bool = False
    at: int | None = None
    entry: int | None = None

    def __str__(self) -> str:
        return self.spoken + entry_text(self.entry)

    @property
    def spoken(self) -> str:
        """As a spec says it, without the entry."""
        what = f"best.{self.name}" if self.best else self.name
        return f"{self.phase}.{what}" + ("" if self.at is None else f"[{self.at}]")


def entry_text(entry: int | None) -> str:
    """Which of several numbers is meant, in the text of a key."""
    return "" if entry is None else f"#{entry}"


Report: TypeAlias = WatchReport | PhaseNumber
Heard: TypeAlias = WatchReport | ReportFold
"""What a running phase tells of its own watches."""
Clock: TypeAlias = str | Report | ReportFold
"""A number that `run` of a program is given: one of `CLOCKS` by name or `LOOKED`, or what phases
say."""

SAID = re.compile(r"(?:(watch:)|([^.:]+)\.(best\.(?=.))?)([^.:#\[\]]+)(?:\[(-?\d+)\])?(?:#(\d+))?")


def parse_clock(text: str) -> Clock:
    """The clock that a text names. Raises `Fault`.

    >>> parse_clock("epoch"), parse_clock("pre[0].best.error").phase, parse_clock("watch:e[-1]").at
    ('epoch', 'pre[0]', -1)
    """
    if text.startswith("fold:"):
        what, watch, sign, which, *rest = text.removeprefix("fold:").split(",")
        rules = tuple(map(float, rest))
        return ReportFold(what, watch, int(sign), rules, int(which) if which else None)
    found = SAID.fullmatch(text)
    if found is None:
        if not text.isidentifier():
            raise Fault(f"{text} is no clock", f"one of {', '.join(CLOCKS)}, or phase.watch")
        return text
    own, phase, best, name, *numbers = found.groups()
    at, entry = (None if n is None else int(n) for n in numbers)
    return WatchReport(name, at, entry) if own else PhaseNumber(phase, name, bool(best), at, entry)


class CheckpointKey(Key):
    """An array of a phase in a checkpoint: a state, or what checks ask of a phase that is over.

    `kind` is state, first, before or after. Parameters stand under their paths.
    """

    form = "{kind}:{phase}:{name}"
    kind: str
    phase: str
    name: str

    @staticmethod
    def parse(text: str) -> CheckpointKey | None:
        """The key that a text is; None for the path of a parameter."""
        kind, _, rest = text.partition(":")
        phase, found, name = rest.partition(":")
        return CheckpointKey(kind, phase, name) if found else None
