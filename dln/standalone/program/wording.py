"""An operation in the words of a handout: NumPy's operators, views in their shortest words,
wherever the bits stay what they are."""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping

import numpy as np

from dln.compiler.plan import Buffer, Extent, at
from dln.runtime.device.kernels import KERNELS
from dln.standalone.program.layouts import Layouts
from dln.standalone.program.operations import READY, Act, kind, sized
from dln.standalone.program.terms import call, method, named, text

SIGNS: Mapping[str, type[ast.operator]] = {
    "np.add": ast.Add, "np.subtract": ast.Sub, "np.multiply": ast.Mult, "np.divide": ast.Div,
}  # fmt: skip
COMPARED: Mapping[str, type[ast.cmpop]] = {
    "np.less": ast.Lt, "np.less_equal": ast.LtE, "np.greater": ast.Gt,
    "np.greater_equal": ast.GtE, "np.equal": ast.Eq, "np.not_equal": ast.NotEq,
}  # fmt: skip
LOGICAL = ("np.logical_and", "np.logical_or", "np.logical_not")
BY_ROWS = ("np.dot", "np.take", "np.argmax", "np.argmin", "np.cumsum", "np.matmul", "np.einsum")
"""Functions of NumPy that are no function of each element: they want arrays as they lie."""


