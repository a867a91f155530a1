"""What is watched in a phase, and what stands at its end: until, checkpoint, start."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import NoReturn

from dln.compiler.frontend.context import broadcasting
from dln.compiler.frontend.context.build_context import Binding, Build, Naming, Scope
from dln.compiler.frontend.context.frame import Frame, StreamStates
from dln.compiler.frontend.context.place import poison, replace
from dln.compiler.frontend.context.ports import shaped
from dln.compiler.frontend.context.static_values import positive, tensor, word
from dln.compiler.frontend.data import splits
from dln.compiler.frontend.data.datasets import on_part
from dln.compiler.frontend.expressions import phase_queries, schedules
from dln.compiler.frontend.expressions.operators import truth
from dln.compiler.frontend.training import (
    loading,
    persistent_state,
    phase_scope,
    reports,
    whole_instances,
)
from dln.compiler.frontend.training.objectives import batch_reduced, one_parameter
from dln.compiler.frontend.training.phase_scope import PhaseBody
from dln.compiler.ir import masks, ranges
from dln.compiler.ir.graph import Node, ancestors
from dln.compiler.ir.structure import is_clock, is_input, is_quotient, is_sum
from dln.compiler.model import DataSet, Keeping, Starting, Watching
from dln.compiler.schema.keys import PhaseNumber
from dln.compiler.schema.records import On
from dln.compiler.schema.tables import UNITS
from dln.grammar import syntax as s
from dln.grammar.diagnostics import DlnError, Note

MOST = 100  # numbers of one watch, so that a sum that was forgotten is told

# ---- watches -----------------------------------------------------------------------------------


def watch(b: Build, st: s.Watch, where: Scope, place: int, got: PhaseBody) -> Watching:
    """One `watch` line, statement number `place` of the phase's body."""
    for other in got.watches:
        if other.name == st.name:
            b.refuse_again(f"{st.name} is watched twice", st.span, other.span)
    on, carry, phase, rows, at = None, None, got.syntax, got.rows, st.value.span
    if st.on is not None:
        data, part = on_part(b, st.on, got.around)
        on, site = On(data.name, part), f"{got.name}.{st.name}"
        if rows is not None:
            splits.of_one_stretch(b, on, st.on.span)
        carry = None if rows is None else StreamStates(site, rows)
        frame = Frame(next(b.counter), site, batched=True, kept=b.frame.kept, carry=carry)
        body = phase_scope.scope_over(b, phase.body, got.around, got.name, data)
        reports.bind(body, got)
        inner = replace(b, frame=frame, naming=Naming(space=body.space))
        rounds = list(phase_scope.flat(inner, phase.body, body))
        where = rounds[place][1]  # the same round of the same loops
        try:
            node = tensor(inner, st.value, where)
        except DlnError as error:
            _refuse_other_fields(b, st, data, on_part(b, phase.on, got.around)[0], error)
            raise
        persistent_state.refuse(b, node, at, "a watch on other data")
    else:
        inner = replace(b, naming=Naming(space=where.space))
        node = tensor(inner, st.value, where)
    node = broadcasting.quantity(b, node, at)
    many = [b.number(size) for size in node.type.example]
    if len(many) > 1 or "time" in node.type.running or any((n or 0) > MOST for n in many):
        remedy, label = f"mean({broadcasting.whole_text(at.text)})", f"is {b.shown(node.type)}"
        text = f"a watch is one number, or a vector of at most {MOST}"
        b.fail("E357", text, at, label, remedy=remedy)
    per_example = "batch" in node.type.running
    low, high = ranges.between(node, phase_queries.clock_ranges(b))
    if st.total:  # of any number of examples
        low, high = 0.0 if low >= 0 else -inf, 0.0 if high <= 0 else inf
    b.phases.ranges[got.name, st.name] = low, high
    value = batch_reduced(b, node, True, at)
    b.mark(value, st.span, st.name)
    every = _every(b, st.every, where, "how often to watch")
    if on is None and not (per_example or st.total or (every and every[1] == "update")):
        _warn_of_shares(b, st, value, phase)
    return Watching(
        value,
        st.span,
        {} if carry is None else carry.after,
        {} if carry is None else carry.shapes(),
        name=st.name,
        per_example=per_example,
        total=st.total,
        on=on,
        every=every,
        fields=phase_scope.fields([value]),
        stream=None if carry is None else rows,
    )


