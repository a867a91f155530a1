"""The body of the block that is being written: its parameters, its lines, its names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np

from dln.grammar import syntax as s
from dln.grammar.printer import expr_text
from dln.importing.model import Array, Unsaid
from dln.importing.naming import Names, candidates
from dln.importing.syntax_of import call, flow, index, items, name, number
from dln.importing.values import (
    BATCH,
    TIME,
    Constant,
    Element,
    Leaf,
    Shape,
    Size,
    Tree,
    Value,
    leaf,
    plain,
    replaced,
    weight,
    written,
)  # fmt: skip

RESHAPING = (name("reshape"), name("flatten"))
DEEPEST = 6  # operations in one expression, before it gets a name
STANDING = {"batch": (1009, 1013), "time": (1019, 1021)}
"""Numbers that stand for open axes while shapes are reckoned with, each with a second one: what
differs between the two depends on the axis."""
LEAST = -1e30  # stands for minus infinity: its exponential is 0


@dataclass
class Layer:
    """A block of the library applied: `source -> block(sizes, options)`, or by its own name to each
    row of a tensor."""

    name: str
    block: str
    sizes: tuple[s.Expr, ...]
    options: dict[str, s.Expr]
    weights: dict[str, Array]
    source: s.Expr
    bias: str = ""
    width: int = 0
    axis: int = -1  # of ONNX, along which the bias has its numbers
    acts: bool = False
    fixed: tuple[str, ...] = ()  # of its weights, what is not learnt
    apart: tuple[s.Expr, ...] | None = None

    @property
    def made(self) -> s.Expr:
        return call(self.block, *self.sizes, **self.options)

    @property
    def value(self) -> s.Expr:
        if self.apart is None:
            return flow(self.source, self.made)
        return call(self.name, index(self.source, self.apart))


@dataclass
class BodyLine:
    """`target[index] = value`."""

    target: str
    index: tuple[str, ...]
    shape: Shape
    value: s.Expr | Layer
    adds: bool = False  # `+=`


@dataclass
class BodyParam:
    name: str
    array: Array
    fixed: bool


@dataclass
class BlockBody:
    """What has been written so far. `sizes` has the number of examples and of steps where the file
    fixes them; `uses` counts who reads each tensor of the file."""

    uses: Counter[str]
    sizes: Mapping[str, int | None]
    names: Names = field(default_factory=Names)
    params: list[BodyParam] = field(default_factory=list)
    lines: list[BodyLine] = field(default_factory=list)
    helpers: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    known: dict[int, Leaf] = field(default_factory=dict)
    splits: dict[tuple[str, Shape], Leaf] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)
    classes: dict[str, int] = field(default_factory=dict)
    kept: list[Array] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)

    # ---- sizes -----------------------------------------------------------------------------

    def number(self, size: Size) -> int | None:
        """An axis as a number, where it is known."""
        return self.sizes[size] if isinstance(size, str) else size

    def same(self, one: Sequence[Size], other: Sequence[Size]) -> bool:
        """Whether axes are equally long; time goes with as many rows as there are steps."""
        return len(one) == len(other) and all(
            a == b or ("batch" not in (a, b) and self.number(a) == self.number(b) is not None)
            for a, b in zip(one, other, strict=True)
        )

    def count(self, size: Size, second: bool = False) -> int:
        """An axis as a number to reckon with; of one that is open a prime that stands for it."""
        known = self.number(size)
        return known if known is not None else STANDING[str(size)][second]

    # ---- lines -----------------------------------------------------------------------------

    def fresh(self, hints: Iterable[str] = (), plain_name: str = "h") -> str:
        return self.names.new([*hints, *self.hints], plain_name)

    def define(
        self, value: s.Expr | Layer, shape: Shape, at: Sequence[str] = (), target: str = ""
    ) -> Leaf:
        """A line that gives a value a name."""
        target = target or self.fresh()
        self.lines.append(BodyLine(target, tuple(at), shape, value))
        return leaf(name(target), shape, target)

    def equation(self, shape: Shape, make: Callable[[list[s.Expr]], s.Expr], drop: int = 0) -> Leaf:
        """A line with an index for each axis but the last `drop`."""
        at = self.names.indices([a == TIME for a in shape[: len(shape) - drop]])
        return self.define(make([name(i) for i in at]), shape, at)

    def indices(self, shape: Shape, beside: Sequence[s.Expr]) -> list[s.Expr]:
        """Indices to be summed over, beside others that are in use."""
        used = {e.id for e in beside if isinstance(e, s.Name)}
        inner = Names(self.names.taken | used)
        return [name(i) for i in inner.indices([a == TIME for a in shape])]

    def line_of(self, value: Value) -> BodyLine | None:
        """The line that has made a value, where nothing else has seen it."""
        tree = value.tree
        if isinstance(tree, Leaf) and not tree.split and self.lines and value.ordered:
            return next((x for x in reversed(self.lines) if x.target == tree.key), None)
        return None

    def layer_of(self, value: Value, tensor: str) -> Layer | None:
        """The layer that has made a tensor that only one node reads."""
        line = self.line_of(value) if self.uses[tensor] == 1 else None
        return line.value if line is not None and isinstance(line.value, Layer) else None

    # ---- parameters ------------------------------------------------------------------------

    def param(self, const: Constant, hints: Iterable[str] = ()) -> Leaf:
        """A parameter, or a fixed table, of an array; the same array is one."""
        array = const.settled().array
        if id(array) not in self.known:
            if array.dtype == object:
                raise Unsaid("it takes words, which are no numbers")
            name_ = self.fresh([*hints, *candidates(const.name)], "w" if const.learnt else "c")
            fixed = not const.learnt or bool(np.isinf(array).any())  # a mask is not learnt
            self.params.append(BodyParam(name_, numbers(array), fixed))
            self.known[id(array)] = leaf(name(name_), array.shape, name_)
            self.kept.append(array)
        return self.known[id(array)]

    def squeezed(self, const: Constant, shape: tuple[int, ...]) -> Leaf:
        """A parameter of an array without its axes of one."""
        if id(const.settled().array) not in self.known:
            anew = Constant(const.array.reshape(shape), const.learnt, const.name)
            self.known[id(const.array)] = self.param(anew)
            self.kept.append(const.array)
        return self.known[id(const.array)]

    def rename(self, key: str, hints: Sequence[str]) -> None:
        """Another name for what a line gives, where one that was asked for is free."""
        if found := next((h for h in hints if self.names.free(h)), None):
            self.renamed[key] = self.names.take(found)

    def called(self, layer: Layer, hints: Iterable[str]) -> None:
        """A name for a layer whose weights had none."""
        if re.fullmatch(r"h\d+", layer.name):
            self.rename(layer.name, [*hints])

    def classify(self, found: Leaf, many: int) -> None:
        """Something is used as a class of so many: an input of the graph is one then. Raises
        `Unsaid` where it is one of another number."""
        if self.classes.setdefault(found.key, many) != many:
            raise Unsaid(f"it takes a class of {self.classes[found.key]} for one of {many}")

    # ---- trees to names --------------------------------------------------------------------

    def settled(self, tree: Tree) -> Tree:
        """A tree of which no leaf is looked at in another shape than it has."""
        return replaced(tree, lambda found: self.unsplit(found) if found.split else found)

    def unsplit(self, found: Leaf) -> Leaf:
        key = (str(found.key), found.shape)
        if not found.key or key not in self.splits:
            self.splits[key] = self.reshaped(found.expr, self.real(found), found.shape)
        return self.splits[key]

    def real(self, found: Leaf) -> Shape:
        """The axes of what is written. Raises `Unsaid` where one of them would hold the steps and
        more, and nobody knows how many there are."""
        sizes: list[Size] = []
        start = 0
        for count in found.groups:
            group = found.shape[start : start + count]
            start += count
            known = [self.number(a) for a in group]
            if count > 1 and None in known:
                raise Unsaid("it joins the axis that runs over time with another one")
            sizes.append(group[0] if count == 1 else prod(n for n in known if n is not None))
        return tuple(sizes)

    def reshaped(self, body: s.Expr, old: Shape, new: Shape) -> Leaf:
        """The same numbers in another shape, in the same order."""
        if TIME in (old[:1] or new[:1]) and old[:1] != new[:1]:
            body, old = self.unrolled(body, old)
        last = self.lines[-1] if self.lines else None
        if last is not None and isinstance(body, s.Name) and last.target == body.id:
            inner = last.value  # reshaped twice is reshaped once
            if isinstance(inner, s.Call) and inner.function in RESHAPING and inner.plain:
                body = inner.plain[0]
        sizes = new[1:] if new[:1] == (TIME,) else new
        if TIME in sizes:
            raise Unsaid("it reshapes an axis that runs over time")
        if len(sizes) == 1:
            return self.define(call("flatten", body), new)
        return self.define(call("reshape", body, listed(sizes)), new)

    def unrolled(self, body: s.Expr, shape: Shape) -> tuple[s.Expr, Shape]:
        """A sequence as a tensor with a row for each step."""
        steps = self.sizes["time"]
        if steps is None:
            raise Unsaid("it needs to know how many steps there are, which the file leaves open",
                         "export it with that axis fixed")  # fmt: skip
        made = self.equation(shape, lambda at: index(body, at))
        line = self.lines[-1]
        line.shape = (steps, *shape[1:])
        return made.expr, line.shape

    def named(self, value: Value, target: str = "") -> Value:
        """The value under a name of its own, its axes in the order of ONNX, time first."""
        tree = self.settled(value.tree)
        order = value.order
        if first := [a for a in order if tree.shape[a] == TIME][:1]:
            order = first + [a for a in order if a != first[0]]
        moved = order != [*range(len(order))]
        if isinstance(tree, Leaf) and not moved and not target and tree.key:
            return replace(value, tree=tree, axes=value.axes)
        shape = tuple(tree.shape[a] for a in order)
        back = [order.index(a) for a in range(len(order))]
        if not moved and plain(tree):
            made = self.define(written(tree, None), shape, target=target)
        else:
            at = self.names.indices([a == TIME for a in shape])
            names = [name(i) for i in at]
            made = self.define(written(tree, [names[b] for b in back]), shape, at, target)
        axes = tuple(tuple(a if a == BATCH else back[a] for a in axis) for axis in value.axes)
        return replace(value, tree=made, axes=axes)

    def canonical(self, value: Value) -> Value:
        """The value as something written whose axes are those of ONNX, one each; axes of one that
        nothing stands for, and that of the examples, are none."""
        found = value.tree
        groups = tuple(len(run) for axis in value.axes for run in runs(axis))
        real = isinstance(found, Leaf) and value.ordered
        if not (real and isinstance(found, Leaf) and found.groups == groups):
            value = self.named(value)
            found = value.tree
            assert isinstance(found, Leaf)
            if not value.ordered:  # time stands behind another axis
                value = self.turned(value)
                found = value.tree
                assert isinstance(found, Leaf)
        if any(g != 1 for g in groups) and found.groups != groups:
            shape = self.real(Leaf(found.expr, found.shape, groups))
            found = self.reshaped(found.expr, found.shape, shape)
        else:
            found = leaf(found.expr, self.real(found), found.key)
        places = iter(range(len(found.shape)))
        axes = tuple(merged(axis, places) for axis in value.axes)
        return replace(value, tree=found, axes=axes)

    def filled(self, value: Value) -> Value:
        """A written value whose axes of one are there, as users of the file know it."""
        held = value.tree
        assert isinstance(held, Leaf)
        if all(value.axes):
            return value
        spots = [axis for axis in value.axes if axis != (BATCH,)]
        if any(BATCH in axis for axis in spots):
            return value
        shape = tuple(value.shape[axis[0]] if axis else 1 for axis in spots)
        if shape[:1] != value.shape[:1] and TIME in shape:
            return value
        places = iter(range(len(shape)))
        axes = tuple(axis if axis == (BATCH,) else (next(places),) for axis in value.axes)
        return replace(value, tree=self.reshaped(held.expr, held.shape, shape), axes=axes)

    def turned(self, value: Value) -> Value:
        """A tensor of which the steps are no sequence any more but one axis among others."""
        assert isinstance(value.tree, Leaf)
        steps = self.sizes["time"]
        if steps is None:
            raise Unsaid("it moves the axis that runs over time behind another one")
        order, expr = value.order, value.tree.expr
        shape = tuple(value.tree.shape[a] for a in order)
        at = self.names.indices([False] * len(shape))
        names = [name(i) for i in at]
        body = index(expr, [names[order.index(a)] for a in range(len(order))])
        fixed = tuple(steps if a == TIME else a for a in shape)
        made = self.define(body, fixed, at)
        axes = tuple(tuple(a if a == BATCH else order.index(a) for a in x) for x in value.axes)
        return replace(value, tree=made, axes=axes)

    def kept_short(self, value: Value, uses: int) -> Value:
        """A value that is read several times, or has become long, under a name."""
        tree = value.tree
        many = uses != 1 and (isinstance(tree, Element) or not (tree.key or short(tree.expr)))
        if many or weight(value.tree) > DEEPEST:
            return self.named(value)
        return value


def runs(axis: Sequence[int]) -> list[list[int]]:
    """The stored axes of an axis, apart where that of the examples stands between."""
    found: list[list[int]] = [[]]
    for a in axis:
        if a == BATCH:
            found.append([])
        else:
            found[-1].append(a)
    return [run for run in found if run]


def merged(axis: Sequence[int], places: Iterator[int]) -> tuple[int, ...]:
    """An axis whose stored axes have been made one, in order."""
    made: list[int] = []
    for k, a in enumerate(axis):
        if a == BATCH:
            made.append(BATCH)
        elif not k or axis[k - 1] == BATCH:
            made.append(next(places))
    return tuple(made)


def short(expr: s.Expr) -> bool:
    """Whether something may stand several times as it is: `last(h)`, `x[0]`."""
    one = isinstance(expr, s.Index) and not any(isinstance(i, s.Slice) for i in expr.indices)
    return isinstance(expr, s.Call) or (one and len(expr_text(expr)) < 12)


def numbers(array: Array) -> Array:
    """An array as weights: floating point, and finite."""
    found = array if array.dtype.kind == "f" else array.astype(np.float32)
    if np.isnan(found).any():
        raise Unsaid("among its numbers are some that are none (NaN)")
    big = np.isinf(found)
    return (
        np.where(big, np.copysign(-LEAST, found), found).astype(found.dtype) if big.any() else found
    )


def listed(sizes: Sequence[Size]) -> s.Expr:
    """`[3, 4]`."""
    return items([number(int(a)) for a in sizes])
