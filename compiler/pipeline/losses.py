"""What a phase minimises, as nodes: losses added up, gradients, and lines of several steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dln.compiler.ir.graph import Node, ancestors
from dln.compiler.model import Minimizing, Model, Phase, Turn
from dln.compiler.schema.keys import LineLoss, ValueKey


def added(model: Model, nodes: Sequence[Node]) -> Node:
    """The sum of some nodes."""
    total = nodes[0]
    for node in nodes[1:]:
        total = model.graph.add("add", (total, node), total.type)
    return total


def reported(ph: Phase | Turn) -> list[Node]:
    """The losses that the reported loss adds up, as the steps meet them: an objective of several
    lines counts once."""
    first: dict[Node, Node] = {}
    for objective, loss in zip(ph.objectives, ph.losses, strict=True):
        first.setdefault(objective, loss)
    return list(first.values())


def gradients(model: Model, ph: Phase) -> dict[str, Node]:
    """The gradient that moves each parameter: that of the lines over it, as its updates use it."""
    slopes = {path: ph.slopes(path) for path in ph.updates}
    return {path: added(model, found) for path, found in slopes.items() if found}


def learned_lines(
    model: Model, ph: Phase
) -> Iterator[tuple[ValueKey, Minimizing, dict[str, Node]]]:
    """The `minimize` lines of a phase that learns by gradients: under which key a program of losses
    leaves the loss of each, the line, and what earlier steps leave in parameters that it needs."""
    if not any(line.slopes for line in ph.lines):
        return
    alone = len(set(ph.objectives)) == 1
    for i, (objective, line) in enumerate(zip(ph.objectives, ph.lines, strict=True)):
        needed = set(ancestors([objective]))
        left = {k: v for k, v in line.left.items() if model.params[k].node in needed}
        yield "loss" if alone else LineLoss(i), line, left
