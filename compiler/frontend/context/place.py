"""A place in the text of a spec: what is made from there, and how a mistake is told.

`Shared` is what all of a build works on and only grows: the graph, the sizes, the problems found.
A `BuildPlace` is a value. It says by which calls one has come here, so that a `Problem` names the
line of the user's own file first and the library's second, however late it is found.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from dln.compiler.frontend.context import blaming
from dln.compiler.ir.graph import Graph, Node
from dln.compiler.ir.op import Make
from dln.compiler.ir.sizes import Conflict, Reason, Size, Sizes, Var
from dln.compiler.ir.structure import is_input, is_param
from dln.compiler.ir.tensor_type import TensorType, spoken
from dln.grammar.diagnostics import (
    MOST_FOUND,
    TWICE,
    DlnError,
    Note,
    Problem,
    Problems,
    Source,
    Span,
)
from dln.grammar.record import Record, bundle, field, not_given

if TYPE_CHECKING:
    from dataclasses import replace as replace
else:

    def replace(old, /, **changes):
        """A frozen value with some fields changed.

        Where we are in a spec changes with every name, call and list. `dataclasses.replace` goes
        through all fields one by one, which takes a twentieth of the time that a spec is read in;
        this copies them at once. For the type checker it is the same.
        """
        new = object.__new__(old.__class__)
        new.__dict__.update(old.__dict__)
        new.__dict__.update(changes)
        return new


NoShape: TypeAlias = Callable[[Conflict | None], NoReturn]
"""How it is said that two shapes differ: in a size, or in how many axes they have."""


OF_SIZES = ("E209", "E336")
"""Sizes that are not known, as they are after anything that failed."""


class Poisoned(Exception):
    """Something that failed before is asked for again: its problem has been reported."""


class Enough(Exception):
    """So many problems have been found that no more are looked for."""


NEAREST = 5  # operations from a tensor to what is declared
DECLARED = re.compile(r"\w+(\[[^\]]*\])?(: \w+(\([^()]*\))?)?")
OPEN = ("E209", "E217", "E336", "E338", "E339")
"""What is said of a size that is not known: nothing is wrong where nobody has said it yet."""


def poison(asker: object) -> NoReturn:
    """The finder of a name whose meaning failed."""
    raise Poisoned


class Numbers:
    """Whole numbers, each once: `last` is the latest."""

    def __init__(self) -> None:
        self.last = 0

    def __iter__(self) -> Numbers:
        return self

    def __next__(self) -> int:
        self.last += 1
        return self.last


@bundle()
class Missing:
    """Names of which it has been said that there are none, each with the places that ask for it.
    Where a used file is `lost`, any name may be one of its."""

    places: dict[str, dict[Span, None]] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    lost: bool = False

    def asked(self, key: str, message: str, span: Span) -> bool:
        """Whether a name is asked for that was missing before; if not, the `message` is new."""
        known = key in self.places
        self.places.setdefault(key, {})[span] = None
        self.keys.setdefault(message, key)
        return known

    def told(self, found: Sequence[Problem]) -> list[Problem]:
        """Problems as they are told: of a missing name at the first place, with how many others
        there are; sizes that are not known only where nothing else is wrong."""
        causes = [p for p in found if p.code not in OF_SIZES] or found
        words = {p.span.line for p in causes if p.code == "E507" and p.span is not None}
        causes = [
            p for p in causes if p.code != "E310" or not words & {n.span.line for n in p.notes}
        ]
        return [self._counted(p) for p in causes]

    def _counted(self, found: Problem) -> Problem:
        places = self.places.get(self.keys.get(found.message, ""), {})
        if found.span not in places or found.span is None or len(places) < 2:
            return found
        here = sorted((p for p in places if p.source is found.span.source), key=lambda p: p.start)
        lines = [str(n) for n in dict.fromkeys(p.line for p in here[1:])]
        many = f"{len(places) - 1:,} other places" if len(places) > 2 else "one other place"
        on = f"line{'s' * (len(lines) > 1)} {', '.join(lines[:6])}{', ...' * (len(lines) > 6)}"
        fact = f"and at {many}, on {on}"
        return dataclasses.replace(found, span=here[0], facts=(*found.facts, fact))


class Space(Record):
    """Where equations stand: in the spec's definitions, or in a phase, task or check of a name."""

    kind: str = "spec"
    path: str = ""


SPEC = Space()


class Extent(Record):
    """How many elements of an axis each example has, from its beginning; at least so many."""

    count: Node
    least: int


