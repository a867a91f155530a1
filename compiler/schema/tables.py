"""What several parts of the house go by, each said once: defaults, comparisons, kinds of files."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

BATCH, ORDER, DTYPE = 100, "shuffled", "float32"
"""What a phase does where it says nothing: examples at a time, their order, the precision."""

ORDERS = (ORDER, "file", "replacement", "balanced")
DTYPES = (DTYPE, "float64")

COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
"""What the signs of comparisons mean. The operations of the graph have the names of these."""

PICTURES = (".png", ".svg", ".pdf")
"""The kinds of files that pictures are drawn into."""
