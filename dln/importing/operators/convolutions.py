"""Convolutions and their adjoints: layers where all directions are alike, else equations."""

from __future__ import annotations

import numpy as np

from dln.grammar import syntax as s
from dln.importing.body import Layer
from dln.importing.model import Unsaid
from dln.importing.operators.borders import bordered
from dln.importing.operators.layers import layer
from dln.importing.operators.parts import sliced
from dln.importing.operators.pointwise import plus
from dln.importing.operators.records import OnnxCall, Operator, Result, made, scaled_leaf
from dln.importing.operators.shapes import counts
from dln.importing.operators.windows import AREA, Windows, framed, image, place, windows
from dln.importing.syntax_of import (
    binary,
    index,
    name,
    number,
    reduce,
    text,
    texts,
)
from dln.importing.values import Constant, Value


def convolution(c: OnnxCall) -> Result:
    x, long = image(c)
    kernel, groups = c.weights(1, "filters"), c["group"]
    w = kernel.array
    if w.ndim != len(long) + 2 or min(w.shape) < 1 or groups < 1:
        raise Unsaid("its filters do not go with its input")
    many, maps = w.shape[0], counts(c, x)[1]
    if w.shape[1] * groups != maps or many % groups:
        raise Unsaid(f"its filters are for {w.shape[1] * groups} maps, its input has {maps}")
    found = windows(c, long, w.shape[2:])
    bias = c.arg(2)
    weights: dict[str, Constant] = {}
    if isinstance(bias, Constant) and bias.array.shape == (many,):
        weights["b"] = bias
    elif bias is not None:
        raise Unsaid("its bias is no vector with a number for each map")
    return shaped_convolution(c, x, found, kernel, weights, groups, many, maps)


