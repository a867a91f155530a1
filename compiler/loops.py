"""`scan`: a recurrence worked out as one step, and put into the graph as one loop.

Inside a scan `x[t]` is the element of a sequence and `h[t-1]` a slot: what the step before left.
Everything else is the language as it is elsewhere. The step is worked out once, whatever the
number of steps; the nodes that depend on a slot or an element become the body of the loop.

In the one-step forms (`lm.step`) the same equations are worked out for a single step, and what is
carried comes from the memory of the frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from dln.compiler import equations, tensors
from dln.compiler.graph import Graph, Node, ancestors
from dln.compiler.ops.loop import Body, item, row_type, slot
from dln.compiler.sizes import BATCH_SIZE, Conflict, Reason, Size, Var
from dln.compiler.state import Build
from dln.compiler.statics import lookup, whole
from dln.compiler.tensor import TIME, TensorType
from dln.compiler.values import Recurrence, Scope, StepIndex
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Note, Span

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
            if b.stepping:
                self.made[version] = self._stepped()
            else:
                with b.within(loop=None):
                    self.made[version] = self._settled().close()
        return self.made[version][name]

    # ---- rounds until the types fit ------------------------------------------------------------

    def _settled(self) -> Attempt:
        """The step worked out with the types that it gives itself."""
        types = self._first_types()
        for _ in range(ROUNDS):
            attempt = Attempt(self, types)
            attempt.work_out()
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

    def _first_types(self) -> dict[str, TensorType]:
        """What each sequence is taken for at first: from its first value or the block's ports,
        a vector where the equations multiply it with a matrix or pass it on, else a number."""
        b = self.b
        running = ("batch",) if b.frame.batched else ()
        lead = (BATCH_SIZE,) if running else ()
        found = {}
        for name, line in self.recurrences.items():
            begun = self.first(name, 1)
            if begun is not None:
                found[name] = begun.type
                continue
            promised = equations.promised(b, name, self.scope)
            if promised is None:
                vector = any(is_vector(part, name) for part in self.st.body)
                promised = (Size.of(Var(name, span=line.target.span)),) if vector else ()
            found[name] = TensorType((*lead, *promised), running)
        return found

    def first(self, name: str, lag: int) -> Node | None:
        """The value that a sequence is said to have before the first step."""
        key = first_name(name, lag)
        if key not in self.scope.names:
            return None
        span = self.scope.names[key].span or self.st.span
        node = tensors.as_tensor(self.b, lookup(self.b, key, span, self.scope), span)
        return node if node.type.kind == "index" else tensors.quantity(self.b, node, span)

    # ---- one step only -------------------------------------------------------------------------

    def _stepped(self) -> dict[str, Node]:
        """The values of one step; what is carried comes from the frame's memory."""
        attempt = self._settled()
        step = {name: attempt.current(name) for name in self.recurrences}
        attempt.remember()
        return step


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


NUMBERWISE = frozenset("exp log sqrt tanh sin cos abs sign sigmoid relu softplus max min".split())
"""Functions that say nothing about the shape of what they take."""


def _is_lagged(expr: Any, name: str) -> bool:
    body = expr.body if isinstance(expr, s.Index) else None
    return isinstance(body, s.Name) and body.id == name and len(expr.indices) == 1


def _parts(part: Any) -> Iterator[Any]:
    """What a piece of syntax is made of."""
    for field in getattr(part, "_fields", ()):
        value = getattr(part, field)
        if isinstance(value, tuple):
            yield from (v for v in value if isinstance(v, s.Syntax))
        elif isinstance(value, s.Syntax):
            yield value


