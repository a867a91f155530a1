"""`train`: the equations of a minibatch, what is minimised over what, and what is watched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from dln.compiler.frontend.context import reports
from dln.compiler.frontend.context.build_context import Binding, Build, Scope
from dln.compiler.frontend.context.frame import Frame, PhaseStates, StreamStates
from dln.compiler.frontend.context.place import poison
from dln.compiler.frontend.context.static_values import whole, word
from dln.compiler.frontend.context.values import PhaseGroup, PhaseValue
from dln.compiler.frontend.data.datasets import on_part
from dln.compiler.frontend.training import (
    line_search,
    objectives,
    persistent_state,
    phase_clauses,
    watches,
)
from dln.compiler.frontend.training.phase_scope import (
    Collected,
    fields,
    flat,
    phase_name,
    phase_scope,
)
from dln.compiler.model import On, Phase
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Note


def train(b: Build, st: s.Train, scope: Scope) -> None:
    """Build one phase and bind its name."""
    name = phase_name(b, st.name, scope)
    if name in b.phases.made:
        b.fail(
            "E334",
            f"the phase {name} stands twice",
            st.name.span,
            "again",
            (Note(b.phases.made[name].span, "first here"),),
        )
    b.phases.tried.add(name)
    data, part = on_part(b, st.on, scope)
    body = phase_scope(b, st.body, scope, name, data)
    rows = phase_clauses.rows(b, st, scope)
    held = PhaseStates()
    asked = Frame(next(b.counter), name, batched=True, kept=held)
    b.phases.scopes[name] = (body, asked)
    # A phase that only looks is worked out once, in the frame in which checks ask it.
    carry = None if rows is None else StreamStates(name, rows)
    frame = asked
    if _learns(st) or carry is not None:
        frame = Frame(
            next(b.counter), name, training=_learns(st), batched=True, carry=carry, kept=held
        )
    got, before = Collected(), b.built.failures
    b = replace(b, frame=frame)
    statements = list(flat(b, st.body, body))
    _watched(b, st, statements, scope, name, got, rows)
    with b.collecting():
        got.objectives = objectives.losses(b, st.body, body)
    objectives.body(b, statements, name, got)
    persistent_state.complete(b, held)
    with b.collecting():
        persistent_state.estimated(b, got.estimates)
    for inner, where in statements:
        with b.collecting():
            watches.closing(b, inner, where, name, got)
    if carry is not None:
        got.states |= carry.after
        got.first |= carry.first(b.make)
    got.states |= held.after
    got.first |= held.first
    said = phase_clauses.read(b, st, scope, data)
    if got.descent is not None:
        with b.collecting():
            line_search.check(b, st, statements, got, said, data)
        said["order"] = "file"  # every look is at all of it
    watched = (w.value for w in got.watches if not w.on)
    losses = (line.loss for line in got.lines)
    used = fields([*got.updates.values(), *got.states.values(), *losses, *watched])
    b.phases.made[name] = Phase(
        name,
        On(data.name, part),
        fields=used,
        objectives=tuple(got.objectives),
        lines=tuple(got.lines),
        updates=got.updates,
        states=got.states,
        carried=() if carry is None else tuple(carry.after),
        kept=tuple(held.first),
        state_init=got.first,
        estimates=tuple(got.estimates),
        descent=got.descent,
        watches=tuple(got.watches),
        keeps=tuple(got.keeps),
        starts=tuple(got.starts),
        until=tuple(got.until),
        slow=False,
        span=st.name.span,
        **said,
    )
    if b.built.failures == before:
        with b.collecting():
            reports.check_conditions(b, b.phases.made[name])
    if b.built.failures > before:
        b.phases.broken.add(name)


def _watched(
    b: Build,
    st: s.Train,
    statements: Sequence[tuple[Any, Scope]],
    scope: Scope,
    name: str,
    got: Collected,
    rows: int | None,
) -> None:
    """The watches of a phase; one that fails is `lost`, so that what asks for it is not blamed."""
    for place, (watch, where) in enumerate(statements):
        if isinstance(watch, s.Watch):
            with b.collecting():
                got.lost.append(watch)
                made = watches.watch(b, watch, where, place, st, scope, name, got, rows)
                got.watches.append(made)
                got.lost.pop()


def _learns(st: s.Train | s.Step | s.For) -> bool:
    """Whether a body changes any parameter."""
    return any(
        isinstance(x, s.Minimize | s.Update | s.Step) or (isinstance(x, s.For) and _learns(x))
        for x in st.body
    )


def bind_phase(b: Build, st: s.Train, scope: Scope, outer: Scope) -> None:
    """Make a phase's name a value for what follows: `sse`, or `pre[0]` of a group."""
    name, index = phase_name(b, st.name, scope), st.name.index
    old = outer.names.get(st.name.name)
    if old is not None and (index is None or st.name.name not in b.phases.groups):
        notes = (Note(word(old.span, st.name.name), "first bound here"),) if old.span else ()
        outer.names[st.name.name] = Binding(st.name.span, poison, static=True)
        b.fail(
            "E334",
            f"{st.name.name} is bound twice",
            st.name.span,
            "bound again",
            notes,
            remedy="another name for the phase",
        )
    if index is not None:
        b.phases.groups.add(st.name.name)
    if name not in b.phases.made:
        outer.names[st.name.name] = Binding(st.name.span, poison, static=True)
    elif index is None:
        outer.value(name, PhaseValue(name), st.name.span)
    else:
        known = old.find(b).phases if old is not None else {}
        at = whole(b, index, scope, "the index of a phase")
        phases = {**known, at: PhaseValue(name)}
        outer.value(st.name.name, PhaseGroup(st.name.name, phases), st.name.span)
