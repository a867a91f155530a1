"""How large a value may be at most, from what its operands are: enough to see that a product or an
exponential of it stays among the numbers, in single precision too."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from dln.compiler.ir.graph import Node

ANY = math.inf
"""No bound: as large as a number may be."""
LARGE = 1e15
"""What grows beyond this counts as of any size."""
UNIT = frozenset("tanh sin cos sigmoid sign softmax onehot".split())
SAME = frozenset(
    "neg abs asserted running stop broadcast reshape transpose slice pad flip concat window pick "
    "gather max min maximum minimum sqrt distance".split()
)
"""What is no larger than 1, or than the largest operand."""


def bound(node: Node, seen: Sequence[float], guarded: bool = False) -> float:
    """A bound of a node's values over operands within `seen`; `guarded` where it has its refuge for
    an operand."""
    if node.op in UNIT or node.type.kind == "bool":
        return 1.0
    if node.op in SAME:
        return max(1.0, *seen)
    if node.op == "where":
        return max(seen[1:])
    rule = RULES.get(node.op)
    found = ANY if rule is None else rule(node, seen, guarded)
    return found if found <= LARGE else ANY


def overflows(node: Node, seen: Sequence[float]) -> bool:
    """Whether a node that can only grow too large may do so over operands within such bounds. A
    number next to one that is small beside it stays what it is."""
    if node.op == "mul":
        return bound(node, seen) == ANY and min(seen) > 1.0
    if node.op in ("add", "sub", "contract"):
        return min(seen) == ANY
    return bound(node, seen) == ANY


def _const(node: Node, seen: Sequence[float], guarded: bool) -> float:
    def largest(value: object) -> float:
        if isinstance(value, tuple):
            return max(map(largest, value), default=0.0)
        return abs(float(value)) if isinstance(value, int | float) else ANY

    return largest(node["value"])


def _input(node: Node, seen: Sequence[float], guarded: bool) -> float:
    """Probabilities and bits are looked at when they are read."""
    return 1.0 if node.type.domain.name in ("prob", "binary") else ANY


def _sum(node: Node, seen: Sequence[float], guarded: bool) -> float:
    return seen[0] * _repeats(node)


def _product(node: Node, seen: Sequence[float], guarded: bool) -> float:
    size = 1.0 if node.op == "mul" else _repeats(node)
    return 0.0 if 0.0 in seen else seen[0] * seen[1] * size


def _repeats(node: Node) -> float:
    """How many numbers are added up: the elements that go, open sizes guessed high."""
    total = 1.0
    for operand in node.operands[:1]:
        for size in operand.type.shape:
            total *= size.value or 1e5
    return total


def _exp(node: Node, seen: Sequence[float], guarded: bool) -> float:
    return math.exp(seen[0]) if seen[0] < 80.0 else ANY


def _log(node: Node, seen: Sequence[float], guarded: bool) -> float:
    return 1.0 if guarded else 750.0


def _div(node: Node, seen: Sequence[float], guarded: bool) -> float:
    return seen[0] if guarded else ANY


def _pow(node: Node, seen: Sequence[float], guarded: bool) -> float:
    power = whole_power(node)
    if guarded or power is None or seen[0] == ANY:
        return 1.0 if guarded else ANY
    return math.exp(min(700.0, power * math.log(max(1.0, seen[0]))))


def whole_power(node: Node) -> float | None:
    """The exponent of a power that every number has: a constant 0, 1, 2, ..."""
    e = node.operands[1]
    value = e["value"] if e.op == "const" and not e.type.shape else -1.0
    return float(value) if value >= 0.0 and float(value).is_integer() else None


def _draw(node: Node, seen: Sequence[float], guarded: bool) -> float:
    """Of a normal curve nothing lies further out, whatever is drawn."""
    return 40.0


RULES: Mapping[str, Callable[[Node, Sequence[float], bool], float]] = {
    "const": _const,
    "input": _input,
    "whole": _input,
    "draw": _draw,
    "add": lambda node, seen, guarded: seen[0] + seen[1],
    "sub": lambda node, seen, guarded: seen[0] + seen[1],
    "sum": _sum,
    "cumsum": _sum,
    "mul": _product,
    "contract": _product,
    "square": lambda node, seen, guarded: seen[0] * seen[0],
    "exp": _exp,
    "expm1": _exp,
    "log": _log,
    "log1p": _log,
    "softplus": lambda node, seen, guarded: seen[0] + 1.0,
    "log_sum_exp": lambda node, seen, guarded: 2.0 * seen[0] + 50.0,
    "log_softmax": lambda node, seen, guarded: 2.0 * seen[0] + 50.0,
    "reciprocal": lambda node, seen, guarded: 1.0 if guarded else ANY,
    "div": _div,
    "pow": _pow,
}
