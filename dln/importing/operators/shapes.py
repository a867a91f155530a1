"""Operators that say which axis is which: most change nothing but that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import numpy as np

from dln.grammar import syntax as s
from dln.importing.model import Array, Unsaid
from dln.importing.operators.records import (
    MOST,
    OnnxCall,
    Operator,
    Result,
    axis_of,
    scaled_leaf,
    whole,
)  # fmt: skip
from dln.importing.syntax_of import index, name, number
from dln.importing.values import BATCH, TIME, ZERO, Axes, Constant, Element, Leaf, Value


def counts(c: OnnxCall, value: Value, second: bool = False) -> list[int]:
    """The shape of a tensor as ONNX has it, in numbers to reckon with."""
    return [
        prod(c.body.count("batch" if a == BATCH else value.shape[a], second) for a in axis)
        for axis in value.axes
    ]


def shape(c: OnnxCall) -> Result:
    """The sizes of a tensor, or of some of its axes."""
    found = c.arg(0)
    if isinstance(found, Constant):
        sizes = (
            [found.array.shape] if found.other is None else [found.array.shape, found.other.shape]
        )
    else:
        sizes = [tuple(counts(c, c.value(0), second)) for second in (False, True)]
    cut = slice(c["start"], c["end"])
    first, *more = (np.array(x[cut], np.int64) for x in sizes)
    differs = [m for m in more if not np.array_equal(m, first)]
    return Constant(first, other=differs[0] if differs else None)


def size(c: OnnxCall) -> Result:
    one, two = (prod(counts(c, c.value(0), second)) for second in (False, True))
    return Constant(np.array(one), other=None if one == two else np.array(two))


def target(c: OnnxCall, k: int, attribute: str = "") -> list[int]:
    """A shape that is asked for."""
    return c.ints(k, attribute, "shape") or []


def reshape(c: OnnxCall) -> Result:
    """The same numbers in another shape; which axis is that of the examples stays known."""
    x = c.value(0)
    old, new = counts(c, x), target(c, 1, "shape")
    if not c["allowzero"]:
        new = [old[k] if n == 0 and k < len(old) else n for k, n in enumerate(new)]
    return reshaped(c, x, new)


def reshaped(c: OnnxCall, x: Value, new: list[int]) -> Value:
    total, known = prod(counts(c, x)), prod(n for n in new if n != -1)
    if new.count(-1) == 1 and known > 0 and total % known == 0:
        new = [total // known if n == -1 else n for n in new]
    if prod(new) != total or min(new, default=1) < 1:
        raise Unsaid("it reshapes to a fixed number of examples or steps",
                     "export it with that axis open, or all of them fixed")  # fmt: skip
    x, pieces = aligned(c, x, new)
    return x.viewed(pieces)


def aligned(c: OnnxCall, x: Value, new: Sequence[int]) -> tuple[Value, Axes]:
    """Stored axes for each axis of a new shape; an axis is looked at as several where one falls
    into parts."""
    atoms = [
        (a, c.body.count("batch" if a == BATCH else x.shape[a])) for axis in x.axes for a in axis
    ]
    parts: dict[int, list[int]] = {}
    axes: list[list[tuple[int, int]]] = []  # each with stored axis and part of it
    for want in new:
        lane: list[tuple[int, int]] = []
        if want == 1 and atoms and atoms[0][1] == 1:
            lane.append(taken(atoms.pop(0), parts))
        while want > 1:
            if not atoms:
                raise Unsaid("it reshapes what does not fit")
            ref, many = atoms.pop(0)
            if want % many:
                if many % want or ref == BATCH or x.shape[ref] == TIME:
                    raise Unsaid("it reshapes the axis of the examples, or of time, into others")
                atoms.insert(0, (ref, many // want))
                many = want
            lane.append(taken((ref, many), parts))
            want //= many
        axes.append(lane)
    for left in atoms:  # axes of one
        lane = next((a for a in reversed(axes) if a and a[0][0] != BATCH), axes[-1] if axes else [])
        lane.append(taken(left, parts))
    x, start = split(c, x, parts)
    return x, tuple(tuple(BATCH if r == BATCH else start[r] + p for r, p in lane) for lane in axes)


def taken(atom: tuple[int, int], parts: dict[int, list[int]]) -> tuple[int, int]:
    ref, many = atom
    parts.setdefault(ref, []).append(many)
    return ref, len(parts[ref]) - 1


def split(c: OnnxCall, x: Value, parts: dict[int, list[int]]) -> tuple[Value, dict[int, int]]:
    """A value of which stored axes are looked at as several; where each begins."""
    if all(len(parts.get(a, [1])) == 1 for a in range(len(x.shape))):
        return x, {a: a for a in range(len(x.shape))}
    if not isinstance(x.tree, Leaf):
        x = c.body.named(x.viewed(tuple((a,) for a in range(len(x.shape)))))  # in stored order
    held = scaled_leaf(x)
    whole_shape: list[int | str] = []
    start, groups, at = {}, [], 0
    for count in held.groups:
        many = 0
        for a in range(at, at + count):
            start[a] = len(whole_shape)
            fine = parts[a] if len(parts[a]) > 1 else [held.shape[a]]
            whole_shape += fine
            many += len(fine)
        groups.append(many)
        at += count
    return replace(x, tree=Leaf(held.expr, tuple(whole_shape), tuple(groups), held.key)), start


def flatten(c: OnnxCall) -> Result:
    x = c.value(0)
    old, at = counts(c, x), c["axis"]
    at = at + x.rank if at < 0 else at
    if not 0 <= at <= x.rank:
        raise Unsaid(f"it names axis {at} of a tensor with {x.rank}")
    return reshaped(c, x, [prod(old[:at]), prod(old[at:])])


def transpose(c: OnnxCall) -> Result:
    x = c.value(0)
    order = c["perm"] or [*range(x.rank)][::-1]
    if sorted(order) != [*range(x.rank)]:
        raise Unsaid("its perm is no order of the axes")
    return x.viewed([x.axes[a] for a in order])


def squeeze(c: OnnxCall) -> Result:
    """Axes of one are taken away; what stands for one joins its neighbour."""
    x, axes = c.value(0), c.ints(1, "axes", "axes")
    sizes = counts(c, x)
    gone = (
        [k for k, n in enumerate(sizes) if n == 1]
        if axes is None
        else [axis_of(c, a, x.rank) for a in axes]
    )
    lanes = [list(axis) for axis in x.axes]
    for k in gone:
        if sizes[k] != 1 or BATCH in lanes[k]:
            raise Unsaid("it takes away an axis that is not one")
        if lanes[k]:
            near = [j for j in (*range(k - 1, -1, -1), *range(k + 1, x.rank))
                    if j not in gone and lanes[j] and BATCH not in lanes[j]]  # fmt: skip
            if not near:
                return squeezed(x, gone)
            lanes[near[0]] = (
                sorted(lanes[near[0]] + lanes[k]) if x.ordered else lanes[near[0]] + lanes[k]
            )
    return x.viewed([tuple(a) for k, a in enumerate(lanes) if k not in gone])


def squeezed(x: Value, gone: Sequence[int]) -> Value:
    """The only element along some axes."""
    lost = {a for k in gone for a in x.axes[k]}
    keep = [a for a in range(len(x.shape)) if a not in lost]
    at = tuple(keep.index(a) if a in keep else ZERO for a in range(len(x.shape)))
    tree = Element(lambda e: e, ((x.tree, at),), tuple(x.shape[a] for a in keep), 1)
    axes = [tuple(a if a == BATCH else keep.index(a) for a in axis)
            for k, axis in enumerate(x.axes) if k not in gone]  # fmt: skip
    return Value(tree, tuple(axes), x.kind, x.domain, x.classes)


def unsqueeze(c: OnnxCall) -> Result:
    x, axes = c.value(0), c.ints(1, "axes", "axes") or []
    rank = x.rank + len(axes)
    at = {axis_of(c, a, rank) for a in axes}
    rest = iter(x.axes)
    return x.viewed([() if k in at else next(rest) for k in range(rank)])


def expand(c: OnnxCall) -> Result:
    """Repeated along axes of one."""
    x, new = c.value(0), target(c, 1)
    rank = max(x.rank, len(new))
    axes = [((),) * (rank - x.rank) + x.axes][0]
    new = [1] * (rank - len(new)) + new
    x = x.viewed(axes)
    grown = [k for k, n in enumerate(new) if n not in (1, counts(c, x)[k])]
    if any(counts(c, x)[k] != 1 or BATCH in axes[k] for k in grown):
        raise Unsaid("it repeats an axis that is not one")
    batch = c.body.count("batch")
    if len(grown) == 1 and new[grown[0]] == batch and not any(BATCH in a for a in axes):
        return x.viewed([(BATCH,) if k == grown[0] and not a else a for k, a in enumerate(axes)])
    if not grown:
        return x
    x = c.body.canonical(x)
    places: list[str] = []
    sizes: list[int | str] = []
    at: list[s.Expr | None] = []
    for k, axis in enumerate(x.axes):
        if k in grown:
            places.append(f"in 0..{new[k] - 1}")
            sizes.append(new[k])
            at.append(number(0) if axis else None)
        elif axis and axis != (BATCH,):
            places.append("")
            sizes.append(x.shape[axis[-1]])
            at.append(name(""))
    letters = c.body.names.indices([a == TIME for a in sizes])
    inner = [name(i) if isinstance(a, s.Name) else a for i, a in zip(letters, at, strict=True) if a]
    marks = [f"{i} {p}".strip() for i, p in zip(letters, places, strict=True)]
    if any(n in (c.body.count(TIME),) and c.body.number(TIME) is None for n in sizes):
        raise Unsaid("it repeats along the axis that runs over time")
    found = c.body.define(index(scaled_leaf(x).expr, inner), tuple(sizes), marks)
    turn = iter(range(len(sizes)))
    lanes = [
        (BATCH,) if a == (BATCH,) else (next(turn),) if a or k in grown else ()
        for k, a in enumerate(x.axes)
    ]
    return Value(found, tuple(lanes), x.kind, x.domain, x.classes)


def tile(c: OnnxCall) -> Result:
    """Copies side by side, of axes of one: an axis that grows."""
    x, many = c.value(0), c.ints(1, "", "repeats") or []
    sizes = counts(c, x)
    if len(many) != x.rank or min(many) < 1:
        raise Unsaid("its repeats do not go with its input")
    if any(n > 1 and size != 1 for n, size in zip(many, sizes, strict=True)):
        raise Unsaid("it repeats an axis that is not one")
    new = [n * size for n, size in zip(many, sizes, strict=True)]
    return expand(OnnxCall(c.node, {}, [x, Constant(np.array(new))], c.opset, c.body))


def fold_reshape(c: OnnxCall, a: list[Array]) -> Array:
    new = [
        a[0].shape[k] if n == 0 and k < a[0].ndim else n for k, n in enumerate(whole(a[1], "shape"))
    ]
    return np.reshape(a[0], new)


def fold_unsqueeze(c: OnnxCall, a: list[Array]) -> Array:
    return np.expand_dims(a[0], tuple(c.ints(1, "axes", "axes") or []))


def fold_squeeze(c: OnnxCall, a: list[Array]) -> Array:
    axes = c.ints(1, "axes", "axes")
    return np.squeeze(a[0], None if axes is None else tuple(axes))


def bounded(a: list[Array]) -> list[int]:
    """The repeats of a constant that stays small."""
    many = whole(a[1], "repeats")
    if a[0].size * prod(many) > MOST:
        raise Unsaid("it repeats too much")
    return many


def fold_expand(c: OnnxCall, a: list[Array]) -> Array:
    return np.broadcast_to(a[0], np.broadcast_shapes(a[0].shape, tuple(whole(a[1], "shape"))))


TABLE = [
    Operator("Shape", shape, attributes={"start": 0, "end": int}),
    Operator("Size", size),
    Operator("Reshape", reshape, (1, 2), {"shape": list, "allowzero": 0}, fold_reshape),
    Operator("Flatten", flatten, attributes={"axis": 1}),
    Operator("Transpose", transpose, attributes={"perm": list},
             fold=lambda c, a: np.transpose(a[0], c["perm"])),
    Operator("Squeeze", squeeze, (1, 2), {"axes": list}, fold_squeeze),
    Operator("Unsqueeze", unsqueeze, (1, 2), {"axes": list}, fold_unsqueeze),
    Operator("Tile", tile, (2, 2), fold=lambda c, a: np.tile(a[0], bounded(a))),
    Operator("Expand", expand, (2, 2), fold=fold_expand),
]  # fmt: skip
