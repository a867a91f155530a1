"""What one `scan` says: its equations, and what can be read off them before any is worked out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Self, TypeAlias

from dln.compiler.frontend.context import broadcasting, standing
from dln.compiler.frontend.context.build_context import (
    BlockDef,
    Build,
    Chain,
    Instance,
    Scope,
    Value,
)
from dln.compiler.frontend.context.static_values import lookup
from dln.compiler.frontend.context.values import Builtin, Function
from dln.compiler.ir.graph import Node
from dln.compiler.ir.tensor_type import TIME
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Note


class FirstName(str):
    """Under which name the value before the first step is bound, `h[-2]`; of a scan that runs
    `backwards` that is what stands past the end, `h[time]`, `h[time+1]`."""

    name: str
    lag: int
    backwards: bool

    def __new__(cls, name: str, lag: int, backwards: bool = False) -> Self:
        behind = f"time+{lag - 1}" if lag > 1 else "time"
        made = super().__new__(cls, f"{name}[{behind}]" if backwards else f"{name}[-{lag}]")
        made.name, made.lag, made.backwards = name, lag, backwards
        return made


def first_value(target: s.Port) -> FirstName | None:
    """The name of what `h[-k] = ...` or `h[time+k] = ...` says."""
    at = target.dims[0] if target.dims is not None and len(target.dims) == 1 else None
    if isinstance(at, s.Unary) and at.op == "-" and (lag := _number(at.body)) is not None:
        return FirstName(target.name, lag)
    if isinstance(at, s.Binary) and at.op == "+" and _is_time(at.left):
        more = _number(at.right)
        return None if more is None else FirstName(target.name, more + 1, True)
    return FirstName(target.name, 1, True) if _is_time(at) else None


def _number(expr: s.Expr) -> int | None:
    found = expr.value if isinstance(expr, s.Number) else None
    return found if isinstance(found, int) else None


def _is_time(expr: s.Expr | None) -> bool:
    return isinstance(expr, s.Name) and expr.id == TIME


def at_step(line: str, name: str, t: str, dims: tuple[s.Expr | None, ...] | None) -> str:
    """An equation of a scan as one for step t: `h = f(h)` and `h[t+1] = f(h[t])` are `h[t] =
    f(h[t-1])`; "" where it is another."""
    if not dims:
        again = re.sub(rf"(?<![\w.]){name}(?!\w|\[)", f"{name}[{t}-1]", line)
        return again.replace(f"{name}[{t}-1]", f"{name}[{t}]", 1)
    ahead = re.match(rf"{name}\[\s*{t}\s*\+\s*1\s*([,\]])", line)
    if ahead is None:
        return ""
    back = re.sub(rf"(?<![\w.]){name}\[\s*{t}\s*([,\]])", rf"{name}[{t}-1\1", line[ahead.end() :])
    return f"{name}[{t}{ahead[1]}" + re.sub(rf"\b{name}\[\s*{t}\s*\+\s*1\b", f"{name}[{t}", back)


class Recurrences:
    """One scan in one scope. `lines` are the equations written with [t], `others` all else;
    `inside` says that it stands in a step of another. `made` are its sequences, by the version of
    a frame."""

    def __init__(self, b: Build, st: s.Scan, scope: Scope) -> None:
        self.st, self.scope = st, scope
        self.lines: dict[str, s.Define | s.Draw] = {}
        self.others: list[s.Stmt] = []
        for line in st.body:
            if isinstance(line, s.Define | s.Draw) and self._is_step(line.target):
                name = line.target.name
                if isinstance(line, s.Define) and line.adds:
                    value, t = broadcasting.whole_text(line.value.span.text), st.name
                    text = f"{name}[{t}] is said at each step, with what it was before"
                    remedy = f"{name}[{t}] = {name}[{t}-1] + {value}"
                    b.fail("E318", text, line.span, remedy=remedy)
                if name in self.lines:
                    notes = (Note(self.lines[name].span, "first here"),)
                    b.fail("E334", f"{name}[{st.name}] is defined twice", line.span, "again", notes)
                self.lines[name] = line
            else:
                self.others.append(line)
        for line in st.body:
            first = first_value(line.target) if isinstance(line, s.Define) else None
            if first is not None and first.name in self.lines:
                text = f"{first} is said once, above the scan: inside it is nothing"
                b.fail("E374", text, line.span, remedy="put it above the scan")
        self.made: dict[int, dict[str, Node]] = {}
        self.inside = b.time.in_step

    @cached_property
    def parts(self) -> list[s.Syntax]:
        """All pieces of its step."""
        return [part for stated in self.st.body for part in within(stated)]

    def _is_step(self, target: s.Port) -> bool:
        first = target.dims[0] if target.dims else None
        return isinstance(first, s.Name) and first.id == self.st.name

    def begins(self, name: str, lag: int = 1) -> FirstName:
        """Under which name it is said what a sequence holds before the first step."""
        return FirstName(name, lag, self.st.backwards)

    def refuse_other_end(self, b: Build) -> None:
        """`h[-1] = ...` of a scan that runs backwards, `h[time] = ...` of one that does not."""
        for name in self.lines:
            other = FirstName(name, 1, not self.st.backwards)
            if other in self.scope.names:
                at, own = self.scope.names[other].span or self.st.span, self.begins(name)
                way = "from its end" if self.st.backwards else "from its beginning"
                text = f"{name} is found {way}: what stands before its first step is {own}"
                b.fail("E330", text, at, "is never reached", remedy=own)

    def first(self, b: Build, name: str, lag: int) -> Node | None:
        """The value that a sequence is said to have before the first step."""
        key = self.begins(name, lag)
        if key not in self.scope.names:
            return None
        span = self.scope.names[key].span or self.st.span
        node = broadcasting.as_tensor(b, lookup(b, key, span, self.scope), span)
        if b.time.stepping and (standing.is_sequence(b, node) or standing.is_end(b, node)):
            standing.refuse(b, span, f"{name} would begin with another value at each step")
        return node if node.type.kind == "index" else broadcasting.quantity(b, node, span)

    def looks_back(self, name: str) -> bool:
        """Whether `name[...]` stands anywhere in the step."""
        return any(_indexed(part, name) is not None for part in self.parts)

    def axes(self, b: Build, name: str) -> int:
        """How many axes a sequence has at least at each step: as many as indices stand behind it,
        and as what it is handed to takes."""

        def stands(expr: s.Syntax) -> bool:
            found = _indexed(expr, name)
            return found is not None and len(found.indices) == 1

        said = max((_indices(part, name) for part in self.parts), default=0)
        return max(said, axes_taken(b, self.parts, stands, self.scope))


def within(part: s.Syntax) -> Iterator[s.Syntax]:
    """A piece of syntax, and all in it."""
    yield part
    for each in part.children():
        yield from within(each)


def _indices(part: s.Syntax, name: str) -> int:
    """How many indices stand behind the step, of `name[t, i, j]` itself."""
    if isinstance(part, s.Define | s.Draw) and part.target.name == name:
        return max(0, len(part.target.dims or ()) - 1)
    found = _indexed(part, name)
    return 0 if found is None else max(0, len(found.indices) - 1)


def _indexed(part: s.Syntax, name: str) -> s.Index | None:
    """The piece of syntax itself, where it is `name[...]`."""
    if not isinstance(part, s.Index) or not isinstance(part.body, s.Name):
        return None
    return part if part.body.id == name else None


# ---- axes that a value is taken to have --------------------------------------------------------

Stands: TypeAlias = Callable[[s.Syntax], bool]
"""Whether a piece of syntax is the value that is asked about."""


def axes_taken(b: Build, parts: Iterable[s.Syntax], stands: Stands, scope: Scope) -> int:
    """How many axes pieces of syntax take of a value that stands in them, 0 where any will do."""
    return max((_taken(b, part, stands, scope) for part in parts), default=0)


def _taken(b: Build, part: s.Syntax, stands: Stands, scope: Scope) -> int:
    """How many axes one piece takes, that has the value right in it."""
    here = 0
    if isinstance(part, s.Binary) and part.op == "@":
        here = int(stands(part.left) or stands(part.right))
    elif isinstance(part, s.Index) and stands(part.body):
        here = len(part.indices)
    elif isinstance(part, s.Flow) and stands(part.source):
        here = _port(b, known(b, part.target, scope), 0, 1)
    elif isinstance(part, s.Call):
        found = None
        for place, argument in enumerate(part.arguments):
            if stands(argument):
                found = found or known(b, part.function, scope)
                here = max(here, _port(b, found, place, len(part.arguments)))
    return here


def known(b: Build, expr: s.Expr, scope: Scope) -> Value:
    """What a name stands for; nothing where it is being worked out."""
    binding = scope.lookup(expr.id) if isinstance(expr, s.Name) else None
    if binding is None or binding.busy or not isinstance(expr, s.Name):
        return None
    return lookup(b, expr.id, expr.span, scope)


def _port(b: Build, taker: Value, place: int, given: int) -> int:
    """How many axes a block or function takes at a place; a vector's where it is not known."""
    if isinstance(taker, Builtin):
        return int(not taker.elementwise and not (taker.reduces and given > 1))
    if isinstance(taker, Chain):
        return _port(b, taker.parts[0], place, given) if taker.parts else 0
    found = taker.definition if isinstance(taker, Instance) else taker
    if not isinstance(found, BlockDef | Function) or place >= len(found.syntax.ports):
        return 1
    port = found.syntax.ports[place]
    if port.dims is not None or isinstance(found, BlockDef):
        return len(port.dims or ())

    def stands(expr: s.Syntax) -> bool:
        return isinstance(expr, s.Name) and expr.id == port.name

    return axes_taken(b, within(found.syntax.value), stands, found.scope)
