"""Masks of parameters: which entries exist, as `param K[k, c, 5, 5] ~ ... where joins` says.

A table is a static list of 0 and 1 over the leading axes of the parameter. A dead entry is no
parameter: it starts at 0, no gradient reaches it and nothing moves it. Forwards nothing is
multiplied, since 0 times an input is 0 already; the runtime keeps dead entries at 0 when values
come from outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from dln.compiler.ir.graph import Node
from dln.compiler.ir.op import Make
from dln.compiler.ir.tensor_type import TensorType

JoinTable = tuple[Any, ...]
"""Nested tuples of 0.0 and 1.0: the value of a constant of the graph."""


def shape(table: Any) -> tuple[int, ...]:
    """The sizes of a table whose rows are equally long.

    >>> shape(((1.0, 0.0, 1.0), (1.0, 1.0, 1.0)))
    (2, 3)
    """
    return (len(table), *shape(table[0])) if isinstance(table, tuple) and table else ()


def flat(table: Any) -> list[float]:
    """All entries of a table, row by row."""
    return [x for t in table for x in flat(t)] if isinstance(table, tuple) else [table]


def spread(m: Make, table: JoinTable, like: TensorType) -> Node:
    """The table over the whole shape of its parameter."""
    return m.broadcast(m.const(table), TensorType(like.shape), tuple(range(len(shape(table)))))


def live_only(m: Make, node: Node, param: Node) -> Node:
    """A gradient or new value of a parameter, 0 at its dead entries."""
    if "joins" not in param.attrs:
        return node
    return m.mul(node, spread(m, param["joins"], param.type))


def cut(m: Make, node: Node, table: JoinTable) -> Node:
    """A value with 0 (and not -0) at the dead entries of a table."""
    live = m("gt", spread(m, table, node.type), m.const(0.0))
    return m("where", live, node, m.const(0.0))


def live_count(table: JoinTable | None, sizes: Sequence[int]) -> int:
    """How many entries of a parameter of these sizes exist.

    >>> live_count(((1.0, 0.0), (1.0, 1.0)), (2, 2, 5, 5))
    75
    """
    if table is None:
        return prod(sizes)
    return int(sum(flat(table))) * prod(sizes[len(shape(table)) :])
