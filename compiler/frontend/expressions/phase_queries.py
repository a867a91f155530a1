"""Phases as values: `sse.error`, `sse.seconds`, `first.before(e)`, `first.after(w)`.

What a phase will say is not known while the spec is read: a number becomes a `clock` source of
that name, a tensor an `input` that the session fills in from a `Probe`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import reduce
from math import ceil, inf, isfinite
from typing import NamedTuple

from dln.compiler.frontend.context import broadcasting
from dln.compiler.frontend.context.build_context import Build, Scope, Value
from dln.compiler.frontend.context.place import Poisoned, replace
from dln.compiler.frontend.context.static_values import tensor, unknown
from dln.compiler.frontend.context.values import PhaseBest, PhaseVerb, WholeGradient
from dln.compiler.frontend.expressions import gradients
from dln.compiler.frontend.instances.owning import owned
from dln.compiler.frontend.scan.equations import substituted
from dln.compiler.frontend.tensors import reductions
from dln.compiler.ir import ranges
from dln.compiler.ir.graph import Node, ancestors
from dln.compiler.ir.structure import is_clock, is_state, number
from dln.compiler.model import Phase, Probe, Watching
from dln.compiler.schema.keys import CLOCKS, PhaseNumber, ProbeInput, ReportFold, WatchReport
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Note, Span

VERBS = ("before", "after", "grad")
LOSSES = ("loss", "losses", "cost", "train_loss")  # as other tools call it
COUNTS = ("epochs", "updates", "seconds")


def phase_attribute(b: Build, phase: str, name: str, span: Span) -> Value:
    """A verb waiting for its expression, or a number the phase leaves behind."""
    if name in VERBS:
        return PhaseVerb(phase, name)
    watched = watched_in(b, phase)
    if name == "best" and name not in watched:
        if says_best(b, phase):
            return PhaseBest(phase)
        if phase in b.phases.broken:
            raise Poisoned
        text = f"{phase} does not say what is best"
        remedy = f"checkpoint best by {(watched or ['error'])[-1]}, in the phase"
        b.fail("E377", text, span, "has no meaning", remedy=remedy)
    if name not in watched and name not in COUNTS:
        if phase in b.phases.broken:
            raise Poisoned
        inside = b.phases.scopes[phase][0].names if phase in b.phases.scopes else {}
        if name in inside and name not in CLOCKS:
            text = f"{name} is an equation of {phase}, and is not watched"
            other = f"watch the_{name} = {name} every 1 epoch, in it, gives {phase}.the_{name}"
            asked = f"{phase}.after({name}) is what it is after the last update"
            b.fail("E301", text, span, "is no watch", facts=(other, asked))
        if name in LOSSES:
            fact = f"the loss is a watch where it is reported: watch {name} = ... every 1 epoch"
            b.fail("E301", f"{phase} has no watch {name}", span, "unknown", facts=(fact,))
        unknown(b, "watch or count", name, span, [*watched, *COUNTS, *VERBS], phase)
    return _number(b, PhaseNumber(phase, name), span, _watching(b, phase, name))


def _watching(b: Build, phase: str, name: str) -> Watching | None:
    """A watch of a phase by its name; None for a count."""
    return next((w for w in b.phases.made[phase].watches if w.name == name), None)


def watched_in(b: Build, phase: str) -> list[str]:
    """The names of what a phase watches."""
    return [w.name for w in b.phases.made[phase].watches]


def says_best(b: Build, phase: str) -> bool:
    """Whether a phase says what is best."""
    return any(keep.best is not None for keep in b.phases.made[phase].keeps)


def _number(
    b: Build, clock: WatchReport | PhaseNumber, span: Span, watch: Watching | None = None
) -> Node:
    """A number that is not known while the spec is read, by the name that a spec has for it; of a
    watch of several numbers the vector of them."""
    if watch is None or not watch.value.type.example:
        return b.mark(b.at(span)("clock", name=clock), span, clock.spoken)
    size = b.number(watch.value.type.example[0])
    if size is None:
        text = f"how many numbers {watch.name} has must be known where it is asked for"
        b.fail("E209", text, span)
    entries = [b.at(span)("clock", name=clock.changed(entry=i)) for i in range(size)]
    node = b.mark(broadcasting.as_tensor(b, entries, span), span, clock.spoken)
    if clock.at is None:
        b.phases.latest[node] = clock, watch
    return node


def clock_ranges(b: Build, phase: str = "") -> ranges.Asked:
    """Between which numbers those of a run lie, in a phase or after all."""

    def between(node: Node) -> ranges.Range:
        key = node["name"]
        if isinstance(key, WatchReport):
            return b.phases.ranges.get((phase, key.watch), ranges.EVERY)
        if isinstance(key, PhaseNumber):
            counts = key.name in COUNTS and (key.phase, key.name) not in b.phases.ranges
            return (
                (0.0, inf) if counts else b.phases.ranges.get((key.phase, key.name), ranges.EVERY)
            )
        return {"progress": (0.0, 1.0)}.get(key, (0.0, inf) if key in CLOCKS else ranges.EVERY)

    return between


def beyond(b: Build, sides: Sequence[Node], phase: str = "") -> str:
    """Of a comparison that its sides decide: between which numbers the report in it lies."""
    asked = clock_ranges(b, phase)
    for node in filter(is_clock, ancestors(sides)):
        low, high = asked(node)
        name = getattr(node["name"], "spoken", node["name"])
        if isfinite(low) and isfinite(high):
            return f"{name} lies between {low:g} and {high:g}"
        if isfinite(low) or isfinite(high):
            return f"{name} is never {f'below {low:g}' if isfinite(low) else f'above {high:g}'}"
    return ""


def in_share(b: Build, sides: Sequence[Node], span: Span, phase: str = "") -> tuple[Span, str]:
    """Where a limit in per cent stands, of what is reported as a share, and what to write there."""
    asked, limits = clock_ranges(b, phase), [*filter(None, map(number, sides))]
    shares = any(is_clock(n) and asked(n) == (0.0, 1.0) for n in sides)
    place = re.search(r"\b\d[\d.]*$", span.text)
    if not shares or place is None or not limits or not 1 < limits[0] <= 100:
        return span, ""
    return Span(span.source, span.start + place.start(), span.stop), f"{limits[0] / 100:g}"


def report(b: Build, watch: Watching) -> Node:
    """The latest report of a watch of the running phase."""
    return _number(b, WatchReport(watch.name), watch.span, watch)


def reported(b: Build, node: Node) -> str | WatchReport | PhaseNumber | None:
    """The key of what a value is the latest report or count of; None of any other value."""
    if is_clock(node):
        name: str | WatchReport | PhaseNumber = node["name"]
        return name
    return b.phases.latest[node][0] if node in b.phases.latest else None


def latest(b: Build, node: Node, span: Span) -> Node:
    """`last(sse.hits)`: the latest report of several numbers as a vector, which has entries."""
    return b.at(span)("stop", node)


def best_attribute(b: Build, phase: str, name: str, span: Span) -> Node:
    """`sse.best.error`, `sse.best.epochs`: a watch or count at the best report so far."""
    known = [*watched_in(b, phase), "epochs", "updates"]
    if name not in known:
        unknown(b, "watch or count", name, span, known, f"{phase}.best")
    watch = _watching(b, phase, name)
    return _number(b, PhaseNumber(phase, name, best=True), span, watch)


def history(b: Build, clock: Node, at: int, span: Span) -> Node:
    """`curve.reach[10]`: the value of a watch at its report number 10, counted from 0;
    `valid[-1]`: at the report before the latest, `valid[-2]` at the one before that."""
    number = reported(b, clock)
    if isinstance(number, WatchReport) and number.at is None:
        several = b.phases.latest.get(clock)
        return _number(b, number.changed(at=at), span, several and several[1])
    if isinstance(number, PhaseNumber) and number.at is None and not number.best:
        watch = _watching(b, number.phase, number.name)
        if watch is not None:
            check_number(b, b.phases.made[number.phase], watch, at, span)
            return _number(b, number.changed(at=at), span, watch)
    said = number.spoken if isinstance(number, WatchReport | PhaseNumber) else number
    b.fail("E328", f"{said} is one number: only a watch has earlier reports", span)


def ask(b: Build, verb: PhaseVerb, expr: s.Call, scope: Scope) -> Node | WholeGradient:
    """An expression of a phase's body, on its first minibatch, before or after its updates."""
    if expr.only is None:
        b.fail("E322", f"{verb.phase}.{verb.verb} takes one expression of the phase", expr.span)
    body, frame = b.phases.scopes[verb.phase]
    merged = _merged(body, scope)
    there = replace(b, frame=frame)
    if verb.verb == "grad" and (paths := _whole(there, verb.phase, expr.only, merged)):
        slopes = [_slope(there, verb.phase, path, expr.only.span) for path in paths]
        made = tuple(_asked(b, verb.phase, "before", node, expr.span) for node in slopes)
        return WholeGradient(made, broadcasting.whole_text(expr.only.span.text))
    if verb.verb == "grad":
        node = _gradient(there, verb.phase, expr.only, merged)
    else:
        node = broadcasting.as_tensor(there, there.evaluate(expr.only, merged), expr.only.span)
    if "batch" in node.type.running:
        node = reductions.reduce(there, "mean", node, ("batch",), expr.span)
    return _asked(b, verb.phase, "after" if verb.verb == "after" else "before", node, expr.span)


