"""Where the numbers of a field come from in a table: for messages about the data.

Columns are counted from 0, as in the spec.
"""

from __future__ import annotations

from collections.abc import Collection
from math import prod
from typing import TYPE_CHECKING, Any

from dln.compiler.ir.evaluate import no_draws, number_of
from dln.compiler.ir.graph import Node, ancestors
from dln.compiler.ir.op import Site, op_of
from dln.compiler.ir.sizes import BATCH
from dln.compiler.ir.structure import is_slice
from dln.compiler.model import DataSet

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST = 4096  # numbers of an example that are traced
SEVERAL, NONE = -1, -2  # not one column; what is the same for all examples


def cells(value: Node, data: DataSet) -> tuple[int, ...]:
    """The column of a table that each number of a field of one example comes from, -1 where that
    is not one; nothing where the set is no table."""
    raw = data.raw.get("")
    if data.reader != "table" or raw is None or "batch" not in value.type.running:
        return ()
    shape = _shape(value)
    if max(raw.type.shape[1].constant, prod(shape)) > MOST:
        return ()
    return tuple(max(int(i), SEVERAL) for i in traced(value, raw).reshape(-1))


def traced(value: Node, raw: Node) -> NDArray[Any]:
    """The columns, as an array of the shape that the value has for a single example."""
    import numpy as np  # late: NumPy

    at: dict[Node, NDArray[Any]] = {}
    for node in ancestors([value]):
        shape, parts = _shape(node), [at[o] for o in node.operands]
        if node is raw:
            at[node] = np.arange(shape[1]).reshape(shape)
        elif not node.operands:
            at[node] = np.full(shape, SEVERAL if "batch" in node.type.running else NONE)
        elif op_of(node).is_("view") or op_of(node).is_("copies"):
            site = Site(np, node.attrs, shape, int, lambda s: number_of(s, {BATCH: 1}), no_draws)
            at[node] = np.asarray(op_of(node).evaluate(site, *parts))
        elif op_of(node).is_("pointwise"):
            made = np.full(shape, NONE)
            for part in parts:  # of what is worked out number by number: that of the one with any
                both = np.where((part == NONE) | (part == made), made, SEVERAL)
                made = np.where(made == NONE, part, both)
            at[node] = made
        else:
            at[node] = np.full(shape, SEVERAL)
    return at[value]


def columns(values: Collection[Node], raw: Node) -> frozenset[int]:
    """The columns of a table that some values are worked out from."""
    users = [n for n in ancestors(values) if raw in n.operands]
    cuts = [n for n in users if is_slice(n) and n["axis"] == 1]
    if raw in values or len(cuts) < len(users):
        return frozenset(range(raw.type.shape[1].constant))
    return frozenset(i for n in cuts for i in range(n["start"], n["stop"]))


def _shape(node: Node) -> tuple[int, ...]:
    return tuple(number_of(s, {BATCH: 1}) for s in node.type.shape)
