"""Normalisation: layers of the library where they are what the file says, else equations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dln.grammar import syntax as s
from dln.importing.body import Layer
from dln.importing.model import Unsaid
from dln.importing.operators.layers import layer
from dln.importing.operators.pointwise import over, plus, shaped, square, times
from dln.importing.operators.records import OnnxCall, Operator, Result, axis_of, made
from dln.importing.operators.reductions import reduced
from dln.importing.operators.shapes import counts, reshaped
from dln.importing.syntax_of import binary, call
from dln.importing.values import BATCH, TIME, Constant, Value

EPS = 1e-5  # that of the layers of the library


def close(eps: float) -> dict[str, s.Expr]:
    return {} if abs(eps - EPS) < 1e-9 else {"eps": shaped(eps)}


def batch_norm(c: OnnxCall) -> Result:
    """By the mean and variance of the file; a layer, which follows its own where it learns."""
    if c["training_mode"] or any(t and c.body.uses[t] for t in c.node.outputs[1:]):
        raise Unsaid("it measures the examples: it is exported for training",
                     "export it for inference")  # fmt: skip
    x = c.value(0)
    names = dict(zip("gbms", ("scale", "bias", "mean", "variance"), strict=True))
    held = {k: c.weights(i, what, 1) for i, (k, what) in enumerate(names.items(), 1)}
    many = counts(c, x)[1] if x.rank > 1 else 0
    if any(w.array.shape != (many,) for w in held.values()):
        raise Unsaid("its numbers do not go with its input")
    rank = len([a for a in x.order])
    if x.axes[0] == (BATCH,) and TIME not in x.shape and many > 1 and x.rank == rank + 1 in (2, 4):
        x = c.body.canonical(x)
        block = "batch_norm" if x.rank == 2 else "batch_norm_maps"
        found = layer(c, x, block, (), held, len(x.shape), x.shape, options=close(c["epsilon"]))
        line = c.body.lines[-1].value
        assert isinstance(line, Layer)
        line.fixed = ("m", "s")
        return Value(found, x.axes)
    fixed = {k: Constant(w.array, k in "gb", w.name) for k, w in held.items()}
    g, b, m, v = (along(w, x.rank, 1) for w in fixed.values())

    def value(x: s.Expr, g: s.Expr, b: s.Expr, m: s.Expr, v: s.Expr) -> s.Expr:
        root = call("sqrt", plus(v, shaped(c["epsilon"])))
        return plus(over(times(g, binary("-", x, m)), root), b)

    return made(c, [x, g, b, m, v], value)


def along(w: Constant, rank: int, axis: int) -> Constant:
    """A vector whose numbers lie along an axis."""
    shape = [1] * rank
    shape[axis] = w.array.size
    return Constant(w.array.reshape(shape), w.learnt, w.name)


def layer_norm(c: OnnxCall) -> Result:
    """Over the last axis a layer; over several an equation."""
    if any(t and c.body.uses[t] for t in c.node.outputs[1:]):
        raise Unsaid("its mean or deviation is used")
    x = c.value(0)
    axis, scale, bias = axis_of(c, c["axis"], x.rank), c.weights(1, "scale"), c.arg(2)
    sizes = tuple(counts(c, x)[axis:])
    given = [scale] if bias is None else [scale, c.weights(2, "bias")]
    if any(np.broadcast_shapes(w.array.shape, sizes) != sizes for w in given):
        raise Unsaid("its numbers do not go with its input")
    one = axis == x.rank - 1 and BATCH not in x.axes[-1] and x.axes[-1]
    if one and all(w.array.shape == sizes for w in given):
        x = c.body.canonical(x)
        weights = dict(zip("gb", given, strict=False))
        many = sizes[0]
        found = layer(
            c, x, "layer_norm", (), weights, 1, (many,), "b", many, options=close(c["epsilon"])
        )
        return Value(found, x.axes)
    made_ = standardised(c, x, range(axis, x.rank), c["epsilon"])
    made_ = made(c, [made_, scale], times)
    return made_ if bias is None else made(c, [made_, given[1]], plus)


def standardised(c: OnnxCall, x: Value, axes: Sequence[int], eps: float) -> Value:
    """Less the mean, divided by the deviation, over some axes."""
    x = c.body.named(x)
    mean = reduced(c, x, axes, "mean", True)
    left = c.body.named(made(c, [x, mean], lambda a, b: binary("-", a, b)))
    spread = reduced(c, left, axes, "mean", True, square)
    return made(c, [left, spread], lambda a, v: over(a, call("sqrt", plus(v, shaped(eps)))))


def instance_norm(c: OnnxCall) -> Result:
    """Each map of an image by itself."""
    x = c.value(0)
    if x.rank < 3:
        raise Unsaid("it takes an image")
    found = standardised(c, x, range(2, x.rank), c["epsilon"])
    scale, bias = (along(c.weights(k, "numbers", 1), x.rank, 1) for k in (1, 2))
    return made(c, [made(c, [found, scale], times), bias], plus)


def group_norm(c: OnnxCall) -> Result:
    """Some maps of an image together."""
    x, groups = c.value(0), c["num_groups"]
    sizes = counts(c, x)
    if x.rank < 2 or groups < 1 or sizes[1] % groups:
        raise Unsaid("its groups do not go with its input")
    parts = [sizes[0], groups, sizes[1] // groups, *sizes[2:]]
    found = standardised(c, reshaped(c, x, parts), range(2, x.rank + 1), c["epsilon"])
    scale, bias = c.weights(1, "scale", 1), c.weights(2, "bias", 1)
    if scale.array.size == groups != sizes[1]:
        raise Unsaid("it has numbers for each group, as before operator set 21")
    found = reshaped(c, found, sizes)
    scale, bias = along(scale, x.rank, 1), along(bias, x.rank, 1)
    return made(c, [made(c, [found, scale], times), bias], plus)


def rms_norm(c: OnnxCall) -> Result:
    """Divided by the root of the mean of the squares."""
    x = c.body.named(c.value(0))
    axes = range(axis_of(c, c["axis"], x.rank), x.rank)
    mean = reduced(c, x, axes, "mean", True, square)
    eps = shaped(c["epsilon"])
    found = made(c, [x, mean], lambda a, v: over(a, call("sqrt", plus(v, eps))))
    return made(c, [found, c.weights(1, "scale")], times)


TABLE = [
    Operator("BatchNormalization", batch_norm, (5, 5), {
        "epsilon": 1e-5, "momentum": 0.9, "training_mode": 0, "spatial": 1}),
    Operator("LayerNormalization", layer_norm, (2, 3), {
        "axis": -1, "epsilon": 1e-5, "stash_type": 1}),
    Operator("InstanceNormalization", instance_norm, (3, 3), {"epsilon": 1e-5}),
    Operator("GroupNormalization", group_norm, (3, 3), {
        "epsilon": 1e-5, "num_groups": int, "stash_type": 1}),
    Operator("RMSNormalization", rms_norm, (2, 2), {
        "axis": -1, "epsilon": 1e-5, "stash_type": 1}),
]  # fmt: skip
