"""The sizes that a `given(...)` leaves open, read off its text alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dln.grammar import syntax as s
from dln.grammar.diagnostics import Span

LENGTH, TIME = "length", "time"


def open_names(given: s.Given) -> Iterator[tuple[str, Span]]:
    """The names in its sizes and numbers of classes, which are open where nothing defines them."""
    seen: set[str] = set()
    for port in given.ports:
        parts: list[s.Syntax] = [*(port.dims or ())]
        if port.domain is not None and port.domain.size is not None:
            parts.append(port.domain.size)
        for name in (n for part in parts for n in _names(part)):
            if name.id not in (TIME, "batch") and name.id not in seen:
                seen.add(name.id)
                yield name.id, name.span


def _names(part: s.Syntax) -> Iterator[s.Name]:
    if isinstance(part, s.Name):
        yield part
    for inner in part.children():
        yield from _names(inner)


def timed(port: s.Port) -> bool:
    """Whether a port runs over time."""
    first = port.dims[0] if port.dims else None
    return isinstance(first, s.Name) and first.id == TIME


def ends_of(port: s.Port, ports: Sequence[s.Port]) -> str:
    """The port that says where the sequences of another end: its own, or that of all; else ""."""
    names = {p.name for p in ports}
    return next((n for n in (f"{port.name}_{LENGTH}", LENGTH) if n in names), "")


def steps_name(port: s.Port, ports: Sequence[s.Port]) -> str:
    """What the number of steps of a port is called from outside: `time`, of what has lengths of its
    own `src_time`."""
    own = ends_of(port, ports) == f"{port.name}_{LENGTH}"
    return f"{port.name}_{TIME}" if own else TIME


def named(port: s.Port) -> bool:
    """Whether a port takes classes that have names, of which it says no number."""
    domain = port.domain
    return domain is not None and domain.name == "class" and domain.size is None
