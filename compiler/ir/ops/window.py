"""Windows: an axis looked at through an affine index, and the sums that undo it.

`window(x; axis, terms, offset)` puts one axis for each term `(coefficient, size)` in the place of
`axis`:

    out[..., i, u, ...] = x[..., offset + c0 * i + c1 * u, ...]

A convolution is a sum of products with windows, pooling a reduction of them. Elements overlap, so
nothing may be written through a window that does. `unwindow` is the adjoint: zeros of the axis's
size with all windows added up.
"""

from __future__ import annotations

from itertools import product
from types import MappingProxyType
from typing import Any

from dln.compiler.ir.graph import Node
from dln.compiler.ir.op import Array, Attrs, Make, Op, Places, Site, Spelling, elements, register
from dln.compiler.ir.ops import axes, bounds
from dln.compiler.ir.ops.common import check_axes, count, differ, index_text, known, need_real, real
from dln.compiler.ir.sizes import Size
from dln.compiler.ir.tensor_type import REAL, TensorType
from dln.grammar.diagnostics import Fault

FEW = 4
"""Taps up to which NumPy writes windows one tap at a time."""

Types = tuple[TensorType, ...]
Term = tuple[int, Size]


# ---- rules of types ----------------------------------------------------------------------------


def check_terms(name: str, attrs: Attrs, size: Size) -> None:
    """Every index must lie on the axis, as far as its size and the terms are numbers."""
    terms, offset = attrs["terms"], attrs["offset"]
    if not terms or any(c < 1 for c, _ in terms):
        raise Fault(f"{name}: an index needs terms with positive coefficients, found {terms}")
    last = Size(offset)
    for c, n in terms:
        last = last + (n - 1) * c
    if offset < 0:
        raise Fault(f"{name}: the index starts at {offset}, before the axis")
    if size.value is not None and last.value is not None and last.value >= size.value:
        raise Fault(f"{name}: the index goes up to {last}, but the axis has size {size}")


def window_type(attrs: Attrs, types: Types) -> TensorType:
    """The axis gives way to one axis for each term."""
    count("window", types, 1)
    (a,), axis = types, attrs["axis"]
    check_axes("window", (axis,), len(a.shape))
    check_terms("window", attrs, a.shape[axis])
    sizes = tuple(Size.of(n) for _, n in attrs["terms"])
    # The axes from the window on do not run: their names were those of another equation.
    shape = (*a.shape[:axis], *sizes, *a.shape[axis + 1 :])
    return a.like(shape=shape, running=a.running[:axis])


def unwindow_type(attrs: Attrs, types: Types) -> TensorType:
    """The axes of the terms give way to one axis of the given size."""
    count("unwindow", types, 1)
    need_real("unwindow", types)
    (a,), axis, terms = types, attrs["axis"], attrs["terms"]
    places = places_of(attrs)
    check_axes("unwindow", places, len(a.shape))
    check_terms("unwindow", attrs, attrs["size"])
    for place, (_, n) in zip(places, terms, strict=True):
        if differ(a.shape[place], Size.of(n)):
            raise Fault(f"unwindow: an axis has size {a.shape[place]}, its term {n}")
    shape = [s for i, s in enumerate(a.shape) if i not in places]
    shape.insert(axis, attrs["size"])
    running = a.running[: min(axis, *places)]
    return a.like(shape=tuple(shape), running=running, domain=REAL)


def places_of(attrs: Attrs) -> tuple[int, ...]:
    """Where the axes of the terms stand in the operand of `unwindow`: at `axis`, in order, unless
    lowering says otherwise."""
    axis = attrs["axis"]
    return tuple(attrs.get("places") or range(axis, axis + len(attrs["terms"])))


# ---- meaning -----------------------------------------------------------------------------------


def indices(site: Site) -> Array:
    """The index for each combination of the terms' values."""
    np, at = site.np, site.np.asarray(site.attrs["offset"])
    for c, n in site.attrs["terms"]:
        at = at[..., None] + c * np.arange(site.size(Size.of(n)))
    return at


def window(site: Site, a: Array) -> Array:
    return site.np.take(a, indices(site), axis=site.attrs["axis"])


def unwindow(site: Site, bar: Array) -> Array:
    np, places = site.np, places_of(site.attrs)
    out = np.zeros(site.shape, dtype=bar.dtype)
    first = np.moveaxis(bar, places, range(len(places)))
    np.add.at(np.moveaxis(out, site.attrs["axis"], 0), indices(site), first)
    return out


# ---- derivatives -------------------------------------------------------------------------------


def d_window(m: Make, node: Node, bar: Node) -> tuple[Node]:
    size = node.operands[0].type.shape[node["axis"]]
    return (m("unwindow", bar, **node.attrs, size=size),)


def d_unwindow(m: Make, node: Node, bar: Node) -> tuple[Node]:
    axis, places = node["axis"], places_of(node.attrs)
    made = m("window", bar, axis=axis, terms=node["terms"], offset=node["offset"])
    rest = [i for i in range(len(made.type.shape)) if not axis <= i < axis + len(places)]
    order = [
        axis + places.index(i) if i in places else rest.pop(0) for i in range(len(rest + [*places]))
    ]
    return (made if order == sorted(order) else m("transpose", made, perm=tuple(order)),)


