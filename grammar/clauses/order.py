"""Clauses that stand in another order, twice, in a statement that has none of the kind, or under
another word."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from dln.grammar import mistakes
from dln.grammar.clauses import derived
from dln.grammar.clauses.first import listed
from dln.grammar.diagnostics import Note, Problem, Span
from dln.grammar.recovery import Answer, Failure, open_braces, panic
from dln.grammar.repair import MOST, reads


class Clause(NamedTuple):
    """A part of a statement from the word on that it begins with, up to the next."""

    word: str
    text: str
    start: int  # in the source


def clauses(f: Failure) -> Answer | None:
    """What is wrong with the clauses of a statement whose rest is right."""
    first = f.first
    if first.type == "NAME" or not derived.statements().get(first.value):
        return None
    head, parts, tail = _cut(f, derived.clauses(first.value))
    if len(head) + sum(len(p.text) for p in parts) > MOST:
        return None
    return (
        _twice(f, head, parts, tail) or _ordered(f, head, parts, tail) or _otherwise(f, head, parts)
    )


def _cut(f: Failure, words: Sequence[str]) -> tuple[str, list[Clause], str]:
    """A statement up to its first clause, its clauses, and the brace of its body."""
    source, begin = f.reading.source, f.first.start_pos or 0
    line = source.text[begin:].split("\n")[0].split("#")[0].rstrip()
    tail = " {" if line.endswith("{") else ""
    line = line.removesuffix("{").rstrip()
    depth, starts = 0, list[tuple[str, int]]()
    for _, start, stop in f.reading.lexer.marks(line):
        text = line[start:stop]
        depth += (text in ("(", "[")) - (text in (")", "]"))
        if depth == 0 and start and text in words:
            starts.append((text, start))
    ends = [start for _, start in (*starts[1:], ("", len(line)))][: len(starts)]
    parts = [
        Clause(word, line[start:end].rstrip(), begin + start)
        for (word, start), end in zip(starts, ends, strict=True)
    ]
    return line[: starts[0][1] if starts else len(line)].rstrip(), parts, tail


def _joined(head: str, parts: Sequence[Clause], tail: str) -> str:
    return " ".join([head, *(p.text for p in parts)]) + tail


def _span(f: Failure, part: Clause) -> Span:
    return Span(f.reading.source, part.start, part.start + len(part.word))


def _twice(f: Failure, head: str, parts: list[Clause], tail: str) -> Answer | None:
    seen = dict[str, Clause]()
    for part in parts:
        if (one := seen.setdefault(part.word, part)) is part:
            continue
        line = _joined(head, [p for p in parts if p is not part], tail)
        if one.text != part.text or not reads(f, line):
            continue
        notes, message = (
            (Note(_span(f, one), "first here"),),
            f"{f.first.value} has one {part.word}",
        )
        return Problem("E114", message, _span(f, part), "again", notes, remedy=line), panic(f)
    return None


def _ordered(f: Failure, head: str, parts: list[Clause], tail: str) -> Answer | None:
    """Clauses in the order of the grammar, or behind the value that they stand before."""
    order = derived.clauses(f.first.value)
    right = sorted(parts, key=lambda p: order.index(p.word))
    line = _joined(head, right, tail)
    if right == parts or not reads(f, line):
        return None
    late, moved = next((p, q) for p, q in zip(right, parts, strict=True) if p != q)
    message = f"{late.word} stands before {moved.word}"
    return Problem("E114", message, _span(f, moved), remedy=line), panic(f)


def _otherwise(f: Failure, head: str, parts: list[Clause]) -> Answer | None:
    """A word in the place of that of a clause that must stand there: `minimize e of net with ...`.
    Where none need stand, another statement's may be meant, or nothing."""
    token, text = f.token, f.reading.source.text
    if f.opened or not token.value.isidentifier() or token is f.first or reads(f, f.rest.strip()):
        return None
    if f.takes("_NL") or f.takes("LBRACE"):
        return None
    declared = len(re.findall(rf"\b{token.value}\b", text)) > 1
    if declared and token.value not in f.reading.lexer.keywords:
        return None
    words = [c for c in derived.clauses(f.first.value) if c not in [p.word for p in parts]]
    start, line = f.first.start_pos or 0, text[f.first.start_pos or 0 :].split("\n")[0]
    at = f.start - start
    line = line.split("#")[0].rstrip()
    made = {w: line[:at] + w + line[at + len(token.value) :] for w in words}
    found = [w for w, new in made.items() if reads(f, new)]
    if len(found) != 1:
        return None
    message = f"{f.first.value} has no {token.value}: did you mean {found[0]}?"
    remedy = " ".join(made[found[0]].split())
    return Problem("E114", message, f.span(), remedy=remedy), panic(f)


