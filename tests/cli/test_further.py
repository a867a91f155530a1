"""`--resume` with other options or another text: it goes on, or is refused with what differs.

The oracle is the unbroken run, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trials.stopping import next_runs

from dln.runtime.checkpoint import checkpoint

SPEC = """# noise, an optimiser with states, watches of every kind
const n = 4
const rate = 0.1
data d = synthetic("gaussians", 2, 2, 30) {
  x[2] = raw.x
  label: class(2) = raw.label
  split fit 20, valid 10
}
let net = dense(2)
train fit on d.fit batch 6 for n epochs {
  z = net(dropout(x, 0.2))
  minimize cross_entropy(z, label) over net with adam(lr = rate)
  watch e = cross_entropy(net(x), label) on d.valid every 1 epoch
  watch third = cross_entropy(z, label) every 3 updates
  watch whole = cross_entropy(z, label)
  watch late = cross_entropy(net(x), label) on d.valid
  checkpoint best by e
  expect updates == 4 * n
}
check "it learns" {
  expect fit.after(net.b) != [0, 0]
}
"""
TWO = SPEC + (
    "train again on d.fit batch 6 for 2 epochs after fit {\n"
    "  minimize cross_entropy(net(x), label) over net with sgd(lr = rate)\n}\n"
)
PROGRESS = SPEC.replace("lr = rate", "lr = rate * (1 - progress)")


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    def write(text: str = SPEC) -> None:
        (tmp_path / "a.dln").write_text(text, encoding="utf-8")

    write()
    monkeypatch.chdir(tmp_path)
    return write


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Ends the next runs after so many looks, as Ctrl-C would."""
    return next_runs(monkeypatch)