class Attempt:
    """One working out of a step, with what is carried taken to be of some types."""

    def __init__(self, loop: Loop, types: dict[str, TensorType]) -> None:
        self.loop, self.b, self.types = loop, loop.b, types
        self.number = next(loop.b.counter)
        self.slots: dict[tuple[str, int], Node] = {}
        self.lengths: list[tuple[Size, Span]] = []
        self.memory: dict[Key, tuple[Node, Node]] = {}
        self.now: dict[Key, Node] = {}
        self.scope = loop.scope.child()

    # ---- the equations of a step ---------------------------------------------------------------

    def work_out(self) -> None:
        """Bind the names of a step and ask for every one."""
        b, st, inner = self.b, self.loop.st, self.scope
        with b.within(loop=b.loop if b.stepping else self):
            self._bind()
            for stated in st.body:
                if not isinstance(stated, s.Define | s.Draw):
                    continue
                if (name := stated.target.name) in self.loop.recurrences:
                    self.current(name)
                else:
                    lookup(b, name, stated.span, inner)

    def _bind(self) -> None:
        b, st, inner = self.b, self.loop.st, self.scope
        inner.value(st.name, StepIndex(self, 0), st.span)
        for name, line in self.loop.recurrences.items():
            inner.value(name, Recurrence(self, name), line.target.span)
            find = partial(self._define, line)
            equations.once(b, inner, f"{name}[{st.name}]", line.target.span, find)
        equations.bind_statements(b, self.loop.others, inner)

    def _define(self, line: s.Define | s.Draw) -> Node:
        """The value of `h[t] = ...` at the step at hand."""
        rest = (line.target.dims or ())[1:]
        here = line.changed(target=line.target.changed(dims=rest or None))
        if isinstance(here, s.Draw):
            return equations.draw(self.b, here, self.scope)
        span = here.value.span
        node = tensors.as_tensor(self.b, equations.define(self.b, here, self.scope), span)
        return node if node.type.kind == "index" else tensors.quantity(self.b, node, span)

    def current(self, name: str) -> Node:
        """`h[t]`."""
        key = f"{name}[{self.loop.st.name}]"
        value: Node = lookup(self.b, key, self.loop.recurrences[name].span, self.scope)
        return value

    def element(self, value: Any, index: StepIndex, span: Span) -> Node:
        """`x[t]`, `h[t-1]`: of a sequence from outside, or of one that this scan defines."""
        if isinstance(value, Recurrence):
            return self._own(value.name, index, span)
        return self._given(value, index, span)

    def _own(self, name: str, index: StepIndex, span: Span) -> Node:
        if index.offset > 0:
            t = self.loop.st.name
            self.b.fail(
                "E330",
                f"{name} needs its own future",
                span,
                f"scan runs {t} upwards, so only {name}[{t}-1], {name}[{t}-2], ... exist here",
                remedy=f"{name}[{t}-{index.offset}]",
            )
        if index.offset == 0:
            return self.current(name)
        return self.carried(name, -index.offset)

    def carried(self, name: str, lag: int) -> Node:
        """The slot that holds what `name` was `lag` steps ago."""
        if lag > 1:
            self.carried(name, lag - 1)
        key = (name, lag)
        if key not in self.slots:
            if self.b.stepping:
                self.slots[key] = self._remembered(name, lag)
            else:
                made = slot(self.b.graph, self.types[name], next(self.b.counter), "carried")
                self.slots[key] = self.b.mark(made, self.loop.st.span, f"{name} before")
        return self.slots[key]

    def _given(self, node: Node, index: StepIndex, span: Span) -> Node:
        """The element of a sequence from outside the scan."""
        b = self.b
        if TIME not in node.type.running:
            if b.stepping:
                return self._given_now(node, index, span)
            b.fail(
                "E214",
                f"{tensors.short(span.text)} is no element of a sequence",
                span,
                f"{b.shown(node.type)} does not run over time",
                remedy="x[time, n] in the block's ports says that x is a sequence",
            )
        node = time_first(b, node, span)
        self.lengths.append((node.type.shape[0], span))
        if index.offset:
            node = shifted(b, node, index.offset, span)
        return b.at(span)("at", node, loop=self.number)

    def _given_now(self, node: Node, index: StepIndex, span: Span) -> Node:
        if index.offset == 0:
            return node
        self.b.unbuilt("one step of a block that looks at other steps of its input", span)

    # ---- types ---------------------------------------------------------------------------------

    def found_types(self) -> tuple[dict[str, TensorType], bool]:
        """The types that the equations give, and whether those of any slot are others."""
        found, changed = dict(self.types), False
        used = {name for name, _ in self.slots}
        for name in self.loop.recurrences:
            node = self.current(name)
            type = TensorType(node.type.shape, node.type.running, node.type.kind)
            if node.type.kind == "index":
                type = type.like(domain=node.type.domain)
            if name in used and not self._same(name, self.types[name], type):
                changed = True
            found[name] = self._joined(name, type)
        return found, changed

    def _joined(self, name: str, type: TensorType) -> TensorType:
        """The type of an equation, running at least over what its first value does."""
        lost = [a for a in self.types[name].running if a not in type.running]
        if not lost or len(self.types[name].example) != len(type.example):
            return type
        return self.types[name]

    def _same(self, name: str, taken: TensorType, found: TensorType) -> bool:
        if len(taken.example) != len(found.example) or taken.kind != found.kind:
            return False
        if any(a not in taken.running for a in found.running):
            return False
        line = self.loop.recurrences[name]

        def complain(c: Conflict) -> Any:
            self.b.fail(
                "E202",
                f"{name} changes its shape from step to step",
                line.target.span,
                f"was {self.b.shown(taken)}, becomes {self.b.shown(found)}",
            )

        for old, new in zip(taken.example, found.example, strict=True):
            self.b.equate(old, new, Reason(line.span, f"{name} keeps its shape"), complain)
        return True

    # ---- one step only -------------------------------------------------------------------------

    def _remembered(self, name: str, lag: int) -> Node:
        """What the memory holds of a sequence; its first value before the first step."""
        type = self.types[name]
        begun = partial(self.begun, name, lag, type)
        return recall(self.b, (self.loop.scope.path, name, lag), type, begun)

    def remember(self) -> None:
        """Leave in the memory what the next step needs."""
        for name, lag in sorted(self.slots, key=lambda k: -k[1]):
            key = (self.loop.scope.path, name, lag)
            value = self.current(name) if lag == 1 else self.slots[name, lag - 1]
            remember(self.b, key, self._filled(value, self.types[name]))

    # ---- the loop ------------------------------------------------------------------------------

    def begun(self, name: str, lag: int, type: TensorType) -> Node:
        """The value before the first step: what is said, what a stream carries over, or zeros."""
        b, span = self.b, self.loop.st.span
        said = self.loop.first(name, lag)
        if said is not None:
            return self._filled(said, type)
        carried = b.frame.carry
        if carried is not None and not b.stepping:
            path = f"{self.loop.scope.path}.{name}-{lag}"
            begun: Node = carried.begin(b, path, type, span)
            return begun
        zero = b.at(span).const(0 if type.kind == "index" else 0.0, type.kind)
        return b.make("asserted", self._filled(zero, type), domain=type.domain)

    def _filled(self, node: Node, type: TensorType) -> Node:
        """A value spread over the type of what is carried."""
        if node.type.shape == type.shape and node.type.running == type.running:
            return node
        make = self.b.at(self.loop.st.span)
        if not node.type.shape:
            return make("broadcast", node, axes=(), shape=type.shape, running=type.running)
        return tensors.spread(self.b, node, type, self.loop.st.span)

    def close(self) -> dict[str, Node]:
        """The loop in the graph; the sequence of each name."""
        b = self.b
        wanted = {name: self.current(name) for name in self.loop.recurrences}
        carried, nexts, firsts = self._carried()
        maker = BodyMaker(b, self.number, carried)
        inside = [maker.inner(n) for n in (*nexts, *wanted.values())]
        body = maker.body(tuple(inside[: len(nexts)]), self._length())
        make = b.at(self.loop.st.span)
        scan = make("scan", *maker.rows.values(), *maker.fixed.values(), *firsts, body=body)
        self._leave(scan, body)
        out = {}
        for (name, node), value in zip(wanted.items(), inside[len(nexts) :], strict=True):
            made = item(make, scan, value)
            path = f"{self.loop.scope.path}.{name}" if self.loop.scope.path else name
            if made.type.domain != node.type.domain:
                made = make("asserted", made, domain=node.type.domain)
            out[name] = b.mark(made, self.loop.recurrences[name].span, path)
        return out

    def _carried(self) -> tuple[list[Node], list[Node], list[Node]]:
        """The slots, what they hold after a step, and what before the first."""
        slots, nexts, firsts = [], [], []
        for (name, lag), held in self.slots.items():
            new = self.current(name) if lag == 1 else self.slots[name, lag - 1]
            slots.append(held)
            nexts.append(self._filled(new, held.type))
            firsts.append(self.begun(name, lag, held.type))
        for key, (held, first) in self.memory.items():
            slots.append(held)
            nexts.append(self._filled(self.now[key], held.type))
            firsts.append(first)
        return slots, nexts, firsts

    def _leave(self, scan: Node, body: Body) -> None:
        """What the loop has carried at its end, for who goes on from there."""
        b = self.b
        keys: list[Key] = [(self.loop.scope.path, n, lag) for n, lag in self.slots]
        keys += list(self.memory)
        if not (b.reading or self.memory or b.frame.carry):
            return
        for key, value in zip(keys, body.nexts, strict=True):
            last = final(b, item(b.make, scan, value), self.loop.st.span)
            if b.reading or key in self.memory:
                remember(b, key, last)
            if b.frame.carry is not None and key not in self.memory:
                b.frame.carry.end(b, f"{key[0]}.{key[1]}-{key[2]}", last)

    def _length(self) -> Size:
        """The number of steps: of the sequences it runs along, or as the scan says."""
        b, st = self.b, self.loop.st
        length: Size | None = None
        if not (st.range is None or (isinstance(st.range, s.Name) and st.range.id == TIME)):
            length = Size.of(whole(b, st.range, self.loop.scope, "the number of steps"))
            self._positive(length, st.range.span)
        for size, span in self.lengths:
            if length is None:
                length = size
            else:
                tensors.equal(b, length, size, span, "both run over time")
        owner = equations.owner_of(self.loop.scope)
        if length is None and owner is not None and owner.timed:
            length = owner.steps  # as many steps as come in, though none is looked at
        if length is None:
            b.fail(
                "E338",
                "how many steps does this scan have?",
                st.span,
                "nothing in it runs over time",
                remedy=f"scan {st.name} in 100 {{ ... }}",
            )
        return b.sizes.resolve(length)

    def _positive(self, length: Size, span: Span) -> None:
        if length.constant < 1:
            self.b.fail("E305", "a scan has at least one step", span, f"is {length}")


