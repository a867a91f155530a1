"""A step of a scan worked out, with what is carried taken to be of some types."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from dln.compiler.frontend.context import absences, broadcasting, lengths, standing, time_axis
from dln.compiler.frontend.context.static_values import lookup, whole
from dln.compiler.frontend.context.values import Recurrence, StepIndex
from dln.compiler.frontend.scan import equations, preconditions
from dln.compiler.frontend.scan.body_builder import BodyMaker
from dln.compiler.frontend.scan.step_memory import Key, recall, remember
from dln.compiler.ir.graph import Node, ancestors
from dln.compiler.ir.ops.loop import Body, item, row_type, slot
from dln.compiler.ir.sizes import Conflict, Reason, Size
from dln.compiler.ir.structure import is_draw, is_element
from dln.compiler.ir.tensor_type import TIME, TensorType, fits
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Span

if TYPE_CHECKING:
    from dln.compiler.frontend.scan.scan import Loop


class Attempt:
    """One working out of a step, with what is carried taken to be of some types."""

    def __init__(self, loop: Loop, types: dict[str, TensorType]) -> None:
        self.loop, self.b, self.types = loop, loop.b, types
        self.number = next(loop.b.counter)
        self.slots: dict[tuple[str, int], Node] = {}
        self.lengths: list[tuple[Size, Span]] = []
        self.memory: dict[Key, tuple[Node, Node]] = {}
        self.now: dict[Key, Node] = {}
        self.looked: dict[Key, Node] = {}
        self.stepping, self.around = loop.b.stepping, loop.b.loop
        self.along = False  # in a one-step form: whether it looks at a sequence
        self.holds = False  # whether there is a scan inside the step
        self.scan: Node | None = None
        self.scope = loop.scope.child()

    # ---- the equations of a step ---------------------------------------------------------------

    def work_out(self) -> None:
        """Bind the names of a step and ask for every one."""
        b, st, inner = self.b, self.loop.st, self.scope
        with b.within(loop=self.within(), in_step=True):
            self._bind()
            for stated in st.body:
                if isinstance(stated, s.Scan):
                    self._inside(stated)
                if not isinstance(stated, s.Define | s.Draw):
                    continue
                if (name := stated.target.name) in self.loop.recurrences:
                    self.current(name)
                else:
                    lookup(b, name, stated.span, inner)
            preconditions.ask(b, inner)

    def within(self) -> Any:
        """The loop that a step belongs to."""
        return self.around if self.stepping else self

    def _inside(self, st: s.Scan) -> None:
        """Ask for the sequences of a scan inside the step, so that what is wrong is found."""
        for line in st.body:
            if isinstance(line, s.Define | s.Draw) and line.target.name in self.scope.names:
                lookup(self.b, line.target.name, line.span, self.scope)

    def touches(self, nodes: Iterable[Node]) -> bool:
        """Whether some values belong to the step at hand."""
        own = {*self.slots.values(), *(held for held, _ in self.memory.values())}
        return any(
            n in own
            or (is_element(n) and n["loop"] == self.number)
            or (is_draw(n) and self.b.drawn.get(n) is self)
            for n in ancestors(nodes)
        )

    def _bind(self) -> None:
        b, st, inner = self.b, self.loop.st, self.scope
        inner.value(st.name, StepIndex(self, 0), st.span)
        for name, line in self.loop.recurrences.items():
            inner.value(name, Recurrence(self, name), line.target.span)
            find = partial(self._define, line)
            equations.once(b, inner, f"{name}[{st.name}]", line.target.span, find)
        equations.refuse_misplaced(b, self.loop.others, "scan")
        equations.bind_statements(b, self.loop.others, inner)

    def _define(self, line: s.Define | s.Draw) -> Node:
        """The value of `h[t] = ...` at the step at hand."""
        rest = (line.target.dims or ())[1:]
        here = line.changed(target=line.target.changed(dims=rest or None))
        if isinstance(here, s.Draw):
            return equations.draw(self.b, here, self.scope)
        span = here.value.span
        node = broadcasting.as_tensor(self.b, equations.define(self.b, here, self.scope), span)
        if standing.runs(self.b, node):
            name, t = line.target.name, self.loop.st.name
            text = f"{name}[{t}] is what {name} is at one step"
            remedy = f"last(...), or {name}[{t}, i] = ...[i]"
            self.b.fail("E214", text, span, "is a whole sequence", remedy=remedy)
        return node if node.type.kind == "index" else broadcasting.quantity(self.b, node, span)

    def current(self, name: str) -> Node:
        """`h[t]`."""
        key = f"{name}[{self.loop.st.name}]"
        value: Node = lookup(self.b, key, self.loop.recurrences[name].span, self.scope)
        return value

    def element(self, value: Any, index: StepIndex, span: Span) -> Node:
        """`x[t]`, `h[t-1]`: of a sequence from outside, or of one that this scan defines."""
        if isinstance(value, Recurrence) and value.name in self.loop.recurrences:
            return self._own(value.name, index, span)
        if isinstance(value, Recurrence) or (
            not self.stepping and self.holds and self.touches([value])
        ):
            self._other(value, span)
        return self._given(value, index, span)

    def _other(self, value: Any, span: Span) -> NoReturn:
        """A sequence of the outer scan with the inner index, or the other way round."""
        name, t = span.text.partition("[")[0].strip(), self.loop.st.name
        other = value.attempt.loop.st.name if isinstance(value, Recurrence) else "a scan inside"
        label = f"{name} runs over {other}" if isinstance(value, Recurrence) else f"is of {other}"
        self.b.fail("E214", f"{t} is no step of {name}", span, label)

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
            if self.stepping:
                self.slots[key] = self._remembered(name, lag)
            else:
                type = self._held(name, lag)
                made = slot(self.b.graph, type, next(self.b.counter), "carried")
                self.slots[key] = self.b.mark(made, self.loop.st.span, f"{name} before")
        return self.slots[key]

    def _held(self, name: str, lag: int) -> TensorType:
        """The type of what `name` was: of classes perhaps none, where nobody says the first."""
        type = self.types[name]
        return type if self.loop.first(name, lag) is not None else absences.held(type)

    def _given(self, node: Node, index: StepIndex, span: Span) -> Node:
        """The element of a sequence from outside the scan."""
        b = self.b
        if self.stepping:
            standing.refuse_both(b, node, span)
        if TIME not in node.type.running:
            if standing.is_sequence(b, node):
                if self.stepping:
                    return self._given_now(node, index, span)
                standing.refuse(b, span, "is of a sequence, of which it has one step")
            b.fail(
                "E214",
                f"{broadcasting.short(span.text)} is no element of a sequence",
                span,
                f"{b.shown(node.type)} does not run over time",
                remedy="x[time, n] in the block's ports says that x is a sequence",
            )
        node = time_axis.time_first(b, node, span)
        self.lengths.append((node.type.shape[0], span))
        for lag in range(1, 1 - index.offset):
            self.looked[self._seen_key(span, lag)] = node
        if index.offset:
            node = time_axis.shifted(b, node, index.offset, span)
        return b.at(span)("at", node, loop=self.number)

    def _given_now(self, node: Node, index: StepIndex, span: Span) -> Node:
        """In a one-step form: what comes in now, or what came in some steps ago."""
        b, lag = self.b, -index.offset
        if lag < 0:
            b.fail(
                "E319",
                "a single step cannot look at what comes later",
                span,
                f"is known {-lag} step{'s' * (lag < -1)} from now only",
                remedy="apply the block to the whole sequence",
            )
        self.along = True
        before = standing.marked(b, node, "element", span)
        type = absences.held(node.type)
        for k in range(1, lag + 1):
            key = self._seen_key(span, k)
            self.looked[key] = before
            before = self._recall(key, type, partial(self._nothing, type))
        return before

    def _seen_key(self, span: Span, lag: int) -> Key:
        """Under which key a scan remembers what it saw of a sequence from outside."""
        seen = span.text.partition("[")[0].strip()
        return (self.loop.scope.path, f"{seen} for {next(iter(self.loop.recurrences))}", lag)

    def _nothing(self, type: TensorType) -> Node:
        """What stands before the beginning of a sequence."""
        type = absences.held(type)
        nothing = absences.NONE if type.kind == "index" else 0.0
        zero = self.b.at(self.loop.st.span).const(nothing, type.kind)
        return self.b.make("asserted", self._filled(zero, type), domain=type.domain)

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
            elif fits(node.type.domain, taken := self.types[name].domain):
                type = type.like(domain=taken)  # what it begins with, and the equation too
            elif name in used:
                changed = True
            if name in used and not self._same(name, self.types[name], type):
                changed = True
            found[name] = self._joined(name, type)
        return found, changed

    def _joined(self, name: str, type: TensorType) -> TensorType:
        """The type of an equation, running at least over what its first value does."""
        taken = self.types[name]
        lost = [a for a in taken.running if a not in type.running]
        if not lost or any(a not in taken.running for a in type.running):
            return type
        lead = taken.shape[: len(taken.running)]
        return type.like(shape=(*lead, *type.example), running=taken.running)

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
        type = self._held(name, lag)
        begun = partial(self.begun, name, lag, type)
        return self._recall((self.loop.scope.path, name, lag), type, begun)

    def _recall(self, key: Key, type: TensorType, begun: Callable[[], Node]) -> Node:
        with self.b.within(loop=self.around):  # whichever scan inside the step asks
            held = recall(self.b, key, type, begun)
        return standing.marked(self.b, held, "memory", self.loop.st.span)

    def remember(self) -> None:
        """Leave in the memory what the next step needs."""
        self._refuse_own_steps()
        for name, lag in sorted(self.slots, key=lambda k: -k[1]):
            key = (self.loop.scope.path, name, lag)
            value = self.current(name) if lag == 1 else self.slots[name, lag - 1]
            standing.refuse_end(self.b, value, self.loop.recurrences[name].span, name)
            remember(self.b, key, self._filled(value, self.types[name]))
        for key, node in self.looked.items():
            standing.refuse_end(self.b, node, self.loop.st.span, key[1].partition(" ")[0])
            remember(self.b, key, node)

    def _refuse_own_steps(self) -> None:
        """A scan that has a number of steps of its own and runs along no sequence does not move on
        with those that do."""
        st, entered = self.loop.st, self.b.entered
        own = not (st.range is None or (isinstance(st.range, s.Name) and st.range.id == TIME))
        owner = equations.owner_of(self.loop.scope)
        if own and not self.along and (entered.timed or owner is not entered):
            text = "a scan along no sequence does not move on with a single step"
            standing.refuse(self.b, st.span, "has steps of its own", text)

    # ---- the loop ------------------------------------------------------------------------------

    def begun(self, name: str, lag: int, type: TensorType) -> Node:
        """The value before the first step: what is said, what a stream carries over, or zeros."""
        b, span = self.b, self.loop.st.span
        said = self.loop.first(name, lag)
        if said is not None:
            return self._filled(said, type)
        carried = None if self.loop.inside else b.frame.carry
        if carried is not None and type.kind == "index":
            self._no_class_carried(name, lag)
        if carried is not None and not self.stepping:
            path = f"{self.loop.scope.path}.{name}-{lag}"
            begun: Node = carried.begin(b, path, type, span)
            return begun
        return self._nothing(type)

    def _no_class_carried(self, name: str, lag: int) -> NoReturn:
        """What a stream carries is 0 where an epoch begins, which is no class."""
        line = self.loop.recurrences[name]
        text = f"{name} is a class, and a stream carries numbers from window to window"
        label, remedy = "begins as no class", f"{name}[-{lag}] = ..., or onehot({name}[...])"
        self.b.fail("E385", text, line.target.span, label, remedy=remedy)

    def _filled(self, node: Node, type: TensorType) -> Node:
        """A value spread over the type of what is carried."""
        if node.type.shape == type.shape and node.type.running == type.running:
            return node
        make = self.b.at(self.loop.st.span)
        if not node.type.shape:
            return make("broadcast", node, axes=(), shape=type.shape, running=type.running)
        return broadcasting.spread(self.b, node, type, self.loop.st.span)

    def close(self) -> dict[str, Node]:
        """The loop in the graph; the sequence of each name."""
        b = self.b
        wanted = {name: self.current(name) for name in self.loop.recurrences}
        carried, nexts, firsts = self._carried()
        maker = BodyMaker(b, self.number, carried)
        inside = [maker.inner(n) for n in (*nexts, *wanted.values())]
        body = maker.body(tuple(inside[: len(nexts)]), self.length())
        make = b.at(self.loop.st.span)
        scan = make("scan", *maker.rows.values(), *maker.fixed.values(), *firsts, body=body)
        self.scan = scan
        self._leave(scan, body)
        out = {}
        for (name, node), value in zip(wanted.items(), inside[len(nexts) :], strict=True):
            made = item(make, scan, value)
            path = f"{self.loop.scope.path}.{name}" if self.loop.scope.path else name
            if made.type.domain != node.type.domain:
                at = b.at(self.loop.recurrences[name].span)
                made = at("asserted", made, domain=node.type.domain)
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
            if self.loop.inside and key not in self.memory:
                continue  # it begins anew in each step around it
            last = time_axis.final(b, item(b.make, scan, value), self.loop.st.span)
            if b.reading or key in self.memory:
                remember(b, key, last)
            if b.frame.carry is not None and key not in self.memory:
                b.frame.carry.end(b, f"{key[0]}.{key[1]}-{key[2]}", last)
        if b.reading and not self.loop.inside:
            for key, node in self.looked.items():
                remember(b, key, self._seen(node, key[2]))

    def _seen(self, node: Node, lag: int) -> Node:
        """The last element but `lag - 1` of a sequence that was read."""
        length = self.b.sizes.resolve(node.type.shape[0]).constant
        if lag > length:
            return self._nothing(row_type(node.type))
        return time_axis.element(self.b, node, length - lag, self.loop.st.span)

    def length(self) -> Size:
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
                broadcasting.equal(b, length, size, span, "both run over time")
                length = lengths.merged(b, length, size)
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
        return length if lengths.extent(b, length) is not None else b.sizes.resolve(length)

    def _positive(self, length: Size, span: Span) -> None:
        if length.constant < 1:
            self.b.fail("E305", "a scan has at least one step", span, f"is {length}")