def foreign(f: Failure) -> Answer | None:
    """A clause of another statement behind a value: `watch error = e within 0.1`."""
    word, first = f.token.value, f.first.value
    owners = [o for o in derived.owners(word) if o not in ("for", "scan", "vary")]
    if f.opened or f.begins or not owners or not word.isidentifier():
        return None
    if not any(map(f.takes, ("PLUS", "_NL", "LBRACE"))):
        return None  # a value is missing
    if word in ("and", "or", "not", "if", "else"):
        return None
    statement = f.first.type != "NAME" and bool(derived.statements().get(first))
    if (statement and word in derived.clauses(first)) or reads(f, f.rest.strip()):
        return None
    what = first if statement else "an equation"
    message = f"{what} has no {word}: that is a clause of {listed(owners, 'and')}"
    example = mistakes.WRITTEN.get(first if statement else "")
    own = derived.clauses(first) if statement else ()
    facts = (f"as in {example}",) if example else ()
    if own:
        facts = (f"{first} may go on with {listed(own)}", *facts)
    return Problem("E114", message, f.span(), facts=facts), panic(f)


def wrong_clause(f: Failure) -> Answer | None:
    """A word where a statement goes on with clauses of its own."""
    first, keywords = f.first, f.reading.lexer.keywords
    words = mistakes.CLAUSES.get(first.value, "").split() if first.type != "NAME" else []
    possible = [word for word in words if f.takes(keywords[word])]
    if f.before is not None and f.before.value in words and f.before.type == "NAME":
        message = f"a value is missing before {f.before.value}"
        facts = _form(first.value)
        return Problem("E114", message, f.span(f.before), facts=facts), panic(f)
    if f.token.type != "NAME" or f.opened or not possible:
        return None
    factor = f.before is not None and f.before.type == "NUMBER" and f.reading.following() == "LPAR"
    if factor and reads(f, line := f.swapped(f"* {f.token.value}")):
        return Problem("E119", mistakes.PRODUCT.message, f.span(), remedy=line), panic(f)
    word = f.token.value
    if first.value == "train" and word in (*mistakes.HOMES["train"].split(), "expect"):
        message = f"{word} is a line of its own, between the braces of the phase"
        facts = _form(word)
        return Problem("E114", message, f.span(), facts=facts), panic(f)
    message = f"{first.value} has no {f.token.value}: what may follow is {listed(possible)}"
    facts = _form(first.value)
    return Problem("E114", message, f.span(), facts=facts), panic(f)


def complete(f: Failure) -> Answer | None:
    """More words behind a statement, or in its head, which has no clauses that begin so."""
    first, ends = f.first, f.takes("LBRACE")
    statement = first.type != "NAME" and first.value in derived.statements()
    if f.opened or f.token.type != "NAME" or not (ends or f.takes("_NL")):
        return None
    if not ends and (len(f.rest.split()) < 2 or reads(f, f.swapped(f"* {f.token.value}"))):
        return None  # two values side by side
    what = first.value if statement else "an equation"
    if ends != f.rest.rstrip().endswith("{") or (not statement and not open_braces(f.state)):
        return None
    message = f"{what} has no {f.token.value}: it is complete before this"
    example = mistakes.WRITTEN[first.value if statement else ""]
    return Problem("E114", message, f.span(), facts=(f"as in {example}",)), panic(f)


def one_more(f: Failure) -> Answer | None:
    """`param W[m, n] ~ glorot(n, m) b[m] = 0`, without the comma between them."""
    declares = f.first.value in ("param", "fixed", "hidden") and f.first.type != "NAME"
    if not (declares and f.token.type == "NAME" and f.reading.following() == "LSQB"):
        return None
    line = f.swapped(f", {f.token.value}").replace(" , ", ", ")
    remedy = line if reads(f, line) else ""
    return Problem("E119", "a comma is missing before this", f.span(), remedy=remedy), panic(f)


def _form(word: str) -> tuple[str, ...]:
    """How a statement is written, as a fact."""
    return (f"as in {mistakes.WRITTEN[word]}",) if word in mistakes.WRITTEN else ()
