"""Over axes: sums, extremes and where they are, and the normalised exponentials.

`axes` are positions of the full shape; running axes may be among them. An extreme shares its
cotangent equally among the elements that attain it, so the derivative of `max` is symmetric.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

from dln.compiler.ir import op, spelling
from dln.compiler.ir.graph import Node
from dln.compiler.ir.op import Array, Evaluate, Make, Op, Site, no_gradient, register, volume
from dln.compiler.ir.ops import axes, bounds, common, second_order
from dln.compiler.ir.ops.common import (
    always,
    check_axes,
    contiguous,
    not_negative,
    real,
    spread_back,
    without,
)
from dln.compiler.ir.sizes import Size
from dln.compiler.ir.spelling import OUT, A, Attr, Memory, Statements, View, call, look, part, steps
from dln.compiler.ir.tensor_type import PROB, REAL, Domain, TensorType

FEW, MOST = 4, 3
"""Positions up to which NumPy takes an axis one by one; how many such axes."""
SHORT, LONG = 32, 4096
"""Numbers of a row among which NumPy finds the largest by columns; that it adds up by a product: in
single precision sums of more lose digits there."""


# ---- rules of types ----------------------------------------------------------------------------


Result: TypeAlias = Callable[[TensorType, tuple[int, ...]], TensorType]
"""The type of the result by that of the operand and the axes that are worked along."""


def gone(narrow: common.Narrow) -> Result:
    """The axes go; `narrow` finds the domain."""
    return lambda a, axes: without(a, axes).like(domain=narrow(a.domain))


def position(a: TensorType, axes: tuple[int, ...]) -> TensorType:
    """The axis goes; the result counts its positions."""
    return without(a, axes).like(kind="index", domain=Domain("class", a.shape[axes[0]]))


def same(narrow: common.Narrow) -> Result:
    """The shape stays."""
    return lambda a, axes: a.like(domain=narrow(a.domain))


# ---- meaning and derivatives ---------------------------------------------------------------------


def extreme(name: str) -> Evaluate:
    """The element whose real part is extreme: the branch a complex step stays on."""

    def evaluate(site: Site, a: Array) -> Array:
        np, axes = site.np, site.attrs["axes"]
        kept = tuple(i for i in range(a.ndim) if i not in axes)
        flat = a.transpose(kept + axes).reshape(tuple(a.shape[i] for i in kept) + (-1,))
        at = getattr(np, name)(flat.real, axis=-1)
        return np.take_along_axis(flat, at[..., None], axis=-1)[..., 0]

    return evaluate


def top(site: Site, a: Array) -> Array:
    """The largest real part along the axes, kept as axes of size 1."""
    return site.np.max(a.real, axis=site.attrs["axes"], keepdims=True)


def log_sum_exp(site: Site, a: Array) -> Array:
    np, axes, most = site.np, site.attrs["axes"], top(site, a)
    return np.log(np.sum(np.exp(a - most), axis=axes)) + np.squeeze(most, axes)


def softmax(site: Site, a: Array) -> Array:
    e = site.np.exp(a - top(site, a))
    return e / e.sum(axis=site.attrs["axes"], keepdims=True)


def log_softmax(site: Site, a: Array) -> Array:
    np, shifted = site.np, a - top(site, a)
    return shifted - np.log(np.sum(np.exp(shifted), axis=site.attrs["axes"], keepdims=True))


def d_extreme(m: Make, node: Node, bar: Node) -> tuple[Node]:
    """bar / (number of ties) at each element that attains the extreme."""
    hit = m("cast", m("eq", node.operands[0], spread_back(m, node, node)), kind="real")
    share = m.div(bar, m.sum(hit, node["axes"]))
    return (m.mul(hit, spread_back(m, node, share)),)


def d_log_sum_exp(m: Make, node: Node, bar: Node) -> tuple[Node]:
    """softmax(x) bar, with the sum that is known already: exp(x - log_sum_exp(x)) bar."""
    weight = m("exp", m.sub(node.operands[0], spread_back(m, node, node)))
    return (m.mul(weight, spread_back(m, node, bar)),)


def d_softmax(m: Make, node: Node, bar: Node) -> tuple[Node]:
    """y (bar - sum(y bar))."""
    inner = m.sum(m.mul(node, bar), node["axes"])
    return (m.mul(node, m.sub(bar, spread_back(m, node, inner))),)


def d_log_softmax(m: Make, node: Node, bar: Node) -> tuple[Node]:
    """bar - exp(y) sum(bar)."""
    sums = spread_back(m, node, m.sum(bar, node["axes"]))
    return (m.sub(bar, m.mul(m("exp", node), sums)),)


def d_cumsum(m: Make, node: Node, bar: Node) -> tuple[Node]:
    """The running sum from the other end."""
    axis = node["axis"]
    return (m("flip", m("cumsum", m("flip", bar, axis=axis), axis=axis), axis=axis),)


# ---- spelling ----------------------------------------------------------------------------------


def thin(node: Node) -> TensorType:
    """The operand's type with the reduced axes kept at size 1."""
    a, axes = node.operands[0].type, node["axes"]
    return a.like(shape=tuple(Size(1) if i in axes else s for i, s in enumerate(a.shape)))


