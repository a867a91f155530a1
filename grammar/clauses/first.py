"""The word that a statement begins with, told by what stands behind it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dln.grammar import mistakes
from dln.grammar.clauses import derived
from dln.grammar.diagnostics import Problem, nearest
from dln.grammar.recovery import Answer, Failure, Resume, open_braces, panic
from dln.grammar.repair import MOST, naming, reads

FEW = 3  # statements that may have been meant
VALUE = "let x = "  # before a value, wherever that stands
HEAD = re.compile(r"\w+\s*\{")  # which says nothing of what it is
COMPARED = re.compile(r"[=!<>]=|[<>]")
LOOPS = ("for", "scan")
NAMED = ("=", "~", ":=", "+=", ":")


def begun(f: Failure, around: str) -> Answer | None:
    """A statement under another word, or at the top of a file without its word, where what follows
    can be that of one alone: `learn e over net with sgd(lr = 0.1)`. `around` is the item that it
    stands in."""
    word, line, rest = _parts(f)
    if len(line) > MOST or line.endswith("{"):
        return None  # of heads `guessed` is asked, after the words of other tools
    own = bool(derived.statements().get(word))
    if own and around not in (derived.homes(word) or ("",)):
        return None
    if not (own or around) and len(found := _fitting(f, line)) == 1:
        return _told(f, f"this line lacks its first word: {found[0]}", found[0], lost=True)
    if not rest or rest.startswith(NAMED):
        return None
    found = _fitting(f, rest, bare=not around)
    if own:
        clauses = {c for k in found for c in derived.clauses(k)} - {*derived.clauses(word)}
        found = [k for k in found if k not in LOOPS and clauses & {*rest.split()}]
    if not found or len(found) > (1 if own else FEW):
        return None
    message = f"{word} begins no statement like this one: {listed(found)} does"
    return _told(f, message, found[0]) if len(found) == 1 else _several(f, message, found)


def guessed(f: Failure, around: str) -> Answer | None:
    """A statement under a word that nobody knows, where what follows can be that of few."""
    word, line, rest = _parts(f)
    if derived.statements().get(word) or len(line) > MOST:
        return None
    for text, bare in ((line, False), (rest, True)):
        unsaid = around or HEAD.fullmatch(line) if text is line else rest.startswith(NAMED)
        if not text or unsaid:
            continue
        found = _fitting(f, text, bare and bool(COMPARED.search(text)))
        if not 0 < len(found) <= FEW:
            continue
        message = f"{word} begins no statement like this one: {listed(found)} does"
        if text is line:
            message = f"this line lacks its first word: {listed(found)}"
        if len(found) == 1:
            return _told(f, message, found[0], text is line)
        return _several(f, message, found)
    return None


def _several(f: Failure, message: str, found: list[str]) -> Answer:
    forms = tuple(f"as in {mistakes.WRITTEN[k]}" for k in found)
    return Problem("E107", message, f.span(f.first), facts=forms), panic(f)


def _parts(f: Failure) -> tuple[str, str, str]:
    """The first word of a statement, its first line, and the rest of that."""
    begin, word = f.first.start_pos or 0, f.first.value
    line = f.reading.source.text[begin:].split("\n")[0].split("#")[0].rstrip()
    fits = (word[:1].isalpha() or word[:1] in '"_') and line[len(word) :][:1] not in (".", "[", "(")
    return word, line, line[len(word) :].strip() if fits else ""


def _told(f: Failure, message: str, meant: str, lost: bool = False) -> Answer:
    """A word in the place of the first one, or before it; read on as if it stood there."""
    word, line, rest = _parts(f)
    spelled = [k for k, v in mistakes.SPELLED.items() if v == meant]
    if not lost and nearest(word, [meant, *spelled]):
        message = f"there is no {word} here: did you mean {meant}?"
    kind = f.reading.lexer.keywords[meant]
    place = (f.first.start_pos if lost else f.first.end_pos) or 0
    remedy = f"{meant} {line if lost else rest}"
    problem = Problem("E114" if lost else "E107", message, f.span(f.first), remedy=remedy)
    return problem, Resume(place, f.cut_for(kind) or 0, ((kind, meant),))


def listed(words: Sequence[str], joint: str = "or") -> str:
    """Words in a sentence: a, b or c."""
    return f" {joint} ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _fitting(f: Failure, text: str, bare: bool = False) -> list[str]:
    """The statements that a text could be the rest of; those of which a value is the rest, or an
    equation, say nothing of it unless it is `bare`."""
    top = not open_braces(f.state)
    named = reads(f, f"let {text}") or reads(f, text)
    whole = text.startswith(f.first.value)
    if (named and (whole or not top)) or (reads(f, f"{VALUE}{text}") and not bare):
        return []
    words = f.reading.lexer.keywords
    found = [k for k in derived.statements() if k in words and reads(f, f"{k} {text}")]
    if {"const", "let"} <= {*found}:
        found = [k for k in found if k not in ("const", "let", "data")] + [naming(text)]
    if {"for", "scan"} <= {*found}:
        found = ["scan" if " in time" in text else "for"]
    return found
