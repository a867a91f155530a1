"""Operators that take parts of tensors, look up tables, and put tensors end to end."""

from __future__ import annotations

from typing import Any

import numpy as np

from dln.grammar import syntax as s
from dln.importing.model import Array, Unsaid
from dln.importing.operators.layers import layer
from dln.importing.operators.records import (
    MOST,
    OnnxCall,
    Operator,
    Result,
    axis_of,
    literal,
    repeated,
    scaled_leaf,
    whole,
)  # fmt: skip
from dln.importing.operators.shapes import counts, squeezed
from dln.importing.syntax_of import binary, call, index, name, number, part
from dln.importing.values import (
    BATCH,
    TIME,
    Axes,
    Constant,
    Element,
    Leaf,
    Shape,
    Tree,
    Value,
    leaf,
)


def apart(c: OnnxCall, x: Value, axis: int) -> tuple[Value, int]:
    """A value with a stored axis for each of ONNX, and which of them an axis is; where that runs
    over time it is a tensor from now on."""
    if BATCH in x.axes[axis]:
        raise Unsaid("it takes some of the examples")
    x = c.body.canonical(x)
    if not x.axes[axis]:
        raise Unsaid("it takes a part of an axis of one")
    return x, x.axes[axis][0]


def sliced(c: OnnxCall, x: Value, axis: int, start: int, stop: int | None, step: int = 1) -> Value:
    """Elements of one axis; bounds as Python has them."""
    long = counts(c, x)[axis]
    found = range(long)[start:stop:step]
    if len(found) == long and step == 1:
        return x
    if not found:
        raise Unsaid("it takes nothing of an axis")
    if len(found) == 1:
        return picked(c, x, axis, found[0], keep=True)
    x, at = apart(c, x, axis)
    held = scaled_leaf(x)
    if held.shape[at] == TIME:
        expr, sizes = c.body.unrolled(held.expr, held.shape)
        held = leaf(expr, sizes)
    sizes = tuple(len(found) if a == at else n for a, n in enumerate(held.shape))
    if step == 1:
        cut = part(found[0], None if found[-1] == long - 1 else found[-1] + 1)
        new = leaf(cut_out(held, at, cut), sizes)
    else:
        letters = [name(i) for i in c.body.names.indices([n == TIME for n in sizes])]
        place = binary("*", number(abs(step)), letters[at])
        place = binary("+", place, number(found[0])) if step > 0 and found[0] else place
        place = (
            binary("-", number(found[0]), place if abs(step) > 1 else letters[at])
            if step < 0
            else place
        )
        inner = [place if a == at else i for a, i in enumerate(letters)]
        marks_ = [f"{i.id} in 0..{len(found) - 1}" if a == at else i.id
                  for a, i in enumerate(letters) if isinstance(i, s.Name)]  # fmt: skip
        new = c.body.define(index(held.expr, inner), sizes, marks_)
    return Value(new, x.axes, x.kind, x.domain, x.classes)


def cut_out(held: Leaf, at: int, cut: s.Slice) -> s.Expr:
    """`x[:, 1:]`; another axis of what is cut already comes behind it."""
    expr, marks = held.expr, list[s.Expr | s.Slice]()
    if isinstance(expr, s.Index) and not held.key and len(expr.indices) <= at:
        before = [i for i in expr.indices if isinstance(i, s.Slice)]
        if len(before) == len(expr.indices):
            expr, marks = expr.body, [*before]
    return index(expr, [*marks, *(part(None, None) for _ in range(at - len(marks))), cut])


def picked(c: OnnxCall, x: Value, axis: int, place: int, keep: bool = False) -> Value:
    """One element of an axis, which is gone then, or one long."""
    long = counts(c, x)[axis]
    place = place + long if place < 0 else place
    if not 0 <= place < long:
        raise Unsaid(f"it takes element {place} of {long}")
    gone: list[tuple[int, ...]] = [()] if keep else []
    if not x.axes[axis] or (long == 1 and BATCH not in x.axes[axis]):
        if keep:
            return x
        return squeezed(x, [axis])
    if BATCH in x.axes[axis]:
        raise Unsaid("it takes some of the examples")
    if len(x.axes[axis]) > 1:
        x = c.body.canonical(x)
    if x.shape[x.axes[axis][0]] == TIME:
        x = c.body.named(x)
    at = x.axes[axis][0]
    rest = tuple(n for a, n in enumerate(x.shape) if a != at)
    tree: Tree
    if x.shape[at] == TIME:
        tree = step_of(c, x, place, place == long - 1, rest)
    elif isinstance(x.tree, Leaf) and x.tree.split and (half := half_of(x.tree, at, place)):
        tree = half
    elif isinstance(x.tree, Leaf) and at == 0 and not x.tree.split:
        tree = leaf(index(x.tree.expr, [number(place)]), rest)
    else:
        parts: list[int | s.Expr] = [a - (a > at) for a in range(len(x.shape))]
        parts[at] = number(place)
        held = c.body.settled(x.tree)
        tree = Element(lambda e: e, ((held, tuple(parts)),), rest, 1)
    lanes = list(x.axes)
    lanes[axis : axis + 1] = gone
    moved = [tuple(a - (a > at) if a != BATCH else a for a in lane) for lane in lanes]
    return Value(tree, tuple(moved), x.kind, x.domain, x.classes)


