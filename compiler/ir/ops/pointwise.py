"""Element by element: arithmetic, elementary functions, comparisons, choice.

A row gives the name, the derivative and the form for single numbers on the host, then what is not
usual about it. In a derivative `x` is the operand, `y` the result and `bar` its cotangent; there
is one expression for each operand.

At a kink one value is chosen: `abs'(0) = 0`, and `norm` has slope 0 at 0; `maximum(a, b)` and
`minimum(a, b)` hand a tie to `b`, so that relu, `max(a, 0)`, has slope 0 at 0. `floor`, `sign` and
comparisons are flat.
"""

from __future__ import annotations

import math
import operator as op
from typing import Any

from dln.compiler.ir.op import ANY, Refuge, Tight, no_gradient, register
from dln.compiler.ir.ops import axes, bounds, elementwise, second_order
from dln.compiler.ir.ops.common import always, index, join, not_negative, real, same_type, truth
from dln.compiler.ir.ops.elementwise import compare, connective, function, one, operator, row, two
from dln.compiler.ir.spelling import OUT, A, B, C, Memory, View, call, kernel, steps
from dln.compiler.ir.tensor_type import BINARY, POSITIVE, PROB

SIGMOID = steps(
    call("multiply", A, 0.5), call("tanh", OUT), call("multiply", OUT, 0.5), call("add", OUT, 0.5)
)

# max(a, 0) + log(1 + exp(-|a|)): no exponential of a large number.
TOP = Memory("top")
SOFTPLUS = steps(
    call("maximum", A, 0.0, out=TOP),
    call("absolute", A),
    call("negative", OUT),
    call("exp", OUT),
    call("log1p", OUT),
    call("add", OUT, TOP),
    top=lambda node: node.type,
)

WHERE = steps(call("copy", C), call("copy", B, where=A))

SLOPE = 2.0 / math.sqrt(math.pi)  # of erf at 0
SQUASHES = ("squashing",)
ONE_WAY = ("one_way",)
GROWS: dict[str, Any] = {"refuge": Refuge(0, 0.0, bounds.too_large, by_size=True)}
AT_ZERO: dict[str, Any] = {"refuge": Refuge(0, 1.0, safe_from=1.0)}
SUM: dict[str, Any] = {
    "tight": Tight.SUM,
    "facts": ONE_WAY,
    "bound": lambda node, seen, guarded: seen[0] + seen[1],
    "refuge": Refuge(None, 0.0, bounds.both_unbounded, by_size=True),
    "summed": axes.sum_of_terms,
}
ABOVE = real(2, 3, domain=POSITIVE)
AWAY = one(ABOVE, real(domain=POSITIVE))  # logarithms, roots, reciprocals: away from 0

