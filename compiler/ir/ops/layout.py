"""Where elements lie: spreading, reshaping, reordering, cutting, joining. Nothing is computed.

Each derivative is the reverse move. Most of these are views of the operand's buffer; what must
copy (joining, padding, reshaping what is not in C order) says so by writing `{out}`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from dln.compiler.ir import op, spelling
from dln.compiler.ir.graph import Node
from dln.compiler.ir.op import Array, Attrs, Make, Op, Places, Site, Stacked, Types, register
from dln.compiler.ir.ops import axes, bounds, common
from dln.compiler.ir.ops.common import cases, check_axes, contiguous, differ, known, real, show
from dln.compiler.ir.sizes import Size
from dln.compiler.ir.spelling import OUT, A, Attr, Index, Operand, View, call, part, steps
from dln.compiler.ir.tensor_type import TIME, TensorType
from dln.grammar.diagnostics import Fault


def resized(type: TensorType, axis: int, size: Size) -> TensorType:
    """A type with another size along one axis."""
    shape = type.shape
    return type.like(shape=(*shape[:axis], size, *shape[axis + 1 :]))


def at_axis(site: Site, a: Array, part: slice) -> Array:
    """The elements of a slice along the attribute `axis`."""
    return a[(slice(None),) * site.attrs["axis"] + (part,)]


# ---- rules of types ----------------------------------------------------------------------------


def broadcast_type(attrs: Attrs, types: Types) -> TensorType:
    """Axis i of the operand becomes axis `axes[i]`; the other axes repeat it."""
    (a,), axes, shape = types, attrs["axes"], attrs["shape"]
    check_axes("broadcast", axes, len(shape))
    if len(axes) != len(a.shape) or list(axes) != sorted(axes):
        raise Fault(f"broadcast: axes {axes} do not place the {len(a.shape)} axes of {a}")
    for size, axis in zip(a.shape, axes, strict=True):
        if differ(size, shape[axis]):
            raise Fault(f"broadcast: an axis of size {size} cannot become one of {shape[axis]}")
    return a.like(shape=tuple(shape), running=tuple(attrs["running"]))


def reshape_type(attrs: Attrs, types: Types) -> TensorType:
    """As many elements in another shape."""
    (a,), shape = types, tuple(attrs["shape"])
    fixed = all(s.value is not None for s in (*a.shape, *shape))
    if fixed and op.volume(a.shape) != op.volume(shape):
        raise Fault(f"{show(a.shape)} cannot be reshaped to {show(shape)}")
    return a.like(shape=shape, running=tuple(attrs["running"]))


def transpose_type(attrs: Attrs, types: Types) -> TensorType:
    """Axis i of the result is axis `perm[i]` of the operand; running are the leading axes that
    were running before."""
    (a,), perm = types, attrs["perm"]
    if sorted(perm) != list(range(len(a.shape))):
        raise Fault(f"transpose: {perm} is not an order of the axes of {a}")
    lead = takewhile(lambda p: p < len(a.running), perm)
    shape, running = tuple(a.shape[p] for p in perm), tuple(a.running[p] for p in lead)
    return a.like(shape=shape, running=running)


def slice_type(attrs: Attrs, types: Types) -> TensorType:
    """Positions `start` to `stop` (excluded) of one axis."""
    (a,), axis, start, stop = types, attrs["axis"], attrs["start"], attrs["stop"]
    check_axes("slice", (axis,), len(a.shape))
    size = a.shape[axis].value
    if not 0 <= start <= stop or (size is not None and stop > size):
        raise Fault(f"slice {start}:{stop} does not fit an axis of size {a.shape[axis]}")
    return resized(a, axis, Size(stop - start))


def pad_type(attrs: Attrs, types: Types) -> TensorType:
    """Zeros before and after, along one axis."""
    (a,), axis = types, attrs["axis"]
    check_axes("pad", (axis,), len(a.shape))
    return resized(a, axis, a.shape[axis] + attrs["before"] + attrs["after"])


def concat_type(attrs: Attrs, types: Types) -> TensorType:
    """One after the other along one axis; the other axes agree."""
    if not types:
        raise Fault("concat takes at least one operand")
    first, axis = types[0], attrs["axis"]
    check_axes("concat", (axis,), len(first.shape))
    domain, length = first.domain, first.shape[axis]
    for t in types[1:]:
        rest, mine = ([s for i, s in enumerate(x.shape) if i != axis] for x in (t, first))
        if common.unlike(rest, mine) or t.kind != first.kind:
            raise Fault(f"concat joins tensors that agree but for one axis, found {first} and {t}")
        domain, length = common.join(domain, t.domain), length + t.shape[axis]
    return resized(first, axis, length).like(domain=domain)


def running_type(attrs: Attrs, types: Types) -> TensorType:
    """The same data with other running axes."""
    names = tuple(attrs["running"])
    if len(names) > len(types[0].shape):
        raise Fault(f"{types[0]} has no {len(names)} axes to be running")
    return types[0].like(running=names)


# ---- meaning and derivatives ---------------------------------------------------------------------


def broadcast(site: Site, a: Array) -> Array:
    axes = site.attrs["axes"]
    thin = tuple(a.shape[axes.index(i)] if i in axes else 1 for i in range(len(site.shape)))
    return site.np.broadcast_to(a.reshape(thin), site.shape)


def pad(site: Site, a: Array) -> Array:
    out = site.np.zeros(site.shape, dtype=a.dtype)
    before = site.attrs["before"]
    at_axis(site, out, slice(before, before + a.shape[site.attrs["axis"]]))[...] = a
    return out


def d_transpose(m: Make, node: Node, bar: Node) -> tuple[Node]:
    perm = node["perm"]
    return (m("transpose", bar, perm=tuple(perm.index(i) for i in range(len(perm)))),)


def d_slice(m: Make, node: Node, bar: Node) -> tuple[Node]:
    axis, start, stop = node["axis"], node["start"], node["stop"]
    size = known(node.operands[0].type.shape[axis], "the derivative of a slice")
    return (m("pad", bar, axis=axis, before=start, after=size - stop),)


def d_pad(m: Make, node: Node, bar: Node) -> tuple[Node]:
    axis, before = node["axis"], node["before"]
    size = known(node.operands[0].type.shape[axis], "the derivative of padding")
    return (m("slice", bar, axis=axis, start=before, stop=before + size),)


def d_concat(m: Make, node: Node, bar: Node) -> tuple[Node, ...]:
    axis, parts, start = node["axis"], [], 0
    for a in node.operands:
        stop = start + known(a.type.shape[axis], "the derivative of concat")
        parts.append(m("slice", bar, axis=axis, start=start, stop=stop))
        start = stop
    return tuple(parts)


# ---- along axes --------------------------------------------------------------------------------


def reshape_places(node: Node, slot: int) -> Places:
    """Axes that are the same from the front, and from the back."""
    shape, inner = node.type.shape, node.operands[0].type.shape
    front = agreeing(shape, inner)
    back = agreeing(shape[front:][::-1], inner[front:][::-1])
    places = {i: i for i in range(front)}
    return places | {len(shape) - 1 - i: len(inner) - 1 - i for i in range(back)}


def agreeing(a: tuple[Size, ...], b: tuple[Size, ...]) -> int:
    """How many sizes are the same from the front."""
    return len(list(takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False))))


def with_time(m: Make, node: Node, over: Stacked) -> Node:
    """The same move behind an axis for time."""
    attrs = dict(node.attrs)
    for key in {"axes", "perm"} & attrs.keys():
        attrs[key] = (0, *(axis + 1 for axis in attrs[key]))
    for key, first in (("shape", over.length), ("running", TIME)):
        if key in attrs:
            attrs[key] = (first, *attrs[key])
    return m(node.op, *over.operands, **attrs)


def to_the_end(m: Make, node: Node, operands: Sequence[Node]) -> Node:
    """The same move with the first axis last."""
    attrs, rank = dict(node.attrs), len(node.type.shape)
    if "perm" in attrs:
        attrs["perm"] = (*(p - 1 for p in attrs["perm"][1:]), rank - 1)
    if "axes" in attrs:
        attrs["axes"] = tuple(sorted((a - 1) % rank for a in attrs["axes"]))
    if "shape" in attrs:
        attrs["shape"] = (*attrs["shape"][1:], attrs["shape"][0])
    if "running" in attrs:
        attrs["running"] = ()
    return m(node.op, *operands, **attrs)


# ---- spelling ----------------------------------------------------------------------------------


def spell_broadcast(node: Node) -> spelling.Spelling:
    """A view with stride 0. A single number may change from step to step on the host, so it is
    copied into the buffer."""
    axes, rank = node["axes"], len(node.type.shape)
    if not axes:
        return steps(call("copy", A))
    parts = tuple(slice(None) if i in axes else None for i in range(axes[0], rank))
    spread = spelling.Broadcast(Attr("shape"))
    return View(A, (Index(parts), spread) if None in parts else (spread,))


def spell_reshape(node: Node) -> spelling.Spelling:
    """A view where the operand lies in C order or only axes of size 1 come or go, else a copy
    through a view of the result."""
    if common.same_but_thin(node.operands[0], node) or contiguous(node.operands[0]):
        return View(A, (spelling.Reshape(Attr("shape")),))
    return steps(call("copy", A, out=View(OUT, (spelling.Reshape(spelling.ShapeOf(A)),))))


def spell_reshape_by_tap(node: Node) -> spelling.Spelling:
    """For NumPy: what is repeated a few times along one axis is written once for each. A copy of
    all at once would run along the repetitions, which are few."""
    found, (a,) = spell_reshape(node), node.operands
    spread = a.attrs.get("axes") if common.view_of(a) and "shape" in a.attrs else None
    apart = [i for i in range(len(a.type.shape)) if i not in (spread or ())]
    times = a.type.shape[apart[0]].value if spread and len(apart) == 1 else None
    if isinstance(found, View) or times is None or times > FEW:
        return found
    whole = spelling.Reshape(spelling.ShapeOf(A))
    places = (Index((*(slice(None),) * apart[0], k)) for k in range(times))
    once = part(A, apart[0], 0)
    return steps(*(call("copy", once, out=View(OUT, (whole, at))) for at in places))


def spell_pad(node: Node) -> spelling.Statements:
    """Zeros, then the operand in its place."""
    axis, before = node["axis"], node["before"]
    inside = slice(before, before + known(node.operands[0].type.shape[axis], "padding"))
    return steps(call("fill", 0), call("copy", A, out=part(OUT, axis, inside)))


def spell_concat(node: Node) -> spelling.Statements:
    """Each operand into its own part of the result."""
    axis, start, calls = node["axis"], 0, []
    for slot, a in enumerate(node.operands):
        stop = start + known(a.type.shape[axis], "concat")
        calls.append(call("copy", Operand(slot), out=part(OUT, axis, slice(start, stop))))
        start = stop
    return steps(*calls)


X = real(2, 3, 4, running=("batch",))
FEW = 4
"""Repetitions up to which NumPy writes them one by one."""


def row(
    name: str,
    infer: op.Infer,
    evaluate: op.Evaluate,
    gradient: op.Gradient,
    spell: spelling.Spell,
    examples: op.Examples,
    **given: Any,
) -> Op:
    rest: dict[str, Any] = {
        "takes": (None,),
        "flops": lambda node: 0,
        "facts": ("view",),
        "formula": f"{name}({{0}})",
        "bound": bounds.no_larger,
        **given,
    }
    return Op(name, infer, evaluate, gradient, spell, examples=examples, **rest)


SHAPE = tuple(map(Size, (2, 3, 4)))
ALONG: dict[str, Any] = {
    "places": axes.along,
    "vmap": axes.one_further,
    "behind": axes.one_ahead,
}

# fmt: off
register(
    row("broadcast", broadcast_type, broadcast,
        lambda m, node, bar: (m.sum(bar, set(range(len(node.type.shape))) - set(node["axes"])),),
        spell_broadcast,
        cases(((real(3),), {"axes": (1,), "shape": SHAPE, "running": ("batch",)}),
              ((real(2, 4),), {"axes": (0, 2), "shape": SHAPE, "running": ()}),
              ((real(4),), {"axes": (2,), "shape": SHAPE, "running": ()}),
              ((real(),), {"axes": (), "shape": SHAPE, "running": ()})),
        facts=("view", "copies"), formula="{0}",
        places=lambda node, slot: {place: i for i, place in enumerate(node["axes"])},
        vmap=with_time, behind=to_the_end),
    row("reshape", reshape_type,
        lambda site, a: a.reshape(site.shape),
        lambda m, node, bar: (m("reshape", bar, shape=node.operands[0].type.shape,
                                running=node.operands[0].type.running),),
        spell_reshape,
        cases(((X,), {"shape": (Size(2), Size(12)), "running": ("batch",)}),
              ((X,), {"shape": (Size(24),), "running": ()})),
        formula="{0}", spell_for={"numpy": spell_reshape_by_tap}, places=reshape_places,
        vmap=with_time, behind=to_the_end),
    row("transpose", transpose_type,
        lambda site, a: a.transpose(site.attrs["perm"]), d_transpose,
        lambda node: View(A, (spelling.Transpose(node["perm"]),)),
        cases(((X,), {"perm": (0, 2, 1)}), ((X,), {"perm": (2, 0, 1)})), formula="{0}",
        places=lambda node, slot: dict(enumerate(node["perm"])), vmap=with_time, behind=to_the_end),
    row("slice", slice_type,
        lambda site, a: at_axis(site, a, slice(site.attrs["start"], site.attrs["stop"])), d_slice,
        lambda node: part(A, node["axis"], slice(node["start"], node["stop"])),
        cases(((X,), {"axis": 1, "start": 1, "stop": 3}),
              ((X,), {"axis": 2, "start": 0, "stop": 1})), formula="{0}[{start}:{stop}]",
        **ALONG),
    row("pad", pad_type, pad, d_pad, spell_pad,
        cases(((X,), {"axis": 1, "before": 1, "after": 0}),
              ((X,), {"axis": 2, "before": 0, "after": 2})), facts=("moves",), **ALONG),
    row("concat", concat_type,
        lambda site, *parts: site.np.concatenate(parts, axis=site.attrs["axis"]),
        d_concat, spell_concat,
        cases(((X, real(2, 1, 4)), {"axis": 1}), ((real(2), real(3), real(1)), {"axis": 0})),
        takes=None, facts=("moves", "copies"), **ALONG),
    row("running", running_type, lambda site, a: a,
        lambda m, node, bar: (m("running", bar, running=node.operands[0].type.running),), View(A),
        cases(((X,), {"running": ()}), ((X,), {"running": ("batch", "time")})),
        facts=("view", "identity"), formula="{0}", places=axes.same, vmap=with_time,
        behind=to_the_end),
    row("flip", common.same_type,
        lambda site, a: site.np.flip(a, axis=site.attrs["axis"]),
        lambda m, node, bar: (m("flip", bar, axis=node["axis"]),),
        lambda node: part(A, node["axis"], slice(None, None, -1)),
        cases(((X,), {"axis": 1}), ((X,), {"axis": 2})), **ALONG),
    # Made by lowering only.
    Op("copy", common.same_type, lambda site, x: x, lambda m, node, bar: (bar,),
       steps(call("copy", Operand(0, boxed=False))), flops=lambda node: 0, facts=("pointwise",),
       formula="{0}"),
)
# fmt: on
