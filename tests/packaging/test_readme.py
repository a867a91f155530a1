"""The README's own examples: the spec it opens with, and its two commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import dln
from dln.compiler.stages import STAGES

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_spec_it_opens_with_trains() -> None:
    text = re.findall(r"```\n(.*?)```", README, re.S)[0]
    assert len([line for line in text.splitlines() if line]) <= 15
    session = dln.load(text).compile().session()
    assert session.train("sse", epochs=1, limit=200).updates == 10


def test_it_has_one_command_to_run_and_one_to_test() -> None:
    commands = re.findall(r"^    (python3 -m venv .*)$", README, re.M)
    assert [c.rsplit("/", 1)[1] for c in commands] == ["dln run mlp", "pytest -q"]


@pytest.mark.parametrize("page", ["README.md", "compiler/README.md"])
def test_the_column_of_stages_is_drawn_as_it_runs(page: str) -> None:
    """`a, b -> differentiate -> c`, whatever arrows are made of and wherever lines break."""
    drawn = re.sub(r"[─▶>,\-\s]+", " ", (ROOT / page).read_text(encoding="utf-8"))
    assert " ".join(name for name, _ in STAGES) in drawn


def test_every_file_of_tests_is_on_their_page() -> None:
    page = (ROOT / "tests/README.md").read_text(encoding="utf-8")
    named = {name.rpartition("/")[2] for name in re.findall(r"`([\w/]+\.py)`", page)}
    there = {p.name for p in (ROOT / "tests").rglob("test_*.py")}
    assert not there ^ {name for name in named if name.startswith("test_")}
