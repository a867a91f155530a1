"""Sums of products: `contract(a, b; left, right, out)`.

`left`, `right` and `out` give each axis a label (a small integer); no label stands twice in one of
them, and labels that `out` lacks are summed, as in einsum. A label of one operand only must be in
`out`: what is summed alone is summed before. Matrix products, outer products and batched products
are all this one operation; which call of the array module computes it is decided by `spell`, from
the four groups of labels:

    batch  in left, right and out        rows  in left and out
    inner  in left and right only        cols  in right and out
"""

from __future__ import annotations

import re
from functools import lru_cache
from string import ascii_letters

from dln.compiler.ir import op, spelling
from dln.compiler.ir.graph import Node
from dln.compiler.ir.op import Array, Attrs, Make, Op, Site, Types, register, volume
from dln.compiler.ir.ops import bounds, second_order
from dln.compiler.ir.ops.common import contiguous, differ, real
from dln.compiler.ir.sizes import Size
from dln.compiler.ir.spelling import OUT, A, B, L, Operand, Statements, View, call, look
from dln.compiler.ir.tensor_type import REAL, TensorType
from dln.grammar.diagnostics import Fault
from dln.grammar.record import Record

Labels = tuple[int, ...]


# ---- rule of types -----------------------------------------------------------------------------


def check_labels(attrs: Attrs, types: Types) -> None:
    """Raise `Fault` where labels do not fit the operands, or leave an axis alone."""
    left, right, out = attrs["left"], attrs["right"], attrs["out"]
    for labels, t in zip((left, right), types, strict=True):
        if len(labels) != len(t.shape):
            raise Fault(f"contract: labels {labels} do not fit {t}")
    for labels in (left, right, out):
        if len(set(labels)) != len(labels):
            raise Fault(f"contract: a label stands twice in {labels}")
    alone = (set(left) ^ set(right)) - set(out)
    if alone or set(out) - set(left) - set(right):
        raise Fault(f"contract: labels {left}, {right} -> {out} leave one of them alone")


def infer(attrs: Attrs, types: Types) -> TensorType:
    """Sizes by label; running are the leading labels of `out` that are running in an operand."""
    check_labels(attrs, types)
    sizes: dict[int, Size] = {}
    names: dict[int, str] = {}
    for labels, t in zip((attrs["left"], attrs["right"]), types, strict=True):
        for label, size in zip(labels, t.shape, strict=True):
            if label in sizes and differ(sizes[label], size):
                over, found = f"{types[0]} and {types[1]}", f"{sizes[label]} and {size}"
                raise Fault(f"a sum of products over {over}: {found} must be equal")
            sizes.setdefault(label, size)
        names = dict(zip(labels, t.running, strict=False)) | names
    running: list[str] = []
    for label in attrs["out"]:
        if label not in names:
            break
        running.append(names[label])
    shape = tuple(sizes[label] for label in attrs["out"])
    return TensorType(shape, tuple(running), "real", REAL)


# ---- meaning and derivative --------------------------------------------------------------------


@lru_cache(maxsize=1024)
@lru_cache(maxsize=1024)
def subscripts(left: Labels, right: Labels, out: Labels) -> str:
    """The labels as einsum writes them.

    >>> subscripts((0, 1), (1, 2), (0, 2))
    'ab,bc->ac'
    """
    a, b, c = ("".join(ascii_letters[label] for label in ls) for ls in (left, right, out))
    return f"{a},{b}->{c}"


def evaluate(site: Site, a: Array, b: Array) -> Array:
    attrs = site.attrs
    return site.np.einsum(subscripts(attrs["left"], attrs["right"], attrs["out"]), a, b)


def gradient(m: Make, node: Node, bar: Node) -> tuple[Node | None, ...]:
    """Each operand's cotangent is the contraction of `bar` with the other operand."""
    (a, b), left, right, out = node.operands, node["left"], node["right"], node["out"]
    return (
        m("contract", bar, b, left=out, right=right, out=left),
        m("contract", a, bar, left=left, right=out, out=right),
    )


def flops(node: Node) -> Size:
    """One product and one sum for each combination of labels."""
    sizes = dict(zip(node["left"], node.operands[0].type.shape, strict=True))
    sizes |= dict(zip(node["right"], node.operands[1].type.shape, strict=True))
    return volume(sizes.values()) * 2


# ---- spelling ----------------------------------------------------------------------------------


class Groups(Record):
    """The labels of a contraction by their part in it, each in the order of its operand."""

    batch: Labels
    rows: Labels
    cols: Labels
    inner: Labels

    @staticmethod
    def of(left: Labels, right: Labels, out: Labels) -> Groups:
        return Groups(
            tuple(x for x in out if x in left and x in right),
            tuple(x for x in out if x not in right),
            tuple(x for x in out if x not in left),
            tuple(x for x in left if x in right and x not in out),
        )


