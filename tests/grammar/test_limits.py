"""Texts made to exhaust the parser are refused by a rule with a code."""

import pytest

from dln.grammar.diagnostics import DlnError
from dln.grammar.parser import parse


def code(text: str) -> str:
    with pytest.raises(DlnError) as caught:
        parse(text)
    return caught.value.problems[0].code


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("let a = " + "(" * 900_000, "E150"),
        ("let a = " + "[" * 100_000 + "]" * 100_000, "E150"),
        ("let a = f" + "[0" * 65 + "]" * 65, "E150"),
        ("block b(x) {\n" + "scan t {\n" * 65, "E150"),
        ("(\n" * 300_000, "E100"),
        ("let a = 1" + " + 1" * 20_000, "E151"),
        ("let a = " + "-" * 20_000 + "1", "E151"),
        ("let a = " + "not " * 20_000 + "1", "E151"),
        ("let a = " + "2^" * 20_000 + "1", "E151"),
        ("let a = x" + " -> f" * 20_000, "E151"),
        ("let a = x" + "'" * 20_000, "E151"),
        ("let a = " + "1 if x else " * 20_000 + "2", "E151"),
        ("let a = [" + "1, " * 20_000 + "1]", "E151"),
        ("let a = " + "1" * 4_301, "E152"),
        ("let a = 1e999", "E152"),
        ("let a = 1" + "0" * 400 + ".0", "E152"),
        ("#" * 1_000_001, "E153"),
        ("let " + "a" * 101 + " = 1", "E154"),
        ('let a = "' + "x" * 900_000, "E105"),
        ('let a = """' + "x\n" * 400_000, "E105"),
        ("let a = \u202e1", "E106"),
    ],
    ids=range(21),
)
def test_limits(text: str, expected: str) -> None:
    assert code(text) == expected


def test_what_the_limits_allow() -> None:
    parse("let a = " + "(" * 64 + "1" + ")" * 64)
    parse("let a = 1" + " + 1" * 199)
    parse("let a = [" + "1, " * 9_999 + "1]")
    parse("let " + "a" * 100 + " = " + "1" * 4_300)
    parse("let a = 1.7e308 + 1e-999")
    parse("let a = x\n" + "# a comment\r\n" * 20_000)
    parse(" \n" * 400_000)


def test_a_file_full_of_mistakes_reports_fifty() -> None:
    with pytest.raises(DlnError) as caught:
        parse("let a = 1 1\n" * 1000)
    assert len(caught.value.problems) == 50
