"""Optimisers that search along lines, as L-BFGS does: what they ask of the runtime.

No equation here can say that a loss is worked out again and again until a step is good enough. So
the body of such an optimiser is one line, `p := descent(p, g, ...)`. The phase then has a program
for the loss and its gradients, and a record of the rules by which the runtime moves all parameters
together. A line search needs a function: the loss of the whole set, the same at every look.
"""

from __future__ import annotations

from collections.abc import Iterable

from dln.compiler.frontend.context.build_context import Build, Scope
from dln.compiler.frontend.context.static_values import static, whole
from dln.compiler.frontend.context.values import NUMBER, WHOLE, OptimiserUse, unfit
from dln.compiler.frontend.training.optimisers import bind_options, own_call
from dln.compiler.frontend.training.phase_scope import PhaseBody
from dln.compiler.ir.graph import Node
from dln.compiler.ir.ops.loop import everything
from dln.compiler.ir.structure import is_clock, is_draw, is_input
from dln.compiler.model import DataSet, Descending
from dln.compiler.schema.keys import CLOCKS, ReportFold, WatchReport
from dln.compiler.schema.records import Clauses
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Note, Span

RULES = ("history", "c1", "c2", "trials", "grad_tol", "change_tol")
REALS = ("c1", "c2", "grad_tol", "change_tol")


def asked(b: Build, use: OptimiserUse) -> Descending | None:
    """The rules of a descent, if that is what the body of an optimiser consists of."""
    syntax = use.definition.syntax
    if len(syntax.body) != 1 or not isinstance(line := syntax.body[0], s.SetTo):
        return None
    call = own_call(b, line.value, use.definition.scope, "descent")
    if call is None or line.name != syntax.names[0]:
        return None
    b.built.met.add(id(syntax))
    scope = use.definition.scope.child()
    with b.call(use.span, syntax.name, syntax.span, use.argument) as inner:
        bind_options(inner, use, scope)
        return _rules(inner, use, call, scope)


def _rules(b: Build, use: OptimiserUse, call: s.Call, scope: Scope) -> Descending:
    """`descent(p, g, history, c1, c2, trials, grad_tol, change_tol)`, its numbers worked out."""
    syntax = use.definition.syntax
    first = [a.id if isinstance(a, s.Name) else "" for a in call.arguments[:2]]
    if len(call.arguments) != 2 + len(RULES) or first != list(syntax.names):
        b.fail("E322", f"descent takes {', '.join([*syntax.names, *RULES])}", call.span)
    given = dict(zip(RULES, call.arguments[2:], strict=True))
    history, trials = (_count(b, given[k], scope, k) for k in ("history", "trials"))
    real = {k: _real(b, given[k], scope, k) for k in REALS}
    c1, c2 = real["c1"], real["c2"]
    if not 0 < c1 < c2 < 1:
        b.fail("E369", "a line search needs 0 < c1 < c2 < 1", use.span,
               f"c1 is {c1:g}, c2 is {c2:g}", remedy="c1 = 1e-4, c2 = 0.9")  # fmt: skip
    return Descending(syntax.name, call.span, history=history, trials=trials, **real)


def _count(b: Build, expr: s.Syntax, scope: Scope, what: str) -> int:
    value = whole(b, expr, scope, what)
    if value < 1:
        unfit(b, "E305", f"{what} is at least 1", expr.span, value, WHOLE)
    return value


def _real(b: Build, expr: s.Syntax, scope: Scope, what: str) -> float:
    value = static(b, expr, scope, what)
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        unfit(b, "E305", f"{what} is a number, 0 or more", expr.span, value, NUMBER)
    return float(value)


# ---- what such a phase may hold ----------------------------------------------------------------


def check(b: Build, got: PhaseBody, descent: Descending, said: Clauses, data: DataSet) -> None:
    """Refuse a phase in which the loss is no function that a search could follow."""
    name, body = descent.name, [st for st, _ in got.statements]
    line = next(st for st in body if isinstance(st, s.Minimize | s.Step))
    text = f"{name} moves parameters alone in its phase"
    if isinstance(line, s.Step):
        b.fail("E366", text, line.span, "is one of several steps, or may be",
               remedy="minimize in the phase itself, without step")  # fmt: skip
    for other in body:
        if isinstance(other, s.Minimize | s.Update | s.Step | s.SetTo) and other is not line:
            notes = (Note(line.optimiser.span, "searches here"),)
            b.fail("E366", text, other.span, "something else changes here", notes,
                   "two phases, one after the other")  # fmt: skip
    _whole_set(b, got.syntax, name, said)
    _function(b, name, [x.loss for x in got.lines], data, line.span)


def _whole_set(b: Build, st: s.Train, name: str, said: Clauses) -> None:
    """Each look is at all examples, each once."""
    at: dict[str, Span] = {c.kind: c.span for c in st.clauses if isinstance(c, s.Clause)}
    if said.batch is not None:
        read = "stream" if "stream" in at else "batch"
        few = "1 example" if said.batch == 1 else f"{said.batch:,} examples"
        label = f"reads {few} at a time"
        b.fail("E365", f"{name} needs the loss of the whole set", at.get(read, st.name.span), label,
               remedy="batch all")  # fmt: skip
    if said.order not in ("shuffled", "file"):
        b.fail("E365", f"{name} needs the loss of the whole set, each example once", at["order"],
               "picks other examples every time", remedy="leave out order")  # fmt: skip


def _function(b: Build, name: str, losses: Iterable[Node], data: DataSet, span: Span) -> None:
    """The loss depends on parameters and data alone: on no draw, and not on the time."""
    for node in everything(losses):
        drawn = is_draw(node)
        if is_input(node) and node["name"] in data.fields:
            drawn = data.fields[node["name"]].drawn
        told = node["name"] if is_clock(node) else None
        clock = told in CLOCKS or isinstance(told, WatchReport | ReportFold)
        if drawn or clock:
            said = told if isinstance(told, str) or told is None else told.spoken
            what = "draws at random" if drawn else f"depends on {said}"
            notes = tuple(Note(at, "here") for at in b.graph.spans.get(node, ())[:1] if drawn)
            b.fail("E367", f"{name} needs a loss that is the same at every look", span,
                   f"this one {what}", notes, "sgd, or a loss without it")  # fmt: skip
