"""What building a spec carries along: the names in scope, what is being made, and where we are.

`Built` is what is being built: one, which only grows. A `Build`, a value, says where we are in it;
who works something out elsewhere, in a step of a scan, hands on `replace(b, frame=...)`.

A name is bound once per scope. What it is bound to is worked out when it is first asked for, so
equations may stand in any order; who asks hands over his own `Build`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from dln.compiler import model
from dln.compiler.frontend.context.blaming import ActiveCall, Argument, Giving, endless, nothing
from dln.compiler.frontend.context.frame import Drawing, Frame, OpenLoop
from dln.compiler.frontend.context.outside import Outside
from dln.compiler.frontend.context.place import SPEC, BuildPlace, Missing, Shared, Space, replace
from dln.compiler.ir.graph import Node
from dln.compiler.ir.sizes import Size, Var
from dln.compiler.ir.tensor_type import Domain, Kind
from dln.compiler.ir.unit_group import UnitGroup
from dln.compiler.schema.keys import ProbeInput, Report
from dln.grammar import syntax
from dln.grammar.diagnostics import Fault, Source, Span
from dln.grammar.record import Record, bundle, field

Value: TypeAlias = object
"""What an expression may be: see `values`."""
MOST_WORK = 200_000  # expressions worked out in one build
DEEPEST_CALL = 200

# ---- names -------------------------------------------------------------------------------------


@bundle()
class Binding:
    """A name's meaning: a value (then it is `given`), or a rule that finds it for a frame.

    A `constant` may stand for a size in a port; any other name there is a dimension variable.
    """

    span: Span | None
    find: Callable[[Build], Value]
    static: bool = False
    constant: bool = False
    cache: dict[int, Value] = field(default_factory=dict)
    busy: bool = False
    given: tuple[Value, ...] = ()


@bundle()
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
        while scope is not None and name not in scope.names:
            scope = scope.parent
        return None if scope is None else scope.names[name]

    def outwards(self) -> Iterator[Scope]:
        """This scope and those around it, the innermost first."""
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.parent

    def visible(self) -> Iterator[str]:
        return (name for scope in self.outwards() for name in scope.names)

    def named(self, name: str) -> str:
        """The path of what is made here under a name."""
        return f"{self.path}.{name}" if self.path else name

    def value(self, name: str, value: Value, span: Span | None = None) -> None:
        """Bind a name to a value that is known already."""
        number = isinstance(value, int | Size)
        self.names[name] = Binding(span, lambda _: value, True, number, given=(value,))

    def child(self, path: str | None = None, space: Space | None = None) -> Scope:
        return Scope(self, self.path if path is None else path, space=space or self.space)


# ---- what is defined and made ------------------------------------------------------------------


class BlockDef(Record, eq=False):
    syntax: syntax.Block
    scope: Scope


class PortType(NamedTuple):
    """What a port of an instance takes: its running axes, its sizes and, if said, its domain."""

    running: tuple[str, ...]
    sizes: tuple[Size, ...]
    domain: Domain | None


@bundle()
class Instance:
    """A block with its options: the owner of its parameters.

    `scope` holds options, sizes, parameters and lets; `sizes` its dimension variables. `bodies`
    are its applications by frame, so `net.h` means the tensor of this phase; `latest` says with
    what they were made. `steps` is the length of the sequences that it was last applied to, `along`
    that of each port, `uneven` whether any ends before others; `groups` are the units of an energy,
    `uses` kinds and domains of the ports. `owner` has made it at `place`; `calls` led there.
    """

    definition: BlockDef
    path: str
    scope: Scope
    span: Span
    place: str = ""
    owner: Instance | None = None
    calls: tuple[ActiveCall, ...] = ()
    sizes: dict[str, Var] = field(default_factory=dict)
    bodies: dict[Frame, Scope] = field(default_factory=dict)
    latest: dict[Frame, Application] = field(default_factory=dict)
    memo: dict[tuple[object, ...], tuple[Value, object]] = field(default_factory=dict)
    ports: list[PortType] = field(default_factory=list)
    last: Scope | None = None
    steps: Size = field(default_factory=lambda: Size.of(1))
    along: dict[int, Size] = field(default_factory=dict)
    uneven: bool = False
    groups: list[UnitGroup] = field(default_factory=list)
    uses: dict[tuple[tuple[Kind, Domain | None], ...], None] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.definition.syntax.name

    @property
    def making(self) -> tuple[ActiveCall, ...]:
        """The calls that led to this instance, and that which made it."""
        body = self.definition.syntax.span
        return (*self.calls, ActiveCall(self.span, self.name, body, self.argument))

    def argument(self, name: str) -> Argument | None:
        """What an option was given, if it has been asked for by now."""
        found = self.scope.names.get(name)
        if found is None or found.span is None:
            return None
        return Argument(found.span, next(iter(found.cache.values()), None))

    def within(self, other: Instance) -> bool:
        """Whether this is another instance, or one that was made in it."""
        return self is other or (self.owner is not None and self.owner.within(other))

    @property
    def timed(self) -> bool:
        """Whether it takes sequences."""
        return any("time" in port.running for port in self.ports)


class Application(Record, eq=False):
    """An instance applied to ports, with the parameters that steps had moved by then."""

    ports: tuple[Node, ...]
    version: int
    params: Mapping[str, Node]


@bundle(frozen=True)
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


# ---- what is being built -----------------------------------------------------------------------


@bundle()
class Owned:
    """The instances made, by path, with the chains; their parameters and who owns each. `inits` and
    `requirements` wait until all sizes are known."""

    instances: dict[str, Instance] = field(default_factory=dict)
    chains: dict[str, list[Chain]] = field(default_factory=dict)
    params: dict[str, model.Parameter] = field(default_factory=dict)
    owners: dict[str, Instance] = field(default_factory=dict)
    inits: list[Callable[[Build], None]] = field(default_factory=list)
    requirements: list[Callable[[], None]] = field(default_factory=list)


@bundle()
class DataSets:
    """The data sets that have been looked into, all that are declared, fields that failed, those in
    whose place files are `given`. `tables`, and arrays with named classes, by raw."""

    sets: dict[str, model.DataSet] = field(default_factory=dict)
    declared: dict[Binding, syntax.Data] = field(default_factory=dict)
    broken: dict[str, list[str]] = field(default_factory=dict)
    given: set[str] = field(default_factory=set)
    tables: dict[Node, object] = field(default_factory=dict)

    def alphabets(self, size: int | None) -> dict[str, model.DataSet]:
        """The texts whose alphabets have so many characters, by alphabet."""
        return {d.alphabet: d for d in self.sets.values() if d.alphabet and len(d.alphabet) == size}


@bundle()
class Phases:
    """The phases made, by name, and all tried. `scopes` are the names of the body of each with the
    frame in which it is asked; `probes` what is asked of them. `sloped` are parameters in which a
    loss has a slope; `idle` those with none; `latest` reports of several numbers, `ranges` of all.
    """

    made: dict[str, model.Phase] = field(default_factory=dict)
    tried: set[str] = field(default_factory=set)
    groups: set[str] = field(default_factory=set)
    scopes: dict[str, tuple[Scope, Frame]] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    probes: dict[ProbeInput, model.Probe] = field(default_factory=dict)
    sloped: set[str] = field(default_factory=set)
    idle: list[tuple[Span, Span, list[str]]] = field(default_factory=list)
    latest: dict[Node, tuple[Report, model.Watching]] = field(default_factory=dict)
    ranges: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)


@bundle(kw_only=True)
class Built(Shared):
    """What is being built. By the class of the syntax `rules` say what an expression means and
    `binders` what a statement binds. `sources` and `drawings` are the files that were read.

    Of the `constants` those are `used` that were given from outside; `missing` are names that there
    are not. Of what is defined `met` was worked out, by the identity of its syntax; `typed` keeps
    what blocks gave, `applied` counts applications.
    """

    outside: Outside
    rules: Mapping[type, Callable[..., Value]]
    binders: Mapping[type, Callable[..., None]]
    sources: dict[str, Source] = field(default_factory=dict)
    drawings: dict[str, Source] = field(default_factory=dict)
    constants: dict[str, object] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    missing: Missing = field(default_factory=Missing)
    owned: Owned = field(default_factory=Owned)
    data: DataSets = field(default_factory=DataSets)
    phases: Phases = field(default_factory=Phases)
    checks: list[model.Checking] = field(default_factory=list)
    tasks: dict[str, model.Tasking] = field(default_factory=dict)
    sweeps: dict[str, model.Sweeping] = field(default_factory=dict)
    met: set[int] = field(default_factory=set)
    typed: dict[object, Any] = field(default_factory=dict)
    applied: int = 0
    work: int = 0


# ---- where we are ------------------------------------------------------------------------------


@bundle()
class Naming:
    """The path of the next instance made here: `net.h`, or `net.y[0]`, `net.y[1]`; the instance in
    whose equations that is, and where these stand. A statement such as `minimize` binds no name."""

    path: str = "anonymous"
    owner: Instance | None = None
    space: Space = SPEC
    many: bool = False
    drawn: Naming | None = None
    used: int = 0
    chains: int = 0

    def take(self) -> str:
        self.used += 1
        if self.many:
            return f"{self.path}[{self.used - 1}]"
        return self.path if self.used == 1 else f"{self.path}_{self.used}"

    def chain(self) -> str:
        """The path of the next chain made here, of which what it makes has a part."""
        self.chains += 1
        return self.path if self.chains == 1 else f"{self.path}_{self.chains}"

    def part(self, suffix: str = "", many: bool = False) -> Naming:
        """The naming of a part of what stands here."""
        drawn = None if self.drawn is None else self.drawn.part(suffix)
        return Naming(self.path + suffix, self.owner, self.space, many, drawn)

    def of_chain(self, chain: Chain, number: int) -> Naming:
        """The naming of what a part of a chain makes, where the chain is applied: each place draws
        for itself."""
        drawn = self.drawn or self
        return Naming(f"{chain.path}[{number}]", chain.owner, chain.space, drawn=drawn)


class TimeMode(Record, eq=False, kw_only=True):
    """How equations stand to time.

    `loop` is the one whose step is worked out here, and `in_step` says that there is any. In a
    one-step form (`stepping`) equations see the element at hand of a sequence; `entered` is the
    instance that moves on. One that is `reading` leaves what it carries for the first step.
    `mapped` equations are written for one step, and done at each. `round` are the numbers of steps
    that are written out; `stretch` is the step or round of a phase.
    """

    loop: OpenLoop | None = None
    in_step: bool = False
    stepping: bool = False
    entered: Instance | None = None
    reading: bool = False
    mapped: bool = False
    round: tuple[int, ...] = ()
    stretch: str = ""


@bundle(frozen=True, kw_only=True)
class Build(BuildPlace):
    """Where we are in a build. `naming` is what instances made here are called, `drawing` what is
    drawn here; `claims` takes what is asserted of data, `bracket` is the index around us."""

    built: Built
    frame: Frame
    naming: Naming
    time: TimeMode = TimeMode()
    drawing: Drawing | None = None
    claims: list[model.FieldOf] | None = None
    bracket: syntax.Index | None = None

    outside: Outside = field(init=False)
    owned: Owned = field(init=False)
    data: DataSets = field(init=False)
    phases: Phases = field(init=False)

    def evaluate(self, expr: syntax.Syntax, scope: Scope) -> Value:
        """The value of an expression in a scope; what an operation refuses gets its place."""
        built = self.built
        built.work += 1
        if built.work > MOST_WORK:
            self.spend(0, expr.span)
        try:
            return built.rules[type(expr)](self, expr, scope)
        except Fault as fault:
            code = fault.code if fault.code < "E5" else "E299"
            self.fail(code, fault.message, expr.span, remedy=fault.remedy)

    def spend(self, work: int, span: Span) -> None:
        """Count work, as a multiple of an expression's, before it is done."""
        self.built.work += work
        if self.built.work > MOST_WORK:
            text = f"this spec takes more than {MOST_WORK:,} steps to read"
            self.fail("E316", text, span, "was worked out too often")

    def bind(self, body: Sequence[syntax.Item | syntax.Stmt], scope: Scope) -> None:
        """Bind the names that some statements define; each is worked out when it is first asked
        for."""
        for st in body:
            if (binder := self.built.binders.get(type(st))) is not None:
                binder(self, st, scope)

    @contextlib.contextmanager
    def call(
        self, span: Span, name: str, body: Span | None = None, given: Giving = nothing
    ) -> Iterator[Build]:
        """Inside a function or block that was called at a place. See `blaming.ActiveCall`."""
        if len(self.calls) >= DEEPEST_CALL:
            raise endless(self.calls, name, span)
        try:
            yield replace(self, calls=(*self.calls, ActiveCall(span, name, body, given)))
        except RecursionError:
            raise endless(self.calls, name, span) from None

    def site(self, path: str) -> str:
        """The place of a draw in an equation at a path. A phase, task or check has its own draws
        under its own name; what is drawn in an instance is told apart by where it is used."""
        home, space = self.frame.site, (self.naming.drawn or self.naming).space
        own = self.frame.alone
        if space != SPEC:
            own = home == space.path or home.startswith(f"{space.path}[")
        return path if own and path.startswith((f"{home}.", f"{home}[")) else f"{home}.{path}"
