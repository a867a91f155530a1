"""What flows where: from values of a graph back to those that are drawn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dln.compiler.ir.graph import Node


def sources(node: Node, known: Mapping[Node, str], itself: bool = True) -> dict[Node, str]:
    """The values of drawn things that a value is made of, with their names; nothing behind them.
    Without `itself` the value's own name does not count."""
    found: dict[Node, str] = {}
    todo, seen = [node], {node}
    while todo:
        at = todo.pop()
        if at in known and (itself or at is not node):
            found.setdefault(at, known[at])
            continue
        for operand in reversed(at.operands):
            if operand not in seen:
                seen.add(operand)
                todo.append(operand)
    return found


def all_sources(nodes: Iterable[Node], known: Mapping[Node, str]) -> dict[Node, str]:
    """What several values are made of."""
    return {value: name for node in nodes for value, name in sources(node, known).items()}
