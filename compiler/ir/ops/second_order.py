"""Second derivatives: the rules `curve` of records, for the second-order walk of `curvature`.

A rule gets what the first-order walk found for the node (`bar`, d loss / d y; None where the
operation's own second derivative does not count) and what the second-order walk found (`bend`,
d^2 loss / d y^2 element by element; None for 0). Of each operand x it gives

    sum_k (dy_k / dx)^2 bend_k  +  sum_k (d^2 y_k / dx^2) bar_k

so mixed second derivatives between elements are left out (Becker and LeCun 1988; LeCun, Bottou,
Orr and Mueller 1998, section 7).
"""

from __future__ import annotations

from collections.abc import Callable

from dln.compiler.ir.graph import Node
from dln.compiler.ir.op import CurveRule, Make, op_of
from dln.compiler.ir.ops.common import spread_back
from dln.compiler.ir.ops.elementwise import away

Rows = tuple[Node | None, ...]
Second = Callable[[Make, Node, Node], Node]

# ---- what all rules are made of ----------------------------------------------------------------


def by_slopes(m: Make, node: Node, bend: Node | None) -> Rows:
    """f'^2 bend for each operand of a pointwise operation, f' taken from its gradient."""
    if bend is None:
        return tuple(None for _ in node.operands)
    slopes = op_of(node).gradient(m, node, m.const(1.0))
    return tuple(None if s is None else scaled(m, bend, s) for s in slopes)


def scaled(m: Make, bend: Node, slope: Node) -> Node:
    """slope^2 bend; a slope of 1 or -1 leaves it as it is."""
    sign = slope.operands[0] if slope.op == "neg" else slope
    one = sign.op == "const" and sign["value"] == 1.0
    return bend if one else m.mul(bend, squared(m, slope))


def squared(m: Make, node: Node) -> Node:
    """x^2. Of a view it is the view of the square: a window repeats what it shows many times."""
    if op_of(node).is_("view") and len(node.operands) == 1:
        return m(node.op, squared(m, node.operands[0]), **node.attrs)
    return m("square", node)


def both(m: Make, first: Node | None, second: Node | None) -> Node | None:
    """The sum of what there is."""
    if first is None or second is None:
        return second if first is None else first
    return m.add(first, second)


def bent(second: Second) -> CurveRule:
    """The rule of y = f(x), element by element, with `second(m, x, y)` the second derivative."""

    def curve(m: Make, node: Node, bar: Node | None, bend: Node | None) -> Rows:
        own = None if bar is None else m.mul(bar, second(m, node.operands[0], node))
        return (both(m, by_slopes(m, node, bend)[0], own),)

    return curve


# ---- element by element ------------------------------------------------------------------------

square = bent(lambda m, x, y: m.const(2.0))
exp = bent(lambda m, x, y: y)
expm1 = bent(lambda m, x, y: m.add(m.const(1.0), y))
log = bent(lambda m, x, y: m.neg(m("reciprocal", m("square", x))))
log1p = bent(lambda m, x, y: m.neg(m("reciprocal", m("square", m.add(m.const(1.0), x)))))
sqrt = bent(lambda m, x, y: m.div(m.const(-0.25), m.mul(x, y)))
distance = bent(lambda m, x, y: m.div(m.const(-0.25), away(m, y, m.mul(x, y))))
reciprocal = bent(lambda m, x, y: m.scale(m.mul(y, m("square", y)), 2.0))

softplus = bent(lambda m, x, y: complemented(m, m("sigmoid", x)))


def quotient(m: Make, node: Node, bar: Node | None, bend: Node | None) -> Rows:
    """a / b: nothing of its own for a, 2 (a / b) / b^2 for b."""
    by_a, by_b = by_slopes(m, node, bend)
    if bar is not None:
        b = m("square", node.operands[1])
        by_b = both(m, by_b, m.mul(bar, m.div(m.scale(node, 2.0), b)))
    return by_a, by_b


