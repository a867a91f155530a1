"""Programs as plain data that `json` can write, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dln.compiler.plan.program import Buffer, Called, Extent, Line, Place, Program
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
    given = dict(data)
    given["clocks"] = tuple(map(parse_clock, given["clocks"]))
    given["buffers"] = tuple(_buffer(b) for b in given["buffers"])
    given["constants"] = {k: _frozen(c) for k, c in given["constants"].items()}
    given["setup"] = tuple(_line(line) for line in given["setup"])
    given["lines"] = tuple(_line(line) for line in given["lines"])
    given["slots"] = tuple(_extents(given["slots"]))
    return Program(**given)


def _extents(pairs: Any) -> Iterator[Extent]:
    return ((int(a), int(b)) for a, b in pairs)


def _buffer(data: Mapping[str, Any]) -> Buffer:
    return Buffer(**{**data, "shape": tuple(_extents(data["shape"]))})


def _line(data: Mapping[str, Any]) -> Line:
    flops, bytes_ = _extents([data["flops"], data["bytes"]])
    place = Place(**data["place"]) if data["place"] else None
    names = {key: tuple(data[key]) for key in ("reads", "operands", "axes")}
    call = data["call"] and Called(**{**data["call"], "given": tuple(data["call"]["given"])})
    more = {"place": place, "flops": flops, "bytes": bytes_, "call": call}
    return Line(**{**data, **names, **more})


def _frozen(value: object) -> object:
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value
