"""A scan in a step of another one, written out step by step.

A loop is one node with a graph of its own; there are no loops inside that graph. Where the steps
of an inner scan need nothing of the outer one it is a loop of its own, done once, outside. Else
each of its steps becomes equations of the outer step: it reads what the steps before it have given,
and draws for itself. See decision 19.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dln.compiler.frontend.context import broadcasting, lengths, time_axis
from dln.compiler.frontend.context.values import StepIndex
from dln.compiler.frontend.scan.scan_step import Attempt
from dln.compiler.ir.graph import Node
from dln.compiler.ir.ops.loop import body_of, row_type
from dln.compiler.ir.sizes import Size
from dln.compiler.ir.structure import is_draw
from dln.compiler.ir.tensor_type import TIME
from dln.grammar.diagnostics import Span

if TYPE_CHECKING:
    from dln.compiler.frontend.scan.scan import Loop

MOST = 64
"""The number of steps of a scan inside a scan, which all become equations."""


def settled(loop: Loop, outer: Attempt) -> dict[str, Node]:
    """The sequences of a scan that stands in a step of another."""
    b = loop.b
    outer.holds = True
    with b.within(loop=None, stepping=False):
        attempt = loop.settled()
        made = {} if attempt.memory else attempt.close()
        number = attempt.length()
    if made and not (_draws(attempt) or outer.touches(made.values())):
        return made
    return _written_out(loop, attempt, _few(loop, number), outer)


def _draws(attempt: Attempt) -> bool:
    """Whether the steps of a loop draw, which they shall do anew in each step around it."""
    assert attempt.scan is not None
    return any(map(is_draw, body_of(attempt.scan).graph.topological()))


def _few(loop: Loop, number: Size) -> int:
    """How many steps are written out."""
    b, length = loop.b, loop.b.sizes.resolve(number).value
    if length is not None and length <= MOST:
        return length
    count = "an unknown number of steps" if length is None else str(length)
    b.fail(
        "E339",
        f"a scan inside a scan has at most {MOST} steps, where it needs the step around it",
        loop.st.span,
        f"has {count}",
        facts=("its steps are written out as equations of the outer step",),
        remedy="put it outside, or exchange the two scans",
    )


def _written_out(loop: Loop, attempt: Attempt, number: int, outer: Attempt) -> dict[str, Node]:
    b, steps = loop.b, list[Step]()
    for s in range(number):
        step = Step(loop, attempt, steps)
        with b.within(round=(*b.round, s), loop=outer, stepping=False):
            step.work_out()
        steps.append(step)
    return {
        name: _joined(loop, name, [step.current(name) for step in steps], attempt.length())
        for name in loop.recurrences
    }


def _joined(loop: Loop, name: str, elements: Sequence[Node], number: Size) -> Node:
    """The sequence of some elements."""
    b, span = loop.b, loop.recurrences[name].span
    aligned = broadcasting.align(b, elements, span)
    make, type = b.at(span), aligned[0].type
    shape = (Size(1), *type.shape)
    rows = [make("reshape", e, shape=shape, running=()) for e in aligned]
    whole = make("concat", *rows, axis=0) if len(rows) > 1 else rows[0]
    if lengths.extent(b, number) is not None:
        whole = lengths.resized(b, whole, {0: number})
    made = make("running", whole, running=(TIME, *type.running))
    path = f"{loop.scope.path}.{name}" if loop.scope.path else name
    return b.mark(made, span, path)


class Step(Attempt):
    """One step of a scan that is written out, after the `steps` before it."""

    def __init__(self, loop: Loop, settled: Attempt, steps: Sequence[Step]) -> None:
        super().__init__(loop, settled.types)
        self.steps = tuple(steps)

    def within(self) -> Any:
        return self.b.loop

    def carried(self, name: str, lag: int) -> Node:
        """What `name` was `lag` steps ago; before the first step, what is said."""
        behind, type = lag - len(self.steps), self.types[name]
        if behind > 0:
            return self.begun(name, behind, type)
        return self._filled(self.steps[-lag].current(name), type)

    def _given(self, node: Node, index: StepIndex, span: Span) -> Node:
        node = time_axis.time_first(self.b, node, span)
        at, length = len(self.steps) + index.offset, node.type.shape[0]
        if not 0 <= at < self.b.sizes.resolve(length).constant:
            return self._nothing(row_type(node.type))
        return time_axis.element(self.b, node, at, span)
