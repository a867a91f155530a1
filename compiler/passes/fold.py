"""Constants: what depends on constants only is computed once, here.

Numbers and tensors are computed by the evaluator, tensors up to a size that is worth keeping in
the graph. A spread constant stays as it is: the number is the better form.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from dln.compiler.ir.evaluate import evaluate
from dln.compiler.ir.graph import Graph, Node, ancestors, rewrite
from dln.compiler.ir.op import Array, op_of
from dln.compiler.ir.sizes import Size
from dln.compiler.ir.structure import (
    is_choice,
    is_const,
    is_counting,
    is_derivative,
    is_size,
    is_spread,
)
from dln.compiler.passes.rewriting import Log, Rule, Terms, clean, firing, rebuild, spent

LIMIT = 4096  # elements


def constants(m: Terms, node: Node) -> Node | None:
    """2 * 3 -> 6"""
    if is_size(node):
        known = node["size"].value
        return None if known is None else m.const(float(known))
    if is_choice(node) and (found := settled(m, node)) is not None:
        return found
    if not node.operands or not all(map(is_fixed, node.operands)) or node.type.kind == "index":
        return None
    record = op_of(node)
    if is_spread(node) or record.is_("symbolic") or record.is_("loop"):
        return None
    sizes = [s.value for s in node.type.shape]
    if None in sizes or math.prod(s for s in sizes if s is not None) > LIMIT:
        return None
    value = evaluated(node)
    if not (abs(value) < math.inf).all():
        return None  # what is no number (1 / 0), the run will say
    return m.const(nested(value.tolist()), node.type.kind)


def is_fixed(node: Node) -> bool:
    """Whether a node is a constant, or the positions of an axis whose size is known."""
    while op_of(node).is_("identity"):
        (node,) = node.operands
    return is_const(node) or (is_counting(node) and Size.of(node["size"]).value is not None)


def settled(m: Terms, node: Node) -> Node | None:
    """What a choice comes to whose test is the same everywhere."""
    test, a, b = node.operands
    while is_spread(test):
        (test,) = test.operands
    if not is_const(test):
        return None
    found = set(flat(test["value"]))
    return m.shaped(a if True in found else b, node) if len(found) == 1 else None


def flat(value: object) -> Iterator[object]:
    """The entries of nested tuples."""
    if isinstance(value, tuple):
        for part in value:
            yield from flat(part)
    else:
        yield value


FOLD = Rule("constants", (), True, constants, "2 * 3 -> 6")


def evaluated(node: Node) -> Array:
    """The value of a node over constants: for one example, where it is repeated for all."""
    import numpy as np  # late: NumPy

    shapes = (s for n in ancestors([node]) for s in n.type.shape)
    one = {v: 1 for s in shapes for v, _ in s.terms}
    with np.errstate(all="ignore"):
        return evaluate({node: node}, sizes=one)[node]


def nested(value: object) -> object:
    """Lists as tuples, so that the node can be unique."""
    return tuple(map(nested, value)) if isinstance(value, list) else value


def fold(graph: Graph, log: Log | None = None) -> Graph:
    """The graph with the values of its constant parts."""
    fired: list[tuple[Node, Node]] = []
    terms = Terms(Graph())
    wanted = {n.operands[1] for n in graph.topological() if is_derivative(n)}

    def choose(new: Graph, node: Node, operands: tuple[Node, ...]) -> Node:
        terms.graph, terms.spans = new, graph.spans.get(node, ())
        made = rebuild(terms, node, operands)
        # A derivative with respect to a constant needs the constant where it is.
        asked = node in wanted or any(o in wanted for o in node.operands)
        value = None if asked or spent(log) else constants(terms, made)
        if value is None:
            return made
        fired.append((made, value))
        if log is not None:
            log.append(firing(new, FOLD, made, value))
        return value

    folded = rewrite(graph, choose)[0]
    return clean(folded) if fired else graph
