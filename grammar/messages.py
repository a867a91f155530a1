"""What to say about a token that the parser refused, and how to go on after it."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

from lark import Token
from lark.exceptions import UnexpectedToken
from lark.parsers.lalr_parser_state import ParseConf, ParserState

from dln.grammar import mistakes
from dln.grammar.diagnostics import Note, Problem, Source, Span, nearest
from dln.grammar.lexer import CLOSING, Lexer, Reading, advance, settled
from dln.grammar.mistakes import Mistake
from dln.grammar.recovery import (
    EQUATION, ITEMS, NEWLINE, STARTERS, Failure, Resume, closers, cut_for, inner_brackets, looks_new, open_braces, panic,
)  # fmt: skip

Answer = tuple[Problem, Resume | None]

# Where a statement belongs, for one that stands elsewhere.
HOMES = {
    "block": "param fixed hidden energy",
    "train": "minimize update start step watch checkpoint until",
    "data": "split set",
    "sweep": "vary report",
    "task": "emit",
    "optimiser": "state",
}
_HOME = {word: home for home, words in HOMES.items() for word in words.split()}

# Characters that look like ours, and what was meant.
LOOK_ALIKE = {
    "\u2212": "-", "\u2013": "-", "\u2014": "-", "\u00d7": "*", "\u00b7": "*", "\u22c5": "*",
    "\u00f7": "/", "\u2264": "<=", "\u2265": ">=", "\u2260": "!=", "\u2192": "->", "\u2190": "=",
    "\u201c": '"', "\u201d": '"', "\u201e": '"', "\u2018": "'", "\u2019": "'", "\u2032": "'",
    "\u22a4": "'", "\u2026": "..", "\u00a0": " ", "\u200b": "", "\u00b2": "^2", "\u00b3": "^3",
    "\u223c": "~", "\uff08": "(", "\uff09": ")", "\uff1d": "=", "\uff0c": ",", "\u221a": "sqrt",
    "\u00b1": "within", "\u2227": "and", "\u2228": "or", "\u00ac": "not ",
}  # fmt: skip
_PLAIN = str.maketrans(LOOK_ALIKE)
GREEK = dict(zip("αβγδεζηθικλμνξπρστφχψω", (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau "
    "phi chi psi omega").split(), strict=True))  # fmt: skip


def explain(failure: Failure) -> Answer:
    """The problem that a refused token is, and where to go on; None ends the parse."""
    for answer in (
        _unclosed, _brace, _closer, _by_start, _by_mark, _bad, _run_on, _out_of_place, _misspelt,
        _by_state, _side_by_side,
    ):  # fmt: skip
        found = answer(failure)
        if found:
            return found
    return _expected(failure)


# ---- characters --------------------------------------------------------------------------------


def _bad(f: Failure) -> Answer | None:
    """A character that no terminal takes."""
    if f.token.type != "BAD":
        return None
    text, start = f.token.value, f.start
    if text in ('"', '"""'):
        return _unclosed_text(f)
    if text.isascii() and text.isprintable():
        return _character(f, f"{text} is no mark of the language", ""), panic(f)
    if text in LOOK_ALIKE:
        wrong = f"{text} (U+{ord(text):04X}) is not an ASCII character"
        line = f.reading.source.line(f.span().line).translate(_PLAIN)
        return _character(f, wrong, " ".join(line.split("#")[0].split())), panic(f)
    if text.isalpha():
        return _letters(f), panic(f)
    return _character(f, f"the character U+{ord(text):04X} cannot stand here", ""), panic(f)


def _character(f: Failure, message: str, remedy: str) -> Problem:
    return Problem("E106", message, f.span(), remedy=remedy)


def _letters(f: Failure) -> Problem:
    """A name with letters beyond ASCII."""
    text, start, stop = f.reading.source.text, f.start, f.start
    while start and (text[start - 1].isalnum() or text[start - 1] == "_"):
        start -= 1
    while stop < len(text) and (text[stop].isalnum() or text[stop] == "_"):
        stop += 1
    span = Span(f.reading.source, start, stop)
    plain = "".join(GREEK.get(c, c) for c in span.text)
    remedy = f"call it {plain}" if plain.isascii() else ""
    return Problem("E106", "names are written with the letters a to z", span, remedy=remedy)


