"""The sizes of all that a spec has, once they are known: numbers of things that can be."""

from __future__ import annotations

from math import prod

from dln.compiler.frontend.context.build_context import Build
from dln.compiler.ir.graph import Node
from dln.compiler.ir.tensor_type import TensorType
from dln.grammar.diagnostics import Problem

MOST = 1 << 40  # numbers of a tensor, for one example: 4 TiB in single precision


def bounded(b: Build) -> None:
    """Refuse a tensor that no machine holds, at the first place that has one so large."""
    first: dict[TensorType, Node] = {}  # a large spec has few types
    for node in b.graph.topological():
        first.setdefault(node.type, node)
    for kind, node in first.items():
        known = map(b.sizes.resolve, kind.shape)
        count = prod(size.constant for size in known if not size.terms)
        if count > MOST:
            spans, name = b.graph.about(node)
            shown = f"{count:.3g}" if count < 1e300 else "1e300 and more"
            text = f"{name or 'this'} has {shown} numbers, of which there may be {MOST:.3g}"
            label = f"is {b.shown(kind)}" if count < 1e300 else ""
            found = Problem("E221", text, spans[0] if spans else None, label)
            b.problems.found.append(found)
            return
