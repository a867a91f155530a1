"""By position: one-hot rows, picking along the last axis, rows of a table and their reverse, the
places of the lowest elements, and sequences from their ends."""

from __future__ import annotations

from dln.compiler.ir import op, spelling
from dln.compiler.ir.graph import Node
from dln.compiler.ir.op import Array, Attrs, Make, Op, Site, Types, no_gradient, register, volume
from dln.compiler.ir.ops import axes, bounds
from dln.compiler.ir.ops.common import cases, contiguous, differ, index, known, real, show, unlike
from dln.compiler.ir.sizes import Size
from dln.compiler.ir.spelling import OUT, A, Attr, B, Memory, Statements, View, call, kernel, steps
from dln.compiler.ir.tensor_type import BINARY, REAL, Domain, TensorType
from dln.grammar.diagnostics import Fault

# ---- rules of types ----------------------------------------------------------------------------


def classes_fit(name: str, at: TensorType, size: Size) -> None:
    """Raise `Fault` unless classes count the positions of the axis they point into."""
    if at.domain.size is not None and differ(at.domain.size, size):
        raise Fault(f"{name}: {at.domain} does not point into an axis of size {size}")


def onehot_type(attrs: Attrs, types: Types) -> TensorType:
    """A last axis with 1 at the index and 0 elsewhere."""
    (at,), size = types, Size.of(attrs["size"])
    classes_fit("onehot", at, size)
    return TensorType((*at.shape, size), at.running, "real", BINARY)


def pick_type(attrs: Attrs, types: Types) -> TensorType:
    """`x[..., index]`: the index has the shape of x without its last axis."""
    x, at = types
    if not x.shape or unlike(at.shape, x.shape[:-1]):
        raise Fault(f"pick: {show(at.shape)} does not point into the last axis of {show(x.shape)}")
    classes_fit("pick", at, x.shape[-1])
    return x.like(shape=x.shape[:-1], running=x.running[: len(x.shape) - 1])


def gather_type(attrs: Attrs, types: Types) -> TensorType:
    """Rows of a table: `index.shape + table.shape[1:]`."""
    table, at = types
    if not table.shape:
        raise Fault("gather takes rows of a table, found a single number")
    classes_fit("gather", at, table.shape[0])
    return table.like(shape=at.shape + table.shape[1:], running=at.running)


def scatter_type(attrs: Attrs, types: Types) -> TensorType:
    """A table of `size` rows; each row is the sum of what points to it."""
    rows, at = types
    if unlike(rows.shape[: len(at.shape)], at.shape):
        raise Fault(f"scatter_add: {show(at.shape)} does not index rows of {show(rows.shape)}")
    shape = (Size.of(attrs["size"]), *rows.shape[len(at.shape) :])
    return TensorType(shape, (), "real", REAL)


def lowest_type(attrs: Attrs, types: Types) -> TensorType:
    """The last axis becomes k places of it."""
    (a,), k = types, attrs["k"]
    if not a.shape:
        raise Fault("lowest takes a vector, found a single number")
    size = a.shape[-1]
    if k < 1 or (size.value is not None and k > size.value):
        raise Fault(f"there are no {k} lowest of {size} elements", f"from 1 to {size}")
    running = a.running[: len(a.shape) - 1]
    return TensorType((*a.shape[:-1], Size(k)), running, "index", Domain("class", size))


def turned_type(attrs: Attrs, types: Types) -> TensorType:
    """A sequence [time, batch, ...] and how many of its steps each example has."""
    x, count = types
    if len(x.shape) < 2 or unlike(count.shape, x.shape[1:2]):
        raise Fault(f"turned: {show(count.shape)} are no lengths of {show(x.shape)}")
    return x


# ---- meaning and derivative --------------------------------------------------------------------


