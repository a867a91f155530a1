"""What the classes of a plan are called, where they are words of a table."""

from __future__ import annotations

from dln.compiler.plan import Plan

Names = tuple[str, ...]


def class_names(plan: Plan) -> dict[str, Names]:
    """The names of classes in their order, by data set and field: `iris.label`."""
    return {f"{name}.{field}": names
            for name, data in plan.data.items() for field, names in data.names.items()}  # fmt: skip


def names_for(plan: Plan, path: str, size: int) -> Names:
    """What the `size` classes are called that an instance tells apart: as in the data of the phases
    that train it, else as in any data set of the plan. Nothing where that is not one and the same.
    """
    trained: set[Names] = set()
    for phase in plan.phases.values():
        moved = (p for line in phase.lines for p in line.moves)
        if any(p.startswith((f"{path}.", f"{path}[")) for p in moved):
            named = plan.data[phase.data].names
            trained |= {named[f] for f in phase.fields if f in named and len(named[f]) == size}
    every = {names for names in class_names(plan).values() if len(names) == size}
    found = trained or every
    return next(iter(found)) if len(found) == 1 else ()
