"""Whether the examples of a minibatch meet: whether a value of one depends on what others are."""

from __future__ import annotations

from collections.abc import Iterable

from dln.compiler.ir.graph import Node, ancestors
from dln.compiler.ir.structure import is_input, is_scan, is_state


def meet(values: Iterable[Node]) -> bool:
    """Whether examples meet on the way to values that each example has of its own: in a mean over
    all, or held against one another."""
    values = list(values)
    depends = set[Node]()
    for node in ancestors(values):
        own = "batch" in node.type.running
        if (own and (is_input(node) or is_state(node))) or not depends.isdisjoint(node.operands):
            depends.add(node)
            if not own and not is_scan(node):
                return True
    return False
