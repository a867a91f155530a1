"""Sums of products: Gemm and MatMul, Gather where one factor is a row of a table, Conv of windows,
else Einsum; and sums, in which a bias goes into the product that it is added to."""

from __future__ import annotations

from dln.compiler.ir.graph import Node
from dln.compiler.ir.op import op_of
from dln.compiler.ir.ops.contract import Groups, Labels, subscripts
from dln.compiler.ir.structure import is_contraction, is_spread
from dln.exporting import convolutions
from dln.exporting.normalising import normalised
from dln.exporting.transposed import conv_transpose
from dln.exporting.writing import OnnxValue, OnnxWriter, is_full


def row_contract(w: OnnxWriter, node: Node) -> OnnxValue:
    """The first form that fits."""
    for form in (looked_up, convolutions.conv, squares, weighted, outer, gemm, matmul):
        if (found := form(w, node)) is not None:
            return found
    text = subscripts(node["left"], node["right"], node["out"])
    return w.whole(w.call("Einsum", *map(w.full, node.operands), equation=text), node)


def sides(node: Node) -> list[tuple[Node, Labels, Node, Labels]]:
    """The two factors with their labels, either first."""
    (a, b), left, right = node.operands, node["left"], node["right"]
    return [(a, left, b, right), (b, right, a, left)]


# ---- forms -------------------------------------------------------------------------------------


def looked_up(w: OnnxWriter, node: Node) -> OnnxValue | None:
    """A table times one-hot rows: the rows of the table. What may point nowhere stays a product."""
    for a, at, table, labels in sides(node):
        if not op_of(a).is_("one_hot") or not certain(a.operands[0]):
            continue
        places, along = at[:-1], at[-1]
        rest = [x for x in labels if x != along]
        if along not in labels or along in node["out"] or set(rest) & set(at):
            continue
        out = (*places, *(x for x in node["out"] if x in rest))
        if out != node["out"]:
            continue
        perm = [labels.index(x) for x in (along, *out[len(places) :])]
        rows = w.turned(table, perm)
        found = w.call("Gather", rows.name, w.full(a.operands[0]), axis=0)
        return w.whole(found, node)
    return None


def certain(node: Node) -> bool:
    """Whether an index points somewhere, whatever it is."""
    return node.type.domain.name == "class" and not node.type.domain.partial


def squares(w: OnnxWriter, node: Node) -> OnnxValue | None:
    """The sum of the squares of one tensor."""
    (a, b), left, right, out = node.operands, node["left"], node["right"], node["out"]
    if a is not b or left != right or not in_order(out, left):
        return None
    axes = [i for i, x in enumerate(left) if x not in out]
    if not axes:
        return None
    return w.whole(w.call("ReduceSumSquare", w.full(a), w.ints(*axes), keepdims=0), node)


def weighted(w: OnnxWriter, node: Node) -> OnnxValue | None:
    """Nothing but what both have, or all that one has: products element by element, and a sum."""
    for a, left, b, right in sides(node):
        if set(right) - set(left) or not in_order(node["out"], left):
            continue
        axes = [i for i, x in enumerate(left) if x not in node["out"]]
        if [x for x in right if x not in node["out"]] and set(right) != set(left):
            continue  # a product of matrices
        thin = w.aligned(*sorted_by(w, b, right, left), len(left))
        found = w.call("Mul", w.full(a), thin.name)
        if axes:
            found = w.call("ReduceSum", found, w.ints(*axes), keepdims=0)
        return w.whole(found, node)
    return None


def outer(w: OnnxWriter, node: Node) -> OnnxValue | None:
    """Nothing is summed: products with axes of size 1 in between."""
    (a, b), out = node.operands, node["out"]
    if set(node["left"]) | set(node["right"]) != set(out):
        return None
    parts = [
        w.aligned(*sorted_by(w, o, labels, out), len(out))
        for o, labels in ((a, node["left"]), (b, node["right"]))
    ]
    return w.meeting(w.call("Mul", *(p.name for p in parts)), parts)


def sorted_by(
    w: OnnxWriter, node: Node, labels: Labels, like: Labels
) -> tuple[OnnxValue, int, list[int]]:
    """A node's value with its axes in the order of other labels, its rank, and where they stand
    there."""
    order = [x for x in like if x in labels]
    value = w.turned(node, [labels.index(x) for x in order])
    return value, len(labels), [like.index(x) for x in order]