class BodyMaker:
    """Moves the nodes of a step into a graph of their own."""

    def __init__(self, b: Build, number: int, carried: Sequence[Node]) -> None:
        self.b, self.number, self.carried = b, number, tuple(carried)
        self.graph = Graph()
        self.rows: dict[Node, Node] = {}
        self.fixed: dict[Node, Node] = {}
        self.to: dict[Node, Node] = {}
        self.inside: set[Node] = set()
        for held in carried:
            self.graph.include(held, b.graph.spans.get(held, ()), b.graph.names.get(held))
            self.to[held] = held
            self.inside.add(held)

    def inner(self, wanted: Node) -> Node:
        """The node of the body for a node of a step."""
        for node in ancestors([wanted]):
            if node in self.to or node in self.inside:
                continue
            if node.op == "at" and node["loop"] == self.number:
                self.inside.add(node)
                self.to[node] = self._slot(self.rows, node.operands[0], node.type, "rows", node)
            elif node.op == "scan" and any(o in self.inside for o in node.operands):
                self.b.unbuilt("a scan inside a scan", self.b.graph.spans[node][0])
            elif any(o in self.inside for o in node.operands) or self._drawn_here(node):
                self.inside.add(node)
                operands = tuple(self._operand(o) for o in node.operands)
                self.to[node] = self.graph.add(node.op, operands, node.type, **node.attrs)
                self._mark(node, self.to[node])
        return self._operand(wanted)

    def _drawn_here(self, node: Node) -> bool:
        """Whether a draw is one of the step, so that each step draws anew."""
        owner = self.b.drawn.get(node) if node.op == "draw" else None
        return owner is not None and owner.number == self.number

    def _operand(self, node: Node) -> Node:
        """A node as an operand inside: what does not change from step to step is a slot."""
        if node not in self.to:
            if node.op == "const":
                self.to[node] = self.graph.include(node)
            else:
                self.to[node] = self._slot(self.fixed, node, node.type, "fixed", node)
        return self.to[node]

    def _slot(
        self, held: dict[Node, Node], operand: Node, type: TensorType, role: str, of: Node
    ) -> Node:
        known = [k for k, v in held.items() if v is operand]
        if known:
            return known[0]
        made = slot(self.graph, type, next(self.b.counter), role)
        held[made] = operand
        self._mark(of, made)
        return made

    def _mark(self, node: Node, made: Node) -> None:
        spans, name = self.b.graph.spans.get(node, ()), self.b.graph.names.get(node)
        self.graph.mark(made, spans, name)

    def body(self, nexts: tuple[Node, ...], length: Size) -> Body:
        return Body(self.graph, tuple(self.rows), tuple(self.fixed), self.carried, nexts, length)


