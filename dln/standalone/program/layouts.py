"""How views of arrays lie in memory, found by making them; shorter words for those that lie alike.

Nothing is computed: arrays are taken from the system and never looked at.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import add, floordiv, mod, mul, sub
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dln.compiler.plan import Buffer, Extent, Program
from dln.compiler.plan import at as at
from dln.standalone.program.terms import call, name, named, number, parsed, replaced, short, text

SIZES = (2, 3, 5)
"""Numbers of examples for which a view is made."""
KIND = {"index": np.dtype(np.int64), "bool": np.dtype(np.bool_)}
STRIDED = "np.lib.stride_tricks.as_strided"
Views = list[NDArray[Any]]


class Layouts:
    """Makes views of the arrays of a program, by the names of its buffers."""

    def __init__(self, program: Program, sizes: Sequence[int] = SIZES) -> None:
        self.program, self.sizes = program, sizes
        self.buffers = {b.name: b for b in program.buffers}
        self.held = [
            {b.name: np.empty(b.shape_at(n), self.dtype(b)) for b in program.buffers}
            for n in sizes
        ]  # fmt: skip
        self.seen: dict[str, Views] = {}

    def dtype(self, buffer: Buffer) -> np.dtype[Any]:
        return KIND.get(buffer.kind) or np.dtype(self.program.dtype)

    def buffer(self, word: str) -> Buffer | None:
        """The buffer of a name, of whatever version it is."""
        return self.buffers.get(word.partition("@")[0])

    def of(self, view: ast.expr, step: int = 1) -> Views:
        """A view, for each of some numbers of examples, at a step of a loop."""
        key = f"{step}:{ast.dump(view)}"
        if key not in self.seen:
            self.seen[key] = [self.made(view, n, step) for n in range(len(self.sizes))]
        return self.seen[key]

    def made(self, view: ast.expr, which: int, step: int) -> NDArray[Any]:
        known: dict[str, Any] = {"n": self.sizes[which], "t": step}
        for word in named(view):
            if (b := self.buffer(word)) is not None:
                known[word] = self.held[which][b.name]
        try:
            return np.asarray(worked_out(view, known))
        except IndexError:  # of a loop that has one step
            return np.asarray(worked_out(view, {**known, "t": 0}))

    def alike(self, a: ast.expr, b: ast.expr) -> bool:
        """Whether two views are one, at the beginning of a loop and later."""
        try:
            return all(
                place(x) == place(y)
                for step in (1, 2)
                for x, y in zip(self.of(a, step), self.of(b, step), strict=True)
            )
        except (IndexError, ValueError, TypeError):
            return False

    def shape(self, view: ast.expr) -> tuple[Extent, ...]:
        """The shape of a view, as it grows with the examples."""
        shapes = [v.shape for v in self.of(view)]
        if len(shapes) == 1:
            return tuple((size, 0) for size in shapes[0])
        found = list[Extent]()
        for low, middle, *_ in zip(*shapes, strict=True):
            grown = (middle - low) // (self.sizes[1] - self.sizes[0])
            found.append((low - grown * self.sizes[0], grown))
        return tuple(found)

    def ordered(self, view: ast.expr, last: int = 0) -> bool:
        """Whether the axes of a view, but for some last ones, lie in memory in their order."""
        for v in self.of(view):
            axes = list(zip(v.strides, v.shape, strict=True))
            steps = [s for s, k in axes[: len(axes) - last] if k > 1 and s]
            if steps != sorted(steps, reverse=True):
                return False
        return True

    def tight(self, view: ast.expr) -> bool:
        """Whether a view lies as an array of its own would."""
        return all(v.flags.c_contiguous for v in self.of(view))

    def is_all(self, view: ast.expr, buffer: Buffer) -> bool:
        """Whether a view is all of an array, in its order, perhaps in another shape."""
        return all(
            v.flags.c_contiguous and v.size == held[buffer.name].size
            and place(v)[0] == place(held[buffer.name])[0]
            for v, held in zip(self.of(view), self.held, strict=True)
        )  # fmt: skip

    # ---- shorter words -------------------------------------------------------------------------

    def told(self, view: ast.expr) -> ast.expr:
        """A view in the shortest words that are known for it."""
        view = short(self.plainer(view))
        for cut in (*self.itself(view), self.picked(view), self.one(view)):
            if cut is not None and self.alike(view, cut):
                return cut
        return view

    def itself(self, view: ast.expr) -> Iterator[ast.expr]:
        """The array itself; of pairs along an axis the first ones, or the second ones."""
        words = [w for w in named(view) if self.buffer(w) is not None]
        if len(words) != 1 or not isinstance(view, ast.Call | ast.Subscript):
            return
        yield name(words[0])
        if isinstance(view, ast.Subscript) and text(view.value).count(".reshape(") == 1:
            cut = view.slice.elts[-1] if isinstance(view.slice, ast.Tuple) else view.slice
            base, made = self.of(name(words[0]))[-1], self.of(view)[-1]
            for axis in range(base.ndim if isinstance(cut, ast.Constant) else 0):
                step = base.shape[axis] // max(made.shape[axis], 1) if axis < made.ndim else 0
                if step > 1:
                    yield subscript(words[0], axis, base.ndim, f"{text(cut)}::{step}")

    def plainer(self, view: ast.expr) -> ast.expr:
        """Shapes as numbers, windows by their function."""
        for field, held in ast.iter_fields(view):
            if isinstance(held, ast.expr) and field in ("value", "func"):
                setattr(view, field, self.plainer(held))
        if not isinstance(view, ast.Call):
            return view
        called = text(view.func)
        if called == STRIDED:
            return self.windows(view)
        if called.endswith(".reshape"):
            if self.of(view)[0].ndim == 1:
                view.args = [number(-1)]
            else:
                view.args = [extent(e) for e in self.shape(view)] or [ast.Tuple([])]
            assert isinstance(view.func, ast.Attribute)
            inner = view.func.value
            if self.shape(inner) == self.shape(view):
                return inner
        elif called.endswith(".transpose") and isinstance(view.args[0], ast.Tuple):
            view.args = list(view.args[0].elts)
            assert isinstance(view.func, ast.Attribute)
            if [a.value for a in view.args if isinstance(a, ast.Constant)] == [1, 0]:
                return ast.Attribute(view.func.value, "T")
        elif called == "np.broadcast_to":
            view.args[0] = self.plainer(view.args[0])
        return view

    def windows(self, view: ast.Call) -> ast.expr:
        """Windows along an axis, by the function of that name."""
        inner = self.plainer(view.args[0])
        a, b = self.of(inner)[-1], self.of(view)[-1]
        head = view.args[1]
        while isinstance(head, ast.BinOp):
            head = head.left
        axis = int(text(head).rpartition(":")[2][:-1])
        step, gap = (b.strides[axis + k] // a.strides[axis] for k in (0, 1))
        given = [number(axis), number(b.shape[axis + 1])]
        more = [number(step), number(gap)] if (step, gap) != (1, 1) else []
        made = call("windows", inner, *given, *more)
        assert self.alike(view, made)
        return made

    def picked(self, view: ast.expr) -> ast.expr | None:
        """An axis of one number that is taken away again: x[:, 2:3].reshape(n, 5) is x[:, 2]."""
        if not isinstance(view, ast.Call) or not text(view.func).endswith(".reshape"):
            return None
        assert isinstance(view.func, ast.Attribute)
        held = view.func.value
        if not isinstance(held, ast.Subscript):
            return None
        cuts = list(held.slice.elts) if isinstance(held.slice, ast.Tuple) else [held.slice]
        for i, c in enumerate(cuts):
            if isinstance(c, ast.Slice) and c.lower is not None and c.step is None:
                cuts[i] = c.lower
        made = ast.Subscript(held.value, cuts[0] if len(cuts) == 1 else ast.Tuple(cuts))
        return short(made)

    def one(self, view: ast.expr) -> ast.expr | None:
        """A slice of a slice along the first axis as one number: x[1:51][49:50] is x[50]."""
        words = [w for w in named(view) if self.buffer(w) is not None]
        if len(words) != 1 or "t" in named(view) or not isinstance(view, ast.Call | ast.Subscript):
            return None
        base, made = self.of(name(words[0])), self.of(view)
        if base[0].ndim != made[0].ndim + 1 or not base[0].strides[0]:
            return None
        steps = {
            (place(v)[0] - place(b)[0]) / b.strides[0] for b, v in zip(base, made, strict=True)
        }
        if len(steps) != 1 or (found := steps.pop()) != int(found):
            return None
        return ast.Subscript(name(words[0]), number(int(found)))


def subscript(word: str, axis: int, axes: int, cut: str) -> ast.expr:
    """A cut along an axis of an array."""
    before = ["..."] if axis == axes - 1 and axis > 1 else [":"] * axis
    made = parsed(f"x[{', '.join([*before, cut])}]")
    return replaced(made, {"x": name(word)})


def place(a: NDArray[Any]) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    """Where an array lies: its first byte, its shape, how far apart along axes that there are."""
    steps = tuple(s for s, k in zip(a.strides, a.shape, strict=True) if k > 1)
    return a.__array_interface__["data"][0], a.shape, steps


def extent(e: Extent) -> ast.expr:
    """A size as a tree."""
    a, b = e[0], e[1] if len(e) > 1 else 0
    grown = "n" if b == 1 else f"{b} * n"
    return parsed(str(a) if not b else f"{grown} + {a}" if a else grown)


def windows(a: NDArray[Any], axis: int, size: int, step: int = 1, gap: int = 1) -> NDArray[Any]:
    """Windows of so many numbers along an axis, which become the axis behind it."""
    count = (a.shape[axis] - (size - 1) * gap - 1) // step + 1
    by = a.strides[axis]
    shape = a.shape[:axis] + (count, size) + a.shape[axis + 1 :]
    strides = a.strides[:axis] + (step * by, gap * by) + a.strides[axis + 1 :]
    return np.lib.stride_tricks.as_strided(a, shape, strides)


def worked_out(tree: ast.AST | None, known: Mapping[str, Any]) -> Any:
    """What a tree of views, shapes and whole numbers is, with names that are known. Raises
    `ValueError` for any other."""

    def of(node: ast.AST | None) -> Any:
        return worked_out(node, known)

    match tree:
        case None:
            return None
        case ast.Name(id=word) if word in known:
            return known[word]
        case ast.Constant(value=value):
            return value
        case ast.Tuple(elts=parts):
            return tuple(map(of, parts))
        case ast.Slice(lower=low, upper=high, step=step):
            return slice(of(low), of(high), of(step))
        case ast.UnaryOp(op=ast.USub(), operand=part):
            return -of(part)
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in WHOLE:
            return WHOLE[type(sign)](of(left), of(right))
        case ast.Subscript(value=held, slice=cut):
            return of(held)[of(cut)]
        case ast.Attribute(value=held, attr=("T" | "shape" | "strides" | "size") as what):
            return getattr(of(held), what)
        case ast.Call(func=function, args=args):
            given = list(map(of, args))
            if text(function) in MADE:
                return MADE[text(function)](*given)
            if isinstance(function, ast.Attribute) and function.attr in ("reshape", "transpose"):
                return getattr(of(function.value), function.attr)(*given)
    raise ValueError(f"{text(tree)} is no view")


WHOLE: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: add, ast.Sub: sub, ast.Mult: mul, ast.Mod: mod, ast.FloorDiv: floordiv,
}  # fmt: skip
MADE: Mapping[str, Callable[..., Any]] = {
    STRIDED: np.lib.stride_tricks.as_strided, "np.broadcast_to": np.broadcast_to,
    "np.arange": np.arange, "windows": windows,
}  # fmt: skip
