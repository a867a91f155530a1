"""`clip 5` behind an optimiser: the gradient of a line is no longer than that.

The length is that of the whole gradient, of all parameters that the line moves (Pascanu, Mikolov,
Bengio 2013). What an optimiser is given is scaled, so every optimiser takes it, and none knows of
it; the loss, and what is called the gradient elsewhere, stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping

from dln.compiler.frontend.context import broadcasting, ports
from dln.compiler.frontend.context.build_context import Build, Scope
from dln.compiler.frontend.context.static_values import tensor
from dln.compiler.frontend.context.values import OptimiserUse
from dln.compiler.frontend.expressions import gradients
from dln.compiler.ir.graph import Node
from dln.compiler.ir.structure import number
from dln.grammar import syntax as s


def clipped(b: Build, st: s.Minimize, scope: Scope, grads: Mapping[str, Node]) -> dict[str, Node]:
    """Gradients by path as the optimiser of a line is given them.

    Each is multiplied by limit / max(norm, limit): by exactly 1 where the norm is within the limit.
    """
    if st.clip is None:
        return dict(grads)
    limit, make = _limit(b, st.clip, scope), b.at(st.clip.span)
    norm = gradients.norm(b, [*grads.values()], st.clip.span)
    factor = make.div(limit, make("maximum", norm, limit))
    return {path: make.mul(grad, factor) for path, grad in grads.items()}


def _limit(b: Build, expr: s.Expr, scope: Scope) -> Node:
    """What the norm is held against: one number above 0, which may depend on the time."""
    node = broadcasting.quantity(b, tensor(b, expr, scope, "what is clipped at"), expr.span)
    if node.type.running:
        ports.refuse_running(b, node, expr.span, "clip")
    text = "the norm of a gradient is clipped at one number above 0"
    if node.type.example:
        b.fail("E421", text, expr.span, f"is {b.shown(node.type)}", remedy="5")
    value = number(node)
    if value is not None and not value > 0:
        b.fail("E421", text, expr.span, f"is {value:g}", remedy="5")
    return node


def refuse(b: Build, st: s.Minimize, use: OptimiserUse) -> None:
    """A search along lines asks for the loss until a step is good enough: it needs its slopes."""
    if st.clip is not None:
        name = use.definition.syntax.name
        text = f"{name} searches along a line by the slopes of the loss as they are"
        at = use.span.to(st.clip.span)
        b.fail("E421", text, at, "clips them", remedy=use.span.text)