@bundle()
class NodeFacts:
    """What is known of nodes and not written in the graph: the loop whose step made a draw, by its
    number; what a value of a one-step form stands for; the extents of axes, and their sizes; the
    names of draws of which nobody says how many numbers they are; the sizes of axes of which an
    equation knew nothing but their indices, as numbers, each with its place; the sequences of scans
    that are not just what a loop leaves: that, and whether they are that backwards."""

    drawn: dict[Node, int] = field(default_factory=dict)
    standing: dict[Node, tuple[bool, bool]] = field(default_factory=dict)
    extents: dict[Var, Extent] = field(default_factory=dict)
    extent_sizes: dict[tuple[Node, int], Size] = field(default_factory=dict)
    single: dict[Node, Span] = field(default_factory=dict)
    counted: dict[Var, Span] = field(default_factory=dict)
    sequences: dict[Node, tuple[Node, bool]] = field(default_factory=dict)


@bundle(kw_only=True)
class Shared:
    """What all of a build works on. `failures` counts what has failed, reported or not. In a
    `rehearsal` definitions are worked out of which nobody says what they are given."""

    source: Source
    graph: Graph = field(default_factory=Graph)
    sizes: Sizes = field(default_factory=Sizes)
    facts: NodeFacts = field(default_factory=NodeFacts)
    problems: Problems = field(default_factory=Problems)
    notes: list[str] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    counter: Numbers = field(default_factory=Numbers)
    failures: int = 0
    rehearsal: bool = False


