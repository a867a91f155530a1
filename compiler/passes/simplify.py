"""Algebra: fewer and cheaper operations, one rule each, in families by the operation at the root.

Numbers gather at the outside of products, signs too, so that later rules meet them; sums of
products become contractions, which run as matrix products. Not exact are the rules that change
the order of floating-point operations.
"""

from __future__ import annotations

from dln.compiler.ir.graph import Graph, Node
from dln.compiler.ir.op import OPS
from dln.compiler.ir.structure import is_const, is_spread
from dln.compiler.passes import products, shapes
from dln.compiler.passes.rewriting import Log, Terms, apply, by_operation, row, rule, rules_of

# fmt: off
ROWS = [
    row("add zero", "add", "x + 0 -> x", lambda m, node: m.beside(node, 0.0)),
    row("add self", "add", "x + x -> 2 * x, and x * y + y * x -> 2 * (x * y)",
        lambda m, node: m.scale(node.operands[0], 2.0) if same(node) or swapped(m, node) else None),
    row("subtract zero", "sub", "x - 0 -> x", lambda m, node: m.before(node, 0.0)),
    row("zero minus", "sub", "0 - x -> -x",
        lambda m, node: m.neg(m.shaped(node.operands[1], node)) if m.is_(node.operands[0], 0.0)
        else None),
    row("subtract self", "sub", "x - x -> 0",
        lambda m, node: m.filled(0.0, node) if same(node) else None),
    row("double negative", "neg", "-(-x) -> x", lambda m, node: m.under(node, "neg")),
    row("negative difference", "neg", "-(x - y) -> y - x",
        lambda m, node: m.sub(*node.operands[0].operands[::-1])
        if m.under(node, "sub") and not m.shared(node.operands[0]) else None),
    row("times zero", "mul", "x * 0 -> 0",
        lambda m, node: m.filled(0.0, node) if any(m.is_(o, 0.0) for o in node.operands) else None),
    row("times one", "mul", "x * 1 -> x", lambda m, node: m.beside(node, 1.0)),
    row("times minus one", "mul", "x * (-1) -> -x",
        lambda m, node: m.maybe("neg", m.beside(node, -1.0))),
    row("times self", "mul", "x * x -> x^2",
        lambda m, node: m("square", node.operands[0]) if same(node) else None),
    row("divide by one", "div", "x / 1 -> x", lambda m, node: m.before(node, 1.0)),
    row("first power", "pow", "x^1 -> x, and x^0 -> 1",
        lambda m, node: m.filled(1.0, node) if m.is_(node.operands[1], 0.0)
        else m.before(node, 1.0)),
    row("even of negative", "square abs cos", "(-x)^2 -> x^2, |-x| -> |x|",
        lambda m, node: m.maybe(node.op, m.under(node, "neg"))),
    row("double not", "not", "not not x -> x", lambda m, node: m.under(node, "not")),
    row("cast to same", "cast", "cast(cast(x)) -> cast(x), and a cast to the kind that x has -> x",
        lambda m, node: node.operands[0] if node.operands[0].type.kind == node["kind"] else None),
]
# fmt: on


def same(node: Node) -> bool:
    """Whether both operands are one."""
    a, b = node.operands
    return a is b


def swapped(m: Terms, node: Node) -> bool:
    """Whether both operands are the product of the same two, in either order."""
    a, b = node.operands
    return m.has(a, "mul") and m.has(b, "mul") and a.operands == b.operands[::-1]


@rule("add", exact=False)
def add_turned(m: Terms, node: Node) -> Node | None:
    """contract(x, y) + contract(y, x) -> 2 * contract(x, y): the derivative of contract(x, x)"""
    a, b = node.operands
    if not m.has(a, "contract") or not m.has(b, "contract") or a["out"] != b["out"]:
        return None
    if a.operands != b.operands[::-1] or (a["left"], a["right"]) != (b["right"], b["left"]):
        return None
    return m.scale(a, 2.0)