# The tables below read best with a row to a line or two.
# fmt: off
register(
    function("neg", lambda m, x, y, bar: m.neg(bar), "(-{0})", "negative", formula="-{0}",
             number=op.neg, facts=ONE_WAY, tight=Tight.SIGN, bound=bounds.no_larger,
             summed=axes.sum_of_same),
    function("exp", lambda m, x, y, bar: m.mul(bar, y), user=math.exp,
             narrow=always(POSITIVE), curve=second_order.exp, bound=bounds.exponential,
             facts=("spoken", "one_way"), **GROWS),
    function("log", lambda m, x, y, bar: m.div(bar, x), examples=AWAY,
             user=math.log, curve=second_order.log, bound=bounds.logarithm,
             facts=("spoken", "one_way"),
             **AT_ZERO),
    function("log1p", lambda m, x, y, bar: m.div(bar, m.add(m.const(1.0), x)),
             "math.log1p({0})", examples=AWAY, curve=second_order.log1p,
             bound=bounds.logarithm, refuge=Refuge(0, 0.0)),
    function("expm1", lambda m, x, y, bar: m.mul(bar, m.add(m.const(1.0), y)),
             "math.expm1({0})", curve=second_order.expm1, bound=bounds.exponential, **GROWS),
    function("sqrt", lambda m, x, y, bar: m.div(m.scale(bar, 0.5), y),
             narrow=elementwise.root, examples=AWAY, curve=second_order.sqrt, user=math.sqrt,
             bound=bounds.no_larger, facts=("spoken", "steep", "one_way"), **AT_ZERO),
    # What `norm` takes of a sum of squares: a root whose slope at 0 is 0.
    function("distance",
             lambda m, x, y, bar: m.div(m.scale(bar, 0.5), elementwise.away(m, y, y)),
             "math.sqrt({0})", "sqrt", narrow=elementwise.root, examples=AWAY, formula="sqrt({0})",
             curve=second_order.distance, bound=bounds.no_larger),
    function("tanh", lambda m, x, y, bar: m.mul(bar, m.sub(m.const(1.0), m("square", y))),
             facts=(*SQUASHES, *ONE_WAY), user=math.tanh, bound=bounds.at_most(1.0)),
    function("sin", lambda m, x, y, bar: m.mul(bar, m("cos", x)), facts=SQUASHES,
             user=math.sin, bound=bounds.at_most(1.0)),
    function("cos", lambda m, x, y, bar: m.neg(m.mul(bar, m("sin", x))),
             facts=SQUASHES, user=math.cos, bound=bounds.at_most(1.0)),
    # 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x: NumPy has none, so it is a kernel.
    function("erf",
             lambda m, x, y, bar: m.mul(m.scale(bar, SLOPE), m("exp", m.neg(m("square", x)))),
             narrow=elementwise.signed_unit, facts=(*SQUASHES, *ONE_WAY), user=math.erf,
             evaluate=elementwise.by_math(math.erf, lambda x: SLOPE * math.exp(-(x * x))),
             spell=steps(kernel("erf", A)), bound=bounds.at_most(1.0)),
    function("square", lambda m, x, y, bar: m.mul(bar, m.scale(x, 2.0)),
             "({0} * {0})", narrow=elementwise.squared, formula="{0}^2", curve=second_order.square,
             tight=Tight.POWER, bound=lambda node, seen, guarded: seen[0] * seen[0], **GROWS),
    function("reciprocal", lambda m, x, y, bar: m.neg(m.mul(bar, m("square", y))),
             "(1.0 / {0})", narrow=elementwise.root, examples=AWAY, formula="1 / {0}",
             curve=second_order.reciprocal, tight=Tight.PRODUCT, facts=("spoken",),
             bound=lambda node, seen, guarded: 1.0 if guarded else ANY, **AT_ZERO),
    function("abs", lambda m, x, y, bar: m.mul(bar, m("sign", x)), "abs({0})", "absolute",
             narrow=elementwise.squared, smooth=False, user=abs,
             evaluate=lambda site, a: elementwise.side(site.np, a) * a, bound=bounds.no_larger),
    function("sign", None, "float(({0} > 0) - ({0} < 0))",
             smooth=False, evaluate=elementwise.on_reals("sign"), user=elementwise.sign,
             facts=ONE_WAY, bound=bounds.at_most(1.0)),
    function("floor", None, "float(math.floor({0}))",
             smooth=False, evaluate=elementwise.on_reals("floor"), user=math.floor,
             facts=ONE_WAY),
    function("sigmoid",
             lambda m, x, y, bar: m.mul(bar, m.mul(y, m.sub(m.const(1.0), y))),
             "(0.5 * math.tanh(0.5 * {0}) + 0.5)",
             narrow=always(PROB), evaluate=elementwise.sigmoid, spell=SIGMOID, facts=SQUASHES,
             bound=bounds.at_most(1.0)),
    function("softplus", lambda m, x, y, bar: m.mul(bar, m("sigmoid", x)),
             "(max({0}, 0.0) + math.log1p(math.exp(-abs({0}))))", narrow=always(POSITIVE),
             evaluate=elementwise.softplus, spell=SOFTPLUS, curve=second_order.softplus,
             bound=bounds.plus(1.0)),
)

