"""How often a watch can be reported, and which of its reports may be asked for.

Reports are counted from 0: `error[0]` is the first, `error` the latest, `error[-1]` the one before
the latest. What no run of the phase can ever report is refused here.
"""

from __future__ import annotations

from math import ceil

from dln.compiler.frontend.context.build_context import Build
from dln.compiler.ir.graph import ancestors
from dln.compiler.ir.structure import is_clock
from dln.compiler.model import Phase, Watching
from dln.compiler.schema.keys import WatchReport
from dln.grammar.diagnostics import Note, Span


def check_conditions(b: Build, phase: Phase) -> None:
    """Raise a problem for a report that an `until` or a `best by` will never see."""
    own = {w.name: w for w in phase.watches}
    best = [keep.best for keep in phase.keeps if keep.best is not None]
    for node in ancestors([*phase.until, *best]):
        report = node["name"] if is_clock(node) else None
        if not isinstance(report, WatchReport) or report.watch not in own:
            continue
        watch = own[report.watch]
        span = b.graph.spans.get(node, (phase.span,))[0]
        if watch.every is None and node in ancestors(phase.until):
            _only_at_the_end(b, phase, watch, span)
        if report.at is not None:
            check_number(b, phase, watch, report.at, span)


def _only_at_the_end(b: Build, phase: Phase, watch: Watching, span: Span) -> None:
    """A condition over what is reported when the phase is over would never be looked at."""
    unit = "update" if phase.duration[1] == "update" else "epoch"
    text = f"{watch.name} is reported at the end of the phase only, too late for until"
    remedy = f"watch {watch.name} = ... every 1 {unit}"
    b.fail("E386", text, watch.span, "does not say how often", (), remedy)


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
    count, unit = phase.duration
    if unit == "second":
        return None
    if watch.every is None:
        return 1
    per_epoch = _updates_of_epoch(phase, b.data.sets[phase.on.data].parts[phase.on.part][1])
    updates = count * per_epoch if unit == "epoch" else count
    each, of = watch.every
    if of == "epoch":
        return max(1, updates // per_epoch // each)
    return max(1, updates // each if watch.on is not None else ceil(updates / each))


def _updates_of_epoch(phase: Phase, examples: int) -> int:
    if phase.batch is None or not examples:
        return 1
    size = min(phase.batch, examples)
    return examples // size if phase.order == "stream" else ceil(examples / size)
