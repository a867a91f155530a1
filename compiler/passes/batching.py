"""Operations over a whole sequence at once: what one step does, done for all steps.

The rule is the record's (`vmap`); element by element it is the same for all.
"""

from __future__ import annotations

from collections.abc import Sequence

from dln.compiler.ir.graph import Node
from dln.compiler.ir.op import Make, op_of
from dln.compiler.ir.ops.axes import elementwise
from dln.compiler.ir.sizes import Size


def may_lift(node: Node, seq: Sequence[bool]) -> bool:
    """Whether an operation has a form over sequences, given which operands are such. A table that
    another operand points into stays as it is."""
    record = op_of(node)
    if record.is_("lookup") and seq[0]:
        return False
    return record.vmap is not None or record.is_("pointwise")


def lifted(
    m: Make, node: Node, operands: Sequence[Node], seq: Sequence[bool], length: Size
) -> Node:
    """The node for all steps; one of its operands at least is a sequence, time first."""
    rule = op_of(node).vmap or elementwise
    return rule(m, node, operands, seq, length)
