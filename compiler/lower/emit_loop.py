"""Writes the loops of a program: the statements of one step, run once for each."""

from __future__ import annotations

from dln.compiler.ir.formula import formula
from dln.compiler.ir.graph import Node
from dln.compiler.ir.ops.loop import body_of
from dln.compiler.ir.spelling import OUT, A, Value, call
from dln.compiler.lower.line_facts import place
from dln.compiler.lower.writer import Name, StepRow, Writer, called
from dln.compiler.plan import Buffer, Line
from dln.compiler.schema.keys import Output


def loop_lines(outer: Writer, node: Node) -> list[Line]:
    """A loop: the first values, and for each step the statements of its body."""
    writer = LoopWriter(outer, node)
    lines = [*writer.firsts(), writer.head()]
    writer.write()
    inside = (ln.changed(code=f"    {ln.code}", times=writer.steps) for ln in writer.lines)
    return [*lines, *inside]


class LoopWriter(Writer):
    """The statements of one step of a loop, into the program of `outer`.

    What has a row for each step is a list of views, made once: `w3[t]` is its row at step t.
    """

    def __init__(self, outer: Writer, node: Node) -> None:
        self.outer, self.node, self.body = outer, node, body_of(node)
        self.plan = outer.made.loops[node]
        super().__init__(self.plan.step, outer.common, outer.loop)
        self.steps = self.body.length.constant
        self.texts = {name: self.text(buffer) for name, buffer in self.made.buffers.items()}

    def buffer(self, name: str) -> Name:
        return self.texts[name]

    def head(self) -> Line:
        n = self.steps
        order = f"{n - 1}, -1, -1" if self.body.reverse else f"{n}"
        return Line(f"for t in range({order}):", f"{n} steps", place(self.outer.graph, self.node))

    def firsts(self) -> list[Line]:
        """What is carried, before the first step."""
        lines = []
        for j, slot in enumerate(self.body.carried):
            array = self.plan.left[j]
            at = self.steps if self.body.reverse and j not in self.plan.rings else 0
            operand = self.outer.operand(self.node, self.body.slots.index(slot))
            given: dict[Value, str] = {
                OUT: self.common.bound(f"{array}[{at}, ...]"),
                A: str(operand),
            }
            made, text = call("copy", A), given.__getitem__
            said, code = formula(self.body.graph, slot), self.code(made, text)
            lines.append(Line(code, said, writes=array, call=called(made, text)))
        return lines

    # ---- where the values of a step are --------------------------------------------------------

    def text(self, buffer: Buffer) -> Name:
        """How a buffer of the step reads in the program."""
        if buffer.place == "row":
            of = self.plan.outputs[Output("row", buffer.key)]
            if isinstance(of, Node):
                return self.row(self.plan.left[of], "i")
            return self.carried(of, after=True)
        if buffer.place != "slot":
            return self.plan.names[buffer.name]
        slot = next(s for s in self.body.slots if str(s["number"]) == buffer.key)
        if slot["role"] == "carried":
            return self.carried(self.body.carried.index(slot), after=False)
        operand = self.outer.operand(self.node, self.body.slots.index(slot))
        return self.row(operand, "i") if slot["role"] == "rows" else operand

    def carried(self, j: int, after: bool) -> StepRow:
        """What is carried: all values one after the other, or only the last two in turn."""
        array, late = self.plan.left[j], after != self.body.reverse
        if j not in self.plan.rings:
            return self.row(array, "i + 1" if late else "i")
        last = self.steps - 1 + (1 if after else 0)
        at = f"({last} - i) % 2" if self.body.reverse else ("(i + 1) % 2" if after else "i % 2")
        return self.row(array, at)

    def row(self, array: Name, place: str) -> StepRow:
        """The row of an array that belongs to step t."""
        rows = f"[{array}[{place}, ...] for i in range({self.steps})]"
        return StepRow(self.common.bound(rows))

    def site(self, site: str) -> str:
        """Each step draws for itself."""
        return f"({super().site(site)} + t) % {1 << 64}"