def spell(node: Node) -> Statements:
    """The call that computes a contraction: an outer product, a matrix product, or einsum."""
    text = subscripts(node["left"], node["right"], node["out"])
    einsum = Statements((call("einsum", text, A, B),), wants="rows")
    return spell_outer(node) or spell_matmul(node) or einsum


def spell_outer(node: Node) -> Statements | None:
    """Nothing is summed, or only over axes of size 1: a product with broadcasting."""
    left, right, out = node["left"], node["right"], node["out"]
    sizes = dict(zip(left, node.operands[0].type.shape, strict=True))
    if any(sizes[x].value != 1 for x in left if x not in out):
        return None
    views = (spread_view(A, left, out), spread_view(B, right, out))
    return Statements((call("multiply", *views),), wants="turned")


def spread_view(of: Operand, labels: Labels, out: Labels) -> Operand | View:
    """The view of an operand whose axes stand in the order of `out`, new axes between them.

    >>> spread_view(A, (1, 0), (0, 2, 1)).moves
    (Transpose(perm=(1, 0)), Index(parts=(slice(None, None, None), None, slice(None, None, None))))
    """
    moves: list[spelling.Move] = []
    kept = [x for x in labels if x in out]
    if len(kept) < len(labels):
        moves.append(spelling.Index((*(slice(None) if x in out else 0 for x in labels), ...)))
    order = tuple(kept.index(x) for x in out if x in labels)
    if order != tuple(range(len(order))):
        moves.append(spelling.Transpose(order))
    return look(of, *moves, *new_axes(labels, out))


def new_axes(labels: Labels, wanted: Labels) -> list[spelling.Move]:
    """The move that puts new axes where labels are missing; leading ones the array module adds by
    itself."""
    parts: list[slice | None] = [slice(None) if x in labels else None for x in wanted]
    while parts and parts[0] is None:
        parts.pop(0)
    return [spelling.Index(tuple(parts))] if None in parts else []


def spell_matmul(node: Node) -> Statements | None:
    """A (batched) matrix product, or None where axes would have to be copied together.

    A leading label of the result that only one operand has may count as batch: the array module
    repeats the other operand along it.
    """
    g = Groups.of(node["left"], node["right"], node["out"])
    if g.batch and not (g.rows or g.cols):
        return None  # many short dot products: einsum runs them without a call for each
    if (found := matrix_product(node, g.batch)) is not None:
        return found
    lead = node["out"][: len(g.batch) + 1]  # one more label as batch; rows and columns stay
    stay = all(any(x not in lead for x in group) for group in (g.rows, g.cols))
    return matrix_product(node, lead) if set(g.batch) < set(lead) and stay else None


def matrix_product(node: Node, batch: Labels) -> Statements | None:
    """The matrix product with these labels as batch, or None where one is no view.

    It is a `matmul`, or `dot` where there is one product alone and its result lies in C order.
    """
    left, right, out = node["left"], node["right"], node["out"]
    g = Groups.of(left, right, out)
    rows = tuple(x for x in g.rows if x not in batch)
    cols = tuple(x for x in g.cols if x not in batch)
    inner = g.inner
    if len(inner) > 1 and follows(right, inner) is None:
        inner = tuple(x for x in right if x in g.inner)
    a = matrix_view(A, node.operands[0], left, batch, rows, inner)
    b = matrix_view(B, node.operands[1], right, batch, inner, cols)
    if a is None or b is None:
        return None
    c = matrix_view(OUT, node, out, batch, rows, cols)
    if out != batch + rows + cols and follows(out, cols + rows) is not None and not g.batch:
        # The result is wanted columns first: (A B)' = B' A'.
        a = matrix_view(A, node.operands[0], left, batch, inner, rows)
        b = matrix_view(B, node.operands[1], right, batch, cols, inner)
        c = matrix_view(OUT, node, out, batch, cols, rows)
        a, b = b, a
    if a is None or b is None or c is None:
        return None
    turned = isinstance(c, View) and any(isinstance(m, spelling.Transpose) for m in c.moves)
    function = "matmul" if batch or turned else "dot"
    return Statements((call(function, a, b, out=c),), wants="turned")


def follows(labels: Labels, group: Labels) -> int | None:
    """Where a group stands as neighbours, in its order, among labels; None if it does not."""
    for start in range(len(labels) - len(group) + 1):
        if labels[start : start + len(group)] == group:
            return start
    return None


