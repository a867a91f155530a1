"""A machine: its groups of units, joined where a term of its energy holds two of them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from dln.compiler.frontend.context.build_context import Instance
from dln.compiler.frontend.energy.groups import machine_of
from dln.compiler.ir.unit_group import UnitGroup
from dln.drawing.network import Measures
from dln.drawing.scene import Arrow, Box, Scene, TextLine
from dln.drawing.words import parts_of
from dln.grammar import syntax as s


def machine_box(known: Measures, made: Instance, depth: int) -> Box:
    """The box of a machine; opened its units stand in it."""
    last = made.path.rpartition(".")[2]
    title = TextLine(made.name if last == made.name else f"{last}: {made.name}", "title")
    counted = known.under(made.path)
    if depth > 0:
        return Box(made.path, "group", (title, *counted), units_scene(known, made))
    sides = " \u2014 ".join(f"{g.name} {size_of(known, g)}" for g in made.groups)
    return Box(made.path, "block", (title, TextLine(sides), *counted))


def size_of(known: Measures, group: UnitGroup) -> str:
    """`784`; of a class the number of its values."""
    sizes = [str(known.sizes.resolve(x)) for x in group.sizes]
    many = group.classes
    return " \u00d7 ".join(sizes) or (f"1 of {known.sizes.resolve(many)}" if many else "1")


def units_scene(known: Measures, made: Instance) -> Scene:
    """The hidden units above the visible ones, with the parameters by which they are joined."""
    order = sorted(made.groups, key=lambda g: not g.hidden)
    boxes = []
    for g in order:
        kind = "" if g.domain.name in ("real", "class") else g.domain.name
        side = "hidden" if g.hidden else "visible"
        facts = " ".join(filter(None, [size_of(known, g), kind, side]))
        boxes.append(Box(g.name, "units", (TextLine(g.name, "title"), TextLine(facts))))
    return Scene(tuple(boxes), tuple(_joins(known, made, [g.name for g in order])))


def _joins(known: Measures, made: Instance, groups: list[str]) -> Iterator[Arrow]:
    """A join for each two groups of a term, with the parameters of that term."""
    machine = machine_of(made.definition.syntax)
    found: dict[tuple[str, str], dict[str, None]] = {}
    for term in terms(machine.value) if machine is not None else ():
        names = dict.fromkeys(p.id for p in parts_of(term) if isinstance(p, s.Name))
        joins = [n for n in names if f"{made.path}.{n}" in {*known.counts, *known.fixed}]
        for a, b in combinations([g for g in groups if g in names], 2):
            found.setdefault((a, b), {}).update(dict.fromkeys(joins))
    for (a, b), names in found.items():
        yield Arrow(a, b, ", ".join(names), "join")


def terms(energy: s.Syntax) -> Iterator[s.Syntax]:
    """The terms of a sum."""
    if isinstance(energy, s.Binary) and energy.op in ("+", "-"):
        yield from terms(energy.left)
        yield from terms(energy.right)
    elif isinstance(energy, s.Group | s.Unary):
        yield from terms(energy.body)
    else:
        yield energy
