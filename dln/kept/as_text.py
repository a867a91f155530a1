"""Values of plans as plain data that `json` can write, and back.

A text becomes numbers, texts, tables of these, and records of the classes that are named here, and
nothing else: no text chooses what is called. Sources stand by their paths: whoever reads has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from types import MappingProxyType
from typing import Any

from dln.compiler.schema.keys import ProgramKind
from dln.grammar.diagnostics import Note, Problem, Source, Span
from dln.grammar.record import Record

PLAIN = frozenset((bool, int, float, str, type(None)))
"""What stands for itself. Numbers come back to the last bit."""

Sources = Mapping[str, Source]


class Unkept(Exception):
    """A value is of no kind that is kept, or a text is of no value."""


@cache
def records() -> Mapping[str, tuple[type, tuple[str, ...]]]:
    """The classes of which records may be made, with the names of their fields."""
    from dln.compiler.plan import program, specs  # late: `dln check` keeps no plan
    from dln.compiler.schema import headers, keys  # late: as these
    from dln.compiler.schema import records as shared  # late: as these
    from dln.kept import facts  # late: as these

    found: dict[str, tuple[type, tuple[str, ...]]] = {
        made.__name__: (made, tuple(f.name for f in fields(made)))
        for made in (Problem, Note, headers.Schema)
    }
    found["Span"] = Span, Span.__match_args__
    for module in (program, specs, keys, shared, headers, facts):
        for name, made in vars(module).items():
            if isinstance(made, type) and issubclass(made, Record) and made is not Record:
                found[name] = made, made._fields
    return found


def to_plain(value: object) -> Any:
    """A value as plain data: tuples as lists, all else that `json` has no form for under the letter
    of its kind. Raises `Unkept` for what there is no form of."""
    kind = type(value)
    if kind in PLAIN:
        return value
    if isinstance(value, tuple) and kind is tuple:
        return [v if type(v) in PLAIN else to_plain(v) for v in value]
    if isinstance(value, list) and kind is list:
        return {"l": [to_plain(v) for v in value]}
    if isinstance(value, dict | MappingProxyType):
        return {"d": [[to_plain(k), to_plain(v)] for k, v in value.items()]}
    if isinstance(value, frozenset):
        return {"s": sorted(to_plain(v) for v in value)}
    if isinstance(value, Source):
        return {"o": value.path}
    if isinstance(value, ProgramKind):
        return {"k": value.value}
    if kind.__name__ == "IndexAxis":
        text = str(value)
        return {"x": [text[: text.rindex(".")], int(text[text.rindex(".") + 1 :])]}
    made, names = records().get(kind.__name__, (None, ()))
    if made is not kind:
        raise Unkept(kind.__name__)
    return {"r": [kind.__name__, *(to_plain(getattr(value, k)) for k in names)]}


def by_names(data: Any) -> Any:
    """Plain data whose records say what each of their values is, for what is kept for long."""
    if isinstance(data, list):
        return [by_names(v) for v in data]
    if not isinstance(data, dict):
        return data
    [(letter, held)] = data.items()
    if letter == "r":
        names = records()[held[0]][1]
        return {"n": [held[0], dict(zip(names, map(by_names, held[1:]), strict=True))]}
    return {letter: by_names(held)}


def from_plain(data: Any, sources: Sources) -> Any:
    """The value of which `to_plain` made the data. Raises `Unkept` for any other data."""
    if type(data) in PLAIN:
        return data
    if isinstance(data, list):
        return tuple([v if type(v) in PLAIN else from_plain(v, sources) for v in data])
    if not isinstance(data, dict) or len(data) != 1:
        raise Unkept("a table")
    [(letter, held)] = data.items()
    try:
        return _made(letter, held, sources)
    except (LookupError, ArithmeticError, TypeError, ValueError, AttributeError) as error:
        raise Unkept(letter) from error


def _made(letter: str, held: Any, sources: Sources) -> Any:
    match letter:
        case "r":
            made, names = records()[held[0]]
            values = [v if type(v) in PLAIN else from_plain(v, sources) for v in held[1:]]
            return made(**dict(zip(names, values, strict=True)))
        case "n":  # by the names of fields: one that came later has its default
            made, names = records()[held[0]]
            return made(**{k: from_plain(v, sources) for k, v in held[1].items() if k in names})
        case "d":
            return {from_plain(k, sources): from_plain(v, sources) for k, v in held}
        case "l":
            return [from_plain(v, sources) for v in held]
        case "s":
            return frozenset(from_plain(v, sources) for v in held)
        case "o":
            return sources[held]
        case "k":
            return ProgramKind(held)
        case "x":
            from dln.compiler.ir.tensor_type import IndexAxis  # late: few programs name one

            name, number = held
            return IndexAxis(str(name), int(number))
    raise Unkept(letter)
