"""`train`: the equations of a minibatch, what is minimised over what, and what is watched."""

from __future__ import annotations

from dln.compiler.frontend.context.build_context import Binding, Build, Scope
from dln.compiler.frontend.context.frame import Frame, PhaseStates, StreamStates
from dln.compiler.frontend.context.place import poison, replace
from dln.compiler.frontend.context.static_values import refuse_idle, whole, word
from dln.compiler.frontend.context.values import PhaseGroup, PhaseValue
from dln.compiler.frontend.data import splits
from dln.compiler.frontend.data.datasets import on_part
from dln.compiler.frontend.expressions import phase_queries
from dln.compiler.frontend.training import (
    line_search,
    never,
    objectives,
    persistent_state,
    phase_clauses,
    phase_scope,
    reports,
    watches,
)
from dln.compiler.frontend.training.phase_scope import PhaseBody
from dln.compiler.model import Phase
from dln.compiler.schema.records import Clauses, On
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Note

PURPOSES = (
    s.Minimize | s.Update | s.Step | s.SetTo | s.Watch | s.Start | s.Expect | s.Define | s.Draw
)
"""What a phase may be there for; its equations are there to be asked for by checks."""


def train(b: Build, st: s.Train, scope: Scope) -> None:
    """Build one phase and bind its name."""
    name = phase_scope.phase_name(b, st.name, scope)
    if (old := b.phases.made.get(name)) is not None:
        notes, text = (Note(old.span, "first here"),), f"the phase {name} stands twice"
        if old.span.line == st.name.span.line:
            text = f"a phase in a for has a number, as {name}[k]"
            fact = "a phase goes through its data as often as its first line says: for 10 epochs"
            b.fail("E334", text, st.name.span, "is one phase", facts=(fact,))
        b.fail(
            "E334", text, st.name.span, "again", notes, f"{name}2" if name.isidentifier() else ""
        )
    b.phases.tried.add(name)
    refuse_idle(b, st, PURPOSES, "minimize ... over ... with ...")
    data, part = on_part(b, st.on, scope)
    body = phase_scope.scope_over(b, st.body, scope, name, data)
    classes = {k: f for k, f in data.fields.items() if f.node.type.domain.name == "class"}
    timed = tuple(k for k, f in classes.items() if f.timed or "time" in f.node.type.running)
    held = PhaseStates(phase=name, classes=tuple(classes), timed=timed)
    rows = phase_clauses.rows(b, st, scope)
    got = PhaseBody(name, st, scope, rows)
    reports.bind(body, got)
    if rows is not None:
        splits.of_one_stretch(b, On(data.name, part), st.on.span)
    carry = None if rows is None else StreamStates(name, rows)
    asked = frame = Frame(next(b.counter), name, batched=True, kept=held)
    b.phases.scopes[name] = (body, asked)
    if (learns := _learns(st)) or carry is not None:
        # A phase that only looks is worked out once, in the frame in which checks ask it.
        frame = Frame(next(b.counter), name, learns, batched=True, carry=carry, kept=held)
        frame.heard = [] if learns else None
    before = b.built.failures
    got = _worked_out(replace(b, frame=frame), got, body)
    said = phase_clauses.read(b, st, scope, data)
    if got.descent is not None:
        with b.collecting():
            line_search.check(b, got, got.descent, said, data)
        said = said.changed(order="file")  # every look is at all of it
    made = _phase(got, On(data.name, part), frame, said)
    if frame.heard:
        made = made.changed(heard=reports.heard(made))
    b.phases.made[name] = made
    if b.built.failures == before:
        with b.collecting():
            phase_queries.check_conditions(b, b.phases.made[name])
            never.warn(b, got, b.phases.made[name])
    if b.built.failures > before:
        b.phases.broken.add(name)


def _worked_out(b: Build, got: PhaseBody, body: Scope) -> PhaseBody:
    """What the statements of a phase add up to, in its frame."""
    st, carry, held = got.syntax, b.frame.carry, b.frame.kept
    assert held is not None
    got.statements = list(phase_scope.flat(b, st.body, body))
    for place, (inner, where) in enumerate(got.statements):
        if isinstance(inner, s.Watch):
            with b.collecting():  # of one that is lost, what asks for it is not blamed
                got.lost.append(inner)
                got.watching = inner
                got.watches.append(watches.watch(b, inner, where, place, got))
                got.lost.pop()
    got.watching = None
    with b.collecting():
        got.objectives = objectives.losses(b, st.body, body)
    objectives.body(b, got)
    persistent_state.complete(b, held)
    with b.collecting():
        persistent_state.estimated(b, got.estimates)
    for inner, where in got.statements:
        with b.collecting():
            watches.closing(b, inner, where, got)
    if carry is not None:
        got.states |= carry.after
        got.state_init |= carry.first(b.at(st.name.span))
    got.states |= held.after
    got.state_init |= held.first
    got.state_init |= {path: first for path, (_, first) in held.weighed.items()}
    return got


def _phase(got: PhaseBody, on: On, frame: Frame, said: Clauses) -> Phase:
    assert frame.kept is not None
    watched = (w.value for w in got.watches if not w.on)
    losses = (line.loss for line in got.lines)
    used = phase_scope.fields([*got.updates.values(), *got.states.values(), *losses, *watched])
    carried = () if frame.carry is None else tuple(frame.carry.after)
    kept, span = tuple(frame.kept.first), got.syntax.name.span
    weighed = tuple((path, field) for path, (field, _) in frame.kept.weighed.items())
    more = dict(on=on, fields=used, carried=carried, kept=kept, span=span, weighed=weighed)
    return Phase.extending(said, **got.summed(), **more)


def _learns(st: s.Train | s.Step | s.For) -> bool:
    """Whether a body changes any parameter."""
    return any(
        isinstance(x, s.Minimize | s.Update | s.Step) or (isinstance(x, s.For) and _learns(x))
        for x in st.body
    )


def bind_phase(b: Build, st: s.Train, scope: Scope, outer: Scope) -> None:
    """Make a phase's name a value for what follows: `sse`, or `pre[0]` of a group."""
    name, index = phase_scope.phase_name(b, st.name, scope), st.name.index
    old = outer.names.get(st.name.name)
    if old is not None and (index is None or st.name.name not in b.phases.groups):
        notes = (Note(word(old.span, st.name.name), "first bound here"),) if old.span else ()
        outer.names[st.name.name] = Binding(st.name.span, poison, static=True)
        text, remedy = f"{st.name.name} is bound twice", "another name for the phase"
        b.fail("E334", text, st.name.span, "bound again", notes, remedy)
    if index is not None:
        b.phases.groups.add(st.name.name)
    if name not in b.phases.made:
        outer.names[st.name.name] = Binding(st.name.span, poison, static=True)
    elif index is None:
        outer.value(name, PhaseValue(name), st.name.span)
    else:
        before = old.find(b) if old is not None else None
        known = before.phases if isinstance(before, PhaseGroup) else {}
        at = whole(b, index, scope, "the index of a phase")
        phases = {**known, at: PhaseValue(name)}
        outer.value(st.name.name, PhaseGroup(st.name.name, phases), st.name.span)
