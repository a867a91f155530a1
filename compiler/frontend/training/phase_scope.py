"""The body of a phase: the names it sees, and what its statements add up to."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeAlias

from dln.compiler import model
from dln.compiler.frontend.context.build_context import Binding, Build, Scope, Value
from dln.compiler.frontend.context.place import Space, replace
from dln.compiler.frontend.context.static_values import listed, whole, word
from dln.compiler.frontend.data.datasets import bind_fields
from dln.compiler.frontend.scan.equations import bind_flat, unrolled
from dln.compiler.frontend.training import persistent_state
from dln.compiler.frontend.training.optimisers import Updated
from dln.compiler.ir.graph import Node, ancestors
from dln.compiler.ir.structure import is_input
from dln.compiler.schema.keys import CLOCKS
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Note, Span
from dln.grammar.record import bundle, field

Statement: TypeAlias = "tuple[s.Item | s.Stmt, Scope]"

MOST_ROUND = 10_000  # updates of a round


@bundle()
class PhaseBody:
    """What the body of a phase adds up to: of `name`, `syntax`, which stands in the scope `around`.

    `rows` are those of a stream. `statements` are all lines with their scopes, `for` unrolled;
    `lost` are the watches that have failed, and the one that is worked out now, `watching`.
    Of `gathered` minibatches the gradients are added up, in states that each leaves as `gathering`
    says; `own` are the new values of what blocks update themselves.
    """

    name: str
    syntax: s.Train
    around: Scope
    rows: int | None
    statements: Sequence[Statement] = ()
    objectives: list[Node] = field(default_factory=list)
    lines: list[model.Minimizing] = field(default_factory=list)
    updates: dict[str, Node] = field(default_factory=dict)
    states: dict[str, Node] = field(default_factory=dict)
    state_init: dict[str, Node] = field(default_factory=dict)
    optimised: dict[str, list[Updated]] = field(default_factory=dict)
    estimates: list[model.Estimating] = field(default_factory=list)
    watches: list[model.Watching] = field(default_factory=list)
    lost: list[s.Watch] = field(default_factory=list)
    watching: s.Watch | None = None
    keeps: list[model.Keeping] = field(default_factory=list)
    starts: list[model.Starting] = field(default_factory=list)
    loads: list[model.Loading] = field(default_factory=list)
    until: list[Node] = field(default_factory=list)
    descent: model.Descending | None = None
    turns: tuple[model.Turn, ...] = ()
    rounds: tuple[int, ...] = ()
    gathered: int = 1
    gathering: dict[str, Node] = field(default_factory=dict)
    own: dict[str, Node] = field(default_factory=dict)

    def begun(self) -> dict[str, Span]:
        """The parameters that are handed something when the phase begins, with the lines."""
        found = {x.path: x.span for x in self.starts}
        return found | {x.path: x.span for x in self.loads}

    def summed(self) -> dict[str, object]:
        """What a `Phase` has under the same names."""
        held = {k: v for k, v in vars(self).items() if k in model.Phase._fields}
        return {k: tuple(v) if isinstance(v, list) else v for k, v in held.items()}


def phase_name(b: Build, name: s.NameIx, scope: Scope) -> str:
    """`pre[l]` with its index worked out."""
    if name.index is None:
        return name.name
    return f"{name.name}[{whole(b, name.index, scope, 'the index of a phase')}]"


def in_stretch(b: Build, scope: Scope) -> Build:
    """In the step or round that a line belongs to; in none for those of the phase itself."""
    stretch = "" if scope.path == b.frame.site else scope.path
    return replace(b, time=replace(b.time, stretch=stretch))


def scope_over(
    b: Build, body: Sequence[s.Stmt], scope: Scope, name: str, data: model.DataSet
) -> Scope:
    """The names of a phase's body over the fields of a data set."""
    inner = scope.child(name, Space("phase", name))
    clocks(b, inner, data.span)
    _warn_of_hidden(b, body, scope, data)
    bind_fields(b, data, inner)
    bind(b, body, inner)
    return inner


def _warn_of_hidden(b: Build, body: Sequence[s.Stmt], scope: Scope, data: model.DataSet) -> None:
    """Warn of a name in a phase that is a field of its data, and that the same file gives to
    something else."""
    for name in data.fields:
        other = scope.lookup(name)
        at = next((at for st in body if (at := word(st.span, name)).text == name), None)
        if at is None or other is None or other.span is None or other.span.source is not at.source:
            continue
        if kind := re.match(r"(let|const)\b", other.span.text):
            notes = (Note(word(other.span, name), f"is the {kind[1]}"),)
            text = f"{name} is a field of {data.name} here, and not the {kind[1]} {name}"
            fact = f"another name for the {kind[1]} says which is meant"
            b.warn("W312", text, at, label="is the field", notes=notes, facts=(fact,))


def clocks(b: Build, scope: Scope, span: Span) -> None:
    """How far a phase has come, by names that the spec does not use for something else."""
    for name in CLOCKS:
        if scope.lookup(name) is None:
            scope.value(name, b.mark(b.at(span)("clock", name=name), span, name), span)


def bind(b: Build, body: Sequence[s.Item | s.Stmt], scope: Scope) -> None:
    """Bind the names that some statements of a phase define, but for those in a `for`."""
    persistent_state.bind(b, body, scope)
    bind_flat(b, body, scope)


def bind_outside(scope: Scope, where: Scope, body: Scope, find: Callable[..., Value]) -> None:
    """Bind the names of a phase's equations where there is no update: the variable of a `for` has
    its value, for all else `find` is asked with the name."""
    for local in where.outwards():
        if local is body.parent:
            break
        for name, binding in local.names.items():
            known = local is not body and binding.static
            other = Binding(binding.span, partial(find, name=name))
            scope.names.setdefault(name, binding if known else other)


def fields(outputs: Sequence[Node]) -> tuple[str, ...]:
    """The inputs that some nodes need, in order of use."""
    return tuple(n["name"] for n in ancestors(outputs) if is_input(n))


def bodies(body: Sequence[s.Item | s.Stmt]) -> Iterator[s.Item | s.Stmt]:
    """The statements of a body, those in a `for` once."""
    for st in body:
        yield from bodies(st.body) if isinstance(st, s.For) else (st,)


def flat(b: Build, body: Sequence[s.Item | s.Stmt], scope: Scope) -> Iterator[Statement]:
    """The statements of a body with their scopes, `for` unrolled."""
    return unrolled(b, body, scope, _round)


def _round(b: Build, st: s.For, number: int, scope: Scope) -> None:
    """Bind the names of one round of a `for`; each step has the parameters of its own time."""
    outer = scope.parent
    if outer is not None and isinstance(scope.names[st.name].find(b), Node):
        scope.names[st.name] = Binding(st.span, lambda b: listed(b, st.range, outer)[number])
    bind(in_stretch(b, scope), st.body, scope)
