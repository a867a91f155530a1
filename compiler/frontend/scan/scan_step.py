"""A step of a scan worked out, with what is carried taken to be of some types."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import NoReturn

from dln.compiler.frontend.context import (
    absences,
    broadcasting,
    counting,
    lengths,
    standing,
    time_axis,
)
from dln.compiler.frontend.context.build_context import Build
from dln.compiler.frontend.context.frame import OpenLoop, Remembered
from dln.compiler.frontend.context.place import replace
from dln.compiler.frontend.context.static_values import lookup, positive
from dln.compiler.frontend.context.values import Recurrence, StepIndex
from dln.compiler.frontend.scan import equations, preconditions
from dln.compiler.frontend.scan.recurrences import Recurrences
from dln.compiler.ir.graph import Node
from dln.compiler.ir.ops.loop import slot
from dln.compiler.ir.sizes import Size, Var
from dln.compiler.ir.tensor_type import TIME, TensorType
from dln.grammar import syntax as s
from dln.grammar.diagnostics import DlnError, Span


class Attempt:
    """One working out of a step, with what is carried taken to be of some types.

    `b` is where the scan is worked out, `loop` what its step leaves; the step belongs to `within`,
    which in a one-step form is the loop `around` it, if any. `lengths` are those of the sequences
    that it runs along, `looked` what it has seen of them for the next step; `along` says that a
    one-step form looks at any. Where `t` stands for a number, `count` is that, `counted` how many
    steps there are, `places` their numbers, and `before` how many lie before this window of a
    stream.
    """

    def __init__(self, b: Build, scan: Recurrences, types: dict[str, TensorType]) -> None:
        self.b, self.scan, self.types = b, scan, types
        self.loop = OpenLoop(next(b.counter), scan.st.name, scan.st.span)
        self.around, self.stepping = b.time.loop, b.time.stepping
        self.within = self.around if self.stepping else self.loop
        self.lengths: list[tuple[Size, Span]] = []
        self.looked: dict[Remembered, Node] = {}
        self.along = False
        self.count: Node | None = None
        self.counted: Size | None = None
        self.before: Node | None = None
        self.places: Node | None = None
        self.scope = scan.scope.child()
        self.window: int | None = None

    @property
    def index(self) -> str:
        return self.scan.st.name

    # ---- the equations of a step ---------------------------------------------------------------

    def work_out(self) -> None:
        """Bind the names of a step and ask for every one."""
        st, b = self.scan.st, self.b
        b = replace(b, time=replace(b.time, loop=self.within, in_step=True))
        inner = self.scope
        inner.value(st.name, StepIndex(self, 0), st.span)
        if st.by is not None:
            text = "a window has at least one step"
            self.window = positive(b, st.by, self.scan.scope, "the steps of a window", text)
            self.loop.cut = partial(self._cut, b)
        for name, equation in self.scan.lines.items():
            at = equation.target.span
            inner.value(name, Recurrence(self, name), at)
            find = partial(self._define, line=equation)
            equations.once(b, inner, f"{name}[{st.name}]", at, find)
        equations.refuse_misplaced(b, self.scan.others, "scan")
        b.bind(self.scan.others, inner)
        try:
            self._ask(b)
        except DlnError:
            self._refuse_taken_whole(b)
            raise

    def _ask(self, b: Build) -> None:
        """Ask for every name of the step."""
        for stated in self.scan.st.body:
            # of a scan inside what its own sequences are, so that what is wrong there is found
            for line in stated.body if isinstance(stated, s.Scan) else (stated,):
                if not isinstance(line, s.Define | s.Draw):
                    continue
                if (name := line.target.name) in self.scan.lines and line is stated:
                    self.current(b, name)
                elif line is stated or name in self.scope.names:
                    lookup(b, name, line.span, self.scope)
        preconditions.ask(b, self.scope)

    def _define(self, b: Build, line: s.Define | s.Draw) -> Node:
        """The value of `h[t] = ...` at the step at hand."""
        rest = (line.target.dims or ())[1:]
        here = line.changed(target=line.target.changed(dims=rest or None))
        if isinstance(here, s.Draw):
            return equations.draw(b, here, self.scope)
        span = here.value.span
        node = broadcasting.as_tensor(b, equations.define(b, here, self.scope), span)
        if standing.runs(b, node):
            name, t = line.target.name, self.index
            text = f"{name}[{t}] is what {name} is at one step"
            whole = self._whole(b, here.value)
            at, remedy = (whole.span, f"{whole.id}[{t}]") if whole is not None else (span, "")
            if whole is not None and whole.id in self.scope.names:
                of_step = whole.id in {line.target.name for line in self._own_lines()}
                remedy = "" if of_step else f"last({whole.id})"  # of a scan in this step
            b.fail("E214", text, at, "is a whole sequence", remedy=remedy)
        return node if node.type.kind == "index" else broadcasting.quantity(b, node, span)

    def _own_lines(self) -> Iterator[s.Define]:
        """The equations of this step alone, without an index."""
        for line in self.scan.others:
            if isinstance(line, s.Define) and line.target.dims is None:
                yield line

    def _refuse_taken_whole(self, b: Build) -> None:
        """Where a step has failed that takes a part, `a[0]`, of what would be all steps: `a = W @ x
        + U @ h[t-1]` for `x[t]`."""
        body = self.scan.st.span.text
        for line in self._own_lines():
            if not re.search(rf"(?<![\w.]){line.target.name}\[\s*\d", body):
                continue
            whole = self._whole(b, line.value)
            if whole is not None and whole.id not in self.scope.names:
                name, t = line.target.name, self.index
                text = f"{name} is meant at one step, as {name}[0] is a part of it"
                remedy = f"{whole.id}[{t}]"
                b.fail("E214", text, whole.span, "is a whole sequence", remedy=remedy)

    def _whole(self, b: Build, expr: s.Syntax) -> s.Name | None:
        """The sequence that stands in an equation of a step as a whole, without its index."""
        if isinstance(expr, s.Index):
            parts: Iterable[s.Syntax] = expr.indices
        else:
            parts = expr.children()
        if isinstance(expr, s.Name) and self.scope.lookup(expr.id) is not None:
            value = lookup(b, expr.id, expr.span, self.scope)
            if isinstance(value, Node) and standing.runs(b, value):
                own = (line for line in self._own_lines() if line.target.name == expr.id)
                inside = (self._whole(b, line.value) for line in own)
                return next(filter(None, inside), expr)
        return next(filter(None, (self._whole(b, part) for part in parts)), None)

    def current(self, b: Build, name: str) -> Node:
        """`h[t]`."""
        node = lookup(b, f"{name}[{self.index}]", self.scan.lines[name].span, self.scope)
        assert isinstance(node, Node)
        return node

    # ---- elements of sequences -----------------------------------------------------------------

    def element(self, b: Build, value: Node | Recurrence, index: StepIndex, span: Span) -> Node:
        """`x[t]`, `h[t-1]`: of a sequence from outside, or of one that this scan defines."""
        if isinstance(value, Recurrence):
            if value.name not in self.scan.lines:
                self._other(b, span, value.scan.index, "runs over")
            if (lag := self._lag(index)) < 0:
                self._refuse_later(b, value.name, -lag, span)
            return self.carried(b, value.name, lag) if lag else self.current(b, value.name)
        if not self.stepping and self.loop.holds and self.loop.touches([value], b.facts.drawn):
            self._other(b, span, "a scan inside", "is of")
        return self._given(b, value, index, span)

    def _lag(self, index: StepIndex) -> int:
        """How many steps ago, in the order in which they are done, a step was."""
        return index.offset if self.scan.st.backwards else -index.offset

    def _refuse_later(self, b: Build, name: str, steps: int, span: Span) -> NoReturn:
        """A sequence that needs what the scan has not come to yet."""
        t, back = self.index, self.scan.st.backwards
        sign, way, when = ("+", "downwards", "past") if back else ("-", "upwards", "future")
        known = f"{name}[{t}{sign}1], {name}[{t}{sign}2]"
        label = f"scan runs {t} {way}, so only {known}, ... exist here"
        remedy, text = f"{name}[{t}{sign}{steps}]", f"{name} needs its own {when}"
        target = span.source.line(span.line).split("=")[0].strip()
        if not target.startswith(f"{name}[") and steps == 1:  # of this step, it is there
            text, remedy = f"{name} is not there yet in the step after this one", f"{name}[{t}]"
            label = f"scan runs {t} {way}, so {name}[{t}], {known}, ... exist here"
        b.fail("E330", text, span, label, remedy=remedy)

    def number(self, b: Build, span: Span) -> Node:
        """`t` as a number: how many steps of the sequence lie before the one at hand."""
        if self.count is None:
            self.count = self._remembered(b, span) if self.stepping else self._counted(b, span)
        return self.count

    def _counted(self, b: Build, span: Span) -> Node:
        """In a loop: its steps as they are counted, after those of the windows before."""
        make, self.counted = b.at(span), Size.of(Var(self.index, span=self.scan.st.span))
        every = counting.places(make, self.counted, TIME)
        if self.scan.st.backwards:  # of each example, once it is known how many steps it has
            every = make.add(lengths.each(b, every, span), make.const(0.0))  # other than _done's
        self.places = every
        here = make("at", every, loop=self.loop.number)
        carry = None if self.scan.inside else b.frame.carry
        if carry is None:
            return here
        self.before = carry.begin(make, str(self.count_key), b.frame.number)
        return make("add", *broadcasting.align(b, [here, self.before], span))

    def _remembered(self, b: Build, span: Span) -> Node:
        """In a one-step form: as many as there were, and one more for the next step."""
        like, make = b.frame.number, b.at(span)
        before = self._recall(b, self.count_key, like, partial(self.nothing, like))
        self.looked[self.count_key] = make.add(before, make.const(1.0))
        return before

    @property
    def count_key(self) -> Remembered:
        """Under which key a scan remembers how many steps it has made."""
        return Remembered(self.scan.scope.path, self.index, 0, next(iter(self.scan.lines)))

    def _other(self, b: Build, span: Span, other: str, how: str) -> NoReturn:
        """A sequence of the outer scan with the inner index, or the other way round."""
        name = span.text.partition("[")[0].strip()
        who = f"{name} " if how == "runs over" else ""
        b.fail("E214", f"{self.index} is no step of {name}", span, f"{who}{how} {other}")

    def carried(self, b: Build, name: str, lag: int) -> Node:
        """The slot that holds what `name` was `lag` steps ago."""
        if lag > 1:
            self.carried(b, name, lag - 1)
        key, slots = (name, lag), self.loop.slots
        if key not in slots:
            said = self.scan.first(b, name, lag) is not None
            type = self.types[name] if said else absences.held(self.types[name])
            if self.stepping:
                begun = partial(self.begun, name, lag, type)
                slots[key] = self._recall(b, self._key(name, lag), type, begun)
            else:
                made = slot(b.graph, type, next(b.counter), "carried")
                slots[key] = b.mark(made, self.scan.st.span, f"{name} before")
        return slots[key] if self.stepping else self.cut(slots[key], lag)

    def cut(self, value: Node, lag: int) -> Node:
        """What a step knows of an earlier one: in windows no gradient runs out of its own."""
        return value if self.loop.cut is None else self.loop.cut(value, lag)

    def _cut(self, b: Build, value: Node, lag: int) -> Node:
        """The value itself where the earlier step is of the same window, else no more than that."""
        make, span = b.at(self.scan.st.span), self.scan.st.span
        if value.type.kind != "real" or self.window is None:
            return value
        done, size = self._done(b, span), make.const(float(self.window))
        within = make.sub(done, make.mul(size, make("floor", make.div(done, size))))
        back = make.const(float(lag))  # what it begins with belongs to the first window
        test = make("and", make("lt", within, back), make("ge", done, back))
        apart = broadcasting.align(b, [test, make("stop", value), value], span)
        return make("asserted", make("where", *apart), domain=value.type.domain)

    def _done(self, b: Build, span: Span) -> Node:
        """How many steps lie before the one at hand, in the order in which they are done."""
        number = self.number(b, span)
        if not self.scan.st.backwards:
            return number
        assert self.counted is not None
        return b.at(span)(
            "at", counting.places(b.at(span), self.counted, TIME), loop=self.loop.number
        )

    def _given(self, b: Build, node: Node, index: StepIndex, span: Span) -> Node:
        """The element of a sequence from outside the scan."""
        if self.stepping:
            standing.refuse_both(b, node, span)
        if TIME not in node.type.running:
            if standing.is_sequence(b, node):
                if self.stepping:
                    return self._given_now(b, node, index, span)
                standing.refuse(b, span, "is of a sequence, of which it has one step")
            text = f"{broadcasting.short(span.text)} is no element of a sequence"
            label = f"{b.shown(node.type)} does not run over time"
            remedy = "x[time, n] in the block's ports says that x is a sequence"
            b.fail("E214", text, span, label, (), self._made_by_index(span) or remedy)
        node = time_axis.time_first(b, node, span)
        if self.scan.st.backwards:
            node = time_axis.backwards(b, node, span)
        lag = self._lag(index)
        self.lengths.append((node.type.shape[0], span))
        for k in range(1, 1 + lag):
            self.looked[self._seen_key(span, k)] = node
        if lag:
            node = time_axis.shifted(b, node, -lag, span)
        return b.at(span)("at", node, loop=self.loop.number)

    def _made_by_index(self, span: Span) -> str:
        """`h[t in time, i]` for the `h[t, i]` of an equation that was to give a sequence."""
        binding = self.scope.lookup(span.text.partition("[")[0].strip())
        at = None if binding is None else binding.span
        first = None if at is None else re.match(r"\w+\[\s*(\w+)\s*[,\]]", at.text)
        if at is None or first is None or at.source is not span.source:
            return ""
        if not at.source.text[at.stop :].lstrip().startswith("="):  # a port
            return ""
        return f"{at.text[: first.end(1)]} in time{at.text[first.end(1) :]} = ..."

    def _given_now(self, b: Build, node: Node, index: StepIndex, span: Span) -> Node:
        """In a one-step form: what comes in now, or what came in some steps ago."""
        lag = -index.offset
        if lag < 0:
            text = "a single step cannot look at what comes later"
            label = f"is known {-lag} step{'s' * (lag < -1)} from now only"
            b.fail("E319", text, span, label, remedy="apply the block to the whole sequence")
        self.along = True
        before = standing.marked(b, node, "element", span)
        type = absences.held(node.type)
        for k in range(1, lag + 1):
            key = self._seen_key(span, k)
            self.looked[key] = before
            before = self._recall(b, key, type, partial(self.nothing, type))
        return before

    def _key(self, name: str, lag: int) -> Remembered:
        return Remembered(self.scan.scope.path, name, lag)

    def _seen_key(self, span: Span, lag: int) -> Remembered:
        """Under which key a scan remembers what it saw of a sequence from outside."""
        seen = span.text.partition("[")[0].strip()
        return Remembered(self.scan.scope.path, seen, lag, next(iter(self.scan.lines)))

    def _recall(
        self, b: Build, key: Remembered, type: TensorType, begun: Callable[[], Node]
    ) -> Node:
        """What the memory holds; what it begins with before the first step."""
        around = replace(b, time=replace(b.time, loop=self.around))  # whichever scan inside asks
        held = recall(around, key, type, begun)
        return standing.marked(b, held, "memory", self.scan.st.span)

    # ---- before the first step -----------------------------------------------------------------

    def begun(self, name: str, lag: int, type: TensorType) -> Node:
        """The value before the first step: what is said, what a stream carries over, or zeros."""
        b, span = self.b, self.scan.st.span
        said = self.scan.first(b, name, lag)
        if said is not None:
            return self.filled(said, type)
        carried = None if self.scan.inside else b.frame.carry
        if carried is not None and type.kind == "index":  # what a stream carries begins as 0
            text = f"{name} is a class, and a stream carries numbers from window to window"
            label, remedy = "begins as no class", f"{name}[-{lag}] = ..., or onehot({name}[...])"
            b.fail("E385", text, self.scan.lines[name].target.span, label, remedy=remedy)
        if carried is not None and not self.stepping:
            return carried.begin(b.at(span), str(self._key(name, lag)), type)
        return self.nothing(type)

    def nothing(self, type: TensorType) -> Node:
        """What stands before the beginning of a sequence."""
        type = absences.held(type)
        make = self.b.at(self.scan.st.span)
        zero = make.const(absences.NONE if type.kind == "index" else 0.0, type.kind)
        return make("asserted", self.filled(zero, type), domain=type.domain)

    def filled(self, node: Node, type: TensorType) -> Node:
        """A value spread over the type of what is carried."""
        if not node.type.shape:
            return self.b.at(self.scan.st.span).broadcast(node, type, ())
        return broadcasting.spread(self.b, node, type, self.scan.st.span)


# ---- the memory of one-step forms -------------------------------------------------------------


def recall(b: Build, key: Remembered, type: TensorType, begun: Callable[[], Node]) -> Node:
    """What was remembered under a key. In a loop around it this is one more thing carried."""
    loop, asked = b.time.loop, b.frame.asked
    held = b.frame.memory.get(key)
    if held is None and asked is not None:
        if key not in asked or asked[key][1].type != type:
            asked[key] = (begun(), b.make("input", name=str(key), type=type))
        return asked[key][1]
    if loop is None:
        return begun() if held is None else held
    known = loop.memory.get(key)
    if known is None or known[0].type.shape != type.shape:
        made = b.mark(slot(b.graph, type, next(b.counter), "carried"), loop.span, key.spoken)
        loop.memory[key] = (made, begun() if held is None else held)
        loop.now[key] = made if loop.cut is None else loop.cut(made, 1)
    return loop.now[key]


def remember(b: Build, key: Remembered, value: Node) -> None:
    """Keep a value for the next step."""
    loop = b.time.loop
    if loop is None:
        b.frame.memory[key] = value
    else:
        loop.now[key] = value
