"""Products, sums of rows and multiples added to what is there, in place of an array for each and a
sum.

A parameter takes its update, and a sum its products, where they lie: `W - rate * outer(d, x)` is
one call, and the gradient is nowhere; `0.9 * m + 0.1 * g` is one as well. Rows go to their places
in a table without a table of zeros for them. A product that others read too stays what it is, and
so does one that is added to a value that others read: that would have to be copied first.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial, reduce
from typing import TypeAlias

from dln.compiler.ir.graph import Graph, Node
from dln.compiler.ir.op import op_of
from dln.compiler.ir.ops.accumulate import added_alone, added_by
from dln.compiler.ir.structure import is_accumulation, is_param, is_slot, is_state
from dln.compiler.passes.rewriting import Log, Terms, apply, by_operation, rule, rules_of


@rule("add", exact=False)
def product_added(m: Terms, node: Node) -> Node | None:
    """x + c * contract(y, z) -> accumulate(y, z, x, c): x an old value, or read here alone"""
    a, b = node.operands
    one = m.const(1.0)
    return onto(m, a, b, one) or onto(m, b, a, one)


@rule("sub", exact=False)
def product_subtracted(m: Terms, node: Node) -> Node | None:
    """x - c * contract(y, z) -> accumulate(y, z, x, -c), for the same x"""
    a, b = node.operands
    return onto(m, a, b, m.const(-1.0))


@rule("add", "sub", exact=False)
def multiples_added(m: Terms, node: Node) -> Node | None:
    """k * x + s * y -> add_scaled(y, x, s, k), for numbers k and s: x an old value, or read here
    alone"""
    if not m.final or not node.type.shape:
        return None
    terms = [multiple(m, o) for o in node.operands]
    if m.has(node, "sub"):
        terms[1] = negative(m, terms[1][0]), terms[1][1]
    if any(x.type.shape != node.type.shape or x.type.kind != "real" for _, x in terms):
        return None
    if all(m.number(by) in (1.0, -1.0) for by, _ in terms):
        return None  # a sum or a difference is one call as it is
    for (k, x), (s, y) in (terms, terms[::-1]):
        if takes(m, x) and not m.has(y, "broadcast"):
            return m.running(m("add_scaled", y, x, s, k), node.type)
    return None


def multiple(m: Terms, x: Node) -> tuple[Node, Node]:
    """(s, y) of s * y that is read here alone; (1, x) of what is no such multiple."""
    pair = None if m.shared(x) else m.scaled(x)
    return (m.const(1.0), x) if pair is None else pair


def onto(m: Terms, x: Node, y: Node, scale: Node) -> Node | None:
    """x + scale * y with the products of y added to x; None where there are none."""
    if not m.final or not x.type.shape or x.type.shape != y.type.shape or not takes(m, x):
        return None
    return added(m, x, y, scale) if holds_product(m, y) else None


def takes(m: Terms, x: Node) -> bool:
    """Whether a value can take something in where it lies: it is an old one, or read once."""
    if is_param(x) or is_state(x):
        return True
    if is_slot(x):
        return bool(x["role"] == "rows") and not m.shared(x)
    return bool(x.operands) and not op_of(x).is_("view") and not m.shared(x)


def holds_product(m: Terms, y: Node) -> bool:
    """Whether a value is read once, and is what BLAS adds, or a sum with such a term, scaled or
    not."""
    if m.shared(y):
        return False
    if y not in m.adding:  # asked at each node of a long sum
        m.adding[y] = _holds_product(m, y)
    return m.adding[y]


def _holds_product(m: Terms, y: Node) -> bool:
    if is_accumulation(y) or added_by(y):
        return True
    if (pair := m.scaled(y)) is not None:
        return holds_product(m, pair[1])
    summed = y.operands if any(m.has(y, sign) for sign in ("add", "sub", "neg")) else ()
    return any(holds_product(m, o) for o in summed if o.type.shape == y.type.shape)


def added(m: Terms, x: Node, y: Node, scale: Node) -> Node:
    """x + scale * y, term by term, what is added otherwise first: it is there before they come."""
    found = list(summands(m, y, scale))
    more = [by for by, term, way in found if term is x and not way]
    whole = m.mul(reduce(partial(plus, m), more, m.const(1.0)), x) if more else x
    for by, term, way in found:
        if term is not x and not way:
            whole = m.add(whole, term if m.is_(by, 1.0) else m.mul(by, term))
    for by, term, way in found:
        if way:
            by, factors = bare(m, by, added_alone(term) if is_accumulation(term) else term)
            whole = m(way, *factors, whole, by, **term.attrs)
    return whole


Summand: TypeAlias = tuple[Node, Node, str | None]
"""A number, what it is multiplied with, and the operation that adds that."""


def summands(m: Terms, y: Node, scale: Node) -> Iterator[Summand]:
    """The terms of scale * y; an accumulation stands for what it adds alone."""
    if not holds_product(m, y):
        yield *without_numbers(m, scale, y), None
    elif is_accumulation(y):
        *_, x, by = y.operands
        yield from summands(m, x, scale)
        yield times(m, scale, by), y, y.op
    elif way := added_by(y):
        yield scale, y, way
    elif (pair := m.scaled(y)) is not None:
        yield from summands(m, pair[1], times(m, scale, pair[0]))
    elif m.has(y, "neg"):
        yield from summands(m, y.operands[0], negative(m, scale))
    else:
        a, b = y.operands
        yield from summands(m, a, scale)
        yield from summands(m, b, negative(m, scale) if m.has(y, "sub") else scale)


def bare(m: Terms, by: Node, term: Node) -> tuple[Node, tuple[Node, ...]]:
    """The factors of a term without the numbers that they are multiplied with, and these: where
    BLAS can still take them as they lie."""
    scale, left = by, list[Node]()
    for factor in term.operands:
        scale, rest = without_numbers(m, scale, factor)
        left.append(rest)
    whole = added_by(Node(term.op, tuple(left), term.attrs, term.type)) is not None
    return (scale, tuple(left)) if whole else (by, term.operands)


def without_numbers(m: Terms, by: Node, x: Node) -> tuple[Node, Node]:
    """by * x as (by, x) with the numbers that x is multiplied with beside it."""
    while not m.shared(x):
        if (pair := m.scaled(x)) is not None:
            by, x = times(m, by, pair[0]), pair[1]
        elif m.has(x, "neg"):
            by, x = negative(m, by), x.operands[0]
        else:
            break
    return by, x


def times(m: Terms, a: Node, b: Node) -> Node:
    """The product of two numbers, where one is 1 or -1 the other or its negative."""
    for one, other in ((a, b), (b, a)):
        if m.number(one) in (1.0, -1.0):
            return other if m.is_(one, 1.0) else negative(m, other)
    return m.times(a, b)


def plus(m: Terms, a: Node, b: Node) -> Node:
    """The sum of two numbers."""
    first, second = m.number(a), m.number(b)
    return m.add(a, b) if first is None or second is None else m.const(first + second)


def negative(m: Terms, a: Node) -> Node:
    value = m.number(a)
    return m.neg(a) if value is None else m.const(-value)


TABLE = by_operation(rules_of(globals()))


def accumulate(graph: Graph, log: Log | None = None) -> Graph:
    """The graph with products added to what is there."""
    return apply(graph, TABLE, log)
