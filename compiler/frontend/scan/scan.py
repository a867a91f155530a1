"""`scan`: a recurrence worked out as one step, and put into the graph as one loop.

Inside a scan `x[t]` is the element of a sequence and `h[t-1]` a slot: what the step before left.
Everything else is the language as it is elsewhere. The step is worked out once, whatever the
number of steps; the nodes that depend on a slot or an element become the body of the loop.

In the one-step forms (`lm.step`) the same equations are worked out for a single step, and what is
carried comes from the memory of the frame.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from dln.compiler.frontend.context import broadcasting, standing
from dln.compiler.frontend.context.build_context import Build, Poisoned
from dln.compiler.frontend.context.static_values import lookup
from dln.compiler.frontend.context.values import Scope
from dln.compiler.frontend.scan import equations, nested_scan
from dln.compiler.frontend.scan.scan_step import Attempt
from dln.compiler.ir.graph import Node
from dln.compiler.ir.sizes import BATCH_SIZE, Size, Var
from dln.compiler.ir.tensor_type import BINARY, REAL, TensorType
from dln.grammar import syntax as s
from dln.grammar.diagnostics import DlnError, Note, Problem

ROUNDS = 6  # what is carried has its final type after two or three


def bind(b: Build, st: s.Scan, scope: Scope) -> None:
    """Bind the sequences that a scan defines: the names it writes with [t]."""
    loop = Loop(b, st, scope)
    for name, made in loop.recurrences.items():
        equations.once(b, scope, name, made.target.span, partial(loop.sequence, name))


def first_value(target: s.Port) -> int | None:
    """k of `h[-k] = ...`, which gives a sequence its value before the first step."""
    dims = target.dims or ()
    if len(dims) != 1 or not isinstance(dims[0], s.Unary) or dims[0].op != "-":
        return None
    number = dims[0].body
    return number.value if isinstance(number, s.Number) and isinstance(number.value, int) else None


def first_name(name: str, lag: int) -> str:
    """Under which name the value before the first step is bound."""
    return f"{name}[-{lag}]"


class Loop:
    """One scan in one scope. `recurrences` are the equations written with [t]."""

    def __init__(self, b: Build, st: s.Scan, scope: Scope) -> None:
        self.b, self.st, self.scope = b, st, scope
        self.recurrences: dict[str, s.Define | s.Draw] = {}
        self.others: list[s.Stmt] = []
        for line in st.body:
            if isinstance(line, s.Define | s.Draw) and self._is_step(line.target):
                if line.target.name in self.recurrences:
                    self._twice(line)
                self.recurrences[line.target.name] = line
            else:
                self.others.append(line)
        self.made: dict[int, dict[str, Node]] = {}
        self.inside = b.in_step  # in a step of another scan

    def _is_step(self, target: s.Port) -> bool:
        first = target.dims[0] if target.dims else None
        return isinstance(first, s.Name) and first.id == self.st.name

    def _twice(self, line: s.Define | s.Draw) -> None:
        name = line.target.name
        notes = (Note(self.recurrences[name].span, "first here"),)
        self.b.fail("E334", f"{name}[{self.st.name}] is defined twice", line.span, "again", notes)

    def sequence(self, name: str) -> Node:
        """The whole sequence of a name, for the current frame."""
        b, version = self.b, self.b.frame.version
        if version not in self.made:
            if b.stepping and not self.inside:
                self.made[version] = self._stepped()
            elif self.inside and b.loop is not None:
                self.made[version] = nested_scan.settled(self, b.loop)
            else:
                with b.within(loop=None, stepping=False):
                    self.made[version] = self.settled().close()
        return self.made[version][name]

    # ---- rounds until the types fit ------------------------------------------------------------

    def settled(self) -> Attempt:
        """The step worked out with the types that it gives itself. Zeros and ones at the beginning
        are bits by chance: they are taken for such only where nothing else fits."""
        types, first = self._first_types(), None
        for chance in (BINARY, REAL):
            begun = {n: t.like(domain=REAL) if t.domain == chance else t for n, t in types.items()}
            try:
                return self._rounds(begun)
            except (DlnError, Poisoned) as error:
                if first is None and isinstance(error, DlnError):
                    first = error
                if first is None or first.problems[0].code != "E310":
                    raise
        assert first is not None
        raise first

    def _rounds(self, types: dict[str, TensorType]) -> Attempt:
        for _ in range(ROUNDS):
            attempt = Attempt(self, types)
            try:
                attempt.work_out()
            except DlnError as error:
                raise self._explained(error) from None
            types, changed = attempt.found_types()
            if not changed:
                return attempt
        name = next(iter(types))
        self.b.fail(
            "E336",
            f"the shape of {name}[{self.st.name}] is not clear from its equation",
            self.recurrences[name].target.span,
            "grows from step to step",
            remedy=f"say how it begins: {name}[-1] = zeros(...)",
        )

    def _explained(self, error: DlnError) -> DlnError:
        """An error in a step, with the sequences of which nobody says how they begin: what they
        hold is then a guess."""
        unsaid = [n for n in self.recurrences if self._guessed(n)]
        first = error.problems[0]
        of_sizes = first.code.startswith("E2") and first.code != "E214"
        if not unsaid or not of_sizes or first.remedy:
            return error
        name = next((n for n in unsaid if is_in(first, n)), unsaid[0])
        fact = f"nothing says what {name} holds before the first step"
        said = replace(first, facts=(*first.facts, fact), remedy=f"{name}[-1] = ...")
        return DlnError([said, *error.problems[1:]])

    def _guessed(self, name: str) -> bool:
        begun = first_name(name, 1) in self.scope.names
        looks_back = any(is_lagged(part, name) for part in self.st.body)
        return looks_back and not begun and equations.promised(self.b, name, self.scope) is None

    def _first_types(self) -> dict[str, TensorType]:
        """What each sequence is taken for at first: from its first value or the block's ports,
        a tensor with as many axes as it has indices, at least a vector where the equations multiply
        it with a matrix or pass it on, else a number."""
        b = self.b
        running = ("batch",) if b.frame.batched else ()
        lead = (BATCH_SIZE,) if running else ()
        found = {}
        for name, line in self.recurrences.items():
            begun = self._begun(name)
            if begun is not None:
                found[name] = begun
                continue
            promised = equations.promised(b, name, self.scope)
            if promised is None:
                vector = any(is_vector(part, name) for part in self.st.body)
                axes = max(int(vector), *(indices(part, name) for part in self.st.body))
                promised = tuple(Size.of(Var(name, span=line.target.span)) for _ in range(axes))
            found[name] = TensorType((*lead, *promised), running)
        return found

    def _begun(self, name: str) -> TensorType | None:
        """The type of what a sequence is said to begin with: `h[-1]`, `h[-2]`, together."""
        keys = (k for k in self.scope.names if k.startswith(f"{name}[-"))
        lags = sorted(int(k[len(name) + 2 : -1]) for k in keys)
        found = [(node, lag) for lag in lags if (node := self.first(name, lag)) is not None]
        if not found:
            return None
        nodes, at = [node for node, _ in found], self.recurrences[name].target.span
        said = [self.scope.names[first_name(name, lag)].span or at for _, lag in found]
        return broadcasting.full(self.b, broadcasting.align(self.b, nodes, at, said), at)[0].type

    def first(self, name: str, lag: int) -> Node | None:
        """The value that a sequence is said to have before the first step."""
        key = first_name(name, lag)
        if key not in self.scope.names:
            return None
        span = self.scope.names[key].span or self.st.span
        node = broadcasting.as_tensor(self.b, lookup(self.b, key, span, self.scope), span)
        if self.b.stepping and (
            standing.is_sequence(self.b, node) or standing.is_end(self.b, node)
        ):
            standing.refuse(self.b, span, f"{name} would begin with another value at each step")
        return node if node.type.kind == "index" else broadcasting.quantity(self.b, node, span)

    # ---- one step only -------------------------------------------------------------------------

    def _stepped(self) -> dict[str, Node]:
        """The values of one step; what is carried comes from the frame's memory."""
        attempt = self.settled()
        step = {name: attempt.current(name) for name in self.recurrences}
        attempt.remember()
        spans = {name: line.span for name, line in self.recurrences.items()}
        return {k: standing.marked(self.b, v, "sequence", spans[k]) for k, v in step.items()}


