"""Operations that no spec writes and only the compiler makes: copies, and the arrays that a loop
fills row by row."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from dln.compiler.ir.op import Array, Op, Site, Types, register
from dln.compiler.ir.spelling import Operand, call, steps
from dln.compiler.ir.tensor_type import TensorType
from dln.grammar.diagnostics import Fault

register(
    Op(
        "copy",
        infer=lambda attrs, types: types[0],
        evaluate=lambda site, x: x,
        gradient=lambda m, node, bar: (bar,),
        spell=MappingProxyType({"array": steps(call("copy", Operand(0, boxed=False)))}),
        flops=lambda node: 0,
        facts=frozenset({"pointwise"}),
        formula="{0}",
    ),
)


def left_type(attrs: Mapping[str, Any], types: Types) -> TensorType:
    """The type stands among the attributes."""
    type: TensorType = attrs["type"]
    return type


def not_alone(site: Site, *operands: Array) -> Array:
    raise Fault("what a loop leaves is read through its items")


register(
    # What a loop fills: the values of the `carried` slot with the number `of`, with the first one
    # before them (or behind, in a reverse loop), or those of the body's node `of`.
    Op("left", left_type, not_alone, facts=frozenset({"loop"}), formula="{of}"),
)