def _unclosed_text(f: Failure) -> Answer:
    source, start = f.reading.source, f.start
    if f.token.value == '"""':
        problem = Problem("E105", 'this """ is never closed', f.span(), "opened here")
        return problem, None
    line, _ = source.position(start)
    stop = source.starts[line - 1] + len(source.line(line))
    remedy = source.line(line).strip() + '"'
    span = Span(source, start, stop)
    problem = Problem("E105", "this text is never closed", span, "opened here", remedy=remedy)
    return problem, panic(f)


# ---- brackets ----------------------------------------------------------------------------------


def _line_start(source: Source, place: int) -> int:
    """The place of the first character on the line of `place` that is no blank."""
    start = source.starts[source.position(place)[0] - 1]
    text = source.text
    while start < len(text) and text[start] in " \t":
        start += 1
    return start


def _unclosed(f: Failure) -> Answer | None:
    """A ( or [ that is still open where a new statement starts."""
    source, inner = f.reading.source, inner_brackets(f.reading)
    if f.token.type in ("LPAR", "LSQB"):
        inner = inner[:-1]
    elif f.reading.closed and f.reading.closed.type != "LBRACE":
        inner.append(f.reading.closed)
    if not inner:
        return None
    opener = inner[-1]
    ends = f.token.type in ("$END", "_NL") or (f.token.type == "RBRACE")
    here = _line_start(source, f.start)
    later = source.position(f.start)[0] > source.position(opener.start_pos or 0)[0]
    if not (ends or (later and looks_new(source.text, here))):
        return None
    keep = cut_for(f, "_NL") or 0
    resume = Resume(f.start if ends else here, keep, NEWLINE)
    return _never_closed(f, inner, None if ends else here), resume


def _never_closed(f: Failure, inner: list[Token], here: int | None) -> Problem:
    source, opener = f.reading.source, inner[-1]
    notes: tuple[Note, ...] = ()
    if here is not None:
        notes = (_starts(source, here),)
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


def _brace(f: Failure) -> Answer | None:
    """A { that is still open at the end, or where a new item starts."""
    braces = open_braces(f.state)
    if not braces:
        return None
    if f.token.type == "$END":
        message = "this { is never closed"
        label = "opened here"
        return Problem("E102", message, f.span(braces[-1]), label, remedy="end with a line }"), None
    first = f.first
    at_left = f.reading.source.position(first.start_pos or 0)[1] == 1
    if not (first.value in ITEMS and at_left and first is f.before):
        return None
    keep = cut_for(f, f.reading.lexer.keywords[first.value])
    if keep is None:
        return None
    note = Note(f.span(first), f"a new {first.value} starts here")
    problem = Problem(
        "E102", "this { is never closed", f.span(braces[-1]), "opened here", (note,),
        remedy=f"close it with a }} before {first.value}",
    )  # fmt: skip
    return problem, Resume(first.start_pos or 0, keep)


def _closer(f: Failure) -> Answer | None:
    """A closing bracket that closes nothing, or not the bracket that is open."""
    if f.token.type not in CLOSING.values():
        return None
    inner = inner_brackets(f.reading)
    if inner and f.reading.closed is None:
        opener = inner[-1]
        right = closers([opener])
        note = (Note(f.span(opener), "opened here"),)
        message = f"this {opener.value} is closed by {f.token.value}"
        remedy = _swapped(f.span(), right)
        return Problem("E104", message, f.span(), f"expected {right}", note, remedy=remedy), panic(f)
    if f.reading.closed is None or (f.token.type == "RBRACE" and not open_braces(f.state)):
        message = f"this {f.token.value} closes nothing"
        return Problem("E103", message, f.span(), remedy="take it out"), panic(f)
    return None


# ---- the table of mistakes ---------------------------------------------------------------------