# ---- sums and differences ----------------------------------------------------------------------


@rule("add")
def add_negative(m: Terms, node: Node) -> Node | None:
    """x + (-y) -> x - y"""
    a, b = node.operands
    if m.has(a, "neg") and m.has(b, "neg"):
        return m.neg(m.add(a.operands[0], b.operands[0]))
    if m.has(b, "neg"):
        return m.sub(a, b.operands[0])
    return m.sub(b, a.operands[0]) if m.has(a, "neg") else None


@rule("sub")
def subtract_negative(m: Terms, node: Node) -> Node | None:
    """x - (-y) -> x + y, and (-x) - y -> -(x + y)"""
    a, b = node.operands
    if m.has(b, "neg"):
        return m.add(a, b.operands[0])
    if m.has(a, "neg") and not m.shared(a) and m.number(b) is None:
        return m.neg(m.add(a.operands[0], b))
    return None


@rule("add", "sub", exact=False)
def common_factor(m: Terms, node: Node) -> Node | None:
    """c * x - c * y -> c * (x - y), for a number c"""
    a, b = map(m.scaled, node.operands)
    if a is None or b is None or a[0] is not b[0] or any(map(m.shared, node.operands)):
        return None
    return m.mul(a[0], m(node.op, a[1], b[1]))


@rule("neg")
def negative_multiple(m: Terms, node: Node) -> Node | None:
    """-(c * x) -> (-c) * x, for a number c"""
    (a,) = node.operands
    if not m.has(a, "mul"):
        return None
    for c, x in (a.operands, a.operands[::-1]):
        value = m.number(c)
        if value is not None:
            return m.mul(m.const(-value), m.shaped(x, node))
        if c.type.shape == () != x.type.shape and not m.shared(a):
            return m.mul(m.negated(c), x)
    return None


# ---- products and quotients --------------------------------------------------------------------


@rule("mul")
def times_negative(m: Terms, node: Node) -> Node | None:
    """(-x) * y -> -(x * y), and c * (-x) -> (-c) * x"""
    for a, b in (node.operands, node.operands[::-1]):
        if m.has(a, "neg"):
            value = m.number(b)
            if value is not None:
                return m.mul(m.const(-value), m.shaped(a.operands[0], node))
            # A sign stays on a number beside a tensor: there it costs nothing.
            if not m.shared(a) and a.type.shape == node.type.shape:
                return m.neg(m.mul(a.operands[0], b))
    return None


@rule("mul")
def negative_times_difference(m: Terms, node: Node) -> Node | None:
    """(-c) * (x - y) -> c * (y - x), for a number c"""
    pair = m.scaled(node)
    if pair is None or not m.has(pair[0], "neg"):
        return None
    c, x = pair
    if m.has(x, "sub") and not m.shared(x):
        return m.mul(c.operands[0], m.sub(*x.operands[::-1]))
    return None


@rule("mul", exact=False)
def gather_numbers(m: Terms, node: Node) -> Node | None:
    """c * (d * x) -> (c * d) * x, for numbers c and d"""
    for a, b in (node.operands, node.operands[::-1]):
        if a.type.shape != ():
            continue
        pair = m.scaled(b)
        if pair is not None:
            return m.mul(m.times(a, pair[0]), pair[1])
        if m.number(a) is not None and m.has(b, "mul"):
            for c, x in (b.operands, b.operands[::-1]):
                if m.number(c) is not None:
                    return m.mul(m.times(a, c), x)
    return None


@rule("mul", exact=False)
def numbers_outwards(m: Terms, node: Node) -> Node | None:
    """(c * x) * y -> c * (x * y), for a number c and tensors x and y"""
    for a, b in (node.operands, node.operands[::-1]):
        pair = m.scaled(a)
        if pair is not None and b.type.shape != () and not m.shared(a):
            return m.mul(pair[0], m.mul(pair[1], b))
    return None


