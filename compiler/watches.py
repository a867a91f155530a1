"""What is watched in a phase, and what stands at its end: until, checkpoint, start."""

from __future__ import annotations

from typing import Any

from dln.compiler import joins, kept, tensors
from dln.compiler.bodies import Collected, clocks, fields, flat, phase_scope
from dln.compiler.data import on_part
from dln.compiler.graph import Node
from dln.compiler.model import Keeping, On, Starting, Watching
from dln.compiler.state import Build, Naming, poison
from dln.compiler.statics import whole
from dln.compiler.steps import batch_reduced, one_parameter
from dln.compiler.streams import Carry
from dln.compiler.updates import shaped
from dln.compiler.values import Binding, Scope
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Note

# ---- watches -----------------------------------------------------------------------------------


def watch(
    b: Build,
    st: s.Watch,
    where: Scope,
    place: int,
    phase: s.Train,
    scope: Scope,
    name: str,
    got: Collected,
    rows: int | None = None,
) -> Watching:
    """One `watch` line, statement number `place` of the phase's body."""
    if any(w.name == st.name for w in got.watches):
        first = next(w.span for w in got.watches if w.name == st.name)
        b.fail(
            "E334", f"{st.name} is watched twice", st.span, "again", (Note(first, "first here"),)
        )
    on, carry = None, None
    if st.on is not None:
        data, part = on_part(b, st.on, scope)
        on = On(data.name, part)
        carry = None if rows is None else Carry(f"{name}.{st.name}", rows)
        site = f"{name}.{st.name}"
        frame = b.new_frame("watch", batched=True, kept=b.frame.kept, site=site, carry=carry)
        body = phase_scope(b, phase.body, scope, name, data)
        with b.within(frame=frame, naming=Naming.unnamed(body.space)):
            where = list(flat(b, phase.body, body))[place][1]  # the same round of the same loops
            node = tensors.as_tensor(b, b.evaluate(st.value, where), st.value.span)
        kept.refuse(b, node, st.value.span, "a watch on other data")
    else:
        with b.within(naming=Naming.unnamed(where.space)):
            node = tensors.as_tensor(b, b.evaluate(st.value, where), st.value.span)
    node = tensors.quantity(b, node, st.value.span)
    if node.type.example or "time" in node.type.running:
        b.fail(
            "E357",
            "a watch is one number",
            st.value.span,
            f"is {b.shown(node.type)}",
            remedy=f"mean({tensors.short(st.value.span.text)})",
        )
    per_example = "batch" in node.type.running
    value = batch_reduced(b, node, True, st.value.span)
    b.mark(value, st.span, st.name)
    every = (
        None
        if st.every is None
        else (whole(b, st.every.count, where, "how often to watch"), st.every.unit)
    )
    said = (st.name, value, per_example, st.total, on, every, fields([value]), st.span)
    if carry is None:
        return Watching(*said)
    return Watching(*said, rows, carry.after, carry.shapes())


# ---- the end of a phase ------------------------------------------------------------------------


def closing(b: Build, st: Any, scope: Scope, got: Collected) -> None:
    """until, checkpoint and start. What is expected at the end is read with the checks."""
    match st:
        case s.Until():
            got.until = _over_watches(b, st.value, scope, got, "until")
        case s.Checkpoint():
            best = None if st.best is None else _over_watches(b, st.best, scope, got, "best")
            every = (
                None
                if st.every is None
                else (whole(b, st.every.count, scope, "how often to save"), st.every.unit)
            )
            got.keeps.append(Keeping(every, best, st.span))
        case s.Start():
            path = one_parameter(b, st.target, scope, "start sets")
            with b.within(frame=b.new_frame("start", kept=b.frame.kept)):
                value = tensors.as_tensor(b, b.evaluate(st.value, scope), st.value.span)
                kept.refuse(b, value, st.value.span, "what a phase starts with")
                value = tensors.quantity(b, value, st.value.span)
                like = b.params[path].node.type
                value = shaped(b, value, like, st.value.span, st.target.span.text)
                value = joins.live_only(b.at(st.span), value, b.params[path].node)
            got.starts.append(Starting(path, value, st.span))


def _over_watches(b: Build, expr: s.Expr, scope: Scope, got: Collected, what: str) -> Node:
    """A condition over the watched values and the clocks."""
    inner = Scope(scope.parent)
    clocks(b, inner, expr.span)
    for lost in got.lost:
        inner.names[lost.name] = Binding(lost.span, poison, static=True)
    for w in got.watches:
        inner.value(w.name, b.make("clock", name=f"watch:{w.name}"), w.span)
    with b.within(frame=b.new_frame(what)):
        return tensors.as_tensor(b, b.evaluate(expr, inner), expr.span, what)
