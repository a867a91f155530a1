"""Operators that take axes together: sums, means, extremes, and what makes one row of a row."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from dln.grammar import syntax as s
from dln.importing.model import Array, Unsaid
from dln.importing.operators.parts import picked
from dln.importing.operators.pointwise import logit, square
from dln.importing.operators.records import (
    OnnxCall,
    Operator,
    Result,
    axis_of,
    made,
    settled,
)  # fmt: skip
from dln.importing.operators.shapes import counts
from dln.importing.syntax_of import binary, call, name, reduce
from dln.importing.values import BATCH, TIME, Element, Leaf, Tree, Value, plain, written

Wrap = Callable[[s.Expr], s.Expr]


def same(e: s.Expr) -> s.Expr:
    return e


def reduced(c: OnnxCall, x: Value, axes: Sequence[int], function: str, keep: bool,
            before: Wrap = same, after: Wrap = same) -> Value:  # fmt: skip
    """`function` over some axes, of each element as `before` makes it. The largest, the least and
    the mean of probabilities are one, which a softmax behind them is told."""
    x = settled(c, x)  # type: ignore[assignment]
    plainly = before is same and after is same and function in ("max", "min", "mean")
    domain = x.domain if plainly else ""
    gone = sorted(a for k in axes for a in x.axes[k])
    if BATCH in gone:
        raise Unsaid("it works across the examples")
    shape = x.shape
    rest = [a for a in x.order if a not in gone]
    if first := [a for a in rest if shape[a] == TIME][:1]:
        rest = first + [a for a in rest if a != first[0]]
    lanes: list[tuple[int, ...]] = []
    for k, axis in enumerate(x.axes):
        if k not in axes:
            lanes.append(tuple(a if a == BATCH else rest.index(a) for a in axis))
        elif keep:
            lanes.append(())
    sizes = tuple(shape[a] for a in rest)
    if not gone:
        one = Element(lambda e: after(before(e)), ((x.tree, tuple(range(len(shape)))),), shape, 1)
        return Value(one if before is not same or after is not same else x.tree, tuple(lanes),
                     domain=domain)  # fmt: skip
    if plain(x.tree) and (not rest or [shape[a] for a in gone] == [TIME]):
        over = [name("time")] if rest else []
        body = before(written(x.tree, None))
        value = after(reduce(function, over, body) if over else call(function, body))
        return Value(c.body.define(value, sizes), tuple(lanes), domain=domain)
    at = [name(i) for i in c.body.names.indices([a == TIME for a in sizes])]
    inner = c.body.indices(tuple(shape[a] for a in gone), at)
    place = {**dict(zip(rest, at, strict=True)), **dict(zip(gone, inner, strict=True))}
    body = before(written(x.tree, [place[a] for a in range(len(shape))]))
    value = after(reduce(function, inner, body))
    marks = [i.id for i in at if isinstance(i, s.Name)]
    return Value(c.body.define(value, sizes, marks), tuple(lanes), domain=domain)


def axes_of(c: OnnxCall, x: Value) -> list[int]:
    axes = c.ints(1, "axes", "axes")
    if not axes:
        return [] if c["noop_with_empty_axes"] else [*range(x.rank)]
    found = [axis_of(c, a, x.rank) for a in axes]
    if len({*found}) < len(found):
        raise Unsaid("it names an axis twice")
    return found


def root(e: s.Expr) -> s.Expr:
    return call("sqrt", e)


REDUCED: dict[str, tuple[str, Wrap, Wrap]] = {
    "ReduceSum": ("sum", same, same), "ReduceMean": ("mean", same, same),
    "ReduceMax": ("max", same, same), "ReduceMin": ("min", same, same),
    "ReduceSumSquare": ("sum", square, same), "ReduceL2": ("sum", square, root),
    "ReduceL1": ("sum", lambda e: call("abs", e), same),
    "ReduceLogSum": ("sum", same, lambda e: call("log", e)),
    "ReduceProd": ("prod", same, same),
    "ReduceLogSumExp": ("sum", lambda e: call("exp", e), lambda e: call("log", e)),
}  # fmt: skip


def multiplied(c: OnnxCall, x: Value, axes: Sequence[int]) -> Value:
    """A product along an axis of few."""
    if len(axes) != 1 or BATCH in x.axes[axes[0]] or counts(c, x)[axes[0]] > FEW:
        raise Unsaid("it multiplies along an axis that is not one of few")
    x, at = c.body.kept_short(x, 2), axes[0]
    parts = [picked(c, x, at, k, bool(c["keepdims"])) for k in range(counts(c, x)[at])]
    found = parts[0]
    for one in parts[1:]:
        found = made(c, [found, one], lambda a, b: binary("*", a, b))
    return found


FEW = 8  # factors that are written out
FOLDED = ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd")


def reduction(op: str) -> Operator:
    function, before, after = REDUCED[op]

    def run(c: OnnxCall) -> Result:
        x = c.value(0)
        if op == "ReduceProd":
            return multiplied(c, x, axes_of(c, x))
        return reduced(c, x, axes_of(c, x), function, bool(c["keepdims"]), before, after)

    def fold(c: OnnxCall, a: list[Array]) -> Array:
        if op not in FOLDED:
            raise Unsaid("it is taken of a constant")
        axes = c.ints(1, "axes", "axes")
        function_ = getattr(np, function)
        return np.asarray(
            function_(
                a[0], axis=None if axes is None else tuple(axes), keepdims=bool(c["keepdims"])
            )
        )

    attributes = {"axes": list, "keepdims": 1, "noop_with_empty_axes": 0}
    return Operator(op, run, (1, 2), attributes, fold)


# ---- of a row, a row ---------------------------------------------------------------------------


def rowwise(
    c: OnnxCall, x: Value, axis: int, function: Wrap, domain: str = "", given: str = "row"
) -> Value:
    """A function of vectors along an axis; `given` one number in place of a row."""
    if BATCH in x.axes[axis] or not x.axes[axis]:
        raise Unsaid(
            "it works across the examples" if x.axes[axis] else "it works along an axis of one"
        )
    if len(x.axes[axis]) > 1:
        x = c.body.canonical(x)
    x = settled(c, x)  # type: ignore[assignment]
    row = x.axes[axis][0]
    if x.shape[row] == TIME and x.shape.count(TIME) == 1:
        raise Unsaid("it works along the axis that runs over time")
    rest = [a for a in x.order if a != row]
    if first := [a for a in rest if x.shape[a] == TIME][:1]:
        rest = first + [a for a in rest if a != first[0]]
    order = [*rest, row]
    alone = (
        order == [*range(len(order))]
        and plain(x.tree)
        and (not rest or [x.shape[a] for a in rest] == [TIME])
    )
    if not alone and not (whole_rows(x.tree) and order == [*range(len(order))]):
        turned = x.viewed([tuple(a for a in (BATCH,))] + [(a,) for a in order])
        named = c.body.named(turned)
        if named.order != [*range(len(order))]:
            raise Unsaid("it works along the axis that runs over time")
        lanes = [tuple(a if a == BATCH else order.index(a) for a in lane) for lane in x.axes]
        x = Value(named.tree, tuple(lanes), x.kind, x.domain, x.classes)
        order = [*range(len(order))]
        rest, row = order[:-1], order[-1]
    shape = tuple(x.shape[a] for a in order)
    gives = shape if given == "row" else shape[:-1]
    lanes_ = [tuple(a for a in lane if given == "row" or a != row) for lane in x.axes]
    if alone or not rest or [x.shape[a] for a in rest] == [TIME]:
        value = function(written(x.tree, None))
        return Value(c.body.define(value, gives), tuple(lanes_), "real", domain)
    made_ = c.body.equation(
        gives, lambda at: function(written(x.tree, at)), drop=int(given == "row")
    )
    return Value(made_, tuple(lanes_), "real", domain)


def whole_rows(tree: Tree) -> bool:
    """Whether an expression can be written with all indices but the last."""
    if isinstance(tree, Leaf):
        return not tree.split
    return all(
        (not part.shape or (part.shape == tree.shape and at == tuple(range(len(at)))))
        and whole_rows(part)
        for part, at in tree.parts
    )


def softmax(c: OnnxCall) -> Result:
    x = c.value(0)
    axis = axis_of(c, old_axis(c, x), x.rank)
    found = rowwise(c, logit(x), axis, lambda e: call("softmax", e), "prob")
    if c.node.op == "LogSoftmax":
        return made(c, [found], lambda e: call("log", e))
    return found


def old_axis(c: OnnxCall, x: Value) -> int:
    """The axis; before operator set 13 all axes from it on were one."""
    axis = c["axis"]
    if c.opset >= 13:
        return -1 if axis is None else int(axis)
    axis = axis_of(c, 1 if axis is None else int(axis), x.rank)
    if axis != x.rank - 1:
        raise Unsaid(
            "it takes several axes for one, as before operator set 13", "export it with opset 17"
        )
    return axis


def argument(function: str) -> Callable[[OnnxCall], Result]:
    def run(c: OnnxCall) -> Result:
        x = c.value(0)
        if c["select_last_index"]:
            raise Unsaid("it picks the last of equal ones")
        axis = axis_of(c, c["axis"], x.rank)
        found = rowwise(c, x, axis, lambda e: call(function, e), given="number")
        many = x.shape[x.axes[axis][-1]]
        lanes = list(found.axes)
        if not c["keepdims"]:
            del lanes[axis]
        return Value(
            found.tree, tuple(lanes), "class", classes=many if isinstance(many, int) else 0
        )

    return run


def normalised(c: OnnxCall) -> Result:
    """A row divided by its length."""
    x, p = c.value(0), c["p"]
    if p not in (1, 2):
        raise Unsaid(f"its p is {p}")
    axis = axis_of(c, c["axis"], x.rank)
    x = c.body.kept_short(x, 2)
    if p == 2:
        long = reduced(c, x, [axis], "sum", True, square, root)
    else:
        long = reduced(c, x, [axis], "sum", True, lambda e: call("abs", e))
    return made(c, [x, long], lambda a, b: binary("/", a, b))


def global_pool(function: str) -> Callable[[OnnxCall], Result]:
    def run(c: OnnxCall) -> Result:
        x = c.value(0)
        if x.rank < 3:
            raise Unsaid("it takes an image")
        found = reduced(c, x, [*range(2, x.rank)], function, True)
        return found

    return run


TABLE = [
    *map(reduction, REDUCED),
    Operator("Softmax", softmax, attributes={"axis": int}),
    Operator("LogSoftmax", softmax, attributes={"axis": int}),
    Operator(
        "ArgMax", argument("argmax"), attributes={"axis": 0, "keepdims": 1, "select_last_index": 0}
    ),
    Operator(
        "ArgMin", argument("argmin"), attributes={"axis": 0, "keepdims": 1, "select_last_index": 0}
    ),
    Operator("LpNormalization", normalised, attributes={"axis": -1, "p": 2}),
    Operator("GlobalAveragePool", global_pool("mean")),
    Operator("GlobalMaxPool", global_pool("max")),
]