# ---- sequences ---------------------------------------------------------------------------------


def time_first(b: Build, node: Node, span: Span) -> Node:
    """A sequence with time as its first axis."""
    at = node.type.running.index(TIME)
    if at == 0:
        return node
    rest = [i for i in range(len(node.type.shape)) if i != at]
    return b.at(span)("transpose", node, perm=(at, *rest))


def batch_first(b: Build, node: Node, span: Span) -> Node:
    """A result with the example as its first axis, as users see it."""
    if node.type.running[:2] != (TIME, "batch"):
        return node
    rest = range(2, len(node.type.shape))
    return b.at(span)("transpose", node, perm=(1, 0, *rest))


def shifted(b: Build, node: Node, offset: int, span: Span) -> Node:
    """The sequence x[t + offset]; zeros where there is no such element."""
    length = b.sizes.resolve(node.type.shape[0]).value
    if length is None or abs(offset) >= length:
        b.fail("E208", f"the sequence is not {abs(offset) + 1} steps long", span)
    make, k = b.at(span), abs(offset)
    start, stop = (0, length - k) if offset < 0 else (k, length)
    cut = make("slice", node, axis=0, start=start, stop=stop)
    before, after = (k, 0) if offset < 0 else (0, k)
    return make("pad", cut, axis=0, before=before, after=after)


