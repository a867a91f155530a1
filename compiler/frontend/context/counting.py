"""The numbers that indices and steps of scans stand for.

An index says which element is meant: `x[i]`, `x[2*i + u]`. Wherever a number may stand it is the
number of that element, counted from 0: `s[i, j] if j <= i else 0`, `sin(t / 100)`. Nothing can be
learnt by it, so no gradient runs through it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NoReturn, TypeGuard

from dln.compiler.frontend.context.build_context import Build, Value
from dln.compiler.frontend.context.place import replace
from dln.compiler.frontend.context.values import IndexForm, IndexVar, StepIndex, shown
from dln.compiler.ir.graph import Node
from dln.compiler.ir.op import Make
from dln.compiler.ir.sizes import Size
from dln.grammar.diagnostics import Note, Span
from dln.grammar.syntax import Index

Side = tuple[Value, Span]


def is_index(value: object) -> TypeGuard[IndexVar | IndexForm | StepIndex]:
    return isinstance(value, IndexVar | IndexForm | StepIndex)


def outside(b: Build) -> Build:
    """In a call that stands in brackets an index is a number: `w[argmin(j: abs(i - j))]`."""
    return b if b.bracket is None else replace(b, bracket=None)


# ---- as numbers --------------------------------------------------------------------------------


def number(b: Build, value: IndexVar | IndexForm | StepIndex, span: Span) -> Node:
    """The number of the element or step that is meant."""
    make = b.at(span)
    if isinstance(value, StepIndex):
        return _plus(make, value.scan.number(b, span), value.offset)
    if isinstance(value, IndexVar):
        return places(make, value.size, value.axis)
    if not value.terms:
        return make.const(float(value.offset))
    total: Node | None = None
    for index, factor in value.terms:
        one = places(make, index.size, index.axis)
        one = one if factor == 1 else make.mul(make.const(float(factor)), one)
        total = one if total is None else make("add", *_crossed(make, total, one))
    assert total is not None
    return _plus(make, total, value.offset)


def places(make: Make, size: Size, axis: str) -> Node:
    """0, 1, 2, ... along a running axis."""
    values = make("running", make("classes", size=size), running=(axis,))
    return make("cast", values, kind="real")


def _plus(make: Make, node: Node, offset: int) -> Node:
    return make.add(node, make.const(float(offset))) if offset else node


def _crossed(make: Make, total: Node, one: Node) -> tuple[Node, Node]:
    """Numbers along some axes and along one more, for all pairs."""
    like = total.type.like(
        shape=(*total.type.shape, *one.type.shape), running=(*total.type.running, *one.type.running)
    )
    many = range(len(total.type.shape))
    return make.broadcast(total, like, tuple(many)), make.broadcast(one, like, (len(many),))


# ---- what is no index --------------------------------------------------------------------------


def refuse_operation(b: Build, op: str, left: Side, right: Side, span: Span) -> NoReturn:
    """`x[i * i]`, `x[2*t]`: what names no element in brackets."""
    assert b.bracket is not None
    parts = (left, right)
    if any(isinstance(v, StepIndex) for v, _ in parts):
        _refuse_reading(b, parts, b.bracket, op, span)
    other = right if is_index(left[0]) else left
    text = "an index is a sum of bound indices and whole numbers"
    b.fail("E217", text, span, f"{op} {shown(other[0])}")


def _refuse_reading(b: Build, parts: Sequence[Side], whole: Index, op: str, span: Span) -> NoReturn:
    """`x[5 - t]`, `x[2*t]` in a scan."""
    how = "backwards" if op == "-" else "in other strides"
    step = next(v.scan.index for v, _ in parts if isinstance(v, StepIndex))
    text = re.sub(rf"\b{step}\b", "i", " ".join(whole.span.text.split()))
    said = "a scan reads a sequence at its own step, and so many before or after it"
    remedy = f"back[i] = {text} outside of the scan, which a block does whose port back[time] it is"
    b.fail("E217", said, span, f"reads {how}", remedy=remedy if op == "-" else "")


# ---- what is written without its scan ------------------------------------------------------------

CHAINED = "layers one after another are a chain: chain([for m in [100, 10]: dense(m)])"
DRAWS = "bernoulli|categorical|normal|uniform"


def refuse_unscanned(b: Build, name: str, span: Span) -> None:
    """`h[t] = f(h[t-1])` without its scan."""
    line = span.source.line(span.line).split("#")[0].strip()
    step = re.match(rf"{name}\[\s*(\w+)\s*[,\]]", line)
    if step is not None and re.search(rf"\b{name}\[\s*{step[1]}\s*-", line):
        start = span.source.starts[span.line - 1] + span.source.line(span.line).index(line)
        at = Span(span.source, start, start + len(line))
        above = span.source.text[: span.source.starts[span.line - 1]]
        round_ = re.search(rf"\n[ \t]*for {step[1]} in ([^\n{{]+?)\s*\{{[^{{}}]*$", above)
        layer = re.search(r"->\s*(\w+\(.*\))\s*$", line)
        if round_ is not None and layer is not None:
            fact = f"as in y = x -> chain([for {step[1]} in {round_[1]}: {layer[1]}])"
            b.fail("E331", "layers one after another are a chain", at, facts=(fact,))
        text = "what is defined by its own earlier values stands in a scan"
        remedy = f"scan {step[1]} in time {{\n  {line}\n}}"
        b.fail("E331", text, at, remedy=remedy)


def refuse_stepless(b: Build, name: str, span: Span, defined: Span | None) -> None:
    """`c = f * c[t-1]`, in a scan."""
    behind = re.match(r"\[\s*(\w+)\s*[-+]\s*\d+\s*[,\]]", span.source.text[span.stop :])
    if behind is not None and defined is not None and defined.text == name:
        t, notes = behind[1], (Note(span, "is asked for what it was"),)
        text = f"{name} is kept from step to step: it has its step where it is defined, and read"
        b.fail("E331", text, defined, "is of this step only", notes, f"{name}[{t}]")


def as_recurrence(name: str, span: Span) -> str:
    """How `s = f(s)` in a `for` is written, which would change s from round to round."""
    source = span.source
    line = source.line(span.line).split("#")[0].strip()
    above = source.text[: source.starts[span.line - 1]].rstrip().rpartition("\n")[2]
    rounds = re.match(r"\s*for (\w+) in ([01])\s*\.\.\s*(.*?)\s*\{$", above)
    if rounds is None or not line.startswith(f"{name} "):
        return ""
    if "->" in line:
        return CHAINED
    t, first, last = rounds.groups()
    steps = last if first == "1" else re.sub(r"\s*-\s*1$", "", last)
    steps = str(int(last) + 1) if first == "0" and last.isdigit() else steps
    if first == "0" and steps == last:
        steps = f"{last} + 1"
    drawn = re.search(rf"= ({DRAWS})\(", line) is not None
    changed = re.sub(rf"(?<![\w.]){name}(?![\w\[])", f"{name}[{t}-1]", line.partition("=")[2])
    step = f"{name}[{t}] {'~' if drawn else '='}{changed}"
    return (
        f"what changes from round to round is a sequence: {name}[-1] = ... above, then "
        f"scan {t} in {steps} {{ {step} }}"
    )
