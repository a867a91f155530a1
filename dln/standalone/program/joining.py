"""Statements made of operations: what is read once stands where it is read, copies that nobody
needs are views, wherever the bits stay what they are."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from dln.compiler.plan import Buffer
from dln.standalone.program.layouts import Layouts
from dln.standalone.program.operations import Act, kind, loops, sizes
from dln.standalone.program.terms import call, method, name, named, number, replaced, same, text
from dln.standalone.program.versions import uses
from dln.standalone.program.wording import Wording

WIDE = 72
"""What stands in one statement, in characters."""


class Joiner:
    """Turns operations into statements. `names` are values that are called by the spec."""

    def __init__(
        self, ops: list[Act], layouts: Layouts, result: ast.expr, changed: set[str],
        names: Mapping[str, str],
    ) -> None:  # fmt: skip
        self.ops, self.layouts, self.result = ops, layouts, result
        self.changed, self.names = changed, names
        self.wording = Wording(layouts, {op.target for op in ops if op.weak})

    def join(self) -> tuple[list[Act], ast.expr]:
        """The statements, and what is given back."""
        for op in self.ops:
            self.wording.plain(op)
        self.where()
        self.added()
        self.indexed()
        self.copies()
        self.once()
        return [op for op in self.ops if op.kind != "gone"], self.result

    def where(self) -> None:
        """A value that is another where something holds."""
        i = 0
        while i + 1 < len(self.ops):
            a, b = self.ops[i], self.ops[i + 1]
            made = self.chosen(a, b) if a.kind == "value" and b.kind == "do" else None
            if made is not None:
                b.kind, b.place, b.target, b.expr = "value", None, a.target, made
                del self.ops[i]
                if not any(op.target == b.target and op is not b for op in self.ops):
                    self.changed.discard(b.target)
            i += 1

    def chosen(self, a: Act, b: Act) -> ast.expr | None:
        """What an array is after two operations of which the second puts something into it where a
        condition holds; None where that is no matter of choosing."""
        out = self.layouts.buffer(a.target)
        if b.target != a.target or a.weak or not isinstance(b.place, ast.Name) or out is None:
            return None
        if not isinstance(b.expr, ast.Call) or text(b.expr.func) != "np.copyto" or not out.shape:
            return None
        w = self.wording
        mask, new, old = (
            w.argument(b.expr.keywords[0].value),
            b.expr.args[1],
            self.number_in(a.expr),
        )
        views = [v for v in (mask, new) if w.is_array(v)]
        if a.target in (*named(mask), *named(new)) or not all(map(self.layouts.ordered, views)):
            return None
        if w.spread(views) != [v.shape for v in self.layouts.of(name(a.target))]:
            return None
        if old is not None and not (w.is_array(new) and w.kind_of(new) == out.kind == "real"):
            return None
        return call("np.where", mask, new, a.expr if old is None else old)

    def number_in(self, tree: ast.expr) -> ast.expr | None:
        """The number that an array is filled with."""
        if isinstance(tree, ast.Call) and text(tree.func) == "np.zeros":
            return number(0.0)
        if isinstance(tree, ast.Call) and text(tree.func) == "np.full":
            return tree.args[1]
        return None

    def added(self) -> None:
        """A sum that takes the place of an array which was put together, and is read no more."""
        last = {w: i for i, op in enumerate(self.ops) for w in op.reads()}
        again = set(named(self.result))
        for i, op in enumerate(self.ops):
            if op.kind != "value" or not isinstance(op.expr, ast.BinOp) or op.depth:
                continue
            for side in (op.expr.left, op.expr.right):
                if not isinstance(side, ast.Name) or side.id not in self.changed:
                    continue
                own, new = side.id, op.target
                alike = own.partition("@")[0] == new.partition("@")[0]
                if alike and last[own] == i and own not in again and text(op.expr).count(own) == 1:
                    instead = {new: name(own)}
                    op.kind, op.place, op.target = "put", name(own), own
                    for later in self.ops[i + 1 :]:
                        later.expr = replaced(later.expr, instead)
                        later.place = later.place and replaced(later.place, instead)
                        later.target = own if later.target == new else later.target
                    self.result = replaced(self.result, instead)
                    last[own] = last.pop(new, i)
                    if new in again:
                        again.add(own)

    def indexed(self) -> None:
        """Note where names are read, where arrays are changed, and which loop what is in."""
        self.read = uses(self.ops, self.result)
        self.changing: dict[str, list[int]] = {}
        self.loop: list[tuple[int, int] | None] = [None] * (len(self.ops) + 1)
        for i, op in enumerate(self.ops):
            if op.kind in ("put", "do"):
                self.changing.setdefault(op.target, []).append(i)
        for start, stop in loops(self.ops):
            self.loop[start + 1 : stop] = [(start, stop)] * (stop - start - 1)

    def copies(self) -> None:
        """Copies of views that never change are these views, where they lie as arrays do or where
        that makes no difference."""
        for spot, op in enumerate(self.ops):
            if not (op.copy and op.kind == "value"):
                continue
            out = self.layouts.buffer(op.target)
            assert out is not None
            view, alike = op.expr, self.alike(op.expr, out)
            read = self.read.get(op.target, [])
            free = op.target not in self.changed and not self.changes(
                view, spot, self.reach(spot, read)
            )
            inside = all(self.loop[i] == self.loop[spot] for i in read)
            if alike and free and (inside or "t" not in named(view)) and self.layouts.tight(view):
                self.put_in(spot, view)
            else:
                op.expr = self.copied(view, out, alike)

    def reach(self, here: int, read: list[int]) -> int:
        """Behind what the value of an operation is read no more: the end of a loop, if it is read
        in one that it is not in."""
        stop = here
        for i in read:
            around = self.loop[i]
            stop = max(stop, i if around is None or around == self.loop[here] else around[1])
        return stop

    def alike(self, view: ast.expr, out: Buffer) -> bool:
        """Whether a view is of the kind and shape of an array."""
        if not self.wording.is_array(view) or self.wording.kind_of(view) != out.kind:
            return False
        return [v.shape for v in self.layouts.of(view)] == [
            v.shape for v in self.layouts.of(name(out.name))
        ]

    def copied(self, view: ast.expr, out: Buffer, alike: bool) -> ast.expr:
        """A copy that is needed."""
        dtype = self.layouts.program.dtype
        if alike:
            return method(view, "copy")
        if not self.wording.is_array(view):
            whole = "np.arange" in text(view)  # which says its own kind
            given = [kind(out, dtype)] if out.kind != "real" or dtype != "float64" or whole else []
            return call("np.full", sizes(out), view, *given)
        shapes = [[v.shape for v in self.layouts.of(x)] for x in (view, name(out.name))]
        if shapes[0] != shapes[1]:
            view = call("np.broadcast_to", view, sizes(out))
        if self.wording.kind_of(view) == out.kind:
            return method(view, "copy")
        order = [] if self.layouts.tight(view) else [ast.Constant("C")]
        return method(view, "astype", kind(out, dtype), *order)

    def put_in(self, here: int, expr: ast.expr) -> None:
        """Take a value away, and have what it is wherever it is read."""
        op, there = self.ops[here], self.read.pop(self.ops[here].target, [])
        instead = {op.target: expr}
        for i in sorted(set(there)):
            if i == len(self.ops):
                self.result = replaced(self.result, instead)
                continue
            other = self.ops[i]
            other.expr = replaced(other.expr, instead)
            if other.place is not None:
                other.place = replaced(other.place, instead)
        for word in named(expr):
            held = self.read.setdefault(word, [])
            if here in held:
                held.remove(here)
            held.extend(there)
        op.kind = "gone"

    def changes(self, tree: ast.expr, start: int, stop: int) -> bool:
        """Whether something that a tree reads is changed behind one operation, before another."""
        return any(
            start < i < stop for word in set(named(tree)) for i in self.changing.get(word, ())
        )

    def once(self) -> None:
        """What is read once stands there."""
        for here, op in enumerate(self.ops):
            if op.kind == "value" and op.target not in self.changed:
                if self.may_move(op, here, self.read.get(op.target, [])):
                    self.put_in(here, op.expr)

    def may_move(self, op: Act, here: int, read: list[int]) -> bool:
        """Whether a value may stand where it is read."""
        if op.weak and len(text(op.expr)) < 12:
            return True
        if len(read) != 1 or (op.target in self.names and len(text(op.expr)) > 24):
            return False
        if self.changes(op.expr, here, read[0]):
            return False
        if read[0] == len(self.ops):
            return True
        user = self.ops[read[0]]
        if (
            self.loop[read[0]] != self.loop[here]
            or user.kind == "loop"
            or user.weak
            and not op.weak
        ):
            return False
        known = {w: name(self.names.get(w, "value")) for w in [*named(op.expr), *user.reads()]}
        inner = replaced(op.expr, known)
        parts = [user.expr] if user.place is None else [user.expr, user.place]
        last = self.read.get(user.target) == [len(self.ops)] and user.kind == "value"
        wide = WIDE + 12 * last
        return sum(len(text(replaced(p, {**known, op.target: inner}))) for p in parts) <= wide


def in_place(op: Act) -> str | None:
    """The sign of an operation that changes an array by a number or array: += and its like."""
    if op.kind != "put" or not isinstance(op.expr, ast.BinOp) or op.place is None:
        return None
    sign = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}[type(op.expr.op)]
    if same(op.expr.left, op.place):
        return sign
    if sign in "+*" and same(op.expr.right, op.place):
        op.expr = ast.BinOp(op.expr.right, op.expr.op, op.expr.left)
        return sign
    return None
