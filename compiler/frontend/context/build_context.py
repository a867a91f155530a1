"""What building carries along: the graph, the sizes, the problems found, and where we are.

`Build` is the only mutable object of the build stage. Its `fail` turns a fact into a `Problem`
with the line of the user's own file first and the library's second.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any, NoReturn

from dln.compiler.frontend.context.values import SPEC, Binding, Chain, Frame, Instance, Scope, Space
from dln.compiler.ir.graph import Graph, Node
from dln.compiler.ir.op import Make
from dln.compiler.ir.sizes import Conflict, Reason, Size, Sizes, Var
from dln.compiler.ir.tensor_type import TensorType
from dln.compiler.model import DataSet, FieldOf, Parameter, Probe
from dln.grammar import syntax
from dln.grammar.diagnostics import DlnError, Note, Problem, Problems, Source, Span


class Poisoned(Exception):
    """Something that failed before is asked for again: its problem has been reported."""


def poison() -> NoReturn:
    """The finder of a name whose meaning failed."""
    raise Poisoned


@dataclass
class Naming:
    """The path that the next instance made here gets: `net.h`, or `net.y[0]`, `net.y[1]`; the
    instance in whose equations that is, and where these stand."""

    path: str
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

    @staticmethod
    def unnamed(space: Space) -> Naming:
        """The naming of a statement that binds no name, such as `minimize`."""
        return Naming("anonymous", None, space)

    def part(self, suffix: str = "", many: bool = False) -> Naming:
        """The naming of a part of what stands here."""
        drawn = None if self.drawn is None else self.drawn.part(suffix)
        return Naming(self.path + suffix, self.owner, self.space, many, drawn)

    def of_chain(self, chain: Chain, number: int) -> Naming:
        """The naming of what a part of a chain makes, where the chain is applied: each place draws
        for itself."""
        drawn = self.drawn or self
        return Naming(f"{chain.path}[{number}]", chain.owner, chain.space, drawn=drawn)


@dataclass
class Drawing:
    """What a distribution in a `~` line draws: the place's path and, if declared, the shape."""

    site: str
    shape: tuple[Size, ...] | None
    used: int = 0

    def take(self) -> str:
        self.used += 1
        return self.site if self.used == 1 else f"{self.site}#{self.used}"


