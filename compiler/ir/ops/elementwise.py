"""What the rows of `pointwise` are made of: types, domains, meaning, derivatives, kinds of rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from dln.compiler.ir import op, tensor_type
from dln.compiler.ir.graph import Node
from dln.compiler.ir.op import (
    Array,
    Attrs,
    Evaluate,
    Gradient,
    Make,
    OfNumPy,
    Op,
    Site,
    Types,
    no_gradient,
)
from dln.compiler.ir.ops import common
from dln.compiler.ir.ops.common import always, index, join, not_negative, real, spread, truth
from dln.compiler.ir.spelling import A, B, Spelling, Statements, call, steps
from dln.compiler.ir.tensor_type import BINARY, POSITIVE, PROB, REAL, Domain, Kind, TensorType, fits
from dln.grammar.diagnostics import Fault

# ---- rules of types ----------------------------------------------------------------------------


def arithmetic(name: str, narrow: common.Narrow, kind: Kind = "real") -> op.Infer:
    """Numbers of a kind out; `narrow` finds the domain from the operands' domains."""

    def infer(attrs: Attrs, types: Types) -> TensorType:
        return spread(name, types).like(kind=kind, domain=narrow(*(t.domain for t in types)))

    return infer


def where_type(attrs: Attrs, types: Types) -> TensorType:
    """A test and two tensors of one kind; the domain holds both."""
    _, a, b = types
    if a.kind != b.kind:
        raise Fault(f"where chooses between tensors of one kind, found {a.kind} and {b.kind}")
    return spread("where", types).like(kind=a.kind, domain=join(a.domain, b.domain))


def cast_type(attrs: Attrs, types: Types) -> TensorType:
    """Truth values become 0 and 1, classes plain numbers."""
    (x,) = types
    kind: Kind = attrs["kind"]
    domain = BINARY if x.kind == "bool" else x.domain if x.kind == kind else REAL
    return x.like(kind=kind, domain=domain)


def asserted_type(attrs: Attrs, types: Types) -> TensorType:
    """The same tensor, said to have another domain."""
    domain: Domain = attrs["domain"]
    if domain.name not in tensor_type.DOMAINS:
        raise Fault(f"there is no domain {domain.name}")
    if types[0].domain.partial and domain.name == "class":  # saying so makes no class of none
        domain = replace(domain, partial=True)
    return types[0].like(domain=domain)


# ---- rules of domains --------------------------------------------------------------------------


def product(a: Domain, b: Domain) -> Domain:
    """Probabilities multiply to probabilities, non-negative numbers to such numbers."""
    both = (d for d in (BINARY, PROB, POSITIVE) if fits(a, d) and fits(b, d))
    return next(both, REAL)


def root(a: Domain, *_: Domain) -> Domain:
    return not_negative(a)


def signed_unit(a: Domain) -> Domain:
    """What keeps the sign and stays between -1 and 1."""
    return PROB if fits(a, POSITIVE) else REAL


def squared(a: Domain) -> Domain:
    return a if fits(a, PROB) else POSITIVE


def upper(a: Domain, b: Domain) -> Domain:
    """The larger of two numbers is not negative where one of them is not."""
    return join(a, b) if fits(a, POSITIVE) == fits(b, POSITIVE) else POSITIVE


# ---- meaning on real and complex arrays --------------------------------------------------------


def side(np: Any, a: Array) -> Array:
    """+1 or -1 by the sign of the real part: the branch a complex step stays on."""
    return np.where(a.real < 0, -1.0, 1.0)


def sigmoid(site: Site, a: Array) -> Array:
    np = site.np
    if a.dtype == np.float64:  # as below, in half the calls
        e = np.exp(-np.abs(a))
        return np.where(a < 0, e, 1.0) / (1.0 + e)
    s = side(np, a)
    e = np.exp(-s * a)
    return np.where(s > 0, 1.0, e) / (1.0 + e)


def softplus(site: Site, a: Array) -> Array:
    np, s = site.np, side(site.np, a)
    return np.where(s > 0, a, 0.0) + np.log1p(np.exp(-s * a))


def sign(x: float) -> float:
    """Of a plain number: -1, 0 or 1."""
    return float((x > 0) - (x < 0))


def by_math(function: Callable[[float], float], slope: Callable[[float], float]) -> Evaluate:
    """A function of real numbers that NumPy has not, with its derivative: to first order in the
    imaginary part, which is all that a complex step asks for."""

    def evaluate(site: Site, a: Array) -> Array:
        np = site.np
        value, by = (np.vectorize(f, otypes=[float])(a.real) for f in (function, slope))
        return value + 1j * by * a.imag if np.iscomplexobj(a) else value.astype(a.dtype)

    return evaluate


def by_numpy(name: str) -> Evaluate:
    return OfNumPy(name)


def on_reals(name: str) -> Evaluate:
    """A NumPy function that looks at real parts only."""
    return lambda site, *arrays: getattr(site.np, name)(*(a.real for a in arrays))


# ---- derivatives -------------------------------------------------------------------------------


Slope: TypeAlias = Callable[[Make, Node, Node, Node], Node]
"""A derivative, written as a function of the graph, x, y and bar."""


def unary(slope: Slope | None) -> Gradient:
    """The derivative of a function of one number; None for one that is flat."""
    if slope is None:
        return no_gradient
    return lambda m, node, bar: (slope(m, node.operands[0], node, bar),)


