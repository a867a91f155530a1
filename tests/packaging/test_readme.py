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


@pytest.mark.parametrize("layer", ["grammar", "runtime"])
def test_every_file_of_a_layer_is_on_its_page(layer: str) -> None:
    words = set(re.findall(r"\w+", (ROOT / layer / "README.md").read_text(encoding="utf-8")))
    assert not {p.stem for p in (ROOT / layer).rglob("*.py")} - words - {"__init__"}


@pytest.mark.parametrize("layer", ["compiler", "compiler/frontend", "dln"])
def test_every_room_of_a_layer_is_on_its_page(layer: str) -> None:
    """Its sub-packages and the files that stand beside them."""
    page = ROOT / layer.partition("/")[0] / "README.md"
    words = set(re.findall(r"\w+", page.read_text(encoding="utf-8")))
    there = {p.stem for p in (ROOT / layer).iterdir() if p.is_dir() or p.suffix == ".py"}
    assert not there - words - {"__init__", "__pycache__", "specs"}
