"""Signs of other languages within a line, and signs of ours in the place of another: what is put
in place has to be read, or nothing is said."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from dln.grammar.clauses import derived
from dln.grammar.diagnostics import Problem, Span
from dln.grammar.recovery import Answer, Failure, panic
from dln.grammar.repair import MOST, OPEN_BODY, bodied, reads

ATOM = r"(?:[A-Za-z_][\w.]*|\d[\d.]*|(?=[(\[]))(?:\([^()]*\)|\[[^\[\]]*\])*'?"
DEFINES = ("=", "~", ":=", "+=", "in", ":")
WRONG = re.compile(r"<-|=>|->|[=:+]=|[=~:<>]|\bis\b")
STRANGE = re.compile(r"<-|=>|->|\bis\b")  # which have no rows in the table of mistakes
BODY = re.compile(r"(?:begin|do|then)$")


class Sign(NamedTuple):
    """What is written elsewhere, what is written here in its place, and why."""

    form: re.Pattern[str]
    here: str | Callable[[re.Match[str]], str]
    says: str
    code: str = "E112"


def _one_less(m: re.Match[str]) -> str:
    return f"..{int(m[1]) - 1}"


def _root(m: re.Match[str]) -> str:
    return f"sqrt{m[1]}" if m[1].startswith("(") else f"sqrt({m[1]})"


COMMENT = "comments start with #"
RANGE = "a range is written with two dots, and holds both ends"
SIGNS = tuple(
    Sign(re.compile(form), here, says)
    for form, here, says in (
        (r"\s*/\*.*?\*/", "", COMMENT),
        (r"\s*\(\*.*?\*\)", "", COMMENT),
        (r"\^\^", "^", "a power is written ^"),
        (r"=<", "<=", "less or equal is written <="),
        (r"(?<=[\w)\]])\s*/=\s*", " != ", "unequal is written !="),
        (rf"~\s*({ATOM})", r"not \1", "this is written with the word not"),
        (rf"√\s*({ATOM})", _root, "a square root is sqrt(x)"),
        (rf"({ATOM})\s+xor\s+({ATOM})", r"\1 != \2", "of two truths one alone holds where a != b"),
        (r"\.\.<\s*(\d+)", _one_less, RANGE),
        (r"\b(\d+)\s*:\s*(\d+)\b", r"\1..\2", RANGE),
        (r"\[\s*,", "[:, ", "all of an axis is written :"),
        (r"(?<=\w)\[([^\[\];]*);([^\[\];]*)\]", r"[\1,\2]", "indices stand apart with commas"),
        (r"\bif\s*\(([^(),]*),\s*([^(),]*),\s*([^(),]*)\)", r"(\2 if \1 else \3)",
         "a choice is written a if test else b"),
        (r"(?<=[^=!<>][=~] )(\d+),(\d{1,2}|\d{4,})$", r"\1.\2",
         "a number has a point before its digits"),
        (r"(?<=[^=!<>][=~] )(?!\d+,\d)([^=,(\[]+(?:,[^=,(\[]+)+)$", r"[\1]",
         "several values are a list, in [ ]"),
        (r"(?:(?<=[=(,\[<>:])|(?<=\b(?:in|if|or)))(\s*)\+[+\s]*(?=[\w(\[])", r"\1",
         "no + stands before a value"),
    )
)  # fmt: skip


def signs(f: Failure) -> Answer | None:
    """Signs of another language at the refused token, or a statement in brackets."""
    source, begin = f.reading.source, f.first.start_pos or 0
    line = source.text[begin:].split("\n")[0].split("#")[0].rstrip()
    at = f.start - begin
    if len(line) > MOST or not 0 <= at <= len(line):
        return None
    for sign in SIGNS:
        found = next((m for m in sign.form.finditer(line) if m.start() <= at <= m.end()), None)
        made = line if found is None else sign.form.sub(sign.here, line)
        if found is None or not made.strip() or not reads(f, made):
            continue
        lead = len(found[0]) - len(found[0].lstrip())
        span = Span(source, begin + found.start() + lead, begin + found.end())
        return Problem(sign.code, sign.says, span, remedy=" ".join(made.split())), panic(f)
    return _worded(f) or _enclosed(f, line, begin) or defined(f, STRANGE)


def _worded(f: Failure) -> Answer | None:
    """A body behind a word: `block b(x[n]) -> y[n] begin`."""
    if not (BODY.fullmatch(f.token.value) and f.rest.strip() == f.token.value):
        return None
    if f.cut_for("LBRACE", inside=True) is None or f.opened:
        return None
    message = f"the body stands in braces, not behind {f.token.value}"
    remedy = OPEN_BODY if bodied(f.span()) else f.swapped("{")
    return Problem("E115", message, f.span(), remedy=remedy), panic(f)


def _enclosed(f: Failure, line: str, begin: int) -> Answer | None:
    """A statement in brackets: `(param g[m] = 1)`."""
    if not (line.startswith("(") and line.endswith(")") and reads(f, bare := line[1:-1].strip())):
        return None
    span = Span(f.reading.source, begin, begin + 1)
    return Problem("E119", "a statement stands in no brackets", span, remedy=bare), panic(f)


def defined(f: Failure, of: re.Pattern[str] = WRONG) -> Answer | None:
    """A statement with another sign where its own stands: `const n <- 3`."""
    source, begin, word = f.reading.source, f.first.start_pos or 0, f.first.value
    line = source.text[begin:].split("\n")[0].split("#")[0].rstrip()
    at = f.start - begin
    if len(line) > MOST or f.first.type == "NAME" or word not in derived.statements() or f.opened:
        return None
    places = (m for m in of.finditer(line) if m.start() <= at <= m.end())
    if (found := next(places, None)) is None:
        return None
    made = {}
    for sign in DEFINES:
        space = "" if sign == ":" else " "
        new = f"{line[: found.start()].rstrip()}{space}{sign} {line[found.end() :].lstrip()}"
        if sign != found[0] and reads(f, new):
            made[sign] = new
    if len(made) != 1:
        return None
    ((sign, new),) = made.items()
    span = Span(source, begin + found.start(), begin + found.end())
    message = f"what {word} says is written with {sign}"
    return Problem("E110", message, span, remedy=" ".join(new.split())), panic(f)