def _warn_of_shares(b: Build, st: s.Watch, value: Node, phase: s.Train) -> None:
    """Warn of a metric without `on`: the mean of shares is not the share of all."""
    clauses = [c for c in phase.clauses if isinstance(c, s.Clause) and c.kind == "batch"]
    if any(isinstance(c.value, s.Name) and c.value.id == "all" for c in clauses):
        return
    divided = (n.operands[1] for n in ancestors([value]) if is_quotient(n))
    made = (n for n in ancestors(divided) if is_sum(n) and "batch" not in n.type.running)
    if any("batch" in o.type.running for n in made for o in n.operands):
        text = f"{st.name} is a share of sums, and without on the mean of what each minibatch gives"
        at, on = st.value.span, phase.on.span.text
        b.warn("W314", text, at, label="is another number for each", remedy=f"{at.text} on {on}")


def _refuse_other_fields(
    b: Build, st: s.Watch, data: DataSet, own: DataSet, error: DlnError
) -> None:
    """A watch on data that lack a field of the phase's own."""
    found = error.problems[0]
    name = found.message.removeprefix("there is no name ")
    if name in own.fields and name not in data.fields and found.span and st.on:
        listed = ", ".join(data.fields)
        text = f"{data.name} has no field {name}, which {st.name} is worked out of"
        notes = (Note(found.span, "reads it"),)
        b.fail("E301", text, st.on.span, f"has {listed}", notes)


def _every(b: Build, every: s.Every | None, scope: Scope, what: str) -> tuple[int, str] | None:
    """`every 2 epochs`, as the number and the unit."""
    if every is None:
        return None
    text = f"{what} is a number of at least 1"
    return positive(b, every.count, scope, what, text), UNITS[every.unit]


# ---- the end of a phase ------------------------------------------------------------------------


def closing(b: Build, st: s.Item | s.Stmt, scope: Scope, got: PhaseBody) -> None:
    """until, checkpoint and start. What is expected at the end is read with the checks."""
    match st:
        case s.Until() if st.stalls is not None:
            inner = _of_watches(b, st.value, scope, got, "until")
            _warn_of_largest(b, st.value, got, "a watch stalls where it gets no smaller")
            conditions = replace(b, frame=Frame(next(b.counter)))
            got.until.append(reports.stalls(conditions, st, inner))
        case s.Until():
            got.until += [_over_watches(b, e, scope, got, "until") for e in either(st.value)]
        case s.Checkpoint():
            best = None if st.best is None else _over_watches(b, st.best, scope, got, "best")
            first = next((k.span for k in got.keeps if k.best is not None), None)
            if best is not None and first is not None:
                b.refuse_again("what is best is said twice", st.span, first)
            if st.best is not None:
                _warn_of_largest(b, st.best, got, "best is where {} is smallest")
            every = _every(b, st.every, scope, "how often to save")
            got.keeps.append(Keeping(every, best, st.span, st.handed))
        case s.Start() if (asked := loading.call(b, st.value, scope)) is not None:
            loading.start(b, st, scope, asked, got)
        case s.Start():
            lines = whole_instances.parts(b, st.target, st.value, scope)
            for path, where in lines or [(one_parameter(b, st.target, scope, "start sets"), scope)]:
                _start(b, st, path, where, got)


def _warn_of_largest(b: Build, name: s.Expr, got: PhaseBody, why: str) -> None:
    """Warn of a watch that is smallest where it is worst."""
    lines = (st for st in got.syntax.body if isinstance(st, s.Watch))
    for line in lines if isinstance(name, s.Name) else ():
        if isinstance(name, s.Name) and line.name == name.id:
            schedules.warn_of_largest(b, name, line.span, why)


