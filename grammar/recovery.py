"""Going on after a syntax error, so that one run reports every wrong line.

Panic mode: the rest of the line is left out and the parser's stack cut back to where the end of
a line can stand. A header whose `{` can still be taken keeps its body.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import takewhile

from lark import Token
from lark.parsers.lalr_parser_state import ParserState

from dln.grammar.diagnostics import Problem, Span
from dln.grammar.lexer import SourceReading, takes
from dln.grammar.record import Record

ITEMS = frozenset(
    "use const fn block optimiser data train task sweep check".split()
)  # what starts an item and nothing else; `let` and `for` also start statements
STARTERS = ITEMS | frozenset(
    "let for param fixed hidden energy scan expect state split set minimize update start step "
    "watch checkpoint until emit vary report".split()
)
EQUATION = re.compile(r"[A-Za-z_]\w*[ \t]*(\[[^\]\n]*\])?[ \t]*(:[ \t]*\w+[^=~\n]*)?(=(?!=)|~|:=)")
_ENDS_LINE = re.compile(r"[ \t}]*(#|\r?\n|$)")


class Failure(Record):
    """The token that the parser refused, with the parser's state and the reading at that moment."""

    token: Token
    state: ParserState[int]
    reading: SourceReading

    @property
    def start(self) -> int:
        return self.token.start_pos or 0

    @property
    def before(self) -> Token | None:
        """The token before this one in the same statement."""
        line = self.reading.line
        if line and line[-1] is self.token:
            line = line[:-1]
        return line[-1] if line and line[-1].type != "_NL" else None

    @property
    def first(self) -> Token:
        """The first token of the statement."""
        line = self.reading.line
        return line[0] if line and line[0].type != "_NL" else self.token

    @property
    def begins(self) -> bool:
        """Whether the statement has one token before this one at most."""
        return self.token is self.first or self.before is self.first

    @property
    def opened(self) -> list[Token]:
        """The ( and [ open before the token, within the innermost braces, innermost last."""
        brackets, closed = reversed(self.reading.brackets), self.reading.closed
        found = list(takewhile(lambda b: b.type != "LBRACE", brackets))[::-1]
        if self.token.type in ("LPAR", "LSQB"):
            return found[:-1]
        return [*found, closed] if closed and closed.type != "LBRACE" else found

    def span(self, token: Token | None = None) -> Span:
        """Where a token stands; the end of a line stands after the token before it."""
        token = token or self.token
        start, stop = token.start_pos or 0, token.end_pos or 0
        if token.type in ("_NL", "$END"):
            start = (self.before.end_pos or 0) if self.before else start
            stop = start + 1
        return Span(self.reading.source, start, stop)

    def swapped(self, text: str, token: Token | None = None) -> str:
        """The line of a token with other text in its place, as a remedy."""
        span = self.span(token)
        line, start = span.source.line(span.line), span.column - 1
        changed = line[:start] + text + line[start + span.stop - span.start :]
        return " ".join(changed.split("#")[0].split())

    @property
    def rest(self) -> str:
        """The line from the token on, without a comment."""
        span = self.span()
        return span.source.line(span.line)[span.column - 1 :].split("#")[0]

    def takes(self, kind: str) -> bool:
        """Whether a token of this kind could stand here."""
        return takes(self.state, kind)

    def cut_for(self, *kinds: str, inside: bool = False) -> int | None:
        """The largest number of values to keep so that tokens of these kinds can follow.

        With `inside`, the innermost open `{` is kept.
        """
        values = self.state.value_stack
        for keep in range(len(values), -1, -1):
            if takes(self.state, *kinds, keep=keep + 1):
                return keep
            if inside and keep and getattr(values[keep - 1], "type", "") == "LBRACE":
                return None
        return None


class Resume(Record):
    """How to go on: keep so many values, put in tokens of these kinds, read on from `place`."""

    place: int
    keep: int
    feed: tuple[tuple[str, str], ...] = ()

    def apply(self, state: ParserState[int], reading: SourceReading) -> None:
        del state.state_stack[self.keep + 1 :], state.value_stack[self.keep :]
        for kind, text in self.feed:
            token = Token(kind, text, self.place, end_pos=self.place)
            state.feed_token(token)
            reading.line.append(token)
        reading.place = reading.resumed = self.place
        reading.brackets = open_braces(state)


Answer = tuple[Problem, Resume | None]  # what is wrong, and how to go on, if at all
MAX_LINES = 50  # how far the end of an open bracket is looked for
NEWLINE = (("_NL", "\n"),)


