"""The largest and the mean of windows."""

from __future__ import annotations

from dln.grammar import syntax as s
from dln.importing.body import LEAST, Layer
from dln.importing.model import Unsaid
from dln.importing.operators.pointwise import over
from dln.importing.operators.records import OnnxCall, Operator, Result, Run, made, scaled_leaf
from dln.importing.operators.shapes import counts
from dln.importing.operators.windows import AREA, Windows, bare, framed, image, place, windows
from dln.importing.syntax_of import (
    call,
    flow,
    index,
    number,
    ranged,
    reduce,
    text,
)
from dln.importing.values import Value, alone, leaf


def pooled(function: str, fill: float) -> Run:
    def run(c: OnnxCall) -> Result:
        if len(c.node.outputs) > 1 and c.node.outputs[1] and c.body.uses[c.node.outputs[1]]:
            raise Unsaid("its indices are used")
        if c["ceil_mode"] not in (0, 1):
            raise Unsaid(f"its ceil_mode is {c['ceil_mode']}")
        x, long = image(c)
        w = windows(c, long, c["kernel_shape"] or [], bool(c["ceil_mode"]))
        counted = function == "mean" and not c["count_include_pad"]
        if function == "mean" and c["count_include_pad"] and max(w.hang) > 0:
            raise Unsaid("it counts its border, and its last window hangs over that")
        border = any(b != (0, 0) for b in w.pads) or max(w.hang) > 0
        rim = 0.0 if function == "mean" or positive(c, x) else fill
        if border:
            found = pool(c, framed(c, x, w, rim), bare(w), function)
        else:
            found = pool(c, x, w, function)
        if border and counted:
            return shared(c, x, w, found)
        return found

    return run


def positive(c: OnnxCall, x: Value) -> bool:
    """Whether an input is not negative, so that a border of zeros is none of its largest."""
    line = c.body.line_of(x)
    act = (
        line.value.options.get("act")
        if line is not None and isinstance(line.value, Layer)
        else None
    )
    return isinstance(act, s.Name) and act.id in ("relu", "sigmoid")


def pool(c: OnnxCall, x: Value, w: Windows, function: str) -> Value:
    """As a layer of the library, or an equation over windows."""
    x = c.body.canonical(x)
    held = scaled_leaf(x)
    shape = (held.shape[0], *w.out)
    if len(w.size) == 2 and w.even and w.gap[0] == 1 and not any(b != (0, 0) for b in w.pads):
        return Value(c.body.define(flow(held.expr, block(w, function)), shape), x.axes)
    x = framed(c, x, w)
    held = scaled_leaf(c.body.canonical(x))

    def value(at: list[s.Expr]) -> s.Expr:
        inner = c.body.indices((0,) * len(w.size), at)
        spots = [
            place(i, t, u, g) for i, t, u, g in zip(at[1:], w.stride, inner, w.gap, strict=True)
        ]
        over_ = [
            ranged(u.id, n) for u, n in zip(inner, w.size, strict=True) if isinstance(u, s.Name)
        ]
        return reduce(function, over_, index(held.expr, [at[0], *spots]))

    return Value(c.body.equation(shape, value), x.axes)


def block(w: Windows, function: str) -> s.Expr:
    sizes = [number(w.size[0])] if w.size[0] != 2 else []
    options = {"stride": number(w.stride[0])} if w.stride[0] != w.size[0] else {}
    if any(w.hang):
        options["rest"] = text("cut")
    return call(f"{function}_pool", *sizes, **options)


def shared(c: OnnxCall, x: Value, w: Windows, found: Value) -> Value:
    """A mean over windows that takes the border for nothing: divided by the share that is none."""
    sizes = tuple(counts(c, x)[2:])
    tree = leaf(call("ones", number(1), *map(number, sizes)), (1, *sizes))
    ones = Value(tree, alone(tree))
    share = pool(c, framed(c, ones, w), bare(w), "mean")
    flat = Value(share.tree, ((), *share.axes[1:]))
    return made(c, [found, flat], over)


TABLE = [
    Operator("MaxPool", pooled("max", LEAST), (1, 1), {
        **AREA, "ceil_mode": 0, "storage_order": 0}),
    Operator("AveragePool", pooled("mean", 0.0), (1, 1), {
        **AREA, "ceil_mode": 0, "count_include_pad": 0}),
]  # fmt: skip
