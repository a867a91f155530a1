"""Windows: reductions of them as MaxPool and AveragePool, others as Gather; and the sums that undo
them."""

from __future__ import annotations

from math import prod

import numpy as np

from dln.compiler.ir.graph import Node
from dln.compiler.ir.ops.window import places_of
from dln.compiler.ir.sizes import Size
from dln.compiler.ir.structure import is_sum, number
from dln.exporting.looking import Windowed, cut_to, flat, further, look
from dln.exporting.transposed import conv_transpose
from dln.exporting.writing import OnnxValue, OnnxWriter

# ---- looking -----------------------------------------------------------------------------------


def row_window(w: OnnxWriter, node: Node) -> OnnxValue:
    """Steps along the axis, or every index written out."""
    (a,), axis, terms = node.operands, node["axis"], terms_of(node)
    if len(terms) == 1:
        ((step, n),), start = terms, node["offset"]
        ends = (start, start + step * (n - 1) + 1, axis, step)
        return w.whole(w.call("Slice", w.full(a), *(w.ints(v) for v in ends)), node)
    places = w.number(indices(node), "index")
    return w.whole(w.call("Gather", w.full(a), places, axis=axis), node)


def terms_of(node: Node) -> list[tuple[int, int]]:
    return [(c, Size.of(n).value or 0) for c, n in node["terms"]]


def indices(node: Node) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """The index for each combination of the terms' values."""
    found = np.asarray(node["offset"], np.int64)
    for c, n in terms_of(node):
        found = found[..., None] + c * np.arange(n)
    return found


def row_unwindow(w: OnnxWriter, node: Node) -> OnnxValue:
    """Of a product with a kernel ConvTranspose; else zeros, to which all windows are added."""
    if (made := conv_transpose(w, node)) is not None:
        return made
    (a,), axis, places = node.operands, node["axis"], places_of(node.attrs)
    rank = len(node.type.shape)
    rest = [i for i in range(len(a.type.shape)) if i not in places]
    first = w.turned(a, (*places, *rest)).name
    order = [axis, *(i for i in range(rank) if i != axis)]
    zeros = w.zeros([node.type.shape[i] for i in order])
    at = w.number(indices(node)[..., None], "index")
    found = w.call("ScatterND", zeros, at, first, reduction="add")
    back = [order.index(i) for i in range(rank)]
    if back != sorted(back):
        found = w.call("Transpose", found, perm=back)
    return w.whole(found, node)


# ---- pooling -----------------------------------------------------------------------------------


def row_max(w: OnnxWriter, node: Node) -> OnnxValue:
    seen, (a,) = pool(w, node), node.operands
    if seen is None:
        found = w.call("ReduceMax", w.full(a), w.ints(*node["axes"]), keepdims=0)
        return w.whole(found, node)
    return w.whole(pooled(w, seen, "MaxPool"), node)


def row_sum(w: OnnxWriter, node: Node) -> OnnxValue:
    """Over windows their mean, so many times."""
    found = mean(w, node, 1.0)
    if found is None:
        (a,) = node.operands
        found = w.call("ReduceSum", w.full(a), w.ints(*node["axes"]), keepdims=0)
    return w.whole(found, node)


def row_mul(w: OnnxWriter, node: Node) -> OnnxValue:
    """A number times a sum is a mean, or a multiple of one over windows."""
    values = [w.values[o] for o in node.operands]
    for factor, of in ((0, 1), (1, 0)):
        by, a = number(node.operands[factor]), node.operands[of]
        if by is not None and is_sum(a) and w.nameless(a):
            if (found := mean(w, a, by)) is not None:
                return w.whole(found, node)
    return w.meeting(w.call("Mul", *(v.name for v in values)), values)


def mean(w: OnnxWriter, node: Node, factor: float) -> str | None:
    """A sum times a factor, where that is a mean or one over windows. In double precision
    onnxruntime has no AveragePool."""
    (a,) = node.operands
    seen = pool(w, node) if w.made.dtype == "float32" else None
    if seen is not None and max(each.dilation for each in seen.looked) == 1:
        found, by = pooled(w, seen, "AveragePool"), factor * prod(flat(seen.looked, "kernel"))
        return found if by == 1 else w.call("Mul", found, w.number(by))
    sizes = [a.type.shape[i].value for i in node["axes"]]
    count = prod(n or 0 for n in sizes)
    if abs(factor * count - 1) > 1e-12 or count == 1:
        return None
    return w.call("ReduceMean", w.full(a), w.ints(*node["axes"]), keepdims=0)


def pool(w: OnnxWriter, node: Node) -> Windowed | None:
    """How a reduction looks through windows, if it reduces them and nothing else; where that is the
    same reduction of windows on other axes, all at once."""
    seen = look(node.operands[0], set(node["axes"]))
    if seen is None or set(flat(seen.looked, "goes")) != set(node["axes"]):
        return None
    further(seen, pads=False)
    below = seen.base
    if below.op == node.op and w.nameless(below) and (inner := pool(w, below)) is not None:
        mine, theirs = flat(seen.looked, "axis"), flat(inner.looked, "axis")
        if not set(mine) & set(theirs):
            both = sorted([*seen.looked, *inner.looked], key=lambda each: each.axis)
            seen = Windowed(inner.base, both, [])
    rank, first = len(seen.base.type.shape), seen.looked[0].axis
    return seen if first and rank + (first == 1) <= 5 else None


def pooled(w: OnnxWriter, seen: Windowed, op: str) -> str:
    """The call: all axes behind the second are looked at, most of them one position at a time."""
    name, *_ = cut_to(w, seen)
    by_axis = {each.axis: each for each in seen.looked}
    wide = min(by_axis) == 1
    if wide:
        name = w.call("Unsqueeze", name, w.ints(1))
    axes = range(1 if wide else 2, len(seen.base.type.shape))
    parts = [by_axis.get(axis) for axis in axes]
    attrs = {key: [1 if p is None else getattr(p, name) for p in parts]
             for key, name in KEYS.items()}  # fmt: skip
    if max(attrs["dilations"]) == 1:
        del attrs["dilations"]
    found = w.call(op, name, **attrs)
    return w.call("Squeeze", found, w.ints(1)) if wide else found


KEYS = {"kernel_shape": "kernel", "strides": "stride", "dilations": "dilation"}