@dataclass
class Build:
    """The state of one build. See the module's docstring."""

    source: Source
    overrides: Mapping[str, object]
    data_paths: Mapping[str, str]
    probe: Callable[[Any], Any]
    graph: Graph = field(default_factory=Graph)
    sizes: Sizes = field(default_factory=Sizes)
    problems: Problems = field(default_factory=Problems)
    sources: dict[str, Source] = field(default_factory=dict)
    drawings: dict[str, Source] = field(default_factory=dict)
    constants: dict[str, object] = field(default_factory=dict)
    used_overrides: set[str] = field(default_factory=set)
    params: dict[str, Parameter] = field(default_factory=dict)
    owners: dict[str, Instance] = field(default_factory=dict)
    inits: list[Callable[[], None]] = field(default_factory=list)
    requirements: list[Callable[[], None]] = field(default_factory=list)
    instances: dict[str, Instance] = field(default_factory=dict)
    chains: dict[str, list[Chain]] = field(default_factory=dict)
    data: dict[str, DataSet] = field(default_factory=dict)
    data_sets: dict[Binding, syntax.Data] = field(default_factory=dict)
    phases: dict[str, Any] = field(default_factory=dict)
    tried: set[str] = field(default_factory=set)
    phase_groups: set[str] = field(default_factory=set)
    phase_scopes: dict[str, tuple[Scope, Frame]] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    broken_fields: dict[str, list[str]] = field(default_factory=dict)
    probes: dict[str, Probe] = field(default_factory=dict)
    load: Callable[[str, Source, Span], tuple[Source, Any]] | None = None
    text_file: Callable[[str, str], Source] = field(default=lambda name, base: Source(name, ""))
    notes: list[str] = field(default_factory=list)
    calls: list[tuple[Span, str]] = field(default_factory=list)
    naming: Naming = field(default_factory=lambda: Naming.unnamed(SPEC))
    drawing: Drawing | None = None
    claims: list[FieldOf] | None = None
    given: tuple[tuple[Any, Span], ...] = ()
    loop: Any = None
    in_step: bool = False
    bracket: syntax.Index | None = None
    round: tuple[int, ...] = ()
    stretch: str = ""
    drawn: dict[Node, Any] = field(default_factory=dict)
    stepping: bool = False
    reading: bool = False
    entered: Any = None
    standing: dict[Node, tuple[bool, bool]] = field(default_factory=dict)
    mapped: bool = False
    work: int = 0
    failures: int = 0
    missing: set[str] = field(default_factory=set)
    limit: int | None = None
    extents: dict[Var, Any] = field(default_factory=dict)
    extent_sizes: dict[tuple[Node, int], Size] = field(default_factory=dict)
    counter: Iterator[int] = field(default_factory=lambda: count(1))
    evaluate: Callable[[Any, Scope], Any] = field(default=lambda expr, scope: None)

    def __post_init__(self) -> None:
        self.make = Make(self.graph)
        self.frame = Frame("static", 0)
        self.sources[self.source.path] = self.source

    # ---- where we are --------------------------------------------------------------------------

    @contextlib.contextmanager
    def within(self, **changes: Any) -> Iterator[None]:
        """Some of the state changed for a while: `with b.within(frame=...)`."""
        old = {k: getattr(self, k) for k in changes}
        for k, v in changes.items():
            setattr(self, k, v)
        try:
            yield
        finally:
            for k, v in old.items():
                setattr(self, k, v)

    @contextlib.contextmanager
    def call(self, span: Span, name: str) -> Iterator[None]:
        """Inside a function or block that was called at `span`."""
        if len(self.calls) >= 200:
            self.fail("E320", f"{name} calls itself without end", span, "200 calls deep")
        self.calls.append((span, name))
        try:
            yield
        except RecursionError:
            self.fail("E320", f"{name} calls itself without end", span, "too many calls deep")
        finally:
            self.calls.pop()

    def at(self, span: Span) -> Make:
        """The graph's maker, set to a place: the user's own line first, then the library's."""
        self.make.spans = self.places(span)
        return self.make

    def places(self, span: Span) -> tuple[Span, ...]:
        """The user's line that led here, and the place itself."""
        if span.source is self.source:
            return (span,)
        mine = [s for s, _ in self.calls if s.source is self.source]
        return (mine[-1], span) if mine else (span,)

    def site(self, path: str) -> str:
        """The place of a draw in an equation at a path. A phase, task or check has its own draws
        under its own name; what is drawn in an instance is told apart by where it is used."""
        home, space = self.frame.site, (self.naming.drawn or self.naming).space
        own = self.frame.kind == "apply"
        if space != SPEC:
            own = home == space.path or home.startswith(f"{space.path}[")
        return path if own and path.startswith((f"{home}.", f"{home}[")) else f"{home}.{path}"

    def new_frame(self, kind: str, **facts: Any) -> Frame:
        return Frame(kind, next(self.counter), **facts)

    # ---- saying what is wrong ------------------------------------------------------------------

    def fail(
        self,
        code: str,
        message: str,
        span: Span | None,
        label: str = "",
        notes: tuple[Note, ...] = (),
        remedy: str = "",
        facts: tuple[str, ...] = (),
    ) -> NoReturn:
        """Raise a problem at a place."""
        if span is not None and span.source is not self.source:
            mine = [s for s, _ in self.calls if s.source is self.source]
            if mine:
                notes = (Note(span, label or "here"), *notes)
                name = [n for s, n in self.calls if s is mine[-1]][-1]
                span, label = mine[-1], f"in {name}, called here"
        raise DlnError([Problem(code, message, span, label, notes, facts, remedy)])

    def note(self, text: str) -> None:
        """Something that `dln check` tells, once."""
        if text not in self.notes:
            self.notes.append(text)

    def blame(self, value: Any, span: Span) -> Span:
        """The argument of the innermost call that brought a value, else the place itself."""
        return next((at for v, at in self.given if v is value), span)

    @contextlib.contextmanager
    def collecting(self) -> Iterator[None]:
        """Errors inside are collected, so that the rest of the spec is still read."""
        try:
            yield
        except DlnError as error:
            self.failures += 1
            self.report(error)
        except Poisoned:
            self.failures += 1

    def report(self, error: DlnError) -> None:
        """Keep the problems of an error, one for each place: a fault inside a `for` or in a block
        that is used often is found again and again."""
        seen = {p.span for p in self.problems.found if p.span is not None}
        self.problems.add(DlnError(p for p in error.problems if p.span not in seen))

    # ---- sizes ---------------------------------------------------------------------------------

    def equate(
        self,
        left: Size,
        right: Size,
        reason: Reason,
        fail: Callable[[Any], NoReturn],
    ) -> None:
        """Demand equal sizes; `fail` turns the conflict into a problem. It may be found later, by
        another equation or at the end: it is then said as it would have been here."""
        calls, given = list(self.calls), self.given

        def said(conflict: Conflict) -> NoReturn:
            with self.within(calls=calls, given=given):
                fail(conflict)
            raise AssertionError("a conflict of sizes is a problem")

        conflict = self.sizes.equate(left, right, reason, said)
        if conflict is not None:
            (conflict.said or fail)(conflict)

    def settle_sizes(self) -> None:
        """Say which sizes no whole numbers solve, now that all equations are known."""
        for conflict in self.sizes.settle():
            with self.collecting():
                assert conflict.said is not None
                conflict.said(conflict)

    def proof_notes(self, *sizes: Size, skip: Span | None = None) -> tuple[Note, ...]:
        """The places that fixed some sizes, as notes; at most one for each line."""
        found: list[Note] = []
        for size in sizes:
            for reason in self.sizes.proof(size)[:2]:
                span = reason.span
                if span is None or span == skip or any(n.span == span for n in found):
                    continue
                found.append(Note(span, reason.text))
        return tuple(found)

    def shown(self, type: TensorType) -> str:
        """A type as the user should read it: sizes resolved, batch left unsaid."""
        axes = [r.split(".")[0] for r in type.running if r != "batch"]
        axes += [str(self.sizes.resolve(s)) for s in type.example]
        return f"[{', '.join(axes)}]" if axes else "a single number"

    def resolve(self, size: Size) -> Size | int:
        """A size as a number where it is known."""
        size = self.sizes.resolve(size)
        return size if size.value is None else size.value

    def mark(self, node: Node, span: Span, name: str | None = None) -> Node:
        """Remember where a node comes from and what it is called."""
        self.graph.mark(node, self.places(span), name)
        return node