def _by_start(f: Failure) -> Answer | None:
    near = f.token is f.first or f.before is f.first
    rows = (row for row in mistakes.STATEMENTS if f.first.value in row.starts)
    row = next(rows, None) if near else None
    return _told(row, f) if row else None


def _fits(row: Mistake, f: Failure) -> bool:
    before = f.before.value if f.before else ""
    return (not row.mark or f.token.value in row.mark) and (not row.after or before == row.after)


def _by_mark(f: Failure) -> Answer | None:
    row = next((row for row in mistakes.MARKS if _fits(row, f)), None)
    return _told(row, f) if row else None


def _by_state(f: Failure) -> Answer | None:
    rows = index(f.state.parse_conf, f.reading.lexer)
    found = rows.get((settled(f.state), f.token.type), ())
    row = next((row for row in found if _fits(row, f)), None)
    return _told(row, f) if row else None


@functools.cache
def index(conf: ParseConf[int], lexer: Lexer) -> dict[tuple[int, str], list[Mistake]]:
    """The rows by the parser state and the kind of token at which their examples fail."""
    found: dict[tuple[int, str], list[Mistake]] = {}
    for row in mistakes.STATES:
        for example in row.examples:
            failure = first_failure(example, conf, lexer)
            if failure is None:
                continue
            rows = found.setdefault((settled(failure.state), failure.token.type), [])
            if row not in rows:
                rows.append(row)
    return found


def first_failure(text: str, conf: ParseConf[int], lexer: Lexer) -> Failure | None:
    """Where a wrong text is refused first; None where it is right."""
    bare = ParseConf(conf.parse_table, {}, conf.start)
    reading, state = Reading(lexer, Source("<example>", text)), ParserState(bare, None)
    try:
        for token in reading.tokens(state):
            state.feed_token(token)
    except UnexpectedToken as e:
        return Failure(e.token, state, reading)
    return None


def _told(row: Mistake, f: Failure) -> Answer:
    words = {"found": f.token.value.strip(), "first": f.first.value}
    remedy = row.remedy.format(**words) if "{found}" in row.remedy else row.remedy
    if row.swap is not None:
        remedy = _swapped(f.span(), row.swap)
    elif row.insert:
        remedy = _swapped(f.span(), row.insert + f.token.value)
    return Problem(row.code, row.message, f.span(), remedy=remedy), panic(f)


def _swapped(span: Span, text: str) -> str:
    """The line of a span with other text in its place."""
    line, start = span.source.line(span.line), span.column - 1
    changed = line[:start] + text + line[start + span.stop - span.start :]
    return " ".join(changed.split("#")[0].split())


# ---- words -------------------------------------------------------------------------------------


def _run_on(f: Failure) -> Answer | None:
    if f.before and f.token.value in STARTERS and f.takes("_NL") and f.before.type != "LBRACE":
        return _told(mistakes.RUN_ON, f)
    return None


def _side_by_side(f: Failure) -> Answer | None:
    ends = ("NAME", "NUMBER", "RPAR", "RSQB", "STRING", "QUOTE")
    if not (f.before and f.before.type in ends and f.token.type in ("NAME", "NUMBER", "STRING")):
        return None
    number = f.before.type == "NUMBER" and f.token.type == "NAME"
    return _told(mistakes.PRODUCT if number else mistakes.SIDE_BY_SIDE, f)


def _out_of_place(f: Failure) -> Answer | None:
    """A statement that is known, but not here."""
    word = f.first.value
    if f.token is not f.first and f.before is not f.first:
        return None
    here = _surrounding(f)
    if word in _HOME and here != _HOME[word]:
        message = f"{word} belongs in {_HOME[word]}, not {_where(here)}"
    elif word in ITEMS and here:
        message = f"{word} stands at the top of a file, not {_where(here)}"
    else:
        return None
    return Problem("E108", message, f.span(f.first)), panic(f)


def _where(here: str) -> str:
    return f"in {here}" if here else "at the top of a file"


def _surrounding(f: Failure) -> str:
    """The keyword of the item around the refused token, "" at the top of the file."""
    braces = open_braces(f.state)
    found = ""
    for value in f.state.value_stack if braces else ():
        if isinstance(value, Token) and value.value in ITEMS and value.type != "NAME":
            found = value.value
        elif value is braces[-1]:
            break
    return found