def matrix_view(
    of: L, node: Node, labels: Labels, batch: Labels, first: Labels, second: Labels
) -> L | View | None:
    """The view of an array as [batch..., first, second], each group joined to one axis.

    A group of several axes is joined by a reshape, which is a view only where they are neighbours
    of an array in C order. Without batch axes an empty group leaves a vector; with them it
    becomes an axis of size 1. Batch labels that the array lacks become axes of size 1 where others
    stand before them. None where no view exists.
    """
    moves: list[spelling.Move] = []
    joined = [g for g in (first, second) if len(g) > 1]
    if joined and not (of == OUT or contiguous(node)):
        return None
    if any(follows(labels, g) is None for g in joined):
        return None
    merged = merge(labels, joined)
    if joined:
        moves.append(spelling.Join(tuple(tuple(map(labels.index, g)) for g in merged)))
    wanted = [(x,) for x in batch if x in labels] + [g for g in (first, second) if g]
    order = tuple(merged.index(g) for g in wanted)
    if order != tuple(range(len(order))):
        moves.append(spelling.Transpose(None if order == (1, 0) else order))
    if any(x not in labels for x in batch):
        moves += new_axes(labels, batch)
    if batch and not (first and second):
        moves.append(spelling.Index((..., None) if first else (..., None, slice(None))))
    return look(of, *moves)


def merge(labels: Labels, groups: list[Labels]) -> list[Labels]:
    """Labels with neighbours of one group joined."""
    out: list[Labels] = []
    at = 0
    while at < len(labels):
        here = next((g for g in groups if labels[at : at + len(g)] == g), (labels[at],))
        out.append(here)
        at += len(here)
    return out


SIZES = {"a": 2, "b": 3, "c": 4, "d": 5, "e": 1}
EXAMPLES = """
    ab,bc->ac ab,cb->ac ba,bc->ac ab,bc->ca ab,b->a b,ab->a b,b-> ab,ab->
    a,b->ab a,b->ba ae,eb->ab ea,eb->ba abc,acd->abd e,e-> abc,ac->ab ac,abc->ab
    ab,ab->a abc,cd->abd abc,bcd->ad abc,dab->cd abc,abd->dc acb,bcd->ad ,ab->ab
"""


def cases() -> list[op.Case]:
    """Matrix and vector products, outer, batched, dot, with several rows or inner labels."""
    rows: list[op.Case] = []
    for text in EXAMPLES.split():
        sides = written(text)
        left, right = (real(*map(SIZES.__getitem__, sides[side])) for side in ("left", "right"))
        rows.append(((left, right), numbered(sides)))
    return rows


def written(text: str) -> dict[str, str]:
    """The labels of each side, of a text as einsum takes it."""
    return dict(zip(("left", "right", "out"), re.split(",|->", text), strict=True))


def numbered(sides: dict[str, str]) -> dict[str, Labels]:
    return {side: tuple(map(ascii_letters.index, names)) for side, names in sides.items()}


def places(node: Node, slot: int) -> op.Places:
    labels = node["left" if slot == 0 else "right"]
    return {i: labels.index(x) for i, x in enumerate(node["out"]) if x in labels}


def vmap(m: Make, node: Node, over: op.Stacked) -> Node:
    """One label more, for time."""
    sides = node["left"], node["right"]
    t = 1 + max((*sides[0], *sides[1]), default=-1)
    left, right = ((t, *ls) if is_seq else ls for ls, is_seq in zip(sides, over.seq, strict=True))
    return m("contract", *over.operands, left=left, right=right, out=(t, *node["out"]))


def summed(m: Make, node: Node, axes: tuple[int, ...], over: op.Over) -> Node | None:
    """An operand is summed along the labels that it has alone, of those that are summed over."""
    out, sides = node["out"], [node["left"], node["right"]]
    asked = {out[i] for i in axes}
    gone = asked.union(*sides) - (set(out) - asked)
    for slot in (0, 1):
        own = gone.intersection(sides[slot]).difference(sides[1 - slot])
        if own and asked <= own:
            operands, labels = list(node.operands), sides.copy()
            operands[slot] = over(
                operands[slot], tuple(i for i, x in enumerate(sides[slot]) if x in own)
            )
            labels[slot] = tuple(x for x in sides[slot] if x not in own)
            left = tuple(x for x in out if x not in asked)
            return m("contract", *operands, left=labels[0], right=labels[1], out=left)
    return None


# fmt: off
register(
    Op("contract", infer, evaluate, gradient, spell, takes=("real", "real"), flops=flops,
       facts=("bilinear", "product"), formula="{0} @ {1}", tight=op.Tight.PRODUCT, examples=cases,
       curve=second_order.contract, bound=bounds.contracted, places=places, vmap=vmap,
       parts="added", refuge=op.Refuge(None, 0.0, bounds.both_unbounded, by_size=True),
       summed=summed),
)
# fmt: on
