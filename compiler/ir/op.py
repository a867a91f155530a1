"""An operation is one record in one place; everything else asks the record.

`OPS` holds them all, by name. A record says: how the type of the result follows from the operands
(shape, kind and domain), what it computes (the evaluator's meaning), its gradient as graph, how a
target spells it, what it costs, and the facts that rewrites, scheduling and lowering ask for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType, ModuleType
from typing import Any, TypeAlias

from dln.compiler.ir.graph import Graph, Node, Spans, content
from dln.compiler.ir.sizes import Size, times
from dln.compiler.ir.spelling import Spell
from dln.compiler.ir.tensor_type import Kind, TensorType
from dln.grammar.diagnostics import Fault, nearest
from dln.grammar.record import Record

# An array of whichever module a target computes with: they share no base class.
Array: TypeAlias = Any
Dtype: TypeAlias = Any
Attrs: TypeAlias = Mapping[str, Any]
Types: TypeAlias = tuple[TensorType, ...]
Infer: TypeAlias = Callable[[Attrs, Types], TensorType]
Gradient: TypeAlias = "Callable[[Make, Node, Node], tuple[Node | None, ...]]"
Evaluate: TypeAlias = Callable[..., Array]
"""`(site, *operands)`: what an operation gives at a site."""
Case: TypeAlias = tuple[Types, dict[str, Any]]
Examples: TypeAlias = Callable[[], Iterable[Case]]
BoundRule: TypeAlias = Callable[[Node, Sequence[float], bool], float]
Places: TypeAlias = Mapping[int, int]
Flops: TypeAlias = Callable[[Node], Size | int]
Over: TypeAlias = "Callable[[Node, tuple[int, ...]], Node]"
SumRule: TypeAlias = "Callable[[Make, Node, tuple[int, ...], Over], Node | None]"
CurveRule: TypeAlias = "Callable[[Make, Node, Node | None, Node | None], tuple[Node | None, ...]]"


class OfNumPy:
    """A meaning that is a function of NumPy's and asks nothing else of the site."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, site: Site, *arrays: Array) -> Array:
        made: Array = getattr(site.np, self.name)(*arrays)
        return made


class Site(Record):
    """What the evaluator knows where it computes a node: the resolved sizes and the precision.

    `shape` is the node's shape in numbers, `real` the floating dtype, `size` turns any `Size`
    into a number, `draw(kind, site, shape)` gives the counter-based draws.
    """

    np: ModuleType
    attrs: Attrs
    shape: tuple[int, ...]
    real: Dtype
    size: Callable[[Size], int]
    draw: Callable[[str, str, tuple[int, ...]], Array]

    def dtype(self, kind: Kind) -> Dtype:
        return dtype_of(self.np, self.real, kind)


def dtype_of(np: ModuleType, real: Dtype, kind: Kind) -> Dtype:
    """The type of the numbers of one kind."""
    return {"real": real, "index": np.int64, "bool": np.bool_}[kind]


def no_gradient(m: Make, node: Node, bar: Node) -> tuple[None, ...]:
    """The gradient of what is piecewise constant: none, said aloud."""
    return tuple(None for _ in node.operands)


def missing_gradient(m: Make, node: Node, bar: Node) -> tuple[Node | None, ...]:
    """What stands where a record gives no gradient: raises `Fault`, which names the operation."""
    raise Fault(
        f"{node.op} has no gradient",
        f"wrap it in stop(...) where no gradient is meant to pass through {node.op}",
        "E378",
    )


def one_flop(node: Node) -> Size:
    """One operation for each element of the result."""
    return volume(node.type.shape)


def per_element(factor: int) -> Flops:
    """Operations counted on the elements of the first operand."""
    return lambda node: volume(node.operands[0].type.shape) * factor


def volume(shape: Iterable[Size]) -> Size:
    """The product of some sizes, in powers of the number of examples; of other unknown ones there
    may be one."""
    total, open_size = 1, Size.of(1)
    for s in shape:
        if s.value is None:
            open_size = (s if open_size.value == 1 else times(open_size, s)) or s
        else:
            total *= s.value
    return open_size * total


def count(name: str, types: Types, wanted: int) -> None:
    """Raise `Fault` unless there are so many operands."""
    if len(types) != wanted:
        raise Fault(f"{name} takes {wanted} operands, found {len(types)}")


def wrong_kind(name: str, kind: Kind, found: Kind) -> Fault:
    """Arithmetic takes real numbers; truth values and indices are cast on purpose."""
    if kind == "real":
        what = "an index" if found == "index" else "a truth value"
        return Fault(f"{name} takes numbers, found {what}", "real(...) turns it into a number")
    return Fault(f"{name} takes a tensor of kind {kind}, found kind {found}")


