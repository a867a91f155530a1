"""Values of the groups of a machine: what may stand for binary, class and real units."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NoReturn

from dln.compiler.frontend.context import broadcasting
from dln.compiler.frontend.context.build_context import Build, Instance, Value
from dln.compiler.frontend.context.ports import fit
from dln.compiler.frontend.context.values import IndexVar, Results
from dln.compiler.frontend.tensors.domains import want_domain
from dln.compiler.ir.graph import Node
from dln.compiler.ir.tensor_type import PROB, IndexAxis, TensorType, fits
from dln.compiler.ir.unit_group import UnitGroup
from dln.grammar.diagnostics import Note, Span

Units = Mapping[str, Value]
"""A value for each group: a tensor, or an index that runs over a class."""


def sides(made: Instance) -> tuple[list[UnitGroup], list[UnitGroup]]:
    """The visible and the hidden groups."""
    found = made.groups
    return [g for g in found if not g.hidden], [g for g in found if g.hidden]


def one_or_all(values: Mapping[str, Value]) -> Value:
    """The value of the only group, or those of all by name."""
    return next(iter(values.values())) if len(values) == 1 else Results(values)


def units_of(
    b: Build,
    made: Instance,
    takes: Sequence[UnitGroup],
    given: Sequence[tuple[Value, Span]],
    span: Span,
    who: str,
) -> Units:
    """The given values as units of these groups, in order."""
    if len(given) != len(takes):
        names = ", ".join(g.name for g in takes)
        many = "s" * (len(takes) > 1)
        if takes and len(given) < len(takes) and not any(g.hidden for g in made.groups):
            _refuse_port(b, made, takes[len(given) :], span, who)
        seen = ", ".join(g.name for g in made.groups if not g.hidden)
        free = f"{made.path}.free({seen}) is summed over the hidden units, and takes {seen} alone"
        if re.match(r"\s*minimize\b", span.source.line(span.line)):
            free = f"what is minimised is cd({made.path}, {seen}, k = 1)"
        facts = (free,) if who.endswith(".energy") and len(takes) > len(given) else ()
        b.fail("E322", f"{who} takes the group{many} {names} of {made.name}", span,
               f"is given {len(given)}", facts=facts)  # fmt: skip
    _refuse_visible(b, made, takes, given, who)
    pairs = zip(takes, given, strict=True)
    units = {g.name: as_units(b, g, value, at, who) for g, (value, at) in pairs}
    if b.outside.trace is not None:
        b.outside.trace.machine(b, made, units)
    return units


def _refuse_visible(
    b: Build,
    made: Instance,
    takes: Sequence[UnitGroup],
    given: Sequence[tuple[Value, Span]],
    who: str,
) -> None:
    """`R.down(x)`: the visible units where the hidden ones are taken, `R.down(R.up(x))`."""
    seen = [g for g in made.groups if not g.hidden]
    if (
        len(takes) != 1
        or not takes[0].hidden
        or len(seen) != 1
        or not isinstance(given[0][0], Node)
    ):
        return
    found, at = [*map(b.resolve, given[0][0].type.example)], given[0][1]
    if found == [*map(b.resolve, seen[0].sizes)] != [*map(b.resolve, takes[0].sizes)]:
        verb = who.rpartition(".")[0]
        text, remedy = (
            f"{who} takes {takes[0].text}",
            f"{verb}.up({broadcasting.whole_text(at.text)})",
        )
        b.fail("E216", text, at, f"is {seen[0].name}, which stands on the other side", (), remedy)


def _refuse_port(
    b: Build, made: Instance, ports: Sequence[UnitGroup], span: Span, who: str
) -> NoReturn:
    """A machine without hidden units of which some are not given: a port was meant as hidden."""
    port, name = ports[-1], made.name
    line = f"hidden {broadcasting.whole_text(port.span.text)}"
    notes = (Note(span, f"{who} is given no {port.name}"),)
    fact = f"a port is given from outside; {who} sums over units that stand behind hidden"
    remedy = f"{line}, on a line of its own in the block, in place of the port"
    b.fail("E322", f"{name} has no hidden units", port.span, "is a port", notes, remedy, (fact,))


def as_units(b: Build, group: UnitGroup, value: Value, at: Span, who: str) -> Value:
    """A value of one group. Probabilities may stand for binary units: their mean. For a class may
    stand a tensor of classes, an index bound outside, or its number."""
    if group.classes is not None and isinstance(value, IndexVar):
        broadcasting.equal(b, value.size, group.classes, at, f"{value.name} runs over {group.text}")
        return value
    countable = group.classes is not None and not isinstance(value, bool)
    if countable and isinstance(value, int | float):
        known = b.number(group.classes)
        if value != int(value) or value < 0 or (known is not None and value >= known):
            last = "" if known is None else f", 0 to {known - 1}"
            b.fail("E208", f"{group.name} is a class{last}", at, f"is {value:g}")
        plain = b.at(at).const(int(value), "index")
        return b.at(at)("asserted", plain, domain=group.domain)
    node = broadcasting.as_tensor(b, value, at, group.name)
    if group.classes is None and node.type.domain.name == "class":
        label = f"is a {broadcasting.domain_text(b, node.type.domain)}"
        b.fail("E311", f"{who} takes {group.text}, not a class", at, label)
    if group.classes is None:
        node = broadcasting.quantity(b, node, at)
    fit(b, node, (), group.sizes, at, f"{who} takes {group.text}", group.span)
    if group.domain.name == "binary" and (fits(node.type.domain, PROB) or _is_share(value)):
        return node
    return want_domain(b, node, group.domain, at, who)


def _is_share(value: Value) -> bool:
    """Whether a value is a number from 0 to 1, or a list of such."""
    if isinstance(value, list):
        return all(map(_is_share, value))
    return isinstance(value, int | float) and 0 <= value <= 1


def lead_of(b: Build, units: Units, span: Span) -> TensorType:
    """The axes over which the given units run."""
    lead = broadcasting.lead_of(b, [v for v in units.values() if isinstance(v, Node)], span)
    running, sizes = lead.running, lead.shape
    for v in units.values():
        if isinstance(v, IndexVar) and v.axis not in running:
            running, sizes = (*running, v.axis), (*sizes, v.size)
    return TensorType(sizes, running)


def choice(b: Build, group: UnitGroup) -> IndexVar:
    """An index that runs over the values of a class."""
    assert group.classes is not None
    return IndexVar(group.name, IndexAxis(group.name, next(b.counter)), group.classes)
