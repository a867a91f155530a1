"""A statement with one slip is given back as it was meant, or not at all."""

import pytest

from dln.grammar.diagnostics import DlnError
from dln.grammar.parser import parse

MENDED = {
    "let c = = 3": "let c = 3",
    "let let c = 3": "let c = 3",
    "let c 3": "let c = 3",
    "c = 3": "const c = 3",
    "let c = f(1, 2": "let c = f(1, 2)",
    "let c = .5": "let c = 0.5",
    "let c = 'abc'": 'let c = "abc"',
    "let = c 3": "let c = 3",
    "use use \"a.dln\"": 'use "a.dln"',
    "fn f(a, b = a + b": "fn f(a, b) = a + b",
    "block b(x[n] -> y[n] {": "block b(x[n]) -> y[n] {",
    "let c = f(a ]": "let c = f(a )",
    "train t on d batch 3 fro 3 epochs {": "train t on d batch 3 for 3 epochs {",
}  # fmt: skip
UNCLEAR = [
    "let c = f(a + b",  # f(a) + b?
    "let c = f(a b)",  # a comma, or an operator?
    "let c = a + + b",  # a value lost between them?
    "let c = [1, , 3]",
    "let c = [1 1]",
    "let c = fa))",
    "let c = [[1, 2], [3, 4, [5, 6]]",
    "expect a == b",
]


def remedies(line: str) -> list[str]:
    body = "  y = x\n}\n" if line.endswith("{") else ""
    with pytest.raises(DlnError) as caught:
        parse(f"{line}\n{body}")
    return [p.remedy for p in caught.value.problems]


@pytest.mark.parametrize("line", MENDED)
def test_a_slip_is_undone(line: str) -> None:
    assert remedies(line) == [MENDED[line]]


@pytest.mark.parametrize("line", UNCLEAR)
def test_nothing_is_said_where_two_things_could_be_meant(line: str) -> None:
    assert not any(remedies(line))