def power(m: Make, node: Node, bar: Node | None, bend: Node | None) -> Rows:
    """x^e: e (e - 1) x^(e - 2) for x, x^e (log x)^2 for an exponent that is no constant."""
    x, e = node.operands
    by_x, by_e = by_slopes(m, node, bend)
    if bar is not None:
        twice = m.mul(e, m.sub(e, m.const(1.0)))
        own = m.mul(twice, m("pow", x, m.sub(e, m.const(2.0))))
        by_x = both(m, by_x, m.mul(bar, own))
        if e.op != "const":
            by_e = both(m, by_e, m.mul(bar, m.mul(node, m("square", m("log", x)))))
    return by_x, by_e


# ---- over axes, and sums of products -------------------------------------------------------------


def extreme(m: Make, node: Node, bar: Node | None, bend: Node | None) -> Rows:
    """max and min: bend at the element that attains the extreme; ties share as in the gradient."""
    if bend is None:
        return (None,)
    hit = m("cast", m("eq", node.operands[0], spread_back(m, node, node)), kind="real")
    share = m.div(bend, m("square", m.sum(hit, node["axes"])))
    return (m.mul(hit, spread_back(m, node, share)),)


def log_sum_exp(m: Make, node: Node, bar: Node | None, bend: Node | None) -> Rows:
    """p^2 bend + p (1 - p) bar with p = softmax(x)."""
    p = m("exp", m.sub(node.operands[0], spread_back(m, node, node)))
    slopes = None if bend is None else m.mul(m("square", p), spread_back(m, node, bend))
    own = None if bar is None else m.mul(complemented(m, p), spread_back(m, node, bar))
    return (both(m, slopes, own),)


def log_softmax(m: Make, node: Node, bar: Node | None, bend: Node | None) -> Rows:
    """(1 - 2 p) bend + p^2 sum(bend) - p (1 - p) sum(bar) with p = softmax(x)."""
    p, slopes, own = m("exp", node), None, None
    if bend is not None:
        once = m.mul(bend, m.sub(m.const(1.0), m.scale(p, 2.0)))
        slopes = m.add(once, m.mul(m("square", p), spread_back(m, node, m.sum(bend, node["axes"]))))
    if bar is not None:
        own = m.neg(m.mul(complemented(m, p), spread_back(m, node, m.sum(bar, node["axes"]))))
    return (both(m, slopes, own),)


def complemented(m: Make, p: Node) -> Node:
    """p (1 - p)."""
    return m.mul(p, m.sub(m.const(1.0), p))


def softmax(m: Make, node: Node, bar: Node | None, bend: Node | None) -> Rows:
    """y^2 ((1 - 2 y) bend + sum(y^2 bend)): a squashing function, nothing of its own."""
    if bend is None:
        return (None,)
    y2 = m("square", node)
    sums = spread_back(m, node, m.sum(m.mul(y2, bend), node["axes"]))
    once = m.mul(bend, m.sub(m.const(1.0), m.scale(node, 2.0)))
    return (m.mul(y2, m.add(once, sums)),)


def contract(m: Make, node: Node, bar: Node | None, bend: Node | None) -> Rows:
    """Each operand receives the contraction of bend with the square of the other one."""
    (a, b), left, right, out = node.operands, node["left"], node["right"], node["out"]
    if a is b and left == right:
        return _sum_of_squares(m, node, bar, bend), None
    if bend is None:
        return None, None
    return (
        m("contract", bend, squared(m, b), left=out, right=right, out=left),
        m("contract", squared(m, a), bend, left=left, right=out, out=right),
    )


def _sum_of_squares(m: Make, node: Node, bar: Node | None, bend: Node | None) -> Node | None:
    """What x receives of sum(x^2): (2 x)^2 bend + 2 bar."""
    x, left, out = node.operands[0], node["left"], node["out"]

    def over(part: Node) -> Node:
        axes = tuple(left.index(label) for label in out)
        order = sorted(axes)
        if list(axes) != order:
            part = m("transpose", part, perm=tuple(axes.index(i) for i in order))
        return m.broadcast(part, x.type, tuple(order))

    slopes = None if bend is None else m.mul(m.scale(squared(m, x), 4.0), over(bend))
    return both(m, slopes, None if bar is None else m.scale(over(bar), 2.0))
