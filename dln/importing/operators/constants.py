"""Operators that make numbers, or are worked out here where they are given numbers."""

from __future__ import annotations

import numpy as np

from dln.importing.model import Array, Unsaid
from dln.importing.operators.records import (
    MOST,
    OnnxCall,
    Operator,
    Result,
    whole,
)  # fmt: skip
from dln.importing.values import Constant


def refuse_value(c: OnnxCall) -> Result:
    raise Unsaid("it makes a tensor whose shape depends on what the network is given")


def filled(c: OnnxCall, a: list[Array]) -> Array:
    value = c["value"] if c["value"] is not None else np.zeros(1, np.float32)
    return np.broadcast_to(np.asarray(value).reshape(()), tuple(whole(a[0], "shape")))


def ranged(c: OnnxCall, a: list[Array]) -> Array:
    start, stop, step = (x.reshape(-1)[0] for x in a)
    if step == 0 or not (stop - start) / step < MOST:
        raise Unsaid("it counts too far")
    return np.arange(start, stop, step)


def constant(c: OnnxCall) -> Result:
    kinds = {"value": None, "value_float": np.float32, "value_floats": np.float32,
             "value_int": np.int64, "value_ints": np.int64}  # fmt: skip
    for key, kind in kinds.items():
        if c[key] is not None:
            return Constant(np.asarray(c[key], kind), learnt=False, name=c.node.outputs[0])
    raise Unsaid("it holds no numbers")


def trilu(c: OnnxCall, a: list[Array]) -> Array:
    k = int(a[1].reshape(-1)[0]) if len(a) > 1 else 0
    return np.triu(a[0], k) if c["upper"] else np.tril(a[0], k)


TABLE = [
    Operator("Constant", constant, (0, 0), {
        "value": np.ndarray, "value_float": float, "value_floats": list, "value_int": int,
        "value_ints": list}),
    Operator("ConstantOfShape", refuse_value, attributes={"value": np.ndarray}, fold=filled),
    Operator("Range", refuse_value, (3, 3), fold=ranged),
    Operator("Trilu", refuse_value, (1, 2), {"upper": 1}, trilu),
]  # fmt: skip
