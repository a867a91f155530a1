"""The CuPy target, the plain one: the same program on device arrays, call by call.

A number known on the host is passed as an argument of the kernel, which costs nothing; a 0-d
array would have to be brought to the device. CuPy's ufuncs reduce only by `add` and `multiply`,
and its `einsum` takes no `out`.
"""

from __future__ import annotations

from dln.compiler.ir.graph import Node
from dln.compiler.ir.op import OPS, Spelling
from dln.compiler.lower.targets.target import Target, draw


def product(node: Node) -> Spelling:
    """A product; the few that no matrix product covers go through a temporary array."""
    spell = OPS["contract"].spell["array"]
    usual = spell if isinstance(spell, Spelling) else spell(node)
    if "{xp}.einsum(" not in usual.form:
        return usual
    call = usual.form.replace(", out={out})", ")")
    return Spelling(f"{{xp}}.copyto({{out}}, {call})", usual.scratch)


CUPY = Target(
    name="cupy",
    keys=("cupy", "array"),
    boxes=False,
    spell={"draw": draw, "contract": product},
    words={
        "{xp}.add.reduce(": "{xp}.sum(",
        "{xp}.maximum.reduce(": "{xp}.max(",
        "{xp}.minimum.reduce(": "{xp}.min(",
    },
)
