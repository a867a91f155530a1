"""The values that expressions have while a spec is read, and the scopes that hold them.

Numbers, strings, truth values and lists are Python's own; a tensor is a `Node`; an open size is a
`Size`. The rest are the classes below. A name is bound once per scope; what it is bound to is
worked out when it is first asked for, so equations may stand in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from dln.compiler.ir.graph import Node
from dln.compiler.ir.sizes import Size, Var
from dln.compiler.ir.tensor_type import Domain, Kind
from dln.grammar import syntax
from dln.grammar.diagnostics import Span

Value: TypeAlias = Any


@dataclass(frozen=True)
class Space:
    """Where equations stand: in the spec's definitions, or in a phase, task or check of a name."""

    kind: str = "spec"
    path: str = ""


SPEC = Space()


@dataclass(eq=False)
class Binding:
    """A name's meaning: a value, or a rule that finds it for the current frame.

    A `constant` may stand for a size in a port; any other name there is a dimension variable.
    """

    span: Span | None
    find: Callable[[], Value]
    static: bool = False
    constant: bool = False
    cache: dict[int, Value] = field(default_factory=dict)
    busy: bool = False


@dataclass(eq=False)
class Scope:
    """Names bound here, then those of the parent. `path` prefixes the parameters made here;
    `owner` is the instance whose equations these are, `space` where they stand."""

    parent: Scope | None
    path: str = ""
    names: dict[str, Binding] = field(default_factory=dict)
    owner: Instance | None = None
    space: Space = SPEC

    def lookup(self, name: str) -> Binding | None:
        scope: Scope | None = self
        while scope is not None:
            if name in scope.names:
                return scope.names[name]
            scope = scope.parent
        return None

    def visible(self) -> Iterator[str]:
        scope: Scope | None = self
        while scope is not None:
            yield from scope.names
            scope = scope.parent

    def value(self, name: str, value: Value, span: Span | None = None) -> None:
        """Bind a name to a value that is known already."""
        number = isinstance(value, int | Size)
        self.names[name] = Binding(span, lambda: value, static=True, constant=number)

    def child(self, path: str | None = None, space: Space | None = None) -> Scope:
        return Scope(self, self.path if path is None else path, space=space or self.space)


@dataclass(frozen=True, eq=False)
class Function:
    """A `fn` of the spec or of the standard library."""

    syntax: syntax.Fn
    scope: Scope


@dataclass(frozen=True, eq=False)
class Builtin:
    """A function of the language itself; `call` gets unevaluated arguments where it is lazy. What
    `makes` gives is applied where it stands in a pipeline: `x -> chain(cells)`."""

    name: str
    call: Callable[..., Value]
    lazy: bool = False
    reduces: bool = False
    makes: bool = False


@dataclass(frozen=True, eq=False)
class BlockDef:
    syntax: syntax.Block
    scope: Scope


@dataclass(frozen=True, eq=False)
class OptimiserDef:
    syntax: syntax.Optimiser
    scope: Scope


@dataclass(frozen=True, eq=False)
class OptimiserUse:
    """An optimiser with its options, as it stands after `with`."""

    definition: OptimiserDef
    options: Mapping[str, Value]
    span: Span


@dataclass(eq=False)
class Instance:
    """A block with its options: the owner of its parameters.

    `scope` holds options, sizes, parameters and lets; `sizes` its dimension variables. `bodies`
    are its applications by frame, so `net.h` means the tensor of this phase; `latest` says with
    what they were made. `steps` is the length of the sequences that it was last applied to,
    `uneven` whether any were of unequal lengths; `groups` are the units of an energy. `uses` are
    what the ports were given, kind and domain, for each way in which they were. It was made in the
    equations or options of `owner`, if any, where `place` stands.
    """

    definition: BlockDef
    path: str
    scope: Scope
    span: Span
    place: str = ""
    owner: Instance | None = None
    sizes: dict[str, Var] = field(default_factory=dict)
    bodies: dict[Frame, Scope] = field(default_factory=dict)
    latest: dict[Frame, Application] = field(default_factory=dict)
    memo: dict[tuple[Any, ...], Value] = field(default_factory=dict)
    ports: list[tuple[tuple[str, ...], tuple[Size, ...], Domain | None]] = field(
        default_factory=list
    )
    last: Scope | None = None
    steps: Size = field(default_factory=lambda: Size.of(1))
    uneven: bool = False
    groups: list[Any] = field(default_factory=list)
    uses: dict[tuple[tuple[Kind, Domain | None], ...], None] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.definition.syntax.name

    def within(self, other: Instance) -> bool:
        """Whether this is another instance, or one that was made in it."""
        made: Instance | None = self
        while made is not None and made is not other:
            made = made.owner
        return made is not None

    @property
    def timed(self) -> bool:
        """Whether it has been applied to sequences."""
        return any("time" in running for running, _, _ in self.ports)