@rule("div", exact=False)
def divide_by_number(m: Terms, node: Node) -> Node | None:
    """x / c -> (1 / c) * x, for a constant c, or a size where x is a tensor"""
    a, b = node.operands
    value = m.number(b)
    if value is not None and value != 0.0:
        return m.mul(m.const(1.0 / value), m.shaped(a, node))
    if on_host(b) and a.type.shape != ():
        return m.mul(m.div(m.const(1.0), b), a)
    return None


@rule("div", exact=False)
def number_out_of_quotient(m: Terms, node: Node) -> Node | None:
    """(c * x) / y -> c * (x / y), for a number c and tensors x and y"""
    a, b = node.operands
    pair = m.scaled(a)
    if pair is None or m.shared(a) or b.type.shape == ():
        return None
    return m.mul(pair[0], m.div(pair[1], b))


def on_host(node: Node) -> bool:
    """Whether a node is a number that follows from clocks and sizes alone."""
    there = node.type.shape == () and bool(OPS[node.op].host)
    return there and all(map(on_host, node.operands))


@rule("div")
def divide_negative(m: Terms, node: Node) -> Node | None:
    """(-x) / y -> -(x / y)"""
    a, b = node.operands
    return m.neg(m.div(a.operands[0], b)) if m.has(a, "neg") and not m.shared(a) else None


# ---- powers ------------------------------------------------------------------------------------

POWERS = {2.0: "square", -1.0: "reciprocal", 0.5: "sqrt"}


@rule("pow", exact=False)
def small_power(m: Terms, node: Node) -> Node | None:
    """x^2, x^-1, x^0.5 -> square, reciprocal, square root"""
    a, b = node.operands
    op = POWERS.get(m.number(b) or 0.0)
    return m(op, m.shaped(a, node)) if op else None


# ---- choice and kinds --------------------------------------------------------------------------


@rule("where")
def where_settled(m: Terms, node: Node) -> Node | None:
    """where(true, x, y) -> x, and where(test, x, x) -> x"""
    test, a, b = node.operands
    if a is b:
        return m.shaped(a, node)
    if is_spread(test) and not test["axes"]:
        test = test.operands[0]
    if is_const(test) and test.type.shape == ():
        return m.shaped(a if test["value"] else b, node)
    return None


@rule("add")
def choices_added(m: Terms, node: Node) -> Node | None:
    """where(test, x, 0) + c * where(test, 0, y) -> where(test, x, c * y): the slope of a choice"""
    for one, other in (node.operands, node.operands[::-1]):
        pair = m.scaled(other)
        c, choice = pair if pair is not None else (None, other)
        if not m.has(one, "where") or not m.has(choice, "where") or m.shared(one):
            continue
        (test, x, zero), (same_test, nothing, y) = one.operands, choice.operands
        if test is same_test and m.is_(zero, 0.0) and m.is_(nothing, 0.0) and not m.shared(other):
            return m("where", test, x, y if c is None else m.mul(c, y))
    return None


@rule("where")
def larger_multiple(m: Terms, node: Node) -> Node | None:
    """where(x > 0, x, c * x) -> max(x, c * x), for a number c from 0 to 1, when no gradient is
    left"""
    test, x, y = node.operands
    if not m.final or not m.has(test, "gt") or test.operands[0] is not x:
        return None
    pair = m.scaled(y)
    if pair is None or pair[1] is not x or not m.is_(test.operands[1], 0.0):
        return None
    c = m.number(pair[0])
    return m("maximum", x, y) if c is not None and 0.0 <= c <= 1.0 else None


TABLE = by_operation([*shapes.RULES, *ROWS, *rules_of(globals()), *products.RULES])


def simplify(graph: Graph, log: Log | None = None) -> Graph:
    """The graph after the algebra above, repeated until nothing changes."""
    return apply(graph, TABLE, log)
