"""Reverse mode, from graph to graph: every `grad(s, x)` is written out.

For one s, a single walk against the direction of the edges finds the cotangents of every x asked
for, so the gradients of all parameters of a loss share their nodes. The rules are the rows of the
operations; what holds for all of them stands here: contributions add up, a single number that was
used with a tensor receives the sum over it, indices and truth values receive nothing.

A gradient is an expression like any other, so gradients of gradients need nothing more: operands
come first in the order, and the inner gradient is written out before the outer one asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from dln.compiler.ir.graph import Graph, Node, Spans, ancestors, rewrite
from dln.compiler.ir.masks import live_only
from dln.compiler.ir.op import Make, op_of
from dln.compiler.ir.structure import is_derivative
from dln.compiler.ir.tensor_type import TensorType
from dln.grammar.diagnostics import Fault

Walk: TypeAlias = tuple[str, Node]


def differentiate(graph: Graph) -> Graph:
    """The same outputs without any `grad`.

    Gradient nodes carry the spans of the node they are the derivative of. Raises DlnError where a
    path from x to s goes through an operation that has no gradient.
    """
    return derivatives(graph)[0]


def derivatives(graph: Graph) -> tuple[Graph, dict[Node, Node]]:
    """`differentiate`, with the mapping from old nodes to new ones.

    >>> from dln.compiler.ir.sizes import Size
    >>> import dln.compiler.ir.ops
    >>> graph = Graph(); m = Make(graph)
    >>> x = m("input", name="x", type=TensorType((Size(3),)))
    >>> graph.outputs["dx"] = m("grad", m.sum(m("exp", x), (0,)), x)
    >>> differentiate(graph).outputs["dx"].op  # 1 * exp(x)
    'mul'
    """
    new, to = Graph(), dict[Node, Node]()
    nodes = ancestors(graph.outputs.values())
    wanted: dict[Walk, list[Node]] = {}
    for node in nodes:
        if is_derivative(node):
            wanted.setdefault((node.op, node.operands[0]), []).append(node.operands[1])
    walked: dict[Walk, dict[Node, Node]] = {}
    for node in nodes:
        spans, name = graph.spans.get(node, ()), graph.names.get(node)
        symbolic = is_derivative(node)
        made = expand(new, node, to, wanted, walked) if symbolic else copy(new, node, to)
        new.mark(made, spans, name)
        to[node] = made
    new.outputs = {k: to[v] for k, v in graph.outputs.items()}
    clean, kept = rewrite(new, lambda *_: None)  # without what no output needs
    return clean, {old: kept[n] for old, n in to.items() if n in kept}


def copy(new: Graph, node: Node, to: dict[Node, Node]) -> Node:
    """The node over the new operands. Its type is inferred again, so that what gradients make
    anew and what the spec said are one node."""
    return Make(new)(node.op, *(to[o] for o in node.operands), **node.attrs)


def expand(
    new: Graph,
    node: Node,
    to: dict[Node, Node],
    wanted: dict[Walk, list[Node]],
    walked: dict[Walk, dict[Node, Node]],
) -> Node:
    """What a `grad` (or `curvature`) node stands for; zeros where s does not depend on x, as at the
    dead entries of a parameter."""
    s, x = node.operands
    walk = node.op, s
    if walk not in walked:
        # What is not mapped yet cannot be among the operands of s: its gradient is zero.
        walked[walk] = walker(node.op)(new, to[s], [to[w] for w in wanted[walk] if w in to])
    bar = walked[walk].get(to[x])
    if bar is None:
        return Make(new).zeros(to[x].type)
    return live_only(Make(new), same_running(Make(new), bar, to[x].type), to[x])


def walker(op: str) -> Callable[[Graph, Node, Iterable[Node]], dict[Node, Node]]:
    """The walk that finds all derivatives of one kind of one s."""
    if op == "grad":
        return cotangents
    from dln.compiler.autodiff.gauss_newton import curvatures  # it is made of what stands below

    return curvatures


def cotangents(new: Graph, s: Node, wanted: Iterable[Node]) -> dict[Node, Node]:
    """The derivative of s with respect to each wanted node that s depends on."""
    wanted = list(wanted)
    order = ancestors([s])
    active = between(order, set(wanted))
    parts: dict[Node, list[Node]] = {s: [Make(new, new.spans.get(s, ())).ones(s.type)]}
    bars: dict[Node, Node] = {}
    heard: dict[Node, dict[Node, Node]] = {}
    for node in reversed(order):
        spans = new.spans.get(node, ())
        if node.op == "scan" and node in active and node in heard:
            through_loop(Make(new, spans), node, heard[node], active, parts, wanted, bars)
        if node not in active or node not in parts:
            continue
        bars[node] = bar = total(new, parts.pop(node), spans)
        if node.op == "item":
            heard.setdefault(node.operands[0], {})[node["value"]] = bar
        elif any(o in active for o in node.operands):
            share(Make(new, spans), node, bar, active, parts)
    return {x: bars[x] for x in wanted if x in bars}


def through_loop(
    m: Make,
    loop: Node,
    heard: dict[Node, Node],
    active: set[Node],
    parts: dict[Node, list[Node]],
    wanted: list[Node],
    bars: dict[Node, Node],
) -> None:
    """Hand the cotangents of a loop's items on to its operands, and find those of the items that
    are asked for: each is the whole derivative with respect to the value at its step, through all
    the steps that follow."""
    from dln.compiler.autodiff.scan_vjp import backward

    asked = [x for x in wanted if x.op == "item" and x.operands[0] is loop]
    done = backward(m, loop, heard, active, [x["value"] for x in asked])
    for x in asked:
        if x["value"] in done.values:
            bars[x] = done.values[x["value"]]
    for operand, part in zip(loop.operands, done.operands, strict=True):
        if part is not None and operand in active:
            parts.setdefault(operand, []).append(part)


def between(order: list[Node], wanted: set[Node]) -> set[Node]:
    """The real nodes that depend on a wanted node, the wanted ones included: also a stopped one,
    such as the value that an earlier step has left."""
    active: set[Node] = {x.operands[0] for x in wanted if x.op == "item"} & set(order)
    for node in order:
        passes = node.type.kind == "real" and node.op != "stop"
        if node in wanted or (passes and any(o in active for o in node.operands)):
            active.add(node)
    return active


def share(m: Make, node: Node, bar: Node, active: set[Node], parts: dict[Node, list[Node]]) -> None:
    """Hand a node's cotangent to those operands that lie on the way."""
    try:
        rows = op_of(node).gradient(m, node, bar)
    except Fault as fault:
        raise fault.at(m.spans[0] if m.spans else None) from None
    for operand, part in zip(node.operands, rows, strict=True):
        if part is not None and operand in active:
            fitted = same_running(m, undo_spread(m, part, operand.type), operand.type)
            parts.setdefault(operand, []).append(fitted)


def undo_spread(m: Make, part: Node, like: TensorType) -> Node:
    """A number that went with a whole tensor gets the sum over it; a number that stands for the
    cotangent of a whole tensor is spread."""
    if len(part.type.shape) == len(like.shape):  # sizes may still be open
        return part
    if like.shape == ():
        return m.sum(part, range(len(part.type.shape)))
    assert part.type.shape == (), f"a cotangent of shape {part.type} for {like}"
    return m.broadcast(part, like, ())


def same_running(m: Make, part: Node, like: TensorType) -> Node:
    """The cotangent with the running axes of the value."""
    return part if part.type.running == like.running else m("running", part, running=like.running)


def total(new: Graph, parts: list[Node], spans: Spans) -> Node:
    """The sum of the contributions, in the order they came."""
    m, sum_ = Make(new, spans), parts[0]
    for part in parts[1:]:
        sum_ = m.add(sum_, part)
    return sum_