def full(node: Node) -> TensorType:
    return node.operands[0].type.like(domain=REAL)


def sum_apart(m: Make, node: Node) -> Node:
    """max + log(sum(exp(x - max)))."""
    (x,), axes = node.operands, node["axes"]
    most = m("max", x, axes=axes)
    shifted = m.sub(x, spread_back(m, node, most))
    return m.add(most, m("log", m.sum(m("exp", shifted), axes)))


AXES = Attr("axes")
TOP, SHIFTED, POWERS = Memory("top"), Memory("shifted"), Memory("powers")
ONES, TURNED = Memory("ones"), Memory("turned")


def spell_log_sum_exp(node: Node) -> Statements:
    """max + log(sum(exp(x - max))). `...` keeps the largest a view where no axis is left."""
    axes, rank = node["axes"], len(node.operands[0].type.shape)
    most = look(TOP, spelling.Index((*(0 if i in axes else slice(None) for i in range(rank)), ...)))
    return steps(
        call("max", A, axis=AXES, keepdims=True, out=TOP),
        call("subtract", A, TOP, out=SHIFTED),
        call("exp", SHIFTED, out=SHIFTED),
        call("sum", SHIFTED, axis=AXES),
        call("log", OUT),
        call("add", OUT, most),
        top=thin,
        shifted=full,
    )


SOFTMAX = steps(
    call("max", A, axis=AXES, keepdims=True, out=TOP),
    call("subtract", A, TOP),
    call("exp", OUT),
    call("sum", OUT, axis=AXES, keepdims=True, out=TOP),
    call("divide", OUT, TOP),
    top=thin,
)

LOG_SOFTMAX = steps(
    call("max", A, axis=AXES, keepdims=True, out=TOP),
    call("subtract", A, TOP),
    call("exp", OUT, out=POWERS),
    call("sum", POWERS, axis=AXES, keepdims=True, out=TOP),
    call("log", TOP, out=TOP),
    call("subtract", OUT, TOP),
    top=thin,
    powers=full,
)


def along_rows(
    plain: spelling.Spell, room: Memory | None = None
) -> Callable[[Node], spelling.Spelling]:
    """A spelling for NumPy, whose own reductions begin anew at each row: sums along the last axes
    of what lies by rows are products with ones, which take from a half to a ninth of the time; the
    largest of short rows is found among columns, turned, in `room` that is needed later."""

    def spell(node: Node) -> spelling.Spelling:
        made = plain if isinstance(plain, View | Statements) else plain(node)
        if not isinstance(made, Statements):
            return made
        scratch = dict(made.scratch)
        calls = [quicker for c in made.calls for quicker in by_rows(node, c, scratch, room)]
        return Statements(tuple(calls), scratch, made.wants)

    return spell


