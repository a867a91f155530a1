"""What a target is, how an operation is spelled for one, and how it writes a call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dln.compiler.ir.graph import Node
from dln.compiler.ir.op import OPS
from dln.compiler.ir.spelling import Call, Spelling
from dln.compiler.schema.tables import DTYPES
from dln.grammar.diagnostics import Fault

ARRAYS: Mapping[str, str] = {
    "copy": "{xp[copyto]}({out}, {args})",
    "cast": '{xp[copyto]}({out}, {args}, casting="unsafe")',
    "fill": "{out}.fill({args})",
    "add_at": "{xp[add.at]}({out}, {args})",
    "uniform": "uniform({out}, {args})",
    "normal": "normal({out}, {args})",
    "uniform_rows": "uniform_rows({out}, {args})",
    "normal_rows": "normal_rows({out}, {args})",
    "warp": "warp({0}, {1}, {out}, {2}, {3}, {4}, {5}, {6})",
    "lowest": "lowest({args}, {out})",
}
"""How array modules that follow NumPy write what is not just a call with `out=`: `{0}` is the first
argument, `{args}` are all of them, `{xp[add.at]}` is a function of the array module."""


@dataclass(frozen=True, slots=True)
class Target:
    """A way of running a program.

    An operation's spelling is looked up under `name`, else taken as it is for all arrays.
    `functions` says how a call is written where it is not `xp.NAME(ARGS, out=OUT)`, of a kernel
    `NAME(ARGS, out=OUT)`. `boxes`: single numbers are handed to array operations as 0-d arrays, not
    as Python numbers. `examples_last`: convolutions run with their examples innermost (`layout`).
    `chooses_forms`: products are computed in other forms where these are quicker (`forms`).
    """

    name: str
    boxes: bool
    functions: Mapping[str, str]
    dtypes: tuple[str, ...] = DTYPES
    examples_last: bool = False
    chooses_forms: bool = False

    def form(self, call: Call) -> str:
        """The template of a call."""
        name = call.function if call.kernel else f"{{xp[{call.function}]}}"
        return self.functions.get(call.function, f"{name}({{args}}, out={{out}})")


def spelling(target: Target, node: Node) -> Spelling:
    """How a node is spelled for a target. Raises `Fault` if it is not."""
    record = OPS.get(node.op)
    found = None if record is None else record.spell_for.get(target.name, record.spell)
    if found is None:
        raise Fault(f"the operation {node.op} cannot be run with {target.name}")
    return found(node) if callable(found) else found
