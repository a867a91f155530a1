"""A program as a list of operations on values that never change, and on arrays that do.

A buffer that is written as a whole holds another value from there on: each has a name of its own,
`v12@3`. What is written in part, or goes from step to step of a loop, stays one array.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from dln.compiler.plan import Buffer, Extent, Line, Program
from dln.runtime.device import kernels
from dln.runtime.device.kernels import KERNELS
from dln.standalone.program.layouts import SIZES, Layouts, extent
from dln.standalone.program.terms import call, clone, name, named, number, parsed, replaced, text

OWN = ("arena", "value", "scalar", "const")
"""The places of arrays that a program makes itself; it finds all others."""
READY = frozenset(k.__name__ for k in kernels.READY)
"""Kernels that are made ready once: a file that stands alone calls them as they come."""
FUNCTION = re.compile(r"^    (\w+) = xp\.([\w.]+)$", re.MULTILINE)
NOWHERE = Line("")


@dataclass
class Act:
    """An operation. `value`: a new value `target`; `put`: into the view `place` of an array;
    `do`: a call that changes the array `target`; `loop`: the head of one."""

    kind: str
    target: str = ""
    expr: ast.expr = field(default_factory=lambda: name("None"))
    place: ast.expr | None = None
    depth: int = 0
    line: Line = NOWHERE
    weak: bool = False
    """A plain number of Python."""
    copy: bool = False
    """All that is done is to copy a view."""
    shape: tuple[Extent, ...] = ()
    """The shape in which a value is written."""

    def reads(self) -> list[str]:
        """The names that are read, as often as they are."""
        more = list(named(self.place)) if self.place is not None else []
        return [*named(self.expr), *more]


class ProgramReader:
    """Reads a program: what its views, lists of views and prepared calls stand for."""

    def __init__(self, program: Program, sizes: Sequence[int]) -> None:
        self.program = program
        self.layouts = Layouts(program, sizes)
        self.functions = {a: f"np.{b}" for a, b in FUNCTION.findall(program.text)}
        self.views: dict[str, ast.expr] = {}
        self.lists: dict[str, tuple[str, ast.expr]] = {}
        self.calls: dict[str, tuple[ast.Call, Mapping[str, ast.expr]]] = {}
        self.scalars: dict[str, ast.expr] = {}
        self.arrays: dict[str, object] = {}
        self.ops: list[Act] = []
        for b in program.buffers:
            if b.place == "const":
                self.constant(b)

    def constant(self, b: Buffer) -> None:
        """A number stands where it is read, where the precision can hold it."""
        value = self.program.constants[b.name]
        if not b.shape and isinstance(value, int | float):
            near = float(np.dtype(self.program.dtype).type(value))
            if b.kind != "real" or abs(near) < np.inf and (near != 0 or value == 0):
                self.scalars[b.name] = number(value)
                return
        self.arrays[b.name] = value

    @classmethod
    def of(cls, program: Program) -> ProgramReader:
        """One that has read a program: for any number of examples, or the one it is made for."""
        try:
            made = cls(program, SIZES)
            made.read()
            for view in made.views.values():
                made.layouts.of(view)
        except ValueError:
            made = cls(program, (program.capacity,))
            made.read()
        return made

    def read(self) -> list[Act]:
        """All of it, what is set up first."""
        for line in self.program.setup:
            self.prepared(line)
        looked = None
        for line in self.program.lines:
            depth = (len(line.code) - len(line.code.lstrip())) // 4
            if looked is not None and depth <= looked:
                looked = None
            if line.code.strip() == "if looked:":
                looked = depth
                continue
            self.statement(line, depth - (looked is not None))
        return self.ops

    def prepared(self, line: Line) -> None:
        """A line of what is set up once."""
        statement = ast.parse(line.code.strip()).body[0]
        if not isinstance(statement, ast.Assign):
            self.statement(line, 0)
            return
        target, value = text(statement.targets[0]), statement.value
        if isinstance(value, ast.Call) and text(value.func) in READY:
            self.calls[target] = value, {}
        elif isinstance(value, ast.ListComp):
            self.listed(target, value)
        elif target.startswith("s"):
            self.add(Act("value", target, self.full(value), line=line, weak=True))
        else:
            self.views[target] = self.full(value)

    def listed(self, target: str, value: ast.ListComp) -> None:
        """A list of views, or of calls, of which a step of a loop takes one."""
        over = value.generators[0]
        each: dict[str, ast.expr] = {}
        variables = over.target.elts if isinstance(over.target, ast.Tuple) else [over.target]
        sources = over.iter.args if text(over.iter).startswith("zip(") else [over.iter]  # type: ignore[attr-defined]
        for variable, source in zip(variables, sources, strict=True):
            if isinstance(source, ast.Name):
                each[text(variable)] = self.element(source.id, name("@"))
            else:
                each[text(variable)] = name("@")
        if isinstance(value.elt, ast.Call) and text(value.elt.func) in READY:
            self.calls[target] = value.elt, each
        else:
            self.lists[target] = "@", self.full(replaced(value.elt, each))

    def element(self, which: str, step: ast.expr) -> ast.expr:
        """The view of a list at a step."""
        return replaced(self.lists[which][1], {"@": step})

    def full(self, tree: ast.expr) -> ast.expr:
        """A tree in which views are written out."""
        reader = self

        class Full(ast.NodeTransformer):
            def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
                if isinstance(node.value, ast.Name) and node.value.id in reader.lists:
                    return reader.element(node.value.id, node.slice)
                return self.generic_visit(node)  # type: ignore[return-value]

            def visit_Name(self, node: ast.Name) -> ast.expr:
                if node.id == "xp":
                    return name("np")
                known = reader.views.get(node.id) or reader.scalars.get(node.id)
                return clone(known) if known is not None else node

        made: ast.expr = Full().visit(clone(tree))
        return made

    def add(self, op: Act) -> None:
        self.ops.append(op)

    # ---- statements ----------------------------------------------------------------------------

    def statement(self, line: Line, depth: int) -> None:
        """A statement."""
        code = line.code.strip()
        if code.startswith("for "):
            self.add(Act("loop", expr=parsed(code[9:-1]), depth=depth, line=line))
            return
        tree = ast.parse(code).body[0]
        if isinstance(tree, ast.Assign):
            target = text(tree.targets[0])
            self.add(Act("value", target, self.full(tree.value), None, depth, line, weak=True))
            return
        assert isinstance(tree, ast.Expr) and isinstance(tree.value, ast.Call), code
        self.called(tree.value, line, depth)

    def called(self, tree: ast.Call, line: Line, depth: int) -> None:
        """A call."""
        function = text(tree.func)
        prepared, _, step = function.partition("[")
        if prepared in self.calls:
            self.ready(prepared, parsed(step[:-1]) if step else None, line, depth)
        elif function.endswith(".fill"):
            assert isinstance(tree.func, ast.Attribute)
            self.written(tree.func.value, self.full(tree.args[0]), line, depth, copies=True)
        elif function in KERNELS:
            given = list(inspect.signature(KERNELS[function]).parameters)
            there = [*tree.args, *(k.value for k in tree.keywords)]
            args = [self.full(a) for a in there]
            target, spot = there[given.index("out")], given.index("out")
            self.written(target, ast.Call(name(function), args, []), line, depth, spot)
        else:
            self.of_numpy(self.functions[function], tree, line, depth)

    def of_numpy(self, function: str, tree: ast.Call, line: Line, depth: int) -> None:
        """A call of a function of NumPy."""
        more = {str(k.arg): self.full(k.value) for k in tree.keywords if k.arg != "out"}
        args = [self.full(a) for a in tree.args]
        if function == "np.add.at":
            self.add(Act("do", "", call(function, *args), args[0], depth, line))
        elif function == "np.copyto" and "where" in more:
            self.add(Act("do", "", call(function, *args, **more), args[0], depth, line))
        elif function == "np.copyto":
            self.written(tree.args[0], args[1], line, depth, copies=True)
        else:
            out = next(k.value for k in tree.keywords if k.arg == "out")
            self.written(out, call(function, *args, **more), line, depth)

    def ready(self, which: str, step: ast.expr | None, line: Line, depth: int) -> None:
        """A call that was prepared: something is added to an array."""
        tree, each = self.calls[which]
        at = {} if step is None else {"@": step}
        given = [self.full(replaced(replaced(a, each), at)) for a in tree.args]
        out = self.full(replaced(replaced(tree.keywords[0].value, each), at))
        *sides, scale = given
        made = ast.Call(tree.func, [out, scale, *sides], [])
        self.add(Act("do", "", made, out, depth, line))

    def written(
        self, out: ast.expr, expr: ast.expr, line: Line, depth: int, spot: int | None = None,
        copies: bool = False,
    ) -> None:  # fmt: skip
        """Something is written to a view: as the value of its buffer, if that is all of it. A
        kernel is given at a `spot` what it fills."""
        target = self.full(out)
        buffer = self.buffer(out)
        if buffer is None or buffer.place not in OWN or not self.layouts.is_all(target, buffer):
            if spot is not None:
                self.add(Act("do", "", expr, target, depth, line))
            else:
                self.add(Act("put", "", expr, target, depth, line, copy=copies))
            return
        if buffer.place == "scalar":
            self.add(Act("value", buffer.name, expr, None, depth, line, weak=True))
            return
        if spot is not None:
            assert isinstance(expr, ast.Call)
            expr.args[spot] = self.fresh(buffer)
        elif not copies:
            expr = self.reshaped(expr, target, buffer)
        elif not isinstance(expr, ast.Constant | ast.UnaryOp):
            shapes = [self.layouts.shape(v) for v in (target, name(buffer.name))]
            if shapes[0] != shapes[1] and self.layouts.shape(expr) == shapes[0]:
                expr = reshape(expr, buffer)
        shape = self.layouts.shape(target)
        self.add(Act("value", buffer.name, expr, None, depth, line, copy=copies, shape=shape))

    def reshaped(self, expr: ast.expr, target: ast.expr, buffer: Buffer) -> ast.expr:
        """What is written to a view of another shape, in the shape of the array."""
        if self.layouts.shape(target) == self.layouts.shape(name(buffer.name)):
            return expr
        return reshape(expr, buffer)

    def buffer(self, out: ast.expr) -> Buffer | None:
        """The buffer that a view is of."""
        words = [w for w in named(self.full(out)) if self.layouts.buffer(w) is not None]
        return self.layouts.buffer(words[0]) if words else None

    def fresh(self, buffer: Buffer) -> ast.expr:
        """An array of its own for a value."""
        return fresh(buffer, self.program.dtype)


def reshape(expr: ast.expr, buffer: Buffer) -> ast.expr:
    """A value in the shape of its array."""
    given = [extent(e) for e in buffer.shape] or [ast.Tuple([])]
    return ast.Call(ast.Attribute(expr, "reshape"), given, [])


def sizes(buffer: Buffer) -> ast.expr:
    """The shape of an array as a tree."""
    return sized(buffer.shape)


def sized(shape: tuple[Extent, ...]) -> ast.expr:
    """A shape as a tree."""
    found = [extent(e) for e in shape]
    return found[0] if len(found) == 1 else ast.Tuple(found)


def kind(buffer: Buffer, dtype: str) -> ast.expr:
    """The type of an array as a tree."""
    return parsed({"index": "np.int64", "bool": "np.bool_"}.get(buffer.kind, f"np.{dtype}"))


def fresh(buffer: Buffer, dtype: str, made: str = "np.empty") -> ast.expr:
    """A new array."""
    given = [sizes(buffer)]
    if buffer.kind != "real" or dtype != "float64":
        given.append(kind(buffer, dtype))
    return call(made, *given)


def arrays_of(tree: ast.AST, layouts: Layouts) -> Iterator[str]:
    """The arrays that a tree names."""
    return (w for w in named(tree) if layouts.buffer(w) is not None)


def loops(ops: Sequence[Act]) -> Iterator[tuple[int, int]]:
    """Where loops begin and end: of each its head, and what comes behind its body."""
    for i, op in enumerate(ops):
        if op.kind == "loop":
            stop = i + 1
            while stop < len(ops) and ops[stop].depth > op.depth:
                stop += 1
            yield i, stop