def by_rows(
    node: Node,
    c: spelling.Call,
    scratch: dict[str, Callable[[Node], TensorType]],
    room: Memory | None,
) -> list[spelling.Call]:
    """What takes the place of a reduction of rows, and the buffers of it; else the call itself."""
    (a,), axes, of = node.operands, tuple(sorted(node["axes"])), c.args[0] if c.args else None
    rank, length = len(a.type.shape), volume(a.type.shape[i] for i in axes).value or 0
    last = len(axes) < rank and axes == tuple(range(rank - len(axes), rank))
    if not last or not 2 <= length <= LONG or isinstance(c.out, View):
        return [c]
    if not isinstance(of, Memory | spelling.Operand) or (of == A and not contiguous(a)):
        return [c]
    moves = [spelling.Join((tuple(range(rank - len(axes))), axes))] if rank > 2 else []
    flat = View(c.out, (spelling.Reshape(-1),))
    if c.function == "sum":
        scratch[ONES.name] = partial(ones, length=length)
        rows = View(of, tuple(moves)) if moves else of
        return [call("fill", 1, out=ONES), call("dot", rows, ONES, out=flat)]
    if c.function == "max" and length <= SHORT:
        columns = View(of, (*moves, spelling.Transpose(None)))
        if room is None:
            scratch[TURNED.name] = partial(columns_first, length=length)
        into = TURNED if room is None else View(room, (spelling.Reshape((length, -1)),))
        return [call("copy", columns, out=into), call("max", into, axis=(0,), out=flat)]
    return [c]


def ones(node: Node, length: int) -> TensorType:
    return TensorType((Size(length),), (), "real", REAL)


def columns_first(node: Node, length: int) -> TensorType:
    """The operand's type as a matrix with what is worked along first."""
    rows = volume(s for i, s in enumerate(node.operands[0].type.shape) if i not in node["axes"])
    return TensorType((Size(length), rows), (), "real", REAL)


X = real(2, 3, 4, running=("batch",))


def over(key: str, *choices: Any) -> op.Examples:
    return lambda: [((X,), {key: axes}) for axes in choices]


def row(
    name: str,
    result: Result,
    evaluate: Evaluate,
    gradient: op.Gradient,
    spell: spelling.Spell,
    **given: Any,
) -> Op:
    def infer(attrs: op.Attrs, types: op.Types) -> TensorType:
        (a,), along = types, axes.worked_along(attrs)
        check_axes(name, along, len(a.shape))
        return result(a, along)

    rest: dict[str, Any] = {
        "takes": ("real",),
        "flops": op.per_element(1),
        "examples": over("axes", (2,), (0,), (0, 2), (1, 2), (0, 1, 2)),
        "formula": f"{name}({{0}})",
        "places": axes.reduced,
        "vmap": axes.one_further,
        "behind": axes.one_ahead,
        **given,
    }
    return Op(name, infer, evaluate, gradient, spell, **rest)


def reduced(name: str, along: str = "axes") -> Statements:
    return steps(call(name, A, axis=Attr(along)))


