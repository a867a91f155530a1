"""What an energy may join: no units of one group, no groups of one side.

An energy whose derivative by a group still holds that group, or another of its side, has no Gibbs
step that draws all units of the side at once. It is refused where it joins them: at the first
operation whose own derivative, on the way from the group, holds what it should not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NoReturn

from dln.compiler.autodiff.reverse_mode import cotangents
from dln.compiler.frontend.context.build_context import Build
from dln.compiler.ir.graph import Node, ancestors
from dln.compiler.ir.op import Make, op_of
from dln.compiler.ir.structure import is_contraction, is_spread
from dln.compiler.ir.unit_group import UnitGroup
from dln.grammar.diagnostics import Note, Span
from dln.grammar.record import bundle


@bundle(frozen=True)
class Open:
    """The energy with some groups unknown: a `symbol` for each of them, and the pull on its units,
    -dE/dg (for all but classes)."""

    energy: Node
    symbols: Mapping[str, Node]
    pulls: Mapping[str, Node]


def joins_none(
    b: Build, group: UnitGroup, unknown: Sequence[UnitGroup], found: Open, span: Span
) -> None:
    """Refuse an energy that joins units of a group with one another, or two groups of one side."""
    pull, inside = found.pulls[group.name], set(ancestors([found.pulls[group.name]]))
    for other in unknown:
        if found.symbols[other.name] not in inside:
            continue
        if other is group and group.domain.name == "real":
            _quadratic(b, group, found, pull, span)
        else:
            _refuse(b, group, other, found)


def _quadratic(b: Build, group: UnitGroup, found: Open, pull: Node, span: Span) -> None:
    """The energy of real units is quadratic, and joins none of them with another."""
    symbol = found.symbols[group.name]
    for n in _through(pull, symbol):
        if not _each_alone(n, symbol):
            _refuse_joined(b, group, found, n)
    if symbol in ancestors([curvature(b, pull, symbol, span)]):
        fact = "real units need a Gauss curve: squares, and nothing higher"
        guilty = _culprits(b, pull, symbol, symbol)
        why = ": the energy is not quadratic in it"
        _no_step(b, "E413", group, why, guilty, "is no square", fact)


def _each_alone(node: Node, symbol: Node) -> bool:
    """Whether an operation takes the units one by one, each to its own place."""
    if is_contraction(node):  # v @ v gives its pull as a product with a number
        sides = (node["left"], node["right"])
        pairs = zip(node.operands, sides, strict=True)
        return all(labels == node["out"] for o, labels in pairs if _depends(o, symbol))
    record = op_of(node)
    alone = record.is_("pointwise") or record.is_("identity") or is_spread(node)
    deep = len(symbol.type.shape)
    ranks = [len(n.type.shape) for n in (node, *node.operands) if n.type.shape]
    return alone and all(rank == deep for rank in ranks)


def _mixed(node: Node, symbol: Node) -> bool:
    """Whether an operation takes what is made of several units."""
    return any(not _each_alone(m, symbol) for o in node.operands for m in _through(o, symbol))


def curvature(b: Build, pull: Node, symbol: Node, span: Span) -> Node:
    """The second derivative of an energy by each unit of its own."""
    lead = len(symbol.type.running)
    total = b.at(span).neg(b.at(span).sum(pull, range(lead, len(pull.type.shape))))
    return cotangents(b.graph, total, [symbol]).get(symbol) or b.at(span).zeros(symbol.type)


def _refuse(b: Build, group: UnitGroup, other: UnitGroup, found: Open) -> NoReturn:
    """Refuse an energy whose derivative by one group holds a group of its own side."""
    symbol, held = found.symbols[group.name], found.symbols[other.name]
    guilty = _culprits(b, found.energy, symbol, held) or [found.energy]
    if other is not group:
        why, label = "the energy joins them", f"joins {group.name} with {other.name}"
        side = "hidden" if group.hidden else "visible"
        fact = f"a restricted machine has no links between its {side} groups"
        _no_step(b, "E412", group, f" without {other.name}: {why}", guilty, label, fact)
    if _mixed(guilty[0], symbol):
        _refuse_joined(b, group, found, guilty[0])
    label = f"is not linear in {group.name}"
    fact = "binary units stand in products with what is outside of their group"
    _no_step(b, "E412", group, f": the energy {label}", guilty, label, fact)


def _refuse_joined(b: Build, group: UnitGroup, found: Open, node: Node) -> NoReturn:
    """Refuse an energy with links inside a group: where they are, or else at a node of the pull."""
    symbol = found.symbols[group.name]
    guilty = [n for n in _culprits(b, found.energy, symbol, symbol) if _mixed(n, symbol)]
    how = f"is not linear in {group.name}" if group.domain.name != "real" else "joins its units"
    label = f"joins units of {group.name} with one another"
    fact = "a restricted machine has no links inside a group"
    _no_step(b, "E412", group, f": the energy {how}", guilty or [node], label, fact)


def _no_step(
    b: Build, code: str, group: UnitGroup, why: str, guilty: Sequence[Node], label: str, fact: str
) -> NoReturn:
    """Refuse a group at the first guilty operation that has a place."""
    spans = (b.graph.spans.get(n, ()) for n in guilty)
    place = next((at[-1] for at in spans if at), None)
    message = f"no Gibbs step for {group.name}{why}"
    b.fail(code, message, place, label, declared(group), facts=(fact,))


def declared(group: UnitGroup) -> tuple[Note, ...]:
    """Where a group is declared, as a note."""
    return (Note(group.span, f"{group.name} is declared here"),)


def _depends(node: Node, symbol: Node) -> bool:
    return symbol in ancestors([node])


def _through(node: Node, symbol: Node) -> list[Node]:
    """The nodes on the way from a symbol to a value."""
    reached, found = {symbol}, []
    for n in ancestors([node]):
        if any(o in reached for o in n.operands):
            reached.add(n)
            found.append(n)
    return found


def _culprits(b: Build, node: Node, symbol: Node, held: Node) -> list[Node]:
    """The operations whose own derivative on the way from a symbol still holds one, the first of
    them first."""
    found = []
    for n in _through(node, symbol):
        bar = b.graph.add("input", (), n.type, name=f"bar?{next(b.counter)}", type=n.type)
        rows = op_of(n).gradient(Make(b.graph), n, bar)
        for operand, row in zip(n.operands, rows, strict=True):
            if row is not None and _depends(operand, symbol) and _depends(row, held):
                found.append(n)
                break
    return found
