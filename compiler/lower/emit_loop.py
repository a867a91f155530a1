"""Writes the loops of a program: the statements of one step, run once for each."""

from __future__ import annotations

import re

from dln.compiler.ir.formula import formula
from dln.compiler.ir.graph import Node
from dln.compiler.ir.ops.loop import body_of
from dln.compiler.lower.emit import Writer
from dln.compiler.lower.schedule import Step
from dln.compiler.plan import Buffer, Line, site_number

ROW = re.compile(r"\b(w\d+)\[t\]")


class LoopWriter(Writer):
    """The statements of one step of a loop, into the program of `outer`.

    What has a row for each step is a list of views, made once: `w3[t]` is its row at step t.
    """

    def __init__(self, outer: Writer, node: Node) -> None:
        self.outer, self.node, self.body = outer, node, body_of(node)
        self.plan = outer.made.loops[node]
        super().__init__(self.plan.step)
        self.views, self.numbers, self.constants = outer.views, outer.numbers, outer.constants
        self.setup, self.clocks, self.scalars = outer.setup, outer.clocks, outer.scalars
        self.steps = self.body.length.constant
        texts = {name: self.text(buffer) for name, buffer in self.made.buffers.items()}
        self.made.home = {n: texts[name] for n, name in self.made.home.items()}
        self.made.steps = [
            Step(s.node, texts[s.out], {k: texts[v] for k, v in s.scratch.items()})
            for s in self.made.steps
        ]

    def head(self) -> Line:
        n = self.steps
        order = f"{n - 1}, -1, -1" if self.body.reverse else f"{n}"
        return Line(f"for t in range({order}):", f"{n} steps", self.outer.place(self.node))

    def firsts(self) -> list[Line]:
        """What is carried, before the first step."""
        lines = []
        for j, slot in enumerate(self.body.carried):
            array = self.plan.left["carried", j]
            at = self.steps if self.body.reverse and j not in self.plan.rings else 0
            row = self.outer.view(f"{array}[{at}, ...]")
            operand = self.outer.operand(self.node, self.body.slots.index(slot))
            said = formula(self.body.graph, slot)
            lines.append(Line(f"xp.copyto({row}, {operand})", said, writes=array))
        return lines

    # ---- where the values of a step are --------------------------------------------------------

    def text(self, buffer: Buffer) -> str:
        """How a buffer of the step reads in the program."""
        if buffer.place == "row":
            kind, of = self.plan.outputs[f"row:{buffer.key}"]
            array = self.plan.left[kind, of]
            return self.row(array, "i") if kind == "item" else self.carried(of, after=True)
        if buffer.place != "slot":
            return self.plan.names[buffer.name]
        slot = next(s for s in self.body.slots if str(s["number"]) == buffer.key)
        if slot["role"] == "carried":
            return self.carried(self.body.carried.index(slot), after=False)
        operand = self.outer.operand(self.node, self.body.slots.index(slot))
        return self.row(operand, "i") if slot["role"] == "rows" else operand

    def carried(self, j: int, after: bool) -> str:
        """What is carried: all values one after the other, or only the last two in turn."""
        array, late = self.plan.left["carried", j], after != self.body.reverse
        if j not in self.plan.rings:
            return self.row(array, "i + 1" if late else "i")
        last = self.steps - 1 + (1 if after else 0)
        place = f"({last} - i) % 2" if self.body.reverse else ("(i + 1) % 2" if after else "i % 2")
        return self.row(array, place)

    def row(self, array: str, place: str) -> str:
        """The row of an array that belongs to step t."""
        rows = f"[{array}[{place}, ...] for i in range({self.steps})]"
        return f"{super().view(rows)}[t]"

    def view(self, text: str) -> str:
        """A view; of a row there is one for each step."""
        names = list(dict.fromkeys(ROW.findall(text)))
        if not names:
            return super().view(text)
        if ROW.fullmatch(text.strip()):
            return text.strip()
        each = [f"r{i}" for i in range(len(names))]
        for name, r in zip(names, each, strict=True):
            text = text.replace(f"{name}[t]", r)
        several = f"zip({', '.join(names)})" if len(names) > 1 else names[0]
        views = f"[{text} for {', '.join(each)} in {several}]"
        return f"{super().view(views)}[t]"

    def number(self, match: re.Match[str]) -> str:
        return self.outer.number(match)

    def form(self, node: Node) -> str:
        """Each step draws for itself."""
        form = super().form(node)
        if node.op != "draw":
            return form
        site = site_number(node["site"])
        return form.replace(f"seed, {site},", f"seed, ({site} + t) % {1 << 64},")
