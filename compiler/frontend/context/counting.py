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
    index, other = (left, right) if is_index(left[0]) else (right, left)
    label = f"{op} {shown(other[0])}"
    if b.bracket is not None and op in ARITHMETIC:
        if any(isinstance(v, StepIndex) for v, _ in parts):
            _refuse_reading(b, parts, b.bracket, op, span)
        b.fail("E217", "an index is a sum of bound indices and whole numbers", span, label)
    text = f"{written(parts[0])} {op} {written(parts[1])}"
    b.fail("E217", message(index[0]), span, label, remedy=remedy(b, parts, text))


def refuse_value(b: Build, value: Value, span: Span) -> NoReturn:
    """`tanh(i)`, `y[i] = i`, `-t`: an index alone where a value is meant."""
    part = (value, span)
    b.fail("E217", message(value), span, f"is {describe(value)}",
           remedy=remedy(b, [part], written(part)))  # fmt: skip


def _refuse_reading(b: Build, parts: Sequence[Side], whole: Index, op: str, span: Span) -> NoReturn:
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
    which = "step" if isinstance(value, StepIndex) else "element"
    return f"{' and '.join(_names(value))} says which {which} is meant, and is no number"


def _indices(value: Value) -> list[IndexVar]:
    if isinstance(value, IndexForm):
        return [i for i, _ in value.terms]
    return [value] if isinstance(value, IndexVar) else []


def _names(value: Value) -> list[str]:
    return [value.scan.index] if isinstance(value, StepIndex) else [i.name for i in _indices(value)]


def written(part: Side) -> str:
    """A side as it can be written, with the numbers of the indices in place of them."""
    value, span = part
    text, table = " ".join(span.text.split()), "count" if isinstance(value, StepIndex) else "place"
    for name in _names(value):
        text = re.sub(rf"\b{name}\b", f"{table}[{name}]", text)
    return text


def remedy(b: Build, parts: Sequence[Side], text: str) -> str:
    """Where the numbers come from, then the text with them."""
    said = []
    for t in [v.scan.index for v, _ in parts if isinstance(v, StepIndex)][:1]:
        said.append(f"count[-1] = -1 above the scan, count[{t}] = count[{t}-1] + 1 in it")
    sizes = [b.number(i.size) for v, _ in parts for i in _indices(v)]
    if sizes:
        last = "n-1" if None in sizes else max(n or 0 for n in sizes) - 1
        said.append(f"let place = [for k in 0..{last}: k]")
    return f"{', '.join(said)}, then {text}"
