"""The record of an operator, what it is handed, and how axes of several tensors go together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from dln.grammar import syntax as s
from dln.importing.body import BlockBody
from dln.importing.model import Array, FileNode, Unsaid
from dln.importing.syntax_of import number
from dln.importing.values import (
    BATCH,
    TIME,
    ZERO,
    Arg,
    Axes,
    Constant,
    Element,
    Leaf,
    Map,
    Shape,
    Tree,
    Value,
)

MOST = 1 << 24  # numbers of a constant that is worked out here


@dataclass
class OnnxCall:
    """An operator applied: the node, its attributes with their defaults, what goes in, the version
    of ONNX, and the body that is being written."""

    node: FileNode
    given: Mapping[str, Any]
    args: Sequence[Arg]
    opset: int
    body: BlockBody

    def __getitem__(self, name: str) -> Any:
        return self.given[name]

    def arg(self, k: int) -> Arg:
        """An input, None where it is left out."""
        return self.args[k] if k < len(self.args) else None

    def value(self, k: int) -> Value:
        """An input that depends on the example. Raises `Unsaid` where it does not."""
        found = self.arg(k)
        if isinstance(found, Value):
            return found
        raise Unsaid(f"its input {k + 1} is {'left out' if found is None else 'a constant'}")

    def const(self, k: int, what: str = "") -> Array | None:
        """An input that is known now; None where it is left out. Raises `Unsaid` where it depends
        on the example."""
        found = self.arg(k)
        if isinstance(found, Value):
            raise Unsaid(f"its {what or f'input {k + 1}'} depends on what the network is given")
        return found.array if found is not None else None

    def ints(self, k: int, attribute: str, what: str) -> list[int] | None:
        """Whole numbers that are an attribute in old operator sets and an input in new ones."""
        held = self.given.get(attribute)
        if held is not None:
            return list(held)
        found = self.const(k, what)
        return None if found is None else whole(found, what)

    def weights(self, k: int, what: str, rank: int | None = None) -> Constant:
        """An input that is a known array of floating-point numbers."""
        found = self.arg(k)
        if not isinstance(found, Constant):
            raise Unsaid(f"its {what} {'depend on the example' if found else 'are left out'}")
        found.settled()
        if found.array.dtype.kind != "f" or (rank is not None and found.array.ndim != rank):
            raise Unsaid(f"its {what} are no {f'array of {rank} axes' if rank else 'numbers'}")
        return found


def whole(array: Array, what: str) -> list[int]:
    """Whole numbers of an array. Raises `Unsaid` for what is none, or not known."""
    if array.size > 64 or array.dtype.kind not in "iu":
        raise Unsaid(f"its {what} is no short list of whole numbers")
    return [int(v) for v in array.reshape(-1).tolist()]


Together: TypeAlias = "tuple[Shape, Axes, list[tuple[Tree, Map] | s.Expr]]"
Result: TypeAlias = "Arg | list[Arg]"
Run: TypeAlias = "Callable[[OnnxCall], Result]"
Fold: TypeAlias = "Callable[[OnnxCall, list[Array]], Any]"


@dataclass(frozen=True)
class Operator:
    """`attributes` has the default of each, or its type where there is none; what is not in it is
    refused. `inputs` is how many there are at least and at most."""

    op: str
    run: Run
    inputs: tuple[int, int] = (1, 1)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    fold: Fold | None = None
    domain: str = ""


def given(operator: Operator, node: FileNode) -> dict[str, Any]:
    """The attributes of a node with their defaults. Raises `Unsaid` for one that is not known here,
    or of another type."""
    found = {k: None if isinstance(v, type) else v for k, v in operator.attributes.items()}
    for name, value in node.attributes.items():
        if name not in operator.attributes:
            raise Unsaid(f"its attribute {name} is not known here")
        asked = operator.attributes[name]
        asked = asked if isinstance(asked, type) else type(asked)
        if isinstance(value, int) and asked is float:
            value = float(value)
        if not isinstance(value, asked):
            raise Unsaid(f"its attribute {name} is of another type than {asked.__name__}")
        if isinstance(value, float) and not np.isfinite(value):
            raise Unsaid(f"its attribute {name} is {value}")
        found[name] = value
    return found


# ---- axes together -----------------------------------------------------------------------------


def axis_of(call: OnnxCall, axis: int, rank: int) -> int:
    """An axis counted from the front. Raises `Unsaid` where there is none."""
    if not -rank <= axis < rank:
        raise Unsaid(f"it names axis {axis} of a tensor with {rank}")
    return axis % rank


def only_atom(
    call: OnnxCall, value: Value, axis: int, what: str = "works along"
) -> tuple[Value, int]:
    """The stored axis that an axis is; the value is written anew where it is made of several."""
    refs = value.axes[axis]
    if BATCH in refs:
        raise Unsaid(f"it {what} the axis of the examples")
    if len(refs) > 1:
        value = call.body.canonical(value)
        refs = value.axes[axis]
    return value, refs[0] if refs else -1


def constant_leaf(call: OnnxCall, const: Constant) -> tuple[Tree | None, Axes, s.Expr | None]:
    """A constant beside values: a number where it is one, else a parameter whose axes of one stand
    for nothing."""
    array = repeated(const)
    if array.dtype == object:
        raise Unsaid("it takes words, which are no numbers")
    if array.size == 1:
        return None, ((),) * array.ndim, literal(array)
    if array.size == 0:
        raise Unsaid("it takes an array without numbers")
    if (array == array.flat[0]).all() and not const.learnt:
        return None, ((),) * array.ndim, literal(array.reshape(-1)[:1])
    const = const if array is const.array else Constant(array, const.learnt, const.name)
    kept = [a for a, size in enumerate(array.shape) if size != 1]
    if len(kept) == array.ndim:
        found = call.body.param(const)
    else:
        found = call.body.squeezed(const, tuple(array.shape[a] for a in kept))
    places = iter(range(len(kept)))
    return found, tuple((next(places),) if size != 1 else () for size in array.shape), None


def repeated(const: Constant) -> Array:
    """The numbers of a constant, once along the axes in which it is repeated. Raises `Unsaid` where
    they depend on how many examples or steps there are."""
    once = [once_each(a) for a in (const.array, const.other) if a is not None]
    if len(once) == 2 and once[0].shape != once[1].shape:
        once = [alike(a) for a in once]
    if len(once) == 2 and not np.array_equal(once[0], once[1]):
        raise Unsaid("it computes with the number of examples or steps, which the file leaves open")
    return once[0]


def alike(array: Array) -> Array:
    """An array, once along the axes along which it is the same throughout."""
    for axis in range(array.ndim):
        first = array.take([0], axis) if array.size else array
        if (first == array).all():
            array = first
    return array


def once_each(array: Array) -> Array:
    if 0 not in array.strides or array.size < 2:
        return array
    cut = (slice(0, 1) if step == 0 else slice(None) for step in array.strides)
    return array[tuple(cut)]


def literal(array: Array) -> s.Expr:
    """The only number of an array, with the digits that its precision has."""
    value = array.reshape(-1)[0]
    if array.dtype.kind == "b":
        return number(int(value))
    if array.dtype.kind in "iu":
        return number(int(value))
    value = np.clip(value, -1e30, 1e30)
    if np.isnan(value):
        raise Unsaid("it takes a number that is none (NaN)")
    return number(float(str(array.dtype.type(value))))


def together(
    call: OnnxCall, args: Sequence[Value | Constant], anew: bool = False
) -> tuple[Shape, Axes, list[tuple[Tree, Map] | s.Expr]]:
    """How tensors meet element by element, as ONNX has it: their axes from the last one on, an axis
    of one as long as the others. Gives the stored axes of the result, its axes, and each tensor
    with where its own axes are, or its number."""
    held = [
        constant_leaf(call, a) if isinstance(a, Constant) else (a.tree, a.axes, None) for a in args
    ]
    rank = max(len(axes) for _, axes, _ in held)
    spread = [((),) * (rank - len(axes)) + tuple(axes) for _, axes, _ in held]
    shapes = [tree.shape if tree is not None else () for tree, _, _ in held]
    result: list[tuple[int, ...]] = []
    whole_shape: list[int | str] = []
    maps: list[dict[int, int | s.Expr]] = [{} for _ in held]
    for p in range(rank):
        lanes = [axes[p] for axes in spread]
        sizes = [
            tuple("batch" if a == BATCH else shape[a] for a in lane)
            for lane, shape in zip(lanes, shapes, strict=True)
        ]
        long = [k for k, size in enumerate(sizes) if size not in ((), (1,))]
        chosen = long[0] if long else next((k for k, size in enumerate(sizes) if size), -1)
        if chosen < 0:
            result.append(())
            continue
        for k in long:
            if TIME in sizes[k] and TIME not in sizes[chosen]:
                chosen = k
        if any(not call.body.same(sizes[k], sizes[chosen]) for k in long):
            if anew:
                raise Unsaid(APART)
            return meet_again(call, args)
        places = []
        for a, size in zip(lanes[chosen], sizes[chosen], strict=True):
            places.append(BATCH if a == BATCH else len(whole_shape))
            if a != BATCH:
                whole_shape.append(size)
        for k, lane in enumerate(lanes):
            same = len(lane) == len(places) and sizes[k] != (1,) or k == chosen or not long
            for j, a in enumerate(lane):
                if a != BATCH:
                    maps[k][a] = places[j] if same else ZERO
        result.append(tuple(places))
    return timely(tuple(whole_shape), tuple(result), held, maps)


def timely(shape: Shape, axes: Axes, held: Any, maps: Any) -> Together:
    """The same with the axis that runs over time first."""
    parts: list[tuple[Tree, Map] | s.Expr] = []
    order = [*range(len(shape))]
    if TIME in shape:
        order.remove(shape.index(TIME))
        order.insert(0, shape.index(TIME))
    back = {a: k for k, a in enumerate(order)}
    for (tree, _, value), at in zip(held, maps, strict=True):
        if tree is None:
            parts.append(value)
        else:
            found = (at[a] for a in range(len(tree.shape)))
            parts.append((tree, tuple(back[a] if isinstance(a, int) else a for a in found)))
    turned = tuple(tuple(a if a == BATCH else back[a] for a in axis) for axis in axes)
    return tuple(shape[a] for a in order), turned, parts


APART = "the shapes of its inputs do not go together"


def meet_again(call: OnnxCall, args: Sequence[Value | Constant]) -> Together:
    """Tensors that are looked at in different shapes, written with one axis for each of ONNX."""
    split = [a for a in args if isinstance(a, Value) and any(len(x) > 1 for x in a.axes)]
    if not split:
        raise Unsaid(APART)
    anew = [call.body.canonical(a) if isinstance(a, Value) else a for a in args]
    return together(call, anew, True)


def made(
    call: OnnxCall, args: Sequence[Value | Constant], build: Callable[..., s.Expr],
    kind: str = "real", domain: str = "",
) -> Value:  # fmt: skip
    """An operation on each element of several tensors."""
    shape, axes, parts = together(call, [settled(call, a) for a in args])
    trees = [p for p in parts if isinstance(p, tuple)]

    def put(*found: s.Expr) -> s.Expr:
        inner = iter(found)
        return build(*(next(inner) if isinstance(p, tuple) else p for p in parts))

    size = 1 + sum(t.size for t, _ in trees if isinstance(t, Element))
    return Value(Element(put, tuple(trees), shape, size), axes, kind, domain)


def settled(call: OnnxCall, arg: Value | Constant) -> Value | Constant:
    """A value none of whose parts is looked at in another shape than it has."""
    if isinstance(arg, Constant):
        return arg
    tree = call.body.settled(arg.tree)
    return arg if tree is arg.tree else Value(tree, arg.axes, arg.kind, arg.domain, arg.classes)


def scaled_leaf(value: Value) -> Leaf:
    """What is written of a value that `canonical` or `named` has given."""
    assert isinstance(value.tree, Leaf)
    return value.tree
