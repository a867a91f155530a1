"""What stands for a graph that is not written out yet. Gone before anything is lowered."""

from __future__ import annotations

from typing import Any

from dln.compiler.ir.graph import Node
from dln.compiler.ir.op import Attrs, Op, Places, Types, register
from dln.compiler.ir.ops import axes
from dln.compiler.ir.ops.common import no_value
from dln.compiler.ir.ops.loop import mixes
from dln.compiler.ir.tensor_type import POSITIVE, REAL, TensorType
from dln.grammar.diagnostics import Fault


def grad_type(attrs: Attrs, types: Types) -> TensorType:
    """d s / d x has the shape of x; s is one number for each example (and its gradients with
    respect to what has no running axes add up over the examples)."""
    s, x = types
    if s.example:
        raise Fault(
            f"grad takes a single number for each example, found {s}",
            "sum(...) or mean(...) makes one number of it",
        )
    return x.like(domain=REAL)


NOT_EXPANDED = no_value(
    "a derivative is written out by `differentiate` and has no value before that"
)


def grad_places(node: Node, slot: int) -> Places:
    """A derivative by x of a number for each example: each example for itself, unless something is
    taken over all of them."""
    operand, running = node.operands[slot], node.type.running
    if slot == 1:
        return axes.same(node, slot)
    if mixes([operand]) or "batch" not in operand.type.running or "batch" not in running:
        return {}
    return {running.index("batch"): operand.type.running.index("batch")}


BOTH: dict[str, Any] = {"takes": ("real", "real"), "facts": ("symbolic",)}

# fmt: off
register(
    Op("grad", grad_type, NOT_EXPANDED, formula="grad({0}, {1})", places=grad_places, **BOTH),
    # The diagonal of the second derivative has the shape of x and is not negative.
    Op("curvature", lambda attrs, types: grad_type(attrs, types).like(domain=POSITIVE),
       NOT_EXPANDED, formula="curvature({0}, {1})", **BOTH),
)
# fmt: on
