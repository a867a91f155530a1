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
from typing import Any

from dln.compiler.ir import op, spelling
from dln.compiler.ir.graph import Node
from dln.compiler.ir.op import Array, Attrs, Case, Make, Op, Site, Types, per_element, register
from dln.compiler.ir.ops import axes, bounds
from dln.compiler.ir.ops.common import check_axes, differ, known, real
from dln.compiler.ir.sizes import Size
from dln.compiler.ir.spelling import OUT, A, Memory, Statements, View, call, part, steps
from dln.compiler.ir.tensor_type import REAL, TensorType
from dln.grammar.diagnostics import Fault

PART = Memory("part")
FEW = 4
"""Taps up to which NumPy writes windows one tap at a time."""

Term = tuple[int, Size]


# ---- rules of types ----------------------------------------------------------------------------


def check_terms(name: str, attrs: Attrs, size: Size) -> None:
    """Raise `Fault` unless every index lies on the axis, as far as its size and the terms are
    numbers."""
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
    (a,), axis = types, attrs["axis"]
    check_axes("window", (axis,), len(a.shape))
    check_terms("window", attrs, a.shape[axis])
    sizes = tuple(Size.of(n) for _, n in attrs["terms"])
    # The axes from the window on do not run: their names were those of another equation.
    shape = (*a.shape[:axis], *sizes, *a.shape[axis + 1 :])
    return a.like(shape=shape, running=a.running[:axis])


def unwindow_type(attrs: Attrs, types: Types) -> TensorType:
    """The axes of the terms give way to one axis of the given size."""
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


def tiles(attrs: Attrs, size: Size | int) -> bool:
    """Whether the indices of a window run through an axis of that size, in order."""
    at = 1
    for step, n in reversed(attrs["terms"]):
        if step != at:
            return False
        at *= Size.of(n).constant
    return attrs["offset"] == 0 and Size.of(size).value == at and "places" not in attrs


# ---- meaning and derivatives ---------------------------------------------------------------------


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


def d_unwindow(m: Make, node: Node, bar: Node) -> tuple[Node]:
    made = m("window", bar, axis=node["axis"], terms=node["terms"], offset=node["offset"])
    order = moved(len(made.type.shape), node["axis"], places_of(node.attrs))
    if order is None:
        return (made,)
    return (m("transpose", made, perm=tuple(map(order.index, range(len(order))))),)


def window_places(node: Node, slot: int) -> op.Places:
    """The axis gives way to several."""
    axis, more = node["axis"], len(node["terms"]) - 1
    rest = (i for i in range(len(node.operands[0].type.shape)) if i != axis)
    return {i if i < axis else i + more: i for i in rest}


def unwindow_places(node: Node, slot: int) -> op.Places:
    """The axes of the terms give way to one."""
    axis, gone = node["axis"], places_of(node.attrs)
    rest = (i for i in range(len(node.operands[0].type.shape)) if i not in gone)
    return {at if at < axis else at + 1: i for at, i in enumerate(rest)}


# ---- spelling ----------------------------------------------------------------------------------


def numbers(node: Node) -> list[tuple[int, int]]:
    """The terms with their sizes in numbers."""
    return [(c, known(Size.of(n), "a window")) for c, n in node["terms"]]


def through(of: spelling.Leaf, rank: int, node: Node) -> View:
    """The view of an array of some rank through a node's window; its strides may be any."""
    return View(of, (spelling.Window(node["axis"], rank, node["offset"], tuple(numbers(node))),))


def values_of(terms: list[tuple[int, int]]) -> list[int]:
    """The indices that a sum of terms takes, in order, from 0."""
    return [sum(at) for at in product(*(range(0, c * n, c) for c, n in terms))]


