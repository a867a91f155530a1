"""Brackets that are never closed, close nothing, or close another kind."""

from __future__ import annotations

import re

from lark import Token

from dln.grammar.diagnostics import Note, Problem, Source, Span
from dln.grammar.lexer import CLOSING
from dln.grammar.recovery import (
    EQUATION,
    ITEMS,
    NEWLINE,
    Answer,
    Failure,
    Resume,
    closers,
    cut_for,
    inner_brackets,
    looks_new,
    open_braces,
    panic,
)


def _line_start(source: Source, place: int) -> int:
    """The place of the first character on the line of `place` that is no blank."""
    start = source.starts[source.position(place)[0] - 1]
    text = source.text
    while start < len(text) and text[start] in " \t":
        start += 1
    return start


def unclosed(f: Failure) -> Answer | None:
    """A ( or [ that is still open where a new statement starts."""
    source, inner = f.reading.source, inner_brackets(f.reading)
    if f.token.type in ("LPAR", "LSQB"):
        inner = inner[:-1]
    elif f.reading.closed and f.reading.closed.type != "LBRACE":
        inner.append(f.reading.closed)
    if not inner:
        return None
    opener = inner[-1]
    here = _line_start(source, f.start)
    ends = f.token.type in ("$END", "_NL") or (f.token.type == "RBRACE" and f.start == here)
    later = source.position(f.start)[0] > source.position(opener.start_pos or 0)[0]
    if not (ends or (later and looks_new(source.text, here))):
        return None
    keep = cut_for(f, "_NL") or 0
    resume = Resume(f.start if ends else here, keep, NEWLINE)
    return _never_closed(f, inner, None if ends else here), resume


def _never_closed(f: Failure, inner: list[Token], here: int | None) -> Problem:
    source, opener = f.reading.source, inner[-1]
    notes = () if here is None else (_starts(source, here),)
    number = source.position(opener.start_pos or 0)[0]
    same = [b for b in inner if source.position(b.start_pos or 0)[0] == number]
    line = source.line(number).split("#")[0].strip().rstrip(",")
    message = f"this {opener.value} is never closed"
    remedy = line + closers(same)
    return Problem("E101", message, f.span(opener), "opened here", notes=notes, remedy=remedy)


def _starts(source: Source, place: int) -> Note:
    """A note under the name and sign of an equation, or the first word of a statement."""
    equation = EQUATION.match(source.text, place)
    word = equation or re.compile(r"\w+|.").match(source.text, place)
    what = "equation" if equation else "statement"
    return Note(Span(source, place, word.end() if word else place), f"a new {what} starts here")


def brace(f: Failure) -> Answer | None:
    """A { that is still open at the end, or where a new item starts."""
    braces = open_braces(f.state)
    if not braces:
        return None
    message, opened = "this { is never closed", f.span(braces[-1])
    if f.token.type == "$END":
        return Problem("E102", message, opened, "opened here", remedy="end with a line }"), None
    first = f.first
    at_left = f.reading.source.position(first.start_pos or 0)[1] == 1
    if not (first.value in ITEMS and at_left and first is f.before):
        return None
    keep = cut_for(f, f.reading.lexer.keywords[first.value])
    if keep is None:
        return None
    note = Note(f.span(first), f"a new {first.value} starts here")
    remedy = f"close it with a }} before {first.value}"
    problem = Problem("E102", message, opened, "opened here", (note,), remedy=remedy)
    return problem, Resume(first.start_pos or 0, keep)


def closer(f: Failure) -> Answer | None:
    """A closing bracket that closes nothing, or not the bracket that is open."""
    if f.token.type not in CLOSING.values():
        return None
    inner = inner_brackets(f.reading)
    if inner and f.reading.closed is None:
        opener = inner[-1]
        right = closers([opener])
        note = (Note(f.span(opener), "opened here"),)
        message = f"this {opener.value} is closed by {f.token.value}"
        remedy = f.swapped(right)
        problem = Problem("E104", message, f.span(), f"expected {right}", note, remedy=remedy)
        return problem, panic(f)
    if f.reading.closed is None or (f.token.type == "RBRACE" and not open_braces(f.state)):
        message = f"this {f.token.value} closes nothing"
        return Problem("E103", message, f.span(), remedy="take it out"), panic(f)
    return None