@bundle(frozen=True, kw_only=True)
class BuildPlace:
    """Where we are in the text: `calls` led here; `given` are the arguments of the function of the
    language itself that is at work, with the places where they stand. The rest is that of `built`,
    at hand here as well; `make` makes nodes that stand for no place, as zeros and how long
    sequences are."""

    built: Shared
    calls: tuple[blaming.ActiveCall, ...] = ()
    given: tuple[tuple[object, Span], ...] = ()

    source: Source = field(init=False)
    graph: Graph = field(init=False)
    make: Make = field(init=False)
    sizes: Sizes = field(init=False)
    facts: NodeFacts = field(init=False)
    problems: Problems = field(init=False)
    counter: Numbers = field(init=False)

    def __post_init__(self) -> None:
        shared = (name for name in not_given(type(self)) if name != "make")
        self.__dict__.update({name: getattr(self.built, name) for name in shared})
        self.__dict__["make"] = Make(self.graph)

    # ---- nodes ---------------------------------------------------------------------------------

    def at(self, span: Span) -> Make:
        """Who makes nodes for a place: for the user's own line first, then for the library's."""
        return Make(self.built.graph, self.places(span))

    def places(self, span: Span) -> tuple[Span, ...]:
        """The user's line that led here, and the place itself."""
        if span.source is self.built.source:
            return (span,)
        call = blaming.own_call(self.calls, self.built.source)
        return (span,) if call is None else (call.span, span)

    def argument(self, span: Span) -> Span:
        """Where the user gave what a library's function or block calls by a name; elsewhere the
        place itself."""
        source = self.built.source
        found = [] if span.source is source else blaming.origins(self.calls, span)
        return found[-1].span if found and found[-1].span.source is source else span

    def mark(self, node: Node, span: Span, name: str | None = None) -> Node:
        """Remember where a node comes from and what it is called."""
        self.built.graph.mark(node, self.places(span), name)
        return node

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
        ways: tuple[tuple[Span, str], ...] = (),
        about: Sequence[Node] = (),
    ) -> NoReturn:
        """Raise a problem at a place. In the body of a function or block it stands at the argument
        that is to blame, else at the user's own line that led there. Where it is `about` the sizes
        of tensors, the lines that declare them are shown."""
        if about and span is not None and span.source is self.source:
            notes = (*notes, *self._declarations(about, {span.line, *(n.span.line for n in notes)}))
        if self.built.rehearsal and code in OPEN:
            raise Poisoned
        if span is not None and not remedy and any(n.span.repeats(span) for n in notes):
            remedy = TWICE
        found = Problem(code, message, span, label, notes, facts, remedy, ways=ways)
        raise DlnError([found if span is None else blaming.blamed(found, self.calls, self.source)])

    def _declarations(self, about: Sequence[Node], told: set[int]) -> Iterator[Note]:
        """The lines, but for those that are told, on which the user declares the parameters and
        fields that some tensors are nearest to."""
        for node in about:
            layer = [node]
            for _ in range(NEAREST):
                if found := [n for n in layer if is_param(n) or is_input(n)]:
                    break
                layer = [n for x in layer for n in x.operands]
            else:
                continue
            for leaf in found[:2]:
                at = next(iter(self.graph.spans.get(leaf, ())), None)
                if at is None or at.source is not self.source or at.line in told:
                    continue
                head = DECLARED.match(at.text)
                if head is not None and (head[1] or head[2]):
                    told.add(at.line)
                    place = Span(at.source, at.start, at.start + head.end())
                    size = f"{self.shown(leaf.type)}, " if leaf.type.kind != "index" else ""
                    yield Note(place, f"is {size}declared here")

    def refuse_again(self, message: str, span: Span, first: Span) -> NoReturn:
        """Raise a problem for what stands once, and has stood before."""
        self.fail("E334", message, span, "again", (Note(first, "first here"),))

    def warn(self, code: str, message: str, span: Span, **more: Any) -> None:
        """What is read as it is written, and is likely wrong: said once for a place."""
        if all((w.code, w.span) != (code, span) for w in self.built.warnings):
            self.built.warnings.append(Problem(code, message, span, word="warning", **more))

    def note(self, text: str) -> None:
        """Something that `dln check` tells, once."""
        if text not in self.built.notes:
            self.built.notes.append(text)

    def blame(self, value: object, span: Span) -> Span:
        """The argument of the innermost call that brought a value, else the place itself."""
        return next((at for v, at in self.given if v is value), span)

    @contextlib.contextmanager
    def collecting(self) -> Iterator[None]:
        """Errors inside are collected, so that the rest of the spec is still read; one for each
        place, for a fault inside a `for` or in a block that is used often is found again and again.
        """
        try:
            yield
        except DlnError as error:
            self.built.failures += 1
            fresh = (p for p in error.problems if not p.span or p.span not in self.problems.places)
            self.problems.add(DlnError(fresh))
            if len(self.problems.found) >= MOST_FOUND:
                raise Enough from None
        except Poisoned:
            self.built.failures += 1

    # ---- sizes ---------------------------------------------------------------------------------

    def equate(
        self, left: Size, right: Size, span: Span, why: str, fail: Callable[[Conflict], NoReturn]
    ) -> None:
        """Demand equal sizes; `fail` turns the conflict into a problem. It may be found later, by
        another equation or at the end: it is then said as it would have been here."""
        if left == right:
            return
        if self.facts.counted and self.facts.extents:
            self._refuse_counted(left, right, span)
        conflict = self.sizes.equate(left, right, Reason(span, why), fail)
        if conflict is not None:
            (conflict.said or fail)(conflict)

    def _refuse_counted(self, left: Size, right: Size, span: Span) -> None:
        """What an equation has counted without a word of which sequence it is along is as long as
        that has room for, and does not end with each."""
        for mine, other in ((left, right), (right, left)):
            ends = [v for v, _ in other.terms if v in self.facts.extents]
            free = [v for v, _ in self.sizes.resolve(mine).terms if v in self.facts.counted]
            if ends and free:
                at, text = self.facts.counted[free[0]], "this axis does not end with each sequence"
                label = f"only counts {free[0]}, along no sequence"
                notes = (Note(span, "has sequences of unequal lengths"),)
                i = free[0]
                fact = f"as [{i} in time, ...], or beside a sequence, x[{i}, 0] * {i}, it does"
                self.fail("E220", text, at, label, notes, facts=(fact,))

    def same_shape(
        self, left: Sequence[Size], right: Sequence[Size], span: Span, why: str, fail: NoShape
    ) -> None:
        """Demand equal shapes: as many axes, and each of the same size."""
        if len(left) != len(right):
            fail(None)
        for x, y in zip(left, right, strict=True):
            self.equate(x, y, span, why, fail)

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
        axes = [spoken(r) for r in type.running if r != "batch"]
        axes += [str(self.sizes.resolve(s)) for s in type.example]
        return f"[{', '.join(axes)}]" if axes else "a single number"

    def resolve(self, size: Size) -> Size | int:
        """A size as a number where it is known."""
        size = self.sizes.resolve(size)
        return size if size.value is None else size.value

    def number(self, size: Size | None) -> int | None:
        """The number that a size is known to be; None where it is not, or where there is none."""
        return None if size is None else self.sizes.resolve(size).value
