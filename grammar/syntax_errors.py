"""What to say about a token that the parser refused, and how to go on after it."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from lark import Token
from lark.exceptions import UnexpectedToken
from lark.parsers.lalr_parser_state import ParseConf

from dln.grammar import mistakes
from dln.grammar.brackets import brace, closer, unbalanced, unclosed
from dln.grammar.characters import bad
from dln.grammar.clauses.first import begun, guessed
from dln.grammar.clauses.order import clauses, complete, foreign, one_more, wrong_clause
from dln.grammar.clauses.signs import defined, signs
from dln.grammar.diagnostics import Note, Problem, Source
from dln.grammar.lexer import RESERVED, Lexer, SourceReading, settled
from dln.grammar.mistakes import Mistake
from dln.grammar.recovery import (
    ITEMS,
    NEWLINE,
    STARTERS,
    Answer,
    Failure,
    Resume,
    closers,
    open_braces,
    panic,
)
from dln.grammar.repair import (
    JOIN_BRACE,
    OPEN_BODY,
    VALUE_ENDS,
    bodied,
    brace_below,
    continued,
    misspelt,
    naming,
    opened_above,
    phrased,
    reads,
    repaired,
    strange,
    wordless,
)
from dln.grammar.tables import parser_state

if TYPE_CHECKING:
    from dln.grammar.idioms.forms import Idiom

# Messages that say no more than that two things stand side by side.
OPEN = (mistakes.SIDE_BY_SIDE.message, "the name and its value need a = between them")


def explain(failure: Failure) -> Answer:
    """The problem that a refused token is, and where to go on; None ends the parse."""
    answers: tuple[Callable[[Failure], Mistake | Answer | None], ...] = (
        unclosed, brace, closer, unbalanced, continued, clauses, _begun, signs, _by_idiom,
        _by_start, _by_mark, bad, _wordless, foreign, _run_on, _out_of_place, misspelt, _guessed,
        strange, _trailing, _reserved, one_more, wrong_clause, _by_state, defined, complete,
        _two_values,
    )  # fmt: skip
    for answer in answers:
        found = answer(failure)
        if found:
            told = _told(found, failure) if isinstance(found, Mistake) else found
            if answer in NEXT and (idiom := _by_idiom(failure)) and _same(idiom[0], told[0]):
                told = idiom
            whole = answer in WHOLE
            return told if whole else _mended(failure, *told)
    return _mended(failure, *_expected(failure))


def _same(one: Problem, other: Problem) -> bool:
    return bool(one.remedy) and one.remedy.split() == other.remedy.split()


def _mended(f: Failure, problem: Problem, resume: Resume | None) -> Answer:
    """An answer whose remedy can be read, or else is the statement as it was meant, where that is
    clear."""
    elsewhere = problem.span is None or problem.span.line != f.span().line
    as_name = f.first.type == "NAME" and f.first.value in f.reading.lexer.keywords
    said = problem.remedy
    right = said and not as_name and (" " not in said or reads(f, said))
    if elsewhere or phrased(problem) or right:
        return problem, resume
    code, message, remedy = problem.code, problem.message, ""
    if code == "E112" and said:
        from dln.grammar.idioms import written  # late: most texts have none

        if reads(f, both := written.without_signs(said)):
            return replace(problem, remedy=both), resume
    if (found := _rewritten(f)) is None:
        remedy = repaired(f)
    else:
        row, remedy = found
        if code == "E100" or message in OPEN:
            code, message = row.code, row.says
    problem = replace(problem, code=code, message=message, remedy=remedy)
    return replace(problem, facts=() if remedy else problem.facts), resume


def _rewritten(f: Failure) -> tuple[Idiom, str] | None:
    """The statement with its parts as they are written here, where it can be read then."""
    from dln.grammar.idioms import teaching  # late: most texts have none

    source, start = f.reading.source, f.first.start_pos or 0
    line = source.text[start:].split("\n")[0].split("#")[0].rstrip()
    found = teaching.rewritten(line, _surrounding(f), source.text)
    return next(((row, made) for row, made in found if reads(f, made)), None)


def _written(said: str, lexer: Lexer) -> bool:
    """Whether a text begins as a statement does, and not as a sentence."""
    first, _, rest = said.partition(" ")
    return first in lexer.keywords or not first.isalnum() or rest[:1] in "=~:"


# ---- the table of mistakes ---------------------------------------------------------------------


def _by_idiom(f: Failure) -> Answer | None:
    """A statement of another language; what it takes of lines is left out."""
    from dln.grammar.idioms import teaching  # late: most texts have none

    source, first = f.reading.source, f.first.start_pos or 0
    found = teaching.refused(source, first, f.start, _surrounding(f))
    if found is None or found.span is None:
        return None
    if found.remedy and "\n" not in found.remedy and not reads(f, found.remedy):
        other = foreign(f)
        if other is not None:
            return other
    resume, last = panic(f), source.position(found.span.stop)[0]
    if last > source.position(f.start)[0]:
        resume = Resume([*source.starts, len(source.text)][last], resume.keep, resume.feed)
    keep = f.cut_for("RBRACE", inside=True) if found.remedy == "}" else None
    if keep is not None and not opened_above(found.span):
        keep = None  # what it ends was refused, and opened nothing
    if keep is not None:
        resume = Resume(resume.place, keep, (("RBRACE", "}"), *NEWLINE))
    return found, resume


def _by_start(f: Failure) -> Mistake | None:
    rows = (row for row in mistakes.STATEMENTS if f.first.value in row.starts)
    return next(rows, None) if f.begins else None


def _fits(row: Mistake, f: Failure) -> bool:
    before = f.before.value if f.before else ""
    return (not row.mark or f.token.value in row.mark) and (not row.after or before == row.after)


def _by_mark(f: Failure) -> Mistake | None:
    return next((row for row in mistakes.MARKS if _fits(row, f)), None)


def _by_state(f: Failure) -> Mistake | None:
    rows = index(f.state.parse_conf, f.reading.lexer)
    found = rows.get((settled(f.state), f.token.type), ())
    return next((row for row in found if _fits(row, f)), None)


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
    reading, state = SourceReading(lexer, Source("<example>", text)), parser_state(bare)
    try:
        for token in reading.tokens(state):
            state.feed_token(token)
    except UnexpectedToken as e:
        return Failure(e.token, state, reading)
    return None


def _told(row: Mistake, f: Failure) -> Answer:
    """A row as a problem. What it says to write is an example, but where it changes this line."""
    said = row.remedy.replace("{found}", f.token.value.strip())
    problem = Problem(row.code, row.message, f.span(), remedy=said)
    if row.code == "E115" and (below := brace_below(f.span())) is not None:
        keep = f.cut_for("LBRACE", inside=True)
        message = "the { of a body stands at the end of its first line"
        problem = replace(problem, message=message, remedy=JOIN_BRACE)
        return problem, panic(f) if keep is None else Resume(below, keep)
    if row.code == "E115" and bodied(f.span()):
        problem = replace(problem, remedy=OPEN_BODY)
    elif row.swap is not None:
        problem = replace(problem, remedy=f.swapped(row.swap.replace("{found}", f.token.value)))
    elif row is mistakes.RUN_ON and not reads(f, f.rest):
        problem = replace(problem, remedy="")
    elif said and not phrased(problem):
        told = f"as in {said}" if _written(said, f.reading.lexer) else said
        problem = replace(problem, remedy="", facts=(told,))
    return problem, panic(f)


# ---- words -------------------------------------------------------------------------------------


def _run_on(f: Failure) -> Mistake | None:
    """A statement behind another one: a word that begins one, or a name with its mark."""
    named = f.token.type == "NAME" and f.reading.following() in ("EQUAL", "TILDE", "ASSIGN")
    headed = named and f.rest.rstrip().endswith("{")
    starts = (named or f.token.value in STARTERS) and not headed
    return mistakes.RUN_ON if starts and f.before and f.takes("_NL") else None


def _wordless(f: Failure) -> Answer | None:
    return wordless(f, _surrounding(f))


def _begun(f: Failure) -> Answer | None:
    return begun(f, _surrounding(f))


def _guessed(f: Failure) -> Answer | None:
    return guessed(f, _surrounding(f))


def _trailing(f: Failure) -> Mistake | None:
    last = f.token.type == "COMMA" and f.reading.following() in ("_NL", "")
    return mistakes.TRAILING if last and (f.takes("_NL") or f.takes("LBRACE")) else None


def _reserved(f: Failure) -> Answer | None:
    """A word that is never a name, where one is declared, or used after that."""
    word = f.token.value
    if word not in RESERVED:
        return None
    declared = f.takes("NAME") and not f.takes("NUMBER")
    again = re.search(rf"^\s*block[^\n]*[(;,]\s*{word}\s*[,)=\[]", f.reading.source.text, re.M)
    if not (declared or (again and f.takes("NAME"))):
        return None
    line = re.sub(rf"\b{word}\b", f"n_{word}", f.swapped(word))
    remedy = line if reads(f, line) else ""
    message = f"{word} is a word of the language, and never a name"
    form = mistakes.WRITTEN.get(f.first.value)
    facts = (f"as in {form}",) if form and not remedy else ()
    return Problem("E100", message, f.span(), facts=facts, remedy=remedy), panic(f)


def _two_values(f: Failure) -> Mistake | Answer | None:
    """Two values without what should stand between them."""
    if f.before is None or f.before.type not in VALUE_ENDS:
        return None
    if f.opened and f.token.type == "NAME" and f.reading.following() == "EQUAL":
        line = f.swapped(f", {f.token.value}").replace(" , ", ", ")
        text = "a comma is missing before this option"
        return Problem("E119", text, f.span(), remedy=line), panic(f)
    if f.opened and f.token.value in mistakes.CLAUSES.get(f.first.value, "").split():
        opener = f.opened[-1]
        message = f"a {closers([opener])} is missing before {f.token.value}"
        note = Note(f.span(opener), f"this {opener.value} is open here")
        return Problem("E101", message, f.span(), notes=(note,)), panic(f)
    sized = (
        f.opened and f.opened[-1].type == "LSQB" and f.first.value in ("param", "fixed", "block")
    )
    if sized and f.before.type == f.token.type == "NUMBER":
        line = f.swapped(f", {f.token.value}").replace(" , ", ", ")
        remedy = line if reads(f, line) else ""
        return Problem("E119", "a comma is missing before this", f.span(), remedy=remedy), panic(f)
    match f.before.type, f.token.type:
        case _, "RANGE" | "CMP":
            return mistakes.CHAIN
        case "NUMBER", "NAME" if not f.opened or f.before.end_pos == f.start:
            return mistakes.PRODUCT
        case _, "NAME" | "NUMBER" | "STRING":
            return mistakes.SIDE_BY_SIDE
        case _:
            return None


def _out_of_place(f: Failure) -> Answer | None:
    """A statement that is known, but not here."""
    if not f.begins:
        return None
    word, here = f.first.value, _surrounding(f)
    if not here and f.token is f.first and f.reading.following() == "EQUAL":
        return _named(f)
    homes = [home for home, words in mistakes.HOMES.items() if word in words.split()]
    where = f"in {here}" if here else "at the top of a file"
    if homes and here not in homes:
        message = f"{word} belongs in {' or '.join(homes)}, not {where}"
    elif word in ITEMS and here:
        message = f"{word} stands at the top of a file, not {where}"
    else:
        return None
    around = (
        ""
        if word in ITEMS
        else f"it stands between the braces of {mistakes.EXAMPLES[homes[0]]} ... }}"
    )
    other = mistakes.MEANT.get((word, here))
    remedy = f.swapped(other, f.first) if other is not None else ""
    if word == "block" and here == "block":
        around = "a block stands by itself, above, and is made in another: x -> inner()"
    around = "in a phase expect stands alone" if (word, here) == ("check", "train") else around
    facts = (around,) if around else ()
    return Problem("E108", message, f.span(f.first), remedy=remedy, facts=facts), panic(f)


def _named(f: Failure) -> Answer | None:
    """`hidden = 100` at the top of a file, where the name is a word of the language too."""
    line = f.swapped(f.first.value)
    if f.first.value not in f.reading.lexer.keywords or not reads(f, f"let {line}"):
        return None
    message = "a value at the top of a file is named with const or let"
    return Problem("E108", message, f.span(), remedy=f"{naming(line)} {line}"), panic(f)


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


NEXT = (clauses, _begun, signs)  # what is asked before idioms, whose words are better
WHOLE = (
    *NEXT, _guessed, foreign, defined, complete, _by_idiom, continued, unbalanced, _reserved,
    _out_of_place, strange, _wordless,
)  # fmt: skip

# ---- everything else ---------------------------------------------------------------------------


def _spoken(kind: str, lexer: Lexer) -> str:
    """A kind of token as it is written."""
    written = lexer.written.get(kind, kind)
    return mistakes.SPOKEN.get(kind) or (written if written.isalpha() else f"`{written}`")


def _found(token: Token) -> str:
    if token.type in ("_NL", "$END"):
        return mistakes.SPOKEN[token.type]
    text = token.value.split("\n")[0]
    return f"`{text}`" if len(text) <= 20 else f"`{text[:17]}...`"


def _expected(f: Failure) -> Answer:
    states = f.state.parse_conf.states
    kinds = {k for k in states[settled(f.state)] if k.isupper() and f.takes(k)}
    kinds |= {k for k in states[f.state.state_stack[-1]] if k.isupper() and f.takes(k)}
    listed = _listed(kinds, f.reading.lexer)
    message = f"expected {listed} here, found {_found(f.token)}"
    equation = f.first.type == "NAME" and bool(open_braces(f.state))
    example = mistakes.WRITTEN.get("" if equation else f.first.value)
    facts = (f"as in {example}",) if example else ()
    return Problem(
        "E100", message, f.span(), facts=facts
    ), None if f.token.type == "$END" else panic(f)


def _listed(kinds: set[str], lexer: Lexer) -> str:
    """The kinds of tokens that could stand somewhere, in words."""
    words: list[str] = []
    if {"NUMBER", "LPAR"} <= kinds:
        words, kinds = ["a value"], kinds - mistakes.VALUES
    elif "ARROW" in kinds:
        words, kinds = ["an operator"], kinds - mistakes.OPERATORS
    keywords = {k for k in kinds if k in lexer.keywords.values()}
    if len(keywords) > 4 and "BLOCK" in kinds:
        words, kinds = [*words, "an item such as block, data or train"], set()
    elif len(keywords) > 4 and ("NAME" in kinds or "RBRACE" in kinds):
        words, kinds = [*words, "a statement"], kinds - keywords - {"NAME", "_NL"}
    words += sorted({_spoken(k, lexer) for k in kinds})
    return " or ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