def _asked(b: Build, phase: str, when: str, node: Node, span: Span) -> Node:
    """What stands for a value of a phase until it has run."""
    key = ProbeInput(len(b.phases.probes))
    b.phases.probes[key] = Probe(phase, when, node)
    probe = b.at(span)("input", name=key, type=node.type)
    return b.mark(probe, span, broadcasting.short(span.text))


def _whole(b: Build, phase: str, expr: s.Expr, scope: Scope) -> list[str]:
    """The parameters that the phase's first update moves by their gradient, of an instance, a chain
    or a list; none of anything else."""
    value = None if isinstance(expr, s.Index) else b.evaluate(expr, scope)
    if value is None or not gradients.of_parts(b, value):
        return []
    made = b.phases.made[phase]
    first = made.turns[0] if made.turns else made
    paths = owned(b, value, expr.span)
    return [path for path in paths if first.slopes(path)] or paths[:1]


def _merged(body: Scope, scope: Scope) -> Scope:
    """The phase's names, and behind them the loop variables and lets of where it is asked."""
    inner = body.child()
    for local in scope.outwards():
        for name, binding in local.names.items() if local.parent is not None else ():
            if body.lookup(name) is None:
                inner.names.setdefault(name, binding)
    return inner


def _gradient(b: Build, phase: str, expr: s.Expr, scope: Scope) -> Node:
    """The gradient that the phase's first update moves a parameter by, or an entry of one."""
    if isinstance(expr, s.Index):
        inner = scope.child()
        inner.value("gradient ", _gradient(b, phase, expr.body, scope), expr.body.span)
        whole = s.Name("gradient ", span=expr.body.span)
        return tensor(b, s.Index(whole, expr.indices, span=expr.span), inner)
    node = tensor(b, expr, scope)
    (path,) = owned(b, node, expr.span)
    return _slope(b, phase, path, expr.span)


