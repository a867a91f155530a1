"""A scan in a step of another one, written out step by step.

A loop is one node with a graph of its own; there are no loops inside that graph. Where the steps
of an inner scan need nothing of the outer one it is a loop of its own, done once, outside. Else
each of its steps becomes equations of the outer step: it reads what the steps before it have given,
and draws for itself. See decision 19.
"""

from __future__ import annotations

from collections.abc import Sequence

from dln.compiler.frontend.context import broadcasting, lengths, time_axis
from dln.compiler.frontend.context.build_context import Build
from dln.compiler.frontend.context.frame import OpenLoop
from dln.compiler.frontend.context.place import replace
from dln.compiler.frontend.context.values import StepIndex
from dln.compiler.frontend.scan.closing import closed, number_of_steps
from dln.compiler.frontend.scan.recurrences import Recurrences
from dln.compiler.frontend.scan.scan_step import Attempt
from dln.compiler.frontend.scan.settling import settled
from dln.compiler.ir.graph import Node
from dln.compiler.ir.ops.loop import body_of, row_type
from dln.compiler.ir.sizes import Size
from dln.compiler.ir.structure import is_draw
from dln.compiler.ir.tensor_type import TIME
from dln.grammar.diagnostics import Span

MOST = 64
"""The number of steps of a scan inside a scan, which all become equations."""


def inside(b: Build, scan: Recurrences, outer: OpenLoop) -> dict[str, Node]:
    """The sequences of a scan that stands in a step of another."""
    outer.holds = True
    apart = replace(b, time=replace(b.time, loop=None, stepping=False))
    attempt = settled(apart, scan)
    if not attempt.loop.memory:
        loop, made = closed(attempt)
        # Its steps draw anew in each step around it.
        draws = any(map(is_draw, body_of(loop).graph.topological()))
        if not (draws or outer.touches(made.values(), b.facts.drawn)):
            return made
    number = number_of_steps(attempt)
    steps: list[UnrolledStep] = []
    for k in range(_few(apart, scan, number)):
        time = replace(b.time, round=(*b.time.round, k), loop=outer, stepping=False)
        step = UnrolledStep(replace(b, time=time), attempt, steps)
        step.work_out()
        steps.append(step)
    return {
        name: _joined(b, scan, name, [step.current(step.b, name) for step in steps], number)
        for name in scan.lines
    }


def _few(b: Build, scan: Recurrences, number: Size) -> int:
    """How many steps are written out."""
    length = b.number(number)
    if length is not None and length <= MOST:
        return length
    text = f"a scan inside a scan has at most {MOST} steps, where it needs the step around it"
    label = f"has {'an unknown number of steps' if length is None else length}"
    remedy = "put it outside, or exchange the two scans"
    facts = ("its steps are written out as equations of the outer step",)
    b.fail("E339", text, scan.st.span, label, remedy=remedy, facts=facts)


def _joined(b: Build, scan: Recurrences, name: str, elements: Sequence[Node], number: Size) -> Node:
    """The sequence of some elements."""
    span = scan.lines[name].span
    aligned = broadcasting.align(b, elements, span)
    make, type = b.at(span), aligned[0].type
    shape = (Size(1), *type.shape)
    rows = [make("reshape", e, shape=shape, running=()) for e in aligned]
    whole = make("concat", *rows, axis=0) if len(rows) > 1 else rows[0]
    if lengths.extent(b, number) is not None:
        whole = lengths.resized(b, whole, {0: number})
    made = lengths.of_each(b, make("running", whole, running=(TIME, *type.running)), span)
    if scan.st.backwards:
        made = time_axis.backwards(b, made, span)
    return b.mark(made, span, scan.scope.named(name))


class UnrolledStep(Attempt):
    """One step of a scan that is written out, after the `steps` before it. It belongs to the step
    of the loop around it."""

    def __init__(self, b: Build, settled: Attempt, steps: Sequence[UnrolledStep]) -> None:
        super().__init__(b, settled.scan, settled.types)
        self.within = b.time.loop
        self.whole = settled
        self.steps = tuple(steps)

    def carried(self, b: Build, name: str, lag: int) -> Node:
        """What `name` was `lag` steps ago; before the first step, what is said."""
        behind, type = lag - len(self.steps), self.types[name]
        if behind > 0:
            return self.begun(name, behind, type)
        before = self.steps[-lag]
        value = self.filled(before.current(before.b, name), type)
        outside = self.window is not None and len(self.steps) % self.window < lag
        return b.at(self.scan.st.span)("stop", value) if outside else value

    def number(self, b: Build, span: Span) -> Node:
        make, at = b.at(span), float(len(self.steps))
        if not self.scan.st.backwards:
            return make.const(at)
        length = number_of_steps(self.whole)
        found = lengths.extent(b, length)
        count = make.size(length) if found is None else make("cast", found.count, kind="real")
        return make.sub(count, make.const(at + 1))

    def _given(self, b: Build, node: Node, index: StepIndex, span: Span) -> Node:
        node = time_axis.time_first(b, node, span)
        if self.scan.st.backwards:
            node = time_axis.backwards(b, node, span)
        at, length = len(self.steps) - self._lag(index), node.type.shape[0]
        if not 0 <= at < b.sizes.resolve(length).constant:
            return self.nothing(row_type(node.type))
        return time_axis.element(b, node, at, span)
