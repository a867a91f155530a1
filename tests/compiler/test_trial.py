"""Remedies are tried before they are given: by texts of one word, some of them wrong there."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

import dln
from dln.compiler.trial import tried
from dln.grammar.diagnostics import DlnError, Problem, Source, Span

SOURCE = Source("net.dln", "let y = one + two\n")
ONE, TWO = Span(SOURCE, 8, 11), Span(SOURCE, 14, 17)
FACT = "what else it may be"


def told(found: Problem, wrong: Mapping[str, tuple[str, str]]) -> tuple[str, Span | None, int]:
    """The remedy that is told where texts with some words in them are wrong there."""
    asked = list[str]()

    def again(text: str) -> Sequence[Problem]:
        asked.append(text)
        source = Source("net.dln", text)
        places = ((text.index(w), w, at) for w, at in wrong.items() if w in text)
        return [Problem(code, said, Span(source, i, i + len(w))) for i, w, (code, said) in places]

    (p,) = tried([found], SOURCE, again)
    return p.remedy, p.span, len(asked)


@pytest.mark.parametrize(
    ("remedy", "wrong", "kept"),
    [
        ("net.w", {}, "net.w"),
        ("net.w", {"net.w": ("E302", "no tensor")}, ""),  # as wrong as what stands there
        ("net.w", {"two": ("E301", "there is no name two")}, "net.w"),  # a second mistake
        ("net.w", {"net.w": ("E216", "another size")}, "net.w"),  # another mistake in its place
    ],
)
def test_a_guess_that_is_no_better_is_not_told(
    remedy: str, wrong: dict[str, tuple[str, str]], kept: str
) -> None:
    found = Problem("E301", "there is no name one", ONE, "unknown", (), (), remedy)
    assert told(found, wrong) == (kept, ONE, 1)


def test_a_slip_of_the_pen_is_not_tried() -> None:
    source = Source("net.dln", "let y = sofmtax\n")
    found = Problem("E301", "there is no name", Span(source, 8, 15), remedy="softmax")
    assert tried([found], source, lambda text: pytest.fail(text)) == [found]


@pytest.mark.parametrize(
    ("wrong", "remedy", "place"),
    [
        ({}, "first", ONE),
        ({"first": ("E357", "a loss is one number")}, "second", TWO),
        ({"first": ("E357", "is one"), "second": ("E357", "is one")}, "first", ONE),
    ],
)
def test_of_several_ways_the_first_that_mends_is_told(
    wrong: dict[str, tuple[str, str]], remedy: str, place: Span
) -> None:
    ways = ((TWO, "second"),)
    found = Problem("E214", "runs over no time", ONE, "is", (), (FACT,), "first", ways=ways)
    said, span, _ = told(found, wrong)
    assert (said, span) == (remedy, place)


@pytest.mark.parametrize(
    ("line", "remedy"),
    [
        ("let y = 2 ** 3", "let y = 2 ^ 3"),
        ("let y = 1 + 2 ** 3 && true", "let y = 1 + 2 ^ 3 and true"),  # two of one line
        ("let y = lambda q: q +", ""),  # is refused then as well
        ("let y = max(ming, 1), -2)", ""),  # there is no ming
        ("let y = wrong(1))", ""),
    ],
)
def test_a_remedy_of_what_the_parser_refuses_leaves_no_error(line: str, remedy: str) -> None:
    with pytest.raises(DlnError) as caught:
        dln.load(f"const a = 1\n{line}\nlet z = a\n")
    assert caught.value.problems[0].remedy == remedy


def test_two_mistakes_of_a_line_are_mended_as_one() -> None:
    source = Source("net.dln", "let y = 2 ** 3 %% 4\n")
    found = Problem("E112", "a power is ^", Span(source, 10, 12), remedy="let y = 2 ^ 3 %% 4")

    def again(text: str) -> Sequence[Problem]:
        if "%%" not in text:
            return ()
        at = text.index("%%")
        span = Span(Source("net.dln", text), at, at + 2)
        return [Problem("E112", "no sign of dln", span, remedy="let y = 2 ^ 3 - 4")]

    (p,) = tried([found], source, again)
    assert p.remedy == "let y = 2 ^ 3 - 4"


def test_a_spec_that_is_asked_for_a_verb_says_whose_it_is() -> None:
    made: Any = dln.load("let a = 1\n\n")
    with pytest.raises(AttributeError, match=r"one of a session, spec\.compile\(\)\.session\(\)"):
        made.train("fit")
    assert not hasattr(made, "shape")
