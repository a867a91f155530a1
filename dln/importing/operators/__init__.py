"""What each operator of ONNX is in a spec: one record each, in a file for each family.

`OPERATORS` is the closed table; what is not in it is refused by name. The record says which
attributes the operator may have, of which type and with which default; `run` makes values of
values, and `fold` numbers of numbers where all that goes in is known.
"""

from __future__ import annotations

from collections.abc import Mapping

from dln.importing.operators import (
    borders,
    choices,
    constants,
    convolutions,
    learning,
    normalised,
    parts,
    pointwise,
    pooling,
    products,
    recurrent,
    reductions,
    shapes,
)  # fmt: skip
from dln.importing.operators.records import Operator

FAMILIES = (
    pointwise, choices, shapes, parts, borders, constants, reductions, products, convolutions,
    pooling, normalised, recurrent, learning,
)  # fmt: skip
OPERATORS: Mapping[tuple[str, str], Operator] = {
    (o.domain, o.op): o for family in FAMILIES for o in family.TABLE
}
