"""Between which two numbers a value lies, whatever is learnt: as far as domains, constants and
operations that go one way say it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import TypeAlias

from dln.compiler.ir.graph import Node
from dln.compiler.ir.op import op_of
from dln.compiler.ir.ops.bounds import is_even_power
from dln.compiler.ir.structure import is_clock, is_spread, number
from dln.compiler.schema.tables import BOUNDS

Range: TypeAlias = tuple[float, float]
Asked: TypeAlias = Callable[[Node], Range]
EVERY: Range = (-math.inf, math.inf)
DEEP = 30  # operations that are looked through
NEAR, FAR = 1e-300, 500.0  # in place of a 0 that is not allowed; what that gives has no end


def between(node: Node, clock: Asked) -> Range:
    """The smallest and the largest that a real value may be; `clock` says it of a number of the
    run."""
    return _between(node, clock, DEEP, {})


def _between(node: Node, clock: Asked, deep: int, found: dict[Node, Range]) -> Range:
    if node not in found:
        found[node] = _looked_at(node, clock, deep, found)
    return found[node]


def _looked_at(node: Node, clock: Asked, deep: int, found: dict[Node, Range]) -> Range:
    if is_clock(node):
        return clock(node)
    if (known := number(node)) is not None:
        return known, known
    said = (0.0, 1.0) if node.type.kind == "bool" else BOUNDS.get(node.type.domain.name, EVERY)
    if node.type.kind != "real" or deep == 0 or not _followed(node):
        return said
    parts = [_between(o, clock, deep - 1, found) for o in node.operands]
    low, high = _worked_out(node, parts)
    return max(said[0], low), min(said[1], high)


def _followed(node: Node) -> bool:
    """Whether anything follows from what the operands of a node may be."""
    record = op_of(node)
    if len(node.operands) == 1 and (is_spread(node) or record.is_("identity")):
        return True
    return is_even_power(node) or record.is_("moves") or record.is_("one_way")


def _worked_out(node: Node, parts: list[Range]) -> Range:
    """What follows for a node from what its operands may be."""
    record = op_of(node)
    if is_spread(node) or record.is_("identity"):
        return parts[0]
    if is_even_power(node):
        return 0.0, math.inf
    if record.is_("moves") and len(parts) == 1:  # and perhaps added up
        low, high = parts[0]
        return 0.0 if low >= 0 else -math.inf, 0.0 if high <= 0 else math.inf
    if record.number is None:
        return EVERY
    tried = [[low, *[0.0] * (low < 0 < high), high] for low, high in parts]
    found = [_at(record.number, corner) for corner in itertools.product(*tried)]
    if any(one is None or math.isnan(one) for one in found):
        return EVERY
    ends = [f for f in found if f is not None]
    return min(ends), max(ends)


def _at(rule: Callable[..., float], corner: tuple[float, ...]) -> float | None:
    """A rule at a corner; at one that is no part of where it is defined, next to it."""
    try:
        if 0.0 in corner and any(map(math.isinf, corner)) and math.isnan(rule(*corner)):
            return 0.0  # a product: nothing times whatever there is
        return rule(*corner)
    except OverflowError:
        return math.inf
    except (ArithmeticError, ValueError):
        if len(corner) != 1:
            return None
    try:
        value = rule(*(x or NEAR for x in corner))
    except (ArithmeticError, ValueError):
        return None
    return math.copysign(math.inf, value) if abs(value) > FAR else value


def decided(op: str, left: Range, right: Range, within: float = 0.0) -> bool | None:
    """Whether a comparison always holds, or never; None where it may do either. Of one that holds
    just at the end of a range nothing is said: it may be there to make sure."""
    if op in ("gt", "ge"):
        op, left, right = {"gt": "lt", "ge": "le"}[op], right, left
    if op in ("lt", "le"):
        if left[1] < right[0]:
            return True
        beyond = left[0] > right[1] or (op == "lt" and left[0] == right[1])
        return False if beyond and math.isfinite(left[0]) else None
    apart = max(left[0] - right[1], right[0] - left[1])
    return op == "ne" if op in ("eq", "ne") and apart > within else None
