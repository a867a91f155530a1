"""Brackets that are never closed, close nothing, or close another kind."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dln.grammar import recovery
from dln.grammar.diagnostics import TWICE, Note, Problem, Source, Span
from dln.grammar.lexer import CLOSING
from dln.grammar.recovery import Answer, Failure, Resume, panic
from dln.grammar.repair import BRACE_BEFORE, LAST_BRACE, MOST, plain, reads


def unclosed(f: Failure) -> Answer | None:
    """A ( or [ that is still open where a new statement starts."""
    source, inner = f.reading.source, f.opened
    if not inner:
        return None
    opener, (number, _) = inner[-1], source.position(f.start)
    line, opened = source.line(number), f.span(opener).line
    here = source.starts[number - 1] + len(line) - len(line.lstrip(" \t"))
    ends = f.token.type in ("$END", "_NL") or (f.token.type == "RBRACE" and f.start == here)
    if not (ends or (number > opened and recovery.looks_new(source.text, here))):
        return None
    message = f"this {opener.value} is never closed"
    notes = () if ends else (_starts(source, here),)
    same = [b for b in inner if f.span(b).line == opened]
    tokens = [t for t in f.reading.line if f.span(t).line == opened]
    remedy = ""
    if all(plain(tokens, b) for b in same):
        remedy = source.line(opened).split("#")[0].strip().rstrip(",") + recovery.closers(same)
    problem = Problem("E101", message, f.span(opener), "opened here", notes, remedy=remedy)
    resume = Resume(f.start if ends else here, f.cut_for("_NL") or 0, recovery.NEWLINE)
    return problem, resume


def _starts(source: Source, place: int) -> Note:
    """A note under the name and sign of an equation, or the first word of a statement."""
    equation = recovery.EQUATION.match(source.text, place)
    word = equation or re.compile(r"\w+|.").match(source.text, place)
    what = "equation" if equation else "statement"
    return Note(Span(source, place, word.end() if word else place), f"a new {what} starts here")


def brace(f: Failure) -> Answer | None:
    """A { that is still open at the end, or where a new item starts."""
    braces = recovery.open_braces(f.state)
    if not braces:
        return None
    message, opened = "this { is never closed", f.span(braces[-1])
    found = _twice(opened, f.span().line) or _by_indent(opened, f.span().line)
    if f.token.type == "$END":
        if found:
            return found, None
        return Problem("E102", message, opened, "opened here", remedy=LAST_BRACE), None
    first = f.first
    if not (f.begins and first.value in recovery.ITEMS and f.span(first).column == 1):
        return None
    keep = f.cut_for(f.reading.lexer.keywords[first.value])
    if keep is None:
        return None
    note = Note(f.span(first), f"a new {first.value} starts here")
    remedy = BRACE_BEFORE + first.value
    problem = Problem("E102", message, opened, "opened here", (note,), remedy=remedy)
    if found is not None and found.span == opened and found.notes[0].span.line == f.span().line:
        found = None
    return found or problem, Resume(first.start_pos or 0, keep)


def _twice(opened: Span, last: int) -> Problem | None:
    """Of the lines from a { on, the first that opens a brace and stands twice."""
    source = opened.source
    for n in range(opened.line, last):
        text = source.line(n).split("#")[0].strip()
        if text.endswith("{") and source.line(n + 1).split("#")[0].strip() == text:
            ends = [source.starts[m - 1] + source.line(m).index(text) for m in (n, n + 1)]
            first, again = (Span(source, start, start + len(text)) for start in ends)
            notes, message = (Note(first, "first here"),), "this line opens a second {"
            return Problem("E102", message, again, "again", notes, remedy=TWICE)
    return None


def _by_indent(opened: Span, last: int) -> Problem | None:
    """The brace whose body ends, by its indent, without a }: what the writer saw."""
    source, open_lines = opened.source, list[tuple[int, int]]()
    for n in range(opened.line, last + 1):
        text = source.line(n).split("#")[0].rstrip()
        indent, closes = len(text) - len(text.lstrip()), text.strip() == "}"
        if not text:
            continue
        if open_lines and indent <= open_lines[-1][0]:
            margin, line = open_lines.pop()
            if not (closes and indent == margin):
                return None if line == n - 1 else _left_open(source, line, n)
        if text.endswith("{"):
            open_lines.append((indent, n))
    return None


def _left_open(source: Source, line: int, after: int) -> Problem:
    """The { of a line that is not closed before another; a body without indent says nothing."""
    start = source.starts[line - 1] + source.line(line).split("#")[0].rindex("{")
    here = source.starts[after - 1] + len(source.line(after)) - len(source.line(after).lstrip())
    notes = (Note(Span(source, here, here + 1), "is no part of it"),)
    place, remedy = Span(source, start, start + 1), f"{BRACE_BEFORE}line {after}"
    return Problem("E102", "this { is never closed", place, "opened here", notes, remedy=remedy)


def closer(f: Failure) -> Answer | None:
    """A closing bracket that closes nothing, or not the bracket that is open."""
    if f.token.type not in CLOSING.values():
        return None
    inner, closed = f.opened, f.reading.closed
    if inner and closed is None:
        opener = inner[-1]
        right = recovery.closers([opener])
        note = (Note(f.span(opener), "opened here"),)
        message = f"this {opener.value} is closed by {f.token.value}"
        label = f"expected {right}"
        remedy = f.swapped(right) if plain(f.reading.line, opener) else ""
        return Problem("E104", message, f.span(), label, note, remedy=remedy), panic(f)
    if closed is None or (f.token.type == "RBRACE" and not recovery.open_braces(f.state)):
        message = f"this {f.token.value} closes nothing"
        pair = {")": "(", "]": "[", "}": "{"}[f.token.value]
        fact = f"it is one too many, or the {pair} before it is missing"
        if f.token is f.first and f.token.value == ")":
            fact = "a body ends with }"
        return Problem("E103", message, f.span(), facts=(fact,)), panic(f)
    return None


def unbalanced(f: Failure) -> Answer | None:
    """A statement of one line with a ) or ] too many, or without the bracket that it closes, which
    is refused before that is met: `f(g(x)), y)`, `f g(x), y)`."""
    source, begin = f.reading.source, f.first.start_pos or 0
    line = source.text[begin:].split("\n")[0].split("#")[0].rstrip()
    if f.start - begin >= len(line) or len(line) > MOST or '"' in line:
        return None
    for left, right in ("()", "[]"):
        if line.count(left) - line.count(right) != -1:
            continue
        found = {new: at for new, at in _balanced(line, left, right) if reads(f, new)}
        if len(found) == 1:
            ((new, at),) = found.items()
            span = Span(source, begin + at, begin + at + 1)
            message = f"this {right} closes nothing"
            return Problem("E103", message, span, remedy=" ".join(new.split())), panic(f)
    return None


def _balanced(line: str, left: str, right: str) -> Iterator[tuple[str, int]]:
    """A line with one closing bracket left out, or an opening one behind a name; the bracket that
    is one too many."""
    places = [i for i, mark in enumerate(line) if mark == right]
    depth = 0
    last = places[-1]
    for i, mark in enumerate(line):
        depth += (mark == left) - (mark == right)
        if depth < 0:
            last = i
            break
    for i in places:
        yield line[:i] + line[i + 1 :], i
    for name in re.finditer(r"[A-Za-z]\w*(?=[ \t]+[\w\[(])", line[:last]):
        yield f"{line[: name.end()]}{left}{line[name.end() :].lstrip()}", last
