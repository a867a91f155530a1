"""What was applied to what while a spec was read: blocks, functions and machines, as they lie in
one another.

Nothing is noted unless there is a `Trace` among what is given from outside. It stands above all
that is built, so of the `Build` at hand and of instances it knows no more than what it asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from dln.compiler.ir.graph import Node
from dln.grammar import syntax as s
from dln.grammar.record import bundle, field

CallKind: TypeAlias = Literal["block", "function", "machine"]
Worked: TypeAlias = tuple[object, dict[str, Node], Callable[[], dict[str, object]]]
"""The value of a block, its results by name, and what gives the values of its equations."""


@bundle()
class TracedCall:
    """A block, a function or a machine, applied once: `made` is the instance.

    `site` says where: the phase, or the instance that is laid out `alone`. `ports` and `results`
    are values by name, `values` those of the equations of a block; in a step of a scan (`in_step`)
    they are values of the step. A machine is given units, and gives some where it is asked to.
    """

    kind: CallKind
    name: str
    site: str
    alone: bool
    in_step: bool
    ports: Mapping[str, Node]
    made: Any = None
    results: dict[str, Node] = field(default_factory=dict)
    values: dict[str, Node] = field(default_factory=dict)
    inside: list[TracedCall] = field(default_factory=list)
    logits: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        """That of its instance; the name of a function."""
        return self.name if self.made is None else str(self.made.path)

    @property
    def block(self) -> s.Block:
        """The text of its block."""
        found: s.Block = self.made.definition.syntax
        return found


@bundle()
class Trace:
    """All that was applied, in the order of its end; `open` are those under way. `chains` are what
    chains were applied to."""

    found: list[TracedCall] = field(default_factory=list)
    open: list[TracedCall] = field(default_factory=list)
    chains: list[TracedCall] = field(default_factory=list)

    def chain(self, b: Any, path: str, given: Sequence[object], made: object) -> None:
        """A chain, applied to what its first part is given: beside what is `found`, where its
        parts stand."""
        if not b.time.stepping:
            call = self._call(b, "block", path, {str(i): v for i, v in enumerate(given)})
            call.results.update(_tensors({"": made}))
            self.chains.append(call)

    def block(self, b: Any, made: Any, nodes: Sequence[Node], work: Callable[[], Worked]) -> object:
        """A block's value, noted with what is applied in it."""
        names = (port.name for port in made.definition.syntax.ports)
        call = self._call(b, "block", made.name, dict(zip(names, nodes, strict=True)), made)
        self.open.append(call)
        try:
            value, results, values = work()
            call.results.update(results)
            call.values.update(_tensors(values()))
        finally:
            self.open.pop()
        self._keep(b, call)
        return value

    def function(
        self, b: Any, syntax: s.Fn, given: Mapping[str, object], work: Callable[[], object]
    ) -> object:
        """A function's value, noted with what is applied in it."""
        call = self._call(b, "function", syntax.name, given)
        call.logits = tuple(p.name for p in syntax.ports if p.domain and p.domain.name == "logit")
        self.open.append(call)
        try:
            value = work()
            call.results.update(_tensors({"": value}))
        finally:
            self.open.pop()
        self._keep(b, call)
        return value

    def machine(self, b: Any, made: Any, units: Mapping[str, object]) -> TracedCall:
        """Units that a machine is given."""
        call = self._call(b, "machine", made.name, units, made)
        self._keep(b, call)
        return call

    def gave(self, units: Mapping[str, object]) -> None:
        """The units that the machine of the latest call was asked for."""
        last = (self.open[-1].inside if self.open else self.found)[-1:]
        for call in last:
            call.results.update(_tensors(units))

    def _call(
        self, b: Any, kind: CallKind, name: str, ports: Mapping[str, object], made: Any = None
    ) -> TracedCall:
        in_step = b.time.loop is not None or b.time.in_step
        return TracedCall(kind, name, b.frame.site, b.frame.alone, in_step, _tensors(ports), made)

    def _keep(self, b: Any, call: TracedCall) -> None:
        """What the one-step forms of instances apply says nothing new."""
        if not b.time.stepping:
            (self.open[-1].inside if self.open else self.found).append(call)


def _tensors(values: Mapping[str, object]) -> dict[str, Node]:
    return {name: value for name, value in values.items() if isinstance(value, Node)}
