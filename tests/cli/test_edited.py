"""Directories of runs and sweeps that were edited: every command that reads one says what does not
fit, and changes nothing of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load

Edit = Callable[[Path, Path], object]
"""Something done to a run directory; the other is of another run of the same spec."""


def changed(name: str, old: str, new: str) -> Edit:
    """A file with another text in it."""

    def edit(run: Path, _: Path) -> None:
        text = (run / name).read_text()
        assert old in text
        (run / name).write_text(text.replace(old, new, 1))

    return edit


def swapped(name: str) -> Edit:
    """A file of the other run in place of its own."""
    return lambda run, other: shutil.copy(sorted(other.glob(name))[-1], sorted(run.glob(name))[-1])


def gone(name: str) -> Edit:
    """A file, or the newest of several, removed."""
    return lambda run, _: sorted(run.glob(name))[-1].unlink()


def lines(keep: Callable[[list[str]], list[str]]) -> Edit:
    """The log with other lines."""

    def edit(run: Path, _: Path) -> None:
        log = run / "log.jsonl"
        log.write_text("".join(keep(log.read_text().splitlines(keepends=True))))

    return edit


def flipped(run: Path, _: Path) -> None:
    """A bit of the newest checkpoint."""
    newest = sorted(run.glob("checkpoints/update-*"))[-1]
    data = bytearray(newest.read_bytes())
    data[-1] ^= 1
    newest.write_bytes(data)


def renumbered(run: Path, _: Path) -> None:
    newest = sorted(run.glob("checkpoints/update-*"))[-1]
    newest.rename(newest.with_name("update-000009999.safetensors"))


EDITS: dict[str, tuple[Edit, str]] = {
    "spec": (changed("spec.dln", "0.01", "0.02"), "spec.dln has been changed"),
    "resolved": (changed("resolved.dln", "batch", "batch  "), "resolved.dln has been changed"),
    "manifest": (changed("manifest.json", '"seed": 3', '"seed": 4'), "manifest.json has been chan"),
    "no spec": (gone("spec.dln"), "spec.dln is missing"),
    "no resolved": (gone("resolved.dln"), "resolved.dln is missing"),
    "no manifest": (gone("manifest.json"), "manifest.json is missing"),
    "no log": (gone("log.jsonl"), "log.jsonl is missing"),
    "a value": (changed("log.jsonl", '"error": ', '"error": 1'), "log.jsonl, line"),
    "a time": (changed("log.jsonl", '"seconds": ', '"seconds": -'), "log.jsonl, line"),
    "an option": (changed("log.jsonl", '"epochs": null', '"epochs": 7'), "log.jsonl, line 1 "),
    "no end of the log": (lines(lambda found: found[:-6]), "log.jsonl"),
    "a line less": (lines(lambda found: found[:4] + found[5:]), "log.jsonl, line 5 "),
    "two lines turned": (lines(lambda f: [*f[:3], f[4], f[3], *f[5:]]), "log.jsonl, line 4 "),
    "a line more": (lines(lambda found: [*found, found[-1]]), "log.jsonl, line"),
    "another's manifest": (swapped("manifest.json"), "manifest.json has been changed"),
    "another's log": (swapped("log.jsonl"), "has been changed"),
    "another's checkpoint": (swapped("checkpoints/update-*"), "log.jsonl does not tell of"),
    "no newest": (gone("checkpoints/update-*"), "no checkpoint is left of the end of again"),
    "another number": (renumbered, "update-000009999.safetensors was saved as update-000000123"),
}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what several tests begin with."""
    return tmp_path_factory.mktemp("edited")


@pytest.fixture
def runs(dln: Any, line: Path, kept: Path) -> tuple[Path, Path]:
    """Two runs of a spec, the other with another seed and fewer epochs."""
    if not (kept / "line.dln").exists():
        shutil.copy(line, kept)
        words = ("run", kept / "line.dln", "--slow", "-q", "-D", "wide=1")
        assert dln(*words, "--seed", 3, "--out", kept / "one").code == 0
        assert dln(*words, "--seed", 4, "--epochs", 59, "--out", kept / "other").code != 2
    for name in ("one", "other"):
        shutil.copytree(kept / name, name)
    return Path("one"), Path("other")


@pytest.mark.parametrize("name", EDITS)
def test_an_edited_run_is_refused(dln: Any, runs: tuple[Path, Path], name: str) -> None:
    (run, other), (edit, said) = runs, EDITS[name]
    edit(run, other)
    before = contents(run)
    for words in (
        ("run", "--resume", run), ("task", run, "weights"),
        ("results", "--specs", ".", "--take", run),
    ):  # fmt: skip
        got = dln(*words)
        assert got.code == 2 and said in got.err, (words, got.err)
        assert contents(run) == before, words


def test_of_a_damaged_checkpoint_a_run_goes_on_and_says_so(dln: Any, runs: Any) -> None:
    """What it then computes is what the unbroken one has; who takes what is there is refused."""
    run, _ = runs
    whole = load(sorted(run.glob("checkpoints/update-*"))[-1].read_bytes())
    flipped(*runs)
    for words in (("task", run, "weights"), ("results", "--specs", ".", "--take", run)):
        got = dln(*words)
        assert got.code == 2 and "the hash of tensor" in got.err
    got = dln("run", "--resume", run)
    assert got.code == 0 and "is damaged: the hash of tensor" in got.err
    assert "going on from an earlier one" in got.err
    again = load(sorted(run.glob("checkpoints/update-*"))[-1].read_bytes())
    assert again.keys() == whole.keys()
    assert all(np.array_equal(again[name], array) for name, array in whole.items())


def test_an_edited_sweep_is_refused(dln: Any, line: Path) -> None:
    dln("sweep", line, "-q", "--jobs", 1, "--out", "there")
    for name, old, new in (
        ("sweep.json", '"fit.error": ', '"fit.error": 1'),
        ("sweep.json", '"seed": 0', '"seed": 1'),
        ("sweep.json", '"seconds": ', '"seconds": -'),
        ("spec.dln", "0.01", "0.02"),
        ("machine.json", '"python": "3', '"python": "2'),
    ):
        folder = Path("copy")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree("there", folder)
        changed(name, old, new)(folder, folder)
        before = contents(folder)
        for words in (
            ("sweep", line, "--resume", folder),
            ("results", "--specs", ".", "--take", folder),
        ):
            got = dln(*words)
            assert got.code == 2 and name in got.err and "changed" in got.err, (words, got.err)
            assert contents(folder) == before
    data = json.loads(Path("there/sweep.json").read_text())
    assert len(data["sum"]) == 64
