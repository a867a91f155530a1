"""Text to syntax: `parse(text, path) -> Module`."""

from __future__ import annotations

import functools
import threading

from lark import Token
from lark.exceptions import UnexpectedToken
from lark.parsers.lalr_parser_state import ParseConf, ParserState

from dln.grammar import syntax as s
from dln.grammar import tables
from dln.grammar.actions import Actions
from dln.grammar.diagnostics import DlnError, Problem, Source
from dln.grammar.lexer import Lexer, SourceReading
from dln.grammar.recovery import Failure

MAX_SOURCE = 1_000_000
MAX_PROBLEMS = 50

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


def parse_source(source: Source) -> s.Module:
    """As `parse`, of a source that exists already. Raises `DlnError` too."""
    if len(source.text) > MAX_SOURCE:
        message = f"this text has {len(source.text)} characters, more than {MAX_SOURCE}"
        raise DlnError([Problem("E153", message, remedy="move tables of numbers into data files")])
    with _turn:
        actions, conf, lexer = _machine()
        actions.begin(source)
        module = _run(tables.parser_state(conf), SourceReading(lexer, source), actions.problems)
        problems, actions.problems = actions.problems, []
    if problems or module is None:
        from dln.grammar.echoes import as_one  # late: most texts are right

        raise DlnError(as_one(problems, source))
    return module


def _run(
    state: ParserState[int], reading: SourceReading, problems: list[Problem]
) -> s.Module | None:
    """Parse, adding what is wrong to `problems` and going on after it."""
    while len(problems) < MAX_PROBLEMS:
        try:
            for token in reading.tokens(state):
                state.feed_token(token)
            size = len(reading.source.text)
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
