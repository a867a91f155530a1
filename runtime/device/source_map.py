"""From the places of a plan back to spans of a spec; from bare faults to errors with a place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from dln.compiler.plan import Place
from dln.compiler.schema.arguments import shown
from dln.grammar.diagnostics import DlnError, Fault, Problem, Source, Span, nearest


def span_of(texts: Mapping[str, str], place: Place | None) -> Span | None:
    """The span that a place stands for, None where the text is not at hand."""
    if place is None or place.path not in texts:
        return None
    return Span(Source(place.path, texts[place.path]), place.start, place.stop)


@contextmanager
def placed(texts: Mapping[str, str], place: Place | None = None, label: str = "") -> Iterator[None]:
    """Faults inside become a `DlnError` at a place."""
    try:
        yield
    except Fault as fault:
        raise fault.at(span_of(texts, place), label) from fault


def unknown(code: str, what: str, name: object, known: list[str]) -> DlnError:
    """The error for a name that nothing has, with the nearest one that something has."""
    name = name if isinstance(name, str) else shown(name)
    some = ", ".join(known[:8]) + (", ..." if len(known) > 8 else "")
    remedy = nearest(name, known) or (f"one of {some}" if known else "")
    return DlnError([Problem(code, f'there is no {what} "{name}"', remedy=remedy)])
