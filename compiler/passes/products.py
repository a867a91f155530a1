"""Rules about sums: what can be taken out of them, and sums of products as contractions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from dln.compiler.ir.graph import Node
from dln.compiler.ir.ops.common import same_but_thin
from dln.compiler.ir.ops.contract import Groups, Labels
from dln.compiler.ir.ops.window import tiles
from dln.compiler.ir.sizes import Size
from dln.compiler.passes.rewriting import Terms, rule, rules_of, work

MANY_DIFFERENCES = 1 << 20
"""Elements beyond which squared distances are worked out from products."""
FEW_ROWS, LONG_ROW = 128, 16
"""A table as small and rows as long as this take what is scattered from a product."""

# ---- sums --------------------------------------------------------------------------------------


@rule("sum", exact=False)
def squared_distances(m: Terms, node: Node) -> Node | None:
    """sum((x - y)^2) -> sum(x^2) + sum(y^2) - 2 * contract(x, y), between many x and many y

    Only where all the differences would be a large array: the sum loses digits where x and y are
    close, and may not become negative.
    """
    (a,), over = node.operands, node["axes"]
    (d,) = a.operands if m.has(a, "square") and not m.shared(a) else (a,)
    if not m.has(d, "sub") or d is a or m.shared(d) or work(d.type) < MANY_DIFFERENCES:
        return None
    (x, left), (y, right) = (placed_axes(m, o) for o in d.operands)
    rest = [i for i in range(len(d.type.shape)) if i not in over]
    apart = [i for i in rest if (i in left) != (i in right)]
    if not set(over) <= set(left) & set(right) or set(left) <= set(right) or not apart:
        return None
    if set(right) <= set(left) or set(rest) - set(left) - set(right):
        return None

    def norms(part: Node, labels: Labels) -> Node:
        norm = m.sum(m("square", part), [k for k, i in enumerate(labels) if i in over])
        placed = tuple(rest.index(i) for i in labels if i not in over)
        return m.broadcast(norm, node.type, placed)

    total = m.add(norms(x, left), norms(y, right))
    products = m("contract", x, y, left=left, right=right, out=tuple(rest))
    return m("maximum", m.sub(total, m.scale(products, 2.0)), m.const(0.0))


@rule("sum", exact=False)
def sum_of_broadcast(m: Terms, node: Node) -> Node | None:
    """sum(broadcast(x)) -> n * sum(x), n the number of repetitions"""
    (a,), over = node.operands, node["axes"]
    if not m.has(a, "broadcast"):
        return None
    placed = a["axes"]
    repeats = [a.type.shape[i] for i in over if i not in placed]
    if not repeats:
        return None
    inner = m.sum(a.operands[0], (k for k, i in enumerate(placed) if i in over))
    kept = [i for i in range(len(a.type.shape)) if i not in over]
    part = m.broadcast(inner, node.type, tuple(kept.index(i) for i in placed if i not in over))
    for size in repeats:
        part = m.mul(m.size(size), part)
    return part


@rule("sum", exact=False)
def sum_of_sum(m: Terms, node: Node) -> Node | None:
    """sum(sum(x)) -> sum(x) over the axes of both"""
    (a,) = node.operands
    if not m.has(a, "sum"):
        return None
    x = a.operands[0]
    left = [i for i in range(len(x.type.shape)) if i not in a["axes"]]
    return m.sum(x, {*a["axes"], *(left[i] for i in node["axes"])})


@rule("sum")
def sum_with_onehot(m: Terms, node: Node) -> Node | None:
    """sum(onehot(i)) -> 1, sum(c * onehot(i)) -> c, and sum(onehot(i) * x) -> x[i]"""
    (a,) = node.operands
    last = len(a.type.shape) - 1
    if node["axes"] != (last,):
        return None
    if m.has(a, "onehot"):
        return m.filled(1.0, node)
    pair = m.scaled(a)
    if pair is not None and m.has(pair[1], "onehot"):
        return m.shaped(pair[0], node)
    if not m.has(a, "mul"):
        return None
    for hot, x in (a.operands, a.operands[::-1]):
        if m.has(hot, "onehot") and x.type.shape == a.type.shape:
            if m.has(x, "broadcast") and last not in x["axes"]:
                # x repeats along the last axis: whichever is picked, it is the same.
                return m.broadcast(x.operands[0], node.type, x["axes"])
            return m("pick", x, hot.operands[0])
    return None


@rule("sum", exact=False)
def sum_of_windows(m: Terms, node: Node) -> Node | None:
    """sum(window(x)) -> sum(window(sum(x))): what lies beside the window's axes is summed first,
    where windows overlap: else nothing is summed twice"""
    (a,), over = node.operands, node["axes"]
    if not m.has(a, "window") or m.shared(a):
        return None
    if tiles(a.attrs, a.operands[0].type.shape[a["axis"]]):
        return None
    axis, k = a["axis"], len(a["terms"])
    beside = [i for i in over if not axis <= i < axis + k]
    if not beside:
        return None
    inner = m.sum(a.operands[0], (i if i < axis else i - k + 1 for i in beside))
    left = sum(i < axis for i in beside)
    made = m("window", inner, **{**a.attrs, "axis": axis - left})
    return m.sum(made, (i - left for i in over if i not in beside))


@rule("sum", exact=False)
def sum_of_multiple(m: Terms, node: Node) -> Node | None:
    """sum(c * x) -> c * sum(x), and sum(-x) -> -sum(x)"""
    (a,) = node.operands
    if m.shared(a):
        return None
    if m.has(a, "neg"):
        return m.neg(m.sum(a.operands[0], node["axes"]))
    pair = m.scaled(a)
    return m.mul(pair[0], m.sum(pair[1], node["axes"])) if pair else None


@rule("sum", exact=False)
def sum_of_contract(m: Terms, node: Node) -> Node | None:
    """sum(contract(x, y)) -> contract(x, y), which sums over those axes too"""
    (a,), over = node.operands, node["axes"]
    if not m.has(a, "contract") or m.shared(a):
        return None
    out = tuple(x for i, x in enumerate(a["out"]) if i not in over)
    (x, y), left, right = a.operands, a["left"], a["right"]
    x, left = sum_alone(m, x, left, (*right, *out))
    y, right = sum_alone(m, y, right, (*left, *out))
    return m("contract", x, y, left=left, right=right, out=out)


@rule("sum", exact=False)
def sum_of_products(m: Terms, node: Node) -> Node | None:
    """sum(x * y) -> contract(x, y)"""
    (a,), over = node.operands, node["axes"]
    if m.shared(a) or not (m.has(a, "mul") or m.has(a, "square")):
        return None
    x, y = a.operands * 2 if a.op == "square" else a.operands
    if () in (x.type.shape, y.type.shape):
        return None
    (x, left), (y, right) = placed_axes(m, x), placed_axes(m, y)
    out = tuple(i for i in range(len(a.type.shape)) if i not in over)
    if set(range(len(a.type.shape))) - set(left) - set(right):
        return None  # an axis that both repeat: other rules take the broadcast out first
    x, left = sum_alone(m, x, left, (*right, *out))
    y, right = sum_alone(m, y, right, (*left, *out))
    return m("contract", x, y, left=left, right=right, out=out)


@rule("scatter_add", exact=False)
def scatter_into_few(m: Terms, node: Node) -> Node | None:
    """scatter(x, i) -> contract(onehot(i), x), for long rows x into a small table: a matrix product
    is faster than adding row by row"""
    x, at = node.operands
    size, lead = Size.of(node["size"]), len(at.type.shape)
    width = work(x.type) // max(work(at.type), 1)
    if not m.final or size.value is None or not lead:
        return None
    if size.value > FEW_ROWS or width < LONG_ROW:
        return None
    hot, labels = m("onehot", at, size=size), tuple(range(len(x.type.shape)))
    row, rest = len(labels), labels[lead:]
    return m("contract", hot, x, left=(*labels[:lead], row), right=labels, out=(row, *rest))


def placed_axes(m: Terms, node: Node) -> tuple[Node, Labels]:
    """What a node spreads, and which axes of the result its own axes are."""
    if m.has(node, "broadcast"):
        return node.operands[0], node["axes"]
    return node, tuple(range(len(node.type.shape)))


def sum_alone(m: Terms, node: Node, labels: Labels, others: Labels) -> tuple[Node, Labels]:
    """A contraction sums only what both operands have; the rest is summed before."""
    alone = [k for k, x in enumerate(labels) if x not in others]
    return m.sum(node, alone), tuple(x for x in labels if x in others)


# ---- contractions ------------------------------------------------------------------------------


@rule("contract")
def contract_transposed(m: Terms, node: Node) -> Node | None:
    """contract(x', y) -> contract(x, y) with the labels in the other order"""
    operands, sides = list(node.operands), [node["left"], node["right"]]
    if not any(m.has(o, "transpose") for o in operands):
        return None
    for slot, o in enumerate(node.operands):
        if m.has(o, "transpose"):
            perm, labels = o["perm"], sides[slot]
            operands[slot] = o.operands[0]
            sides[slot] = tuple(labels[perm.index(i)] for i in range(len(perm)))
    return m("contract", *operands, left=sides[0], right=sides[1], out=node["out"])


@rule("transpose")
def transposed_contract(m: Terms, node: Node) -> Node | None:
    """contract(x, y)' -> contract(x, y) with the result's axes in the other order"""
    (a,), perm = node.operands, node["perm"]
    if not m.has(a, "contract") or m.shared(a):
        return None
    out = tuple(a["out"][p] for p in perm)
    return m("contract", *a.operands, left=a["left"], right=a["right"], out=out)


@rule("contract", exact=False)
def contract_broadcast(m: Terms, node: Node) -> Node | None:
    """contract(broadcast(x), y) -> contract(x, y), where y has the axes that repeat"""
    for slot, o in enumerate(node.operands):
        sides = [node["left"], node["right"]]
        labels, other = sides[slot], sides[1 - slot]
        if not m.has(o, "broadcast"):
            continue
        inner = tuple(labels[i] for i in o["axes"])
        if set(labels) - set(inner) - set(other):
            continue  # the result itself repeats along an axis
        rest, sides[1 - slot] = sum_alone(m, node.operands[1 - slot], other, inner + node["out"])
        sides[slot] = inner
        pair = (o.operands[0], rest) if slot == 0 else (rest, o.operands[0])
        return m("contract", *pair, left=sides[0], right=sides[1], out=node["out"])
    return None


@rule("contract", exact=False)
def contract_filled(m: Terms, node: Node) -> Node | None:
    """contract(broadcast(c), y) -> c * broadcast(y), for a number c that repeats in the result"""
    for slot, o in enumerate(node.operands):
        if not m.has(o, "broadcast") or o["axes"]:
            continue
        labels = (node["left"], node["right"])[1 - slot]
        y, kept = sum_alone(m, node.operands[1 - slot], labels, node["out"])
        places = tuple(node["out"].index(i) for i in kept)
        if list(places) != sorted(places):
            y = m("transpose", y, perm=tuple(sorted(range(len(places)), key=places.__getitem__)))
        return m.mul(o.operands[0], m.broadcast(y, node.type, tuple(sorted(places))))
    return None


@rule("contract")
def contract_thin(m: Terms, node: Node) -> Node | None:
    """contract(reshape(x), y) -> reshape(contract(x, y)), without axes of size 1 that x lacks,
    where a product of matrices stays one"""
    sides = [node["left"], node["right"]]
    thin = set[int]()
    for labels, o in zip(sides, node.operands, strict=True):
        if m.has(o, "reshape") and same_but_thin(o.operands[0], o):
            ones = [x for x, size in zip(labels, o.type.shape, strict=True) if size.value == 1]
            more = len(o.type.shape) - len(o.operands[0].type.shape)
            thin.update(ones if more == len(ones) else ())
    left, right, out = (tuple(x for x in ls if x not in thin) for ls in (*sides, node["out"]))
    before, after = Groups.of(sides[0], sides[1], node["out"]), Groups.of(left, right, out)
    vectors = (before.rows, after.rows), (before.cols, after.cols), (before.inner, after.inner)
    if not thin or any(was and not now for was, now in vectors):
        return None
    pair = [without(m, o, ls, thin) for o, ls in zip(node.operands, sides, strict=True)]
    made = m("contract", *pair, left=left, right=right, out=out)
    return m("reshape", made, shape=node.type.shape, running=node.type.running)


def without(m: Terms, node: Node, labels: Labels, gone: set[int]) -> Node:
    """A node without its axes of some labels, which have size 1."""
    kept = [i for i, x in enumerate(labels) if x not in gone]
    if len(kept) == len(labels):
        return node
    running = tuple(name for i, name in enumerate(node.type.running) if i in kept)
    return m("reshape", node, shape=tuple(node.type.shape[i] for i in kept), running=running)


@rule("contract")
def contract_with_number(m: Terms, node: Node) -> Node | None:
    """contract(c, x) -> c * x, for a number c"""
    a, b = node.operands
    if () not in (a.type.shape, b.type.shape) or a.type.shape == b.type.shape:
        return None
    c, x, labels = (a, b, node["right"]) if a.type.shape == () else (b, a, node["left"])
    perm = tuple(labels.index(i) for i in node["out"])
    return m.mul(c, x if perm == tuple(range(len(perm))) else m("transpose", x, perm=perm))


@rule("contract")
def contract_numbers(m: Terms, node: Node) -> Node | None:
    """contract(c, d) -> c * d, for numbers c and d"""
    a, b = node.operands
    return m.mul(a, b) if a.type.shape == () == b.type.shape else None


@rule("contract", exact=False)
def contract_multiple(m: Terms, node: Node) -> Node | None:
    """contract(c * x, y) -> c * contract(x, y), or c goes to y: where least is multiplied"""
    for slot, o in enumerate(node.operands):
        if (pair := m.scaled(o)) is not None and not m.shared(o):
            return lightest(m, node, slot, pair[1], partial(m.mul, pair[0]))
    return None


@rule("mul", exact=False)
def number_into_contract(m: Terms, node: Node) -> Node | None:
    """c * contract(x, y) -> contract(c * x, y), where x is smaller than the result"""
    pair = m.scaled(node) if m.final else None
    if pair is None or not m.has(pair[1], "contract") or m.shared(pair[1]):
        return None
    number, c = pair
    x, y = c.operands
    if min(work(x.type), work(y.type)) >= work(c.type):
        return None
    first = work(x.type) <= work(y.type)
    pair = (m.mul(number, x), y) if first else (x, m.mul(number, y))
    return m("contract", *pair, **c.attrs)


@rule("contract")
def contract_negative(m: Terms, node: Node) -> Node | None:
    """contract(-x, y) -> -contract(x, y), or the sign goes to y: where least is negated"""
    for slot, o in enumerate(node.operands):
        if m.has(o, "neg") and not m.shared(o):
            return lightest(m, node, slot, o.operands[0], m.neg)
    return None


def lightest(
    m: Terms, node: Node, slot: int, bare: Node, put: Callable[[Node], Node]
) -> Node | None:
    """A contraction with a factor moved from one operand to the smallest of operands and result;
    None where it stands there already."""
    other = node.operands[1 - slot]
    here, there, result = work(bare.type), work(other.type), work(node.type)
    if min(there, result) >= here:
        return None
    pair = [bare, bare]
    pair[1 - slot] = other if result <= there else put(other)
    made = m("contract", *pair, **node.attrs)
    return put(made) if result <= there else made


RULES = rules_of(globals())
