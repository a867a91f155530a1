"""How many axes the equations of a scan give a sequence, read off before any is worked out.

Of what a step carries nobody may say how many axes it has: `c[t] = f * c[t-1] + i * tanh(a[3])`. A
step is worked out with a guess, and again until it gives what was guessed; what is read here is
mostly right, and then it is worked out once. Nothing is made and nothing is refused by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from dln.compiler.frontend.context.build_context import Build, Scope, Value
from dln.compiler.frontend.context.values import Builtin, Function
from dln.compiler.frontend.scan.recurrences import Recurrences, known, within
from dln.compiler.ir.graph import Node
from dln.compiler.ir.sizes import Size
from dln.grammar import syntax as s

DEEPEST = 8  # functions within each other that are looked into

Axes: TypeAlias = "int | None"
"""How many axes a value has; nothing where that is not to be seen."""


def axes_given(b: Build, scan: Recurrences, said: Mapping[str, int]) -> dict[str, int]:
    """How many axes each sequence of a scan has at each step, as far as its equations show; of
    those that are `said` it is known."""
    reading = _Reading(b, scan, dict(said))
    found = {name: reading.line(name) for name in scan.lines if name not in said}
    return {name: axes for name, axes in found.items() if axes is not None}


class _Reading:
    """One look through the equations of a scan. `found` are names of the step that are known, or
    are being looked at."""

    def __init__(self, b: Build, scan: Recurrences, found: dict[str, Axes]) -> None:
        self.b, self.scan, self.found = b, scan, found
        self.others = {st.target.name: st for st in scan.others if isinstance(st, s.Define)}
        self.depth = 0

    def line(self, name: str) -> Axes:
        """What the equation of a name of the step gives."""
        if name not in self.found:
            self.found[name] = None  # where it leads back to itself
            at = self.scan.lines.get(name) or self.others[name]
            if isinstance(at, s.Define):
                dims = at.target.dims or ()
                rest = len(dims) - (name in self.scan.lines)
                self.found[name] = rest or self.axes(at.value, self.scan.scope, {})
        return self.found[name]

    def axes(self, e: s.Syntax, scope: Scope, given: Mapping[str, Axes]) -> Axes:
        """What an expression gives, where some names are `given`."""
        match e:
            case s.Number():
                return 0
            case s.Name():
                return self._name(e.id, scope, given)
            case s.Group() | s.Unary() | s.Asserted():
                return self.axes(e.body, scope, given)
            case s.Binary(op="@"):
                left, right = (self.axes(x, scope, given) for x in (e.left, e.right))
                return None if not left or not right else left + right - 2
            case s.Binary():
                return _most(self.axes(x, scope, given) for x in (e.left, e.right))
            case s.Choose():
                return _most(self.axes(x, scope, given) for x in (e.then, e.other))
            case s.Index():
                return self._index(e, scope, given)
            case s.Call(options=()):
                return self._call(e, scope, given)
        return None

    def _name(self, name: str, scope: Scope, given: Mapping[str, Axes]) -> Axes:
        if name in given:
            return given[name]
        if scope is self.scan.scope and name in self.others:
            return self.line(name)
        value = self._value(name, scope)
        if isinstance(value, Node):
            return len(value.type.example)
        return 0 if isinstance(value, int | float | Size) else None

    def _value(self, name: str, scope: Scope) -> Value:
        """What a name stands for, where that has been asked for before."""
        binding = scope.lookup(name)
        if binding is None:
            return None
        version = 0 if binding.static else self.b.frame.version
        return binding.given[0] if binding.given else binding.cache.get(version)

    def _index(self, e: s.Index, scope: Scope, given: Mapping[str, Axes]) -> Axes:
        taken, step = sum(not isinstance(i, s.Slice) for i in e.indices), self.scan.st.name
        own = e.body.id if isinstance(e.body, s.Name) and scope is self.scan.scope else ""
        if own and _of_step(e.indices[0], step):
            taken -= 1
        if own in self.scan.lines:
            whole = self.line(own)
        else:
            whole = self.axes(e.body, scope, given)
        return None if whole is None or whole < taken else whole - taken

    def _call(self, e: s.Call, scope: Scope, given: Mapping[str, Axes]) -> Axes:
        taker = known(self.b, e.function, scope)
        if len(e.plain) != len(e.arguments):
            return None
        several = len(e.plain) > 1  # which `max` takes element by element
        if isinstance(taker, Builtin) and (taker.elementwise or (taker.reduces and several)):
            return _most(self.axes(x, scope, given) for x in e.plain)
        if not isinstance(taker, Function) or self.depth == DEEPEST:
            return None
        ports = [port.name for port in taker.syntax.ports]
        inner = {p: self.axes(x, scope, given) for p, x in zip(ports, e.plain, strict=False)}
        self.depth += 1
        try:
            return self.axes(taker.syntax.value, taker.scope, inner)
        finally:
            self.depth -= 1


def _of_step(index: s.Syntax, step: str) -> bool:
    """Whether an index is made of the step itself, as t and t - 1 are; `E[c[t]]` looks up what
    stands there."""
    parts = list(within(index))
    looked_up = any(isinstance(part, s.Index | s.Call) for part in parts)
    return not looked_up and any(isinstance(p, s.Name) and p.id == step for p in parts)


def _most(found: Iterable[Axes]) -> Axes:
    """As many axes as any of some values of one shape has. Single numbers go with all, so that
    beside what is not seen they show nothing."""
    said = list(found)
    most = max((n for n in said if n is not None), default=0)
    return None if not most and None in said else most