def gemm(w: OnnxWriter, node: Node, bias: str = "") -> OnnxValue | None:
    """A product of two matrices, either of which may lie turned."""
    g = Groups.of(node["left"], node["right"], node["out"])
    if g.batch or not len(g.rows) == len(g.cols) == len(g.inner) == 1:
        return None
    (a, left, b, right), (inner,) = sides(node)[node["out"][0] in g.cols], g.inner
    turned = {"transA": int(left[0] == inner), "transB": int(right[1] == inner)}
    attrs = {k: v for k, v in turned.items() if v}
    more = [bias] if bias else []
    return w.whole(w.call("Gemm", w.full(a), w.full(b), *more, **attrs), node)


def matmul(w: OnnxWriter, node: Node) -> OnnxValue | None:
    """A product of matrices side by side, or of a matrix that stays with all rows of the other;
    where axes would have to be turned but for those of one that stays, none."""
    out = node["out"]
    g = Groups.of(node["left"], node["right"], out)
    if len(g.inner) != 1:
        return None
    for a, left, b, right in sorted(sides(node), key=lambda side: -len(side[1])):
        mine = [x for x in out if x in left and x not in right]
        theirs = [x for x in out if x in right and x not in left]
        if left[-1] != g.inner[0] or len(theirs) > 1 or out != (*left[:-1], *theirs):
            continue
        if not g.batch:  # x[..., n] with W[n, m] or W[n]
            perm = [right.index(x) for x in (*g.inner, *theirs)]
            return w.whole(w.call("MatMul", w.full(a), w.turned(b, perm).name), node)
        batch = left[: len(g.batch)]
        if set(batch) != set(g.batch) or len(mine) != 1 or len(theirs) != 1:
            continue
        perm = [right.index(x) for x in (*batch, *g.inner, *theirs)]
        return w.whole(w.call("MatMul", w.full(a), w.turned(b, perm).name), node)
    return None


def in_order(some: Labels, labels: Labels) -> bool:
    """Whether labels stand in the order of others that hold them."""
    return tuple(x for x in labels if x in some) == some


# ---- sums --------------------------------------------------------------------------------------


def row_add(w: OnnxWriter, node: Node) -> OnnxValue:
    """A sum, term by term: what is a bias goes into a product beside it."""
    if (made := normalised(w, node)) is not None:
        return made
    if absorbed(w, node):
        return OnnxValue("", (), w)
    terms = terms_of(w, node)
    values, gone = dict[int, OnnxValue](), set[int]()
    biases = [j for j, added in enumerate(terms) if bias_of(w, added) is not None]
    for i, term in enumerate(terms if biases else ()):
        if not w.only(term) or (is_contraction(term) and not w.nameless(term)):
            continue
        for j in biases:
            found = None if j in gone else with_bias(w, term, terms[j])
            if found is not None:
                values[i] = found
                gone.add(j)
                break
    held = [values.get(i) or w.values[t] for i, t in enumerate(terms) if i not in gone]
    found = held[0]
    for value in held[1:]:
        found = w.meeting(w.call("Add", found.name, value.name), [found, value])
    return found


def absorbed(w: OnnxWriter, node: Node) -> bool:
    """Whether a sum is a part of the one that alone reads it, and has no name."""
    (reader, *_) = w.readers(node)
    return w.nameless(node) and reader is not None and reader.op == node.op


def terms_of(w: OnnxWriter, node: Node) -> list[Node]:
    """What a sum adds, through sums that are a part of it."""
    found, front = list[Node](), list(node.operands[::-1])
    while front:
        term = front.pop()
        if term.op == node.op and absorbed(w, term) and not w.values[term].name:
            front += term.operands[::-1]
        else:
            found.append(term)
    return found


def bias_of(w: OnnxWriter, term: Node) -> tuple[str, int] | None:
    """A vector along one axis of what it is added to, and which axis."""
    if not is_spread(term) or len(term["axes"]) != 1:
        return None
    (a,) = term.operands
    value = w.values[a]
    if "batch" in a.type.running or not is_full(value, a.type):
        return None
    return value.name, term["axes"][0]


def with_bias(w: OnnxWriter, term: Node, added: Node) -> OnnxValue | None:
    """A product with a bias in it, where its form has one."""
    name, axis = bias_of(w, added) or ("", 0)
    if axis != 1:
        return None
    if not is_contraction(term):
        return conv_transpose(w, term, name)
    return convolutions.conv(w, term, name) or gemm(w, term, name)
