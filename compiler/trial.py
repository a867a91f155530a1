"""Remedies are tried before they are given: applied as it stands, one has to mend what it is for.

Who finds a problem sees its place, and says what was likely meant there; whether the rest of the
spec agrees nobody knows before it is read again. So each remedy that can be typed in is typed in,
and the spec read once more. A name that is as wrong at its place as what stands there is not given;
where several things may have been meant (`Problem.ways`), the first is told with which nothing new
is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from dln.grammar.diagnostics import Note, Problem, Source, nearest
from dln.grammar.remedies import Edit, edit

MANY = 8  # problems of a spec of which none is tried: something larger is wrong
MOST = 3  # problems whose remedies are tried
LONGEST = 20_000  # characters of a text that is read again
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
        ways = list(_ways(p, source)) if left and (p.ways or _unsure(p)) else []
        left -= bool(ways)
        told.append(_chosen(p, ways, before, again) if ways else p)
    return told


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