class Wording:
    """Puts operations into words; `weak` are the values that are plain numbers."""

    def __init__(self, layouts: Layouts, weak: Collection[str]) -> None:
        self.layouts, self.weak = layouts, weak

    def plain(self, op: Act) -> None:
        """An operation in the words of a handout."""
        if op.kind == "loop" or op.weak:
            return
        if op.place is not None:
            op.place = self.layouts.told(op.place)
        out = self.layouts.buffer(op.target)
        if op.kind == "do":
            assert isinstance(op.expr, ast.Call)
            op.expr.args = [self.argument(a) for a in op.expr.args]
            if op.place is not None and text(op.expr.func) in READY:
                op.expr.args[0] = op.place
            return
        if op.copy:
            op.expr = self.argument(op.expr)
            if op.place is not None and isinstance(op.expr, ast.Call):
                if text(op.expr.func) == "np.broadcast_to":
                    op.expr = op.expr.args[0]
        elif out is not None:
            op.expr = self.words(op.expr, out, op)

    def argument(self, tree: ast.expr) -> ast.expr:
        """An argument: a view in its shortest words."""
        if not isinstance(tree, ast.Constant) and any(
            self.layouts.buffer(w) is not None and w not in self.weak for w in named(tree)
        ):
            return self.layouts.told(tree)
        return tree

    def words(self, tree: ast.expr, out: Buffer, op: Act) -> ast.expr:
        """The value of a call, as an expression that lies as an array of its own."""
        if not isinstance(tree, ast.Call):
            return tree
        if isinstance(tree.func, ast.Attribute) and tree.func.attr == "reshape":
            inner = tree.func.value
            made = self.words(inner, out, op)
            return ast.Call(ast.Attribute(made, "reshape"), tree.args, [])
        function = text(tree.func)
        if function in KERNELS:
            tree.args = [self.argument(a) for a in tree.args]
            return tree
        ufunc = isinstance(getattr(np, function.removeprefix("np."), None), np.ufunc)
        if function in BY_ROWS or not ufunc:
            return self.by_rows(tree, function, out, op)
        tree.args = [self.argument(a) for a in tree.args]
        spread, ordered = self.stripped(tree, out, op)
        if not spread and op.kind == "value":
            return self.into(tree, out, op)
        made = self.cast(self.operator(tree, function), tree, out)
        return made if ordered or op.kind != "value" else method(made, "copy")

    def stripped(self, tree: ast.Call, out: Buffer, op: Act) -> tuple[bool, bool]:
        """Take away what NumPy spreads by itself; whether the value then has its shape, and
        whether it lies in order."""
        wanted = self.shapes(op)
        for i, a in enumerate(tree.args):
            if isinstance(a, ast.Call) and text(a.func) == "np.broadcast_to":
                others = [*tree.args[:i], a.args[0], *tree.args[i + 1 :]]
                if self.spread(others) == wanted:
                    tree.args[i] = a.args[0]
        arrays = [a for a in tree.args if self.is_array(a)]
        return self.spread(tree.args) == wanted, all(map(self.layouts.ordered, arrays))

    def shape(self, op: Act) -> tuple[Extent, ...]:
        """The shape in which an operation is written."""
        return op.shape if op.place is None else self.layouts.shape(op.place)

    def shapes(self, op: Act) -> list[tuple[int, ...]]:
        """The same, for some numbers of examples."""
        return [tuple(at(e, n) for e in self.shape(op)) for n in self.layouts.sizes]

    def is_array(self, tree: ast.expr) -> bool:
        return any(self.layouts.buffer(w) is not None and w not in self.weak for w in named(tree))

    def spread(self, args: list[ast.expr]) -> list[tuple[int, ...]]:
        """The shape that arrays have together, for some numbers of examples."""
        shapes = [[v.shape for v in self.layouts.of(a)] for a in args if self.is_array(a)]
        if not shapes:
            views = [self.layouts.of(a) for a in args if "np.arange" in text(a)]
            shapes = [[v.shape for v in each] for each in views]
        shapes += [
            [v.shape for v in self.layouts.of(a)]
            for a in args if not self.is_array(a) and "np.arange" in text(a)
        ]  # fmt: skip
        if not shapes:
            return [()] * len(self.layouts.sizes)
        try:
            return [np.broadcast_shapes(*each) for each in zip(*shapes, strict=True)]
        except ValueError:
            return []

    def into(self, tree: ast.Call, out: Buffer, op: Act) -> ast.expr:
        """A call that fills a new array, which lies as it should."""
        dtype = self.layouts.program.dtype
        given = [sized(self.shape(op))]
        if out.kind != "real" or dtype != "float64":
            given.append(kind(out, dtype))
        tree.keywords = [*tree.keywords, ast.keyword("out", call("np.empty", *given))]
        return tree

    def operator(self, tree: ast.Call, function: str) -> ast.expr:
        """A call as NumPy's operator, where there is one."""
        args = tree.args
        if args and all(self.is_weak(a) for a in args):
            args = [call(f"np.{self.layouts.program.dtype}", args[0]), *args[1:]]
        if tree.keywords:
            return tree
        if function in SIGNS:
            return ast.BinOp(args[0], SIGNS[function](), args[1])
        if function in COMPARED:
            return ast.Compare(args[0], [COMPARED[function]()], [args[1]])
        if function == "np.negative":
            return ast.UnaryOp(ast.USub(), args[0])
        return call(function.replace("absolute", "abs"), *args)

    def is_weak(self, tree: ast.expr) -> bool:
        """Whether an argument is a plain number."""
        return not self.is_array(tree) and "np." not in text(tree)

    def cast(self, made: ast.expr, tree: ast.Call, out: Buffer) -> ast.expr:
        """A value in the type of its array, where it has another one by itself."""
        function, dtype = text(tree.func), self.layouts.program.dtype
        kinds = {self.kind_of(a) for a in tree.args}
        if function in COMPARED or function in LOGICAL:
            found = "bool"
        elif kinds <= {"index", "bool"}:
            found = "index" if function not in ("np.divide",) else "real"
        else:
            found = "wide" if "index" in kinds and dtype == "float32" else "real"
        if found == out.kind:
            return made
        return method(made, "astype", kind(out, dtype))

    def kind_of(self, tree: ast.expr) -> str:
        """The kind of an argument."""
        if isinstance(tree, ast.Constant):
            return {bool: "bool", int: "weak", float: "real"}[type(tree.value)]
        for word in named(tree):
            b = self.layouts.buffer(word)
            if b is not None:
                return b.kind
        return "index" if "np.arange" in text(tree) else "real"

    def by_rows(self, tree: ast.Call, function: str, out: Buffer, op: Act) -> ast.expr:
        """Products, sums and choices, whose bits hang on how their arrays lie."""
        tree.args = [self.argument(a) for a in tree.args]
        arrays = [a for a in tree.args if self.is_array(a)]
        flat = len(out.shape) <= 1 and ".reduce" in function
        if function == "np.take":
            return self.taken(tree)
        if function in ("np.dot", "np.argmax", "np.argmin"):
            return self.cast_index(tree, function, out)
        last = 2 if function == "np.matmul" else 0
        if op.kind == "value" and not flat and not all(
            self.layouts.ordered(a, last) for a in arrays
        ):  # fmt: skip
            return self.into(tree, out, op)
        if ".reduce" in function and self.kind_of(arrays[0]) != out.kind:
            return self.into(tree, out, op) if op.kind == "value" else tree
        return tree

    def cast_index(self, tree: ast.Call, function: str, out: Buffer) -> ast.expr:
        """Places as they are; of products what they are computed in."""
        kinds = {self.kind_of(a) for a in tree.args}
        if function == "np.dot" and kinds != {"real"}:
            return method(tree, "astype", kind(out, self.layouts.program.dtype))
        return tree

    def taken(self, tree: ast.Call) -> ast.expr:
        """Rows by their numbers."""
        more = {k.arg: k.value for k in tree.keywords}
        if "axis" not in more or text(more["axis"]) == "0":
            if isinstance(tree.args[0], ast.Name) or text(tree.args[0]).endswith("reshape(-1)"):
                if self.layouts.tight(tree.args[0]) and self.layouts.ordered(tree.args[1]):
                    return ast.Subscript(tree.args[0], tree.args[1])
        return tree
