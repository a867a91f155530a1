"""Comparisons, choices by them, and what becomes of their type."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dln.grammar import syntax as s
from dln.importing.model import Array, Unsaid
from dln.importing.operators.pointwise import ZERO, joined, operands
from dln.importing.operators.records import OnnxCall, Operator, Result, made
from dln.importing.syntax_of import binary, choose, negated
from dln.importing.values import Constant, Leaf, Value


def where(c: OnnxCall) -> Result:
    """A choice by a truth value, which is a comparison or a number that is 0 or not."""
    test, then, other = operands(c)
    if isinstance(test, Constant) and test.array.size == 1:
        chosen, rest = (then, other) if test.array.any() else (other, then)
        if isinstance(chosen, Value) and smaller(rest, chosen):
            return chosen

    def put(t: s.Expr, a: s.Expr, b: s.Expr) -> s.Expr:
        asked = t if isinstance(t, s.Binary) and t.op in TESTS else binary("!=", t, ZERO)
        return choose(asked, a, b)

    return made(c, [test, then, other], put)


def smaller(a: Value | Constant, b: Value) -> bool:
    """Whether a tensor beside another makes it no larger."""
    rank = a.array.ndim if isinstance(a, Constant) else a.rank
    if rank > b.rank:
        return False
    one = isinstance(a, Constant) and a.array.size == 1
    return one or (isinstance(a, Value) and a.axes == b.axes and a.shape == b.shape)


TESTS = ("==", "!=", "<", "<=", ">", ">=", "and", "or")
COMPARED = {
    "Equal": ("==", np.equal), "Greater": (">", np.greater), "Less": ("<", np.less),
    "GreaterOrEqual": (">=", np.greater_equal), "LessOrEqual": ("<=", np.less_equal),
    "And": ("and", np.logical_and), "Or": ("or", np.logical_or), "Xor": ("!=", np.logical_xor),
}  # fmt: skip


def compared(op: str) -> Operator:
    mark, fold = COMPARED[op]
    plain_run = joined(op, lambda a, b: binary(mark, a, b), "truth")

    def run(c: OnnxCall) -> Result:
        """What a class is beside 0 is known: exporters ask whether it is negative."""
        x, zero = c.arg(0), c.arg(1)
        at_all = isinstance(x, Value) and x.kind == "index" and isinstance(x.tree, Leaf)
        if at_all and isinstance(zero, Constant) and not zero.array.any() and mark in ("<", ">="):
            assert isinstance(x, Value) and isinstance(x.tree, Leaf)
            c.body.asked.add(x.tree.key)
            return Constant(np.full((1,) * x.rank, mark == ">="))
        return plain_run(c)

    return Operator(op, run, (2, 2), fold=lambda c, a: fold(a[0], a[1]))


def cast(c: OnnxCall) -> Result:
    """Another type of the same numbers; cutting off what stands behind the point is refused."""
    x, to = c.value(0), c["to"]
    if to not in (1, 10, 11, 16) and x.kind == "real":
        if to == 9:
            return made(c, [x], lambda a: binary("!=", a, ZERO), "truth")
        raise Unsaid("it cuts numbers off to whole ones")
    if to == 9 and x.kind == "class":
        return made(c, [x], lambda a: binary("!=", a, ZERO), "truth")
    return x if x.kind != "truth" or to == 9 else Value(x.tree, x.axes, "real", "prob")


def fold_cast(c: OnnxCall, a: Sequence[Array]) -> Array:
    kinds = {1: np.float32, 11: np.float64, 6: np.int32, 7: np.int64, 9: np.bool_, 10: np.float32}
    if c["to"] not in kinds:
        raise Unsaid(f"it casts to type {c['to']}")
    if a[0].dtype == object:
        return a[0]
    return a[0].astype(kinds[c["to"]])


TABLE = [
    *map(compared, COMPARED),
    Operator("Not", lambda c: made(c, [c.value(0)], negated, "truth"), fold=lambda c, a: ~a[0]),
    Operator("Where", where, (3, 3), fold=lambda c, a: np.where(a[0], a[1], a[2])),
    Operator("Cast", cast, attributes={"to": 1, "saturate": 1, "round_mode": "up"}, fold=fold_cast),
]
