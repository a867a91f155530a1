"""The values that expressions have while a spec is read.

Numbers, strings, truth values and lists are Python's own; a tensor is a `Node`; an open size is a
`Size`. The rest are the classes below, and those of `build_context` that are made.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping
from functools import cache
from types import UnionType
from typing import NoReturn, Protocol

from dln.compiler.frontend.context.artefacts import Artefact
from dln.compiler.frontend.context.blaming import Argument
from dln.compiler.frontend.context.build_context import (
    BlockDef,
    Build,
    Chain,
    Instance,
    Scope,
    Value,
)
from dln.compiler.ir.graph import Node
from dln.compiler.ir.sizes import Size
from dln.grammar import syntax
from dln.grammar.diagnostics import Note, Span
from dln.grammar.record import Record


class Function(Record, eq=False):
    """A `fn` of the spec or of the standard library."""

    syntax: syntax.Fn
    scope: Scope


class Builtin(Record, eq=False):
    """A function of the language itself; `call` gets unevaluated arguments where it is lazy. What
    `makes` gives is applied where it stands in a pipeline: `x -> chain(cells)`. What is
    `elementwise` takes tensors of any shape, and gives one of that shape."""

    name: str
    call: Callable[..., Value]
    lazy: bool = False
    reduces: bool = False
    makes: bool = False
    elementwise: bool = False

    @property
    def takes(self) -> Signature:
        return signature(self.call)


class Signature(Record):
    """What a function of the language takes: arguments with a place, those by name alone (`axis` of
    `concat(a, b, axis = 1)`), those that must be given; `many` where places have no end."""

    places: list[str]
    by_name: list[str]
    needed: set[str]
    many: bool

    @property
    def names(self) -> list[str]:
        return self.places + self.by_name


@cache
def signature(call: Callable[..., Value]) -> Signature:
    """The arguments of a function behind build and place."""
    all_of = list(inspect.signature(call).parameters.values())[2:]
    places = [p.name for p in all_of if p.kind is p.POSITIONAL_OR_KEYWORD]
    by_name = [p.name for p in all_of if p.kind is p.KEYWORD_ONLY]
    needed = {p.name for p in all_of if p.name in places and p.default is p.empty}
    return Signature(places, by_name, needed, any(p.kind is p.VAR_POSITIONAL for p in all_of))


class OptimiserDef(Record, eq=False):
    syntax: syntax.Optimiser
    scope: Scope


class OptimiserUse(Record, eq=False):
    """An optimiser with its options, as it stands after `with`."""

    definition: OptimiserDef
    options: Mapping[str, Value]
    places: Mapping[str, Span]
    span: Span

    def argument(self, name: str) -> Argument | None:
        """What an option was given."""
        return Argument(self.places[name], self.options[name]) if name in self.options else None


class Results(Record, eq=False):
    """Several named results."""

    values: Mapping[str, Value]

    @property
    def names(self) -> str:
        return ", ".join(self.values)


class WholeGradient(Record, eq=False):
    """`grad(e, net)`: the gradients by all parameters `of` something, of which `norm` makes one
    number."""

    parts: tuple[Node, ...]
    of: str


class IndexVar(Record, eq=False):
    """A bound index: while it is bound, the axes it indexes are running axes of this name.

    `ranged` where its range is written (`u in 0..4`), so that it need not cover an axis; `reduced`
    where a reduction binds it, not an equation; `examples` where it runs over those of a minibatch.
    """

    name: str
    axis: str
    size: Size
    ranged: bool = False
    reduced: bool = False
    examples: bool = False


class ScanStep(Protocol):
    """A step of a scan that is being worked out. `index` is what the spec calls it."""

    @property
    def index(self) -> str: ...

    def element(self, b: Build, value: Node | Recurrence, index: StepIndex, span: Span) -> Node:
        """`x[t]`, `h[t-1]`: of a sequence from outside, or of one that the scan defines."""

    def number(self, b: Build, span: Span) -> Node:
        """`t` where a number may stand: that of the step at hand."""


class StepIndex(Record, eq=False):
    """`t`, `t-1` in a scan: a step, counted from the one at hand."""

    scan: ScanStep
    offset: int


class Recurrence(Record, eq=False):
    """A sequence inside the scan that defines it: `h`, of which `h[t]` and `h[t-1]` exist."""

    scan: ScanStep
    name: str


class InstanceVerb(Record, eq=False):
    """`lm.step`, `R.up`: what is asked of an instance, waiting for its argument."""

    instance: Instance
    verb: str


class IndexForm(Record, eq=False):
    """`2*i + u + 1`: an affine form in bound indices, which looks at an axis through windows."""

    terms: tuple[tuple[IndexVar, int], ...]
    offset: int = 0


class DataValue(Record, eq=False):
    """A data set as a value: `mnist.fit` is one of its parts."""

    name: str
    part: str | None = None


class PhaseValue(Record, eq=False):
    """A phase as a value: `sse.error`, `first.after(w)`."""

    name: str


class PhaseGroup(Record, eq=False):
    """`pre` of the phases `pre[1]`, `pre[2]`: by their numbers."""

    name: str
    phases: Mapping[int, PhaseValue]

    @property
    def names(self) -> str:
        return ", ".join(p.name for p in self.phases.values())


class PhaseBest(Record, eq=False):
    """`sse.best`: a phase as it was when what `checkpoint best by` says was smallest."""

    phase: str


class PhaseVerb(Record, eq=False):
    """`first.before`, `first.after`, `first.grad`, waiting for its argument."""

    phase: str
    verb: str


class Module(Record, eq=False):
    """`use "a.dln" as A`."""

    name: str
    scope: Scope


APPLIED = Function | Builtin | BlockDef | Instance | Chain | PhaseVerb | InstanceVerb
CALLABLE = APPLIED | OptimiserDef
"""What may stand before brackets, or behind an arrow."""


INDEX = IndexVar | IndexForm | StepIndex


def whole_number(value: Value) -> int | None:
    """A number without a fraction, whether it is written 2, 2.0 or 4 / 2; None of anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if value == int(value) else None