def spell_unwindow(node: Node) -> Statements:
    """A copy through a window of the result where the windows do not overlap; else the windows of
    the longest term, copied among zeros and added, once for each value of the other terms.

    A copy and an addition of whole arrays take about half as long as an addition to slices, which
    NumPy sends through buffers that it allocates (measured on 64 x 6 x 28 x 28). Where a slice lies
    in one piece it is added to where it is, which takes 0.4 of that (14 x 6 x 14 x 64).
    """
    terms, size = numbers(node), known(Size.of(node["size"]), "a window")
    values = values_of(terms)
    if len(set(values)) < len(values):
        if max(terms, key=lambda term: term[1])[0] == 1 and foremost(node):
            return steps(*add_pieces(node, terms))
        return steps(*add_slices(node, terms), part=lambda node: node.type)
    order = moved(len(node.operands[0].type.shape), node["axis"], places_of(node.attrs))
    source = A if order is None else View(A, (spelling.Transpose(order),))
    copied = call("copy", source, out=through(OUT, len(node.type.shape), node))
    return steps(copied) if len(values) == size else steps(call("fill", 0), copied)


def spell_unwindow_by_tap(node: Node) -> Statements:
    """For NumPy: windows along the last axis that do not overlap are written one tap at a time.
    A copy through the window would run along the taps, which are few."""
    terms, size = numbers(node), known(Size.of(node["size"]), "a window")
    values, longest = values_of(terms), max(range(len(terms)), key=lambda k: terms[k][1])
    (step, n), taps = terms[longest], len(values) // terms[longest][1]
    apart = len(set(values)) == len(values) and step > 1 < taps <= FEW
    if not apart or node["axis"] != len(node.type.shape) - 1:
        return spell_unwindow(node)
    calls = [] if len(values) == size else [call("fill", 0)]
    for start, view in short_values(node, terms, longest):
        at = span(start + node["offset"], step, n)
        calls.append(call("copy", view, out=part(OUT, node["axis"], at)))
    return steps(*calls)


def moved(rank: int, axis: int, places: tuple[int, ...]) -> tuple[int, ...] | None:
    """The order of axes that brings those of the terms to `axis`; None where they stand there."""
    order = [i for i in range(rank) if i not in places]
    order[axis:axis] = places
    return None if order == sorted(order) else tuple(order)


def foremost(node: Node) -> bool:
    """Whether the axis of the result is the first that has more than one place."""
    return all(s.value == 1 for s in node.type.shape[: node["axis"]])


def add_pieces(node: Node, terms: list[tuple[int, int]]) -> list[spelling.Call]:
    """The windows of the longest term, which is a run of indices: one copied among zeros, and each
    of the others added where it lies."""
    axis, longest = node["axis"], max(range(len(terms)), key=lambda k: terms[k][1])
    (step, n), size = terms[longest], known(Size.of(node["size"]), "a window")
    calls = list[spelling.Call]()
    rows = short_values(node, terms, longest)
    for start, view in sorted(rows, key=lambda row: (row[0], positions(row[1]))):
        start += node["offset"]
        place = part(OUT, axis, span(start, step, n))
        if calls:
            calls.append(call("add", place, view, out=place))
            continue
        calls = [call("fill", 0, out=part(OUT, axis, at)) for at in around(start, step, n, size)]
        calls.append(call("copy", view, out=place))
    return calls


def add_slices(node: Node, terms: list[tuple[int, int]]) -> list[spelling.Call]:
    """The windows of the longest term copied among zeros, and added up."""
    axis, longest = node["axis"], max(range(len(terms)), key=lambda k: terms[k][1])
    step, n = terms[longest]
    size = known(Size.of(node["size"]), "a window")
    calls, before = list[spelling.Call](), 0
    rows = short_values(node, terms, longest)
    for k, (start, view) in enumerate(sorted(rows, key=lambda row: (row[0], positions(row[1])))):
        start += node["offset"]
        if k < 2:
            array = PART if k else OUT
            calls += [
                call("fill", 0, out=part(array, axis, at)) for at in around(start, step, n, size)
            ]
        elif start > before:
            left = part(PART, axis, vacated(before, start, step, n))
            calls.append(call("fill", 0, out=left))
        place = part(PART if k else OUT, axis, span(start, step, n))
        calls.append(call("copy", view, out=place))
        if k:
            calls.append(call("add", OUT, PART))
        before = start
    return calls


