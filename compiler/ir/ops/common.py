"""What the families of operations share: shape rules, domain rules, example types."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from dln.compiler.ir.graph import Node
from dln.compiler.ir.op import Array, Attrs, Case, Evaluate, Examples, Make, Site, Types, op_of
from dln.compiler.ir.sizes import Size
from dln.compiler.ir.spelling import Lies, Reshape, View, lies_after
from dln.compiler.ir.tensor_type import BINARY, POSITIVE, REAL, Domain, TensorType, fits
from dln.grammar.diagnostics import Fault

WIDTH = {"binary": 0, "prob": 1, "positive": 2, "real": 3, "logit": 3}


# ---- shapes ------------------------------------------------------------------------------------


def differ(a: Size, b: Size) -> bool:
    """Whether two sizes are numbers and differ: what is not known yet may still turn out equal."""
    return a is not b and not a.terms and not b.terms and a.constant != b.constant


def unlike(a: Sequence[Size], b: Sequence[Size]) -> bool:
    """Whether two shapes cannot be the same."""
    return a is not b and (len(a) != len(b) or any(map(differ, a, b)))


def show(shape: Iterable[Size]) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"


def check_axes(name: str, axes: Iterable[int], rank: int) -> None:
    """Raise `Fault` unless every axis names a position of a shape of that rank, once."""
    axes = tuple(axes)
    if len(set(axes)) != len(axes) or any(not 0 <= a < rank for a in axes):
        raise Fault(f"{name}: axes {axes} do not fit a tensor with {rank} axes")


def without(type: TensorType, axes: Iterable[int]) -> TensorType:
    """A type with some axes removed; a running axis that goes takes its name along."""
    gone = set(axes)
    return type.like(
        shape=tuple(s for i, s in enumerate(type.shape) if i not in gone),
        running=tuple(r for i, r in enumerate(type.running) if i not in gone),
    )


def known(size: Size, what: str) -> int:
    """The number of a size that must be known by now. Raises `Fault` where it is not."""
    if size.value is None:
        raise Fault(f"{what} needs a fixed size, but this axis has size {size}")
    return size.value


# ---- kinds and domains -------------------------------------------------------------------------


def join(a: Domain, b: Domain) -> Domain:
    """The narrowest domain that holds values of both.

    >>> str(join(Domain("binary"), Domain("prob")))
    'prob'
    """
    if a == b:
        return a
    if a.name not in WIDTH or b.name not in WIDTH:
        return REAL
    wide = a if WIDTH[a.name] >= WIDTH[b.name] else b
    return REAL if wide.name == "logit" else wide


def spread(name: str, types: Sequence[TensorType]) -> TensorType:
    """The type of a pointwise result before its kind and domain: equal shapes, or numbers. Raises
    `Fault` for others."""
    widest = max(types, key=lambda t: (len(t.shape), len(t.running)))
    for t in types:
        if t.shape and unlike(t.shape, widest.shape):
            raise Fault(f"{name} takes tensors of one shape, found {widest} and {t}")
    return widest.like(domain=REAL)


Narrow = Callable[..., Domain]


def always(domain: Domain) -> Narrow:
    return lambda *_: domain


def not_negative(*found: Domain) -> Domain:
    """Positive where all are: the domain of sums, quotients and roots."""
    return POSITIVE if all(fits(d, POSITIVE) for d in found) else REAL


def same_type(attrs: Attrs, types: Types) -> TensorType:
    """The type of the first operand."""
    return types[0]


def given_type(attrs: Attrs, types: Types) -> TensorType:
    """The type stands among the attributes."""
    type: TensorType = attrs["type"]
    return type


# ---- meaning and derivative --------------------------------------------------------------------


def no_value(why: str) -> Evaluate:
    """The meaning of what the evaluator cannot compute: a Fault."""

    def evaluate(site: Site, *operands: Array) -> Array:
        raise Fault(why)

    return evaluate


def spread_back(m: Make, node: Node, part: Node) -> Node:
    """A tensor reduced over `axes` over the shape of the operand again."""
    like = node.operands[0].type
    kept = tuple(i for i in range(len(like.shape)) if i not in node["axes"])
    return m.broadcast(part, like, kept)


# ---- spelling ----------------------------------------------------------------------------------


def view_of(node: Node) -> View | None:
    """The view that a node is of its first operand, None where it is an array of its own."""
    spell = op_of(node).spell
    found = spell(node) if callable(spell) else spell
    return found if isinstance(found, View) else None


def lies(node: Node) -> Lies:
    """How a node's elements lie in memory, through views; a slot of a loop may stand for one."""
    view = view_of(node)
    if view is None:
        return "anyhow" if node.attrs.get("strided", False) else "rows"
    below = node.operands[0]
    if Reshape in map(type, view.moves) and not same_but_thin(below, node):
        return "rows"  # else it were no view
    return lies_after(lies(below), view.moves)


def same_but_thin(a: Node, b: Node) -> bool:
    """Whether two shapes differ in axes of size 1 alone."""
    left, right = ([s for s in n.type.shape if s.value != 1] for n in (a, b))
    return left == right


def contiguous(node: Node) -> bool:
    """Whether a node's elements lie in C order."""
    return lies(node) == "rows"


# ---- example types -----------------------------------------------------------------------------


def real(*shape: int, domain: Domain = REAL, running: tuple[str, ...] = ()) -> TensorType:
    """A type of real numbers, for examples."""
    return TensorType(tuple(map(Size, shape)), running, "real", domain)


def cases(*rows: Case) -> Examples:
    """Examples that are written out."""
    return lambda: rows


def truth(*shape: int) -> TensorType:
    return TensorType(tuple(map(Size, shape)), (), "bool", BINARY)


def index(*shape: int, size: int) -> TensorType:
    return TensorType(tuple(map(Size, shape)), (), "index", Domain("class", Size(size)))
