"""Element by element: arithmetic, elementary functions, comparisons, choice.

A row gives the name, how it is written, how it is computed, its derivative and its spelling. In
a derivative `bar` is the cotangent of the result `y`; there is one expression for each operand.

At a kink one value is chosen: `abs'(0) = 0`; `maximum(a, b)` and `minimum(a, b)` hand a tie to
`b`, so that relu, `max(a, 0)`, has slope 0 at 0. `floor`, `sign` and comparisons are flat.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import MappingProxyType
from typing import Any

from dln.compiler.graph import Node
from dln.compiler.op import (
    Array,
    Attrs,
    Infer,
    Make,
    Op,
    Site,
    Spelling,
    no_gradient,
    register,
)
from dln.compiler.ops.common import (
    Narrow,
    always,
    count,
    index,
    join,
    need_kind,
    need_real,
    real,
    spread,
    truth,
)
from dln.compiler.tensor import BINARY, DOMAINS, POSITIVE, PROB, REAL, Domain, Kind, TensorType
from dln.grammar.diagnostics import Fault

Gradient = Callable[[Make, Node, Node], tuple[Node | None, ...]]
Examples = Callable[[], Iterable[tuple[tuple[TensorType, ...], dict[str, Any]]]]

NONNEGATIVE = ("positive", "prob", "binary")


# ---- rules of types ----------------------------------------------------------------------------


def arithmetic(name: str, arity: int, narrow: Narrow) -> Infer:
    """Reals in, reals out; `narrow` finds the domain from the operands' domains."""

    def infer(attrs: Attrs, types: tuple[TensorType, ...]) -> TensorType:
        count(name, types, arity)
        need_real(name, types)
        return spread(name, types).like(kind="real", domain=narrow(*(t.domain for t in types)))

    return infer


def comparison(name: str) -> Infer:
    """Two tensors of one kind in, truth values out."""

    def infer(attrs: Attrs, types: tuple[TensorType, ...]) -> TensorType:
        count(name, types, 2)
        return spread(name, types).like(kind="bool", domain=BINARY)

    return infer


def logic(name: str, arity: int) -> Infer:
    """Truth values in, truth values out."""

    def infer(attrs: Attrs, types: tuple[TensorType, ...]) -> TensorType:
        count(name, types, arity)
        for t in types:
            need_kind(name, "bool", t)
        return spread(name, types).like(kind="bool", domain=BINARY)

    return infer


def where_type(attrs: Attrs, types: tuple[TensorType, ...]) -> TensorType:
    """A test and two tensors of one kind; the domain holds both."""
    count("where", types, 3)
    test, a, b = types
    need_kind("where", "bool", test)
    if a.kind != b.kind:
        raise Fault(f"where chooses between tensors of one kind, found {a.kind} and {b.kind}")
    return spread("where", types).like(kind=a.kind, domain=join(a.domain, b.domain))


def cast_type(attrs: Attrs, types: tuple[TensorType, ...]) -> TensorType:
    """Truth values become 0 and 1, classes plain numbers."""
    count("cast", types, 1)
    (x,) = types
    kind: Kind = attrs["kind"]
    domain = BINARY if x.kind == "bool" else x.domain if x.kind == kind else REAL
    return x.like(kind=kind, domain=domain)


def asserted_type(attrs: Attrs, types: tuple[TensorType, ...]) -> TensorType:
    """The same tensor, said to have another domain."""
    count("asserted", types, 1)
    domain: Domain = attrs["domain"]
    if domain.name not in DOMAINS:
        raise Fault(f"there is no domain {domain.name}")
    return types[0].like(domain=domain)


def stop_type(attrs: Attrs, types: tuple[TensorType, ...]) -> TensorType:
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


def d_cast(m: Make, node: Node, bar: Node) -> tuple[Node | None, ...]:
    return (bar if node.operands[0].type.kind == "real" else None,)


