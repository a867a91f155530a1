"""Shadows of buffers, for `definite`: which elements hold a value, and views of them.

A shadow has a byte for each element of its buffer. The views of a text are made of shadows by the
array module itself, so a slice, a transposed or a strided view is what it is in the program.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

from dln.compiler.lower.effects import FACTS, FRESH, LOOKS, READY, VIEWS
from dln.compiler.plan import Buffer


class Unclear(Exception):
    """A text that nothing can be proved of, with the reason."""


class Misfit(Unclear):
    """A view that does not fit the extents for this number of examples."""


class Shadow:
    """The elements of a buffer that hold a value of the step at hand.

    Of what a program is given (inputs, parameters, states, constants, whole fields) all do.
    """

    def __init__(self, buffer: Buffer, shape: tuple[int, ...]) -> None:
        import numpy as np  # late: NumPy

        self.buffer = buffer
        self.tracked = buffer.place in ("arena", "value", "scalar")
        self.array: Any = (np.zeros if self.tracked else np.empty)(shape, np.uint8)
        self.flat, self.size = self.array.reshape(-1), max(self.array.size, 1)
        self.start: int = self.array.__array_interface__["data"][0]
        self.full = not self.tracked

    def __str__(self) -> str:
        return f"{self.buffer.name} ({self.buffer.place} {self.buffer.key})".replace(" )", ")")

    def all(self) -> bool:
        return self.full or bool(self.flat.all())

    def clear(self) -> None:
        self.full = False
        self.flat.fill(0)


class MadeReady:
    """A call made ready once: the arrays that it reads, of which it fills the last."""

    def __init__(self, *given: Any) -> None:
        self.given = given


class Region:
    """The part of a shadow that a view looks at; an interval where it lies in one piece."""

    __slots__ = ("array", "shadow", "whole")

    def __init__(self, shadow: Shadow, view: Any) -> None:
        self.shadow = shadow
        if 0 in view.strides:  # what is repeated is looked at once
            view = view[tuple(0 if s == 0 else slice(None) for s in view.strides)]
        offset = view.__array_interface__["data"][0] - shadow.start
        if view.flags.forc:
            self.array = shadow.flat[offset : offset + view.size]
        else:
            within(shadow, view)
            self.array = view
        self.whole = view.flags.forc and view.size == shadow.array.size

    def all(self) -> bool:
        if not self.shadow.full and self.array.all():
            self.shadow.full = self.whole
            return True
        return self.shadow.full

    def fill(self) -> None:
        if not self.shadow.full:
            self.array[...] = 1
            self.shadow.full = self.whole


def within(shadow: Shadow, view: Any) -> None:
    """Raise Unclear where a view reaches out of its buffer."""
    reach = [(n - 1) * s for n, s in zip(view.shape, view.strides, strict=True)]
    first = view.__array_interface__["data"][0] - shadow.start
    low, high = (first + sum(r for r in reach if sign * r > 0) for sign in (-1, 1))
    if low < 0 or high >= shadow.size:
        raise Unclear(f"a view reaches out of {shadow}")


# ---- expressions -------------------------------------------------------------------------------


def dotted(node: ast.expr) -> str:
    """A name with its attributes, `xp.add.reduce`; empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    below = dotted(node.value) if isinstance(node, ast.Attribute) else ""
    return f"{below}.{node.attr}" if isinstance(node, ast.Attribute) and below else ""


def leaves(node: ast.AST) -> set[str]:
    """The names in an expression of which more is looked at than shape and strides."""
    found, stack = set(), [node]
    while stack:
        part = stack.pop()
        if isinstance(part, ast.Name):
            found.add(part.id)
        elif isinstance(part, ast.ListComp) and not leaves(part.elt) & bound(part):
            found |= leaves(part.elt)  # of its elements no more than shape and strides
        elif not isinstance(part, ast.Constant | ast.expr_context):
            if not (isinstance(part, ast.Attribute) and part.attr in FACTS):
                stack += ast.iter_child_nodes(part)
    return found


def bound(made: ast.ListComp) -> set[str]:
    """The names that a list binds for its elements."""
    targets = (n for g in made.generators for n in ast.walk(g.target))
    return {n.id for n in targets if isinstance(n, ast.Name)}


