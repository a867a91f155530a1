"""Numerics: formulas that overflow or cancel become the functions that do not.

    1 / (1 + exp(-a))  ->  sigmoid(a)            log(1 + exp(a))  ->  softplus(a)
    exp(z) / sum(exp(z))  ->  softmax(z)         log(sum(exp(z)))  ->  log_sum_exp(z)

and what follows from these: the cross entropy `-(t log(s) + (1 - t) log(1 - s))` of
`s = sigmoid(a)` becomes `t softplus(-a) + (1 - t) softplus(a)`. The pass runs before
`differentiate`, so derivatives are taken of the stable forms, and again after it.
"""

from __future__ import annotations

from dln.compiler.ir.graph import Graph, Node
from dln.compiler.passes.rewriting import Log, Terms, apply, by_operation, row, rule, rules_of


def one_plus(m: Terms, node: Node) -> Node | None:
    """x of a node that reads 1 + x."""
    return m.beside(node, 1.0) if m.has(node, "add") else None


def exponent(m: Terms, node: Node | None) -> Node | None:
    """a of a node that reads exp(a)."""
    return node.operands[0] if node is not None and m.has(node, "exp") else None


# fmt: off
ROWS = [
    row("log one plus exp", "log", "log(1 + exp(a)) -> softplus(a)", exact=False, apply=
        lambda m, node: m.maybe("softplus", exponent(m, one_plus(m, node.operands[0])))),
    row("log1p exp", "log1p", "log1p(exp(a)) -> softplus(a)", exact=False, apply=
        lambda m, node: m.maybe("softplus", m.under(node, "exp"))),
    row("log of softmax", "log", "log(softmax(z)) -> log_softmax(z)", exact=False, apply=
        lambda m, node: m.maybe("log_softmax", m.under(node, "softmax"), **node.operands[0].attrs)),
    row("log and exp", "log exp", "log(exp(x)) -> x, and exp(log(x)) -> x", exact=False, apply=
        lambda m, node: m.under(node, "exp" if node.op == "log" else "log")),
]
# fmt: on

# ---- sigmoid and softplus ----------------------------------------------------------------------


@rule("div", exact=False)
def logistic(m: Terms, node: Node) -> Node | None:
    """1 / (1 + exp(-a)) -> sigmoid(a), and exp(a) / (1 + exp(a)) -> sigmoid(a)"""
    top, bottom = node.operands
    a = exponent(m, one_plus(m, bottom))
    if a is None:
        return None
    if m.is_(top, 1.0):
        return m("sigmoid", m.shaped(m.negated(a), node))
    return m("sigmoid", a) if exponent(m, top) is a else None


@rule("reciprocal", exact=False)
def logistic_reciprocal(m: Terms, node: Node) -> Node | None:
    """reciprocal(1 + exp(-a)) -> sigmoid(a)"""
    a = exponent(m, one_plus(m, node.operands[0]))
    return m("sigmoid", m.negated(a)) if a is not None else None


@rule("sub", exact=False)
def complement_of_logistic(m: Terms, node: Node) -> Node | None:
    """1 - sigmoid(a) -> sigmoid(-a), unless sigmoid(a) is needed anyhow"""
    one, s = node.operands
    if m.is_(one, 1.0) and m.has(s, "sigmoid") and not m.shared(s):
        return m("sigmoid", m.shaped(m.negated(s.operands[0]), node))
    return None


@rule("log", exact=False)
def log_of_logistic(m: Terms, node: Node) -> Node | None:
    """log(sigmoid(a)) -> -softplus(-a)"""
    (s,) = node.operands
    return m.neg(m("softplus", m.negated(s.operands[0]))) if m.has(s, "sigmoid") else None


@rule("log", exact=False)
def log_of_complement(m: Terms, node: Node) -> Node | None:
    """log(1 - sigmoid(a)) -> -softplus(a)"""
    (a,) = node.operands
    if not m.has(a, "sub") or not m.is_(a.operands[0], 1.0):
        return None
    s = a.operands[1]
    return m.neg(m("softplus", s.operands[0])) if m.has(s, "sigmoid") else None


# ---- softmax and log-sum-exp -------------------------------------------------------------------


@rule("log", exact=False)
def log_of_sum_of_exp(m: Terms, node: Node) -> Node | None:
    """log(sum(exp(z))) -> log_sum_exp(z)"""
    (s,) = node.operands
    z = exponent(m, s.operands[0]) if m.has(s, "sum") else None
    return m("log_sum_exp", z, axes=s["axes"]) if z is not None else None


@rule("div", exact=False)
def normalised_exp(m: Terms, node: Node) -> Node | None:
    """exp(z) / sum(exp(z)) -> softmax(z)"""
    top, bottom = node.operands
    z = exponent(m, top)
    if z is None or z.type.shape != node.type.shape:
        return None
    wide = m.has(bottom, "broadcast")
    sums, placed = (bottom.operands[0], bottom["axes"]) if wide else (bottom, ())
    if not m.has(sums, "sum") or sums.operands[0] is not top:
        return None
    kept = tuple(i for i in range(len(z.type.shape)) if i not in sums["axes"])
    return m("softmax", z, axes=sums["axes"]) if placed == kept else None


@rule("log", exact=False)
def log_of_picked(m: Terms, node: Node) -> Node | None:
    """log(softmax(z)[label]) -> log_softmax(z)[label]"""
    (p,) = node.operands
    s = p.operands[0] if m.has(p, "pick") else None
    if s is None or not m.has(s, "softmax") or s["axes"] != (len(s.type.shape) - 1,):
        return None
    return m("pick", m("log_softmax", s.operands[0], axes=s["axes"]), p.operands[1])


# ---- near 0 and 1 ------------------------------------------------------------------------------


@rule("log", exact=False)
def log_near_one(m: Terms, node: Node) -> Node | None:
    """log(1 + x) -> log1p(x), and log(1 - x) -> log1p(-x)"""
    (a,) = node.operands
    x = one_plus(m, a)
    if x is not None:
        return m("log1p", x)
    if m.has(a, "sub") and m.is_(a.operands[0], 1.0):
        return m("log1p", m.shaped(m.negated(a.operands[1]), node))
    return None


@rule("sub", "add", exact=False)
def exp_near_zero(m: Terms, node: Node) -> Node | None:
    """exp(x) - 1 -> expm1(x)"""
    a, b = node.operands
    if node.op == "add" and m.is_(a, -1.0):
        a, b = b, a
    x = exponent(m, a)
    if x is None or not m.is_(b, 1.0 if node.op == "sub" else -1.0):
        return None
    return m("expm1", m.shaped(x, node))


TABLE = by_operation([*ROWS, *rules_of(globals())])


def stabilise(graph: Graph, log: Log | None = None) -> Graph:
    """The graph with unstable formulas replaced by stable functions."""
    return apply(graph, TABLE, log)