def shaped_convolution(
    c: OnnxCall, x: Value, w: Windows, kernel: Constant, weights: dict[str, Constant], groups: int,
    many: int, maps: int,
) -> Value:  # fmt: skip
    """As a layer of the library where all axes are alike, else as an equation."""
    n, array = len(w.size), kernel.array
    if not w.even or n not in BLOCKS or (groups > 1 and n != 2):
        return convolution_equation(c, x, w, kernel, weights, groups, many, maps)
    options: dict[str, s.Expr] = {}
    if w.border is None:
        x = bordered(c, x, {2 + a: b for a, b in enumerate(w.pads) if b != (0, 0)})
    elif w.border:
        options["border"] = number(w.border)
    if w.stride[0] > 1:
        options["stride"] = number(w.stride[0])
    if w.gap[0] > 1:
        options["gap"] = number(w.gap[0])
    if any(w.hang):
        options["rest"] = text("cut")
    block, sizes = BLOCKS[n], [number(many), number(w.size[0])]
    if groups == maps == many and groups > 1:
        block, sizes, array = "depthwise_conv", sizes[1:], array[:, 0]
    elif groups > 1:
        block, sizes = "grouped_conv", [*sizes, number(groups)]
        array = array.reshape(groups, many // groups, *array.shape[1:])
    held = {"K": Constant(array, kernel.learnt, kernel.name), **weights}
    found = layer(c, x, block, sizes, held, n + 1, (many, *w.out), "b", many, True, options)
    line = c.body.lines[-1].value
    assert isinstance(line, Layer)
    line.axis = 1
    return Value(found, x.axes)


def convolution_equation(
    c: OnnxCall, x: Value, w: Windows, kernel: Constant, weights: dict[str, Constant], groups: int,
    many: int, maps: int,
) -> Value:  # fmt: skip
    """`y[o, i, j] = sum(q, u, v: K[o, q, u, v] * x[q, i + u, j + v]) + b[o]`."""
    single = groups == maps == many and groups > 1
    if groups > 1 and not single:
        raise Unsaid(f"it has {groups} groups, and windows that are not alike in all directions")
    held = scaled_leaf(framed(c, x, w))
    array = kernel.array[:, 0] if single else kernel.array
    k = c.body.param(Constant(np.ascontiguousarray(array), kernel.learnt, kernel.name))
    b = c.body.param(weights["b"]) if "b" in weights else None

    def value(at: list[s.Expr]) -> s.Expr:
        inner = c.body.indices((0,) * len(array.shape[1:]), at)
        q, *steps = [at[0], *inner] if single else inner
        spots = [
            place(i, t, u, g) for i, t, u, g in zip(at[1:], w.stride, steps, w.gap, strict=True)
        ]
        taps = [at[0], *inner]
        total = reduce(
            "sum", inner, binary("*", index(k.expr, taps), index(held.expr, [q, *spots]))
        )
        return total if b is None else plus(total, index(b.expr, at[:1]))

    return Value(c.body.equation((many, *w.out), value), x.axes)


def transposed(c: OnnxCall) -> Result:
    """The adjoint of a convolution: each element puts a filter into the result."""
    x, long = image(c)
    kernel, n = c.weights(1, "filters"), len(long)
    w, extra = kernel.array, c["output_padding"] or [0] * n
    if c["group"] != 1 or c["output_shape"] or w.ndim != n + 2 or len(extra) != n or min(extra) < 0:
        raise Unsaid("it has groups, or asks for an output_shape")
    if c["auto_pad"] not in ("NOTSET", "VALID") or w.shape[0] != counts(c, x)[1]:
        raise Unsaid(f"its auto_pad is {c['auto_pad']}" if w.shape[0] == counts(c, x)[1] else
                     "its filters do not go with its input")  # fmt: skip
    span = [
        4 * (k - 1) * max(g, 1) + 4 * h
        for h, k, g in zip(long, w.shape[2:], c["dilations"] or [1] * n, strict=False)
    ]
    plan = windows(c, [h + s_ for h, s_ in zip(long, span, strict=True)], w.shape[2:])
    many = w.shape[1]
    full = [t * (h - 1) + e for t, h, e in zip(plan.stride, long, plan.wide, strict=True)]
    plan.out = [f + o - b - e for f, o, (b, e) in zip(full, extra, plan.pads, strict=True)]
    if min(plan.out) < 1:
        raise Unsaid("its pads leave nothing")
    weights: dict[str, Constant] = {}
    if c.arg(2) is not None:
        weights["b"] = c.weights(2, "bias", 1)
    array = np.ascontiguousarray(w.transpose(1, 0, *range(2, w.ndim)))
    held = {"K": Constant(array, kernel.learnt, kernel.name), **weights}
    if n == 2 and plan.even and plan.gap[0] == 1 and plan.border is not None and not any(extra):
        options = {"stride": number(plan.stride[0])} if plan.stride[0] > 1 else {}
        if plan.border:
            options["border"] = number(plan.border)
        sizes = (number(many), number(plan.size[0]))
        found = layer(
            c,
            x,
            "conv_transpose",
            sizes,
            held,
            3,
            (many, *plan.out),
            "b",
            many,
            True,
            options=options,
        )
        line = c.body.lines[-1].value
        assert isinstance(line, Layer)
        line.axis = 1
        return Value(found, x.axes)
    return transposed_equation(c, x, plan, held, full, many)


def transposed_equation(
    c: OnnxCall, x: Value, w: Windows, held: dict[str, Constant], full: list[int], many: int
) -> Value:
    k, body = c.body.param(held["K"]), scaled_leaf(x)
    names = [name(i) for i in c.body.names.indices([False] * (2 + 2 * len(full)))]
    o, q, *rest = names
    at, steps = rest[: len(full)], rest[len(full) :]
    spots = [place(i, t, u, g) for i, t, u, g in zip(at, w.stride, steps, w.gap, strict=True)]
    value = reduce(
        "sum", [q], binary("*", index(k.expr, [o, q, *steps]), index(body.expr, [q, *at]))
    )
    made_ = c.body.define(value, (many, *full), texts([o, *spots]))
    c.body.lines[-1].adds = True
    found = Value(made_, x.axes)
    for a, (before, _) in enumerate(w.pads):
        stop = before + w.out[a]
        found = sliced(c, found, 2 + a, before, min(stop, full[a]))
        if stop > full[a]:
            found = bordered(c, found, {2 + a: (0, stop - full[a])})
    if "b" not in held:
        return found
    bias = Constant(
        held["b"].array.reshape(1, -1, *[1] * len(full)), held["b"].learnt, held["b"].name
    )
    return made(c, [found, bias], plus)


BLOCKS = {1: "conv1d", 2: "conv", 3: "conv3d"}
TABLE = [
    Operator("Conv", convolution, (2, 3), {**AREA, "group": 1}),
    Operator("ConvTranspose", transposed, (2, 3), {
        **AREA, "group": 1, "output_padding": list, "output_shape": list}),
]  # fmt: skip
