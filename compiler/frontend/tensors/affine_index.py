"""Affine indices: `x[q, 2*i + u]` looks at an axis through windows.

An index that is a sum of bound indices turns one axis into several running axes: one for each.
The windows must cover the axis exactly, which is how the number of windows is found; where every
index has a written range they need only lie on it. An index with a written range that does not
begin at 0 and go up by 1 is such a form from the start, in an index that does.
"""

from __future__ import annotations

import re
from typing import NoReturn

from dln.compiler.frontend.context import blaming, counting, lengths
from dln.compiler.frontend.context.broadcasting import short
from dln.compiler.frontend.context.build_context import Build, Value
from dln.compiler.frontend.context.place import Extent
from dln.compiler.frontend.context.values import IndexForm, IndexVar, StepIndex, whole_number
from dln.compiler.frontend.tensors.axes import axes_run, take
from dln.compiler.ir.graph import Node
from dln.compiler.ir.sizes import Conflict, Size
from dln.grammar.diagnostics import Note, Span


def as_form(value: Value) -> IndexForm | None:
    """An index or a whole number as an affine form."""
    match value:
        case IndexForm():
            return value
        case IndexVar():
            return IndexForm(((value, 1),))
        case bool():
            return None
        case int():
            return IndexForm((), value)
    return None


def arithmetic(
    b: Build, op: str, left: Value, right: Value, span: Span, spans: tuple[Span, Span]
) -> IndexForm | StepIndex | None:
    """`2*i + u`: indices added, and multiplied by whole numbers; `t - 1`, a step of a scan. None
    where it is none of these, `i / 2`: outside of brackets they are then the numbers that they are.
    """
    # A size is the number that it is, and a whole number is one: `c / 2 * i`.
    left, right = (b.resolve(v) if isinstance(v, Size) else v for v in (left, right))
    left, right = (v if (n := whole_number(v)) is None else n for v in (left, right))
    parts = (left, spans[0]), (right, spans[1])
    if isinstance(left, StepIndex) or isinstance(right, StepIndex):
        return _step(b, op, *parts, span)
    x, y = as_form(left), as_form(right)
    if x is not None and y is not None:
        if op in "+-":
            return _sum(x, y, 1 if op == "+" else -1)
        if op == "*" and not x.terms:
            return _sum(IndexForm(()), y, x.offset)
        if op == "*" and not y.terms:
            return _sum(IndexForm(()), x, y.offset)
    if b.bracket is not None:
        counting.refuse_operation(b, op, *parts, span)
    return None


def _step(
    b: Build, op: str, first: counting.Side, second: counting.Side, span: Span
) -> StepIndex | None:
    """`t - 1`, `t + 2`, `1 + t`."""
    left, right = first[0], second[0]
    if op == "+" and isinstance(right, StepIndex):
        left, right = right, left
    steps = None if isinstance(right, bool) or not isinstance(right, int) else right
    if op not in "+-" or not isinstance(left, StepIndex) or steps is None:
        if b.bracket is not None:
            counting.refuse_operation(b, op, first, second, span)
        return None
    return StepIndex(left.scan, left.offset + (steps if op == "+" else -steps))


def _sum(x: IndexForm, y: IndexForm, factor: int) -> IndexForm:
    terms = dict(x.terms)
    for index, c in y.terms:
        terms[index] = terms.get(index, 0) + c * factor
    return IndexForm(tuple((i, c) for i, c in terms.items() if c), x.offset + factor * y.offset)


def look(b: Build, node: Node, axis: int, form: IndexForm, span: Span) -> Node:
    """The example axis `axis` seen through an affine index: each of its indices runs."""
    if not form.terms:  # the indices cancel out: `x[i - i]`
        return take(b, node, axis, form.offset, span)
    at = len(node.type.running) + axis
    _cover(b, node.type.shape[at], form, span)
    found = lengths.extent(b, node.type.shape[at])
    ends = None if found is None else _ends(b, found, form, span)
    if found is not None and ends is None:
        node = lengths.filled(b, node, (at,), 0.0, span)
    terms = tuple((abs(c), index.size) for index, c in form.terms)
    node = b.at(span)("window", node, axis=at, terms=terms, offset=_lowest(b, form, span))
    for place, (_, c) in enumerate(form.terms, at):
        if c < 0:
            node = b.at(span)("flip", node, axis=place)
    if ends is not None:
        node = lengths.ended(b, node, at + ends[0], ends[1])
    for index, _ in form.terms:
        node = axes_run(b, node, axis, index, span)
    return node


def _ends(b: Build, found: Extent, form: IndexForm, span: Span) -> tuple[int, Extent | None] | None:
    """Where an axis ends that is looked at through windows: which of the indices ends earlier for
    it, and where. None where none of them does; places past the end are then 0.

    Of `x[2*i + u]` there are as many windows i as lie before the end, all of each window.
    """
    k = _counting(b, form, span)
    if k is None or form.terms[k][1] < 0:
        return None
    index, step = form.terms[k]
    others = [(_known(b, i, span), c) for i, c in form.terms if i is not index]
    furthest = form.offset + sum(c * (n - 1) for n, c in others if c > 0)
    return k, lengths.stepped(b, found, furthest, step, _known(b, index, span))