class Looking(ast.NodeVisitor):
    """Works out the views of a text over shadows, for n examples.

    `known` has the arrays and the lists of arrays by name; `index` is the variable of the loop at
    hand, by which a list stands for its array at each step. Its methods raise `Unclear` for what
    nothing is known of, `Misfit` for a view that does not fit.
    """

    def __init__(self, n: int) -> None:
        self.known: dict[str, Any] = {}
        self.local: dict[str, Any] = {"n": n}
        self.index = ""

    def generic_visit(self, node: ast.AST) -> Any:
        """Raise Unclear for an expression that is not of the kind."""
        raise Unclear(f"{ast.unparse(node)} is no view")

    def visit_Constant(self, node: ast.Constant) -> Any:
        return node.value

    def visit_Name(self, node: ast.Name) -> Any:
        found = self.local.get(node.id, self.known.get(node.id))
        if found is None:
            raise Unclear(f"{node.id} is not known")
        return found

    def visit_Tuple(self, node: ast.Tuple) -> Any:
        return tuple(map(self.visit, node.elts))

    def visit_UnaryOp(self, node: ast.UnaryOp) -> Any:
        if not isinstance(node.op, ast.USub):
            self.generic_visit(node)
        return -self.visit(node.operand)

    def visit_BinOp(self, node: ast.BinOp) -> Any:
        work_out = WORKED_OUT.get(type(node.op)) or self.generic_visit(node)
        return work_out(self.visit(node.left), self.visit(node.right))

    def visit_Slice(self, node: ast.Slice) -> Any:
        ends = (node.lower, node.upper, node.step)
        return slice(*(None if e is None else self.visit(e) for e in ends))

    def visit_Subscript(self, node: ast.Subscript) -> Any:
        """A part of an array; a list by the step at hand is the list, an array for each step."""
        found = self.visit(node.value)
        if isinstance(found, list):
            if isinstance(node.slice, ast.Name) and node.slice.id == self.index:
                return found
            raise Unclear(f"{ast.unparse(node)} is no array of one step")
        part = self.visit(node.slice)
        if not isinstance(found, tuple):
            inside(found, part if isinstance(part, tuple) else (part,), node)
        return found[part]

    def visit_Attribute(self, node: ast.Attribute) -> Any:
        if node.attr not in FACTS | LOOKS:
            raise Unclear(f"nothing is known of .{node.attr}")
        return getattr(self.visit(node.value), node.attr)

    def visit_Call(self, node: ast.Call) -> Any:
        """A method that gives a view, or a function of the array module that gives one."""
        import numpy as np  # late: NumPy

        name = dotted(node.func).removeprefix("xp.")
        if name in READY:
            return MadeReady(*map(self.visit, [*node.args, *(k.value for k in node.keywords)]))
        if name in VIEWS | FRESH:
            made: Any = np
            for part in name.split("."):
                made = getattr(made, part)
        elif isinstance(node.func, ast.Attribute):
            made = self.visit_Attribute(node.func)
        else:
            raise Unclear(f"nothing is known of {ast.unparse(node.func)}")
        try:
            return made(*map(self.visit, node.args))
        except ValueError as error:
            raise Misfit(f"{ast.unparse(node)}: {error}") from None

    def visit_ListComp(self, node: ast.ListComp) -> Any:
        """A view for each number of a range, or for each view of other lists."""
        (part,) = node.generators
        target, over, made = part.target, part.iter, []
        names = [t.id for t in (target.elts if isinstance(target, ast.Tuple) else [target])
                 if isinstance(t, ast.Name)]  # fmt: skip
        for row in self.rows(over):
            self.local |= zip(names, row, strict=True)
            made.append(self.visit(node.elt))
        for name in names:
            self.local.pop(name, None)
        return made

    def rows(self, over: ast.expr) -> Any:
        if isinstance(over, ast.Name):
            return zip(self.visit_Name(over))
        if not isinstance(over, ast.Call) or dotted(over.func) not in ("range", "zip"):
            raise Unclear(f"{ast.unparse(over)} is no range")
        given = map(self.visit, over.args)
        return zip(range(*given)) if dotted(over.func) == "range" else zip(*given, strict=True)


def inside(array: Any, parts: tuple[Any, ...], node: ast.Subscript) -> None:
    """Raise Misfit for a part that lies outside of an array: slices would be cut to it in silence.

    `None` stands for a new axis; what comes after `...` is not looked at: nothing does but `None`.
    """
    axes = iter(array.shape)
    for part in parts:
        if part is Ellipsis:
            return
        if part is None:
            continue
        size = next(axes, 0)
        last = part.stop if isinstance(part, slice) and part.stop is not None else part
        if isinstance(last, int) and last >= size + isinstance(part, slice):
            raise Misfit(f"{ast.unparse(node)}: there are {size} rows")


WORKED_OUT: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
"""The operations that extents are made with."""
