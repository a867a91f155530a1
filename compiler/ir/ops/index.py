"""By position: one-hot rows, picking along the last axis, rows of a table and their reverse, and
the places of the lowest elements."""

from __future__ import annotations

from types import MappingProxyType

from dln.compiler.ir.graph import Node
from dln.compiler.ir.op import Array, Attrs, Make, Op, Site, Types, elements, no_gradient, register
from dln.compiler.ir.ops import axes, bounds
from dln.compiler.ir.ops.common import (
    cases,
    contiguous,
    count,
    differ,
    index,
    known,
    need_kind,
    need_real,
    real,
    show,
)
from dln.compiler.ir.sizes import Size
from dln.compiler.ir.spelling import (
    A,
    Attr,
    B,
    Constants,
    Index,
    Memory,
    Reshape,
    ShapeOf,
    SizeOf,
    Statements,
    View,
    call,
    kernel,
    steps,
)
from dln.compiler.ir.tensor_type import BINARY, REAL, Domain, TensorType
from dln.grammar.diagnostics import Fault

# ---- rules of types ----------------------------------------------------------------------------


def classes_fit(name: str, at: TensorType, size: Size) -> None:
    """Classes count the positions of the axis they point into."""
    if at.domain.size is not None and differ(at.domain.size, size):
        raise Fault(f"{name}: {at.domain} does not point into an axis of size {size}")


def onehot_type(attrs: Attrs, types: Types) -> TensorType:
    """A last axis with 1 at the index and 0 elsewhere."""
    count("onehot", types, 1)
    (at,), size = types, Size.of(attrs["size"])
    need_kind("onehot", "index", at)
    classes_fit("onehot", at, size)
    return TensorType((*at.shape, size), at.running, "real", BINARY)


def pick_type(attrs: Attrs, types: Types) -> TensorType:
    """`x[..., index]`: the index has the shape of x without its last axis."""
    count("pick", types, 2)
    x, at = types
    need_kind("pick", "index", at)
    if not x.shape or len(at.shape) != len(x.shape) - 1:
        raise Fault(f"pick: {show(at.shape)} does not point into the last axis of {show(x.shape)}")
    if any(map(differ, at.shape, x.shape[:-1])):
        raise Fault(f"pick: {show(at.shape)} does not point into the last axis of {show(x.shape)}")
    classes_fit("pick", at, x.shape[-1])
    return x.like(shape=x.shape[:-1], running=x.running[: len(x.shape) - 1])


def gather_type(attrs: Attrs, types: Types) -> TensorType:
    """Rows of a table: `index.shape + table.shape[1:]`."""
    count("gather", types, 2)
    table, at = types
    need_kind("gather", "index", at)
    if not table.shape:
        raise Fault("gather takes rows of a table, found a single number")
    classes_fit("gather", at, table.shape[0])
    return table.like(shape=at.shape + table.shape[1:], running=at.running)


def scatter_type(attrs: Attrs, types: Types) -> TensorType:
    """A table of `size` rows; each row is the sum of what points to it."""
    count("scatter_add", types, 2)
    rows, at = types
    need_real("scatter_add", (rows,))
    need_kind("scatter_add", "index", at)
    lead = rows.shape[: len(at.shape)]
    if len(lead) != len(at.shape) or any(map(differ, lead, at.shape)):
        raise Fault(f"scatter_add: {show(at.shape)} does not index rows of {show(rows.shape)}")
    shape = (Size.of(attrs["size"]), *rows.shape[len(at.shape) :])
    return TensorType(shape, (), "real", REAL)


def lowest_type(attrs: Attrs, types: Types) -> TensorType:
    """The last axis becomes k places of it."""
    count("lowest", types, 1)
    need_real("lowest", types)
    (a,), k = types, attrs["k"]
    if not a.shape:
        raise Fault("lowest takes a vector, found a single number")
    size = a.shape[-1]
    if k < 1 or (size.value is not None and k > size.value):
        raise Fault(f"there are no {k} lowest of {size} elements", f"from 1 to {size}")
    running = a.running[: len(a.shape) - 1]
    return TensorType((*a.shape[:-1], Size(k)), running, "index", Domain("class", size))


# ---- meaning -----------------------------------------------------------------------------------


def onehot(site: Site, at: Array) -> Array:
    return (at[..., None] == site.np.arange(site.shape[-1])).astype(site.real)


def pick(site: Site, x: Array, at: Array) -> Array:
    return site.np.take_along_axis(x, at[..., None], axis=-1)[..., 0]


def gather(site: Site, table: Array, at: Array) -> Array:
    return table[at]


def scatter_add(site: Site, rows: Array, at: Array) -> Array:
    out = site.np.zeros(site.shape, dtype=rows.dtype)
    site.np.add.at(out, at, rows)
    return out


