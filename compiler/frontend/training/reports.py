"""The reports of a phase's watches where the phase uses them itself: by their names in equations
and options, as `epoch` is, and in `until valid stalls for 5 epochs`."""

from __future__ import annotations

from functools import partial

from dln.compiler.frontend.context.build_context import Binding, Build, Scope
from dln.compiler.frontend.context.place import Poisoned
from dln.compiler.frontend.context.static_values import positive, static
from dln.compiler.frontend.context.values import NUMBER, unfit
from dln.compiler.frontend.expressions import phase_queries, schedules
from dln.compiler.frontend.training.phase_scope import PhaseBody, bodies
from dln.compiler.ir.graph import Node, ancestors
from dln.compiler.ir.structure import is_clock
from dln.compiler.model import Phase
from dln.compiler.schema.keys import ReportFold, WatchReport
from dln.compiler.schema.tables import UNITS
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Fault


def bind(scope: Scope, got: PhaseBody) -> None:
    """Bind the names of watches in the body of a phase, where the spec does not use them for
    something else."""
    for st in bodies(got.syntax.body):
        if isinstance(st, s.Watch) and scope.lookup(st.name) is None:
            scope.names[st.name] = Binding(st.span, partial(_latest, st=st, got=got))


def _latest(b: Build, *, st: s.Watch, got: PhaseBody) -> Node:
    """The latest report of a watch, for an update."""
    if b.frame.heard is None:
        who, name = got.name, st.name
        text = f"{name} is what {who} reports: its updates hear it, but no watch on other data"
        raise Fault(f"{text}, nor a check, where it is {who}.{name}", "", "E430")
    found = next((w for w in got.watches if w.name == st.name), None)
    if found is None and st is not got.watching and st in got.lost:
        raise Poisoned
    if found is None:
        text = f"{st.name} is not reported yet where it is asked for"
        fact = "a watch may be made of those that stand above it, and not of itself"
        b.fail("E431", text, st.span, "is worked out here", facts=(fact,))
    if found.every is None:
        text = f"{st.name} is reported at the end of the phase only, too late for its updates"
        remedy = f"watch {st.name} = ... every 1 epoch"
        b.fail("E430", text, st.span, "does not say how often", (), remedy)
    b.frame.heard.append(st.name)
    return phase_queries.report(b, found)


def heard(phase: Phase) -> tuple[str, ...]:
    """The watches of which an update reads a report itself."""
    watched = [w.value for w in phase.watches if w.on is None]
    ends = [*phase.updates.values(), *phase.states.values(), *phase.losses, *watched]
    names = [n["name"] for n in ancestors(ends) if is_clock(n)]
    return tuple(dict.fromkeys(n.watch for n in names if isinstance(n, WatchReport)))


def stalls(b: Build, st: s.Until, scope: Scope) -> Node:
    """`until valid stalls for 5 epochs by 0.001`, as a condition, in the scope of its watches."""
    said = st.stalls
    assert said is not None
    report, sign = schedules.followed(b, st.value, scope, "until ... stalls")
    unit = UNITS[said.unit]
    if unit not in ("epoch", "update"):
        text = "how long a watch stalls is counted in epochs or updates"
        b.fail("E433", text, said.span, f"counts {said.unit}s", remedy="stalls for 5 epochs")
    count = positive(b, said.count, scope, "how long a watch stalls")
    least: object = 0 if said.by is None else static(b, said.by, scope, "by how much")
    if isinstance(least, bool) or not isinstance(least, int | float) or least < 0:
        assert said.by is not None
        text = "a watch is better by a number, 0 or more"
        unfit(b, "E433", text, said.by.span, least, NUMBER)
    key = ReportFold(unit, report.watch, sign, (float(least),), report.entry)
    make = b.at(st.span)
    return make("ge", schedules.fold(b, key, st.span), make.const(float(count)))
