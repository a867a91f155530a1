"""One cause is one problem: a line that is lost is answered once, not wherever it is missed."""

from __future__ import annotations

import pytest

import dln
import dln.spec as spec
from dln.grammar.diagnostics import DlnError, Source

MOST = 3


@pytest.mark.parametrize("name", ["mlp", "softmax"])
def test_a_line_lost_is_few_problems(name: str) -> None:
    path = spec.find(name)
    lines = path.read_text().splitlines(keepends=True)
    found = {}
    for i, line in enumerate(lines):
        if line.strip() and not line.strip().startswith("#"):
            source = Source(str(path), "".join(lines[:i] + lines[i + 1 :]))
            try:
                spec.from_source(source, name, functions=False)
            except DlnError as error:
                found[i + 1] = len(error.problems)
    assert len(found) > len(lines) // 4 and max(found.values()) <= MOST, found


def test_a_definition_missed_fifty_times_is_one_problem() -> None:
    uses = "".join(f"let a{i} = hidden + {i}\n" for i in range(50))
    with pytest.raises(DlnError) as caught:
        dln.load(uses)
    (problem,) = caught.value.problems
    assert problem.span is not None and problem.span.line == 1
    assert problem.facts == ("and at 49 other places, on lines 2, 3, 4, 5, 6, 7, ...",)


@pytest.mark.parametrize(
    "lost",
    [
        'let w = "a" * 2\n',  # a let that fails
        'const w = "a" + 1\n',
        'use "nowhere.dln"\n',
        "fn g(a) = missing(a)\nlet w = g(1)\n",
        'data w = table("nowhere.csv") {\n  x = raw[0]\n}\n',
    ],
)
def test_what_failed_gives_no_further_problem_where_it_is_used(lost: str) -> None:
    uses = "let a = w + 1\nlet b = [w, a]\nlet c = b[0] + a\n"
    with pytest.raises(DlnError) as caught:
        dln.load(lost + uses)
    assert len(caught.value.problems) == 1, str(caught.value)


def test_twenty_problems_are_printed_and_the_others_counted() -> None:
    with pytest.raises(DlnError) as caught:
        dln.load("".join(f"let a{i} = no{i}\n" for i in range(51)))
    said = str(caught.value)
    assert said.count("error[E301]") == 20 and said.endswith("\n\nand 31 more")
    assert len(caught.value.problems) == 51


def test_so_many_problems_are_not_all_looked_for() -> None:
    with pytest.raises(DlnError) as caught:
        dln.load("".join(f"let a{i} = u{i}\n" for i in range(5000)))
    said = str(caught.value)
    assert said.count("error[E301]") == 20 and said.endswith("and at least 180 more")
    with pytest.raises(DlnError) as caught:
        dln.load("".join(f"let a{i} = u{i}\n" for i in range(30)))
    assert str(caught.value).endswith("and 10 more")
