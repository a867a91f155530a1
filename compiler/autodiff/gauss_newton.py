"""The second-order walk: every `curvature(s, x)` is written out, as `differentiate` does `grad`.

`curvature(s, x)` is the diagonal of the Gauss-Newton approximation of d^2 s / d x^2. A walk against
the direction of the edges carries, for each node, the second derivative of s with respect to each
of its elements; mixed derivatives between elements are left out (Becker and LeCun 1988). Linear
operations send it on with squared coefficients; where a value is used several times, what comes
back is added up.

An operation y = f(x) sends f'^2 bend + f'' bar, bar being the gradient. At s itself bend is 0: the
first second derivatives come from what bends in the loss (squares, logarithms of sums, ...). So the
mean over a batch needs no rule of its own: it is in bar, once. The term with f'' counts in the loss
only. The loss ends, seen from s, where the network begins: at the first squashing function, and at
the first product of two things that both depend on a parameter. Below, bend alone is sent on, so
that it stays positive (LeCun, Bottou, Orr, Mueller 1998, equations 32 to 34).
"""

from __future__ import annotations

from collections.abc import Iterable

from dln.compiler.autodiff.reverse_mode import cotangents
from dln.compiler.autodiff.walks import between, walk
from dln.compiler.ir.graph import Graph, Node, ancestors
from dln.compiler.ir.op import Make, op_of
from dln.compiler.ir.ops.second_order import Rows, by_slopes
from dln.compiler.ir.structure import is_item
from dln.grammar.diagnostics import Fault


def curvatures(new: Graph, s: Node, wanted: Iterable[Node]) -> dict[Node, Node]:
    """The curvature of s for each wanted node that has one, at least 0.

    Raises DlnError where the way to a wanted node goes through an operation without a rule.
    """
    wanted, order = list(wanted), ancestors([s])
    active = between(order, set(wanted))
    inside = loss_part(order, active)
    bars = cotangents(new, s, [n for n in order if n in inside and op_of(n).curve is not None])

    def rule(m: Make, node: Node, bend: Node | None) -> Rows:
        bar = bars.get(node)
        return () if bar is None and bend is None else rows(m, node, bar, bend)

    bends = walk(Make(new), new.spans, order, active, {}, rule)
    zero = Make(new).const(0.0)
    return {x: Make(new)("maximum", bends[x], zero) for x in wanted if x in bends}


def loss_part(order: list[Node], active: set[Node]) -> set[Node]:
    """The nodes whose own second derivative counts: those that are not inside the network."""
    network: set[Node] = set()
    for node in reversed(order):
        bends = op_of(node).is_("squashing")
        multiplies = op_of(node).is_("product") and len(active.intersection(node.operands)) > 1
        if node in active and (node in network or bends or multiplies):
            network.update(node.operands)
    return active - network


def rows(m: Make, node: Node, bar: Node | None, bend: Node | None) -> Rows:
    """What each operand receives: by the record's own rule, or by what its facts say."""
    record = op_of(node)
    if record.curve is not None:
        return record.curve(m, node, bar, bend)
    if bend is None:
        return tuple(None for _ in node.operands)
    if record.is_("view") or record.is_("moves"):
        return record.gradient(m, node, bend)  # derivatives are 0 or 1, their own squares
    if record.is_("pointwise"):
        return by_slopes(m, node, bend)
    name = (node.operands[0] if is_item(node) else node).op
    remedy = "an optimiser without curvature: with sgd(lr = 0.1)"
    fault = Fault(f"curvature has no rule for {name}", remedy, "E379")
    raise fault.at(next(iter(m.spans), None))
