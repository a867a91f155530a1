"""Which programs a phase runs."""

from __future__ import annotations

from collections.abc import Iterator

from dln.compiler.plan import PhaseSpec, Plan, ProgramKey, ProgramKind


def keys_of(plan: Plan, phase: PhaseSpec) -> Iterator[ProgramKey]:
    """The programs that a phase runs, in the order in which they are read."""
    wanted = {ProgramKind.START: phase.starts, ProgramKind.STATES: stateful(plan, phase)}
    for kind, there in wanted.items():
        if there and kind.of(phase.name) in plan.programs:
            yield kind.of(phase.name)
    if phase.duration[0]:
        yield from phase.run
    for w in phase.watches:
        yield from (key for pair in w.rounds for key in pair)
        if w.program is not None:
            yield w.program
        elif w.name in phase.heard:
            yield ProgramKind.WATCH.of(phase.name, w.name)
    yield from phase.until
    if remembers(phase):
        yield from (keep.program for keep in phase.keeps if keep.program is not None)
    yield from (spec.program for spec in phase.estimates)


def remembers(phase: PhaseSpec) -> bool:
    """Whether a phase remembers what was reported at its best."""
    return any(keep.program is not None for keep in phase.keeps)


def stateful(plan: Plan, phase: PhaseSpec) -> bool:
    """Whether a phase has states that its programs read."""
    keys = (*phase.steps, *phase.until, *(w.program for w in phase.watches if w.program))
    if phase.estimates or phase.weighed or phase.descent is not None:
        return True
    return any(b.place == "state" for key in keys for b in plan.programs[key].buffers)