def lowest(site: Site, a: Array) -> Array:
    """A stable sort puts the smaller of two places with equal elements first."""
    return site.np.argsort(a.real, axis=-1, kind="stable")[..., : site.attrs["k"]]


# ---- derivatives -------------------------------------------------------------------------------


def d_onehot(m: Make, node: Node, bar: Node) -> tuple[None]:
    return (None,)


def d_pick(m: Make, node: Node, bar: Node) -> tuple[Node | None, ...]:
    x, at = node.operands
    spread = m.broadcast(bar, x.type, tuple(range(len(node.type.shape))))
    return m.mul(m("onehot", at, size=x.type.shape[-1]), spread), None


def d_gather(m: Make, node: Node, bar: Node) -> tuple[Node | None, ...]:
    table, at = node.operands
    return m("scatter_add", bar, at, size=table.type.shape[0]), None


def d_scatter(m: Make, node: Node, bar: Node) -> tuple[Node | None, ...]:
    return m("gather", bar, node.operands[1]), None


# ---- spelling ----------------------------------------------------------------------------------


def index_like(node: Node) -> TensorType:
    return node.operands[1].type


def x_like(node: Node) -> TensorType:
    return node.operands[0].type


AT, COPY = Memory("at"), Memory("copy")


def spell_pick(node: Node) -> Statements:
    """`take` from x laid out flat, at index + row * (size of the last axis)."""
    n = known(node.operands[0].type.shape[-1], "pick")
    rows = View(Constants("range", (0, SizeOf(A), n)), (Reshape(ShapeOf(B)),))
    at, flat = call("add", B, rows, out=AT), (Reshape(-1),)
    if contiguous(node.operands[0]):
        return steps(at, call("take", View(A, flat), AT), at=index_like)
    taken = call("take", View(COPY, flat), AT)
    return steps(call("copy", A, out=COPY), at, taken, at=index_like, copy=x_like)


def spell_onehot(node: Node) -> Statements:
    """index == 0, 1, ..., size - 1."""
    rank = len(node.operands[0].type.shape)
    each = View(A, (Index((*(slice(None),) * rank, None)),))
    return steps(call("equal", each, Constants("range", (Attr("size"),))))


# ---- records -----------------------------------------------------------------------------------


TABLE, ROWS = real(5, 3), real(2, 4, 3)
PLACES = index(2, 4, size=5)

register(
    Op(
        "onehot",
        onehot_type,
        onehot,
        d_onehot,
        MappingProxyType({"array": spell_onehot}),
        formula="onehot({0})",
        bound=bounds.at_most(1.0),
        places=axes.same,
        vmap=axes.unchanged,
        examples=cases(((PLACES,), {"size": Size(5)}), ((index(3, size=2),), {"size": Size(2)})),
    ),
    Op(
        "pick",
        pick_type,
        pick,
        d_pick,
        MappingProxyType({"array": spell_pick}),
        facts=frozenset({"moves"}),
        formula="{0}[{1}]",
        bound=bounds.no_larger,
        places=axes.same,
        vmap=lambda m, node, over: m("pick", *axes.as_sequences(m, node, over)),
        examples=cases(
            ((real(2, 4, 5), PLACES), {}),
            ((real(3, 2, running=("batch",)), index(3, size=2)), {}),
            ((real(5), index(size=5)), {}),
        ),
    ),
    Op(
        "gather",
        gather_type,
        gather,
        d_gather,
        MappingProxyType({"array": steps(call("take", A, B, axis=0))}),
        flops=lambda node: 0,
        facts=frozenset({"moves", "lookup"}),
        formula="{0}[{1}]",
        bound=bounds.no_larger,
        places=lambda node, slot: axes.same(node, slot) if slot == 1 else {},  # which rows, is open
        vmap=axes.unchanged,
        examples=cases(((TABLE, PLACES), {}), ((real(5), index(3, size=5)), {})),
    ),
    Op(
        "scatter_add",
        scatter_type,
        scatter_add,
        d_scatter,
        MappingProxyType({"array": steps(call("fill", 0), call("add_at", B, A))}),
        flops=lambda node: 0,
        facts=frozenset({"moves"}),
        formula="scatter({0}, {1})",
        examples=cases(
            ((ROWS, PLACES), {"size": Size(5)}), ((real(4), index(4, size=3)), {"size": 3})
        ),
    ),
    Op(
        "lowest",
        lowest_type,
        lowest,
        no_gradient,
        MappingProxyType({"array": steps(kernel("lowest", A))}),
        flops=lambda node: elements(node.operands[0].type) * node["k"],
        formula="lowest({0}, {k})",
        vmap=axes.unchanged,
        smooth=False,
        examples=cases(
            ((real(2, 3, 9, running=("batch",)),), {"k": 4}),
            ((real(7),), {"k": 1}),
            ((real(3, 70),), {"k": 70}),
        ),
    ),
)