class Stacked(Record):
    """The operands of a node for all `length` steps of a loop: `seq` says which of them are
    sequences, time first; the others stay as they are."""

    operands: Sequence[Node]
    seq: Sequence[bool]
    length: Size


class Tight(IntEnum):
    """How tightly the sign of an operation binds in a formula; CALL is written as a call."""

    OR = 1
    AND = 2
    NOT = 3
    COMPARISON = 4
    SUM = 5
    PRODUCT = 6
    SIGN = 7
    POWER = 8
    CALL = 9


ANY = math.inf
"""The bound of a value that may be of any size."""


class Refuge(Record):
    """How an operation can leave the numbers (log of 0, exp of 1000), and what keeps it among them.

    `slot` is the operand by which it does, None where any will do; `value` a number for it with
    which the result and every derivative are finite. `leaves(node, seen, found)` says whether it
    may, over operands within the bounds `seen`, its own bound being `found`. `by_size` says that
    0 is harmless to it, `safe_from` that a constant operand at least as large is.
    """

    slot: int | None
    value: float
    leaves: Callable[[Node, Sequence[float], float], bool] = lambda node, seen, found: True
    by_size: bool = False
    safe_from: float = ANY


@dataclass(frozen=True, slots=True)
class Op:
    """One operation. See the module's docstring.

    `infer(attrs, types)` gives the type of the result; it raises `Fault` for operands that do not
    go together. `takes` says of each operand which kind it must be, None where any will do; without
    it the rule of types looks for itself.

    `facts` are single words: `pointwise` (element by element, operands of one shape or single
    numbers), `view` (no work: the operand's elements in another arrangement), `moves` (elements are
    only moved and added up, so that every derivative is 0 or 1), `squashing` (bends both ways: its
    second derivative is left out of curvature), `product` (multiplies operands with one another, so
    that each derivative holds the other operand), `bilinear` (such a product, 0 where an operand is
    0), `identity` (the operand itself: something is said of it), `copies` (elements of operands,
    each perhaps many times), `lookup` (operand 0 is a table that the others point into), `one_hot`
    (1 where its operand points to along the last axis, else 0), `opaque` (it has no gradient),
    `steep` (its slope is a quotient by its value), `spoken` (the operand of its refuge is a value
    of the spec in a derivative too, so that the spec's own text may stand for it), `onto` (an
    operand is copied to where the result lies, and the rest added to it), `one_way` (it rises or
    falls all along in each operand, away from where it is not defined), `random`, `loop`,
    `symbolic` (must be gone before lowering). `smooth` says that the evaluator's form is analytic,
    so that a complex step through it gives the derivative.

    `spell` says how a program computes it, `spell_for` how one target does it better, by its name.
    `host` is the Python expression for single numbers, `{0}` for the first operand; it is empty
    where a number is always an array.

    `number` works it out over plain numbers, while a spec is read; `function` among the facts says
    that users write it, as a function of the operation's name. `key` is the attribute by which a
    source is known outside of the graph.

    `curve(m, node, bar, bend)` is the rule of the second-order walk (`curvature`): what each
    operand receives of `bend`, the second derivative with respect to the result (None for 0), and
    of `bar`, the first one (None where the operation's own second derivative does not count).
    Where a record has none, it follows from the gradient and the facts.

    `formula` is the way a person writes it, `{0}` where an equation for one example does not
    mention it; `tight` how its sign binds. `bound` says how large it may be (`ops/bounds.py`),
    `refuge` how it may leave the numbers. `places(node, slot)` says which axis of an operand each
    axis of the result is, `vmap` how it is done for all steps of a sequence at once
    (`ops/axes.py`), `behind` how it is done on operands whose first axis stands last; all follow
    for what is pointwise, and where they are missing nothing is known. `parts` says how what it
    makes of parts of an axis becomes what it makes of the whole: `added`, `largest` or
    `smallest`; `apart(m, node)` writes it in operations that have such parts. `summed(m, node,
    axes, over)` writes the sum of what it makes over some axes by such sums of operands, which
    `over(operand, axes)` gives, and takes out what is alike along them; None where it cannot.
    """

    name: str
    infer: Infer
    evaluate: Evaluate
    gradient: Gradient = missing_gradient
    spell: Spell | None = None
    takes: Sequence[Kind | None] | None = None
    host: str = ""
    flops: Flops = one_flop
    facts: Collection[str] = ()
    formula: str = ""
    smooth: bool = True
    examples: Examples = lambda: ()
    curve: CurveRule | None = None
    number: Callable[..., float] | None = None
    key: str = ""
    tight: Tight = Tight.CALL
    bound: BoundRule | None = None
    refuge: Refuge | None = None
    places: Callable[[Node, int], Places] | None = None
    vmap: Callable[[Make, Node, Stacked], Node] | None = None
    behind: Callable[[Make, Node, Sequence[Node]], Node] | None = None
    parts: str = ""
    apart: Callable[[Make, Node], Node] | None = None
    summed: SumRule | None = None
    spell_for: Mapping[str, Spell] = field(default_factory=lambda: MappingProxyType({}))

    def type_of(self, attrs: Attrs, types: Types) -> TensorType:
        """The type of the result. Raises Fault for operands that do not go together."""
        if self.takes is not None:
            if len(types) != len(self.takes):
                count(self.name, types, len(self.takes))
            for kind, type in zip(self.takes, types, strict=True):
                if kind is not None and kind != type.kind:
                    raise wrong_kind(self.name, kind, type.kind)
        return self.infer(attrs, types)

    def is_(self, fact: str) -> bool:
        return fact in self.facts