def d_div(m: Make, node: Node, bar: Node) -> tuple[Node | None, ...]:
    """a/b: 1/b and -(a/b)/b."""
    b = node.operands[1]
    by_a = m.div(bar, b)
    return by_a, m.neg(m.mul(by_a, node))


# ---- records -----------------------------------------------------------------------------------

REALS = always(REAL)
SPREAD = real(2, 3), real(2, 3)
ABOVE = real(2, 3, domain=POSITIVE)
RUNNING = real(4, 3, running=("batch",))


def one(*types: TensorType) -> Examples:
    return lambda: [((t,), {}) for t in (types or (real(2, 3), real(), RUNNING))]


def two(*pairs: tuple[TensorType, TensorType]) -> Examples:
    """Equal shapes, a number with a tensor, a tensor with a number."""
    usual = (SPREAD, (real(), real(3)), (RUNNING, real()), (real(), real()))
    return lambda: [(p, {}) for p in (pairs or usual)]


def spelled(array: str, host: str, scratch: tuple[str, ...]) -> MappingProxyType[str, Any]:
    """The spellings of a row; scratch buffers are typed like the result."""
    buffers = MappingProxyType({name: result_type for name in scratch})
    table = {"array": Spelling(array, buffers)} | ({"host": Spelling(host)} if host else {})
    return MappingProxyType(table)


def result_type(node: Node) -> TensorType:
    return node.type


def ufunc(name: str, arity: int) -> str:
    operands = ", ".join(f"{{{i}}}" for i in range(arity))
    return f"{{xp}}.{name}({operands}, out={{out}})"


def row(
    name: str,
    arity: int,
    infer: Infer,
    evaluate: Callable[..., Array],
    gradient: Gradient,
    examples: Examples,
    array: str,
    host: str = "",
    formula: str = "",
    facts: Iterable[str] = ("inplace",),
    scratch: tuple[str, ...] = (),
    **rest: Any,
) -> Op:
    return Op(
        name,
        infer,
        evaluate,
        gradient,
        spelled(array, host, scratch),
        facts=frozenset({"pointwise", *facts}),
        formula=formula or f"{name}({', '.join(f'{{{i}}}' for i in range(arity))})",
        examples=examples,
        **rest,
    )


def function(
    name: str,
    gradient: Gradient,
    host: str,
    np_name: str = "",
    narrow: Narrow = REALS,
    examples: Examples | None = None,
    **given: Any,
) -> Op:
    """A function of one real number that NumPy has."""
    np_name = np_name or name
    rest: dict[str, Any] = {
        "evaluate": by_numpy(np_name),
        "array": ufunc(np_name, 1),
        "host": host,
        **given,
    }
    return row(
        name,
        1,
        arithmetic(name, 1, narrow),
        gradient=gradient,
        examples=examples or one(),
        **rest,
    )


def operator(
    name: str,
    np_name: str,
    sign: str,
    gradient: Gradient,
    narrow: Narrow = REALS,
    examples: Examples | None = None,
    facts: Iterable[str] = (),
    **given: Any,
) -> Op:
    """A function of two real numbers that NumPy has."""
    rest: dict[str, Any] = {
        "evaluate": by_numpy(np_name),
        "array": ufunc(np_name, 2),
        "host": f"({{0}} {sign} {{1}})",
        "formula": f"{{0}} {sign} {{1}}",
        **given,
    }
    return row(
        name,
        2,
        arithmetic(name, 2, narrow),
        gradient=gradient,
        examples=examples or two(),
        facts=("inplace", *facts),
        **rest,
    )


def compare(name: str, np_name: str, sign: str, facts: Iterable[str] = ()) -> Op:
    return row(
        name,
        2,
        comparison(name),
        on_reals(np_name),
        no_gradient,
        two(SPREAD, (real(3), real()), (index(3, size=4), index(3, size=4))),
        ufunc(np_name, 2),
        f"({{0}} {sign} {{1}})",
        f"{{0}} {sign} {{1}}",
        facts,
        smooth=False,
    )