def step_of(c: OnnxCall, x: Value, place: int, end: bool, rest: Shape) -> Leaf:
    """The last step of a sequence, or one counted from its beginning."""
    held = scaled_leaf(x)
    if held.shape[0] != TIME:
        raise Unsaid("it takes a step of what is no sequence")
    if not end and c.body.number(TIME) is None and place > 1000:
        raise Unsaid("it takes a step counted from the end")
    every, behind, expr = held.expr, list[s.Expr | s.Slice](), held.expr
    if isinstance(expr, s.Index) and isinstance(expr.indices[0], s.Slice) and not held.key:
        every, behind = expr.body, [*expr.indices[1:]]  # `last(h)[:5]` for `last(h[:, :5])`
    if end:
        return leaf(index(call("last", every), behind), rest)
    return leaf(index(every, [number(place), *behind]), rest)


def half_of(held: Leaf, at: int, place: int) -> Leaf | None:
    """A stretch of an axis that is looked at as rows, where a row is taken: `h[:, 5:]`."""
    start = 0
    for axis, count in enumerate(held.groups):
        if start == at and count == 2:
            wide = held.shape[at + 1]
            assert isinstance(wide, int)
            many = held.shape[at]
            last = place == (many if isinstance(many, int) else 0) - 1
            cut = part(place * wide, None if last else (place + 1) * wide)
            marks = [*(part(None, None) for _ in range(axis)), cut]
            rest = [n for a, n in enumerate(held.shape) if a != at]
            groups = tuple(1 if k == axis else g for k, g in enumerate(held.groups))
            return Leaf(index(held.expr, marks), tuple(rest), groups)
        start += count
    return None


def gather(c: OnnxCall) -> Result:
    """One element or several of an axis by known numbers; of a table by classes: an embedding."""
    data, at = c.arg(0), c.arg(1)
    if isinstance(data, Constant) and isinstance(at, Value):
        return looked_up(c, data, at)
    x = c.value(0)
    axis = axis_of(c, c["axis"], x.rank)
    found = c.const(1)
    places = whole(found if found is not None else np.zeros(0), "indices")
    assert found is not None
    if found.ndim == 0:
        return picked(c, x, axis, places[0])
    if found.ndim > 1:
        raise Unsaid("its indices have several axes")
    long = counts(c, x)[axis]
    places = [p + long if p < 0 else p for p in places]
    steps = {b - a for a, b in zip(places, places[1:], strict=False)} or {1}
    if len(steps) > 1 or 0 in steps:
        raise Unsaid("its indices are no range")
    step = steps.pop()
    stop: Any = places[-1] + (1 if step > 0 else -1)
    return sliced(c, x, axis, places[0], None if stop < 0 else stop, step)


def looked_up(c: OnnxCall, table: Constant, at: Value) -> Value:
    """Rows of a table by classes."""
    if c["axis"] not in (0, -table.array.ndim) or table.array.ndim not in (1, 2):
        raise Unsaid("it looks up a table along another axis than the first")
    if at.kind not in ("class", "index") or table.array.dtype.kind != "f":
        raise Unsaid("it looks up a table by numbers that are computed" if at.kind == "real" else
                     "it looks up a table of other things than numbers")  # fmt: skip
    if len(table.settled().array) < 2:
        raise Unsaid("it looks up a table of one row")
    return embedded(c, table, c.body.canonical(at))


