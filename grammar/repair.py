"""A statement with one slip undone: what to write in place of the line that the parser refused.

A token that stands twice is taken out, two that changed places are put back, a mark that alone
could stand here is put in. What is found must be read as a statement, and be the only way that is:
where two could be meant, none is said.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import dropwhile, pairwise
from typing import NamedTuple

from lark import Token
from lark.exceptions import UnexpectedToken
from lark.parsers.lalr_parser_state import ParseConf, ParserState

from dln.grammar import lexer, mistakes
from dln.grammar.diagnostics import TWICE, DlnError, Problem, Source, Span, nearest
from dln.grammar.lexer import CLOSING, SourceReading, takes
from dln.grammar.recovery import NEWLINE, Answer, Failure, Resume, indent, open_braces, panic
from dln.grammar.tables import parser_state

MARKS = ("=", "~", ":", ",", ":=", "+=", "in", "on", "with", "over", "by")
UNMOVED = frozenset("+-*/@^.") | {""}
SIGNS = frozenset("+-*/@^")
JOINTS = frozenset("+-*/@^,()[]{}")
ODD = re.compile(r"\(\s*\)|\[\s*\]|[-+*/@^,.](?=\s*[-+*/@^,.])")
JOINS_ANYWHERE = frozenset("+-*/@^!<>.'")
JOINS = frozenset({"=="}) | {"and", "or", "if", "else", "as", ".."}
VALUE_ENDS = frozenset({"NAME", "NUMBER", "RPAR", "RSQB", "STRING", "QUOTE"})
DEFINED = re.compile(
    r"(?:(?:param|let|const|fn|until|vary|update|watch)\s+)?([A-Za-z_]\w*)(?=.*[=~<])"
)
WORD = re.compile(r"[A-Za-z]+|\d+|[^\w\s]")
OPERATOR = re.compile(r"->|[-+*/@^]|==|<=|>=|[<>]|(?:and|or)\b")
ENDS_OPEN = re.compile(r"(?:->|[-+*/@^]|==|<=|>=|[<>]|\b(?:and|or))$")
ENDS = re.compile(r"\}$|end\w*$|fi$|done$")
NUMBERED = re.compile(r"=\s*(?:-?\d[\d.]*(?:[eE][-+]?\d+)?|\[[-\d., ]+\]|\"[^\"]*\")\s*$")
LOST = (  # words that a statement may have lost
    "minimize", "start", "watch", "checkpoint", "emit", "vary", "report", "split", "param", "hidden"
)  # fmt: skip
LOST_HEADS = ("scan", "for")
LAST_BRACE, OPEN_BRACE = "end with a line }", "end the line with {"
JOIN_BRACE = "end the line with the { of the line below"
OPEN_BODY = "end the line with {, and its body with a line }"
BRACE_BEFORE, NEW_LINE = "close it with a } before ", "start a new line before "
MOST = 200  # characters of a statement


class Word(NamedTuple):
    """A token of a statement, with its place in it."""

    text: str
    start: int
    stop: int


def repaired(f: Failure) -> str:
    """The refused statement as it was meant, on one line; "" where that is not clear."""
    start, text = f.first.start_pos or 0, f.reading.source.text
    stop = text.find("\n", f.start)
    line = text[start : stop if stop >= 0 else len(text)].split("#")[0].rstrip()
    words = list(_words(f, line))
    at = next((i for i, w in enumerate(words) if w.start >= f.start - start), 0)
    if "\n" in line or len(line) > MOST or not words:
        return ""
    if at and words[at].text == words[at - 1].text and words[at].text[0].isdigit():
        return ""
    if words[at].text == "." and line.startswith("expect"):  # a figure that has lost a digit?
        return ""
    for ways in (_quoted, _once, _zero, _exchanged, _put_in) if at else (_let,):
        made = (new for new in ways(f, line, words, at) if odd(new) <= odd(line))
        found = {new for new in made if reads(f, new)}
        if ways is _exchanged and any(reads(f, new) for new in _by_sign(f, line, words, at)):
            return ""
        if found:
            return " ".join(found.pop().split()) if len(found) == 1 else ""
    return ""


def reads(f: Failure, statement: str) -> bool:
    """Whether a text could stand as a statement, or as its header, where a refused one stands."""
    if (keep := f.cut_for("_NL")) is None:
        return False
    bare = ParseConf(f.state.parse_conf.parse_table, {}, f.state.parse_conf.start)
    state = parser_state(bare)
    state.state_stack = list(f.state.state_stack[: keep + 1])
    state.value_stack = list(f.state.value_stack[:keep])
    return _fed(state, SourceReading(f.reading.lexer, Source("<line>", f"\n{statement}\n")))


def _fed(state: ParserState[int], reading: SourceReading) -> bool:
    try:
        for token in reading.tokens(state):
            state.feed_token(token)
    except (UnexpectedToken, DlnError):
        return False
    return True


def _words(f: Failure, line: str) -> Iterator[Word]:
    for kind, start, stop in f.reading.lexer.marks(line):
        if kind not in ("", "_NL") and (text := line[start:stop]).strip():
            yield Word(text, start, stop)


def odd(line: str) -> int:
    """How many brackets are empty, and how many operators stand side by side."""
    return len(ODD.findall(line))


def repeats(said: str, line: str) -> bool:
    """Whether a remedy is a line with a change: it defines the same, or most of its words and marks
    are those of the line."""
    if said.split()[:2] == line.split()[:2]:
        return True
    names = [DEFINED.match(text) for text in (said, line)]
    if names[0] and names[1] and names[0][1] == names[1][1]:
        return True
    words = WORD.findall(said)
    return 2 * sum((Counter(words) & Counter(WORD.findall(line))).values()) >= len(words)


def phrased(problem: Problem) -> tuple[int, int, str] | None:
    """What a remedy in words changes, of those that always mean one thing: start, stop, text."""
    span, said = problem.span, problem.remedy
    if span is None:
        return None
    text, starts = span.source.text, span.source.starts
    end = len(text)
    if said == LAST_BRACE:
        return end, end, "}\n" if text.endswith("\n") else "\n}\n"
    if said.startswith(BRACE_BEFORE) and problem.notes:
        start, header = starts[problem.notes[0].span.line - 1], span.source.line(span.line)
        return start, start, f"{header[: len(header) - len(header.lstrip())]}}}\n"
    if said == TWICE:
        line = span.line
        return starts[line - 1], starts[line] if line < len(starts) else end, ""
    if said == OPEN_BRACE:
        line = starts[span.line - 1]
        stop = line + len(span.source.line(span.line).split("#")[0].rstrip())
        return stop, stop, " {"
    if said == JOIN_BRACE:
        line = starts[span.line - 1]
        stop = line + len(span.source.line(span.line).split("#")[0].rstrip())
        return stop, text.index("{", span.start) + 1, " {"
    if said == OPEN_BODY:
        return bodied(span)
    if said.startswith(NEW_LINE):
        return span.start, span.start, "\n"
    return None


def bodied(span: Span) -> tuple[int, int, str] | None:
    """A head without its brace, and the lines that are indented below it, with both braces; None
    where there are none, or they end with a brace already."""
    source, first = span.source, span.line
    margin, last = indent(source.line(first)), first
    while last < len(source.starts) and indent(source.line(last + 1)) > margin:
        last += 1
    while last > first and not source.line(last).strip():
        last -= 1
    behind = source.line(last + 1) if last < len(source.starts) else ""
    if last == first or (ENDS.match(behind.strip()) and indent(behind) == margin):
        return None
    head = re.sub(r"(?:\s+(?:begin|do|then)|[\s:]+)$", "", source.line(first).split("#")[0])
    body = "\n".join(source.line(n) for n in range(first + 1, last + 1))
    start, stop = source.starts[first - 1], source.starts[last - 1] + len(source.line(last))
    return start, stop, f"{head} {{\n{body}\n{' ' * margin}}}"


def opened_above(end: Span) -> bool:
    """Whether what an `end` closes, by its indent, is a body that was opened."""
    source, n, margin = end.source, end.line - 1, indent(end.source.line(end.line))
    while n > 0 and (not source.line(n).strip() or indent(source.line(n)) > margin):
        n -= 1
    head = source.line(n).strip() if n > 0 else ""
    return head.endswith("{")


def brace_below(span: Span) -> int | None:
    """Where the { of a head stands, that has a line of its own below it."""
    source, n = span.source, span.line + 1
    while n < len(source.starts) and not source.line(n).strip():
        n += 1
    line = source.line(n) if n <= len(source.starts) else ""
    return source.starts[n - 1] + line.index("{") if line.strip() == "{" else None


def continued(f: Failure) -> Answer | None:
    """A statement that goes on in the next line, though no bracket is open."""
    source, first = f.reading.source, f.span().line
    if f.token is f.first and OPERATOR.match(f.token.value):
        first -= 1
    elif f.token.type != "_NL" or f.before is None or not OPERATOR.fullmatch(f.before.value):
        return None
    margin, last = indent(source.line(first)), first
    lines = [source.line(first).split("#")[0].strip()]
    while last < len(source.starts) and indent(source.line(last + 1)) > margin:
        text = source.line(last + 1).split("#")[0].strip()
        if not (ENDS_OPEN.search(lines[-1]) or OPERATOR.match(text)):
            break
        lines, last = [*lines, text], last + 1
    joined = " ".join(lines)
    if last == first or not reads(f, joined):
        return None
    start, end = source.starts[first - 1] + margin, source.starts[last - 1]
    span = Span(source, start, end + len(source.line(last).rstrip()))
    message = "a statement ends with its line, where no bracket is open"
    place = [*source.starts, len(source.text)][last]
    resume = Resume(place, f.cut_for("_NL") or 0, NEWLINE)
    return Problem("E111", message, span, remedy=joined), resume


# ---- one slip undone ---------------------------------------------------------------------------


def _let(f: Failure, line: str, words: list[Word], at: int) -> Iterator[str]:
    """A value at the top of a file with its let."""
    if len(words) > 1 and words[1].text == "=" and f.span().column == 1:
        yield f"{naming(line)} {line}"


def naming(line: str) -> str:
    """What a value is named with: what is a number may be turned from outside."""
    return "const" if NUMBERED.search(line) else "let"


def _quoted(f: Failure, line: str, words: list[Word], at: int) -> Iterator[str]:
    """A text in double quotes."""
    if words[at].text == "'" and line.count("'") % 2 == 0:
        yield line.replace("'", '"')


def _zero(f: Failure, line: str, words: list[Word], at: int) -> Iterator[str]:
    """A number with the digit before its point."""
    if words[at].text == "." and line[words[at].stop :][:1].isdigit():
        yield line[: words[at].start] + "0" + line[words[at].start :]


def _once(f: Failure, line: str, words: list[Word], at: int) -> Iterator[str]:
    """A token that stands twice, once. Between two operators, commas, brackets or numbers something
    may be missing, and between two operands."""
    for one, two in ((at - 1, at), (at - 2, at - 1)):
        text = words[two].text
        around = {w.text for w in words[max(0, one - 1) : two + 2]} - {text}
        if around and around <= SIGNS:
            continue
        if one >= 0 and words[one].text == text and text not in JOINTS and not text[0].isdigit():
            yield line[: words[one].stop] + line[words[two].stop :]


def _exchanged(f: Failure, line: str, words: list[Word], at: int) -> Iterator[str]:
    """Two neighbours in the other order."""
    yield from _swapped(f, line, words, at, lambda one, two: not {one, two} & UNMOVED)


def _by_sign(f: Failure, line: str, words: list[Word], at: int) -> Iterator[str]:
    """A bracket and the operator beside it in the other order: `^ )` may have been `)^`."""
    signs = UNMOVED - {""}
    yield from _swapped(f, line, words, at, lambda one, two: one in signs and two in tuple(")]"))


def _swapped(
    f: Failure, line: str, words: list[Word], at: int, fits: Callable[[str, str], bool]
) -> Iterator[str]:
    same = sorted(w.text for w in words)
    for i in (at - 1, at):
        one, two = (*words[i : i + 2], Word("", 0, 0))[:2]
        if two.text and fits(one.text, two.text):
            between = line[one.stop : two.start]
            new = line[: one.start] + two.text + between + one.text + line[two.stop :]
            if sorted(w.text for w in _words(f, new)) == same:  # no two words in one
                yield new


def _put_in(f: Failure, line: str, words: list[Word], at: int) -> Iterator[str]:
    """A mark before the refused token, or in its place."""
    before, place = words[at - 1], words[at]
    if before.text in f.reading.lexer.keywords:
        return
    for mark in _marks(f):
        space = "" if mark in "),]:([" else " "
        if mark not in "=(" or place.text != "(" or before.stop < place.start:
            yield line[: before.stop] + space + mark + " " + line[place.start :]
        if mark not in ")]":
            yield line[: place.start] + mark + line[place.stop :]


def _marks(f: Failure) -> Iterator[str]:
    """The marks that alone could stand here: of operators there are too many. A bracket is closed
    where nothing in it could stand outside."""
    before = [t for t in f.reading.line if t is not f.token]
    several = f.token.value == ":" and f.opened and _several(before, f.opened[-1])
    if f.opened and plain(before, f.opened[-1]) and not several:
        yield f.reading.lexer.written[CLOSING[f.opened[-1].type]]
    ended = f.opened and f.before and f.before.type in VALUE_ENDS
    if not ended and not f.takes("PLUS"):
        yield from MARKS


def _several(line: Sequence[Token], opener: Token) -> bool:
    """Whether a bracket that stays open has several values, behind any of which it may close."""
    return any(token.type == "COMMA" for token in dropwhile(lambda t: t is not opener, line))


def plain(line: Sequence[Token], opener: Token) -> bool:
    """Whether nothing in a bracket that stays open could stand outside of it: no operator, no part
    of a value, no list, no call of several values."""
    at = next((i for i, token in enumerate(line) if token is opener), 0)
    if not at or line[at - 1].value == opener.value:
        return False
    depth = 0
    for before, token in pairwise((line[at - 1], *line[at:])):
        depth += (token.type in CLOSING) - (token.type in CLOSING.values())
        joins = token.value in JOINS or token.value[:1] in JOINS_ANYWHERE
        several = token.type == "COMMA" and depth > 1
        again = token.type in CLOSING and token is not opener and before.type not in VALUE_ENDS
        if joins or several or again:
            return False
    return True


# ---- words -------------------------------------------------------------------------------------


def misspelt(f: Failure) -> Answer | None:
    """A word close to a keyword that could stand there; read on as if it were that keyword."""
    if f.before is f.first and f.first.type == "NAME" and f.state.value_stack[-1:] == [f.first]:
        word, keep, then = f.first, len(f.state.value_stack) - 1, f.token.type
    elif f.token.type in ("NAME", "UNIT"):
        word, keep = f.token, len(f.state.value_stack)
        then = following if (following := f.reading.following()) in lexer.MARKS else ""
    else:
        return None
    keywords = f.reading.lexer.keywords
    wanted = (then,) if then else ()
    possible = [k for k, kind in keywords.items() if takes(f.state, kind, *wanted, keep=keep + 1)]
    other = {k: v for k, v in mistakes.SPELLED.items() if v in possible}
    meant = nearest(word.value, [*possible, *other]) if len(word) > 2 else None
    meant = other.get(meant or "", meant)
    if meant is None or meant == word.value:
        return None
    line = f.swapped(meant, word)
    remedy = line if reads(f, line) else meant
    message = f"there is no {word.value} here: did you mean {meant}?"
    problem = Problem("E107", message, f.span(word), remedy=remedy)
    return problem, Resume(word.end_pos or 0, keep, ((keywords[meant], meant),))


def strange(f: Failure) -> Answer | None:
    """A word that begins no statement, with another behind it: `schedule rate = 0.1`."""
    named = f.before is f.first and f.first.type == "NAME" and f.token.type in ("NAME", "STRING")
    if not named or f.reading.following() == "LPAR" or f.first.value in f.reading.lexer.keywords:
        return None
    line = f.swapped(f"= {f.token.value}")
    if reads(f, line) or reads(f, f"let {line}"):
        return None
    inside = bool(open_braces(f.state))
    known = [k for k, kind in f.reading.lexer.keywords.items() if f.first and _begins(f, kind)]
    where = "here" if inside else "at the top of a file"
    listed = f"{', '.join(known)}, and equations: name = value" if inside else ", ".join(known)
    problem = Problem("E107", f"no statement begins with {f.first.value}", f.span(f.first))
    return replace(problem, facts=(f"{where} may stand {listed}",)), panic(f)


def wordless(f: Failure, around: str) -> Answer | None:
    """A statement without the word that it begins with: `e over net with sgd(lr = 0.1)`. `around`
    is the item that it stands in."""
    start, text = f.first.start_pos or 0, f.reading.source.text
    line = text[start:].split("\n")[0].split("#")[0].rstrip()
    word = f.first.value
    own = word in f.reading.lexer.keywords and not re.match(r"\w+ in\b", line)
    if own or not word.isidentifier() or not open_braces(f.state) or len(line) > MOST:
        return None
    words = LOST_HEADS if line.endswith("{") else LOST
    if around == "train" and re.search(rf"\bwatch (?:total )?{word}\b", text):
        words = (*words, "until")
    elif around in ("check", "sweep"):
        words = (*words, "expect")
    found = [k for k in words if reads(f, f"{k} {line}")]
    if "scan" in found:
        found = ["scan" if " in time" in line else "for"]
    if not 0 < len(found) <= 2:
        return None
    message = f"this line lacks its first word: {' or '.join(found)}"
    span = Span(f.reading.source, start, start + len(line))
    remedy = f"{found[0]} {line}" if len(found) == 1 else ""
    return Problem("E114", message, span, remedy=remedy), panic(f)


def _begins(f: Failure, kind: str) -> bool:
    """Whether a keyword may stand where the statement of the refused token begins."""
    return takes(f.state, kind, keep=len(f.state.value_stack))