def one_by_one(name: str, pairwise: str) -> dict[str, spelling.Spell]:
    """The spelling for NumPy: axes of few positions are taken position by position, the first one
    first: then what lies together is long, and little is left for the last. NumPy's own reduction
    runs along the axes, entry by entry, and takes ten times as long for pairs."""

    rows = along_rows(reduced(name))

    def spell(node: Node) -> spelling.Spelling:
        axes, shape = sorted(node["axes"]), node.operands[0].type.shape
        sizes = [few(shape[i]) for i in axes]
        if not node.type.shape or 0 in sizes or len(axes) > MOST:
            return rows(node)
        calls, scratch = list[spelling.Call](), dict[str, Callable[[Node], TensorType]]()
        of: spelling.Leaf = A
        for k, (axis, size) in enumerate(zip(axes, sizes, strict=True)):
            into = OUT if k == len(axes) - 1 else Memory(f"stage{k}")
            if into != OUT:
                scratch[into.name] = partial(left_of, gone=tuple(axes[: k + 1]))
            first, second, *more = (part(of, axis - k, i) for i in range(size))
            calls.append(call(pairwise, first, second, out=into))
            calls += [call(pairwise, into, p, out=into) for p in more]
            of = into
        return steps(*calls, **scratch)

    return {"numpy": spell}


def few(size: Size) -> int:
    """The positions of an axis that is taken one by one; 0 of any other."""
    value = size.value or 0
    return value if 2 <= value <= FEW else 0


def left_of(node: Node, gone: tuple[int, ...]) -> TensorType:
    """The operand's type without some of its axes."""
    return without(node.operands[0].type, gone)


OVER_AXIS = over("axis", 0, 1, 2)
AT: dict[str, Any] = {"takes": (None,), "examples": OVER_AXIS, "smooth": False}
GROWS: dict[str, Any] = {"refuge": op.Refuge(0, 0.0, bounds.too_large, by_size=True)}

# fmt: off
register(
    row("sum", gone(not_negative),
        lambda site, a: site.np.sum(a, axis=site.attrs["axes"]),
        lambda m, node, bar: (spread_back(m, node, bar),), reduced("sum"),
        facts=("moves",), spell_for=one_by_one("sum", "add"), bound=bounds.summed, parts="added",
        **GROWS),
    row("max", gone(lambda domain: domain), extreme("argmax"), d_extreme, reduced("max"),
        smooth=False, curve=second_order.extreme, spell_for=one_by_one("max", "maximum"),
        bound=bounds.no_larger, parts="largest"),
    row("min", gone(lambda domain: domain), extreme("argmin"), d_extreme, reduced("min"),
        smooth=False, curve=second_order.extreme, spell_for=one_by_one("min", "minimum"),
        bound=bounds.no_larger, parts="smallest"),
    row("argmax", position,
        lambda site, a: site.np.argmax(a.real, axis=site.attrs["axis"]), no_gradient,
        reduced("argmax", "axis"), **AT),
    row("argmin", position,
        lambda site, a: site.np.argmin(a.real, axis=site.attrs["axis"]), no_gradient,
        reduced("argmin", "axis"), **AT),
    row("log_sum_exp", gone(always(REAL)), log_sum_exp, d_log_sum_exp,
        spell_log_sum_exp, flops=op.per_element(4), curve=second_order.log_sum_exp,
        spell_for={"numpy": along_rows(spell_log_sum_exp, SHIFTED)},
        bound=bounds.plus(50.0, times=2.0), apart=sum_apart, **GROWS),
    row("softmax", same(always(PROB)), softmax, d_softmax, SOFTMAX,
        spell_for={"numpy": along_rows(SOFTMAX)},
        flops=op.per_element(5), facts=("squashing",), curve=second_order.softmax,
        places=axes.along, bound=bounds.at_most(1.0), **GROWS),
    row("log_softmax", same(always(REAL)), log_softmax, d_log_softmax, LOG_SOFTMAX,
        spell_for={"numpy": along_rows(LOG_SOFTMAX)},
        flops=op.per_element(5), curve=second_order.log_softmax, places=axes.along,
        bound=bounds.plus(50.0, times=2.0), **GROWS),
    row("cumsum", same(not_negative),
        lambda site, a: site.np.cumsum(a, axis=site.attrs["axis"]), d_cumsum,
        reduced("cumsum", "axis"), flops=op.one_flop, examples=OVER_AXIS, formula="",
        places=axes.along, bound=bounds.summed),
)
# fmt: on
