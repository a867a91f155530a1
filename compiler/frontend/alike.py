"""Units that are alike when learning begins, and stay so: their weights begin with one number.

Where all units of a layer begin with the same weights, and what follows treats them alike, they are
given the same gradient, update after update: a layer of a hundred is one of one. So each axis of a
parameter that begins with one number is followed to where it is summed over. It is a layer's if
nothing on the way tells its entries apart: no draw, no data, no class.
"""

from __future__ import annotations

from collections.abc import Iterator

from dln.compiler.frontend.context.build_context import Build
from dln.compiler.frontend.training.untrained import listed_paths, moved
from dln.compiler.ir.graph import Node, ancestors, up_to
from dln.compiler.ir.op import op_of
from dln.compiler.ir.structure import (
    is_const,
    is_contraction,
    is_param,
    is_spread,
    is_stop,
    is_sum,
    number,
)
from dln.compiler.model import Parameter, Phase
from dln.grammar.diagnostics import Problem, Span

CODE = "W315"
Axis = tuple[Node, int]


def warnings(b: Build) -> Iterator[Problem]:
    """One for each phase that learns with such layers, and is the first to move them."""
    seen = set[str]()
    for phase in b.phases.made.values():
        first = {p for p in phase.updates if p not in seen and _alike(b.owned.params[p])}
        first -= {p for p in moved(phase) if p not in phase.updates}
        seen.update(moved(phase))
        if found := [p for p in first if _layered(b, phase, b.owned.params[p], first)]:
            yield _warning(b, [p for p in b.owned.params if p in found])


def _alike(p: Parameter) -> bool:
    """Whether a table of weights, or a bias, begins with one number everywhere."""
    return p.init is not None and number(p.init) is not None


def _layered(b: Build, phase: Phase, p: Parameter, first: set[str]) -> bool:
    """Whether an axis of a matrix of weights is one of units that nothing tells apart."""
    if len(p.node.type.shape) < 2:
        return False
    losses = [line.loss for line in phase.lines]
    reached = set(up_to(losses, is_stop))  # no gradient comes from behind a stop
    nodes = [node for node in ancestors(losses) if node in reached]
    same = _same(nodes, first)
    users: dict[Node, list[Node]] = {}
    for node in nodes:
        for operand in dict.fromkeys(node.operands):
            users.setdefault(operand, []).append(node)
    many = (i for i, size in enumerate(p.node.type.shape) if (b.number(size) or 0) > 1)
    return any(_summed(p.node, i, users, same) for i in many)


def _same(nodes: list[Node], first: set[str]) -> set[Axis]:
    """The axes along which the entries of values are the same when learning begins."""
    same = set[Axis]()
    for node in nodes:
        rank = len(node.type.shape)
        if is_const(node):
            found = list(range(rank)) if number(node) is not None else []
        elif is_param(node):
            found = list(range(rank)) if node["path"] in first else []
        else:
            found = [i for i in range(rank) if _kept(node, i, same)]
        same |= {(node, i) for i in found}
    return same


def _kept(node: Node, axis: int, same: set[Axis]) -> bool:
    """Whether an axis of a result is one along which all that it is made of is the same."""
    if is_spread(node):
        (value,) = node.operands
        return axis not in node["axes"] or (value, node["axes"].index(axis)) in same
    if is_contraction(node):
        label = node["out"][axis]
        sides = zip(node.operands, (node["left"], node["right"]), strict=True)
        return all((o, to.index(label)) in same for o, to in sides if label in to)
    if is_sum(node):
        (value,) = node.operands
        left = [i for i in range(len(value.type.shape)) if i not in node["axes"]]
        return (value, left[axis]) in same
    op, rank = op_of(node), len(node.type.shape)
    if not op.is_("pointwise") and not op.is_("identity"):
        return False
    return all((o, axis) in same for o in node.operands if len(o.type.shape) == rank)


def _summed(start: Node, at: int, users: dict[Node, list[Node]], same: set[Axis]) -> bool:
    """Whether an axis is summed over wherever it leads, behind something else than itself."""
    front, met, further = [(start, at)], set[Axis](), False
    while front:
        node, axis = front.pop()
        if (node, axis) in met:
            continue
        met.add((node, axis))
        for user in users.get(node, ()):
            to = list(_leads(user, node, axis))
            if any((user, i) not in same for i in to):
                return False
            if not to:
                if not _ends(user, node, axis, same):
                    return False
                further |= node is not start
            front += [(user, i) for i in to]
    return further


def _leads(user: Node, node: Node, axis: int) -> Iterator[int]:
    """Which axes of a result are an axis of an operand."""
    if is_spread(user):
        yield user["axes"][axis]
    elif is_contraction(user):
        for operand, to in zip(user.operands, (user["left"], user["right"]), strict=True):
            if operand is node and to[axis] in user["out"]:
                yield user["out"].index(to[axis])
    elif is_sum(user):
        if axis not in user["axes"]:
            yield axis - sum(i < axis for i in user["axes"])
    elif op_of(user).is_("pointwise") or op_of(user).is_("identity"):
        yield axis


def _ends(user: Node, node: Node, axis: int, same: set[Axis]) -> bool:
    """Whether a result is the same in whatever order the entries of an axis stand."""
    if is_sum(user):
        return True
    if not is_contraction(user):
        return False
    labels = {to[axis] for o, to in zip(user.operands, (user["left"], user["right"]), strict=True)
              if o is node}  # fmt: skip
    sides = zip(user.operands, (user["left"], user["right"]), strict=True)
    return all((o, i) in same for o, to in sides for i, k in enumerate(to) if k in labels)


def _warning(b: Build, paths: list[str]) -> Problem:
    p, owner = b.owned.params[paths[0]], b.owned.owners[paths[0]]
    own = p.span.source is b.source
    at: Span = p.span if own else owner.span
    they = listed_paths(paths)
    text = f"the units of a layer are alike, and stay so: {they} begin{'s' * (len(paths) == 1)}"
    text += " with one number, and gradients are the same for all units"
    sizes = [b.number(size) for size in p.node.type.shape]
    head = f"param {paths[0].rsplit('.', 1)[-1]}[{', '.join(map(str, sizes))}]"
    fact = f"first values are drawn, as in {head} ~ glorot({sizes[1]}, {sizes[0]})"
    fact = fact if own else "a layer draws its own: without `init`, or init = glorot"
    label = f"begins with {number(p.init):g}" if p.init is not None else ""
    return Problem(CODE, text, at, label, facts=(fact,), word="warning")
