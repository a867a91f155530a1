"""Sizes in attributes and types, replaced by what they are found to be."""

from __future__ import annotations

from dataclasses import replace
from operator import is_
from typing import Any, Protocol

from dln.compiler.ir.sizes import Size
from dln.compiler.ir.tensor_type import Domain, TensorType

PLAIN = frozenset({str, int, float, bool, type(None)})
"""What holds no size: most attributes are of these."""


class Resolver(Protocol):
    """Who knows what a size is."""

    def resolve(self, size: Size, /) -> Size: ...


def known(value: Any, sizes: Resolver) -> Any:
    """An attribute with its sizes resolved; itself where nothing in it is open."""
    if type(value) in PLAIN:
        return value
    if isinstance(value, Size):
        return sizes.resolve(value)
    if isinstance(value, TensorType):
        shape, domain = known(value.shape, sizes), known(value.domain, sizes)
        same = shape is value.shape and domain is value.domain
        return value if same else value.like(shape=shape, domain=domain)
    if isinstance(value, Domain):
        size = None if value.size is None else sizes.resolve(value.size)
        return value if size is value.size else replace(value, size=size)
    if has_sizes(value) or (isinstance(value, tuple) and value and has_sizes(value[0])):
        parts = tuple(known(v, sizes) for v in value)
        return value if all(map(is_, parts, value)) else parts
    return value


def has_sizes(value: Any) -> bool:
    """Whether a tuple, such as a term of an index, holds a size."""
    return isinstance(value, tuple) and any(isinstance(v, Size) for v in value)
