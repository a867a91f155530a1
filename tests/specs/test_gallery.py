"""The gallery: each spec fits a page, says its source, and proves itself in seconds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dln.cli import main
from dln.reading.facts import facts_of
from dln.spec import gallery

PAGE = 60  # lines, without comments
SECONDS = ("pinn", "crf", "bidirectional")  # run in every test run; others take some seconds


def text(name: str) -> str:
    return gallery()[name].read_text(encoding="utf-8")


@pytest.mark.parametrize("name", gallery())
def test_it_fits_a_page_and_says_its_source(name: str) -> None:
    lines = [line for line in text(name).splitlines() if line.strip() and line.strip()[0] != "#"]
    assert len(lines) < PAGE and max(map(len, lines)) <= 100
    facts = facts_of(gallery()[name])
    assert facts.title and facts.source and "# Beyond the lecture." in text(name)
    assert "check " in text(name), "a spec says what it shows"


def run(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    with pytest.raises(SystemExit) as left:
        main(["run", name, "--json", "--quiet", "--out", str(folder / name)])
    printed = capsys.readouterr()
    assert left.value.code == 0, printed.out + printed.err
    return json.loads(printed.out)


@pytest.mark.parametrize("name", SECONDS)
def test_it_proves_itself(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = run(name, tmp_path, capsys)
    assert {c["status"] for c in data["checks"]} == {"passed"}


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in gallery() if name not in SECONDS])
def test_each_proves_itself(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    test_it_proves_itself(name, tmp_path, capsys)
