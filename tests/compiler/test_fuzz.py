"""Mutants of the shipped specs: every text either builds or is answered with a drawn error.

A mutant may mean anything; what it may not do is to raise another exception, to point outside its
text, or to keep the compiler busy.
"""

import random
from collections.abc import Mapping, Sequence

import pytest
from mutation import corpus
from mutation.edits import OPERATORS, Edit, edited, tokens
from mutation.judging import answer

from dln.grammar.diagnostics import Problem, render

NUMBERS = ("0", "1", "2", "3", "5", "0.5", "1.5", "-1", "1e9", "1e400", "100000000", "12345678901")
NAMES = (
    "x y net label raw time batch grad sum norm params shape onehot dense sigmoid sgd adam chain"
    " prob logit binary class concat flatten last scan outer stop softmax nll cross_entropy mean"
    " argmax zeros ones bernoulli normal uniform training length id max update epoch fit valid all"
    " gibbs text glorot pi relu n m W b h seed"
).split(" ")
BITS = "( ) [ ] { } = , ; : ' - not if else for with over [] (1) [1,2] 3 x as total".split(" ")


def mutant(text: str, rng: random.Random) -> str:
    """A text with one slip or a few, some of them wilder than a person's."""
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        edit = wild(text, rng) if rng.random() < 0.6 else edited(text, rng)
        text = edit.mutant if edit else text
    return text


def wild(text: str, rng: random.Random) -> Edit | None:
    """Another name, number or operator in place of one, from lists of what was trouble once, or a
    token from nowhere."""
    if not (words := tokens(text)):
        return None
    token = rng.choice(words)
    if token.text.isidentifier():
        pool: Sequence[str] = NAMES
    elif token.text[0].isdigit():
        pool = [*NUMBERS, *rng.choices(NAMES, k=3)]
    elif token.text in OPERATORS:
        pool = OPERATORS
    else:
        pool = [token.text + f" {bit} " for bit in BITS]
    return Edit("wild", text, token.start, token.stop, rng.choice(pool))


def sound(problem: Problem) -> None:
    """A problem says something, at places that exist, and can be drawn."""
    assert problem.message
    assert problem.code not in ("E299", "E999")  # the words of the compiler to itself
    for span in [problem.span, *(n.span for n in problem.notes)]:
        assert span is None or 0 <= span.start <= span.stop <= len(span.source.text)
    assert "object at 0x" not in render(problem)


def tried(name: str, text: str) -> None:
    """Raises AssertionError where the answer to a text is not sound."""
    found = answer(text, name)
    assert found.made or found.problems
    for problem in found.problems:
        sound(problem)


def survive(texts: Mapping[str, str], seed: int, count: int) -> None:
    rng = random.Random(seed)
    for number in range(count):
        name = corpus.one(texts, rng)
        text = mutant(texts[name], rng)
        try:
            tried(name, text)
        except Exception as error:
            print(text)
            raise AssertionError(f"mutant {number} of seed {seed}, of {name}") from error


@pytest.mark.parametrize("seed", range(8))
def test_mutants_build_or_are_answered(seed: int) -> None:
    survive(corpus.sliced(), seed, 60)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 200))
def test_many_mutants_build_or_are_answered(seed: int) -> None:
    survive(corpus.whole(), seed, 200)
