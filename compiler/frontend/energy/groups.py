"""Machines: blocks with an energy, and the groups of units that they join."""

from __future__ import annotations

from collections.abc import Sequence

from dln.compiler.frontend.context.build_context import Build, Instance
from dln.compiler.frontend.context.ports import dims_text, port_sizes
from dln.compiler.frontend.context.static_values import domain_of
from dln.compiler.ir.sizes import Size
from dln.compiler.ir.tensor_type import REAL, Domain
from dln.compiler.ir.unit_group import UnitGroup
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Note, nearest

UNITS = ("binary", "class", "real")
VERBS = ("up", "down", "free", "energy")
"""What is asked of an instance: `R.up(v)`."""


def machine_of(syntax: s.Block) -> s.Energy | None:
    """The energy of a block, if it has one."""
    return next((st for st in syntax.body if isinstance(st, s.Energy)), None)


def check_block(b: Build, syntax: s.Block) -> None:
    """What a block with an energy may hold."""
    energies = [st for st in syntax.body if isinstance(st, s.Energy)]
    hidden = [st for st in syntax.body if isinstance(st, s.Hidden)]
    meant = [st.target.span for st in syntax.body if isinstance(st, s.Define)
             and nearest(st.target.name, ["energy"])]  # fmt: skip
    if hidden and meant and not energies:
        text = f"there is no {meant[0].text} here: did you mean energy?"
        notes = (Note(hidden[0].span, "units of it"),)
        b.fail("E411", text, meant[0], "unknown", notes, remedy="energy")
    if hidden and not energies:
        b.fail("E411", f"{syntax.name} has hidden units, but no energy", hidden[0].span,
               "units of what?", remedy="energy = ...")  # fmt: skip
    if len(energies) > 1:
        b.refuse_again(f"{syntax.name} has two energies", energies[1].span, energies[0].span)
    if energies and syntax.results:
        label = "an energy has no outputs: what follows from it is asked for"
        b.fail("E411", f"{syntax.name} has an energy, and promises a result",
               syntax.results[0].span, label,
               remedy="leave out -> and say R.up(v), R.down(h), R.free(v)")  # fmt: skip
    if energies and not syntax.ports:
        b.fail("E411", f"{syntax.name} has no visible units", energies[0].span, "joins nothing",
               remedy=f"block {syntax.name}(v[n]: binary; ...)")  # fmt: skip


def find_groups(b: Build, made: Instance) -> None:
    """Work out the groups of an instance; sizes that are not options are open."""
    syntax = made.definition.syntax
    ports = [(p, False) for p in syntax.ports]
    ports += [(p, True) for st in syntax.body if isinstance(st, s.Hidden) for p in st.ports]
    for i, (port, hidden) in enumerate(ports):
        if hidden:
            running, sizes = port_sizes(b, port, made.scope, made.sizes)
            domain = domain_of(b, port.domain, made.scope, made.sizes)
        else:
            running, sizes, domain = made.ports[i]
        _check_units(b, port, running, sizes, domain := domain or REAL)
        text = f"{port.name}{dims_text(port)}{'' if domain == REAL else f': {domain}'}"
        made.groups.append(UnitGroup(port.name, sizes, domain, hidden, text, port.span))
    names = [g.name for g in made.groups]
    for i, g in enumerate(made.groups):
        if g.name in names[:i]:
            first = made.groups[names.index(g.name)]
            b.refuse_again(f"{g.name} is declared twice", g.span, first.span)


def _check_units(
    b: Build, port: s.Port, running: Sequence[str], sizes: Sequence[Size], domain: Domain
) -> None:
    """What units may be declared."""
    if running:
        b.fail("E411", "units do not run over an axis", port.span, f"runs over {running[0]}")
    if domain.name not in UNITS:
        b.fail("E411", f"units are {', '.join(UNITS[:2])} or {UNITS[2]}", port.span,
               f"is {domain}")  # fmt: skip
    if domain.name == "class" and sizes:
        b.fail("E411", "a class is one unit", port.span, f"is {dims_text(port)} of them",
               remedy=f"{port.name}: {domain}, for each a group of its own")  # fmt: skip
