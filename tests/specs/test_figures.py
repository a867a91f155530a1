"""The published figures: `dln run` on every shipped spec, which tests them itself.

What is expected is what docs/results records: the figures that are met there must be met, those
that are missed there must be missed, so a new miss fails, and so does one that is met at last.
What takes minutes is marked slow; `pytest --slow` runs it with all that the spec calls slow.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dln.cli import main
from dln.printing.terminal import Terminal
from dln.results.records import read
from dln.settings import Settings
from dln.spec import LIBRARIES, lecture, load
from dln.sweep.row import run_one

RECORDS = Path(__file__).parents[2] / "docs" / "results"

QUICK = (
    "activations", "adding1997", "backprop", "convolution", "dbn_updown", "hello",
    "lenet5_by_hand", "lstm_variants", "min_char_rnn", "mlp", "perceptron", "rnn_modes",
    "sparse_autoencoder", "tour", "unfolding",
)  # fmt: skip
SLOW = ("softmax", "vanishing")
LONG = (  # up to minutes, without what the spec calls slow
    "autoencoder", "baselines", "char_rnn", "dbn", "dbn_finetuned", "feedforward", "lenet5",
    "long_lag", "rbm", "stacked_autoencoder", "stacked_denoising",
)  # fmt: skip


def run(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str], *options: str
) -> tuple[Any, str]:
    """What `dln run NAME --json` prints, and its messages; it must miss what is recorded as missed,
    and nothing else."""
    with pytest.raises(SystemExit) as left:
        main(["run", name, "--json", "--quiet", "--out", str(folder / name), *options])
    printed = capsys.readouterr()
    data = json.loads(printed.out)
    assert "checks" in data, printed.err
    assert read(RECORDS, name).changes(data) == []
    failed = any(c["status"] == "failed" for c in data["checks"])
    assert left.value.code == (1 if failed else 0), printed.err
    return data, printed.err


@pytest.mark.parametrize("name", QUICK)
def test_the_figures(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, _ = run(name, tmp_path, capsys)
    assert data["checks"], "a spec says what it shows"
    skipped = [c for c in data["checks"] if c["status"] == "not run"]
    assert all(c["reason"].startswith("slow") for c in skipped), skipped


@pytest.mark.slow
@pytest.mark.parametrize("name", LONG)
def test_the_figures_that_take_minutes(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    test_the_figures(name, tmp_path, capsys)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        *SLOW,
        "adding1997",
        "baselines",
        "lenet5",
        "sparse_autoencoder",
        "stacked_autoencoder",
        "tour",
    ],
)
def test_the_full_recipe(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, _ = run(name, tmp_path, capsys, "--slow")
    assert "not run" not in {c["status"] for c in data["checks"]}


@pytest.mark.slow
@pytest.mark.parametrize("sweep", ["width", "slower", "length", "longest"])
def test_stutz_tables(sweep: str) -> None:
    """Both of his tables, in the order of images that the spec has."""
    spec, path = load("mlp"), lecture()["mlp"]
    own = spec.constants["order_seed"]
    runs = [r for r in spec.model.sweeps[sweep].runs if r["order_seed"] == own]
    rows = [run_one(Terminal(quiet=True), path, sweep, dict(r), Settings()) for r in runs]
    assert runs and not any(r.problems for r in rows)
    assert [c for r in rows for c in read(RECORDS, "mlp").changes(r.as_data(), sweep)] == []


def test_every_shipped_spec_is_run_here() -> None:
    assert sorted(QUICK + SLOW + LONG) == [name for name in lecture() if name not in LIBRARIES]
