"""How large a value may be at most, from what its operands are: enough to see that a product or an
exponential of it stays among the numbers, in single precision too."""

from __future__ import annotations

from collections.abc import Sequence

from dln.compiler.ir.graph import Node
from dln.compiler.ir.op import ANY, op_of

LARGE = 1e15
"""What grows beyond this counts as of any size."""


def bound(node: Node, seen: Sequence[float], guarded: bool = False) -> float:
    """A bound of a node's values over operands within `seen`; `guarded` where it has its refuge for
    an operand."""
    if node.type.kind == "bool":
        return 1.0
    rule = op_of(node).bound
    found = ANY if rule is None else rule(node, seen, guarded)
    return found if found <= LARGE else ANY