@dataclass(frozen=True, eq=False)
class Application:
    """An instance applied to ports, with the parameters that steps had moved by then."""

    ports: tuple[Node, ...]
    version: int
    params: Mapping[str, Node]


@dataclass(frozen=True, eq=False)
class Chain:
    """`chain([f, g])`: g after f.

    What its functions make when it is applied belongs to it: it is named by where the chain was
    made, and the same wherever it is applied. `applied` are its inputs and outputs so far.
    """

    parts: tuple[Value, ...]
    path: str
    owner: Instance | None
    space: Space
    span: Span
    applied: list[tuple[tuple[Value, ...], Value]] = field(default_factory=list)

    def is_as(self, other: Chain) -> bool:
        """Whether the same place made both, of the same parts."""
        mine, others = ((c.path, c.space, c.span, len(c.parts)) for c in (self, other))
        pairs = zip(self.parts, other.parts, strict=False)
        return mine == others and self.owner is other.owner and all(p is q for p, q in pairs)


@dataclass(frozen=True, eq=False)
class Record:
    """Several named results."""

    values: Mapping[str, Value]


@dataclass(frozen=True, eq=False)
class IndexVar:
    """A bound index: while it is bound, the axes it indexes are running axes of this name.

    `ranged` where its range is written (`u in 0..4`), so that it need not cover an axis; `reduced`
    where a reduction binds it, not an equation.
    """

    name: str
    axis: str
    size: Size
    ranged: bool = False
    reduced: bool = False


@dataclass(frozen=True, eq=False)
class StepIndex:
    """`t`, `t-1` in a scan: a step, counted from the one at hand. `attempt` works the scan out."""

    attempt: Any
    offset: int


@dataclass(frozen=True, eq=False)
class Recurrence:
    """A sequence inside the scan that defines it: `h`, of which `h[t]` and `h[t-1]` exist."""

    attempt: Any
    name: str


@dataclass(frozen=True, eq=False)
class InstanceVerb:
    """`lm.step`, `R.up`: what is asked of an instance, waiting for its argument."""

    instance: Instance
    verb: str


@dataclass(frozen=True, eq=False)
class IndexForm:
    """`2*i + u + 1`: an affine form in bound indices, which looks at an axis through windows."""

    terms: tuple[tuple[IndexVar, int], ...]
    offset: int = 0


@dataclass(frozen=True, eq=False)
class Text:
    """`text(prime, s)`: pieces joined, each a text or a tensor with the alphabet of its classes."""

    pieces: tuple[tuple[str | Node, str], ...]


@dataclass(frozen=True, eq=False)
class Plot:
    """`plot(a, b)`: curves with their labels; on a logarithmic scale where `log`."""

    curves: tuple[tuple[str, Node, Span], ...]
    log: bool


@dataclass(frozen=True, eq=False)
class Examples:
    """`examples(e, on = part)`: e of the first `count` examples for which `where` holds; with
    names of `rows`, as many values stacked."""

    value: Node
    where: Node | None
    data: str
    part: str
    count: int
    label: str
    rows: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class DataValue:
    """A data set as a value: `mnist.fit` is one of its parts."""

    name: str
    part: str | None = None


@dataclass(frozen=True, eq=False)
class PhaseValue:
    """A phase as a value: `sse.error`, `first.after(w)`."""

    name: str


