"""A run that would take more memory than it may is refused before it takes any: E523."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from dln.compiler.plan import Plan
from dln.compiler.schema.quantities import said
from dln.grammar.diagnostics import DlnError, Note, Problem
from dln.runtime.device.source_map import span_of
from dln.runtime.footprint.forecast import forecast
from dln.runtime.footprint.ledger import Item, Moment
from dln.runtime.footprint.process import loading, process, resident
from dln.runtime.footprint.walk import AskedRun

NAMED = 4  # of what takes most
FEW = 50  # what takes a smaller part of the spec than one of so many is not named
ROUND = (5, 2, 1)
SPARE = 2_000_000  # bytes by which what is proposed stays below what there may be


@dataclass(frozen=True)
class Words:
    """How fewer examples, and another limit, are asked for."""

    fewer: str
    more: str


LINE = Words("--limit {}", "--memory-limit {}MB")
PYTHON = Words("limit={}", 'memory_limit="{}MB"')


@dataclass(frozen=True)
class Bounds:
    """What a run may take: a limit of the whole process, and the free memory of its device; the
    bytes of the process `before` it took any; how the remedy is said."""

    limit: int | None = None
    free: int | None = None
    before: int = 0
    words: Words = PYTHON

    def over(self, plan: Plan, asked: AskedRun, spare: int = 0) -> Moment | None:
        """The moment at which a run would take too much, or None."""
        moment, whole = self.foreseen(plan, asked)
        if self.limit is not None and whole.bytes + spare > self.limit:
            return whole
        held = max(0, resident() - self.before)
        if self.free is not None and moment.bytes - held + spare > self.free:
            return moment
        return None

    def foreseen(self, plan: Plan, asked: AskedRun) -> tuple[Moment, Moment]:
        """The moment at which a run takes most, and the same with the process itself."""
        moment = forecast(plan, replace(asked, drawing=loading(("matplotlib",))))
        letters = sum(
            len(plan.programs[key].text)
            for phase in map(plan.phases.get, asked.phases) if phase is not None
            for key in (*phase.steps, *(w.program for w in phase.watches if w.program is not None))
        )  # fmt: skip
        own = process(self.before or resident(), asked.saves, letters)
        return moment, replace(moment, items=(*moment.items, *own))


def refuse(plan: Plan, asked: AskedRun, bounds: Bounds) -> None:
    """Raise `DlnError` E523 where a run would take more than it may, with what takes most, where
    that is written, and how it takes less. Raises `DlnError` where headers cannot be read."""
    moment = bounds.over(plan, asked)
    if moment is None:
        return
    most = f"{said(bounds.free or 0)} are free"
    if bounds.limit is not None and moment.bytes > bounds.limit:
        most = f"the limit is {said(bounds.limit)}"
    message = f"{plan.name} takes {said(moment.bytes)} of memory at its peak, and {most}"
    of_spec = sum(item.bytes for item in moment.items if item.place is not None)
    largest = [item for item in moment.largest if item.bytes * FEW > of_spec]
    named = [(item, span_of(plan.texts, item.place)) for item in largest[:NAMED]]
    spans = [(item, span) for item, span in named if span is not None]
    notes = tuple(Note(span, told(item)) for item, span in spans[1:])
    facts = tuple(told(item) for item, span in named if span is None)
    span, label = (spans[0][1], told(spans[0][0])) if spans else (None, "")
    remedy = smaller(plan, asked, bounds, largest) or larger(bounds, moment)
    raise DlnError([Problem("E523", message, span, label, notes, facts, remedy)])


def told(item: Item) -> str:
    return f"{item.what}: {said(item.bytes)}"


def larger(bounds: Bounds, moment: Moment) -> str:
    """What there is to do where fewer examples do not help."""
    if bounds.limit is None:
        return "smaller sizes"
    most = bounds.words.more.format(-(-(moment.bytes + SPARE) // 10**6))
    own = sum(i.bytes for i in moment.items if not i.by)
    return most if own > bounds.limit else f"{most}, or smaller sizes"


def smaller(plan: Plan, asked: AskedRun, bounds: Bounds, items: Iterable[Item]) -> str:
    """Fewer examples, or a smaller batch, with which a run fits: first of what takes most."""
    tried = dict.fromkeys(
        (i.by, i.phase) for i in items if i.by == "examples" or i.by == "batch" and i.phase
    )
    for by, phase in tried:
        if by == "examples":
            most = max(p.count for d in plan.data.values() for p in d.parts.values())
            most = most if asked.limit is None else min(most, asked.limit)
            for n in round_numbers(most):
                if not bounds.over(plan, replace(asked, limit=n), SPARE):
                    return bounds.words.fewer.format(n)
        else:
            batches: Mapping[str, int] = asked.batch
            for n in round_numbers(plan.phases[phase].batch or 0):
                if not bounds.over(plan, replace(asked, batch={**batches, phase: n}), SPARE):
                    return f"batch {n}"
    return ""


def round_numbers(below: int) -> Iterable[int]:
    """1, 2 and 5 times powers of ten below a number, the largest first."""
    for power in range(len(str(below)), -1, -1):
        yield from (d * 10**power for d in ROUND if d * 10**power < below)