def d_pow(m: Make, node: Node, bar: Node) -> tuple[Node | None, ...]:
    """x^e: e x^(e-1), and x^e log x where the exponent is not a constant."""
    x, e = node.operands
    if e.op == "const" and e.type.shape == () and node.type.shape == x.type.shape:
        power = float(e["value"])
        slope = m.const(power)
        if power != 1.0:
            slope = m.mul(slope, m("pow", x, m.const(power - 1.0)))
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
    """maximum and minimum: bar for the first where it wins strictly, else for the second, as
    products with 0 and 1."""

    def gradient(m: Make, node: Node, bar: Node) -> tuple[Node | None, ...]:
        first = m(test, *node.operands)
        by_first = m.mul(bar, m("cast", first, kind="real"))
        return by_first, m.mul(bar, m("cast", m("not", first), kind="real"))

    return gradient


def away(m: Make, y: Node, x: Node) -> Node:
    """x as a divisor where y is above 0; elsewhere the quotient is 0."""
    return m("where", m("gt", y, m.const(0.0)), x, m.const(math.inf))


def d_div(m: Make, node: Node, bar: Node) -> tuple[Node | None, ...]:
    """a/b: 1/b and -(a/b)/b."""
    b = node.operands[1]
    by_a = m.div(bar, b)
    return by_a, m.neg(m.mul(by_a, node))


# ---- kinds of rows, and their examples ----------------------------------------------------------

REALS = always(REAL)
SPREAD = real(2, 3), real(2, 3)
RUNNING = real(4, 3, running=("batch",))


def one(*types: TensorType) -> op.Examples:
    return lambda: [((t,), {}) for t in (types or (real(2, 3), real(), RUNNING))]


def two(*pairs: tuple[TensorType, TensorType]) -> op.Examples:
    """Equal shapes, a number with a tensor, a tensor with a number."""
    usual = (SPREAD, (real(), real(3)), (RUNNING, real()), (real(), real()))
    return lambda: [(p, {}) for p in (pairs or usual)]


def ufunc(name: str, arity: int) -> Statements:
    return steps(call(name, *(A, B)[:arity]))


def row(
    name: str,
    takes: Sequence[Kind | None],
    infer: op.Infer,
    evaluate: Evaluate,
    gradient: Gradient,
    examples: op.Examples,
    spell: Spelling,
    host: str = "",
    formula: str = "",
    facts: Iterable[str] = (),
    **rest: Any,
) -> Op:
    rest["formula"] = formula or f"{name}({', '.join(f'{{{i}}}' for i in range(len(takes)))})"
    rest |= {"facts": ("pointwise", *facts), "examples": examples}
    return Op(name, infer, evaluate, gradient, spell, takes, host, **rest)


def function(
    name: str,
    slope: Slope | None,
    host: str = "",
    np_name: str = "",
    narrow: common.Narrow = REALS,
    examples: op.Examples | None = None,
    facts: Iterable[str] = (),
    user: Callable[[float], float] | None = None,
    **given: Any,
) -> Op:
    """A function of one real number, that NumPy has if `spell` does not say otherwise. Users write
    it where `user` says what it is of a plain number; one of Python's `math` is its own expression
    for the host."""
    np_name = np_name or name
    if user is not None:
        facts, given = (*facts, "function"), {"number": user, **given}
        host = host or f"{user.__module__}.{user.__name__}({{0}})"
    rest: dict[str, Any] = {
        "evaluate": by_numpy(np_name),
        "spell": ufunc(np_name, 1),
        "examples": examples or one(),
        **given,
    }
    infer, gradient = arithmetic(name, narrow), unary(slope)
    return row(name, ("real",), infer, gradient=gradient, host=host, facts=facts, **rest)


def operator(
    name: str,
    np_name: str,
    sign: str,
    gradient: Gradient,
    narrow: common.Narrow = REALS,
    examples: op.Examples | None = None,
    kind: Kind = "real",
    **given: Any,
) -> Op:
    """A function of two numbers that NumPy has, real ones if nothing else is given."""
    rest: dict[str, Any] = {
        "takes": ("real", "real"),
        "evaluate": by_numpy(np_name),
        "spell": ufunc(np_name, 2),
        "host": f"({{0}} {sign} {{1}})",
        "formula": f"{{0}} {sign} {{1}}",
        "examples": examples or two(),
        **given,
    }
    return row(name, infer=arithmetic(name, narrow, kind), gradient=gradient, **rest)


def compare(name: str, np_name: str, sign: str, **given: Any) -> Op:
    """Two tensors of one kind in, truth values out."""
    rest: dict[str, Any] = {
        "takes": (None, None),
        "evaluate": on_reals(np_name),
        "examples": two(SPREAD, (real(3), real()), (index(3, size=4), index(3, size=4))),
        "smooth": False,
        "tight": op.Tight.COMPARISON,
        **given,
    }
    return operator(name, np_name, sign, no_gradient, always(BINARY), kind="bool", **rest)


def connective(name: str, np_name: str, tight: op.Tight) -> Op:
    """Truth values in, truth values out."""
    examples = two((truth(2, 3), truth(2, 3)), (truth(), truth(3)))
    kinds: dict[str, Any] = {"takes": ("bool", "bool"), "evaluate": by_numpy(np_name)}
    return compare(name, np_name, name, examples=examples, smooth=True, tight=tight, **kinds)