def positions(view: View) -> list[int]:
    """The positions that a view takes, axis by axis."""
    first = view.moves[0]
    parts = first.parts if isinstance(first, spelling.Index) else ()
    return [p for p in parts if isinstance(p, int)]


def span(start: int, step: int, n: int) -> slice:
    """`n` positions from `start`.

    >>> span(1, 2, 3), span(0, 1, 4)
    (slice(1, 6, 2), slice(0, 4, None))
    """
    return slice(start, start + step * (n - 1) + 1, step if step > 1 else None)


def around(start: int, step: int, n: int, size: int) -> list[slice]:
    """What `n` positions from `start` leave out of an axis, where that is at its ends; else all.

    >>> around(1, 1, 3, 5), around(0, 1, 5, 5), around(0, 2, 2, 4)
    ([slice(0, 1, None), slice(4, 5, None)], [], [slice(0, 4, None)])
    """
    if step > 1:
        return [slice(0, size)]
    ends = slice(0, start), slice(start + n, size)
    return [at for at in ends if at.start < at.stop]


def vacated(before: int, start: int, step: int, n: int) -> slice:
    """What a move from `before` to `start` leaves behind of `n` positions."""
    moved, odd = divmod(start - before, step)
    return span(before, step, n if odd else min(moved, n))


def short_values(node: Node, terms: list[tuple[int, int]], longest: int) -> list[tuple[int, View]]:
    """For each value of the terms but the longest: where its windows start, and the view of them
    with the axis of the longest term where the result has it."""
    rank, axis, places = len(node.operands[0].type.shape), node["axis"], places_of(node.attrs)
    order = [i for i in range(rank) if i not in places]
    order.insert(axis, places[longest])
    perm = tuple(sorted(order).index(i) for i in order)
    turned = () if perm == tuple(range(len(perm))) else (spelling.Transpose(perm),)
    found = []
    for at in product(*(range(1 if k == longest else m) for k, (_, m) in enumerate(terms))):
        fixed = {places[k]: i for k, i in enumerate(at) if k != longest}
        parts = tuple(fixed.get(i, slice(None)) for i in range(max(fixed, default=-1) + 1))
        start = sum(i * d for i, (d, _) in zip(at, terms, strict=True))
        found.append((start, View(A, (spelling.Index(parts), *turned))))
    return found


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
    (real(6), {"axis": 0, "terms": terms((1, 3), (1, 2), (1, 2)), "offset": 0}),
]  # fmt: skip


def sums() -> list[Case]:
    """The results of the windows; and axes of terms that stand apart."""
    rows: list[Case] = [
        ((window_type(attrs, (x,)),), {**attrs, "size": x.shape[attrs["axis"]]})
        for x, attrs in CASES
    ]
    apart = {"axis": 1, "offset": 0, "size": Size(6), "places": (3, 1)}
    rows.append(((real(2, 3, 5, 4),), {**apart, "terms": terms((1, 4), (1, 3))}))
    rows.append(((real(2, 2, 5, 3),), {**apart, "terms": terms((2, 3), (1, 2))}))
    return rows


# fmt: off
register(
    Op("window", window_type, window,
       lambda m, node, bar: (m("unwindow", bar, **node.attrs,
                               size=node.operands[0].type.shape[node["axis"]]),),
       lambda node: through(A, len(node.operands[0].type.shape), node),
       takes=(None,), flops=lambda node: 0, facts=("view", "copies"), formula="window({0})",
       bound=bounds.no_larger, places=window_places, vmap=axes.one_further, behind=axes.one_ahead,
       examples=lambda: [((x,), attrs) for x, attrs in CASES]),
    Op("unwindow", unwindow_type, unwindow, d_unwindow, spell_unwindow, takes=("real",),
       spell_for={"numpy": spell_unwindow_by_tap}, flops=per_element(1), facts=("moves",),
       formula="unwindow({0})", places=unwindow_places, vmap=axes.one_further,
       behind=axes.one_ahead, examples=sums),
)
# fmt: on
