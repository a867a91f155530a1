"""How large values can be, from how large operands are: rules `bound` of records, and when an
operation that can grow too large does (`Refuge.leaves`).

A rule gets the node, a bound of each operand (`seen`) and whether the node has its refuge for an
operand (`guarded`). Bounds need not be tight: they show that a product or an exponential stays
among the numbers, in single precision too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from dln.compiler.ir.graph import Node
from dln.compiler.ir.op import ANY, BoundRule

Seen = Sequence[float]


def at_most(largest: float) -> BoundRule:
    """Whatever the operands are."""
    return lambda node, seen, guarded: largest


def no_larger(node: Node, seen: Seen, guarded: bool) -> float:
    """No larger than 1, or than the largest operand."""
    return max(1.0, *seen)


def constant(node: Node, seen: Seen, guarded: bool) -> float:
    def largest(value: object) -> float:
        if isinstance(value, tuple):
            return max(map(largest, value), default=0.0)
        return abs(float(value)) if isinstance(value, int | float) else ANY

    return largest(node["value"])


def looked_at(node: Node, seen: Seen, guarded: bool) -> float:
    """Probabilities and bits are looked at when they are read."""
    return 1.0 if node.type.domain.name in ("prob", "binary") else ANY


def multiplied(node: Node, seen: Seen, guarded: bool) -> float:
    return 0.0 if 0.0 in seen else seen[0] * seen[1]


def summed(node: Node, seen: Seen, guarded: bool) -> float:
    return seen[0] * repeats(node)


def contracted(node: Node, seen: Seen, guarded: bool) -> float:
    return multiplied(node, seen, guarded) * repeats(node)


def repeats(node: Node) -> float:
    """How many numbers are added up: the elements that go, open sizes guessed high."""
    total = 1.0
    for size in node.operands[0].type.shape:
        total *= size.value or 1e5
    return total


def exponential(node: Node, seen: Seen, guarded: bool) -> float:
    return math.exp(seen[0]) if seen[0] < 80.0 else ANY


def logarithm(node: Node, seen: Seen, guarded: bool) -> float:
    return 1.0 if guarded else 750.0


def power(node: Node, seen: Seen, guarded: bool) -> float:
    exponent = whole_power(node)
    if guarded or exponent is None or seen[0] == ANY:
        return 1.0 if guarded else ANY
    return math.exp(min(700.0, exponent * math.log(max(1.0, seen[0]))))


def whole_power(node: Node) -> float | None:
    """The exponent of a power that every number has: a constant 0, 1, 2, ..."""
    e = node.operands[1]
    value = e["value"] if e.op == "const" and not e.type.shape else -1.0
    return float(value) if value >= 0.0 and float(value).is_integer() else None


def is_even_power(node: Node) -> bool:
    """Whether a node is x^2, x^4, ..., which is not negative."""
    exponent = whole_power(node) if node.op == "pow" else None
    return exponent is not None and exponent % 2 == 0


def plus(more: float, times: float = 1.0) -> BoundRule:
    """`times` the operand and a little more."""
    return lambda node, seen, guarded: times * seen[0] + more


# ---- when a node leaves the numbers: its bound is `found` --------------------------------------


def too_large(node: Node, seen: Seen, found: float) -> bool:
    """What only grows leaves them where it has no bound."""
    return found == ANY


def both_unbounded(node: Node, seen: Seen, found: float) -> bool:
    """A number next to one that is small beside it stays what it is."""
    return min(seen) == ANY


def power_leaves(node: Node, seen: Seen, found: float) -> bool:
    return whole_power(node) is None or found == ANY


def quotient_leaves(node: Node, seen: Seen, found: float) -> bool:
    b = node.operands[1]
    return b.op != "const" or not b["value"]
