"""The NumPy target.

0-d arrays are preferred to Python numbers: a pointwise call on a small array then takes 0.4
instead of 0.8 microseconds. `dot` is preferred to `matmul` where both compute the same: it is
0.5 microseconds quicker to call, and for a sum over one example (100 x 784, the gradient of a
weight) it takes 14 microseconds where `matmul` takes 140. Lines of
pointwise calls are not run in blocks: measured on updates of a million weights, blocks small
enough for the cache lose in calls what they save in traffic.
"""

from __future__ import annotations

from dln.compiler.ir.graph import Node
from dln.compiler.ir.op import OPS, Spelling
from dln.compiler.ir.ops.contract import leading
from dln.compiler.lower.targets.target import Target, draw


def product(node: Node) -> Spelling:
    """A product of matrices or vectors as `dot`, which wants its result in C order."""
    spell = OPS["contract"].spell["array"]
    usual = spell if isinstance(spell, Spelling) else spell(node)
    result = usual.form.rpartition("out=")[2]
    if leading(node) or ".T" in result or ".transpose" in result:
        return usual
    return Spelling(usual.form.replace("{xp}.matmul(", "{xp}.dot("), usual.scratch)


NUMPY = Target(
    name="numpy",
    keys=("numpy", "array"),
    boxes=True,
    spell={"draw": draw, "contract": product},
)