def connective(name: str, np_name: str) -> Op:
    return row(
        name,
        2,
        logic(name, 2),
        by_numpy(np_name),
        no_gradient,
        two((truth(2, 3), truth(2, 3)), (truth(), truth(3))),
        ufunc(np_name, 2),
        f"({{0}} {name} {{1}})",
        f"{{0}} {name} {{1}}",
        ("inplace", "commutative"),
    )


SIGMOID = """\
{xp}.multiply({0}, 0.5, out={out})
{xp}.tanh({out}, out={out})
{xp}.multiply({out}, 0.5, out={out})
{xp}.add({out}, 0.5, out={out})"""

# max(a, 0) + log(1 + exp(-|a|)): no exponential of a large number.
SOFTPLUS = """\
{xp}.maximum({0}, 0.0, out={top})
{xp}.absolute({0}, out={out})
{xp}.negative({out}, out={out})
{xp}.exp({out}, out={out})
{xp}.log1p({out}, out={out})
{xp}.add({out}, {top}, out={out})"""

WHERE = """\
{xp}.copyto({out}, {2})
{xp}.copyto({out}, {1}, where={0})"""

MATH = "math.{}({{0}})"
AWAY = one(ABOVE, real(domain=POSITIVE))  # logarithms, roots, reciprocals: away from 0