def is_lagged(part: Any, name: str) -> bool:
    """Whether `name[...]` stands anywhere in a piece of syntax."""
    return _names(part, name) or any(is_lagged(p, name) for p in _parts(part))


def is_in(problem: Problem, name: str) -> bool:
    """Whether a name stands where a problem is."""
    return problem.span is not None and name in re.findall(r"[A-Za-z_]\w*", problem.span.text)


def is_vector(part: Any, name: str) -> bool:
    """Whether `name[...]` is multiplied with `@`, or passed on to a block or function."""
    if isinstance(part, s.Binary) and part.op == "@":
        if any(_is_lagged(side, name) for side in (part.left, part.right)):
            return True
    if isinstance(part, s.Flow) and _is_lagged(part.source, name):
        return True
    if isinstance(part, s.Call) and any(_is_lagged(a, name) for a in part.arguments):
        return not isinstance(part.function, s.Name) or part.function.id not in NUMBERWISE
    return any(is_vector(p, name) for p in _parts(part))


def indices(part: Any, name: str) -> int:
    """How many indices stand behind the step of `name[t, i, j]`, wherever most stand."""
    here = max(0, len(part.indices) - 1) if _names(part, name) else 0
    if isinstance(part, s.Define | s.Draw) and part.target.name == name:
        here = max(0, len(part.target.dims or ()) - 1)
    return max(here, *(indices(p, name) for p in _parts(part)), 0)


NUMBERWISE = frozenset("exp log sqrt tanh sin cos abs sign sigmoid relu softplus max min".split())
"""Functions that say nothing about the shape of what they take."""


def _is_lagged(expr: Any, name: str) -> bool:
    return _names(expr, name) and len(expr.indices) == 1


def _names(expr: Any, name: str) -> bool:
    body = expr.body if isinstance(expr, s.Index) else None
    return isinstance(body, s.Name) and body.id == name


def _parts(part: Any) -> Iterator[Any]:
    """What a piece of syntax is made of."""
    for field in getattr(part, "_fields", ()):
        value = getattr(part, field)
        if isinstance(value, tuple):
            yield from (v for v in value if isinstance(v, s.Syntax))
        elif isinstance(value, s.Syntax):
            yield value