def _misspelt(f: Failure) -> Answer | None:
    """A word close to a keyword that could stand there; read on as if it were that keyword."""
    if f.before is f.first and f.first.type == "NAME" and f.state.value_stack[-1:] == [f.first]:
        word, keep, then = f.first, len(f.state.value_stack) - 1, f.token.type
    elif f.token.type in ("NAME", "UNIT"):
        word, keep, then = f.token, len(f.state.value_stack), ""
    else:
        return None
    keywords = f.reading.lexer.keywords
    stack = f.state.state_stack[: keep + 1]
    possible = [k for k, kind in keywords.items() if _can_follow(f.state, stack, kind, then)]
    meant = nearest(word.value, possible) if len(word) > 2 else None
    if meant is None or meant == word.value:
        return None
    remedy = _swapped(f.span(word), meant)
    message = f"there is no {word.value} here: did you mean {meant}?"
    problem = Problem("E107", message, f.span(word), remedy=remedy)
    return problem, Resume(word.end_pos or 0, keep, ((keywords[meant], meant),))


def _can_follow(state: ParserState[int], stack: list[int], kind: str, then: str) -> bool:
    after = advance(state, kind, stack)
    return after is not None and (not then or advance(state, then, after) is not None)


# ---- everything else ---------------------------------------------------------------------------

_VALUE = {"NUMBER", "STRING", "LONG_STRING", "NAME", "UNIT", "LPAR", "LSQB", "MINUS", "NOT"}
_OPERATOR = {
    "PLUS", "MINUS", "STAR", "SLASH", "AT", "CIRCUMFLEX", "CMP", "OR", "AND", "IF", "AS", "RANGE",
    "DOT", "QUOTE", "ARROW", "LPAR", "LSQB",
}  # fmt: skip
_SPOKEN = {
    "NAME": "a name", "NUMBER": "a number", "STRING": "a text in quotes", "CMP": "a comparison",
    "UNIT": "a unit (epochs, updates, steps or seconds)", "LONG_STRING": "a text in quotes",
    "_NL": "the end of the line", "$END": "the end of the file",
}  # fmt: skip


def spoken(kind: str, lexer: Lexer) -> str:
    """A kind of token as it is written."""
    return _SPOKEN.get(kind) or lexer.written[kind]


def _found(token: Token) -> str:
    if token.type in ("_NL", "$END"):
        return _SPOKEN[token.type]
    text = token.value if len(token) <= 20 else token.value[:17] + "..."
    return text.split("\n")[0]


def _expected(f: Failure) -> Answer:
    states = f.state.parse_conf.states
    kinds = {k for k in states[settled(f.state)] if k.isupper() and f.takes(k)}
    kinds |= {k for k in states[f.state.state_stack[-1]] if k.isupper() and f.takes(k)}
    listed = _listed(kinds, f.reading.lexer)
    message = f"expected {listed} here, found {_found(f.token)}"
    return Problem("E100", message, f.span()), None if f.token.type == "$END" else panic(f)


def _listed(kinds: set[str], lexer: Lexer) -> str:
    """The kinds of tokens that could stand somewhere, in words."""
    words: list[str] = []
    if {"NUMBER", "LPAR"} <= kinds:
        words, kinds = ["a value"], kinds - _VALUE
    elif "SLASH" in kinds:
        words, kinds = ["an operator"], kinds - _OPERATOR
    keywords = {k for k in kinds if k in lexer.keywords.values()}
    if len(keywords) > 4 and "BLOCK" in kinds:
        words, kinds = [*words, "an item such as block, data or train"], set()
    elif len(keywords) > 4 and ("NAME" in kinds or "RBRACE" in kinds):
        words, kinds = [*words, "a statement"], kinds - keywords - {"NAME", "_NL"}
    words += sorted({spoken(k, lexer) for k in kinds})
    return _joined(words)


def _joined(words: Sequence[str]) -> str:
    return " or ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
