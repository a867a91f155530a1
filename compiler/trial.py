"""Remedies are tried before they are given: applied as it stands, one has to mend what it is for.

Who finds a problem sees its place, and says what was likely meant there; whether the rest of the
spec agrees nobody knows before it is read again. So each remedy that can be typed in is typed in,
and the spec read once more. A name that is as wrong at its place as what stands there is not given;
where several things may have been meant (`Problem.ways`), the first is told with which nothing new
is wrong.

Of a line that the parser refuses every remedy is tried. Where it leaves another mistake on the line
with a remedy of its own, both are told as one; where it leaves one without, or what it puts there
means nothing, it is not given, and the statement is shown as it is written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from typing import NamedTuple

from dln.grammar.diagnostics import CHOICES, Note, Problem, Source, Span, nearest
from dln.grammar.mistakes import WRITTEN
from dln.grammar.remedies import Edit, edit, placed

MANY = 8  # problems of a spec of which none is tried: something larger is wrong
MOST = 3  # problems whose remedies are tried
LONGEST = 20_000  # characters of a text that is read again
LINKS = 3  # mistakes of one line that are mended as one
BRACES = ("E102", "E103")  # what is said of braces
SYNTAX = "E1"  # how the codes begin of what the parser refuses
WORD = re.compile(r"\w+|[^\w\s]")
GUESSED = ("E301", "E302", "E337")  # a name, or a thing of another kind, that may be no better
SIZED = ("E202", "E205", "E216")  # sizes that do not go together, of which either may be wrong
Again = Callable[[str], Sequence[Problem]]


def tried(found: Sequence[Problem], source: Source, again: Again) -> list[Problem]:
    """The problems of a source, with remedies that mend; `again` says what is wrong with another
    text in its place."""
    if len(found) > MANY or len(source.text) > LONGEST:
        return list(found)
    before, left, told = {_key(p) for p in found}, MOST, list[Problem]()
    for p in found:
        if left and p.code.startswith(SYNTAX) and p.remedy and p.span and p.span.source is source:
            left -= 1
            told.append(_typed(p, len(found), again))
            continue
        ways = list(_ways(p, source)) if left and not _slip(p) else []
        left -= bool(ways)
        if ways and (p.ways or _unsure(p)):
            told.append(_chosen(p, ways, before, again))
        else:
            told.append(_meant(p, ways[0].change, again) if ways else p)
    return told


def _slip(p: Problem) -> bool:
    """Whether the remedy is a name that is a slip of the pen away."""
    if p.ways or p.span is None or not p.remedy.isidentifier():
        return False
    return nearest(p.span.text, [p.remedy]) is not None


def _meant(p: Problem, change: Edit, again: Again) -> Problem:
    """A problem whose remedy is an example where what it puts there is refused for the same
    reason."""
    after = (q for q in again(change.changed) if q.code == p.code)
    if not any(_left_in(q, change) for q in after):
        return p
    shape = "(" in p.remedy and p.remedy != change.span.text
    return replace(p, remedy="", facts=(*p.facts, f"as in {p.remedy}") if shape else p.facts)


def _unsure(p: Problem) -> bool:
    """Whether a remedy is more of a guess than a name that is a slip of the pen away."""
    if p.code in SIZED:
        return p.remedy.isalnum()
    if p.code not in GUESSED or p.span is None or not p.remedy:
        return False
    return not p.remedy.isidentifier() or nearest(p.span.text, [p.remedy]) is None


def _key(p: Problem) -> tuple[str, str]:
    return p.code, p.message


class Way(NamedTuple):
    """What may have been meant: what is changed, and how the problem is told then."""

    change: Edit
    told: Problem


def _ways(p: Problem, source: Source) -> Iterator[Way]:
    """The remedy of a problem, then what else may have been meant."""
    if p.span is None or p.span.source is not source:
        return
    if (change := edit(p)) is not None:
        yield Way(change, p)
    for span, text in p.ways:
        old = Note(p.span, p.label) if p.label else None
        notes = tuple(n for n in (old, *p.notes) if n is not None and n.span != span)
        yield Way(
            Edit(span, text), replace(p, span=span, label="", notes=notes, facts=(), remedy=text)
        )


def _chosen(p: Problem, ways: Sequence[Way], before: set[tuple[str, str]], again: Again) -> Problem:
    """A problem with the first remedy after which nothing new is wrong; else with its own, unless
    that is no better at its place than what stands there."""
    kept = p
    if p.code in SIZED and len(ways) > 1:  # nobody knows which is meant where several would do
        mending = [w for w in ways if not _worse(again(w.change.changed), before, w)]
        return mending[0].told if len(mending) == 1 else replace(p, remedy="")
    for way in ways:
        after = again(way.change.changed)
        if not _worse(after, before, way):
            return way.told
        if way.told is p and p.code in SIZED and _moved(after, before):
            kept = replace(p, remedy="")
        again_wrong = (q.code in GUESSED for q in after if _at_change(q, way))
        if way.told is p and p.code in GUESSED and any(again_wrong):
            kept = replace(p, remedy="")
    return kept


def _worse(after: Sequence[Problem], before: set[tuple[str, str]], way: Way) -> bool:
    """Whether something new is wrong after a change, or what was put in place."""
    return any(_key(q) not in before or _at_change(q, way) for q in after)


def _moved(after: Sequence[Problem], before: set[tuple[str, str]]) -> bool:
    """Whether sizes do not go together elsewhere now."""
    return any(q.code in (*SIZED, "E217") and _key(q) not in before for q in after)


def _at_change(q: Problem, way: Way) -> bool:
    """Whether just what was put in place is wrong in its turn."""
    start, text = way.change.span.start, way.change.text
    own = q.span is not None and q.span.source.text == way.change.changed
    return own and q.span is not None and (q.span.start, q.span.text) == (start, text)


# ---- what the parser refuses -------------------------------------------------------------------


def _typed(p: Problem, count: int, again: Again) -> Problem:
    """A problem of so many, with its remedy where that leaves no mistake on the line."""
    if p.remedy.startswith(CHOICES):
        return p
    first = change = edit(p) or placed(p)
    if change is None:
        return p
    for _ in range(LINKS):
        after, half = again(change.changed), _half(change)
        left = [q for q in after if q.code.startswith(SYNTAX)]
        wrong = [q for q in after if _left_in(q, change) and not (half and q.code in BRACES)]
        if not wrong and (half or len(left) < count):
            return p if change is first else replace(p, remedy=_statement(change))
        more = edit(wrong[0]) or placed(wrong[0]) if wrong else None
        joined = None if more is None else _both(change, more)
        if joined is None:
            break
        change = joined
    return _shown(p)


def _half(change: Edit) -> bool:
    """Whether a change makes one brace of a body, of which the other may be wrong as well."""
    return any(change.text.count(mark) != change.span.text.count(mark) for mark in "{}")


def _shown(p: Problem) -> Problem:
    """A problem without a remedy that does not help, and how its statement is written."""
    assert p.span is not None
    line, first = p.span.source.line(p.span.line).split("#")[0].strip(), WORD.match(p.span.text)
    form = WRITTEN.get(line.split()[0]) if line else None
    facts = (f"as in {form}",) if form and not p.facts else p.facts
    span = p.span
    if first and span.text.strip() == line:  # no token of it is known to be wrong but the first
        span = Span(span.source, span.start, span.start + first.end())
    return replace(p, span=span, remedy="", facts=facts)


def _left_in(q: Problem, change: Edit) -> bool:
    """Whether a problem is left by a change: on its lines, where the parser refuses them; else in
    what it has put there, or on the lines of which it took something away."""
    if q.span is None or q.span.source.text != change.changed:
        return False
    source, start = q.span.source, change.span.start
    first, last = (source.position(at)[0] for at in (start, start + len(change.text)))
    if q.code.startswith(SYNTAX):
        return first <= q.span.line <= last
    new = list(_new(change)) or [(source.starts[first - 1], start + len(change.text) + 1)]
    return any(a <= q.span.start < b for a, b in new)


def _new(change: Edit) -> Iterator[tuple[int, int]]:
    """The stretches of a changed text that were not there before."""
    old, new = (list(WORD.finditer(text)) for text in (change.span.text, change.text))
    matcher = SequenceMatcher(None, [m[0] for m in old], [m[0] for m in new], autojunk=False)
    for kind, _, _, i, j in matcher.get_opcodes():
        if kind != "equal" and i < j:
            yield change.span.start + new[i].start(), change.span.start + new[j - 1].end()


def _both(one: Edit, other: Edit) -> Edit | None:
    """A change and one of what stands there then, as one; None where the other is elsewhere."""
    start, end = one.span.start, one.span.start + len(one.text)
    begin, stop = other.span.start, other.span.stop
    first, last = (other.span.source.position(at)[0] for at in (start, end))
    if not first <= other.span.line <= other.span.source.position(stop)[0] <= last:
        return None
    text = other.span.source.text
    before, after = min(begin, start), max(stop, end)
    made = text[before:begin] + other.text + text[stop:after]
    return Edit(Span(one.span.source, before, one.span.stop + after - end), made)


def _statement(change: Edit) -> str:
    """The lines of a change, as they are then."""
    source = Source("", change.changed)
    first, last = (
        source.position(at)[0] for at in (change.span.start, change.span.start + len(change.text))
    )
    lines = [source.line(n).split("#")[0].rstrip() for n in range(first, last + 1)]
    margin = len(lines[0]) - len(lines[0].lstrip())
    return "\n".join(line[margin:] if line[:margin].isspace() else line for line in lines)