def either(expr: s.Expr) -> Iterator[s.Expr]:
    """The sides of an `or`: each is looked at by itself, as soon as its own reports are there."""
    while isinstance(expr, s.Group):
        expr = expr.body
    if isinstance(expr, s.Binary) and expr.op == "or":
        yield from either(expr.left)
        yield from either(expr.right)
    else:
        yield expr


def _of_watches(b: Build, expr: s.Expr, scope: Scope, got: PhaseBody, who: str) -> Scope:
    """The names of a condition: the watches and the clocks."""
    phase = got.name
    body, _ = b.phases.scopes[phase]
    inner = Scope(body.parent)

    def of_minibatch(b: Build, *, name: str) -> NoReturn:
        text = f"{who} sees what is watched, and {name} is not"
        label, remedy = "has a value for each minibatch", f"watch the_{name} = {name} every 1 epoch"
        b.fail("E371", text, word(expr.span, name), label, remedy=remedy)

    def of_itself(b: Build) -> NoReturn:
        text, at = f"{who} has the watches of {phase} by their names alone", word(expr.span, phase)
        b.fail("E301", text, at, "is the phase itself", remedy=f"leave {phase}. out")

    phase_scope.clocks(b, inner, expr.span)
    phase_scope.bind_outside(inner, scope, body, of_minibatch)
    for lost in got.lost:
        inner.names[lost.name] = Binding(lost.span, poison, static=True)
    for w in got.watches:
        inner.value(w.name, phase_queries.report(b, w), w.span)
    inner.names.setdefault(phase, Binding(expr.span, of_itself))
    return inner


def _over_watches(b: Build, expr: s.Expr, scope: Scope, got: PhaseBody, what: str) -> Node:
    """A condition over the watched values and the clocks."""
    who = "until" if what == "until" else "best by"
    inner = _of_watches(b, expr, scope, got, who)
    value = replace(b, frame=Frame(next(b.counter))).evaluate(expr, inner)
    if what == "until" and not isinstance(value, bool):
        node = truth(b, value, expr.span, "until takes")
    else:
        node = broadcasting.as_tensor(b, value, expr.span, what)
    if node.type.example:
        said = broadcasting.whole_text(expr.span.text)
        remedy = f"max({said})" if isinstance(expr, s.Name) else ""
        fact = "max, min, mean and last(...)[2] make one number of several"
        b.fail("E357", f"{who} takes one number", expr.span, f"is {b.shown(node.type)}", (), remedy,
               (fact,))  # fmt: skip
    clocks = [n["name"] for n in ancestors([node]) if is_clock(n)]
    if all(isinstance(name, PhaseNumber) for name in clocks):  # of another phase, which is over
        text = f"{who} is the same all through the phase"
        names = [w.name for w in got.watches]
        listed = f"what it watches: {', '.join(names)}" if names else "epoch and update"
        facts = (f"what changes in the phase is {listed}",)
        b.fail("E371", text, expr.span, "depends on no watch, and not on the time", facts=facts)
    return node


def _start(b: Build, st: s.Start, path: str, scope: Scope, got: PhaseBody) -> None:
    """`start W := e`: what a parameter is when the phase begins."""
    if path in (others := got.begun()):
        b.refuse_again(f"{path} starts twice", st.span, others[path])
    begun = replace(b, frame=Frame(next(b.counter), kept=b.frame.kept))
    value = tensor(begun, st.value, scope)
    persistent_state.refuse(b, value, st.value.span, "what a phase starts with")
    for node in filter(is_input, ancestors([value])):  # it would be read as empty
        text = f"{st.target.span.text} starts before there is a minibatch"
        label, remedy = f"depends on the data {node['name']}", "a field of the whole set"
        b.fail("E401", text, st.value.span, label, remedy=f"{remedy}, as mnist.x")
    value = broadcasting.quantity(b, value, st.value.span)
    like = b.owned.params[path].node.type
    value = shaped(b, value, like, st.value.span, st.target.span.text)
    value = masks.live_only(b.at(st.span), value, b.owned.params[path].node)
    got.starts.append(Starting(path, value, st.span))
