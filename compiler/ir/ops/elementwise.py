"""What the rows of `pointwise` are made of: types, domains, meaning, derivatives."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from dln.compiler.ir.graph import Node
from dln.compiler.ir.op import Array, Attrs, Gradient, Infer, Make, Site, Types
from dln.compiler.ir.ops.common import Narrow, count, join, need_kind, need_real, spread
from dln.compiler.ir.tensor_type import (
    BINARY,
    DOMAINS,
    POSITIVE,
    PROB,
    REAL,
    Domain,
    Kind,
    TensorType,
)
from dln.grammar.diagnostics import Fault

NONNEGATIVE = ("positive", "prob", "binary")


# ---- rules of types ----------------------------------------------------------------------------


def arithmetic(name: str, arity: int, narrow: Narrow) -> Infer:
    """Reals in, reals out; `narrow` finds the domain from the operands' domains."""

    def infer(attrs: Attrs, types: Types) -> TensorType:
        count(name, types, arity)
        need_real(name, types)
        return spread(name, types).like(kind="real", domain=narrow(*(t.domain for t in types)))

    return infer


def comparison(name: str) -> Infer:
    """Two tensors of one kind in, truth values out."""

    def infer(attrs: Attrs, types: Types) -> TensorType:
        count(name, types, 2)
        return spread(name, types).like(kind="bool", domain=BINARY)

    return infer


def logic(name: str, arity: int) -> Infer:
    """Truth values in, truth values out."""

    def infer(attrs: Attrs, types: Types) -> TensorType:
        count(name, types, arity)
        for t in types:
            need_kind(name, "bool", t)
        return spread(name, types).like(kind="bool", domain=BINARY)

    return infer


def where_type(attrs: Attrs, types: Types) -> TensorType:
    """A test and two tensors of one kind; the domain holds both."""
    count("where", types, 3)
    test, a, b = types
    need_kind("where", "bool", test)
    if a.kind != b.kind:
        raise Fault(f"where chooses between tensors of one kind, found {a.kind} and {b.kind}")
    return spread("where", types).like(kind=a.kind, domain=join(a.domain, b.domain))


def cast_type(attrs: Attrs, types: Types) -> TensorType:
    """Truth values become 0 and 1, classes plain numbers."""
    count("cast", types, 1)
    (x,) = types
    kind: Kind = attrs["kind"]
    domain = BINARY if x.kind == "bool" else x.domain if x.kind == kind else REAL
    return x.like(kind=kind, domain=domain)


def asserted_type(attrs: Attrs, types: Types) -> TensorType:
    """The same tensor, said to have another domain."""
    count("asserted", types, 1)
    domain: Domain = attrs["domain"]
    if domain.name not in DOMAINS:
        raise Fault(f"there is no domain {domain.name}")
    if types[0].domain.partial and domain.name == "class":  # saying so makes no class of none
        domain = replace(domain, partial=True)
    return types[0].like(domain=domain)


def stop_type(attrs: Attrs, types: Types) -> TensorType:
    count("stop", types, 1)
    return types[0]


# ---- rules of domains --------------------------------------------------------------------------


def product(a: Domain, b: Domain) -> Domain:
    """Probabilities multiply to probabilities, non-negative numbers to such numbers."""
    names = {a.name, b.name}
    if names <= {"binary"}:
        return BINARY
    if names <= {"prob", "binary"}:
        return PROB
    return POSITIVE if names <= set(NONNEGATIVE) else REAL


def total(a: Domain, b: Domain) -> Domain:
    """The domain of a sum or quotient: non-negative where both are."""
    return POSITIVE if {a.name, b.name} <= set(NONNEGATIVE) else REAL


def root(a: Domain, *_: Domain) -> Domain:
    return POSITIVE if a.name in NONNEGATIVE else REAL


def signed_unit(a: Domain) -> Domain:
    """What keeps the sign and stays between -1 and 1."""
    return PROB if a.name in NONNEGATIVE else REAL


def squared(a: Domain) -> Domain:
    return a if a.name in ("prob", "binary") else POSITIVE


def upper(a: Domain, b: Domain) -> Domain:
    """The larger of two numbers is not negative where one of them is not."""
    some = a.name in NONNEGATIVE, b.name in NONNEGATIVE
    return join(a, b) if all(some) or not any(some) else POSITIVE


# ---- meaning on real and complex arrays --------------------------------------------------------