def final(b: Build, node: Node, span: Span) -> Node:
    """The last element of a sequence that has time first."""
    length = b.sizes.resolve(node.type.shape[0])
    if length.value is None:
        b.fail("E209", "the length of this sequence is not known where its end is asked for", span)
    return element(b, node, length.value - 1, span)


def element(b: Build, node: Node, at: int, span: Span) -> Node:
    """The element of a sequence at a place known now."""
    make, type = b.at(span), row_type(node.type)
    cut = make("slice", node, axis=0, start=at, stop=at + 1)
    return make("reshape", cut, shape=type.shape, running=type.running)


# ---- the memory of one-step forms --------------------------------------------------------------

Key = tuple[str, str, int]


def recall(b: Build, key: Key, type: TensorType, begun: Callable[[], Node]) -> Node:
    """What was remembered under a key. In a loop around it this is one more thing carried."""
    loop: Attempt | None = b.loop
    held = b.frame.memory.get(key)
    if held is None and b.frame.asked is not None:
        if key not in b.frame.asked or b.frame.asked[key][1].type != type:
            name = f"{key[0]}.{key[1]}-{key[2]}"
            b.frame.asked[key] = (begun(), b.make("input", name=name, type=type))
        return b.frame.asked[key][1]
    if loop is None:
        return begun() if held is None else held
    known = loop.memory.get(key)
    if known is None or known[0].type.shape != type.shape:
        made = b.mark(slot(b.graph, type, next(b.counter), "carried"), loop.loop.st.span, key[1])
        loop.memory[key] = (made, begun() if held is None else held)
        loop.now[key] = made
    return loop.now[key]


def remember(b: Build, key: Key, value: Node) -> None:
    """Keep a value for the next step."""
    loop: Attempt | None = b.loop
    if loop is None:
        b.frame.memory[key] = value
    else:
        loop.now[key] = value
