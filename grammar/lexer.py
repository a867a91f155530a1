"""The lexer: one regular expression, with keywords decided by what the parser accepts.

Lark's contextual lexer compiles a regular expression for each set of terminals that some parser
state accepts, about eighty for this grammar. Here the text is cut the same way whatever the
state, and only words are contextual: a word is a keyword where the parser can take that keyword,
and a name elsewhere. So `step`, `data` or `epoch` may name a tensor.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from lark import Token
from lark.parsers.lalr_analysis import Shift
from lark.parsers.lalr_parser_state import ParserState

from dln.grammar.diagnostics import DlnError, Problem, Source, Span
from dln.grammar.tables import Pattern

MAX_NESTING = 64
MAX_NAME = 100

# Words that are never names: an expression or a continued line turns on them.
RESERVED = frozenset({"and", "or", "not", "if", "else", "for", "in", "as", "with"})
MARKS = frozenset({"EQUAL", "TILDE", "COLON", "LSQB", "ASSIGN"})  # what follows a bound name
CLOSING = {"LPAR": "RPAR", "LSQB": "RSQB", "LBRACE": "RBRACE"}

# What no terminal takes, cut so that a message can name it whole.
_WRONG = r'(?P<WRONG>\*\*|//|\.\.\.|=>|\+/?-|&&|\|\||"""(?![\s\S]*?"""))|'
_BAD = r"|(?P<BAD>\S)|(?P<END>\Z)"


class Lexer:
    """Cuts texts into the grammar's terminals; anything else becomes a token of type BAD."""

    def __init__(self, patterns: list[Pattern], ignored: list[str]) -> None:
        words = {p.name for p in patterns if p.name == "UNIT" or _is_word(p)}
        self.keywords = {p.text: p.name for p in patterns if _is_word(p)}
        self.written = {p.name: p.text for p in patterns if not p.regex}
        unit = next(p.text for p in patterns if p.name == "UNIT")
        self.unit = re.compile(unit)
        self.unit_initials = frozenset(re.findall(r"(?<=[(|])\w", unit))
        marks = [p for p in patterns if p.name not in words]
        marks.sort(key=lambda p: (-p.priority, not p.regex, -len(p.text)))
        texts = (f"(?P<{p.name}>{p.text if p.regex else re.escape(p.text)})" for p in marks)
        # Blanks go with what follows them: that halves the number of matches.
        self.match = re.compile(rf"[ \t]*+(?:{_WRONG}{'|'.join(texts)}{_BAD})").match
        self.ignored = frozenset(ignored)

    def marks(self, text: str, place: int = 0) -> Iterator[tuple[str, int, int]]:
        """Kind, start and stop of what stands in a text from a place on, blanks left out. What is
        no mark at all has no kind."""
        while place < len(text):
            found = self.match(text, place)
            kind = str(found.lastgroup) if found else ""
            start, place = (found.start(kind), found.end()) if found else (place, place + 1)
            if kind != "END":
                yield kind, start, place

    def typed(self, word: Token, following: Callable[[], str], state: ParserState[int]) -> str:
        """The type of a word: a keyword or a unit where the parser can take it, else a name.

        `following` gives the type of the mark after the word on its line. A keyword that the mark
        cannot follow is a name where a name may stand: `step = 3`.
        """
        value = word.value
        keyword = self.keywords.get(value)
        if keyword is None and value[:1] not in self.unit_initials:
            return "NAME"
        fits = keyword is not None and takes(state, keyword)
        if keyword is None or not (fits or value in RESERVED):
            unit = self.unit.fullmatch(value) and not takes(state, "NAME")
            return "UNIT" if unit and takes(state, "UNIT") else "NAME"
        mark = following() if fits and keyword != "WATCH" else ""
        if mark in MARKS and not takes(state, keyword, mark) and takes(state, "NAME"):
            return "NAME"
        return keyword


class SourceReading:
    """One reading of a source, or of what stands from a place to another: the place reached and the
    brackets open there, innermost last."""

    def __init__(
        self, lexer: Lexer, source: Source, start: int = 0, stop: int | None = None
    ) -> None:
        self.lexer, self.source = lexer, source
        self.place = max(start, 1) if source.text.startswith("\ufeff") else start
        self.stop = len(source.text) if stop is None else stop
        self.brackets: list[Token] = []
        self.closed: Token | None = None  # the bracket that the last token closed
        self.line: list[Token] = []  # the tokens of this statement so far
        self.resumed = -1  # the place where reading went on after the last error

    @property
    def last(self) -> Token | None:
        return self.line[-1] if self.line else None

    def tokens(self, state: ParserState[int]) -> Iterator[Token]:
        """The tokens from `place` on, without the newlines inside ( ) and [ ]. A body on one line
        is read as if its braces stood on lines of their own."""
        text, match, ignored = self.source.text, self.lexer.match, self.lexer.ignored
        stop, opened = self.stop, False
        while found := match(text, self.place, stop):
            kind, self.place = str(found.lastgroup), found.end()
            if kind == "END":
                break
            value = found[kind]
            if kind in ignored or (kind == "_NL" and self._drops(value)):
                continue
            start = self.place - len(value)
            if (opened or kind == "RBRACE") and self._ends_line(kind):
                self.place, opened = start, False
                yield self._token("_NL", "", start, state)
                continue
            opened = kind == "LBRACE"
            yield self._token(kind, value, start, state)
        if self.place < stop:
            yield self._token("BAD", text[self.place], self.place, state)
        if self.last and self.last.type != "_NL":
            yield self._token("_NL", "", stop, state)

    def _ends_line(self, kind: str) -> bool:
        """Whether a line ends behind a { or before a } that does not end one by itself."""
        return kind != "_NL" and self.last is not None and self.last.type != "_NL"

    def _drops(self, newline: str) -> bool:
        inside = bool(self.brackets) and self.brackets[-1].type != "LBRACE"
        return inside or "\n" not in newline

    def _token(self, kind: str, value: str, start: int, state: ParserState[int]) -> Token:
        token = placed(kind, value, start, start + len(value))
        if kind == "NAME":
            if len(token) > MAX_NAME:
                message = f"this name has {len(token)} characters, more than {MAX_NAME}"
                raise DlnError([Problem("E154", message, self.span(token))])
            token.type = self.lexer.typed(token, self.following, state)
        elif kind in CLOSING:
            self.brackets.append(token)
            if len(self.brackets) > MAX_NESTING:
                message = f"brackets are nested more than {MAX_NESTING} deep"
                remedy, place = "give the inner parts names of their own", self.span(token)
                raise DlnError([Problem("E150", message, place, "one too many", remedy=remedy)])
        elif kind == "WRONG":
            token.type = "BAD"
        brackets, line = self.brackets, self.line
        closes = brackets and CLOSING[brackets[-1].type] == kind
        self.closed = brackets.pop() if closes else None
        if line and line[-1].type == "_NL":
            self.line = line = []
        line.append(token)
        return token

    def following(self) -> str:
        """The type of the next mark on this line."""
        found = self.lexer.match(self.source.text, self.place, self.stop)
        kind = str(found.lastgroup) if found else ""
        return "" if kind == "END" else kind

    def span(self, token: Token) -> Span:
        return Span(self.source, token.start_pos or 0, token.end_pos or 0)


def placed(kind: str, value: str, start: int, stop: int) -> Token:
    """A token, as Lark's class makes it in twice the time; its lines are asked of the source."""
    token = str.__new__(Token, value)
    token.type, token.value, token.start_pos, token.end_pos = kind, value, start, stop
    return token


def takes(state: ParserState[int], *kinds: str, keep: int | None = None) -> bool:
    """Whether the parser can take tokens of these kinds, one after another.

    With `keep`, whether it could with only so many of its states. Follows the reductions before
    each token, so it is exact where the row of one state is not; the stack is not copied.
    """
    rows, below = state.parse_conf.states, state.state_stack
    kept, above = len(below) if keep is None else keep, list[int]()
    top = below[kept - 1]
    for kind in kinds:
        while True:
            if (found := rows[top].get(kind)) is None:
                return kind == "$END" and top == state.parse_conf.end_state
            action, argument = found
            if action is Shift:
                above.append(argument)
                top = argument
                break
            spare = len(above) - argument.size
            if spare > 0:
                del above[spare:]
                under = above[-1]
            else:
                above.clear()
                kept += spare
                under = below[kept - 1]
            top = rows[under][argument.name][1]
            above.append(top)
    return True


def settled(state: ParserState[int]) -> int:
    """The parser state once all that is complete is reduced: the same after `2`, `x.a`, `a + b`."""
    states = state.parse_conf.states
    best = (-len(state.state_stack), 0, state.state_stack[-1])
    for kind in sorted(k for k in states[best[-1]] if k.isupper()):
        stack, steps = list(state.state_stack), 0
        while (found := states[stack[-1]].get(kind)) and found[0] is not Shift:
            if found[1].expansion:
                del stack[-len(found[1].expansion) :]
            stack.append(states[stack[-1]][found[1].origin.name][1])
            steps += 1
        best = max(best, (-len(stack), steps, stack[-1]))
    return best[-1]


def _is_word(pattern: Pattern) -> bool:
    return not pattern.regex and pattern.text.isidentifier()
