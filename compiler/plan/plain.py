"""Programs as plain data that `json` can write, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dln.compiler.plan.program import Buffer, Called, Line, Place, Program
from dln.compiler.schema.keys import parse_clock
from dln.grammar.record import Record


def program_to_json(program: Program) -> dict[str, Any]:
    """A program as plain data that `json` can write."""
    clocks = [str(clock) for clock in program.clocks]
    return {**{k: _plain(getattr(program, k)) for k in program._fields}, "clocks": clocks}


def _plain(value: object) -> Any:
    """Records as dictionaries of their fields."""
    if isinstance(value, Record):
        return {k: _plain(getattr(value, k)) for k in value._fields}
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    return {k: _plain(v) for k, v in value.items()} if isinstance(value, Mapping) else value


def program_from_json(data: Mapping[str, Any]) -> Program:
    """The program that `program_to_json` gave, also after a way through JSON text."""
    given = {key: _frozen(value) for key, value in data.items()}
    given["clocks"] = tuple(map(parse_clock, given["clocks"]))
    given["buffers"] = tuple(Buffer(**buffer) for buffer in given["buffers"])
    for part in ("setup", "lines"):
        given[part] = tuple(map(_line, given[part]))
    return Program(**given)


def _line(data: Mapping[str, Any]) -> Line:
    place, call = data["place"], data["call"]
    return Line(**{**data, "place": place and Place(**place), "call": call and Called(**call)})


def _frozen(value: object) -> Any:
    """What JSON has as lists as the tuples that it was."""
    if isinstance(value, Mapping):
        return {key: _frozen(held) for key, held in value.items()}
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value