def _slope(b: Build, phase: str, path: str, span: Span) -> Node:
    """The gradient that the phase's first update moves a parameter by."""
    made = b.phases.made[phase]
    slopes = (made.turns[0] if made.turns else made).slopes(path)
    if not slopes and phase in b.phases.broken:
        raise Poisoned
    if not slopes and made.slopes(path):
        text = f"the first update of {phase} does not move {path}"
        b.fail("E344", text, span, "is moved by a step that comes later in a round")
    if not slopes:
        learned = dict.fromkeys(p for line in made.lines for p in line.slopes)
        facts = (f"it learns {', '.join(learned)}",) if learned else ()
        text = f"{phase} does not minimise anything over {path}"
        b.fail("E344", text, span, "is not learned there", facts=facts)
    return _at_first(b, made, reduce(b.at(span).add, slopes), span)


def _at_first(b: Build, phase: Phase, node: Node, span: Span) -> Node:
    """A value of an update, as it is in the first one: with the first values of what optimisers
    and scans keep. What the phase keeps row by row is known of its first minibatch."""
    held = [n for n in ancestors([node]) if is_state(n) and n["path"] not in phase.kept]
    estimated = {e.path: e.span for e in phase.estimates}
    weighed = dict(phase.weighed)
    for n in held:
        if n["path"] in weighed:
            text = f"how often each class occurs is counted when {phase.name} begins"
            b.fail("E435", text, span, f"is weighted by balanced({weighed[n['path']]})")
        if n["path"] in estimated:
            note = Note(estimated[n["path"]], "is estimated on a sample")
            b.fail("E387", f"an earlier step of {phase.name} moves by an estimated curvature", span,
                   "is known in the update alone", (note,),
                   "a phase of its own for the step before")  # fmt: skip
    return substituted(b, node, {n: phase.state_init[n["path"]] for n in held})


