"""What a tensor of a graph is in a spec: an expression of one example, and which axis is which.

ONNX has an axis for the examples and moves axes about; a spec is written for one example, and
moves nothing. So a tensor is a tree of element-by-element operations over named values, with a
list that says which stored axes each axis of ONNX stands for: transposing, squeezing, and most
reshaping change the list alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from dln.grammar import syntax as s
from dln.importing.model import Array, Unsaid
from dln.importing.syntax_of import index, number

TIME = "time"
ZERO = number(0)
BATCH = -1  # in a list of axes: that of the examples
Size: TypeAlias = "int | str"  # of an axis: a number, or TIME
Shape: TypeAlias = "tuple[Size, ...]"
Axes: TypeAlias = "tuple[tuple[int, ...], ...]"


@dataclass(frozen=True)
class Leaf:
    """Something that is written down. `groups` says how many of its axes here are one axis of what
    is written: a vector of 64 that is looked at as [8, 8] has (2,)."""

    expr: s.Expr
    shape: Shape
    groups: tuple[int, ...] = ()
    key: str = ""

    @property
    def split(self) -> bool:
        return any(g != 1 for g in self.groups)


Map: TypeAlias = "tuple[int | s.Expr, ...]"


@dataclass(frozen=True)
class Element:
    """An operation on each element. Each part comes with the axis here that each of its own is,
    or the place that is taken of it."""

    build: Callable[..., s.Expr]
    parts: tuple[tuple[Tree, Map], ...]
    shape: Shape
    size: int


Tree: TypeAlias = "Leaf | Element"


@dataclass(frozen=True)
class Constant:
    """Numbers that are known. They are `learnt` where a file keeps them among its weights. What
    depends on how many examples or steps there are is worked out twice, for two such numbers:
    `other` is the second, None where it is the same."""

    array: Array
    learnt: bool = False
    name: str = ""
    other: Array | None = None

    def settled(self) -> Constant:
        """Itself. Raises `Unsaid` where it depends on how many examples or steps there are."""
        if self.other is not None:
            raise Unsaid(
                "it computes with the number of examples or steps, which the file leaves open"
            )
        return self


@dataclass(frozen=True)
class Value:
    """A tensor that depends on the example. `kind` is real, truth or class; of a class `classes`
    says how many there are, where that is known, `words` what they are called in the file.
    `domain` is prob for what lies in 0 to 1."""

    tree: Tree
    axes: Axes
    kind: str = "real"
    domain: str = ""
    classes: int = 0
    words: tuple[str, ...] = ()

    @property
    def shape(self) -> Shape:
        return self.tree.shape

    @property
    def rank(self) -> int:
        return len(self.axes)

    @property
    def order(self) -> list[int]:
        """The stored axes in the order of ONNX."""
        return [a for axis in self.axes for a in axis if a != BATCH]

    @property
    def ordered(self) -> bool:
        """Whether nothing is moved about."""
        return self.order == [*range(len(self.shape))]

    def viewed(self, axes: Sequence[tuple[int, ...]]) -> Value:
        return replace(self, axes=tuple(axes))


Arg: TypeAlias = "Constant | Value | None"


def leaf(expr: s.Expr, shape: Shape, key: str = "") -> Leaf:
    return Leaf(expr, shape, (1,) * len(shape), key)


def alone(tree: Tree) -> Axes:
    """The axes of a tree with the examples before its own."""
    return ((BATCH,), *((i,) for i in range(len(tree.shape))))


def weight(tree: Tree) -> int:
    """How many operations a tree has."""
    return tree.size if isinstance(tree, Element) else 0


def plain(tree: Tree) -> bool:
    """Whether a tree can be written without indices: parts are single numbers, of its shape, or,
    along time, what each step goes with."""
    if isinstance(tree, Leaf):
        return not tree.split
    return all(fits(tree.shape, part.shape, at) and plain(part) for part, at in tree.parts)


def fits(shape: Shape, part: Shape, at: Map) -> bool:
    """Whether a part goes with a whole of some shape without a word."""
    if not part:
        return True
    start = len(shape) - len(part)
    if at == tuple(range(start, len(shape))) and part == shape[start:]:
        return start == 0 or shape[:start] == (TIME,)
    return part == shape[:1] == (TIME,) and at == (0,)


def written(tree: Tree, names: Sequence[s.Expr] | None) -> s.Expr:
    """The expression of a tree, at the indices of its axes or as a whole."""
    if isinstance(tree, Leaf):
        return tree.expr if names is None else index(tree.expr, names)
    parts = []
    for part, at in tree.parts:
        inner = None
        if names is not None:  # an index of the last axes may be left out
            kept = (a for a in at if not isinstance(a, int) or a < len(names))
            inner = [names[a] if isinstance(a, int) else a for a in kept]
        parts.append(written(part, inner))
    return tree.build(*parts)


def leaves(tree: Tree) -> list[Leaf]:
    if isinstance(tree, Leaf):
        return [tree]
    return [found for part, _ in tree.parts for found in leaves(part)]


def replaced(tree: Tree, change: Callable[[Leaf], Leaf]) -> Tree:
    """A tree with its leaves changed."""
    if isinstance(tree, Leaf):
        return change(tree)
    return replace(tree, parts=tuple((replaced(p, change), at) for p, at in tree.parts))