register(
    operator("add", "add", "+", lambda m, node, bar: (bar, bar), not_negative,
             number=op.add, **SUM),
    operator("sub", "subtract", "-", lambda m, node, bar: (bar, m.neg(bar)), number=op.sub, **SUM),
    operator("mul", "multiply", "*",
             lambda m, node, bar: (m.mul(bar, node.operands[1]), m.mul(bar, node.operands[0])),
             elementwise.product, facts=("bilinear", "product", "one_way"), number=op.mul,
             tight=Tight.PRODUCT, bound=bounds.multiplied, summed=axes.sum_of_product,
             refuge=Refuge(None, 0.0, lambda node, seen, found: found == ANY and min(seen) > 1.0,
                           by_size=True)),
    operator("div", "divide", "/", elementwise.d_div, not_negative,
             two((real(2, 3), ABOVE), (real(), ABOVE),
                 (elementwise.RUNNING, real(domain=POSITIVE))),
             facts=("product", "spoken", "one_way"), curve=second_order.quotient, number=op.truediv,
             summed=axes.sum_of_quotient,
             tight=Tight.PRODUCT, bound=lambda node, seen, guarded: seen[0] if guarded else ANY,
             refuge=Refuge(1, 1.0, bounds.quotient_leaves, safe_from=1.0)),
    operator("pow", "power", "^", elementwise.d_pow, elementwise.root,
             two((ABOVE, real(2, 3)), (ABOVE, real()), (real(domain=POSITIVE), real(3))),
             host="({0} ** {1})", facts=("product", "spoken", "steep"), curve=second_order.power,
             tight=Tight.POWER, bound=bounds.power, refuge=Refuge(0, 1.0, bounds.power_leaves)),
    operator("maximum", "maximum", "", elementwise.d_choice("gt"), elementwise.upper, smooth=False,
             host="max({0}, {1})", formula="max({0}, {1})", bound=bounds.no_larger,
             evaluate=lambda site, a, b: site.np.where(a.real > b.real, a, b)),
    operator("minimum", "minimum", "", elementwise.d_choice("lt"), join, smooth=False,
             host="min({0}, {1})", formula="min({0}, {1})", bound=bounds.no_larger,
             evaluate=lambda site, a, b: site.np.where(a.real < b.real, a, b)),
)

register(
    compare("eq", "equal", "=="),
    compare("ne", "not_equal", "!="),
    compare("lt", "less", "<"),
    compare("le", "less_equal", "<="),
    compare("gt", "greater", ">"),
    compare("ge", "greater_equal", ">="),
    connective("and", "logical_and", Tight.AND),
    connective("or", "logical_or", Tight.OR),
    row("not", ("bool",), elementwise.arithmetic("not", always(BINARY), "bool"),
        elementwise.by_numpy("logical_not"), no_gradient, one(truth(2, 3), truth()),
        elementwise.ufunc("logical_not", 1), "(not {0})", "not {0}", tight=Tight.NOT),
)

register(
    row("where", ("bool", None, None), elementwise.where_type, elementwise.by_numpy("where"),
        elementwise.d_where,
        lambda: [((truth(2, 3), *elementwise.SPREAD), {}), ((truth(3), real(), real(3)), {}),
                 ((truth(), real(3), real()), {})],
        WHERE, "({1} if {0} else {2})", bound=lambda node, seen, guarded: max(seen[1:])),
    row("cast", (None,), elementwise.cast_type,
        lambda site, a: a.astype(site.dtype(site.attrs["kind"])),
        lambda m, node, bar: (bar if node.operands[0].type.kind == "real" else None,),
        lambda: [((truth(2, 3),), {"kind": "real"}), ((index(3, size=4),), {"kind": "real"})],
        steps(call("cast", A)), "float({0})", "{0}", ONE_WAY, number=float),
    row("stop", (None,), same_type, lambda site, a: a.real.astype(site.real), no_gradient, one(),
        View(A), "{0}", "{0}", ("view", "identity"), smooth=False,
        flops=lambda node: 0, bound=bounds.no_larger),
    row("asserted", (None,), elementwise.asserted_type, lambda site, a: a,
        lambda m, node, bar: (bar,), lambda: [((real(3),), {"domain": PROB})],
        View(A), "{0}", "{0}", ("view", "identity"), bound=bounds.no_larger, flops=lambda node: 0),
)
# fmt: on