OPS: dict[str, Op] = {}


def register(*ops: Op) -> None:
    """Enter operations in the table; a name is taken once."""
    for op in ops:
        assert op.name not in OPS, f"two operations are called {op.name}"
        OPS[op.name] = op


def op_of(node: Node) -> Op:
    """The record of a node's operation."""
    return OPS[node.op]


class Make:
    """Adds nodes to a graph with their types inferred: the one way passes and rules build.

    Every node made gets `spans`, the places of the spec that it is made for.
    """

    def __init__(self, graph: Graph, spans: Spans = ()) -> None:
        self.graph = graph
        self.spans = spans

    def __call__(self, op: str, *operands: Node, **attrs: Any) -> Node:
        """The node `op(*operands, **attrs)`, its type by the operation's rule."""
        record = OPS.get(op)
        if record is None:
            raise Fault(f"there is no operation {op}", nearest(op, OPS) or "")
        key = content(op, operands, attrs)
        found = self.graph.known(key)
        if found is not None:
            self.graph.mark(found, self.spans)
            return found
        type = record.type_of(attrs, tuple([o.type for o in operands]))
        return self.graph.insert(key, operands, type, self.spans)

    # ---- sources -------------------------------------------------------------------------------

    def const(self, value: Any, kind: Kind = "real") -> Node:
        """A constant: a number, or nested tuples of numbers for a tensor."""
        return self("const", value=value, kind=kind)

    def size(self, size: Size) -> Node:
        """A size as a number: a constant where it is known, else (batch) what it is at run time."""
        known = size.value
        return self.const(float(known)) if known is not None else self("size", size=size)

    # ---- arithmetic ----------------------------------------------------------------------------

    def add(self, a: Node, b: Node) -> Node:
        return self("add", a, b)

    def sub(self, a: Node, b: Node) -> Node:
        return self("sub", a, b)

    def mul(self, a: Node, b: Node) -> Node:
        return self("mul", a, b)

    def div(self, a: Node, b: Node) -> Node:
        return self("div", a, b)

    def neg(self, a: Node) -> Node:
        return self("neg", a)

    def scale(self, a: Node, factor: float) -> Node:
        """`factor * a`."""
        return self("mul", self.const(factor), a)

    def complement(self, a: Node) -> Node:
        """`1 - a`: of a probability again a probability."""
        rest = self("sub", self.const(1.0), a)
        if a.type.domain.name not in ("prob", "binary"):
            return rest
        return self("asserted", rest, domain=a.type.domain)

    # ---- layout --------------------------------------------------------------------------------

    def broadcast(self, a: Node, like: TensorType, axes: tuple[int, ...]) -> Node:
        """`a` spread over the shape of `like`; axis i of `a` becomes axis `axes[i]`."""
        if a.type.shape == like.shape and axes == tuple(range(len(axes))):
            return a
        return self("broadcast", a, axes=axes, shape=like.shape, running=like.running)

    def sum(self, a: Node, axes: Iterable[int]) -> Node:
        """The sum over some axes of the full shape; `a` itself for none."""
        axes = tuple(sorted(axes))
        return self("sum", a, axes=axes) if axes else a

    def zeros(self, like: TensorType) -> Node:
        """Zeros of a shape."""
        return self.broadcast(self.const(0.0), like, ())

    def running(self, a: Node, like: TensorType) -> Node:
        """`a` with the running axes of another type."""
        if a.type.running == like.running:
            return a
        return self("running", a, running=like.running)