def unquoted(value: Value, fraction: bool = False) -> str:
    """The whole number that a text holds, or one with a `fraction`, as a remedy; nothing of
    anything else."""
    form = r"\d+(\.\d+)?([eE][-+]?\d+)?" if fraction else r"\d+"
    return value if isinstance(value, str) and re.fullmatch(form, value, re.ASCII) else ""


def shown(value: Value) -> str:
    """A number itself; of anything else, what kind of thing it is."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if number else describe(value)


DESCRIBED: dict[type | UnionType, str] = {
    Node: "a tensor",
    bool: "a truth value",
    int | float | Size: "a number",
    str: "a text",
    Artefact: "{0.what}",
    list | range: "a list",
    Function | Builtin: "a function",
    BlockDef: "the block {0.syntax.name}",
    Instance: "an instance of {0.name}",
    Chain: "a chain of blocks",
    OptimiserDef: "the optimiser {0.syntax.name}",
    OptimiserUse: "the optimiser {0.definition.syntax.name}",
    DataValue: "the data set {0.name}",
    PhaseValue: "the phase {0.name}",
    PhaseGroup: "the phases {0.names}",
    PhaseBest: "the best of the phase {0.phase}",
    PhaseVerb: "{0.phase}.{0.verb}, which takes an expression in brackets",
    Module: "the file used as {0.name}",
    Results: "several results: {0.names}",
    WholeGradient: "a gradient by everything in {0.of}",
    IndexVar: "the index {0.name}",
    IndexForm: "an index",
    StepIndex: "a step of the scan, which is an index",
    Recurrence: "a sequence that is being defined: say {0.name}[t] or {0.name}[t-1]",
    InstanceVerb: "{0.instance.path}.{0.verb}, which takes what comes next in brackets",
}


def describe(value: Value) -> str:
    """What kind of thing a value is, in the language's own words."""
    if isinstance(value, Node) and value.type.domain.name == "class":
        return "a class"
    found = (text for kind, text in DESCRIBED.items() if isinstance(value, kind))
    return next(found, "something else").format(value)


# ---- a value of another kind than is meant at its place ------------------------------------------

VALUE, TRUTH, WHOLE, NUMBER, LIST, SIZES, TEXT = "value truth whole number list sizes text".split()
"""What may be meant at a place, as the functions below are told."""

MEANT = {
    TRUTH: "what holds or not is a comparison, as x > 0 or label == 3",
    WHOLE: "a whole number is written out, or a const, a let or a size by its name",
    NUMBER: "a number is written out, or a const or a let by its name",
    LIST: "a list is written [1, 2, 3], a range 1..3",
    SIZES: "as in [2, 8], with a whole number for each axis",
    TEXT: 'a text stands in double quotes, as "name"',
}
"""How what is meant is written."""

