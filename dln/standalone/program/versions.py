"""Values with names of their own: what a buffer holds, from each time that all of it is written."""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping, Sequence

from dln.compiler.plan import Buffer
from dln.standalone.program.layouts import Layouts
from dln.standalone.program.operations import OWN, Act, arrays_of, fresh, loops
from dln.standalone.program.terms import call, name, named, replaced, text


def kept(ops: Sequence[Act], layouts: Layouts) -> set[str]:
    """The buffers that stay one array: those that a step of a loop finds as the last one left
    them."""
    found = set[str]()
    for start, stop in loops(ops):
        first = dict[str, str]()
        written = set[str]()
        for op in ops[start + 1 : stop]:
            for word in op.reads():
                first.setdefault(word, "read")
            if op.kind == "value":
                first.setdefault(op.target, "written")
                written.add(op.target)
        found |= {b for b in written if first[b] == "read" and layouts.buffer(b) is not None}
    return found


class Versions:
    """Gives each value of a buffer a name of its own."""

    def __init__(self, ops: Sequence[Act], layouts: Layouts) -> None:
        self.layouts = layouts
        self.kept = kept(ops, layouts)
        self.now: dict[str, str] = {}
        self.made: list[Act] = []
        self.changed: set[str] = set()
        """Values that are changed in part after they were made."""
        self.count = 0
        for op in ops:
            self.take(op)

    def take(self, op: Act) -> None:
        """An operation, in the names of values."""
        now: Mapping[str, ast.expr] = {k: name(v) for k, v in self.now.items()}
        if op.kind == "value":
            op.expr = replaced(op.expr, now)
            self.value(op)
            return
        if op.place is not None:
            base = next(arrays_of(op.place, self.layouts))
            self.there(base, op)
            now = {k: name(v) for k, v in self.now.items()}
            op.place = replaced(op.place, now)
            op.target = self.now.get(base, base)
            self.changed.add(op.target)
        op.expr = replaced(op.expr, now)
        self.made.append(op)

    def value(self, op: Act) -> None:
        """A new value; of a buffer that stays one array the first is made, others put into it."""
        buffer = self.layouts.buffer(op.target)
        if op.target in self.kept and op.target in self.now:
            op.kind, op.place, op.target = "put", name(self.now[op.target]), self.now[op.target]
            self.changed.add(op.target)
        else:
            own = op.target
            self.count += 1
            op.target = self.now[own] = f"{own}@{self.count}"
            if own in self.kept:
                self.changed.add(op.target)
            if buffer is not None and op.copy and isinstance(op.expr, ast.Constant | ast.UnaryOp):
                op.expr, op.copy = filled(buffer, op.expr, self.layouts.program.dtype), False
        self.made.append(op)

    def there(self, base: str, op: Act) -> None:
        """See that an array is there before a part of it is written, and before a loop."""
        buffer = self.layouts.buffer(base)
        if base in self.now or buffer is None or buffer.place not in OWN:
            return
        self.count += 1
        self.now[base] = f"{base}@{self.count}"
        made = Act("value", self.now[base], fresh(buffer, self.layouts.program.dtype), line=op.line)
        self.changed.add(made.target)
        at = len(self.made)
        depth = op.depth
        while depth:
            at -= 1
            if self.made[at].kind == "loop" and self.made[at].depth < depth:
                depth = self.made[at].depth
        self.made.insert(at, made)


def filled(buffer: Buffer, value: ast.expr, dtype: str) -> ast.expr:
    """An array of one number."""
    made = fresh(buffer, dtype)
    if not isinstance(made, ast.Call):
        return made
    if text(value) in ("0", "0.0", "False"):
        return call("np.zeros", *made.args)
    return call("np.full", made.args[0], value, *made.args[1:])


def needed(ops: Sequence[Act], wanted: Collection[str]) -> list[Act]:
    """The operations that some values, and what the arrays that were found become, hang on."""
    live, there = set(wanted), list(ops)
    while True:
        before = len(live)
        for op in reversed(there):
            if op.kind != "loop" and (op.target in live or "@" not in op.target):
                live |= {*op.reads(), op.target}
        if len(live) == before:
            break
    held = [op for op in there if op.kind == "loop" or op.target in live or "@" not in op.target]
    empty = {start for start, stop in loops(held) if stop == start + 1}
    return [op for i, op in enumerate(held) if i not in empty]


def uses(ops: Sequence[Act], result: ast.expr) -> dict[str, list[int]]:
    """Where each name is read, as often as it is; what is given back is read at the end."""
    found = dict[str, list[int]]()
    for i, op in enumerate(ops):
        for word in op.reads():
            found.setdefault(word, []).append(i)
    for word in named(result):
        found.setdefault(word, []).append(len(ops))
    return found
