"""Checks and sweeps: what must hold, and what is varied."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NoReturn

from dln.compiler.frontend.context import broadcasting
from dln.compiler.frontend.context.build_context import Build, Naming, Scope, Value
from dln.compiler.frontend.context.frame import Frame
from dln.compiler.frontend.context.place import Poisoned, Space, replace
from dln.compiler.frontend.context.static_values import (
    listed,
    lookup,
    refuse_idle,
    tensor,
    unknown,
    word,
)
from dln.compiler.frontend.context.values import PhaseBest, PhaseVerb
from dln.compiler.frontend.expressions import phase_queries
from dln.compiler.frontend.expressions.operators import truth
from dln.compiler.frontend.scan.equations import bind_flat, unrolled
from dln.compiler.frontend.training.phase_scope import bind_outside, flat, phase_name
from dln.compiler.ir import ranges
from dln.compiler.ir.graph import Node, ancestors
from dln.compiler.ir.sizes import Conflict
from dln.compiler.ir.structure import is_clock, is_input, number
from dln.compiler.model import Checking, Expectation, Sweeping
from dln.compiler.schema.keys import PhaseNumber, ProbeInput
from dln.compiler.schema.tables import COMPARISONS
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Note, Span, nearest


def check(b: Build, st: s.Check, scope: Scope, number: int) -> Checking:
    """A `check` block: its lines are read in a frame of their own, without data."""
    refuse_idle(b, st, s.Expect, "expect ...")
    own, inner = _asking(b, scope, number)
    expects: list[Expectation] = []
    before = b.built.failures
    with own.collecting():
        bind_flat(own, st.body, inner)
    for line, where in unrolled(own, st.body, inner):
        with own.collecting():
            if isinstance(line, s.Expect):
                expects.append(expectation(own, line, where))
            elif isinstance(line, s.Define | s.Draw):
                lookup(own, line.target.name, line.span, where)
    if not expects and b.built.failures == before:
        text = "this check expects nothing: its for runs over an empty list"
        b.warn("W301", text, word(st.span, "check"), label="passes, whatever is true")
    return Checking(st.text, st.slow, tuple(expects), st.span)


def _asking(b: Build, scope: Scope, number: int) -> tuple[Build, Scope]:
    """In the frame and the scope of a check: what is made there is its own, and has no name."""
    path = f"check{number}"
    inner = scope.child(path, Space("check", path))
    frame = Frame(next(b.counter), path)
    return replace(b, frame=frame, naming=Naming(space=inner.space)), inner


# ---- what a phase expects at its end -----------------------------------------------------------


def of_phase(b: Build, st: s.Train, scope: Scope, number: int) -> list[Checking]:
    """The `expect` lines of a phase as one check, named after it; none where it has none."""
    name = phase_name(b, st.name, scope)
    if name not in b.phases.made:  # it went wrong, which is said already
        return []
    body, _ = b.phases.scopes[name]
    stated = [(e, at) for e, at in flat(b, st.body, body) if isinstance(e, s.Expect)]
    expects: list[Expectation] = []
    own, inner = _asking(b, scope, number)
    for e, at in stated:
        with own.collecting():
            expects.append(expectation(own, e, _at_the_end(own, name, e, at, inner.child())))
    return [Checking(f"phase {name}", False, tuple(expects), st.name.span, name)] if stated else []


def _at_the_end(b: Build, phase: str, st: s.Expect, where: Scope, scope: Scope) -> Scope:
    """The names for an `expect` in a phase: its watches and counts, `before` and `after`, and the
    variables of the `for` around it. Its equations belong to minibatches."""
    body, asked = b.phases.scopes[phase]
    bind_outside(scope, where, body, partial(_of_minibatch, where=where, asked=asked, st=st))
    span = b.phases.made[phase].span
    for verb in phase_queries.VERBS:
        scope.value(verb, PhaseVerb(phase, verb), span)
    if phase_queries.says_best(b, phase):
        scope.value("best", PhaseBest(phase), span)
    for name in (*phase_queries.COUNTS, *phase_queries.watched_in(b, phase)):
        scope.value(name, phase_queries.phase_attribute(b, phase, name, span), span)
    return scope


def _of_minibatch(b: Build, *, name: str, where: Scope, asked: Frame, st: s.Expect) -> Value:
    """A name of a phase's equations: at its end it has a value in `before(...)` and `after(...)`
    only."""
    at = word(st.span, name)
    if b.frame is asked:
        return lookup(b, name, at, where)
    label = "has a value for each minibatch"
    b.fail("E371", f"at its end a phase has no {name}", at, label, (), f"after({name})")


# ---- expectations ------------------------------------------------------------------------------


def expectation(b: Build, st: s.Expect, scope: Scope) -> Expectation:
    """`expect a == b within tol`; a plain truth value is compared with true."""
    value = st.value
    while isinstance(value, s.Group):
        value = value.body
    within = None if st.within is None else tensor(b, st.within, scope, "a tolerance")
    if within is not None and st.within is not None and (number(within) or 0.0) < 0:
        b.fail("E305", "a tolerance is 0 or more", st.within.span, f"is {st.within.span.text}")
    if within is not None and st.within is not None and within.type.kind == "bool":
        _refuse_early_tolerance(b, st, st.within)
    if isinstance(value, s.Binary) and value.op in COMPARISONS:
        left, right, op = _side(b, value.left, scope), _side(b, value.right, scope), value.op
        if st.within is not None and op != "==":
            b.fail("E370", "within goes with ==", st.within.span, f"a tolerance beside {op}")
        _comparable(b, left, right, value)
    else:
        if st.within is not None:
            fact = "of several requirements each has a line of expect"
            b.fail("E370", "within goes with ==", st.within.span, "a tolerance of no comparison",
                   facts=(fact,))  # fmt: skip
        left = truth(b, _side(b, value, scope), value.span, "expect takes")
        right, op = b.at(st.span).const(True, "bool"), "=="
    sides = [left, right, *([] if within is None else [within])]
    for node in sides:
        no_data(b, node, st.value.span, "a check")
    _warn_of_decided(b, value.span, op, sides)
    text = broadcasting.whole_text(st.value.span.text)
    return Expectation(op, left, right, within, phases_of(b, sides), text, st.span)


def _refuse_early_tolerance(b: Build, st: s.Expect, within: s.Expr) -> NoReturn:
    """`expect a within 0.1 == b`."""
    remedy = ""
    if isinstance(within, s.Binary) and within.op == "==":
        parts = (st.value.span.text, within.right.span.text, within.left.span.text)
        left, right, by = map(broadcasting.whole_text, parts)
        remedy = f"expect {left} == {right} within {by}"
    text, at = "a tolerance is a number, and stands last", st.span if remedy else within.span
    b.fail("E370", text, at, "", (Note(within.span, "is a truth"),), remedy)


def _warn_of_decided(b: Build, at: Span, op: str, sides: Sequence[Node]) -> None:
    """Warn of what holds, or fails, whatever a phase reports."""
    asked = phase_queries.clock_ranges(b)
    tolerance = [*map(number, sides[2:]), 0.0][0]
    if tolerance is None or any(n.type.shape for n in sides):
        return
    left, right = (ranges.between(n, asked) for n in sides[:2])
    found = ranges.decided(COMPARISONS[op][0], left, right, tolerance)
    said = phase_queries.beyond(b, sides[:2])
    if found is None or not said:
        return
    text = f"this holds whatever is learnt: {said}" if found else f"this can never hold: {said}"
    at, remedy = phase_queries.in_share(b, sides[:2], at)
    b.warn("W310", text, at, label="says nothing" if found else "always fails", remedy=remedy)


def no_data(b: Build, node: Node, span: Span, who: str) -> None:
    """What stands outside every phase has no minibatch to be worked out on."""
    given = [n for n in ancestors([node]) if is_input(n) and not isinstance(n["name"], ProbeInput)]
    if given:
        text, label = broadcasting.whole_text(span.text), f"depends on the data {given[0]['name']}"
        asked = next((f"{phase}.after({text})" for phase in b.phases.made), "")
        b.fail("E371", f"{who} has no minibatch", span, label, remedy=asked)


def _side(b: Build, expr: s.Expr, scope: Scope) -> Node:
    node = tensor(b, expr, scope, "what is expected")
    if node.type.running == ("time",):  # a sequence is compared as the list of its elements
        node = b.at(expr.span)("running", node, running=())
    return node


def _comparable(b: Build, left: Node, right: Node, value: s.Binary) -> None:
    """Two sides of one shape, or one of them a single number."""

    def complain(c: Conflict | None) -> NoReturn:
        notes = (Note(value.left.span, f"is {b.shown(left.type)}"),)
        text, label = "the two sides have different shapes", f"is {b.shown(right.type)}"
        b.fail("E202", text, value.right.span, label, notes)

    if left.type.example and right.type.example:
        why = "the two sides of an expectation"
        b.same_shape(left.type.example, right.type.example, value.span, why, complain)


def phases_of(b: Build, nodes: Sequence[Node]) -> tuple[str, ...]:
    """The phases whose results some nodes need."""
    found: dict[str, None] = {}
    for n in ancestors(nodes):
        if is_clock(n) and isinstance(n["name"], PhaseNumber):
            found[n["name"].phase] = None
        elif is_input(n) and isinstance(n["name"], ProbeInput):
            found[b.phases.probes[n["name"]].phase] = None
    return tuple(found)


MOST_RUNS = 100_000


def sweep(b: Build, st: s.Sweep, scope: Scope) -> Sweeping:
    """A `sweep`: every combination of the varied constants is a run of the spec."""
    refuse_idle(b, st, s.Vary, "vary ... in ...")
    names, varied = list[str](), dict[str, Span]()
    runs: list[dict[str, object]] = [{}]
    reports, expects = [], []
    own, before = replace(b, frame=Frame(next(b.counter), st.name)), b.built.failures
    for line in st.body:
        with own.collecting():
            match line:
                case s.Vary():
                    rows = _varied(own, line, scope, varied)
                    names += line.names
                    if len(runs) * len(rows) > MOST_RUNS:
                        text = f"a sweep has at most {MOST_RUNS:,} runs"
                        b.fail("E309", text, line.range.span, f"{len(runs) * len(rows):,} by here")
                    runs = [{**run, **row} for run in runs for row in rows]
                case s.Report():
                    for e in line.values:
                        node = tensor(own, e, scope, "a report")
                        reports.append((broadcasting.short(e.span.text), node))
                case s.Expect():
                    expects.append(expectation(own, line, scope))
    if not reports and not expects and own.built.failures == before:
        _silent(b, st)
    if len(runs) == 1 and names:
        _one_run(b, st, runs[0], next(iter(varied.values())))
    asked = [*phases_of(b, [node for _, node in reports]), *(p for e in expects for p in e.phases)]
    found = tuple(names), tuple(runs), tuple(reports), tuple(expects), st.span
    return Sweeping(st.name, *found, tuple(dict.fromkeys(asked)))


def _silent(b: Build, st: s.Sweep) -> None:
    """Warn of a sweep whose runs are told apart by nothing."""
    watched = [f"{p.name}.{w.name}" for p in b.phases.made.values() for w in p.watches]
    at, text = word(st.span, "sweep"), f"the sweep {st.name} reports nothing of its runs"
    fact = "what is watched is reported by its phase: report fit.error"
    facts = () if watched else (fact,)
    b.warn("W317", text, at, label="has no report", facts=facts,
           remedy=f"report {watched[-1]}, on a line in it" if watched else "")  # fmt: skip


def _one_run(b: Build, st: s.Sweep, run: Mapping[str, object], at: Span) -> None:
    """Say of a sweep that it varies nothing; it may be meant, where it is not the spec as it is."""
    said = f"one run, with {', '.join(f'{k} = {v}' for k, v in run.items())}"
    if all(b.built.constants.get(k, v) == v for k, v in run.items()):
        b.warn("W306", f"the sweep {st.name} varies nothing: {said}", at, label="has one value",
               remedy="two values or more")  # fmt: skip
    elif re.search(r"\.\..*\bby\b", st.span.text):
        fact = "what stands behind by is added; other values are a list: [0.1, 0.01]"
        text = f"the sweep {st.name} is {said}"
        b.warn("W306", text, at, label="has one value", facts=(fact,))
    else:
        b.note(f"the sweep {st.name} is {said}")


def _constant(name: str, known: Sequence[str]) -> str:
    """What a name that is varied was meant to be."""
    first = f"const {name} = ..., at the top, and {name} where it is used"
    return nearest(name, known) or f"{first}: what is varied is a const"


def _meant(b: Build, name: str, known: Sequence[str]) -> str:
    return _said_as(name, b.source.text, known) or _constant(name, known)


def _said_as(name: str, text: str, known: Sequence[str]) -> str:
    """The constant that a clause of a phase is said by: `size` of `batch size`."""
    found = {word for word in re.findall(rf"\b{name}\s+([a-z]\w*)", text) if word in known}
    return found.pop() if len(found) == 1 else ""


def _varied(
    b: Build, line: s.Vary, scope: Scope, varied: dict[str, Span]
) -> list[dict[str, object]]:
    """The values of one `vary` line; several names take the values of a row together."""
    for name in line.names:
        if name in varied:
            text = f"{name} is varied twice"
            b.refuse_again(text, word(line.span, name), word(varied[name], name))
        varied[name] = line.span
        if name != "seed" and name not in b.built.constants:
            found = scope.lookup(name)
            if found is not None and found.constant:  # it is one, and what it was given is refused
                raise Poisoned
            known = [*b.built.constants, "seed"]
            unknown(b, "constant", name, line.span, known, hint=partial(_meant, b, name, known))
    rows = []
    values = listed(b, line.range, scope, "vary")
    for value in values:
        row = value if len(line.names) > 1 else [value]
        if not isinstance(row, list) or len(row) != len(line.names):
            text = f"each row has {len(line.names)} values: {', '.join(line.names)}"
            shown = f"[{', '.join(f'[{v}, ...]' for v in values[:2])}]"
            fact = f"a list of rows, as {shown}; two lines of vary are every combination"
            remedy, lists = "", [v for v in values if isinstance(v, list)]
            if len(values) == len(lists) == len(line.names):
                pairs = zip(line.names, values, strict=True)
                remedy = "\n".join(f"vary {name} in {v}" for name, v in pairs)
                fact = "every combination is two lines of vary"
            facts = (fact,) if remedy or not lists else ()
            b.fail("E372", text, line.range.span, f"one is {row}", (), remedy, facts)
        rows.append(dict(zip(line.names, row, strict=True)))
    seen = set[object]()
    for row, value in zip(rows, values, strict=True):
        before = len(seen)
        seen.add(_hashable(value))
        if len(seen) == before:
            text = f"{', '.join(f'{k} = {v}' for k, v in row.items())} is run twice"
            first = {_hashable(v): v for v in reversed(values)}  # of those that are equal
            left = [first[key] for key in dict.fromkeys(map(_hashable, values))]
            plain = all(isinstance(v, int | float) for v in left)
            remedy = f"[{', '.join(map(str, left))}]" if plain else ""
            b.fail("E372", text, line.range.span, "stands here twice", remedy=remedy)
    if not rows:
        b.fail("E372", "a sweep over nothing has no runs", line.range.span, "is empty")
    return rows


def _hashable(value: object) -> object:
    """A value of a `vary` line as one that a set holds: lists are rows."""
    return tuple(map(_hashable, value)) if isinstance(value, list) else value
