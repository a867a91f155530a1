"""Whose values equations are worked out with: a frame, and what a phase or a loop keeps in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from dln.compiler.frontend.context.blaming import ActiveCall
from dln.compiler.ir.graph import Node, ancestors
from dln.compiler.ir.op import Make
from dln.compiler.ir.sizes import BATCH, BATCH_SIZE, Size
from dln.compiler.ir.structure import is_draw, is_element
from dln.compiler.ir.tensor_type import TensorType
from dln.compiler.schema.keys import Key
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Span
from dln.grammar.record import bundle, field


class Remembered(Key):
    """What a sequence was so many steps ago, by the path of its equations and its name; of one from
    outside also which scan has looked at it, by the first name that it defines."""

    path: str
    name: str
    lag: int
    scan: str = ""

    def __str__(self) -> str:
        return f"{self.path}.{self.spoken}-{self.lag}"

    @property
    def spoken(self) -> str:
        """What it is called in a loop."""
        return f"{self.name} for {self.scan}" if self.scan else self.name


@bundle()
class PhaseStates:
    """The states of one phase by path: first values, new values, and where each is declared and
    set. `classes` are the fields of its data that hold classes, some of which run over time
    (`timed`); of those that are `weighed` a state holds the weights, with the first value of it."""

    first: dict[str, Node] = field(default_factory=dict)
    after: dict[str, Node] = field(default_factory=dict)
    declared: dict[str, Span] = field(default_factory=dict)
    places: dict[str, Span] = field(default_factory=dict)
    phase: str = ""
    classes: tuple[str, ...] = ()
    timed: tuple[str, ...] = ()
    weighed: dict[str, tuple[str, Node]] = field(default_factory=dict)


@bundle()
class StreamStates:
    """What a stream of `rows` rows carries from window to window, by path: the values that its
    scans end with, before a window and after it.

    Each is a state of the phase, in the shape for as many rows as are read side by side. It begins
    as zeros, at the first window and again whenever the rows start anew. No gradient runs through
    it, so back-propagation is cut at the window's beginning.
    """

    site: str
    rows: int
    before: dict[str, Node] = field(default_factory=dict)
    after: dict[str, Node] = field(default_factory=dict)

    def begin(self, make: Make, key: str, type: TensorType) -> Node:
        """What is carried into the window, as a value of the phase's batch."""
        path = f"{self.site}.carried:{key}"
        held = TensorType(tuple(self.fixed(s) for s in type.shape), (), type.kind, type.domain)
        if path not in self.before:
            node = make("state", path=path, type=held, asked=True)  # by watches too
            make.graph.mark(node, make.spans, path)
            self.before[path] = node
        return make("reshape", self.before[path], shape=type.shape, running=type.running)

    def end(self, make: Make, key: str, node: Node) -> None:
        """What is carried out of it. The first loop over the window says it; later ones, after
        the parameters have moved, do not count."""
        path = f"{self.site}.carried:{key}"
        if path in self.before and path not in self.after:
            shape = self.before[path].type.shape
            self.after[path] = make("reshape", node, shape=shape, running=())

    def fixed(self, size: Size) -> Size:
        """A size with the number of rows for that of the examples."""
        grows = dict(size.terms)
        times = grows.pop(BATCH, 0)
        return Size(size.constant + times * self.rows, tuple(grows.items()))

    def first(self, make: Make) -> dict[str, Node]:
        """Zeros, as each state begins."""
        return {path: make.zeros(self.before[path].type) for path in self.after}

    def shapes(self) -> dict[str, tuple[Size, ...]]:
        return {path: self.before[path].type.shape for path in self.after}


@bundle()
class OpenLoop:
    """A loop whose step is being worked out: what is drawn and remembered in the step is its own.

    `index` is what the spec calls the step. `slots` hold what sequences were, by name and how many
    steps ago; `memory` what one-step forms inside leave, each as its slot and its first value, and
    `now` what is left of it by now. `holds` says that there is a scan inside the step. In windows
    `cut` gives a value of so many steps ago as what it is there: no gradient leaves a window.
    """

    number: int
    index: str
    span: Span
    slots: dict[tuple[str, int], Node] = field(default_factory=dict)
    memory: dict[Remembered, tuple[Node, Node]] = field(default_factory=dict)
    now: dict[Remembered, Node] = field(default_factory=dict)
    holds: bool = False
    cut: Callable[[Node, int], Node] | None = None

    def touches(self, nodes: Iterable[Node], drawn: dict[Node, int]) -> bool:
        """Whether some values belong to the step at hand. `drawn` says which loop made a draw."""
        own = {*self.slots.values(), *(held for held, _ in self.memory.values())}
        return any(
            n in own
            or (is_element(n) and n["loop"] == self.number)
            or (is_draw(n) and drawn.get(n) == self.number)
            for n in ancestors(nodes)
        )


class OwnUpdate(NamedTuple):
    """An `update` line of a block, at one application: with which parameters, what the block gave,
    the calls that led there, and what works out an expression in it."""

    version: int
    results: tuple[Node, ...]
    line: s.Update
    calls: tuple[ActiveCall, ...]
    look: Callable[[s.Expr], object]


@bundle()
class Frame:
    """Where expressions are being worked out: a phase, a watch, a check, an initial value.

    `version` changes whenever a parameter gets a new value, so nothing stale is remembered. `alone`
    where an instance is laid out by itself, as Python applies it.
    `carry` takes what scans leave from one window of a stream to the next, `kept` holds the states
    of the phase;
    `memory` holds what one-step forms have left; what of it is not there yet is `asked` for, where
    Python keeps it: its first value and the input that will hold it.
    `own_updates` are the lines of `update` of the blocks that were applied where a phase learns;
    `masks` are the places that drew one, by the path of their equation, each with the step or round
    and its calls. Where a phase trains, `heard` are the watches
    whose reports its equations use.
    """

    version: int
    site: str = ""
    training: bool = False
    batched: bool = False
    alone: bool = False
    params: dict[str, Node] = field(default_factory=dict)
    own_updates: list[OwnUpdate] = field(default_factory=list)
    carry: StreamStates | None = None
    kept: PhaseStates | None = None
    memory: dict[Remembered, Node] = field(default_factory=dict)
    asked: dict[Remembered, tuple[Node, Node]] | None = None
    masks: dict[str, list[tuple[object, ...]]] = field(default_factory=dict)
    heard: list[str] | None = None

    @property
    def number(self) -> TensorType:
        """The type of one number for each example."""
        return TensorType((BATCH_SIZE,), ("batch",)) if self.batched else TensorType(())

    def remember(
        self,
        body: Iterable[s.Stmt],
        results: Iterable[Node],
        calls: tuple[ActiveCall, ...],
        look: Callable[[s.Expr], object],
    ) -> None:
        """Keep the lines of `update` of a block that is applied, where a phase learns."""
        lines = [st for st in body if isinstance(st, s.Update)] if self.training else []
        given = tuple(results)
        self.own_updates += [OwnUpdate(self.version, given, st, calls, look) for st in lines]


@bundle()
class Drawing:
    """What a distribution in a `~` line draws: the place's path and, if declared, the shape."""

    site: str
    shape: tuple[Size, ...] | None
    used: int = 0

    def take(self) -> str:
        self.used += 1
        return self.site if self.used == 1 else f"{self.site}#{self.used}"
