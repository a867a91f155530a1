"""Derivatives written out as graph: every `grad(s, x)` and every `curvature(s, x)`.

For one s, a single walk finds the derivatives by every x asked for, so the gradients of all
parameters of a loss share their nodes. A gradient is an expression like any other, so gradients of
gradients need nothing more: operands come first in the order, and the inner gradient is written
out before the outer one asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from dln.compiler.autodiff.gauss_newton import curvatures
from dln.compiler.autodiff.reverse_mode import cotangents
from dln.compiler.ir.graph import Graph, Node, ancestors, keep, rewrite
from dln.compiler.ir.masks import live_only
from dln.compiler.ir.op import Make
from dln.compiler.ir.structure import is_derivative

Asked: TypeAlias = tuple[str, Node]
Walker: TypeAlias = Callable[[Graph, Node, Iterable[Node]], dict[Node, Node]]

WALKERS: Mapping[str, Walker] = {"grad": cotangents, "curvature": curvatures}
"""The walk that finds all derivatives of one kind of one s."""


def differentiate(graph: Graph) -> Graph:
    """The same outputs without any `grad`.

    Gradient nodes carry the spans of the node they are the derivative of. Raises DlnError where a
    path from x to s goes through an operation that has no gradient.
    """
    return derivatives(graph)[0]


def derivatives(graph: Graph) -> tuple[Graph, dict[Node, Node]]:
    """`differentiate`, with the mapping from old nodes to new ones.

    >>> from dln.compiler.ir.sizes import Size
    >>> from dln.compiler.ir.tensor_type import TensorType
    >>> graph = Graph(); m = Make(graph)
    >>> x = m("input", name="x", type=TensorType((Size(3),)))
    >>> graph.outputs["dx"] = m("grad", m.sum(m("exp", x), (0,)), x)
    >>> differentiate(graph).outputs["dx"].op  # 1 * exp(x)
    'mul'
    """
    to: dict[Node, Node] = {}
    wanted: dict[Asked, list[Node]] = {}
    for node in ancestors(graph.outputs.values()):
        if is_derivative(node):
            wanted.setdefault((node.op, node.operands[0]), []).append(node.operands[1])
    walked: dict[Asked, dict[Node, Node]] = {}

    def written_out(new: Graph, node: Node, operands: tuple[Node, ...]) -> Node:
        """What a `grad` (or `curvature`) node stands for; zeros where s does not depend on x, as at
        the dead entries of a parameter."""
        s, x = operands
        walk = node.op, node.operands[0]
        if walk not in walked:
            # What is not mapped yet cannot be among the operands of s: its gradient is zero.
            walked[walk] = WALKERS[node.op](new, s, [to[w] for w in wanted[walk] if w in to])
        m, bar = Make(new), walked[walk].get(x)
        return m.zeros(x.type) if bar is None else live_only(m, m.running(bar, x.type), x)

    def rule(new: Graph, node: Node, operands: tuple[Node, ...]) -> Node:
        """Types are inferred again, so that what gradients make anew and what the spec said are one
        node."""
        if is_derivative(node):
            to[node] = written_out(new, node, operands)
        else:
            to[node] = Make(new)(node.op, *operands, **node.attrs)
        return to[node]

    clean, kept = rewrite(rewrite(graph, rule)[0], keep)  # without what no output needs
    return clean, {old: kept[n] for old, n in to.items() if n in kept}