def embedded(c: OnnxCall, table: Constant, at: Value) -> Value:
    """An embedding of a class, of one at each step, or of several; of a table of single numbers the
    number."""
    rows = len(table.array)
    c.body.classify(scaled_leaf(at), rows)
    if table.array.ndim == 1:
        held = c.body.param(table)
        tree = Element(
            lambda e: index(held.expr, [e]), ((at.tree, tuple(range(len(at.shape)))),), at.shape, 1
        )
        return Value(tree, at.axes)
    width = table.array.shape[1]
    found = layer(c, at, "embedding", (number(width),), {"E": table}, 0, (width,))
    return Value(found, (*at.axes, (len(at.shape),)))


def slice_(c: OnnxCall) -> Result:
    x = c.value(0)
    starts, ends = c.ints(1, "starts", "starts") or [], c.ints(2, "ends", "ends") or []
    axes = c.ints(3, "axes", "axes") or [*range(len(starts))]
    steps = c.ints(4, "steps", "steps") or [1] * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise Unsaid("its starts, ends, axes and steps do not go together")
    for axis, start, stop, step in zip(axes, starts, ends, steps, strict=True):
        x = sliced(c, x, axis_of(c, axis, x.rank), start, stop, step)
    return x


def split_(c: OnnxCall) -> Result:
    """Parts of an axis side by side."""
    x = c.value(0)
    axis, many = axis_of(c, c["axis"], x.rank), len(c.node.outputs)
    long, sizes = counts(c, x)[axis], c.ints(1, "split", "split")
    if sizes is None:
        wide = -(-long // many)
        sizes = [min(wide, long - k * wide) for k in range(many)]
    if sum(sizes) != long or len(sizes) != many or min(sizes) < 1:
        raise Unsaid("its parts are not as long as the axis")
    bounds = np.cumsum([0, *sizes]).tolist()
    outs: list[Any] = []
    for k, tensor in enumerate(c.node.outputs):
        used = tensor and c.body.uses[tensor]
        outs.append(sliced(c, x, axis, bounds[k], bounds[k + 1]) if used else None)
    return outs


def concat(c: OnnxCall) -> Result:
    """Tensors end to end."""
    rank = max(a.array.ndim if isinstance(a, Constant) else a.rank for a in c.args if a is not None)
    axis = axis_of(c, c["axis"], rank)
    found: list[Value] = []
    for a in c.args:
        if isinstance(a, Constant):
            a = beside(c, a)
        if a is not None:
            found.append(c.body.canonical(a))
    lanes = next((a.axes for a in found if (BATCH,) in a.axes), found[0].axes)
    if BATCH in lanes[axis]:
        raise Unsaid("it puts examples end to end")
    return stacked(c, found, axis, lanes)


def beside(c: OnnxCall, a: Constant) -> Value:
    """A constant that is put behind values: the same for all examples."""
    batched = [
        k for v in c.args if isinstance(v, Value) for k, x in enumerate(v.axes) if BATCH in x
    ]
    array = repeated(a)
    gone = [k for k in dict.fromkeys(batched) if k < array.ndim and array.shape[k] == 1]
    rest = tuple(n for k, n in enumerate(array.shape) if k not in gone)
    if array.size and (array == array.flat[0]).all() and not a.learnt and rest:
        table = call("ones", *map(number, rest))
        if array.flat[0] != 1:
            table = binary("*", literal(array.reshape(-1)[:1]), table)
        held = leaf(table, rest)
    else:
        held = c.body.param(Constant(array.reshape(rest), a.learnt, a.name))
    places = iter(range(len(rest)))
    axes = tuple(() if k in gone else (next(places),) for k in range(array.ndim))
    return Value(held, axes)


def stacked(c: OnnxCall, found: list[Value], axis: int, lanes: Axes) -> Value:
    """Written tensors end to end along an axis of ONNX."""
    parts, total = [], 0
    places = {k for v in found for k, x in enumerate(v.axes) if x and BATCH not in x} | {axis}
    order = sorted(places)
    for v in found:
        total += counts(c, v)[axis]
        missing = [k for k in order if not v.axes[k]]
        held = scaled_leaf(v)
        if missing:
            sizes = tuple(v.shape[v.axes[k][0]] if v.axes[k] else 1 for k in order)
            held = c.body.reshaped(held.expr, held.shape, sizes)
        parts.append(held)
    at = order.index(axis)
    if any(p.shape[at] == TIME for p in parts):
        raise Unsaid("it puts sequences end to end")
    first = parts[0].shape
    timed = [p.shape[:1] == (TIME,) for p in parts]
    if any(timed) and not all(timed):
        raise Unsaid("it puts a sequence and what is none end to end")
    behind = at - timed[0]
    rest = [[n for a, n in enumerate(p.shape) if a != at] for p in parts]
    if any(r != rest[0] for r in rest):
        raise Unsaid("the shapes of its inputs do not go together")
    named = {"axis": number(behind)} if behind else {}
    shape = tuple(total if a == at else n for a, n in enumerate(first))
    if (back := rejoined(parts, shape)) is not None:
        new = back
    else:
        new = c.body.define(call("concat", *(p.expr for p in parts), **named), shape)
    turn = {k: j for j, k in enumerate(order)}
    axes = tuple(
        (BATCH,) if BATCH in x else (turn[k],) if k in turn else () for k, x in enumerate(lanes)
    )
    return Value(new, axes)


def rejoined(parts: list[Leaf], shape: Shape) -> Leaf | None:
    """Stretches of one vector that make it whole again are that vector."""
    start = 0
    for p in parts:
        e = p.expr
        if not isinstance(e, s.Index) or len(shape) != 1 or len(e.indices) != 1 or p.key:
            return None
        cut, first = e.indices[0], parts[0].expr
        if not isinstance(cut, s.Slice) or not isinstance(first, s.Index) or e.body != first.body:
            return None
        if (cut.start.value if isinstance(cut.start, s.Number) else 0) != start:
            return None
        start += int(p.shape[0])
    first, end = parts[0].expr, parts[-1].expr
    if isinstance(first, s.Index) and isinstance(end, s.Index):
        if isinstance(first.body, s.Name) and isinstance(end.indices[0], s.Slice):
            if end.indices[0].stop is None:
                return leaf(first.body, shape, first.body.id)
    return None


def one_hot(c: OnnxCall) -> Result:
    x, depth, values = c.value(0), c.const(1, "depth"), c.const(2, "values")
    plain_ = values is not None and values.reshape(-1).tolist() == [0, 1] and depth is not None
    if not plain_ or c["axis"] not in (-1, x.rank) or x.kind not in ("class", "index"):
        raise Unsaid("it is no plain one-hot code of a class along the last axis")
    assert depth is not None
    x, many = c.body.canonical(x), int(depth.reshape(-1)[0])
    c.body.classify(scaled_leaf(x), many)
    if len(x.shape) > 1 or (x.shape and x.shape[0] != TIME):
        raise Unsaid("it codes several classes of an example")
    return Value(
        leaf(call("onehot", scaled_leaf(x).expr), (*x.shape, many), ""), (*x.axes, (len(x.shape),))
    )


def fold_slice(c: OnnxCall, a: list[Array]) -> Array:
    starts, ends = c.ints(1, "starts", "starts") or [], c.ints(2, "ends", "ends") or []
    axes = c.ints(3, "axes", "axes") or [*range(len(starts))]
    steps = c.ints(4, "steps", "steps") or [1] * len(starts)
    found = a[0]
    for axis, start, stop, step in zip(axes, starts, ends, steps, strict=True):
        cut = slice(start, None if step < 0 and stop < -(2**31) else stop, step)
        found = found[(slice(None),) * axis_of(c, axis, found.ndim) + (cut,)]
    return found


def fold_concat(c: OnnxCall, a: list[Array]) -> Array:
    return np.concatenate(a, c["axis"])


def fold_gather(c: OnnxCall, a: list[Array]) -> Array:
    if a[0].size // max(a[0].shape[c["axis"]], 1) * a[1].size > MOST:
        raise Unsaid("it takes too much of a constant")
    return np.take(a[0], a[1], c["axis"])


def fold_split(c: OnnxCall, a: list[Array]) -> list[Array]:
    sizes = c.ints(1, "split", "split")
    bounds: Any = len(c.node.outputs) if sizes is None else np.cumsum(sizes)[:-1].tolist()
    return np.array_split(a[0], bounds, c["axis"])


TABLE = [
    Operator("Gather", gather, (2, 2), {"axis": 0}, fold_gather),
    Operator("Slice", slice_, (1, 5), {
        "starts": list, "ends": list, "axes": list, "steps": list}, fold_slice),
    Operator("Split", split_, (1, 2), {"axis": 0, "split": list, "num_outputs": int}, fold_split),
    Operator("Concat", concat, (1, 1000), {"axis": int}, fold_concat),
    Operator("OneHot", one_hot, (3, 3), {"axis": -1}),
]  # fmt: skip