def window_places(node: Node, slot: int) -> Places:
    """The axis gives way to several."""
    axis, more = node["axis"], len(node["terms"]) - 1
    rest = (i for i in range(len(node.operands[0].type.shape)) if i != axis)
    return {i if i < axis else i + more: i for i in rest}


def unwindow_flops(node: Node) -> Size | int:
    return elements(node.operands[0].type)


# ---- spelling ----------------------------------------------------------------------------------


def numbers(node: Node) -> list[tuple[int, int]]:
    """The terms with their sizes in numbers."""
    return [(c, known(Size.of(n), "a window")) for c, n in node["terms"]]


def window_text(name: str, rank: int, axis: int, offset: int, terms: list[tuple[int, int]]) -> str:
    """The view of an array through a window; its strides may be any.

    >>> window_text("x", 1, 0, 0, [(2, 3), (1, 2)])
    '{xp}.lib.stride_tricks.as_strided(x, (3, 2,), (2 * x.strides[0], x.strides[0],))'
    """
    stride = f"{name}.strides[{axis}]"
    shape = ", ".join(str(n) for _, n in terms)
    steps = ", ".join(stride if c == 1 else f"{c} * {stride}" for c, _ in terms)
    texts = [f"({shape},)", f"({steps},)"]
    if axis > 0:
        texts = [
            f"{name}.{w}[:{axis}] + {t}" for w, t in zip(("shape", "strides"), texts, strict=True)
        ]
    if axis < rank - 1:
        texts = [
            f"{t} + {name}.{w}[{axis + 1}:]"
            for w, t in zip(("shape", "strides"), texts, strict=True)
        ]
    start = index_text(rank, axis, f"{offset}:") if offset else ""
    return f"{{xp}}.lib.stride_tricks.as_strided({name}{start}, {', '.join(texts)})"


def spell_window(node: Node) -> Spelling:
    rank = len(node.operands[0].type.shape)
    return Spelling(window_text("{0}", rank, node["axis"], node["offset"], numbers(node)))


def values_of(terms: list[tuple[int, int]]) -> list[int]:
    """The indices that a sum of terms takes, in order, from 0."""
    return [sum(at) for at in product(*(range(0, c * n, c) for c, n in terms))]


def spell_unwindow(node: Node) -> Spelling:
    """A copy through a window of the result where the windows do not overlap; else the windows of
    the longest term, copied among zeros and added, once for each value of the other terms.

    A copy and an addition of whole arrays take about half as long as an addition to slices, which
    NumPy sends through buffers that it allocates (measured on 64 x 6 x 28 x 28).
    """
    terms, size = numbers(node), known(Size.of(node["size"]), "a window")
    values = values_of(terms)
    if len(set(values)) < len(values):
        scratch = MappingProxyType({"part": lambda node: node.type})
        return Spelling("\n".join(add_slices(node, terms)), scratch)
    rank, axis, places = len(node.type.shape), node["axis"], places_of(node.attrs)
    target = window_text("{out}", rank, axis, node["offset"], terms)
    order = moved(len(node.operands[0].type.shape), axis, places)
    source = "{0}" if order is None else f"[[{{0}}.transpose({order})]]"
    copied = f"{{xp}}.copyto([[{target}]], {source})"
    return Spelling(copied if len(values) == size else "{out}.fill(0)\n" + copied)


def spell_unwindow_by_tap(node: Node) -> Spelling:
    """For NumPy: windows along the last axis that do not overlap are written one tap at a time.
    A copy through the window would run along the taps, which are few."""
    terms, size = numbers(node), known(Size.of(node["size"]), "a window")
    values, longest = values_of(terms), max(range(len(terms)), key=lambda k: terms[k][1])
    (step, n), taps = terms[longest], len(values) // terms[longest][1]
    apart = len(set(values)) == len(values) and step > 1 < taps <= FEW
    if not apart or node["axis"] != len(node.type.shape) - 1:
        return spell_unwindow(node)
    lines = [] if len(values) == size else ["{out}.fill(0)"]
    for start, view in short_values(node, terms, longest):
        at = span(start + node["offset"], step, n)
        place = index_text(len(node.type.shape), node["axis"], at)
        lines.append(f"{{xp}}.copyto([[{{out}}{place}]], [[{view}]])")
    return Spelling("\n".join(lines))


def moved(rank: int, axis: int, places: tuple[int, ...]) -> tuple[int, ...] | None:
    """The order of axes that brings those of the terms to `axis`; None where they stand there."""
    order = [i for i in range(rank) if i not in places]
    order[axis:axis] = places
    return None if order == sorted(order) else tuple(order)


