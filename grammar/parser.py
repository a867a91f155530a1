"""Text to syntax: `parse(text, path) -> Module`."""

from __future__ import annotations

import functools
import re
import threading

from lark import Token
from lark.exceptions import UnexpectedToken
from lark.parsers.lalr_parser_state import ParseConf, ParserState

from dln.grammar import syntax as s
from dln.grammar import tables
from dln.grammar.actions import Actions
from dln.grammar.diagnostics import DlnError, Problem, Source, Span
from dln.grammar.lexer import Lexer, SourceReading
from dln.grammar.recovery import Failure

MAX_SOURCE = 1_000_000
MAX_PROBLEMS = 50

DEFINED = re.compile(r"^(?:fn|block|optimiser) (\w+)", re.MULTILINE)
OTHER = re.compile(r"^(?!fn |block |optimiser )[^\s#}]", re.MULTILINE)
"""What stands at the top of a file and defines no function, block or optimiser."""

_turn = threading.Lock()  # the actions know one source at a time


@functools.cache
def _machine() -> tuple[Actions, ParseConf[int], Lexer]:
    """Made once for each process."""
    actions, data = Actions(), tables.load()
    patterns = [tables.Pattern(*written) for written in data["terminals"]]
    return actions, tables.parse_conf(data, actions), Lexer(patterns, data["ignore"])


def parse(text: str, path: str = "<text>") -> s.Module:
    """The syntax tree of a text.

    Raises:
        DlnError: with every independent syntax error of the text.
    """
    return parse_source(Source(path, text))


def parse_source(source: Source, start: int = 0, stop: int | None = None) -> s.Module:
    """As `parse`, of a source that exists already, or of the items from a place to another. Raises
    `DlnError` too."""
    if len(source.text) > MAX_SOURCE:
        message = f"this text has {len(source.text)} characters, more than {MAX_SOURCE}"
        raise DlnError([Problem("E153", message, remedy="move tables of numbers into data files")])
    with _turn:
        actions, conf, lexer = _machine()
        actions.begin(source)
        reading = SourceReading(lexer, source, start, stop)
        module = _run(tables.parser_state(conf), reading, actions.problems)
        problems, actions.problems = actions.problems, []
    if problems or module is None:
        from dln.grammar.echoes import as_one  # late: most texts are right

        raise DlnError(as_one(problems, source))
    return module


class Library(s.Module):
    """A file that is known to be right, of which a definition is parsed when it is asked for.

    `places` are where each stands, by name; `items` all of them.
    """

    def __init__(self, source: Source) -> None:
        found = list(DEFINED.finditer(source.text))
        stops = [*(m.start() for m in found[1:]), len(source.text)]
        places = {m[1]: (m.start(), stop) for m, stop in zip(found, stops, strict=True)}
        self.__dict__.update(version=None, span=Span(source, 0, len(source.text)), places=places,
                             known={})  # fmt: skip

    places: dict[str, tuple[int, int]]
    known: dict[str, s.Item]

    def item(self, name: str) -> s.Item:
        """The definition of a name. Raises `KeyError` where there is none, `DlnError` too."""
        if name not in self.known:
            (self.known[name],) = parse_source(self.span.source, *self.places[name]).items
        return self.known[name]

    def __getattr__(self, name: str) -> tuple[s.Item, ...]:
        if name != "items":
            raise AttributeError(name)
        return tuple(self.item(name) for name in self.places)


def parse_library(source: Source) -> s.Module:
    """As `parse_source`, of a file of the library: what it defines is parsed when it is asked for,
    where it does nothing else."""
    return parse_source(source) if OTHER.search(source.text) else Library(source)


def _run(
    state: ParserState[int], reading: SourceReading, problems: list[Problem]
) -> s.Module | None:
    """Parse, adding what is wrong to `problems` and going on after it."""
    while len(problems) < MAX_PROBLEMS:
        try:
            for token in reading.tokens(state):
                state.feed_token(token)
            size = reading.stop
            module: s.Module = state.feed_token(Token("$END", "", size, end_pos=size), True)
            return module
        except UnexpectedToken as e:
            from dln.grammar.syntax_errors import explain  # late: most texts are right

            problem, resume = explain(Failure(e.token, state, reading))
        except DlnError as e:
            problems += e.problems
            return None
        problems.append(problem)
        if resume is None:
            return None
        resume.apply(state, reading)
    return None
