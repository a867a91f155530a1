"""What cannot stand alone yet: the first part of a spec that stops it, with its line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dln.compiler.plan import (
    FIRST,
    ROWS,
    DataSpec,
    PhaseNumber,
    PhaseSpec,
    Place,
    Plan,
    Program,
    ProgramKind,
    ReportFold,
    WatchReport,
    WholeField,
)
from dln.grammar.diagnostics import Fault
from dln.runtime.device.source_map import placed
from dln.standalone.data_text import folder, is_handed, parts_of, whole_keys
from dln.standalone.parts import keys_of
from dln.standalone.program.text import ident
from dln.standalone.training_text import ORDERS
from dln.standalone.watch_text import TIME

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
        for what, _ in of_program(plan.programs[applied.program], None):
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
            yield from of_program(plan.programs[key], place)
    for phase in phases:
        for what, there in of_phase(plan, phase).items():
            if there:
                yield f"{what} yet", phase.place
        for key in keys_of(plan, phase):
            yield from of_program(plan.programs[key], phase.place)
        sets = {name for name, _, _ in parts_of(plan, [phase])}
        handed = [plan.data[name] for name in sets if is_handed(plan.data[name])]
        wholes = {WholeField.parse(k).data for key in keys_of(plan, phase)
                  for k in whole_keys(plan.programs[key])}  # fmt: skip
        for data in handed:
            if phase.batch is None or data.name in wholes or folder(plan.data.values()):
                what = "data that are given from Python, beside files or all at once, yet"
                yield what, data.place
        for on in (phase.on, *(w.on for w in phase.watches if w.on is not None)):
            yield from of_data(plan.data[on.data])


def of_phase(plan: Plan, phase: PhaseSpec) -> dict[str, object]:
    """What a phase may have that a file cannot, and whether it does."""
    return {
        "a descent along lines in shards": phase.cuts and phase.descent is not None,
        "what is handed to parameters with dead entries": any(
            plan.params[p].joins for p in (*phase.starts, *(x.path for x in phase.loads))
        ),
        "a watch of a stream in several rounds": any(w.rounds and w.stream for w in phase.watches),
        f"examples in the order {phase.order}": phase.order not in ORDERS,
    }


def of_program(program: Program, place: Place | None) -> Iterator[Reason]:
    """What a program asks that a file does not know."""
    for clock in program.clocks:
        left = isinstance(clock, PhaseNumber) or clock in (*TIME, FIRST, ROWS)
        if not left and not isinstance(clock, WatchReport | ReportFold):
            spoken = clock if isinstance(clock, str) else clock.spoken
            yield f"what depends on {spoken} yet", place


def of_data(data: DataSpec) -> Iterator[Reason]:
    """What is special about a data set."""
    if is_handed(data):
        if len(data.division.sizes) > 1:
            yield "parts of data that are given from Python yet", data.place
        if data.measured or any(f.ends or f.timed for f in data.fields):
            yield "sequences and measures of data that are given from Python yet", data.place
    if data.drawn and any(f.ends for f in data.fields):
        yield "sequences of unequal lengths that are drawn yet", data.place
