"""Values, views and calls of spellings as Python: the text of what stands in a program."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import EllipsisType
from typing import TypeAlias

from dln.compiler.ir import spelling
from dln.compiler.ir.sizes import Size
from dln.compiler.lower.schedule import extent

Named: TypeAlias = Callable[[spelling.Value], str]
"""How a value reads that depends on where it stands: an operand, a buffer, an attribute."""

BUILTINS = frozenset({"abs", "min", "max", "float", "int", "bool"})
"""What host expressions may call besides `math`; functions of these names are not bound bare."""


class Bare(dict[str, str]):
    """The functions of the array module that a step calls, by the bare names that they are bound
    to once; in order of first use."""

    def __missing__(self, function: str) -> str:
        if function in BUILTINS:
            return f"xp.{function}"
        name = self[function] = function.replace(".", "_")
        return name


def literal(value: object) -> str:
    """An attribute as Python text; the number of examples is `n`.

    >>> literal((Size(3), 0.5)), literal(float("inf"))
    ('(3, 0.5)', 'math.inf')
    """
    if isinstance(value, Size):
        a, b = extent(value)
        grows = "n" if b == 1 else f"{b} * n"
        return str(a) if not b else grows if not a else f"{grows} + {a}"
    if isinstance(value, tuple):
        return f"({', '.join(map(literal, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, float) and not math.isfinite(value):
        return f"-math.{-value}" if value < 0 else f"math.{value}"
    return value if isinstance(value, str) else repr(value)


def view_text(array: spelling.Leaf | spelling.View, named: Named) -> str:
    """The expression that makes a view, the moves written one after the other."""
    if isinstance(array, spelling.Constants):
        args = [plain(arg, named) for arg in array.args]
        return TABLES[array.function].format(*args, args=", ".join(args))
    if not isinstance(array, spelling.View):
        return named(array)
    text = view_text(array.of, named)
    for move in array.moves:
        text = move_text(text, move, named)
    return text


TABLES = {
    "range": "xp.arange({args})",
    "bits": "xp.arange(2**{0})[:, None] // 2**xp.arange({0}) % 2",
}


def move_text(text: str, move: spelling.Move, named: Named) -> str:
    """The text of an array after one move.

    >>> move_text("x", spelling.Index((slice(2, None), None, ...)), str)
    'x[2:, None, ...]'
    >>> move_text("x", spelling.Join(((0, 1), (2,))), str)
    'x.reshape((x.shape[0] * x.shape[1], x.shape[2],))'
    """
    match move:
        case spelling.Index(parts):
            return f"{text}[{', '.join(map(subscript, parts))}]"
        case spelling.Transpose(None):
            return f"{text}.T"
        case spelling.Transpose(perm):
            return f"{text}.transpose({perm})"
        case spelling.Reshape(shape):
            return f"{text}.reshape({plain(shape, named)})"
        case spelling.Join(groups):
            sizes = (" * ".join(f"{text}.shape[{i}]" for i in group) for group in groups)
            return f"{text}.reshape(({', '.join(sizes)},))"
        case spelling.Broadcast(shape):
            return f"xp.broadcast_to({text}, {plain(shape, named)})"
        case spelling.Window():
            return windowed(text, move)


def windowed(text: str, window: spelling.Window) -> str:
    """The view of an array through a window; its strides may be any.

    >>> windowed("x", spelling.Window(0, 1, 0, ((2, 3), (1, 2))))
    'xp.lib.stride_tricks.as_strided(x, (3, 2,), (2 * x.strides[0], x.strides[0],))'
    """
    axis, stride = window.axis, f"{text}.strides[{window.axis}]"
    shape = ", ".join(str(n) for _, n in window.terms)
    steps = ", ".join(stride if c == 1 else f"{c} * {stride}" for c, _ in window.terms)
    parts = []
    for what, middle in (("shape", f"({shape},)"), ("strides", f"({steps},)")):
        before = f"{text}.{what}[:{axis}] + " if axis > 0 else ""
        after = f" + {text}.{what}[{axis + 1}:]" if axis < window.rank - 1 else ""
        parts.append(before + middle + after)
    first = (*(slice(None),) * axis, slice(window.offset, None))
    start = f"[{', '.join(map(subscript, first))}]" if window.offset else ""
    return f"xp.lib.stride_tricks.as_strided({text}{start}, {', '.join(parts)})"


def subscript(part: int | slice | EllipsisType | None) -> str:
    """One part of a subscript.

    >>> [subscript(p) for p in (3, None, ..., slice(1, 6, 2), slice(None, None, -1))]
    ['3', 'None', '...', '1:6:2', '::-1']
    """
    if isinstance(part, slice):
        start, stop = ("" if end is None else str(end) for end in (part.start, part.stop))
        return f"{start}:{stop}" + ("" if part.step is None else f":{part.step}")
    return "..." if part is ... else str(part)


@dataclass(frozen=True, slots=True)
class Lazy:
    """A text that is made when it is put in: names are counted in the order in which they read."""

    text: Callable[[], str]

    def __format__(self, spec: str) -> str:
        return self.text()


def call_text(form: str, call: spelling.Call, named: Named, functions: Mapping[str, str]) -> str:
    """A call in the form of a target; `functions` says how those of the array module are called."""

    def all_args() -> str:
        more = (f"{name}={named(value)}" for name, value in call.named)
        return ", ".join([*map(named, call.args), *more])

    return form.format(
        *(Lazy(partial(named, arg)) for arg in call.args),
        args=Lazy(all_args),
        out=Lazy(lambda: named(call.out)),
        xp=functions,
    )


def plain(value: spelling.Value, named: Named) -> str:
    """A value that is no array."""
    match value:
        case spelling.ShapeOf(array):
            return f"{named(array)}.shape"
        case spelling.SizeOf(array):
            return f"{named(array)}.size"
        case str():
            return f'"{value}"'
        case bool() | int() | float() | tuple():
            return literal(value)
        case _:
            return named(value)