INSTEAD: dict[type | UnionType, str] = {
    Function: "a function is applied to what it is given: {0.syntax.name}(x)",
    Builtin: "a function is applied to what it is given: {0.name}(x)",
    BlockDef: "a block is made with its options in a let, as let net = {0.syntax.name}(...), and "
    "the instance is applied: net(x)",
    OptimiserDef | OptimiserUse: "an optimiser stands behind with, in a line of minimize",
    Artefact: "a task emits it: emit ... to a file",
    str: 'a text says what a file or a check is called; a name stands without quotes',
    PhaseVerb: "as in {0.phase}.{0.verb}(x)",
    InstanceVerb: "as in {0.instance.path}.{0.verb}(x)",
}  # fmt: skip
"""How what a value stands for comes to a tensor or a number."""


def unfit(
    b: Build,
    code: str,
    text: str,
    at: Span,
    value: Value,
    wants: str,
    label: str = "",
    remedy: str = "",
    facts: tuple[str, ...] = (),
    notes: tuple[Note, ...] = (),
) -> NoReturn:
    """Refuse a value of another kind than is meant, with what stands there; where nobody knows
    better, what to write follows from both kinds."""
    if not (remedy or facts):
        remedy, facts = _instead(b, value, wants, " ".join(at.text.split()))
    b.fail(code, text, at, label or f"is {shown(value)}", notes, remedy, facts)


def _instead(b: Build, value: Value, wants: str, text: str) -> tuple[str, tuple[str, ...]]:
    """What to write in place of a value: a remedy, or facts."""
    if wants in (WHOLE, NUMBER) and isinstance(value, int | float):
        return _number(value, wants)
    if wants in (TRUTH, WHOLE, NUMBER) and (plain := unquoted(value, fraction=wants != WHOLE)):
        return plain, ()
    if wants in (WHOLE, NUMBER) and isinstance(value, Node):
        fact = "a tensor has its numbers when it runs; here one is meant that is known before"
        return "", (f"{fact}: {MEANT[wants].partition(' is ')[2]}",)
    if wants in (WHOLE, NUMBER) and isinstance(value, list) and value:
        few = all(isinstance(v, int | float) for v in value) and len(value) <= 4
        told = ", ".join(map(str, value)) if few else f"{text}[0]"
        return "", (f"one number stands here, as {told.rpartition(', ')[2]}",)
    if wants == TEXT and text.isidentifier():
        return f'"{text}"', ()
    if wants == SIZES and isinstance(value, int | Size):
        return f"[{text}]", ()
    if wants in (VALUE, TRUTH) and (found := _held(b, value, text)):
        return found
    if wants == VALUE and isinstance(value, str) and re.fullmatch(r"[A-Za-z_]\w*(\.\w+)+", value):
        return value, ()
    if wants == VALUE:
        said = (text for kind, text in INSTEAD.items() if isinstance(value, kind))
        fact = next(said, "a value is a number, a list of numbers, or what an equation gives")
        return "", (fact.format(value),)
    return "", (MEANT[wants],)


def _number(value: int | float, wants: str) -> tuple[str, tuple[str, ...]]:
    """Of a number that is none of those that are meant, the nearest ones that are."""
    if isinstance(value, bool):
        return "", ("where what holds is counted, it is 1 if ... else 0",)
    low, high = math.floor(value), math.ceil(value)
    if wants == WHOLE and low != high and high > 0:
        return "", (f"the whole numbers beside it are {low} and {high}",)
    if value < 0:
        return "", (f"without its sign it is {-value if wants == NUMBER else -low}",)
    return "", ("the least is 1",) * (value == 0)


def _held(b: Build, value: Value, text: str) -> tuple[str, tuple[str, ...]] | None:
    """What has a value among the names that stand behind a data set or a phase."""
    if isinstance(value, DataValue):
        fields = [f"{text}.{k}" for k in b.data.sets[value.name].fields]
        told = f"what it holds has names: {', '.join(fields)}" if fields else "it has no fields"
        return "", (f"{told}; a phase on it reads them as they are called, example by example",)
    if isinstance(value, PhaseValue):
        made = b.phases.made.get(value.name)
        watched = [f"{text}.{w.name}" for w in made.watches] if made else []
        if len(watched) == 1:
            return watched[0], ()
        asked = watched or [f"{text}.epochs", f"{text}.seconds"]
        return f"one of {', '.join(asked)}", ()
    if isinstance(value, PhaseGroup) and value.phases:
        first = next(iter(value.phases.values()))
        return "", (f"each has its number, as {first.name}, and behind it what it watches",)
    if isinstance(value, Module):
        return "", (f"what it defines stands behind its name, as in {text}.net",)
    if isinstance(value, list) and value:
        return "", (f"one of a list is taken by its number, the first as {text}[0]",)
    return None
