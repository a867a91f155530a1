"""Parameters that something which learns uses, and that no phase ever moves.

Nothing is wrong with one: a layer may be kept as it was drawn. But a parameter that is left out of
an `over` by mistake looks the same, and a net learns around it without a word. So it is said once,
unless the spec says that it is meant: with `fixed`, with `stop`, or by a hand-over as it begins.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dln.compiler.frontend.context.build_context import Build
from dln.compiler.ir.graph import Node, up_to
from dln.compiler.ir.structure import is_param, is_stop
from dln.compiler.model import Phase
from dln.grammar.diagnostics import Note, Problem, Span

CODE = "W300"
SHOWN = 8  # paths in one message


def warnings(b: Build) -> Iterator[Problem]:
    """One for each phase that uses such parameters and is the first to do so."""
    known = {path for phase in b.phases.made.values() for path in moved(phase)}
    for phase in b.phases.made.values():
        # Its losses, then whatever else its updates are worked out from.
        learns = [(line.span, line.span.text, [line.loss]) for line in phase.lines]
        for span, over, values in (*learns, (phase.span, "", [*phase.updates.values()])):
            found = (p for p in uses(values) if p not in known and p in b.owned.params)
            left = [p for p in found if b.owned.params[p].trainable]
            if left:
                known.update(left)
                yield _warning(b, phase, left, span, over)


def moved(phase: Phase) -> Iterator[str]:
    """The parameters that a phase moves, or is handed over."""
    yield from phase.updates
    yield from (s.path for s in phase.starts)
    yield from (s.path for s in phase.loads)


def uses(values: Iterable[Node]) -> list[str]:
    """The parameters that values are worked out from, but for what a `stop` keeps out."""
    return [node["path"] for node in up_to(values, is_stop) if is_param(node)]


def _warning(b: Build, phase: Phase, left: list[str], span: Span, over: str) -> Problem:
    paths = [p for p in b.owned.params if p in left]
    text = listed_paths(paths)
    it, stay = ("it", "it stays as it is") if len(paths) == 1 else ("them", "they stay as they are")
    message = f"no phase trains {text}, though {phase.name} learns with {it}"
    made = dict.fromkeys(b.owned.owners[p] for p in paths)
    spans = dict.fromkeys(i.span for i in made if i.span.source is b.source)
    notes = tuple(Note(at, "is made here") for at in spans if at != span)
    names = ", ".join(names_of(b, paths))
    learned = ", ".join(filter(None, [over, names]))
    remedy = f"over {learned}; or, where {stay}, `fixed` in place of `param`, or stop(...)"
    return Problem(CODE, message, span, notes=notes[:3], remedy=remedy, word="warning")


def listed_paths(paths: list[str]) -> str:
    """Some paths in a sentence, the first few by name."""
    rest = len(paths) - SHOWN
    return ", ".join(paths[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def names_of(b: Build, paths: list[str]) -> list[str]:
    """What stands for some parameters: their instance, where these are all it has."""
    names: dict[str, None] = {}
    for path in paths:
        owner = b.owned.owners[path]
        mine = [p for p in b.owned.params if b.owned.owners[p] is owner]
        names[owner.path if set(mine) <= set(paths) else path] = None
    return list(names)