def pick(site: Site, x: Array, at: Array) -> Array:
    """What stands past the end of a sequence points anywhere, and is read by nothing: as programs
    do, the last place is taken for it."""
    inside = site.np.minimum(at, x.shape[-1] - 1)
    return site.np.take_along_axis(x, inside[..., None], axis=-1)[..., 0]


def scatter_add(site: Site, rows: Array, at: Array) -> Array:
    out = site.np.zeros(site.shape, dtype=rows.dtype)
    site.np.add.at(out, at, rows)
    return out


def lowest(site: Site, a: Array) -> Array:
    """A stable sort puts the smaller of two places with equal elements first."""
    return site.np.argsort(a.real, axis=-1, kind="stable")[..., : site.attrs["k"]]


def turned(site: Site, x: Array, count: Array) -> Array:
    """The first steps of each example backwards; those past its end stay."""
    steps = site.np.arange(len(x))[:, None]
    at = site.np.where(steps < count, count - 1 - steps, steps)
    return x[at, site.np.arange(x.shape[1])]


def d_pick(m: Make, node: Node, bar: Node) -> tuple[Node | None, ...]:
    x, at = node.operands
    spread = m.broadcast(bar, x.type, tuple(range(len(node.type.shape))))
    return m.mul(m("onehot", at, size=x.type.shape[-1]), spread), None


# ---- spelling ----------------------------------------------------------------------------------


def spell_onehot(node: Node) -> Statements:
    """index == 0, 1, ..., size - 1."""
    rank = len(node.operands[0].type.shape)
    each = View(A, (spelling.Index((*(slice(None),) * rank, None)),))
    return steps(call("equal", each, spelling.Constants("range", (Attr("size"),))))


def spell_scatter(node: Node) -> Statements:
    """Row by row; where lowering has said so class by class."""
    if node.attrs.get("by_class"):
        return Statements((kernel("sum_by_class", A, B),), wants="rows")
    return steps(call("fill", 0), call("add_at", B, A))


def spell_scatter_flat(node: Node) -> Statements:
    """For NumPy: numbers by their places in the table, which takes a fourth of the time of rows."""
    width = row_width(node.type)
    if node.attrs.get("by_class") or width is None or not contiguous(node.operands[0]):
        return spell_scatter(node)
    fill, added = call("fill", 0), added_flat(A, B, width)
    return steps(fill, *added, places=lambda node: places_in(node.operands[0], node.operands[1]))


FLAT, PLACES_FLAT = (spelling.Reshape(-1),), Memory("places")


def added_flat(rows: spelling.Leaf, at: spelling.Leaf, width: int) -> tuple[spelling.Call, ...]:
    """The statements that add rows to those of the result that they point to, number by number; the
    places of all numbers are worked out in a buffer `places`."""
    counted = spelling.Constants("range", (width,))
    return (
        call("multiply", View(at, (spelling.Index((..., None)),)), width, out=PLACES_FLAT),
        call("add", PLACES_FLAT, counted, out=PLACES_FLAT),
        call("add_at", View(PLACES_FLAT, FLAT), View(rows, FLAT), out=View(OUT, FLAT)),
    )


def row_width(table: TensorType) -> int | None:
    """The numbers of a row of a table, where there are several and they are a number."""
    width = volume(table.shape[1:]).value
    return width if width is not None and width > 1 else None


def places_in(rows: Node, at: Node) -> TensorType:
    """The type of the places of all numbers of rows."""
    width = volume(rows.type.shape[len(at.type.shape) :])
    return at.type.like(shape=(*at.type.shape, width))


def spell_pick(node: Node) -> Statements:
    """`take` from x laid out flat, at index + row * (size of the last axis)."""
    x, which = (operand.type for operand in node.operands)
    counted = spelling.Constants("range", (0, spelling.SizeOf(A), known(x.shape[-1], "pick")))
    rows = View(counted, (spelling.Reshape(spelling.ShapeOf(B)),))
    place, copy, flat = Memory("at"), Memory("copy"), (spelling.Reshape(-1),)
    at = call("add", B, rows, out=place)
    if contiguous(node.operands[0]):
        return steps(at, call("take", View(A, flat), place), at=lambda node: which)
    copied, taken = call("copy", A, out=copy), call("take", View(copy, flat), place)
    return steps(copied, at, taken, at=lambda node: which, copy=lambda node: x)