def _counting(b: Build, form: IndexForm, span: Span) -> int | None:
    """Which index counts windows, where the others go through each: the one with no range, that of
    the equation before those of reductions, else the one that no other tensor fixes."""
    if len(form.terms) == 1:
        return 0
    free = [k for k, (index, _) in enumerate(form.terms) if not index.ranged]
    if len(free) > 1:
        free = [k for k in free if not form.terms[k][0].reduced] or free
    if len(free) > 1:
        inner = form.terms[free[-1]][0]
        text = f"which of the indices of {short(span.text)} counts windows is not clear"
        label = "has sequences of unequal lengths"
        b.fail("E220", text, span, label, remedy=_range_of(b, inner))
    return free[0] if free else None


def _known(b: Build, index: IndexVar, span: Span) -> int:
    """How far an index goes, which the end of a sequence asks for."""
    number = b.number(index.size)
    if number is None:
        text = f"nothing says by now how far {index.name} goes in {short(span.text)}"
        label = "has sequences of unequal lengths"
        b.fail("E220", text, span, label, remedy=_range_of(b, index))
    return number


def _range_of(b: Build, index: IndexVar) -> str:
    """What to write for an index that goes through each window."""
    wide = b.number(index.size)
    return f"{index.name} in 0..{'n - 1, for windows n wide' if wide is None else wide - 1}"


def _lowest(b: Build, form: IndexForm, span: Span) -> int:
    """The lowest place that an affine index reaches: there an index that runs backwards is at its
    end."""
    lowest = form.offset
    for index, c in form.terms:
        if c < 0:
            size = b.number(index.size)
            if size is None:
                text = f"how far {index.name} runs is not known where it runs backwards"
                b.fail("E209", text, span, remedy=f"sum({index.name} in 0..2: ...)")
            lowest += c * (size - 1)
    return lowest


def _cover(b: Build, size: Size, form: IndexForm, span: Span) -> None:
    """The largest index is the axis's last; with written ranges it may be less. One that runs
    backwards over nobody knows how many ends where the axis begins."""
    lowest, covered = Size(form.offset), Size(form.offset + 1)
    for index, c in form.terms:
        if c > 0:
            covered = covered + (index.size - 1) * c
        else:
            lowest = lowest + (index.size - 1) * c
    least = b.number(lowest)
    known = b.number(covered)
    whole = b.number(size)
    if least is not None and least >= 0 and all(index.ranged for index, _ in form.terms):
        if known is None or whole is None or known <= whole:
            return
    if least is not None and least < 0:
        when = "first" if form.offset < 0 else "last"
        b.fail("E217", "the index starts before the axis", span, f"is {least} at {when}")

    def fail(c: Conflict) -> NoReturn:
        notes = tuple(
            Note(r.span, r.text) for r in b.sizes.proof(size)[:1] if r.span and r.span != span
        )
        facts = _arithmetic_of(b, form, whole) if whole is not None else ()
        label = f"this axis has {b.sizes.resolve(size)}"
        text = f"the windows {short(span.text)} do not fit"
        if len(form.terms) == 1:
            text = f"the index {short(span.text)} does not fit"
            _refuse_counted(b, span, label, notes)
        elif span.source is not b.source and whole is not None:
            text = _in_numbers(b, form, whole) or text
            if whole in (1, 3) and re.search(r"\[\s*\d+\s*,\s*\d+\s*,\s*[13]\s*\]", b.source.text):
                facts = (
                    "maps stand first: an image of one map is [1, 28, 28], of colours [3, h, w]",
                )
        b.fail("E217", text, span, label, notes, "", facts)

    def some() -> None:
        for index, c in form.terms:
            if c > 0 and not index.ranged and b.number(index.size) == 0:
                text = f"there is no window in {short(span.text)}: the axis is one too short"
                text, remedy = _unused(span) or (text, "")
                facts: tuple[str, ...] = ()
                if span.source is not b.source and (whole := b.number(size)) is not None:
                    text = f"windows of {whole + 1} do not fit into {whole}"
                    facts = _ways_out(b, whole, whole + 1, c)
                label = f"this axis has {b.resolve(size)}"
                b.fail("E217", text, span, label, remedy=remedy, facts=facts)

    if lengths.extent(b, size) is None:
        b.owned.requirements.append(some)
    why = f"{short(span.text)} covers the axis"
    b.equate(covered, size, span, why, fail)
    if least is None:
        b.equate(lowest, Size(0), span, why, fail)


def _refuse_counted(b: Build, span: Span, label: str, notes: tuple[Note, ...]) -> None:
    """An index whose range begins at 1, or ends with how many there are."""
    if (counted := _from_one(span)) is not None:
        text, said = f"the index {short(span.text)} does not fit", (Note(span, label), *notes)
        facts = ("indices count from 0, and both ends of a range are included",)
        b.fail("E217", text, counted[0], "goes one too far", said, counted[1], facts)