# ---- reports -----------------------------------------------------------------------------------
#
# Counted from 0: `error[0]` is the first, `error` the latest, `error[-1]` the one before the
# latest. What no run of a phase can ever report is refused.


def check_conditions(b: Build, phase: Phase) -> None:
    """Raise a problem for a report that an `until` or a `best by` will never see."""
    own = {w.name: w for w in phase.watches}
    best = [keep.best for keep in phase.keeps if keep.best is not None]
    for node in ancestors([*phase.until, *best]):
        report = node["name"] if is_clock(node) else None
        if not isinstance(report, WatchReport | ReportFold) or report.watch not in own:
            continue
        watch = own[report.watch]
        span = b.graph.spans.get(node, (phase.span,))[0]
        handed = any(keep.handed for keep in phase.keeps)
        if watch.every is None and (handed or node in ancestors(phase.until)):  # too late
            unit = "update" if phase.duration[1] == "update" else "epoch"
            who = "until" if node in ancestors(phase.until) else "keep best"
            text = f"{watch.name} is reported at the end of the phase only, too late for {who}"
            remedy = f"watch {watch.name} = ... every 1 {unit}"
            b.fail("E386", text, watch.span, "does not say how often", (), remedy)
        if isinstance(report, WatchReport) and report.at is not None:
            check_number(b, phase, watch, report.at, span)


def check_number(b: Build, phase: Phase, watch: Watching, at: int, span: Span) -> None:
    """Raise a problem where a watch is not reported often enough for its report number `at`."""
    most = most_reports(b, phase, watch)
    needed = at + 1 if at >= 0 else 1 - at
    if most is None or needed <= most:
        return
    times = "once" if most == 1 else f"at most {most} times"
    count, unit = phase.duration
    said = f"{phase.name} goes on for {count} {unit}{'s' * (count != 1)}"
    facts = (f"{said} and reports {watch.name} {times}",)
    last = f"{watch.name}[{most - 1}] is the last report" if most else ""
    if at < 0 and most > 1:
        last = f"{watch.name}[{1 - most}] at most"
    notes = (Note(watch.span, "is watched here"),) if watch.span != span else ()
    b.fail("E386", f"there is no {watch.name}[{at}]", span, "is never reported", notes, last, facts)


def most_reports(b: Build, phase: Phase, watch: Watching) -> int | None:
    """How often a watch is reported if nothing ends the phase early; None where time decides."""
    if (length := lasting(b, phase)) is None:
        return None
    if watch.every is None:
        return 1
    each, of = watch.every
    if of == "epoch":
        return max(1, int(length.epochs) // each)
    updates = length.updates
    return max(1, updates // each if watch.on is not None else ceil(updates / each))


class Lasting(NamedTuple):
    """How long a phase goes on if nothing ends it early."""

    epochs: float
    updates: int


def lasting(b: Build, phase: Phase) -> Lasting | None:
    """How long a phase goes on; None where time decides."""
    count, unit = phase.duration
    if unit == "second" or not b.data.sets[phase.on.data].counted:
        return None
    examples, per_epoch = b.data.sets[phase.on.data].parts[phase.on.part].count, 1
    if phase.batch is not None and examples:
        size = min(phase.batch, examples)
        per_epoch = max(1, examples // size if phase.order == "stream" else ceil(examples / size))
    updates = count * per_epoch if unit == "epoch" else count
    return Lasting(updates / per_epoch, updates)