def before_last(node: Node, slot: int) -> op.Places:
    """Each row for itself."""
    return {i: i for i in range(len(node.type.shape) - 1)}


SEQUENCE = ("time", "batch")
BATCH, TABLE, ROWS = ("batch",), real(5, 3), real(2, 4, 3)
PLACES = index(2, 4, size=5)

# fmt: off
register(
    Op("onehot", onehot_type,
       lambda site, at: (at[..., None] == site.np.arange(site.shape[-1])).astype(site.real),
       no_gradient, spell_onehot, takes=("index",), facts=("one_hot",), formula="onehot({0})",
       bound=bounds.at_most(1.0), places=axes.same, vmap=axes.unchanged,
       examples=cases(((PLACES,), {"size": Size(5)}), ((index(3, size=2),), {"size": Size(2)}))),
    Op("pick", pick_type,
       pick, d_pick, spell_pick, takes=(None, "index"), facts=("moves",), formula="{0}[{1}]",
       bound=bounds.no_larger, places=axes.same,
       vmap=lambda m, node, over: m("pick", *axes.as_sequences(m, node, over)),
       examples=cases(((real(2, 4, 5), PLACES), {}),
                      ((real(3, 2, running=BATCH), index(3, size=2)), {}),
                      ((real(5), index(size=5)), {}))),
    Op("gather", gather_type, lambda site, table, at: table[at],
       lambda m, node, bar:
           (m("scatter_add", bar, node.operands[1], size=node.operands[0].type.shape[0]), None),
       steps(call("take", A, B, axis=0)), takes=(None, "index"), flops=lambda node: 0,
       facts=("moves", "lookup"), formula="{0}[{1}]", bound=bounds.no_larger,
       places=lambda node, slot: axes.same(node, slot) if slot == 1 else {},  # which rows, is open
       vmap=axes.unchanged,
       examples=cases(((TABLE, PLACES), {}), ((real(5), index(3, size=5)), {}))),
    Op("scatter_add", scatter_type, scatter_add,
       lambda m, node, bar: (m("gather", bar, node.operands[1]), None),
       spell_scatter, takes=("real", "index"), spell_for={"numpy": spell_scatter_flat},
       flops=lambda node: 0, facts=("moves",), formula="scatter({0}, {1})", parts="added",
       examples=cases(((ROWS, PLACES), {"size": Size(5)}),
                      ((real(4), index(4, size=3)), {"size": 3}),
                      ((ROWS, PLACES), {"size": Size(5), "by_class": True}))),
    Op("turned", turned_type, turned,
       lambda m, node, bar: (m("turned", bar, node.operands[1]), None),
       steps(kernel("turned", A, B)), takes=(None, "index"), flops=lambda node: 0,
       facts=("moves",), formula="reversed({0})", bound=bounds.no_larger,
       places=lambda node, slot:
           {1: 0} if slot else {i: i for i in range(1, len(node.type.shape))},
       examples=cases(((real(4, 3, 2, running=SEQUENCE), index(3, size=5)), {}),
                      ((real(5, 2), index(2, size=6)), {}))),
    Op("lowest", lowest_type, lowest, no_gradient, steps(kernel("lowest", A)), takes=("real",),
       flops=lambda node: volume(node.operands[0].type.shape) * node["k"],
       formula="lowest({0}, {k})", places=before_last, vmap=axes.unchanged, smooth=False,
       examples=cases(((real(2, 3, 9, running=BATCH),), {"k": 4}), ((real(7),), {"k": 1}),
                      ((real(3, 70),), {"k": 70}))),
)
# fmt: on