def _from_one(span: Span) -> tuple[Span, str] | None:
    """`j in 1..n`, or `j in 0..n`, of an index that begins at 0 and ends before n."""
    line, start = span.source.line(span.line), span.source.starts[span.line - 1]
    found = re.search(rf"\b{re.escape(span.text)}\s+in\s+([01]\s*\.\.\s*(\w+))", line)
    if found is None:
        return None
    place = Span(span.source, start + found.start(1), start + found.end(1))
    last = found[2]
    return place, f"0..{int(last) - 1}" if last.isdigit() else f"0..{last}-1"


BOUND = re.compile(r"\(\s*((?:[a-z]\w*\s*,\s*)*[a-z]\w*)\s*:")


def _unused(span: Span) -> tuple[str, str] | None:
    """`x[i + u, j + w]` under u and v, of which v does not stand in it."""
    line, column = span.source.line(span.line), span.column - 1
    whole = line[line.rfind("[", 0, column) : line.find("]", column)]
    for bound in BOUND.finditer(line):
        names, target = re.findall(r"\w+", bound[1]), line.partition("=")[0]
        idle = [name for name in names if not re.search(rf"\b{name}\b", whole)]
        known = {*names, *re.findall(r"\w+", target)}
        other = [p for p in re.findall(r"[a-z]\w*", span.text) if p not in known]
        if len(idle) == len(other) == 1:
            text = f"{other[0]} is no index here, and {idle[0]}, which is, does not stand in this"
            return text, re.sub(rf"\b{other[0]}\b", idle[0], span.text)
    return None


def _arithmetic_of(b: Build, form: IndexForm, whole: int) -> tuple[str, ...]:
    """`(7 - 3) / 3 + 1 = 2.33`: how many windows there would be, and ways out."""
    upwards = [(i, c) for i, c in form.terms if c > 0]
    free = [(i, c) for i, c in upwards if b.number(i.size) is None]
    rest = form.offset + 1
    for index, c in upwards:
        known = b.number(index.size)
        rest += c * (known - 1) if known is not None else 0
    if len(form.terms) == 1 and not free:
        return (f"it goes up to {rest - 1}",)
    if len(free) != 1:
        return (f"they reach {rest} of {whole}",)
    step = free[0][1]
    if whole < rest:
        return _ways_out(b, whole, rest, step)
    found = f"({whole} - {rest}) / {step} + 1 = {(whole - rest) / step + 1:.4g} windows"
    return (found, *_ways_out(b, whole, rest, step))


def _in_numbers(b: Build, form: IndexForm, whole: int) -> str:
    """What does not fit of a layer of the library, whose equation is not the user's."""
    free = [c for i, c in form.terms if b.number(i.size) is None]
    if len(free) != 1 or any(c < 0 for _, c in form.terms):
        return ""
    known = [(n, c) for i, c in form.terms if (n := b.number(i.size)) is not None]
    wide = form.offset + 1 + sum(c * (n - 1) for n, c in known)
    if whole >= wide:
        left = (whole - wide) % free[0]
        return f"windows of {wide}, {free[0]} apart, leave {left} over of {whole}"
    return f"windows of {wide} do not fit into {whole}"


def _ways_out(b: Build, whole: int, wide: int, step: int) -> tuple[str, ...]:
    """What makes windows `wide` wide fit, with its numbers: a border, or a rest that is left out. A
    block that has options of these names is made with them."""
    option = b.calls[-1].given if b.calls else blaming.nothing
    border, rest = option("border"), option("rest")
    fits = _border(whole, wide, step)
    ways = []
    for more in fits:
        there = border.value if border is not None and isinstance(border.value, int) else 0
        said = f"pad(..., {more})" if border is None else f"border = {there + more}"
        size = whole + 2 * more
        ways.append(f"{said} makes it {size}: {_windows((size - wide) // step + 1)}")
    if whole >= wide:
        left = (whole - wide) % step
        said = 'rest = "cut"' if rest is not None else f"a slice, [:{whole - left}],"
        way = f"{said} leaves out the last {left}: {_windows((whole - wide) // step + 1)}"
        if border is not None and border.value == 0 and not fits:
            way += f", with border = 1 as well {(whole + 2 - wide) // step + 1}"
        ways.append(way)
    return tuple(ways)


def _border(whole: int, wide: int, step: int) -> list[int]:
    """The least border, narrower than a window, with which windows fit; nothing where none does.

    >>> _border(10, 5, 2), _border(10, 4, 4), _border(32, 10**10, 4), _border(7, 2, 3)
    ([], [1], [4999999984], [])
    """
    least, lack = max(1, (wide - whole + 1) // 2), (wide - whole) % step
    if lack % 2 and step % 2 == 0:
        return []
    found = (lack if lack % 2 == 0 else lack + step) // 2
    more = least + (found - least) % (step if step % 2 else step // 2)
    return [more] if more < wide else []


def _windows(number: int) -> str:
    return f"{number} window{'s' * (number != 1)}"
