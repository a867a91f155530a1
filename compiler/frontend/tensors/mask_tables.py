"""Tables of joins as a spec writes them: the list after `where`, and `inputs(n, joins)`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from dln.compiler.frontend.context.broadcasting import short
from dln.compiler.frontend.context.build_context import Build, Scope, Value
from dln.compiler.frontend.context.static_values import static
from dln.compiler.frontend.context.values import shown
from dln.compiler.ir.masks import JoinTable, flat, shape
from dln.compiler.ir.sizes import Conflict, Size
from dln.compiler.ir.tensor_type import TensorType
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Span


def table(b: Build, d: s.Declared, scope: Scope, wanted: Sequence[Size]) -> JoinTable | None:
    """The table of a parameter of these sizes; None where every entry is joined."""
    if d.where is None:
        return None
    value = static(b, d.where, scope, "a table of joins")
    if value == 1 and not isinstance(value, list):
        return None
    span = b.argument(d.where.span)
    if not isinstance(value, list):
        label = f"is {shown(value)}"
        text = "a table of joins is a list of 0 and 1, or 1, which joins everything"
        b.fail("E218", text, span, label, remedy="[[1, 0], [0, 1]]")
    found = _entries(b, value, span)
    _fits(b, d, found, wanted, span)
    return found if 0.0 in flat(found) else None


def _entries(b: Build, rows: list[Value], span: Span) -> JoinTable:
    """A list as a table: equally long rows, entries 0 and 1."""
    found: list[float | JoinTable] = []
    for entry in rows:
        if isinstance(entry, list):
            found.append(_entries(b, entry, span))
        elif isinstance(entry, int | float) and entry in (0, 1):
            found.append(float(entry))
        else:
            label = f"holds {shown(entry)}"
            b.fail("E218", "a table of joins is made of 0 and 1", span, label)
    if len({shape(entry) for entry in found}) != 1:
        b.fail("E218", "the rows of a table of joins are of one length", span)
    return tuple(found)


def _fits(b: Build, d: s.Declared, table: JoinTable, wanted: Sequence[Size], span: Span) -> None:
    """The axes of a table are the leading axes of the parameter."""
    sizes = shape(table)

    def complain(c: Conflict | None) -> NoReturn:
        leading = [b.sizes.resolve(w) for w in wanted[: len(sizes)]]
        text = f"{d.name}[{', '.join(str(b.sizes.resolve(w)) for w in wanted)}]"
        found = f"is [{', '.join(map(str, sizes))}], but {text} begins with other sizes"
        flipped = len(sizes) == 2 and leading == [Size.of(n) for n in sizes[::-1]]
        notes = b.proof_notes(*leading, skip=span)
        remedy = f"{span.text}'" if flipped else ""
        b.fail("E218", "the table of joins has the wrong shape", span, found, notes, remedy)

    why = f"{short(span.text)} is [{', '.join(map(str, sizes))}]"
    b.same_shape(wanted[: len(sizes)], [Size.of(n) for n in sizes], span, why, complain)


def inputs(b: Build, span: Span, n: Value, joins: Value = 1) -> Value:
    """`inputs(n, joins)`: how many of n inputs each unit has. All n where `joins` is 1.

    In a parameter's first value the numbers are spread over its shape, so each entry meets the
    number of its own unit; elsewhere they are a list.
    """
    if not isinstance(joins, list):
        return b.resolve(n) if isinstance(n, Size) else n
    counts = [sum(flat(row)) for row in _entries(b, joins, b.blame(joins, span))]
    if b.drawing is None or b.drawing.shape is None:
        return [int(count) for count in counts]
    like = TensorType(b.drawing.shape)
    return b.at(span).broadcast(b.at(span).const(tuple(counts)), like, (0,))
