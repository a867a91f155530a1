"""Where an index or a step of a scan stands for a number, and what is written for that.

An index says which element is meant, and is no value: it is added up and multiplied in brackets,
`x[2*i + u]`, and nowhere else. Its number is that of a table of the places; the number of a step is
counted by the scan itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NoReturn

from dln.compiler.frontend.context.build_context import Build, Value
from dln.compiler.frontend.context.values import IndexForm, IndexVar, StepIndex, describe, shown
from dln.grammar.diagnostics import Span
from dln.grammar.syntax import Index

Side = tuple[Value, Span]
ARITHMETIC = ("+", "-", "*", "/", "^")


def refuse_operation(b: Build, op: str, left: Side, right: Side, span: Span) -> NoReturn:
    """`t > 0`, `r <= t`, `i != j`, `x[i] * i`: an index on one side or both."""
    parts = (left, right)
    other = right if is_index(left[0]) else left
    if b.bracket is not None and op in ARITHMETIC:
        if any(isinstance(v, StepIndex) for v, _ in parts):
            refuse_reading(b, parts, b.bracket, op, span)
        b.fail("E217", "an index is a sum of bound indices and whole numbers", span,
               f"{op} {shown(other[0])}")  # fmt: skip
    text = f"{written(parts[0])} {op} {written(parts[1])}"
    index = next(p for p in parts if is_index(p[0]))
    label = f"{op} {shown(other[0])}"
    b.fail("E217", message(index[0]), span, label, remedy=remedy(b, parts, text))


def refuse_value(b: Build, value: Value, span: Span) -> NoReturn:
    """`tanh(i)`, `y[i] = i`, `-t`: an index alone where a value is meant."""
    part = (value, span)
    b.fail("E217", message(value), span, f"is {describe(value)}",
           remedy=remedy(b, [part], written(part)))  # fmt: skip


def refuse_reading(b: Build, parts: Sequence[Side], whole: Index, op: str, span: Span) -> NoReturn:
    """`x[5 - t]`, `x[2*t]` in a scan."""
    how = "backwards" if op == "-" else "in other strides"
    step = next(v.scan.index for v, _ in parts if isinstance(v, StepIndex))
    text = re.sub(rf"\b{step}\b", "i", " ".join(whole.span.text.split()))
    said = "a scan reads a sequence at its own step, and so many before or after it"
    remedy = f"back[i] = {text} outside of the scan, which a block does whose port back[time] it is"
    b.fail("E217", said, span, f"reads {how}", remedy=remedy if op == "-" else "")


def is_index(value: Value) -> bool:
    return isinstance(value, IndexVar | IndexForm | StepIndex)


def message(value: Value) -> str:
    if isinstance(value, StepIndex):
        return f"{value.scan.index} says which step is meant, and is no number"
    names = " and ".join(i.name for i in indices(value))
    return f"{names} says which element is meant, and is no number"


def indices(value: Value) -> list[IndexVar]:
    if isinstance(value, IndexForm):
        return [i for i, _ in value.terms]
    return [value] if isinstance(value, IndexVar) else []


def written(part: Side) -> str:
    """A side as it can be written, with the numbers of the indices in place of them."""
    value, span = part
    text = " ".join(span.text.split())
    for index in indices(value):
        text = re.sub(rf"\b{index.name}\b", f"place[{index.name}]", text)
    if isinstance(value, StepIndex):
        name = value.scan.index
        text = re.sub(rf"\b{name}\b", f"count[{name}]", text)
    return text


def remedy(b: Build, parts: Sequence[Side], text: str) -> str:
    """Where the numbers come from, then the text with them."""
    said = []
    steps = [v.scan.index for v, _ in parts if isinstance(v, StepIndex)]
    if steps:
        t = steps[0]
        said.append(f"count[-1] = -1 above the scan, count[{t}] = count[{t}-1] + 1 in it")
    sizes = [b.sizes.resolve(i.size).value for v, _ in parts for i in indices(v)]
    if sizes:
        last = "n-1" if None in sizes else str(max(n for n in sizes if n is not None) - 1)
        said.append(f"let place = [for k in 0..{last}: k]")
    return f"{', '.join(said)}, then {text}"
