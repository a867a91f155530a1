"""Operators that put borders around images, or make them larger."""

from __future__ import annotations

import numpy as np

from dln.grammar import syntax as s
from dln.importing.model import Unsaid
from dln.importing.operators.parts import sliced
from dln.importing.operators.records import (
    OnnxCall,
    Operator,
    Result,
    axis_of,
    literal,
    scaled_leaf,
)  # fmt: skip
from dln.importing.operators.shapes import counts
from dln.importing.syntax_of import binary, call, number
from dln.importing.values import BATCH, TIME, Leaf, Value, leaf


def pad(c: OnnxCall) -> Result:
    """A border of one number around some axes."""
    if c["mode"] != "constant":
        raise Unsaid(f"its mode is {c['mode']}")
    x, wide = c.value(0), c.ints(1, "pads", "pads") or []
    value = c["value"] if c["value"] is not None else c.const(2, "value")
    fill = 0.0 if value is None else float(np.asarray(value).reshape(-1)[0])
    axes = c.ints(3, "", "axes") or [*range(x.rank)]
    if len(wide) != 2 * len(axes):
        raise Unsaid("its pads do not go with its axes")
    half = len(axes)
    bounds = {axis_of(c, a, x.rank): (wide[k], wide[half + k]) for k, a in enumerate(axes)}
    return bordered(c, x, {a: b for a, b in bounds.items() if b != (0, 0)}, fill)


def bordered(c: OnnxCall, x: Value, wide: dict[int, tuple[int, int]], fill: float = 0.0) -> Value:
    """A border before and behind axes; a negative one is cut off."""
    for axis, (before, behind) in wide.items():
        long = counts(c, x)[axis]
        if min(before, behind) < 0:
            x = sliced(c, x, axis, max(-before, 0), long + min(behind, 0))
    wide = {a: (max(b, 0), max(e, 0)) for a, (b, e) in wide.items() if max(b, e) > 0}
    if not wide:
        return x
    if any(BATCH in x.axes[a] or TIME in (x.shape[r] for r in x.axes[a]) for a in wide):
        raise Unsaid("it puts a border around examples or steps")
    x = c.body.canonical(x)
    held = scaled_leaf(x)
    stored = {x.axes[a][0]: b for a, b in wide.items()}
    even = {b for bounds in stored.values() for b in bounds}
    rank = len(held.shape)
    image = sorted(stored) == [rank - 2, rank - 1] and rank == 3
    if fill == 0 and len(even) == 1 and (image or rank == 1):
        wider = 2 * next(iter(even))
        sizes = tuple(int(n) + wider if a in stored else n for a, n in enumerate(held.shape))
        new = leaf(call("pad", held.expr, number(wider // 2)), sizes, "")
        return Value(new, x.axes, x.kind)
    for at, (before, behind) in stored.items():
        held = edged(c, held, at, before, behind, fill)
    return Value(held, x.axes, x.kind)


def edged(c: OnnxCall, held: Leaf, at: int, before: int, behind: int, fill: float) -> Leaf:
    """A border along one axis: zeros at both ends, or a table put before and behind."""
    sizes = tuple(int(n) + before + behind if a == at else n for a, n in enumerate(held.shape))
    timed = held.shape[:1] == (TIME,)
    if fill == 0 and before == behind and not timed:
        return c.body.define(call("pad", held.expr, number(before), axis=number(at)), sizes)
    if timed:
        raise Unsaid("it puts a border around each step")

    def rim(wide: int) -> list[s.Expr]:
        shape_ = [number(wide if a == at else int(n)) for a, n in enumerate(held.shape)]
        table = call("zeros" if fill == 0 else "ones", *shape_)
        if fill not in (0, 1):
            table = binary("*", literal(np.array([fill], np.float32)), table)
        return [table] if wide else []

    named = {"axis": number(at)} if at else {}
    return c.body.define(call("concat", *rim(before), held.expr, *rim(behind), **named), sizes)


def resize(c: OnnxCall) -> Result:
    """Each element of an image so many times in a row."""
    modes = (c["mode"], c["coordinate_transformation_mode"], c["nearest_mode"])
    first = modes[:2] in (("nearest", "asymmetric"), ("nearest", "half_pixel"),
                          ("nearest", "pytorch_half_pixel"))  # fmt: skip
    if not first or (modes[1] == "asymmetric" and modes[2] != "floor" and c.opset >= 11):
        raise Unsaid(f"it resizes by {', '.join(modes)}")
    x, old = c.value(0), counts(c, c.value(0))
    if c.node.op == "Upsample":
        scales = c.const(1)
    else:
        scales, sizes = c.const(2, "scales"), c.const(3, "sizes")
        if sizes is not None and sizes.size:
            scales = sizes.reshape(-1) / np.array(old)
    if c["scales"] is not None:
        scales = np.array(c["scales"])
    factors = [float(f) for f in ([] if scales is None else scales.reshape(-1))]
    if (
        len(factors) != 4
        or factors[:2] != [1, 1]
        or factors[2] != factors[3]
        or not factors[2].is_integer()
    ):
        raise Unsaid("it resizes by other factors than one whole number for both sides of an image")
    x = c.body.canonical(x)
    k = int(factors[2])
    shape_ = tuple(n if a == 0 else int(n) * k for a, n in enumerate(x.shape))
    return Value(leaf(call("upsample", scaled_leaf(x).expr, number(k)), shape_, ""), x.axes)


TABLE = [
    Operator("Pad", pad, (1, 4), {"mode": "constant", "pads": list, "value": float}),
    Operator("Resize", resize, (1, 4), {
        "mode": "nearest", "coordinate_transformation_mode": "half_pixel", "nearest_mode":
        "round_prefer_floor", "cubic_coeff_a": -0.75, "exclude_outside": 0,
        "extrapolation_value": 0.0, "antialias": 0, "axes": list,
        "keep_aspect_ratio_policy": "stretch", "scales": list}),
    Operator("Upsample", resize, (1, 2), {
        "mode": "nearest", "scales": list, "coordinate_transformation_mode": "asymmetric",
        "nearest_mode": "floor"}),
]  # fmt: skip