def newest(folder: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    path = sorted((Path(folder) / "checkpoints").glob("update-*"))[-1]
    return checkpoint.load(path)


def same(one: str, other: str) -> None:
    """Parameters, states, what checks ask for, counts and every report."""
    (a, at), (b, bt) = newest(one), newest(other)
    assert a.keys() == b.keys()
    for key in a:
        np.testing.assert_array_equal(a[key], b[key], err_msg=key)
    assert at["updates"] == bt["updates"]
    for name, facts in at["results"].items():
        for key in ("epochs", "updates", "watch", "history", "complete", "best", "note"):
            assert facts[key] == bt["results"][name][key], key


MORE = [("--epochs", "7"), ("-D", "n=7")]


@pytest.mark.parametrize("words", [*MORE, ()])
def test_a_run_that_has_ended_goes_on_as_one_longer_run(
    dln: Callable[..., Any], spec: Callable[..., Any], words: tuple[Any, ...]
) -> None:
    assert dln("run", "a.dln", "-q", "--out", "r").code == 0
    if not words:
        spec(SPEC.replace("const n = 4", "const n = 7\n").replace("# noise", "# more noise"))
    got = dln("run", "a.dln", "--resume", "r", *words, "--json")
    assert got.data["phases"]["fit"]["epochs"] == 7 and "from update 16" in got.err
    assert [c["status"] for c in got.data["checks"]].count("failed") == (words == MORE[0])
    dln("run", "a.dln", "-q", "--out", "whole", *words)
    same("r", "whole")
    again = dln("run", "--resume", "r", "--json")  # the new length is remembered
    assert again.data["phases"]["fit"]["epochs"] == 7 and "from update" not in again.err


@pytest.mark.parametrize(("words", "looks"), [(MORE[0], 2), (MORE[1], 13)])
def test_an_interrupted_run_may_be_made_longer(
    dln: Callable[..., Any],
    spec: Callable[..., Any],
    stopped: Callable[..., Any],
    words: tuple[Any, ...],
    looks: int,
) -> None:
    stopped(looks)
    assert dln("run", "a.dln", "-q", "--out", "r").code == 130
    stopped(10**6)
    assert dln("run", "a.dln", "--resume", "r", "-q", *words).code in (0, 1)
    dln("run", "a.dln", "-q", "--out", "whole", *words)
    same("r", "whole")


def test_longer_and_interrupted_and_longer(
    dln: Callable[..., Any], spec: Callable[..., Any], stopped: Callable[..., Any]
) -> None:
    dln("run", "a.dln", "-q", "--out", "r", "--epochs", "1")
    stopped(5)
    assert dln("run", "--resume", "r", "-q", "--epochs", "3").code == 130
    stopped(10**6)
    dln("run", "--resume", "r", "-q", "--epochs", "5")
    dln("run", "a.dln", "-q", "--out", "whole", "--epochs", "5")
    same("r", "whole")


def test_updates_and_seconds(dln: Callable[..., Any], spec: Callable[..., Any]) -> None:
    for unit, was, now in [("updates", "5", "9"), ("seconds", "0", "1")]:
        spec(SPEC.replace("n epochs", f"{was} {unit}").replace("  expect updates == 4 * n\n", ""))
        dln("run", "a.dln", "-q", "--out", unit)
        spec(SPEC.replace("n epochs", f"{now} {unit}").replace("  expect updates == 4 * n\n", ""))
        if unit == "updates":
            dln("run", "a.dln", "-q", "--resume", unit)
            dln("run", "a.dln", "-q", "--out", "whole")
            same(unit, "whole")
        else:
            got = dln("run", "a.dln", "--resume", unit, "--json")
            assert got.data["phases"]["fit"]["updates"] > 0


def test_fewer_epochs_than_are_done(dln: Callable[..., Any], spec: Callable[..., Any]) -> None:
    dln("run", "a.dln", "-q", "--out", "r")
    before = newest("r")[0]
    got = dln("run", "a.dln", "--resume", "r", "--epochs", "2")
    assert got.code == 0
    said = "note: fit: nothing to do, 2 epochs asked for, 4 epochs are done"
    assert said in got.err and said in got.out
    assert all(np.array_equal(a, before[k]) for k, a in newest("r")[0].items())


def test_a_phase_that_ended_by_itself_does_not_go_on(
    dln: Callable[..., Any], spec: Callable[..., Any]
) -> None:
    """Nor where it did so at its very last update."""
    for k, update in [(0, 4), (3, 16)]:
        rule = f"  until e > 0 and epoch > {k}\n"
        spec(SPEC.replace("  checkpoint best by e\n  expect updates == 4 * n\n", rule))
        dln("run", "a.dln", "-q", "--out", f"r{k}")
        got = dln("run", "a.dln", "--resume", f"r{k}", "--epochs", "8")
        assert got.code == 0 and f"ended by itself at update {update} (until)" in got.err
        dln("run", "a.dln", "-q", "--out", f"whole{k}", "--epochs", "8")
        same(f"r{k}", f"whole{k}")


def test_progress_is_said_to_be_of_two_lengths(
    dln: Callable[..., Any], spec: Callable[..., Any]
) -> None:
    spec(PROGRESS)
    dln("run", "a.dln", "-q", "--out", "r")
    got = dln("run", "a.dln", "--resume", "r", "-D", "n=8", "--json")
    said = (
        "fit reads progress: its first 16 updates went by that of 4 epochs, the others by that of "
        "8 epochs; an unbroken run of 8 epochs gives other numbers"
    )
    assert got.code == 0 and f"note: {said}" in got.err
    assert got.data["phases"]["fit"]["note"] == said
    again = dln("run", "--resume", "r")
    assert f"note: {said}" in again.out


def test_only_the_last_phase_goes_on(dln: Callable[..., Any], spec: Callable[..., Any]) -> None:
    spec(TWO)
    dln("run", "a.dln", "-q", "--out", "r")
    got = dln("run", "a.dln", "--resume", "r", "-D", "n=6")
    assert got.code == 2 and "fit is to go on for 6 epochs, not 4 epochs, but again came" in got.err
    spec(TWO.replace("for 2 epochs", "for 5 epochs"))
    assert dln("run", "a.dln", "--resume", "r", "-q").code == 0
    dln("run", "a.dln", "-q", "--out", "whole")
    same("r", "whole")


def test_what_decides_no_number_may_change(
    dln: Callable[..., Any], spec: Callable[..., Any]
) -> None:
    dln("run", "a.dln", "-q", "--out", "r")
    text = SPEC.replace('check "it learns"', 'check "it has learnt"') + (
        "task show() {\n  emit net.b\n}\n"
    )
    spec("# another head\n\n" + text.replace("  z = net", "    z = net"))
    got = dln("run", "a.dln", "--resume", "r")
    assert got.code == 0 and "it has learnt" in got.out and "show: [" in got.out
    assert Path("r/spec.dln").read_text().startswith("# another head")


REFUSED = [
    (
        ("--seed", "3", "--dtype", "float64", "--limit", "5", "--data", "d=x.csv"),
        (
            "--seed is 3, was 0; --dtype is float64, was that of the spec; "
            "--limit is 5, was all examples; --data d is x.csv, was the file of the spec"
        ),
    ),
    (("-D", "rate=0.5", "-D", "n=8"), "n is 8, was 4\n  = rate is 0.5, was 0.1"),
    (("--out", "elsewhere"), "--out elsewhere, but a run goes on in its own directory"),
]
CHANGED = [
    ("batch 6", "batch 5", 'line 10 is "train fit on d.fit batch 5 for n epochs {", was "tr'),
    ("30)", "30, seed = 2)", "line 4 is"),
    ("every 3 updates", "every 4 updates", "line 14 is"),
]


def test_a_new_check_of_what_was_not_kept_is_not_run(
    dln: Callable[..., Any], spec: Callable[..., Any]
) -> None:
    """Nobody asked for the first values when the phase began."""
    plain = SPEC.partition("check ")[0]
    spec(plain)
    assert dln("run", "a.dln", "-q", "--out", "r").code == 0
    spec(plain + 'check "it began at 0" {\n  expect fit.before(net.b) == [0, 0]\n}\n')
    got = dln("run", "a.dln", "--resume", "r", "--json")
    (found,) = [c for c in got.data["checks"] if c["text"] == "it began at 0"]
    reason = "fit was trained before this was asked of it: train it anew"
    assert (got.code, found["status"], found["reason"]) == (0, "not run", reason)
    again = dln("run", "a.dln", "--out", "anew", "--json")
    assert [c["status"] for c in again.data["checks"]] == ["passed", "passed"]


def test_what_does_not_fit_is_refused_with_both_values(
    dln: Callable[..., Any], spec: Callable[..., Any]
) -> None:
    dln("run", "a.dln", "-q", "--out", "r")
    for words, said in REFUSED:
        got = dln("run", "a.dln", "--resume", "r", *words)
        assert got.code == 2 and "error[E544]: r cannot go on" in got.err and said in got.err
    for old, new, said in CHANGED:
        spec(SPEC.replace(old, new))
        got = dln("run", "a.dln", "--resume", "r")
        assert got.code == 2 and "E544" in got.err and said in got.err


def test_a_constant_in_the_equations_and_the_length(
    dln: Callable[..., Any], spec: Callable[..., Any]
) -> None:
    spec(SPEC.replace("lr = rate", "lr = rate / n"))
    dln("run", "a.dln", "-q", "--out", "r")
    got = dln("run", "a.dln", "--resume", "r", "-D", "n=8")
    assert got.code == 2 and "n is 8, was 4" in got.err
    assert dln("run", "a.dln", "--resume", "r", "--epochs", "8", "-q").code in (0, 1)


def test_options_that_say_the_same_are_no_difference(
    dln: Callable[..., Any], spec: Callable[..., Any]
) -> None:
    words = ("--seed", "3", "--limit", "9", "--dtype", "float64", "-D", "rate=0.2")
    dln("run", "a.dln", "-q", "--out", "r", *words, "--epochs", "2")
    got = dln("run", "a.dln", "--resume", "r", *words, "--epochs", "3", "--json")
    assert got.data["phases"]["fit"]["epochs"] == 3
    got = dln("run", "a.dln", "--resume", "r", "-D", "n=5", "--json")
    assert "--epochs 3 of before no longer counts" in got.err
    assert got.data["phases"]["fit"]["epochs"] == 5


def test_other_threads_are_said(dln: Callable[..., Any], spec: Callable[..., Any]) -> None:
    dln("run", "a.dln", "-q", "--out", "r", "--threads", "1")
    got = dln("run", "a.dln", "--resume", "r", "--threads", "2")
    assert got.code == 0 and "threads: 2, were 1" in got.err


SWEEP = SPEC + "sweep s {\n  vary rate in [0.1, 0.2]\n  report fit.e\n}\n"


def test_a_sweep_refuses_other_settings(dln: Callable[..., Any], spec: Callable[..., Any]) -> None:
    spec(SWEEP)
    first = ("sweep", "a.dln", "-q", "--jobs", "1", "--out", "s", "--threads", "1")
    assert dln(*first).code == 0
    for words, said in [
        (("--epochs", "8"), "epochs is 8, was not given"),
        (("-D", "n=8"), "constants is {'n': 8}, was {}"),
        (("--seed", "1"), "seed is 1, was 0"),
        (("--limit", "9"), "limit is 9, was not given"),
        (("--out", "x"), "--out x, but a sweep goes on in its own directory"),
    ]:
        got = dln("sweep", "a.dln", "--resume", "s", *words)
        assert got.code == 2 and said in got.err
    assert dln("sweep", "a.dln", "--resume", "s", "--seed", "0", "--jobs", "1").code == 0


def test_a_sweep_of_another_text_names_the_line(
    dln: Callable[..., Any], spec: Callable[..., Any]
) -> None:
    spec(SWEEP)
    dln("sweep", "a.dln", "-q", "--jobs", "1", "--out", "s")
    spec(SWEEP.replace("const n = 4", "const n = 5"))
    got = dln("sweep", "a.dln", "--resume", "s")
    assert got.code == 2 and 'line 2 is "const n = 5", was "const n = 4"' in got.err
