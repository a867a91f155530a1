"""Derivatives that cannot be written out, found when a spec is read.

A derivative is written out for each program, when it is first needed: too late to say that it has
no rule. So those that may lack one are written out here once, by the stages that programs go
through, and thrown away. Most specs have none of them, and then nothing is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache

from dln.compiler.ir.graph import Node, ancestors
from dln.compiler.ir.op import op_of
from dln.compiler.ir.ops.loop import everything
from dln.compiler.ir.structure import is_curvature, is_derivative, is_scan
from dln.compiler.model import Functions, Model, remap
from dln.compiler.stages import BEFORE, STAGES, optimise, part
from dln.grammar.diagnostics import DlnError

DERIVED = STAGES[: len(BEFORE) + 1]


def derivable(model: Model) -> Model:
    """The same model. Raises DlnError at the operation that a derivative cannot pass; a function
    for Python that holds such a derivative is refused instead."""
    asked: dict[Node, None] = {}

    def seen(node: Node) -> Node:
        asked[node] = None
        return node

    remap(model.changed(functions=Functions()), seen)
    write_out(model, asked)
    applied, refused = dict(model.functions.applied), dict(model.functions.refused)
    for path, function in model.functions.applied.items():
        try:
            write_out(model, function.results.values())
        except DlnError as error:
            refused[path] = error.problems[0]
            del applied[path]
    return model.changed(functions=Functions(applied, refused))


def write_out(model: Model, nodes: Iterable[Node]) -> None:
    """Write out the derivatives among some nodes that may not have one."""
    opaque = cache(any_opaque)  # of one loss many derivatives are asked
    doubtful = {str(i): n for i, n in enumerate(ancestors(nodes)) if may_fail(n, opaque)}
    if not doubtful:
        return
    graph = part(model, doubtful)
    try:
        optimise(graph, DERIVED[-1:])
    except DlnError:
        optimise(graph, DERIVED)  # what simplifying takes away need not be differentiated


def may_fail(node: Node, opaque: Callable[[Node], bool]) -> bool:
    """Whether a node is a derivative that need not exist: not every operation has a rule for a
    curvature, and through some no gradient runs."""
    if is_scan(node):
        return any(may_fail(n, opaque) for n in node["body"].graph.topological())
    return is_curvature(node) or is_derivative(node) and opaque(node.operands[0])


def any_opaque(node: Node) -> bool:
    """Whether a node needs what no gradient runs through."""
    return any(op_of(n).is_("opaque") for n in everything([node]))