register(
    # fmt: off
    function("neg", unary(lambda m, x, y, bar: m.neg(bar)), "(-{0})", "negative", formula="-{0}"),
    function(
        "exp",
        unary(lambda m, x, y, bar: m.mul(bar, y)),
        MATH.format("exp"),
        narrow=always(POSITIVE),
    ),
    function("log", unary(lambda m, x, y, bar: m.div(bar, x)), MATH.format("log"), examples=AWAY),
    function(
        "log1p",
        unary(lambda m, x, y, bar: m.div(bar, m.add(m.const(1.0), x))),
        MATH.format("log1p"),
        examples=AWAY,
    ),
    function(
        "expm1",
        unary(lambda m, x, y, bar: m.mul(bar, m.add(m.const(1.0), y))),
        MATH.format("expm1"),
    ),
    function(
        "sqrt",
        unary(lambda m, x, y, bar: m.div(m.scale(bar, 0.5), y)),
        MATH.format("sqrt"),
        narrow=root,
        examples=AWAY,
    ),
    function(
        "tanh",
        unary(lambda m, x, y, bar: m.mul(bar, m.sub(m.const(1.0), m("square", y)))),
        MATH.format("tanh"),
    ),
    function("sin", unary(lambda m, x, y, bar: m.mul(bar, m("cos", x))), MATH.format("sin")),
    function("cos", unary(lambda m, x, y, bar: m.neg(m.mul(bar, m("sin", x)))), MATH.format("cos")),
    function(
        "square",
        unary(lambda m, x, y, bar: m.mul(bar, m.scale(x, 2.0))),
        "({0} * {0})",
        narrow=squared,
        formula="{0}^2",
    ),
    function(
        "reciprocal",
        unary(lambda m, x, y, bar: m.neg(m.mul(bar, m("square", y)))),
        "(1.0 / {0})",
        narrow=root,
        examples=AWAY,
        formula="1 / {0}",
    ),
    function(
        "abs",
        unary(lambda m, x, y, bar: m.mul(bar, m("sign", x))),
        "abs({0})",
        narrow=squared,
        array=ufunc("absolute", 1),
        smooth=False,
        evaluate=lambda site, a: side(site.np, a) * a,
    ),
    function(
        "sign", no_gradient, "float(({0} > 0) - ({0} < 0))", smooth=False, evaluate=on_reals("sign")
    ),
    function(
        "floor", no_gradient, "float(math.floor({0}))", smooth=False, evaluate=on_reals("floor")
    ),
    function(
        "sigmoid",
        unary(lambda m, x, y, bar: m.mul(bar, m.mul(y, m.sub(m.const(1.0), y)))),
        "(0.5 * math.tanh(0.5 * {0}) + 0.5)",
        narrow=always(PROB),
        evaluate=sigmoid,
        array=SIGMOID,
    ),
    row(
        "softplus",
        1,
        arithmetic("softplus", 1, always(POSITIVE)),
        softplus,
        unary(lambda m, x, y, bar: m.mul(bar, m("sigmoid", x))),
        one(),
        SOFTPLUS,
        "(max({0}, 0.0) + math.log1p(math.exp(-abs({0}))))",
        scratch=("top",),
    ),
    operator("add", "add", "+", lambda m, node, bar: (bar, bar), total, facts=("commutative",)),
    operator("sub", "subtract", "-", lambda m, node, bar: (bar, m.neg(bar))),
    operator(
        "mul",
        "multiply",
        "*",
        lambda m, node, bar: (m.mul(bar, node.operands[1]), m.mul(bar, node.operands[0])),
        product,
        facts=("commutative",),
    ),
    operator(
        "div",
        "divide",
        "/",
        d_div,
        total,
        two((real(2, 3), ABOVE), (real(), ABOVE), (RUNNING, real(domain=POSITIVE))),
    ),
    operator(
        "pow",
        "power",
        "^",
        d_pow,
        root,
        two((ABOVE, real(2, 3)), (ABOVE, real()), (real(domain=POSITIVE), real(3))),
        host="({0} ** {1})",
    ),
    operator(
        "maximum",
        "maximum",
        "",
        d_choice("gt"),
        upper,
        smooth=False,
        host="max({0}, {1})",
        formula="max({0}, {1})",
        facts=("commutative",),
        evaluate=lambda site, a, b: site.np.where(a.real > b.real, a, b),
    ),
    operator(
        "minimum",
        "minimum",
        "",
        d_choice("lt"),
        join,
        smooth=False,
        host="min({0}, {1})",
        formula="min({0}, {1})",
        facts=("commutative",),
        evaluate=lambda site, a, b: site.np.where(a.real < b.real, a, b),
    ),
    compare("eq", "equal", "==", ("commutative",)),
    compare("ne", "not_equal", "!=", ("commutative",)),
    compare("lt", "less", "<"),
    compare("le", "less_equal", "<="),
    compare("gt", "greater", ">"),
    compare("ge", "greater_equal", ">="),
    connective("and", "logical_and"),
    connective("or", "logical_or"),
    row(
        "not",
        1,
        logic("not", 1),
        by_numpy("logical_not"),
        no_gradient,
        one(truth(2, 3), truth()),
        ufunc("logical_not", 1),
        "(not {0})",
        "not {0}",
    ),
    row(
        "where",
        3,
        where_type,
        by_numpy("where"),
        d_where,
        lambda: [
            ((truth(2, 3), *SPREAD), {}),
            ((truth(3), real(), real(3)), {}),
            ((truth(), real(3), real()), {}),
        ],
        WHERE,
        "({1} if {0} else {2})",
        facts=("inplace2",),
    ),
    row(
        "cast",
        1,
        cast_type,
        cast,
        d_cast,
        lambda: [((truth(2, 3),), {"kind": "real"}), ((index(3, size=4),), {"kind": "real"})],
        '{xp}.copyto({out}, {0}, casting="unsafe")',
        "float({0})",
        "{0}",
        facts=(),
    ),
    row(
        "stop",
        1,
        stop_type,
        lambda site, a: a.real.astype(site.real),
        no_gradient,
        one(),
        "{0}",
        "{0}",
        "stop({0})",
        ("view",),
        smooth=False,
        flops=lambda node: 0,
    ),
    row(
        "asserted",
        1,
        asserted_type,
        lambda site, a: a,
        lambda m, node, bar: (bar,),
        lambda: [((real(3),), {"domain": PROB})],
        "{0}",
        "{0}",
        "{0} as {domain}",
        ("view",),
        flops=lambda node: 0,
    ),
    # fmt: on
)
