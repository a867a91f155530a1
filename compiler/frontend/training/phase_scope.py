"""The body of a phase: the names it sees, and what its statements add up to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from dln.compiler.frontend.context.build_context import Binding, Build, Scope, Space, Value
from dln.compiler.frontend.context.static_values import listed, whole
from dln.compiler.frontend.data.datasets import bind_fields
from dln.compiler.frontend.training import persistent_state
from dln.compiler.frontend.training.optimisers import Updated
from dln.compiler.ir.graph import Node, ancestors
from dln.compiler.ir.structure import is_input
from dln.compiler.model import DataSet, Descending, Estimating, Keeping, Line, Starting, Watching
from dln.compiler.schema.keys import CLOCKS
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Span


@dataclass
class Collected:
    """What the body of a phase adds up to."""

    objectives: list[Node] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    updates: dict[str, Node] = field(default_factory=dict)
    states: dict[str, Node] = field(default_factory=dict)
    first: dict[str, Node] = field(default_factory=dict)
    optimised: dict[str, list[Updated]] = field(default_factory=dict)
    estimates: list[Estimating] = field(default_factory=list)
    watches: list[Watching] = field(default_factory=list)
    lost: list[s.Watch] = field(default_factory=list)
    keeps: list[Keeping] = field(default_factory=list)
    starts: list[Starting] = field(default_factory=list)
    until: list[Node] = field(default_factory=list)
    descent: Descending | None = None


def phase_name(b: Build, name: s.NameIx, scope: Scope) -> str:
    """`pre[l]` with its index worked out."""
    if name.index is None:
        return name.name
    return f"{name.name}[{whole(b, name.index, scope, 'the index of a phase')}]"


def in_stretch(b: Build, scope: Scope) -> Build:
    """In the step or round that a line belongs to; in none for those of the phase itself."""
    stretch = "" if scope.path == b.frame.site else scope.path
    return replace(b, time=replace(b.time, stretch=stretch))


def phase_scope(b: Build, body: Sequence[s.Stmt], scope: Scope, name: str, data: DataSet) -> Scope:
    """The names of a phase's body over the fields of a data set."""
    inner = scope.child(name, Space("phase", name))
    clocks(b, inner, data.span)
    bind_fields(b, data, inner)
    bind(b, body, inner)
    return inner


def clocks(b: Build, scope: Scope, span: Span) -> None:
    """How far a phase has come, by names that the spec does not use for something else."""
    for name in CLOCKS:
        if scope.lookup(name) is None:
            scope.value(name, b.mark(b.make("clock", name=name), span, name), span)


def bind(b: Build, body: Sequence[Any], scope: Scope) -> None:
    """Bind the names that some statements of a phase define, but for those in a `for`."""
    persistent_state.bind(b, body, scope)
    b.bind([x for x in body if not isinstance(x, s.For)], scope)


def fields(outputs: Sequence[Node]) -> tuple[str, ...]:
    """The inputs that some nodes need, in order of use."""
    return tuple(n["name"] for n in ancestors(outputs) if is_input(n))


def flat(b: Build, body: Sequence[Any], scope: Scope) -> Any:
    """The statements of a body with their scopes, `for` unrolled; each round of one binds names,
    draws and makes instances of its own."""
    for st in body:
        if isinstance(st, s.For):
            for i, value in enumerate(listed(b, st.range, scope)):
                inner = scope.child(f"{scope.path}[{i}]")
                inner.value(st.name, value, st.span)
                if isinstance(value, Node):  # each step has the parameters of its own time
                    find = partial(_round, values=st.range, scope=scope, number=i)
                    inner.names[st.name] = Binding(st.span, find)
                bind(in_stretch(b, inner), st.body, inner)
                yield from flat(b, st.body, inner)
        else:
            yield st, scope


def _round(b: Build, values: s.Expr, scope: Scope, number: int) -> Value:
    """The value of one round of a `for`."""
    return listed(b, values, scope)[number]
