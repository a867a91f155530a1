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
from dln.compiler.passes.rewriting import Log, Terms, apply, by_operation, rule, rules_of

# ---- sums and differences ----------------------------------------------------------------------


@rule("add")
def add_zero(m: Terms, node: Node) -> Node | None:
    """x + 0 -> x"""
    return m.beside(node, 0.0)


@rule("add")
def add_negative(m: Terms, node: Node) -> Node | None:
    """x + (-y) -> x - y"""
    a, b = node.operands
    if m.has(a, "neg") and m.has(b, "neg"):
        return m.neg(m.add(a.operands[0], b.operands[0]))
    if m.has(b, "neg"):
        return m.sub(a, b.operands[0])
    return m.sub(b, a.operands[0]) if m.has(a, "neg") else None


@rule("add")
def add_self(m: Terms, node: Node) -> Node | None:
    """x + x -> 2 * x"""
    a, b = node.operands
    return m.scale(a, 2.0) if a is b else None


@rule("sub")
def subtract_zero(m: Terms, node: Node) -> Node | None:
    """x - 0 -> x"""
    a, b = node.operands
    return m.shaped(a, node) if m.is_(b, 0.0) else None


@rule("sub")
def zero_minus(m: Terms, node: Node) -> Node | None:
    """0 - x -> -x"""
    a, b = node.operands
    return m.neg(m.shaped(b, node)) if m.is_(a, 0.0) else None


@rule("sub")
def subtract_self(m: Terms, node: Node) -> Node | None:
    """x - x -> 0"""
    a, b = node.operands
    return m.filled(0.0, node) if a is b else None


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
def double_negative(m: Terms, node: Node) -> Node | None:
    """-(-x) -> x"""
    (a,) = node.operands
    return a.operands[0] if m.has(a, "neg") else None


@rule("neg")
def negative_difference(m: Terms, node: Node) -> Node | None:
    """-(x - y) -> y - x"""
    (a,) = node.operands
    return m.sub(*a.operands[::-1]) if m.has(a, "sub") and not m.shared(a) else None


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
def times_zero(m: Terms, node: Node) -> Node | None:
    """x * 0 -> 0"""
    return m.filled(0.0, node) if any(m.is_(o, 0.0) for o in node.operands) else None


@rule("mul")
def times_one(m: Terms, node: Node) -> Node | None:
    """x * 1 -> x"""
    return m.beside(node, 1.0)


@rule("mul")
def times_minus_one(m: Terms, node: Node) -> Node | None:
    """x * (-1) -> -x"""
    x = m.beside(node, -1.0)
    return None if x is None else m.neg(x)


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


@rule("mul")
def times_self(m: Terms, node: Node) -> Node | None:
    """x * x -> x^2"""
    a, b = node.operands
    return m("square", a) if a is b else None


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


@rule("div")
def divide_by_one(m: Terms, node: Node) -> Node | None:
    """x / 1 -> x"""
    a, b = node.operands
    return m.shaped(a, node) if m.is_(b, 1.0) else None


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


@rule("pow")
def first_power(m: Terms, node: Node) -> Node | None:
    """x^1 -> x, and x^0 -> 1"""
    a, b = node.operands
    if m.is_(b, 0.0):
        return m.filled(1.0, node)
    return m.shaped(a, node) if m.is_(b, 1.0) else None


@rule("pow", exact=False)
def small_power(m: Terms, node: Node) -> Node | None:
    """x^2, x^-1, x^0.5 -> square, reciprocal, square root"""
    a, b = node.operands
    op = POWERS.get(m.number(b) or 0.0)
    return m(op, m.shaped(a, node)) if op else None


@rule("square", "abs", "cos")
def even_of_negative(m: Terms, node: Node) -> Node | None:
    """(-x)^2 -> x^2, |-x| -> |x|"""
    (a,) = node.operands
    return m(node.op, a.operands[0]) if m.has(a, "neg") else None


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


@rule("not")
def double_not(m: Terms, node: Node) -> Node | None:
    """not not x -> x"""
    (a,) = node.operands
    return a.operands[0] if m.has(a, "not") else None


@rule("cast")
def cast_to_same(m: Terms, node: Node) -> Node | None:
    """cast(cast(x)) -> cast(x), and a cast to the kind that x has -> x"""
    (a,) = node.operands
    return a if a.type.kind == node["kind"] else None


TABLE = by_operation([*shapes.RULES, *rules_of(globals()), *products.RULES])


def simplify(graph: Graph, log: Log | None = None) -> Graph:
    """The graph after the algebra above, repeated until nothing changes."""
    return apply(graph, TABLE, log)
