"""How a program computes a node: a look at an array, or statements, as records.

A record says what is called, with what, and what is written; it holds no text of any program. A
target prints it in its own way, and whoever wants to know what a statement reads or writes asks its
fields. Functions have the names that the array API standard gives them, or the one of a kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import EllipsisType, MappingProxyType
from typing import Literal, TypeAlias, TypeVar

from dln.compiler.ir.graph import Node
from dln.compiler.ir.tensor_type import TensorType
from dln.grammar.record import Record

# ---- arrays ------------------------------------------------------------------------------------


class Operand(Record):
    """The operand number `slot`; `boxed` says that a single number may be asked for as an array."""

    slot: int
    boxed: bool = True


class Memory(Record):
    """A buffer that statements write: that of the result (`OUT`), or a scratch buffer."""

    name: str


class Constants(Record):
    """A constant array, made once: `range` of (stop) or (start, stop, step), or the `bits` of all
    numbers of so many bits, a row each, the lowest bit first."""

    function: Literal["range", "bits"]
    args: tuple[Value, ...]


Leaf: TypeAlias = Operand | Memory | Constants
L = TypeVar("L", Operand, Memory)
A, B, C = Operand(0), Operand(1), Operand(2)
OUT = Memory("out")


# ---- views -------------------------------------------------------------------------------------


class Index(Record):
    """Parts of the leading axes: a position, a slice, None for a new axis, `...` for the rest."""

    parts: tuple[int | slice | EllipsisType | None, ...]


class Transpose(Record):
    """Axis i is axis `perm[i]` of what was there; None turns a matrix."""

    perm: tuple[int, ...] | None = None


class Reshape(Record):
    """Another shape with as many elements in the same order."""

    shape: Value


class Join(Record):
    """Neighbouring axes joined to one: for each axis that is left, those that it is made of."""

    groups: tuple[tuple[int, ...], ...]


class Broadcast(Record):
    """Spread over a shape, with stride 0."""

    shape: Value


class Window(Record):
    """In the place of `axis`, of `rank` axes, one for each term: (coefficient, size)."""

    axis: int
    rank: int
    offset: int
    terms: tuple[tuple[int, int], ...]


Move: TypeAlias = Index | Transpose | Reshape | Join | Broadcast | Window


class View(Record):
    """Another look at an array, made once and without work: the moves one after the other."""

    of: Leaf
    moves: tuple[Move, ...] = ()


def look(of: L, *moves: Move) -> L | View:
    """A view; the array itself where nothing moves."""
    return View(of, moves) if moves else of


def part(of: Leaf, axis: int, where: int | slice) -> View:
    """A part of an array along one axis."""
    return View(of, (Index((*(slice(None),) * axis, where)),))


Lies: TypeAlias = Literal["anyhow", "turned", "rows"]
"""How an array lies in memory: in C order (rows), in C order but for the order of its axes
(turned), or with other strides (anyhow)."""


def lies_after(lies: Lies, moves: tuple[Move, ...]) -> Lies:
    """How an array lies after the moves of a view."""
    for move in moves:
        match move:
            case Reshape():
                pass
            case Transpose():
                lies = "anyhow" if lies == "anyhow" else "turned"
            case Index((slice(step=None),)):  # neighbouring rows
                lies = lies if lies == "rows" else "anyhow"
            case _:
                return "anyhow"
    return lies


# ---- statements --------------------------------------------------------------------------------


class Attr(Record):
    """An attribute of the node."""

    name: str


class ShapeOf(Record):
    """The shape of an array, as it is when the program runs."""

    array: Leaf


class SizeOf(Record):
    """The number of elements of an array, as it is when the program runs."""

    array: Leaf


class DrawSite(Record):
    """Where random numbers are drawn: the run's seed, the place in the spec, and the update; of
    `rows` of a minibatch also the first of them, and how many the whole has."""

    site: str
    rows: bool = False


Value: TypeAlias = (
    "Leaf | View | Attr | ShapeOf | SizeOf | DrawSite | float | int | str | tuple[int, ...]"
)


class Call(Record):
    """One statement: `out` is what `function` makes of `args` and of the arguments with a name.

    A kernel is what the array module of a target may lack; every device has it by name. One that is
    made `ready` is called once, when the program is bound: it gives what each run then calls.
    """

    function: str
    args: tuple[Value, ...]
    out: Memory | View = OUT
    named: tuple[tuple[str, Value], ...] = ()
    kernel: bool = False
    ready: bool = False

    def writes(self, memory: Memory) -> bool:
        return root(self.out) == memory

    def operands(self) -> Iterator[Operand]:
        """The operands that it looks at, be it at their shapes."""
        return (of for of in self.leaves() if isinstance(of, Operand))

    def leaves(self) -> Iterator[Leaf]:
        """The arrays of all that it is given, and of the view that it writes through."""
        for value in (*self.args, *dict(self.named).values(), self.out):
            yield from _leaves(value)


def _leaves(value: Value | Move) -> Iterator[Leaf]:
    match value:
        case Operand() | Memory():
            yield value
        case Constants():
            for arg in value.args:
                yield from _leaves(arg)
        case View():
            yield from _leaves(value.of)
            for move in value.moves:
                yield from _leaves(move)
        case ShapeOf() | SizeOf():
            yield value.array
        case Reshape() | Broadcast():
            yield from _leaves(value.shape)
        case _:
            return


def root(array: Leaf | View) -> Leaf:
    """The array that a view looks at."""
    return array.of if isinstance(array, View) else array


def call(function: str, *args: Value, out: Memory | View = OUT, **named: Value) -> Call:
    """The statement that calls a function of the array module."""
    return Call(function, args, out, tuple(named.items()))


def kernel(function: str, *args: Value) -> Call:
    """The statement that calls a kernel, one function of `dln.runtime.device.kernels`."""
    return Call(function, args, kernel=True)


class Statements(Record):
    """Statements that fill the buffer of the result.

    `scratch` names the buffers that they need beside it, each with its shape and kind as a function
    of the node. `wants` says how operands must lie, so that they are read in place.
    """

    calls: tuple[Call, ...]
    scratch: Mapping[str, Callable[[Node], TensorType]] = MappingProxyType({})
    wants: Lies = "anyhow"

    def may_overwrite(self, slots: list[int]) -> bool:
        """Whether the result may lie where these operands do: none of them is read once the result
        has been written to."""
        first = next(i for i, c in enumerate(self.calls) if c.writes(OUT))
        return not any(of.slot in slots for c in self.calls[first + 1 :] for of in c.operands())

    def lies(self, slot: int) -> Lies:
        """How an operand must lie: one that is only copied may lie anyhow."""
        reading = [c for c in self.calls if any(of.slot == slot for of in c.operands())]
        return "anyhow" if all(c.function == "copy" for c in reading) else self.wants

    def boxes(self, slot: int) -> bool:
        """Whether an operand must be an array even if it is a single number."""
        return any(of.slot == slot and of.boxed for c in self.calls for of in c.operands())


Spelling: TypeAlias = View | Statements
Spell: TypeAlias = "Spelling | Callable[[Node], Spelling]"


def steps(*calls: Call, **scratch: Callable[[Node], TensorType]) -> Statements:
    """Statements, and the buffers that they need by name."""
    return Statements(calls, MappingProxyType(scratch))
