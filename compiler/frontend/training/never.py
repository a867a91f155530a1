"""What a phase says and never does: reports and checkpoints that are due after its end, an `until`
that cannot come true.

Each may be meant, where a constant is turned to try something quick, so it is a warning.
"""

from __future__ import annotations

from dln.compiler.frontend.context.build_context import Build
from dln.compiler.frontend.expressions import phase_queries
from dln.compiler.frontend.expressions.phase_queries import Lasting, lasting
from dln.compiler.frontend.training.phase_scope import PhaseBody
from dln.compiler.frontend.training.untrained import listed_paths
from dln.compiler.frontend.training.watches import either
from dln.compiler.ir import ranges
from dln.compiler.ir.graph import Node
from dln.compiler.ir.structure import is_and, is_clock, number
from dln.compiler.model import Phase
from dln.compiler.schema.keys import CLOCKS
from dln.compiler.schema.tables import COMPARISONS
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Span

HOLDS = dict(COMPARISONS.values())


def warn(b: Build, got: PhaseBody, phase: Phase) -> None:
    """Warn of what will not come before the end of a phase, which was read without a fault."""
    if not (length := lasting(b, phase)):
        return
    _beyond_all(b, got, phase)
    if phase.rounds and length.updates < len(phase.rounds):
        _short_of_a_round(b, got, phase, length)
    watches, keeps, until = iter(got.watches), iter(got.keeps), iter(got.until)
    for st, _ in got.statements:
        match st:
            case s.Watch():
                _due(b, phase, length, st.every, next(watches).every, f"{st.name} is reported once")
            case s.Checkpoint():
                what = "no checkpoint is written on the way"
                _due(b, phase, length, st.every, next(keeps).every, what)
            case s.Until() if st.stalls is not None:
                _stalls(b, phase, length, next(until), st.stalls)
            case s.Until():
                for side in either(st.value):
                    _reached(b, phase, length, next(until), side.span)


def _beyond_all(b: Build, got: PhaseBody, phase: Phase) -> None:
    """Warn of a minibatch of more examples than there are."""
    data, part = b.data.sets[phase.on.data], phase.on.part
    many = data.parts[part].count
    if phase.batch is None or phase.order == "stream" or not 0 < many < phase.batch:
        return
    clauses = (c for c in got.syntax.clauses if isinstance(c, s.Clause) and c.kind == "batch")
    text = f"a minibatch has {phase.batch:,} examples, and {phase.on.spoken} {many:,}"
    if (said := next(clauses, None)) is not None and said.value is not None:
        label = "each update is of all of them"
        b.warn("W316", text, said.value.span, label=label, remedy="all")


def _short_of_a_round(b: Build, got: PhaseBody, phase: Phase, length: Lasting) -> None:
    """Warn where a phase is over before each of its steps was done."""
    done = {path for i in phase.rounds[: length.updates] for path in phase.turns[i].updates}
    if left := [path for path in phase.updates if path not in done]:
        steps = [st for st, _ in got.statements if isinstance(st, s.Step) and st.times is not None]
        clauses = (c.span for c in got.syntax.clauses if isinstance(c, s.Clause) and c.times)
        at = steps[0].span if steps else next(clauses)
        text = f"{listed_paths(left)} never moves: {phase.name} is over after"
        text += f" {_counted(length.updates, 'update')}"
        b.warn("W304", text, at, label=f"a round has {len(phase.rounds)} updates")


def _due(
    b: Build, phase: Phase, length: Lasting, said: s.Every | None, every: tuple[int, str] | None,
    what: str,
) -> None:  # fmt: skip
    """Warn where an interval is longer than the phase."""
    if said is None or every is None or every[1] not in ("epoch", "update"):
        return
    count, unit = every
    has = length.epochs if unit == "epoch" else length.updates
    if count > has:
        each = "epoch" if length.epochs >= 1 else "update"
        text = f"{what}: {phase.name} is over after {_counted(has, unit)}"
        label = f"is due after {_counted(count, unit)} first"
        b.warn("W304", text, said.span, label=label, remedy=f"every 1 {each}")


def _reached(b: Build, phase: Phase, length: Lasting, test: Node, span: Span) -> None:
    """Warn where a test of how far a phase has come does not hold at any time of it."""
    holds = HOLDS.get(test.op)
    if _beyond(b, phase, test, span) or holds is None:
        return
    most = dict(zip(CLOCKS, (length.epochs, length.updates, 1.0), strict=True))
    for i, clock in enumerate(test.operands):
        limit = number(test.operands[1 - i])
        if is_clock(clock) and clock["name"] in most and limit is not None:
            name = clock["name"]
            tried = (0.0, most[name], min(max(limit, 0.0), most[name]))
            if not any(holds(*((x, limit) if i == 0 else (limit, x))) for x in tried):
                text = f"this until is never reached: {name} goes from 0 to {most[name]:g}"
                text += f" in {phase.name}"
                b.warn(
                    "W304",
                    text,
                    span,
                    label="never holds",
                    remedy="leave it out, or an earlier end",
                )


def _beyond(b: Build, phase: Phase, test: Node, span: Span) -> bool:
    """Warn where a test of what is watched lies beyond what it may be; say whether it does."""
    if is_and(test):
        return any([_beyond(b, phase, side, span) for side in test.operands[:2]])
    if test.op not in HOLDS:
        return False
    asked = phase_queries.clock_ranges(b, phase.name)
    left, right = (ranges.between(side, asked) for side in test.operands)
    found = ranges.decided(test.op, left, right)
    said = phase_queries.beyond(b, test.operands, phase.name)
    if found is None or not said:
        return False
    text = "ends at the first report" if found else "is never reached"
    label = "always holds" if found else "never holds"
    at, remedy = phase_queries.in_share(b, test.operands, span, phase.name)
    b.warn("W304", f"this until {text}: {said}", at, label=label, remedy=remedy)
    return True


def _stalls(b: Build, phase: Phase, length: Lasting, test: Node, said: s.Stalls) -> None:
    """Warn where a watch is to stall for as long as the phase is, or longer."""
    count = number(test.operands[1]) or 0
    has = length.epochs if test.operands[0]["name"].what == "epoch" else length.updates
    if count >= has:
        text = f"this until is never reached: {phase.name} is over after {_counted(has, said.unit)}"
        b.warn("W304", text, said.span, label="is as long as all of it, or longer")


def _counted(count: float, unit: str) -> str:
    return f"{count:,g} {unit}{'s' * (count != 1)}"
