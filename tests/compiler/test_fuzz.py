"""Mutants of the shipped specs: every text either builds or is answered with a drawn error.

A mutant may mean anything; what it may not do is to raise another exception, to point outside its
text, or to keep the compiler busy.
"""

import random
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import dln.spec as spec
from dln.grammar.diagnostics import DlnError, Problem, Source, render

SECONDS = 2  # of processor time, for one mutant
TEXTS = {p.name: p.read_text() for p in spec.shipped().values()}
# A few networks instead of many say the same and build in a third of the time.
for many in ("vanishing.dln", "char_rnn.dln", "feedforward.dln"):
    TEXTS[many] = TEXTS[many].replace("1..10", "1..2").replace("0..9", "0..1")
FOLDER = next(iter(spec.shipped().values())).parent
TOKEN = re.compile(r'"""(?:.|\n)*?"""|"[^"\n]*"|#[^\n]*|[A-Za-z_]\w*|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?'
                   r"|\.\.|->|:=|\+=|[=!<>]=|\s+|.")  # fmt: skip
NUMBERS = ("0", "1", "2", "3", "5", "0.5", "1.5", "-1", "1e9", "1e400", "100000000", "12345678901")
NAMES = (
    "x y net label raw time batch grad sum norm params shape onehot dense sigmoid sgd adam chain"
    " prob logit binary class concat flatten last scan outer stop softmax nll cross_entropy mean"
    " argmax zeros ones bernoulli normal uniform training length id max update epoch fit valid all"
    " gibbs text glorot pi relu n m W b h seed"
).split(" ")
OPERATORS = tuple("+ - * / @ ^ == != < > <= and or -> .. : , . = ~ in".split(" "))
BITS = "( ) [ ] { } = , ; : ' - not if else for with over [] (1) [1,2] 3 x as total".split(" ")


def mutant(text: str, rng: random.Random) -> str:
    """A text with a few of its names, numbers, operators, tokens or lines changed.

    Most changes keep the kind of the token, so that the mutant parses and its meaning is asked.
    """
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        tokens = TOKEN.findall(text)
        at = [i for i, t in enumerate(tokens) if not t.isspace() and t[0] not in "#{}"]
        if rng.random() < 0.2 or not at:
            text = _lines(text, rng)
            continue
        i, j = rng.choice(at), rng.choice(at)
        if rng.random() < 0.2:
            _tokens(tokens, i, j, rng)
        else:
            tokens[i] = _alike(tokens[i], [tokens[k] for k in at], rng)
        text = "".join(tokens)
    return text


def _alike(token: str, others: list[str], rng: random.Random) -> str:
    """Another token of the same kind: a name, a number, a text, an operator."""
    if token.isidentifier():
        pool = NAMES if rng.random() < 0.4 else [t for t in others if t.isidentifier()]
        return rng.choice(pool) if rng.random() < 0.9 else token[:-1] + "q"
    if token[0].isdigit():
        return rng.choice([*NUMBERS, *rng.choices(NAMES, k=3)])
    if token in OPERATORS:
        return rng.choice(OPERATORS)
    return rng.choice(others)


def _tokens(tokens: list[str], i: int, j: int, rng: random.Random) -> None:
    match rng.randrange(4):
        case 0:
            tokens[i] = ""
        case 1:
            tokens[i] += " " + tokens[i]
        case 2:
            tokens[i], tokens[j] = tokens[j], tokens[i]
        case _:
            tokens.insert(i, rng.choice(BITS) + " ")


def _lines(text: str, rng: random.Random) -> str:
    lines = text.splitlines(keepends=True)
    if not lines:
        return text
    i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
    match rng.randrange(3):
        case 0:
            lines[i], lines[j] = lines[j], lines[i]
        case 1:
            lines.insert(i, lines[j])
        case _:
            del lines[i]
    return "".join(lines)


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    """Stops what takes too much processor time."""

    def late(*_: object) -> None:
        raise TimeoutError(f"more than {seconds} s")

    old = signal.signal(signal.SIGVTALRM, late)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, old)


def sound(problem: Problem) -> None:
    """A problem says something, at places that exist, and can be drawn."""
    assert problem.message
    assert problem.code not in ("E299", "E999")  # the words of the compiler to itself
    for span in [problem.span, *(n.span for n in problem.notes)]:
        assert span is None or 0 <= span.start <= span.stop <= len(span.source.text)
    assert "object at 0x" not in render(problem)


def tried(name: str, text: str) -> list[str]:
    """The codes of what is wrong with a text; AssertionError where the answer is not sound."""
    try:
        with limited(SECONDS):
            spec.from_source(Source(str(FOLDER / name), text), Path(name).stem)
    except DlnError as error:
        assert error.problems
        for problem in error.problems:
            sound(problem)
        return [p.code for p in error.problems]
    return []


def survive(seed: int, count: int) -> None:
    rng = random.Random(seed)
    for number in range(count):
        name = rng.choice(sorted(TEXTS))
        text = mutant(TEXTS[name], rng)
        try:
            tried(name, text)
        except Exception as error:
            print(text)
            raise AssertionError(f"mutant {number} of seed {seed}, of {name}") from error


@pytest.mark.parametrize("seed", range(15))
def test_mutants_build_or_are_answered(seed: int) -> None:
    survive(seed, 60)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 200))
def test_many_mutants_build_or_are_answered(seed: int) -> None:
    survive(seed, 200)