def open_braces(state: ParserState[int]) -> list[Token]:
    """The `{` that wait for their `}`, innermost last."""
    found: list[Token] = []
    for value in state.value_stack:
        if isinstance(value, Token) and value.type == "LBRACE":
            found.append(value)
        elif isinstance(value, Token) and value.type == "RBRACE":
            found.pop()
    return found


def panic(failure: Failure) -> Resume:
    """Leave out the rest of the statement; keep its block where the block can be entered."""
    place, brace = _rest(failure)
    if brace is not None:
        for closers in ((), ("RPAR",), ("RSQB", "RPAR")):
            keep = failure.cut_for(*closers, "LBRACE", inside=True)
            if keep is not None:
                return Resume(brace, keep, tuple((k, "") for k in closers))
        place = _after_block(failure.reading, brace)
    else:
        place = _after_indented(failure, place)
    return Resume(place, failure.cut_for("_NL") or 0, NEWLINE)


def _marks(reading: SourceReading, place: int) -> Iterator[tuple[str, int, int]]:
    """Kind, start and stop of what follows in the text, blanks and comments left out."""
    text = reading.source.text
    for kind, start, stop in reading.lexer.marks(text, place):
        if kind != "_NL" or "\n" in text[start:stop]:
            yield kind, start, stop


def _rest(failure: Failure) -> tuple[int, int | None]:
    """Where the next statement starts, and the `{` left open by the rest of this one."""
    reading, depth, first = failure.reading, len(failure.opened), None
    brace: list[int] = []
    text, lines, before = reading.source.text, 0, -1
    last = max(reading.resumed, failure.start - (depth <= 0))  # a } goes on the stack but once
    if failure.token.type == "_NL":
        return reading.place, None
    for kind, start, stop in _marks(reading, failure.start):
        if kind == "_NL":
            first = first or stop
            lines += 1
            if depth <= 0 or (brace and brace[-1] == before):  # a body opens in no ( or [
                return stop, brace[0] if brace else None
            if lines > MAX_LINES or looks_new(text, stop):
                return first, None
        elif kind in ("LPAR", "LSQB"):
            depth += 1
        elif kind in ("RPAR", "RSQB"):
            depth -= 1
        elif kind == "LBRACE":
            brace.append(start)
        elif kind == "RBRACE" and brace:
            brace.pop()
        elif kind == "RBRACE" and start > last and _ENDS_LINE.match(text, stop):
            if open_braces(failure.state):
                return start, None
        before = start
    return first or len(text), brace[0] if brace else None


def _after_indented(failure: Failure, place: int) -> int:
    """The start of the next line that is not indented below the failed statement.

    Such lines continue the statement, or are the body of a header that lacks its `{`.
    """
    source = failure.reading.source
    margin = source.position(failure.first.start_pos or 0)[1]
    line, column = source.position(place)
    if source.line(line)[: column - 1].strip():
        return place
    while line < len(source.starts) and indent(source.line(line)) >= margin:
        line += 1
    closing = source.line(line) if line <= len(source.starts) else ""
    if failure.takes("LBRACE") and closing.strip() == "}" and indent(closing) == margin - 1:
        line += 1
    return source.starts[line - 1] if line <= len(source.starts) else len(source.text)


def indent(line: str) -> int:
    """The width of the blanks at the start of a line; without bound where there is nothing else."""
    return len(line) - len(line.lstrip()) if line.strip() else 10**6


def _after_block(reading: SourceReading, brace: int) -> int:
    """The start of the line after the block that opens at `brace`."""
    depth = 0
    for kind, _, stop in _marks(reading, brace):
        depth += (kind == "LBRACE") - (kind == "RBRACE")
        if kind == "_NL" and depth <= 0:
            return stop
    return len(reading.source.text)


def looks_new(text: str, place: int) -> bool:
    """Whether a new statement seems to start on the line at `place`, rather than an argument."""
    stop = text.find("\n", place)
    line = text[place : stop if stop >= 0 else len(text)].split("#")[0].strip()
    word = re.match(r"[A-Za-z_]\w*", line)
    if line.startswith("}") or (word and word.group() in STARTERS and " " in line):
        return True
    closes = sum(line.count(c) for c in ")]") > sum(line.count(c) for c in "([")
    return bool(EQUATION.match(line)) and not closes and not line.endswith(",")


def closers(brackets: list[Token]) -> str:
    """The text that closes these brackets."""
    return "".join(reversed(brackets)).translate(str.maketrans("([{", ")]}"))
