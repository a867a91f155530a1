"""What cannot stand alone yet: the first part of a spec that stops it, with its line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dln.compiler.plan import DataSpec, PhaseSpec, Place, Plan, Program, ProgramKind, WatchReport
from dln.grammar.diagnostics import Fault
from dln.runtime.device.source_map import placed
from dln.standalone.program.text import ident
from dln.standalone.training_text import ORDERS, TIME, keys_of

Reason = tuple[str, Place | None]


def refuse(plan: Plan, phases: Sequence[PhaseSpec]) -> None:
    """Raise `DlnError` E586 for the first thing that a file cannot do, E587 where there is nothing
    to be trained."""
    if not phases:
        remedy = "--slow, for what only slow checks need" if plan.phases else ""
        raise Fault(f"{plan.name} trains nothing", remedy, "E587").at(None)
    for what, place in reasons(plan, phases):
        with placed(plan.texts, place):
            raise Fault(f"a file that stands alone cannot hold {what}", "", "E586")


def refuse_applied(plan: Plan) -> None:
    """Raise `DlnError` E586 for an instance that a file cannot apply, E587 where there is none."""
    if not plan.applied:
        raise Fault(f"{plan.name} has no instance that could be applied", "", "E587").at(None)
    for applied in plan.applied.values():
        for what, _ in of_program(plan.programs[applied.program], None, False):
            raise Fault(f"a file that stands alone cannot hold {what}", "", "E586").at(None)


def reasons(plan: Plan, phases: Sequence[PhaseSpec]) -> Iterator[Reason]:
    """Each with its place."""
    names = [ident(phase.name) for phase in phases]
    for phase, name in zip(phases, names, strict=True):
        if names.count(name) > 1:
            yield "phases whose names are one in Python", phase.place
    for key in map(ProgramKind.INIT.of, ("float64", "float32")):
        if plan.params and key in plan.programs:
            place = next(iter(plan.params.values())).place
            yield from of_program(plan.programs[key], place, False)
    for phase in phases:
        for what, there in of_phase(plan, phase).items():
            if there:
                yield f"{what} yet", phase.place
        for key in keys_of(plan, phase):
            until = key in phase.until
            yield from of_program(plan.programs[key], phase.place, until)
        for on in (phase.on, *(w.on for w in phase.watches if w.on is not None)):
            yield from of_data(plan.data[on.data], on.part)
        for w in phase.watches:
            if w.on is None and w.program is not None and (w.every or ("", ""))[1] != "update":
                yield "a watch of this kind yet", w.place


def of_phase(plan: Plan, phase: PhaseSpec) -> dict[str, object]:
    """What a phase may have that a file cannot, and whether it does."""
    by_update = any(w.every is not None and w.every[1] == "update" for w in phase.watches)
    return {
        "a descent along lines": phase.descent,
        "updates in shards": phase.cuts,
        "what is handed to parameters with dead entries": any(
            plan.params[p].joins for p in phase.starts
        ),
        f"examples in the order {phase.order}": phase.order not in ORDERS,
        "classes of data that are drawn": plan.data[phase.data].drawn
        and (phase.balanced or phase.weighed),
        "steps that are done several times": phase.rounds,
        "what a phase was at its best": phase.handed,
        "a phase that time ends": phase.duration[1] == "second",
        "updates that hear of watches": phase.heard,
        "an until beside watches of some updates": phase.until and by_update,
    }


def of_program(program: Program, place: Place | None, until: bool) -> Iterator[Reason]:
    """What a program asks that a file does not know."""
    for clock in program.clocks:
        latest = isinstance(clock, WatchReport) and clock.at is None and clock.entry is None
        if clock not in TIME and not (until and latest):
            spoken = clock if isinstance(clock, str) else clock.spoken
            yield f"what depends on {spoken} yet", place
    if any(b.place == "whole" for b in program.buffers):
        yield "fields of whole parts yet", place


def of_data(data: DataSpec, part: str) -> Iterator[Reason]:
    """What is special about a data set."""
    if data.reader == "given":
        yield "data that are given from Python yet", data.place
    if data.reader == "images":
        yield "data that are read by images yet", data.place
    if any(f.ends for f in data.fields):
        yield "sequences of unequal lengths yet", data.place
    if data.measured:
        yield "what is measured of data yet", data.place
    if data.stretch(part) is None:
        yield "parts that are shuffled yet", data.place
