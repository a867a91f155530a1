"""Which argument is to blame for what went wrong inside a function, block or optimiser.

A body is worked out with what its call gave. Where a fault stands at a name of the body that was
given, the argument is what has to change; and where that is itself such a name, what was given for
it, up to the outermost call.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeAlias

from dln.compiler.ir.graph import Node
from dln.grammar.diagnostics import DlnError, Note, Problem, Source, Span

OF_DOMAIN = ("E302", "E310", "E311")
"""Faults of what a tensor is: the user's own functions, too, are not to blame for them."""
OF_KIND = ("E212", "E305", "E324")
"""Faults of a value of another kind than is meant: whatever it is, who gave it has to change it."""
OF_BODY = ("E301", "E331", "E334")
"""Faults of names, which no argument mends."""
OF_SEVERAL = ("E217",)
"""Faults of sizes that do not go together: a window, its stride and what it looks at."""


class Argument(NamedTuple):
    """What a name of a body was given: where that stands and what it is, if it is known by now; of
    whose `call`, and by its place or by its name."""

    span: Span
    value: object = None
    name: str = ""
    call: str = ""

    @property
    def plain(self) -> bool:
        """Whether it is known and no tensor: a number, a text, a function."""
        return self.value is not None and not isinstance(self.value, Node | list)

    @property
    def shown(self) -> str:
        """What it is, where that is short to say."""
        value = self.value
        said = repr(value) if isinstance(value, int | float | str) else ""
        return f" is {said}" if said and said != self.span.text else ""


Giving: TypeAlias = Callable[[str], Argument | None]


def nothing(name: str) -> None:
    """What the names in a body were given that is not written in the language."""


class ActiveCall(NamedTuple):
    """A function, block or optimiser at work: where it was called and what it is called; where its
    body stands and what a name in it was given, of what is written in the language; of a block,
    where it was made."""

    span: Span
    name: str
    body: Span | None = None
    given: Giving = nothing
    made: Span | None = None

    def argument(self, place: Span, name: str) -> Argument | None:
        """What a name at a place in the body was given from outside of it."""
        if self.body is None or not self.body.holds(place):
            return None
        found = self.given(name)
        if found is None or self.body.holds(found.span):  # its own default
            return None
        return found._replace(name=name, call=self.name)


def endless(calls: Sequence[ActiveCall], name: str, span: Span) -> DlnError:
    """Of calls within calls, what it is that calls itself, where it does so first."""
    names = Counter(c.name for c in calls)
    again = max(names, key=lambda n: names[n], default=name)
    places = [c.span for c in calls if c.name == again]
    at, fact = places[1] if len(places) > 1 else span, ""
    if at.source.text[: at.start].rstrip().endswith("->"):
        fact = "as many layers as a number says are a chain: chain([for k in 1..3: dense(m)])"
    text = f"{again} calls itself without end"
    facts = (fact,) if fact else ()
    return DlnError([Problem("E320", text, at, f"{len(calls)} calls deep", facts=facts)])


def origins(calls: Sequence[ActiveCall], span: Span, name: str = "") -> list[Argument]:
    """What a name at a place was given, and where that is a name again what it was given."""
    found: list[Argument] = []
    name = name or span.text
    for call in reversed(calls):
        if (given := call.argument(span, name)) is not None:
            found.append(given)
            span, name = given.span, given.span.text
    return found


def own_call(calls: Sequence[ActiveCall], source: Source) -> ActiveCall | None:
    """The innermost call that stands in the user's own file."""
    return next((call for call in reversed(calls) if call.span.source is source), None)


def blamed(found: Problem, calls: Sequence[ActiveCall], source: Source) -> Problem:
    """A problem in a body at the argument that is to blame, else at the user's own line that led
    there. In the user's own file, `source`, tensors are to blame for their domains alone, and what
    ports are given not at all: how they are put together is the body's."""
    span = found.span
    assert span is not None
    own = span.source is source
    path = origins(calls, span)
    if path and path[-1].span.source is source and found.code not in OF_BODY:
        of_domain = found.code in OF_DOMAIN and isinstance(path[0].value, Node)
        if not own or path[0].plain or of_domain or found.code in OF_KIND:
            through = [at for at in (span, *(a.span for a in path[:-1])) if at.source is source]
            notes = [Note(at, "stands for it here") for at in through]
            label = f"{found.label or 'is given'}, as {path[-1].name} of {path[-1].call}"
            named = next((c for c in calls if c.name == path[-1].call), None)
            if found.label == "is a function" and named and named.given("act") is not None:
                fact = f"by its name it is another option: act = {path[-1].span.text}"
                found = replace(found, facts=(fact,))
            return _at(replace(found, label=label), path[-1], notes)
    if own or (call := own_call(calls, source)) is None:
        given = [a for a in path[-1:] if a.value is not None and a.span.source is source]
        notes = [Note(a.span, f"is given for {path[0].name} of {path[0].call}") for a in given]
        return replace(found, notes=(*found.notes, *notes)) if notes else found
    inside = Note(span, found.label or "here")
    head = re.match(r"(\w+)\(", span.text)  # of `init(n, m)`, what was given for init
    names = dict.fromkeys(re.findall(r"[A-Za-z_]\w*", span.text))
    told = [p[-1] for name in names if (p := origins(calls, span, name))]
    given = [a for a in told if a.plain]
    if not given and found.code in ("E302", "E304", *OF_KIND):  # a tensor in a requirement of sizes
        given = [a for a in told if a.value is not None]
    to_blame = [a for a in given if head is not None and a.name == head[1]] or given
    alone = len(to_blame) == 1 and found.code not in OF_SEVERAL
    if alone and to_blame[0].span.source is source:
        argument = to_blame[0]
        label = f"{argument.name} of {argument.call}{argument.shown}"
        return _at(replace(found, label=label), argument, [inside])
    label = f"in {call.name}, called here"
    if found.code in OF_SEVERAL and call.made is not None and call.made.source is source:
        notes = [Note(call.span, "is applied here")] if call.made != call.span else []
        label = f"in {call.name}, made here"
        return replace(found, span=call.made, label=label, notes=(*notes, inside))
    return replace(found, span=call.span, label=label, notes=(inside, *found.notes))


def _at(found: Problem, argument: Argument, notes: Sequence[Note]) -> Problem:
    """A problem at an argument; what its remedy calls by the name in the body is the argument."""
    inside = found.span
    assert inside is not None
    remedy = found.remedy
    if inside.text.isidentifier():
        text = " ".join(argument.span.text.split())
        remedy = re.sub(rf"(?<![\w.]){inside.text}(?!\w)", lambda _: text, remedy)
    return replace(found, span=argument.span, notes=(*notes, *found.notes), remedy=remedy)
