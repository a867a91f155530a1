"""Normalisation: what a sum, a quotient and a root are together. Whether its numbers are known or
measured of what is normalised is all the same to the equation; ONNX has an operator for each."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dln.compiler.ir.graph import Node
from dln.compiler.ir.structure import (
    is_contraction,
    is_quotient,
    is_spread,
    is_sum,
    is_transpose,
    number,
)
from dln.exporting.writing import OnnxValue, OnnxWriter
from dln.grammar.record import Record


class Normalised(Record):
    """`scale * (x - centre) / root + shift`, the first and the last along one `axis`."""

    x: Node
    scale: Node
    shift: Node
    centre: Node
    root: Node
    axis: int


def normalised(w: OnnxWriter, node: Node) -> OnnxValue | None:
    """BatchNormalization along the second axis, LayerNormalization along the last."""
    for found in parts(node):
        made = of_batch(w, found) or of_layer(w, found)
        if made is not None:
            return w.whole(made, node)
    return None


def parts(node: Node) -> Iterator[Normalised]:
    for quotient, shift in either(node):
        if not is_quotient(quotient) or (b := along(shift)) is None:
            continue
        over, root = quotient.operands
        for factor, difference in either(over) if over.op == "mul" else ():
            g = along(factor)
            if g is None or g[1] != b[1] or difference.op != "sub":
                continue
            x, centre = difference.operands
            yield Normalised(x, g[0], b[0], centre, root, b[1])


def either(node: Node) -> list[tuple[Node, Node]]:
    """Two operands, in both orders."""
    if len(node.operands) != 2:
        return []
    a, b = node.operands
    return [(a, b), (b, a)]


def along(node: Node) -> tuple[Node, int] | None:
    """A vector that is spread along one axis, and which."""
    if not is_spread(node) or len(node["axes"]) != 1 or "batch" in node.operands[0].type.running:
        return None
    return node.operands[0], node["axes"][0]


def of_batch(w: OnnxWriter, found: Normalised) -> str | None:
    """By numbers that there are one of for each entry of the second axis."""
    centre, root = along(found.centre), along(found.root)
    if found.axis != 1 or centre is None or root is None or (centre[1], root[1]) != (1, 1):
        return None
    below = under_root(root[0])
    if below is None or (epsilon := fitting(w, below[1])) is None:
        return None
    given = (found.x, found.scale, found.shift, centre[0], below[0])
    return w.call("BatchNormalization", *map(w.full, given), epsilon=epsilon)


def of_layer(w: OnnxWriter, found: Normalised) -> str | None:
    """By the mean and the deviation of each row itself."""
    last = len(found.x.type.shape) - 1
    size = found.x.type.shape[last].value or 0
    if w.made.dtype != "float32" or found.axis != last:
        return None
    centre, root = row(found.centre, last), row(found.root, last)
    if centre is None or root is None or not is_mean(centre, found.x, size):
        return None
    below = under_root(root)
    if below is None or (epsilon := fitting(w, below[1])) is None:
        return None
    squares = shared(below[0], size)
    if squares is None or not is_contraction(squares):
        return None
    a, b = squares.operands
    same = a is b and squares["left"] == squares["right"] == (*squares["out"], squares["left"][-1])
    if not same or a.op != "sub" or a.operands != (found.x, found.centre):
        return None
    given = (found.x, found.scale, found.shift)
    return w.call("LayerNormalization", *map(w.full, given), axis=-1, epsilon=epsilon)


def row(node: Node, last: int) -> Node | None:
    """What there is one of for each row, spread over the rows."""
    if not is_spread(node) or tuple(node["axes"]) != tuple(range(last)):
        return None
    return node.operands[0]


def is_mean(node: Node, x: Node, size: int) -> bool:
    """Whether a node is the mean of rows, whichever way these lie side by side."""
    node, turned = untwisted(node)
    x, order = untwisted(x)
    total = shared(node, size)
    last = len(order) - 1
    return (
        total is not None
        and is_sum(total)
        and total.operands[0] is x
        and tuple(total["axes"]) == (last,)
        and (*turned, last) == order
    )


def untwisted(node: Node) -> tuple[Node, tuple[int, ...]]:
    """What a node was before its axes were put in another order, and the order."""
    order = tuple(range(len(node.type.shape)))
    if not is_transpose(node):
        return node, order
    return node.operands[0], tuple(node["perm"])


def shared(node: Node, size: int) -> Node | None:
    """x of `1 / size * x`."""
    for factor, x in either(node) if node.op == "mul" else ():
        by = number(factor)
        if by is not None and abs(by * size - 1) < 1e-12:
            return x
    return None


def under_root(node: Node) -> tuple[Node, float] | None:
    """x and e of `sqrt(x + e)`."""
    if node.op != "sqrt" or node.operands[0].op != "add":
        return None
    for x, added in either(node.operands[0]):
        e = number(added)
        if e is not None and e > 0:
            return x, e
    return None


def fitting(w: OnnxWriter, epsilon: float) -> float | None:
    """A number that ONNX holds in single precision, where that is exact enough."""
    exact = w.made.dtype == "float32" or float(np.float32(epsilon)) == epsilon
    return epsilon if exact else None