@dataclass(frozen=True, eq=False)
class PhaseGroup:
    """`pre` of the phases `pre[1]`, `pre[2]`: by their numbers."""

    name: str
    phases: Mapping[int, PhaseValue]


@dataclass(frozen=True, eq=False)
class PhaseBest:
    """`sse.best`: a phase as it was when what `checkpoint best by` says was smallest."""

    phase: str


@dataclass(frozen=True, eq=False)
class PhaseVerb:
    """`first.before`, `first.after`, `first.grad`, waiting for its argument."""

    phase: str
    verb: str


@dataclass(frozen=True, eq=False)
class Module:
    """`use "a.dln" as A`."""

    name: str
    scope: Scope


@dataclass(eq=False)
class Frame:
    """Where expressions are being worked out: a phase, a watch, a check, an initial value.

    `version` changes whenever a parameter gets a new value, so nothing stale is remembered.
    `carry` takes what scans leave from one window of a stream to the next, `kept` holds the states
    of the phase;
    `memory` holds what one-step forms have left; what of it is not there yet is `asked` for, where
    Python keeps it: its first value and the input that will hold it.
    `masks` are the places that drew one, by the path of their equation, each with the step or round
    and its calls.
    """

    kind: str
    version: int
    training: bool = False
    batched: bool = False
    params: dict[str, Node] = field(default_factory=dict)
    site: str = ""
    carry: Any = None
    kept: Any = None
    memory: dict[Any, Node] = field(default_factory=dict)
    asked: dict[Any, tuple[Node, Node]] | None = None
    masks: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)


def known_value(binding: Binding) -> Value | None:
    """What a name is bound to, if that is known without working anything out."""
    if binding.cache:
        return next(iter(binding.cache.values()))
    if not binding.static or binding.busy:
        return None
    try:
        return binding.find()
    except Exception:  # a definition that is wrong itself: its problem is told at its place
        return None


def callable_value(value: Value) -> bool:
    """Whether a value may stand before brackets, or behind an arrow."""
    callables = Function | Builtin | BlockDef | OptimiserDef | Instance | Chain | PhaseVerb
    return isinstance(value, callables | InstanceVerb)


def whole_number(value: Value) -> int | None:
    """A number without a fraction, whether it is written 2, 2.0 or 4 / 2; None of anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if value == int(value) else None


def shown(value: Value) -> str:
    """A number itself; of anything else, what kind of thing it is."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if number else describe(value)


def describe(value: Value) -> str:
    """What kind of thing a value is, in the language's own words."""
    match value:
        case Node():
            return "a tensor"
        case bool():
            return "a truth value"
        case int() | float() | Size():
            return "a number"
        case str() | Text():
            return "a text"
        case Plot():
            return "a plot"
        case Examples():
            return "examples of data"
        case list() | range():
            return "a list"
        case Function() | Builtin():
            return "a function"
        case BlockDef():
            return f"the block {value.syntax.name}"
        case Instance():
            return f"an instance of {value.name}"
        case Chain():
            return "a chain of blocks"
        case OptimiserDef():
            return f"the optimiser {value.syntax.name}"
        case OptimiserUse():
            return f"the optimiser {value.definition.syntax.name}"
        case DataValue():
            return f"the data set {value.name}"
        case PhaseValue():
            return f"the phase {value.name}"
        case PhaseGroup():
            return f"the phases {', '.join(p.name for p in value.phases.values())}"
        case PhaseBest():
            return f"the best of the phase {value.phase}"
        case PhaseVerb():
            return f"{value.phase}.{value.verb}, which takes an expression in brackets"
        case Module():
            return f"the file used as {value.name}"
        case Record():
            return "several results: " + ", ".join(value.values)
        case IndexVar():
            return f"the index {value.name}"
        case IndexForm():
            return "an index"
        case StepIndex():
            return "a step of the scan, which is an index"
        case Recurrence():
            return f"a sequence that is being defined: say {value.name}[t] or {value.name}[t-1]"
        case InstanceVerb():
            return f"{value.instance.path}.{value.verb}, which takes what comes next in brackets"
    return "something else"
