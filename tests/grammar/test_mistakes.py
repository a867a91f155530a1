"""What the parser says about wrong texts."""

import random
import re
from pathlib import Path

import pytest

from dln.grammar.diagnostics import DlnError, Problem, render
from dln.grammar.mistakes import MISTAKES, Mistake
from dln.grammar.parser import parse

HERE = Path(__file__).parent
TEXTS = [p.read_text() for p in sorted((HERE / "corpus").glob("*.dln"))]


def problems(text: str) -> list[Problem]:
    with pytest.raises(DlnError) as caught:
        parse(text, "net.dln")
    return caught.value.problems


def golden() -> list[tuple[str, str]]:
    """Pairs of a wrong text and its messages: `==== name`, the text, `----`, the messages."""
    found = []
    for path in sorted((HERE / "golden").glob("*.txt")):
        for part in re.split(r"^==== .*\n", path.read_text(), flags=re.MULTILINE)[1:]:
            text, drawn = part.split("----\n")
            found.append((text, drawn.rstrip("\n")))
    return found


@pytest.mark.parametrize(("text", "drawn"), golden())
def test_golden(text: str, drawn: str) -> None:
    with pytest.raises(DlnError) as caught:
        parse(text, "net.dln")
    assert str(caught.value) == drawn


EXAMPLES = [(row, text) for row in MISTAKES for text in row.examples]


@pytest.mark.parametrize(("row", "text"), EXAMPLES, ids=[repr(t) for _, t in EXAMPLES])
def test_every_example_gets_its_row_and_nothing_else(row: Mistake, text: str) -> None:
    assert [(p.code, p.message) for p in problems(text)] == [(row.code, row.message)]


def test_the_table_is_long() -> None:
    assert len(MISTAKES) >= 40


def test_one_message_for_each_wrong_line() -> None:
    text = (
        "const a == 1\n"
        "blok net(x[n]) -> y {\n"
        "  y = tanh(x\n"
        "  z = y * * 2\n"
        "  parm W[n] = 0\n"
        "}\n"
        "train t on d for 20 {\n"
        "  minimise y over net with f\n"
        "  watch e = y z\n"
        "}\n"
        "let b = [1, 2\n"
    )
    assert [p.span.line for p in problems(text) if p.span] == [1, 2, 3, 4, 5, 7, 8, 9, 11]


def test_a_misspelt_header_keeps_its_body() -> None:
    found = problems("tarin t on d for 1 epoch {\n  y = 1 1\n  minimize y over n with f\n}\n")
    assert [p.code for p in found] == ["E107", "E119"]


INTERNAL = re.compile(r"__|\b_NL\b|\$END|\b(LPAR|RPAR|LSQB|RSQB|LBRACE|RBRACE|EQUAL|TILDE|COLON)\b")
BITS = (
    "( ) [ ] { } = == , ; : -> ~ := += \" \"\"\" for if else x 3 3.5 in with over total @ ^ # \\ "
    "\u00e9 \u2212 .. . ' not epochs - \n \t block train".split(" ")
)  # fmt: skip


def mutated(text: str, rng: random.Random) -> str:
    tokens = re.findall(r'\w+|\s+|"[^"\n]*"|.', text, re.DOTALL)
    for _ in range(rng.choice([1, 1, 2, 4])):
        i, j = rng.randrange(len(tokens)), rng.randrange(len(tokens))
        match rng.randrange(4):
            case 0:
                tokens[i] = ""
            case 1:
                tokens[i] = rng.choice(BITS)
            case 2:
                tokens.insert(i, rng.choice(BITS))
            case _:
                tokens[i], tokens[j] = tokens[j], tokens[i]
    return "".join(tokens)


@pytest.mark.parametrize("seed", range(8))
def test_mutated_specs_get_messages_in_the_words_of_the_language(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(60):
        text = mutated(rng.choice(TEXTS), rng)
        try:
            parse(text)
        except DlnError as error:
            assert error.problems
            for problem in error.problems:
                assert not INTERNAL.search(f"{problem.message} {problem.label}"), text
                assert problem.message and problem.span
                assert render(problem)


def test_random_marks_never_crash() -> None:
    rng = random.Random(0)
    for _ in range(300):
        text = " ".join(rng.choices([*BITS, "block b", "(x)", "y ="], k=rng.randint(1, 40)))
        try:
            parse(text)
        except DlnError as error:
            str(error)
