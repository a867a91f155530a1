"""What the values of a one-step form stand for.

In `net(x)` a sequence has an axis of its own, time. In `net.step(x)` there is the element at hand
only, and the axis is gone: `x[0]` would be a component of it. So what comes in, and what a scan
makes, is marked as standing for a sequence; whoever looks into a sequence asks here. What is made
of a sequence by things that know no time stands for a sequence too.

A mark is an operation that changes nothing and is simplified away: `running`, with the mark.
"""

from __future__ import annotations

from typing import NoReturn

from dln.compiler.frontend.context.build_context import Build, Value
from dln.compiler.frontend.context.values import Results
from dln.compiler.ir.graph import Node, ancestors
from dln.compiler.ir.tensor_type import TIME
from dln.grammar.diagnostics import Span

MARKS = {
    "input": (True, False),  # what the one-step form is given
    "sequence": (True, None),  # what a scan makes
    "element": (False, None),  # x[t]
    "end": (False, True),  # last(h)
    "memory": (False, False),  # what the step before has left
    "value": (False, False),  # what a one-step form gives
}
"""For each mark whether the value stands for a sequence, and whether it is known at the end of one
only; None where that is as it was."""


def marked(b: Build, node: Node, mark: str, span: Span) -> Node:
    """A value, said to stand for something."""
    number = next(b.counter) if mark == "input" else 0  # each call is given an element of its own
    running = node.type.running
    made = b.at(span)("running", node, running=running, stands=mark, number=number)
    _found(b, made)
    return made


def given(b: Build, value: Value, mark: str, span: Span) -> Value:
    """The same of all results of an instance."""
    if isinstance(value, Results):
        return Results({k: given(b, v, mark, span) for k, v in value.values.items()})
    assert isinstance(value, Node)
    return marked(b, value, mark, span)


def is_sequence(b: Build, node: Node) -> bool:
    """Whether the value of a single step stands for a sequence."""
    return bool(b.facts.standing) and _found(b, node)[0]


def is_end(b: Build, node: Node) -> bool:
    """Whether the value of a single step is that of the end: of a longer sequence, another one."""
    return bool(b.facts.standing) and _found(b, node)[1]


def runs(b: Build, node: Node) -> bool:
    """Whether a value runs over time, or stands for a sequence in a single step."""
    return TIME in node.type.running or is_sequence(b, node)


def _found(b: Build, node: Node) -> tuple[bool, bool]:
    """What a value stands for, which follows from its mark and from what it is made of."""
    known = b.facts.standing
    for n in ancestors([node], lambda n: () if n in known else n.operands):
        if n not in known:
            of = [known[o] for o in n.operands]
            made = any(s for s, _ in of), any(e for _, e in of)
            says = MARKS[n["stands"]] if "stands" in n.attrs else (None, None)
            sequence, end = (m if s is None else s for s, m in zip(says, made, strict=True))
            known[n] = sequence, end
    return known[node]


def refuse(b: Build, span: Span, label: str, text: str = "") -> NoReturn:
    """What needs more of a sequence than the step at hand."""
    text = text or "a single step does not see the whole sequence"
    b.fail("E319", text, span, label, remedy="apply the block to the whole sequence")


def refuse_both(b: Build, node: Node, span: Span) -> None:
    """A sequence that each step has as a whole, with the one that steps: which step is it?"""
    if TIME in node.type.running:
        refuse(b, span, "is a sequence of its own, which does not move on")


def refuse_beyond(b: Build, loss: Node, at: Node, span: Span) -> None:
    """A gradient in a single step must not run into the steps before: in a scan it does not."""
    before = [n for n in ancestors([loss]) if n.attrs.get("stands") in ("input", "memory")]
    if any(n is not at and at in ancestors([n]) for n in before):
        text = "the gradient of a single step would run into the steps before"
        refuse(b, span, "depends on what they have left", text)


def refuse_end(b: Build, node: Node, span: Span, name: str) -> None:
    """What is remembered must not depend on where the sequence ends: its next step moves that."""
    if is_end(b, node):
        text = f"a single step cannot know {name} for the steps after it"
        refuse(b, span, "depends on the last step, which the next one moves", text)
