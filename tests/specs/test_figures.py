"""The published figures: `dln run` on every shipped spec, which tests them itself.

What takes minutes is marked slow; `pytest --slow` runs it with all that the spec calls slow.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dln.cli import main
from dln.spec import LIBRARIES, shipped

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
    """What `dln run NAME --json` prints, and its messages; it must leave with 0."""
    with pytest.raises(SystemExit) as left:
        main(["run", name, "--json", "--quiet", "--out", str(folder / name), *options])
    printed = capsys.readouterr()
    data = json.loads(printed.out)
    failed = [c for c in data.get("checks", ()) if c["status"] == "failed"]
    assert left.value.code == 0, failed or printed.err
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
    "name", [*SLOW, "baselines", "lenet5", "sparse_autoencoder", "stacked_autoencoder", "tour"]
)
def test_the_full_recipe(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, _ = run(name, tmp_path, capsys, "--slow")
    assert {c["status"] for c in data["checks"]} == {"passed"}


@pytest.mark.slow
@pytest.mark.parametrize("sweep", ["width", "slower", "length", "longest"])
def test_stutz_tables(
    sweep: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both of his tables, run by run; the widest nets hang on the seed and are not asserted."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        main(["sweep", "mlp", sweep, "--json", "--quiet"])
    assert left.value.code == 0, capsys.readouterr().out


def test_every_shipped_spec_is_run_here() -> None:
    assert sorted(QUICK + SLOW + LONG) == [name for name in shipped() if name not in LIBRARIES]
