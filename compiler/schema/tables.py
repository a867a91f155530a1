"""What several parts of the house go by, each said once: defaults, comparisons, kinds of files."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

BATCH, ORDER, DTYPE = 100, "shuffled", "float32"
"""What a phase does where it says nothing: examples at a time, their order, the precision."""

BY_CLASS = ("balanced", "even")  # orders that go by a field of classes
ORDERS = (ORDER, "file", "replacement", *BY_CLASS)
DTYPES = (DTYPE, "float64")

UNITS: Mapping[str, str] = {
    "epoch": "epoch",
    "update": "update",
    "step": "update",
    "second": "second",
}
"""What lengths and intervals are counted in, by the words that say so."""

COMPARISONS: Mapping[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "==": ("eq", operator.eq),
    "!=": ("ne", operator.ne),
    "<": ("lt", operator.lt),
    "<=": ("le", operator.le),
    ">": ("gt", operator.gt),
    ">=": ("ge", operator.ge),
}
"""The signs of comparisons: the operation of the graph, and what holds of two plain values."""

PICTURES = (".png", ".svg", ".pdf")
"""The kinds of files that pictures are drawn into."""

BOUNDS = {"prob": (0.0, 1.0), "positive": (0.0, float("inf")), "binary": (0.0, 1.0)}
"""Between which numbers the values of a domain lie; what is binary lies at one of them."""

WANTED = {
    "prob": "a probability, 0 to 1",
    "positive": "a number of at least 0",
    "binary": "0 or 1",
    "class": "a class, 0 to {last}",
    "length": "a length, 1 to {most} steps",
}
"""What the values of a domain are, in words."""