def side(np: Any, a: Array) -> Array:
    """+1 or -1 by the sign of the real part: the branch a complex step stays on."""
    return np.where(a.real < 0, -1.0, 1.0)


def sigmoid(site: Site, a: Array) -> Array:
    np, s = site.np, side(site.np, a)
    e = np.exp(-s * a)
    return np.where(s > 0, 1.0, e) / (1.0 + e)


def softplus(site: Site, a: Array) -> Array:
    np, s = site.np, side(site.np, a)
    return np.where(s > 0, a, 0.0) + np.log1p(np.exp(-s * a))


def sign(x: float) -> float:
    """Of a plain number: -1, 0 or 1."""
    return float((x > 0) - (x < 0))


def by_math(
    function: Callable[[float], float], slope: Callable[[float], float]
) -> Callable[..., Array]:
    """A function of real numbers that NumPy has not, with its derivative: to first order in the
    imaginary part, which is all that a complex step asks for."""

    def evaluate(site: Site, a: Array) -> Array:
        np = site.np
        value, by = (np.vectorize(f, otypes=[float])(a.real) for f in (function, slope))
        return value + 1j * by * a.imag if np.iscomplexobj(a) else value.astype(a.dtype)

    return evaluate


def by_numpy(name: str) -> Callable[..., Array]:
    return lambda site, *arrays: getattr(site.np, name)(*arrays)


def on_reals(name: str) -> Callable[..., Array]:
    """A NumPy function that looks at real parts only."""
    return lambda site, *arrays: getattr(site.np, name)(*(a.real for a in arrays))


def cast(site: Site, a: Array) -> Array:
    dtype = {"real": site.real, "index": site.np.int64, "bool": site.np.bool_}
    return a.astype(dtype[site.attrs["kind"]])


# ---- derivatives -------------------------------------------------------------------------------


def unary(form: Callable[[Make, Node, Node, Node], Node]) -> Gradient:
    """A derivative written as `form(m, x, y, bar)`."""
    return lambda m, node, bar: (form(m, node.operands[0], node, bar),)


def pass_where(m: Make, test: Node, bar: Node) -> Node:
    """`bar` where the test holds, 0 elsewhere, as a product with 0 or 1."""
    return m("mul", bar, m("cast", test, kind="real"))


def d_pow(m: Make, node: Node, bar: Node) -> tuple[Node | None, ...]:
    """x^e: e x^(e-1), and x^e log x where the exponent is not a constant."""
    x, e = node.operands
    if e.op == "const" and e.type.shape == () and node.type.shape == x.type.shape:
        power = float(e["value"])
        base = m.pointwise("pow", x, m.const(power - 1.0)) if power != 1.0 else None
        slope = m.const(power) if base is None else m.mul(m.const(power), base)
        return m.mul(bar, slope), None
    lower = m("pow", x, m.sub(e, m.const(1.0)))
    by_x = m.mul(bar, m.mul(e, lower))
    return by_x, None if e.op == "const" else m.mul(bar, m.mul(node, m("log", x)))


def d_where(m: Make, node: Node, bar: Node) -> tuple[Node | None, ...]:
    """Each branch receives the cotangent where it was chosen. `where` and not a product, so that
    an infinite slope on the branch not taken does no harm."""
    if node.type.kind != "real":
        return None, None, None
    test, zero = node.operands[0], m.const(0.0)
    return None, m("where", test, bar, zero), m("where", test, zero, bar)


def d_choice(test: str) -> Gradient:
    """maximum and minimum: the first where it wins strictly, else the second."""

    def gradient(m: Make, node: Node, bar: Node) -> tuple[Node | None, ...]:
        first = m(test, *node.operands)
        return pass_where(m, first, bar), pass_where(m, m("not", first), bar)

    return gradient


def away(m: Make, y: Node, x: Node) -> Node:
    """x as a divisor where y is above 0; elsewhere the quotient is 0."""
    return m("where", m("gt", y, m.const(0.0)), x, m.const(math.inf))


def bell(m: Make, x: Node) -> Node:
    """exp(-x^2)."""
    return m("exp", m.neg(m("square", x)))


def d_cast(m: Make, node: Node, bar: Node) -> tuple[Node | None, ...]:
    return (bar if node.operands[0].type.kind == "real" else None,)


def d_div(m: Make, node: Node, bar: Node) -> tuple[Node | None, ...]:
    """a/b: 1/b and -(a/b)/b."""
    b = node.operands[1]
    by_a = m.div(bar, b)
    return by_a, m.neg(m.mul(by_a, node))
