"""Texts and files that nobody wrote, through the parser, the readers and every command.

A text is answered with a tree or with problems that can be drawn, a file with arrays as its header
says or with a fault, a command with 0, 1 or 2 and without a traceback. Nothing else is expected of
them, so there is no telling which answer is right: `tests/messages` and `tests/grammar` do that.

`corpus/` holds inputs that reached something new; `DLN_CORPUS=write pytest --slow tests/fuzzing`
adds those that a run of a minute finds.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from drawing.choices import Choices
from drawing.specs import draw
from guided.growing import Growing, mangled
from guided.sentences import sentence
from mutation.edits import edited

import dln
from dln.cli import carried_out, listed
from dln.grammar.diagnostics import DlnError, Fault, Source, render
from dln.grammar.parser import parse, parse_source
from dln.grammar.printer import to_text
from dln.runtime.readers.readers import DataSource, probe, read

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
SOURCE = Path(dln.__file__).resolve().parent
DEFECTS = ("E299", "E999")  # the words of the compiler to itself
MINUTE = 60.0


def kept(kind: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((CORPUS / kind).iterdir())]


def keep(kind: str, found: list[bytes]) -> None:
    """New inputs go to the corpus, where that is asked for."""
    if os.environ.get("DLN_CORPUS") == "write":
        for data in found:
            (CORPUS / kind / hashlib.sha256(data).hexdigest()[:12]).write_bytes(data)


# ---- the parser --------------------------------------------------------------------------------


def parsed(given: bytes) -> None:
    """A text gives a tree or problems that can be drawn."""
    try:
        parse_source(Source("net.dln", given.decode("utf-8", "replace")))
    except DlnError as error:
        for problem in error.problems:
            assert problem.code not in DEFECTS and problem.message and render(problem)


def edit(given: bytes, rng: random.Random) -> bytes:
    """A slip of a person, a text of the grammar put in, or bytes mangled."""
    text = given.decode("utf-8", "replace")
    chance = rng.random()
    if chance < 0.5:
        made = edited(text, rng)
        return (made.mutant if made else text).encode()
    if chance < 0.6:
        lines = text.splitlines(keepends=True)
        at = rng.randrange(len(lines) + 1)
        return "".join([*lines[:at], sentence(rng, 20), *lines[at:]]).encode()
    return mangled(given, rng)


def parser(seed: int) -> Growing:
    found = Growing(parsed, SOURCE / "grammar", edit, random.Random(seed))
    found.seeded(kept("parser"))
    return found


def test_the_parser_answers_mutants_of_its_corpus() -> None:
    parser(0).run(rounds=30)


@pytest.mark.slow
def test_the_parser_answers_for_a_minute() -> None:
    keep("parser", parser(random.randrange(1 << 30)).run(seconds=MINUTE))


@pytest.mark.parametrize("seed", range(4))
def test_texts_of_the_grammar_are_read_printed_and_read_again(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(20):
        text = sentence(rng, rng.choice((10, 30, 80)))
        module = parse(text)
        assert parse(to_text(module)) == module, text


# ---- the readers -------------------------------------------------------------------------------

KINDS = ("idx", "npz", "table", "text")


def reading(folder: Path) -> Callable[[bytes], None]:
    """The first byte says which reader a file is given to; what it gives is what it announced."""

    def target(given: bytes) -> None:
        if not given:
            return
        kind = KINDS[given[0] % len(KINDS)]
        (folder / "file").write_bytes(given[1:])
        declared = DataSource(kind, ("file",), {"window": 3} if kind == "text" else {}, str(folder))
        try:
            schema = probe(declared)
            arrays = read(declared)
        except (Fault, DlnError) as fault:
            assert str(fault)
            return
        assert arrays.keys() == schema.fields.keys()
        for name, field in schema.fields.items():
            assert arrays[name].shape == (schema.count, *field.shape)

    return target


def readers(seed: int, folder: Path) -> Growing:
    found = Growing(reading(folder), SOURCE / "runtime" / "readers", mangled, random.Random(seed))
    found.seeded(kept("readers"))
    return found


def test_the_readers_answer_mutants_of_their_corpus(tmp_path: Path) -> None:
    readers(0, tmp_path).run(rounds=400)


@pytest.mark.slow
def test_the_readers_answer_for_a_minute(tmp_path: Path) -> None:
    keep("readers", readers(random.randrange(1 << 30), tmp_path).run(seconds=MINUTE))


# ---- every command -----------------------------------------------------------------------------

WORDS: dict[str, list[str]] = {
    "run": ["--epochs", "1", "--limit", "2", "--out", "run"],
    "sweep": ["--epochs", "0", "--limit", "2", "--jobs", "1", "--out", "swept"],
}
# Take no spec, or more than one, or train it in full.
ELSEWHERE = {"results", "task", "verify", "runs", "compare", "apply", "import"}
SMALL = (HERE / "small.dln").read_text()


def commands() -> list[str]:
    return [name for name, _ in listed() if name not in ELSEWHERE]


def every_command(text: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> set[int]:
    """The exit codes of all commands on a text."""
    (folder / "net.dln").write_text(text)
    found = set()
    runs = [[name, "net.dln", *WORDS.get(name, [])] for name in commands()]
    for words in [*runs, ["task", "run", "weights"]]:
        code = carried_out(words)
        printed = capsys.readouterr()
        said = f"{words}\n{text}\n{printed.err}"
        assert code in (0, 1, 2), said
        assert not any(word in printed.err for word in (*DEFECTS, "Traceback")), said
        found.add(code)
    return found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("DLN_DEBUG", "DLN_TARGET", "DLN_VERIFY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def slip(seed: int) -> str:
    rng, text = random.Random(seed), SMALL
    for _ in range(rng.choice((1, 1, 2))):
        made = edited(text, rng)
        text = made.mutant if made else text
    return text


def written(seed: int) -> str:
    """A text of the grammar behind a spec that means something."""
    return SMALL + sentence(random.Random(seed), 30)


def typed(seed: int) -> str:
    """A spec that is drawn with its meaning."""
    return draw(Choices(seed)).text


Draw = Callable[[int], str]
DRAWS: dict[str, Draw] = {"slips": slip, "the grammar": written, "meanings": typed}


def test_the_small_spec_goes_through_every_command(folder: Path, capsys: Any) -> None:
    assert every_command(SMALL, folder, capsys) == {0}


@pytest.mark.parametrize(("kind", "seed"), [(k, s) for k in DRAWS for s in (0, 1)])
def test_every_command_answers(kind: str, seed: int, folder: Path, capsys: Any) -> None:
    every_command(DRAWS[kind](seed), folder, capsys)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 140))
@pytest.mark.parametrize("kind", DRAWS)
def test_every_command_answers_many(kind: str, seed: int, folder: Path, capsys: Any) -> None:
    for n in range(5):
        every_command(DRAWS[kind](1000 * seed + n), folder, capsys)
