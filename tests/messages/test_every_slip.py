"""Statements with one clause, word or sign wrong, made by rule: a try leads to the right text;
where none is given the wrong word is shown, and what is written there."""

import random
import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from dln.compiler.trial import tried
from dln.grammar.clauses import derived
from dln.grammar.diagnostics import DlnError, Problem, Source
from dln.grammar.mistakes import WRITTEN
from dln.grammar.parser import parse, parse_source
from dln.grammar.printer import to_text
from dln.grammar.remedies import edit

SAMPLE, LEAST = 150, 95  # slips, and how many of a hundred are to be answered so
HEADS = {"": "", "block": "block b(x[n]; m) -> y[m] {\n", "data": 'data d = table("d.csv") {\n',
         "train": "train fit on d for 1 epoch {\n", "task": "task show() {\n",
         "sweep": "sweep w {\n", "optimiser": "optimiser o(p, g; lr) {\n"}  # fmt: skip
TOKEN = re.compile(r'"[^"\n]*"|\w+|->|:=|\+=|[=!<>]=|\S')
WRONG_WORDS = ("learn", "define", "record", "perform")
OTHER_SIGNS = ("<-", "=>")


class Slip(NamedTuple):
    """A text with one slip, where that stands, and the right text."""

    text: str
    start: int
    stop: int
    right: str


def statements() -> Iterator[tuple[str, str, str]]:
    """The word of each statement, its body and the line of it that is shown to users."""
    for word, line in WRITTEN.items():
        if word and word != "dln" and not line.endswith("{"):
            yield word, (derived.homes(word) or ("",))[0], line


def slips() -> Iterator[Slip]:
    for word, home, line in statements():
        head = HEADS.get(home, 'check "c" {\n')
        tail = "}\n" if head else ""
        parts = [m for m in TOKEN.finditer(line)]
        words = derived.clauses(word)

        def slip(
            new: str,
            at: int,
            length: int,
            around: tuple[str, str] = (head, tail),
            right: str = line,
        ) -> Slip:
            before, after = around
            start = len(before) + at
            texts = (f"{before}{one}\n{after}" for one in (new, right))
            return Slip(next(texts), start, start + length, next(texts))

        for other in WRONG_WORDS:
            yield slip(other + line[len(word) :], 0, len(other))
        for m in parts:
            if m[0] in words:
                yield slip(line[: m.start()] + line[m.end() :].lstrip(), m.start(), 1)
            if m[0] in ("=", ":=", "+=") and line.count("=") < 2:
                for sign in OTHER_SIGNS:
                    yield slip(f"{line[: m.start()]}{sign}{line[m.end() :]}", m.start(), len(sign))
        cuts = [m.start() for m in parts if m[0] in words and "(" not in line[: m.start()]]
        for a, b in zip(cuts, [*cuts, len(line)][1:], strict=True):
            clause = line[a:b].strip()
            yield slip(f"{line[:b].rstrip()} {clause} {line[b:]}".rstrip(), a, b - a + len(clause))
        if len(cuts) > 1:
            a, b = cuts[0], cuts[1]
            new = f"{line[:a]}{line[b:]} {line[a:b].strip()}"
            yield slip(new, a, len(new) - a)
        if "over" not in words:
            yield slip(f"{line} over net", len(line) + 1, 4)


def problems(text: str) -> list[Problem]:
    try:
        parse_source(Source("net.dln", text))
    except DlnError as error:
        return error.problems
    return []


def tree(text: str) -> str | None:
    try:
        return to_text(parse(text))
    except DlnError:
        return None


def good(slip: Slip) -> bool:
    source = Source("net.dln", slip.text)
    found = problems(slip.text)
    if not found:
        return True
    first = tried(found, source, problems)[0]
    change = edit(first) if first.remedy else None
    if change is not None:
        return tree(change.changed) == tree(slip.right)
    assert first.span is not None
    line = source.line(first.span.line).strip()
    near = slip.start - 12 <= first.span.start <= slip.stop + 1 and first.span.text.strip() != line
    return near and bool(first.facts or first.label or "missing" in first.message)


def test_slips_of_all_statements_are_answered_by_rule() -> None:
    some = random.Random(1).sample(list(slips()), SAMPLE)
    bad = [slip for slip in some if not good(slip)]
    assert 100 * (SAMPLE - len(bad)) >= LEAST * SAMPLE, "\n".join(s.text for s in bad)


def test_every_statement_of_the_grammar_is_shown() -> None:
    assert set(derived.statements()) <= set(WRITTEN)


@pytest.mark.parametrize(
    ("line", "remedy"),
    [
        ("minimize e with sgd(lr = 0.1) over net", "minimize e over net with sgd(lr = 0.1)"),
        ("watch e = y every 1 epoch every 1 epoch", "watch e = y every 1 epoch"),
        ("learn e over net with sgd(lr = 0.1)", "minimize e over net with sgd(lr = 0.1)"),
        ("a = b ^^ 2", "a = b^2"),
        ("a = √b + 1", "a = sqrt(b) + 1"),
        ("watch e = y within 0.1", ""),
        ("minimize - over net with sgd(lr = 0.1)", ""),
    ],
)
def test_some_of_them(line: str, remedy: str) -> None:
    text = f"train fit on d for 1 epoch {{\n  {line}\n}}\n"
    (found,) = tried(problems(text), Source("net.dln", text), problems)
    assert found.remedy.replace(" ", "") == remedy.replace(" ", "")
