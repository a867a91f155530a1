"""Names that nothing reads: equations, options, ports and constants that a spec could do without.

Nothing is wrong with one, but whoever wrote it meant it to count. What is read is seen in the text:
a name counts as read where it stands in the body that it belongs to, behind a dot (`net.h`), or in
a text that names it (`clamp = "label"`). An equation that applies an instance is there for what is
asked of that (`h = cell(x)`, then `cell.c`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from dln.compiler.frontend.context.static_values import word
from dln.compiler.ir.tensor_type import TIME
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Problem, Span

CODE = "W303"


class Named(NamedTuple):
    """A name, what it is, and where it stands."""

    name: str
    what: str
    span: Span
    value: s.Syntax | None = None


def warnings(module: s.Module, others: Iterable[s.Module]) -> Iterator[Problem]:
    """One for each name of a file that nothing reads, there or in `others`."""
    parts = [(item, list(_parts(item))) for item in module.items]
    elsewhere = [p for other in others for item in other.items for p in _parts(item)]
    behind = set(_behind_dots([*elsewhere, *(p for _, inner in parts for p in inner)]))
    asked = {n for _, inner in parts for n in _before_dots(inner)}
    anywhere = behind | set(_read(p for _, inner in parts for p in inner))
    for item, inner in parts:
        read = (
            anywhere if isinstance(item, s.Train | s.Const | s.For) else behind | set(_read(inner))
        )
        for found in _bound(item, inner):
            applied = _read(_parts(found.value)) if found.value is not None else ()
            if found.name not in read and asked.isdisjoint(applied):
                yield _warning(found)


def _parts(item: s.Syntax) -> Iterator[s.Syntax]:
    """All that an item is made of, in the order of its text."""
    waiting = [item]
    while waiting:  # no generators in generators: a long sum is as deep as it is long
        part = waiting.pop()
        yield part
        waiting += reversed(tuple(part.children()))


def _read(parts: Iterable[s.Syntax]) -> Iterator[str]:
    return (p.id for p in parts if isinstance(p, s.Name))


def _behind_dots(parts: Iterable[s.Syntax]) -> Iterator[str]:
    for p in parts:
        if isinstance(p, s.Attr):
            yield p.name
        elif isinstance(p, s.String):
            yield p.value


def _before_dots(parts: Iterable[s.Syntax]) -> Iterator[str]:
    """What has something asked of it: `cell` in `cell.c` and in `cell[0].c`."""
    for p in parts:
        if isinstance(p, s.Attr):
            yield from _read(_parts(p.body))


def _bound(item: s.Syntax, parts: Iterable[s.Syntax]) -> Iterator[Named]:
    """The names that an item binds for those who read them."""
    if isinstance(item, s.Const):
        yield Named(item.name, "constant", word(item.span, item.name))
    results = {p.name for p in item.results} if isinstance(item, s.Block) else set()
    if isinstance(item, s.Block):
        ports = (p for p in item.ports if not _says_how_long(item, p))
        yield from (Named(p.name, "port", word(p.span, p.name)) for p in ports)
    if isinstance(item, s.Block | s.Optimiser | s.Task):
        yield from (Named(o.name, "option", word(o.span, o.name)) for o in item.options)
    for p in parts if isinstance(item, s.Block | s.Train | s.Task | s.Check | s.For) else ():
        if isinstance(p, s.Define | s.Draw) and p.target.name not in results:
            name = p.target.name
            yield Named(name, "equation", word(p.target.span, name), p.value)
        elif isinstance(p, s.Let) and not isinstance(item, s.For):
            yield Named(p.name, "let", word(p.span, p.name), p.value)


def _says_how_long(block: s.Block, port: s.Port) -> bool:
    """Whether a port has a part in a block that reads nothing of it: how many steps its results
    have, as none of the others runs over time."""
    timed = [p for p in block.ports if _over_time(p)]
    return timed == [port] and any(map(_over_time, block.results))


def _over_time(port: s.Port) -> bool:
    first = port.dims[0] if port.dims else None
    return isinstance(first, s.Name) and first.id == TIME


def _warning(found: Named) -> Problem:
    name, what, span, _ = found
    label = "is worked out for nothing" if what == "equation" else "changes nothing"
    remedy = f"leave it out, or read {name} where it is meant"
    if what == "equation" and name in ("batch", "epochs", "seed", "order", "dtype"):
        remedy = "say it in the first line: train ... batch 100 for 10 epochs seed 7 {"
    elif what == "equation":
        from dln.grammar.idioms.concepts import lookup  # late: most names are read

        if said := lookup.set_elsewhere(name):
            text = f"nothing reads the equation {name}: {said[0]}"
            return Problem(CODE, text, span, label, facts=said[1:], word="warning")
    return Problem(
        CODE, f"nothing reads the {what} {name}", span, label, remedy=remedy, word="warning"
    )