def add_slices(node: Node, terms: list[tuple[int, int]]) -> list[str]:
    """The lines that copy the windows of the longest term among zeros and add them up."""
    rank, axis = len(node.type.shape), node["axis"]
    longest = max(range(len(terms)), key=lambda k: terms[k][1])
    step, n = terms[longest]
    lines, before = ["{out}.fill(0)"], 0
    for k, (start, view) in enumerate(sorted(short_values(node, terms, longest))):
        start += node["offset"]
        held = "part" if k else "out"
        if k == 1:
            lines.append("{part}.fill(0)")
        elif k:
            left = index_text(rank, axis, vacated(before, start, step, n))
            lines.append(f"[[{{part}}{left}]].fill(0)" if start > before else "")
        place = index_text(rank, axis, span(start, step, n))
        lines.append(f"{{xp}}.copyto([[{{{held}}}{place}]], [[{view}]])")
        lines.append("{xp}.add({out}, {part}, out={out})" if k else "")
        before = start
    return [line for line in lines if line]


def span(start: int, step: int, n: int) -> str:
    """`n` positions from `start`, as a subscript.

    >>> span(1, 2, 3), span(0, 1, 4)
    ('1:6:2', '0:4')
    """
    return f"{start}:{start + step * (n - 1) + 1}" + (f":{step}" if step > 1 else "")


def vacated(before: int, start: int, step: int, n: int) -> str:
    """What a move from `before` to `start` leaves behind of `n` positions."""
    moved, odd = divmod(start - before, step)
    return span(before, step, n if odd else min(moved, n))


def short_values(node: Node, terms: list[tuple[int, int]], longest: int) -> list[tuple[int, str]]:
    """For each value of the terms but the longest: where its windows start, and the view of them
    with the axis of the longest term where the result has it."""
    rank, axis, places = len(node.operands[0].type.shape), node["axis"], places_of(node.attrs)
    order = [i for i in range(rank) if i not in places]
    order.insert(axis, places[longest])
    perm = tuple(sorted(order).index(i) for i in order)
    turned = "" if perm == tuple(range(len(perm))) else f".transpose({perm})"
    found = []
    for at in product(*(range(1 if k == longest else m) for k, (_, m) in enumerate(terms))):
        fixed = {places[k]: str(i) for k, i in enumerate(at) if k != longest}
        marks = [fixed.get(i, ":") for i in range(max(fixed, default=-1) + 1)]
        start = sum(i * d for i, (d, _) in zip(at, terms, strict=True))
        found.append((start, f"{{0}}[{', '.join(marks)}]{turned}"))
    return found


# ---- records -----------------------------------------------------------------------------------


def terms(*pairs: tuple[int, int]) -> tuple[Term, ...]:
    return tuple((c, Size(n)) for c, n in pairs)


X = real(2, 3, 6, running=("batch",))
CASES: list[tuple[TensorType, dict[str, Any]]] = [
    (X, {"axis": 2, "terms": terms((1, 4), (1, 3)), "offset": 0}),
    (X, {"axis": 2, "terms": terms((2, 3), (1, 2)), "offset": 0}),
    (X, {"axis": 1, "terms": terms((1, 2)), "offset": 1}),
    (X, {"axis": 1, "terms": terms((1, 2), (1, 2)), "offset": 0}),
    (X, {"axis": 2, "terms": terms((2, 2), (1, 2)), "offset": 1}),
    (real(2, 5, 2, 4), {"axis": 1, "terms": terms((2, 2), (1, 3)), "offset": 0}),
    (real(8), {"axis": 0, "terms": terms((1, 2), (3, 2), (1, 3)), "offset": 1}),
    (real(7), {"axis": 0, "terms": terms((1, 3), (2, 2)), "offset": 0}),
    (real(7), {"axis": 0, "terms": terms((3, 3)), "offset": 0}),
]  # fmt: skip


def windows() -> list[tuple[Types, dict[str, Any]]]:
    return [((x,), attrs) for x, attrs in CASES]


def sums() -> list[tuple[Types, dict[str, Any]]]:
    """The results of the windows; and axes of terms that stand apart."""
    rows: list[tuple[Types, dict[str, Any]]] = []
    for x, attrs in CASES:
        rows.append(((window_type(attrs, (x,)),), {**attrs, "size": x.shape[attrs["axis"]]}))
    apart = {"axis": 1, "offset": 0, "size": Size(6), "places": (3, 1)}
    rows.append(((real(2, 3, 5, 4),), {**apart, "terms": terms((1, 4), (1, 3))}))
    rows.append(((real(2, 2, 5, 3),), {**apart, "terms": terms((2, 3), (1, 2))}))
    return rows


register(
    Op(
        "window",
        window_type,
        window,
        d_window,
        MappingProxyType({"array": spell_window}),
        flops=lambda node: 0,
        facts=frozenset({"view", "copies"}),
        formula="window({0})",
        bound=bounds.no_larger,
        places=window_places,
        vmap=axes.one_further,
        examples=windows,
    ),
    Op(
        "unwindow",
        unwindow_type,
        unwindow,
        d_unwindow,
        MappingProxyType({"array": spell_unwindow, "numpy": spell_unwindow_by_tap}),
        flops=unwindow_flops,
        facts=frozenset({"moves"}),
        formula="unwindow({0})",
        vmap=axes.one_further,
        examples=sums,
    ),
)
