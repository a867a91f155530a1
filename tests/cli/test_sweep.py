"""dln sweep: the same rows whatever runs them, kept on the way, in a table and in pictures."""

import csv
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dln.printing.terminal import plain
from dln.running.verdict import Verdict
from dln.spec import load
from dln.sweep import workers
from dln.sweep.plot import panels, references
from dln.sweep.row import Row

side_by_side = pytest.mark.skipif(find_spec("joblib") is None, reason="needs joblib")
drawn = pytest.mark.skipif(find_spec("matplotlib") is None, reason="needs matplotlib")


def rows_of(outcome: Any) -> list[Any]:
    return outcome.data["sweeps"]["rates"]


def measured(rows: list[Any]) -> list[Any]:
    """All of a row but its time."""
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def test_a_row_for_each_combination(dln: Callable[..., Any], line: Path) -> None:
    got = dln("sweep", line, "rates", "--jobs", 1)
    assert got.code == 0, got.err
    rows = [x.split() for x in got.out.splitlines()]
    assert rows[0] == ["rate", "seed", "fit.error", "params(line)"]
    assert [r[:2] for r in rows[1:5]] == [["0.05", "1"], ["0.05", "2"], ["0.1", "1"], ["0.1", "2"]]
    assert all(r[-1] == "passed" for r in rows[1:5])
    assert "4 passed\nsweep directory: runs/line-sweep-1\n" in got.out


def test_as_json(dln: Callable[..., Any], line: Path) -> None:
    data = dln("sweep", line, "--json", "-q", "--jobs", 1).data
    rows = data["sweeps"]["rates"]
    assert [r["constants"]["rate"] for r in rows] == [0.05, 0.05, 0.1, 0.1]
    assert all(r["reports"]["params(line)"] == 2 for r in rows)
    assert rows[0]["checks"][0]["status"] == "passed"
    assert rows[0]["reports"]["fit.error"] != rows[2]["reports"]["fit.error"]
    assert data["sweep_dir"] == "runs/line-sweep-1"


def test_cut_short_it_does_not_claim(dln: Callable[..., Any], line: Path) -> None:
    got = dln("sweep", line, "--epochs", "1", "--jobs", 1)
    assert got.code == 0 and "4 not run\n" in got.out


@side_by_side
def test_the_same_bits_whatever_number_of_processes(dln: Callable[..., Any], line: Path) -> None:
    one = dln("sweep", line, "--json", "-q", "--threads", 1, "--jobs", 1)
    two = dln("sweep", line, "--json", "--threads", 1, "--jobs", 2)
    assert measured(rows_of(one)) == measured(rows_of(two))
    assert "4 runs, 2 side by side with one thread each" in two.err


def test_without_joblib_one_after_another(
    dln: Callable[..., Any], line: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "available", lambda: False)
    got = dln("sweep", line)
    assert got.code == 0
    assert "pip install 'dln[sweep]' to run them side by side" in got.err


# ---- what goes wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=side_by_side)])
def test_a_run_that_breaks_off_is_named_and_the_others_go_on(
    dln: Callable[..., Any], line: Path, jobs: int
) -> None:
    line.write_text(line.read_text().replace("rate in [0.05, 0.1]", "rate in [0.05, 1e20, 0.1]"))
    got = dln("sweep", line, "--jobs", jobs, "--out", "there")
    assert got.code == 1
    assert "with rate = 1e+20, seed = 1:\nerror[E" in got.err
    assert "2 runs broke off" in got.out and "4 passed" in got.out
    rows = json.loads(Path("there/sweep.json").read_text())["sweeps"]["rates"]
    assert [bool(r.get("problems")) for r in rows] == [False, False, True, True, False, False]


SLOW = """# One quick run, then one that takes for ever.
const length = 1
data points = rows([[0, 1], [1, 3]]) {
  x[1] = raw[:1]
  t[1] = raw[1:]
}
let line = dense(1)
train fit on points.all batch all for length epochs {
  minimize sum((line(x) - t)^2) over line with sgd(lr = 0.0001)
}
sweep lengths {
  vary length in [2, 1000000000]
  report fit.updates
}
"""


@pytest.mark.parametrize(
    ("jobs", "sent"),
    [(1, signal.SIGINT), pytest.param(2, signal.SIGINT, marks=side_by_side),
     pytest.param(2, signal.SIGTERM, marks=side_by_side)],
)  # fmt: skip
def test_interrupted_it_keeps_what_is_done(tmp_path: Path, jobs: int, sent: Any) -> None:
    (tmp_path / "slow.dln").write_text(SLOW)
    words = ["sweep", "slow.dln", "--out", "there", "--jobs", str(jobs)]
    process = subprocess.Popen(
        [sys.executable, "-m", "dln", *words], cwd=tmp_path, text=True, stderr=subprocess.PIPE,
        stdout=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    kept = tmp_path / "there" / "sweep.json"
    waited = time.monotonic() + 60
    while time.monotonic() < waited and '"reports"' not in (
        kept.exists() and kept.read_text() or ""
    ):
        time.sleep(0.05)
    time.sleep(1)
    process.send_signal(sent)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "interrupted; go on with: dln sweep slow.dln --resume there" in err
    [row] = json.loads(kept.read_text())["sweeps"]["lengths"]
    assert row["constants"] == {"length": 2} and row["reports"] == {"fit.updates": 2}
    assert "1 of them" not in out and len((tmp_path / "there/table.csv").read_text().split()) == 2


# ---- going on ------------------------------------------------------------------------------------


def test_resumed_it_runs_only_what_is_left(dln: Callable[..., Any], line: Path) -> None:
    whole = dln("sweep", line, "--json", "-q", "--jobs", 1, "--threads", 1, "--out", "there")
    path = Path("there/sweep.json")
    data = json.loads(path.read_text())
    del data["sweeps"]["rates"][1]
    data["sweeps"]["rates"][0]["reports"]["fit.error"] = 0.5  # it is not worked out again
    said = json.dumps({k: v for k, v in data.items() if k != "sum"}, sort_keys=True)
    path.write_text(json.dumps({**data, "sum": sha256(said.encode()).hexdigest()}))
    got = dln("sweep", line, "--resume", "there", "--json", "--jobs", 1)
    assert "4 runs, 1 of them left" in got.err
    assert rows_of(got)[0]["reports"]["fit.error"] == 0.5
    assert measured(rows_of(got)[1:]) == measured(rows_of(whole)[1:])
    assert len(json.loads(path.read_text())["sweeps"]["rates"]) == 4


def test_runs_that_broke_off_are_run_again(dln: Callable[..., Any], line: Path) -> None:
    good = line.read_text()
    line.write_text(good.replace("rate in [0.05, 0.1]", "rate in [0.05, 1e20]"))
    dln("sweep", line, "-q", "--jobs", 1, "--out", "there")
    got = dln("sweep", line, "--resume", "there", "--jobs", 1)
    assert "4 runs, 2 of them left" in got.err and got.code == 1


def test_what_cannot_be_gone_on_with_is_refused(dln: Callable[..., Any], line: Path) -> None:
    dln("sweep", line, "-q", "--jobs", 1, "--out", "there")
    assert "already holds a sweep" in dln("sweep", line, "--out", "there").err
    assert "holds no sweep" in dln("sweep", line, "--resume", "elsewhere").err
    line.write_text(line.read_text().replace("60 epochs", "61 epochs"))
    got = dln("sweep", line, "--resume", "there")
    assert got.code == 2 and "another text" in got.err
    Path("there/sweep.json").write_text("{")
    assert "is damaged" in dln("sweep", line, "--resume", "there").err


# ---- what it leaves ------------------------------------------------------------------------------


def test_the_table_as_csv(dln: Callable[..., Any], line: Path) -> None:
    got = dln("sweep", line, "--json", "-q", "--jobs", 1, "--out", "there")
    with open("there/table.csv", newline="") as file:
        [head, *rows] = csv.reader(file)
    assert head == ["sweep", "rate", "seed", "fit.error", "params(line)", "seconds", "outcome"]
    assert [float(r[3]) for r in rows] == [r["reports"]["fit.error"] for r in rows_of(got)]
    assert {r[-1] for r in rows} == {"passed"}


@drawn
def test_a_picture_of_each_sweep(dln: Callable[..., Any], line: Path) -> None:
    got = dln("sweep", line, "--json", "-q", "--jobs", 1, "--out", "there")
    assert got.data["plots"] == ["there/rates.png"]
    assert Path("there/rates.png").read_bytes()[:4] == b"\x89PNG"


def test_without_matplotlib_a_line_says_so(
    dln: Callable[..., Any], line: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dln.printing.pictures.available", lambda: False)
    got = dln("sweep", line, "--jobs", 1, "--out", "there")
    assert got.code == 0 and "plots need matplotlib: pip install 'dln[plot]'" in got.err
    assert not list(Path("there").glob("*.png"))


def test_what_is_no_number_comes_back_as_that(line: Path) -> None:
    """Rows that were saved are those that were worked out, for tables and pictures."""
    row = Row({}, {"a": float("nan"), "b": [1, float("-inf")], "c": None, "d": 7})
    again = Row.of_data(json.loads(json.dumps(plain(row.as_data()))))
    assert again.reports["a"] != again.reports["a"] and again.reports["d"] == 7
    assert again.reports["b"] == [1, float("-inf")] and again.reports["c"] is None


def test_means_over_seeds_by_hand(dln: Callable[..., Any], line: Path) -> None:
    got = dln("sweep", line, "--jobs", 1)
    data = json.loads(Path("runs/line-sweep-1/sweep.json").read_text())
    errors = [r["reports"]["fit.error"] for r in data["sweeps"]["rates"]][:2]
    assert f"{np.mean(errors):.6g} ± {np.std(errors, ddof=1):.2g}" in got.out


def test_means_over_folds_by_hand(dln: Callable[..., Any]) -> None:
    Path("cv.dln").write_text("""const k = 0
data d = rows([for i in 1..9: [i]]) {
  x = raw[0]
  split fold[3] shuffled
}
train look on d - d.fold[k] batch all for 1 epoch {
  watch both = [mean(batch: x), max(batch: x)] on d.fold[k]
}
sweep each { vary k in 0..2
  report look.both, look.both[0, 1] }
""")
    got = dln("sweep", "cv.dln", "--jobs", 1, "--json")
    both = np.array([r["reports"]["look.both"] for r in got.data["sweeps"]["each"]])
    assert both[:, 0].mean() == 5 and both.max() == 9  # each example is in one fold
    (means,) = got.data["means"]["each"]
    wanted = {"mean": both[:, 1].mean(), "deviation": both[:, 1].std(ddof=1)}
    assert means["reports"] == {"look.both[0, 1]": pytest.approx(wanted)} and means["runs"] == 3


# ---- what is drawn -------------------------------------------------------------------------------


def row(reports: dict[str, Any], expected: float | None = None, **constants: Any) -> Row:
    verdicts = [Verdict("", "a == want", "passed", expected=expected)] if expected else []
    return Row(constants, reports, verdicts)


def test_points_are_means_over_seeds_with_their_deviation() -> None:
    rows = [row({"a": v}, x=x, seed=s) for x, s, v in [(1, 0, 2.0), (1, 1, 4.0), (2, 0, 5.0)]]
    [panel] = panels(rows, set())
    [curve] = panel.curves
    assert (panel.label, panel.axis) == ("a", "x")
    assert curve.x.tolist() == [1, 2] and curve.y.tolist() == [3, 5]
    assert curve.error is not None and curve.error.tolist() == [pytest.approx(2**0.5), 0]


def test_what_is_expected_is_dashed_and_no_curve_of_its_own() -> None:
    rows = [row({"a": x * 2.0}, expected=x * 2.5, x=x, want=x * 2.5) for x in (1, 2, 3)]
    [panel] = panels(rows, {"want"})
    assert [(c.dashed, c.y.tolist()) for c in panel.curves] == [
        (False, [2, 4, 6]), (True, [2.5, 5, 7.5]),
    ]  # fmt: skip


def test_a_curve_for_each_combination_of_the_others() -> None:
    rows = [row({"a": x * k}, k=k, x=x) for k in (1, 2) for x in (1, 2, 3)]
    [panel] = panels(rows, set())
    assert [(c.label, c.y.tolist()) for c in panel.curves] == [
        ("k = 1", [1, 2, 3]), ("k = 2", [2, 4, 6]),
    ]  # fmt: skip


def test_words_stand_on_the_axis() -> None:
    [panel] = panels([row({"a": 1.0}, gate="and"), row({"a": 2.0}, gate="or")], set())
    assert panel.words == ("and", "or") and panel.curves[0].x.tolist() == [0, 1]


def test_nothing_is_drawn_where_nothing_was_varied_or_reported() -> None:
    assert panels([row({"a": 1.0}, x=1)], set()) == []
    assert panels([row({"a": None}, x=1), row({"a": [1, 2]}, x=2)], set()) == []
    assert panels([], set()) == []


def test_a_published_value_is_known_from_what_no_equation_uses() -> None:
    spec = load("mlp")
    assert references(spec.syntax, spec.model.sweeps["width"].vary) == {"stutz"}


def test_what_a_sweep_varies_is_not_said_from_outside(dln: Callable[..., Any], line: Path) -> None:
    got = dln("sweep", line, "-D", "rate=0.3", "-D", "wide=1", "--seed", 3, "--jobs", 1)
    notes = [text for text in got.err.splitlines() if text.startswith("note:")]
    why = "changes nothing: the sweep has values of its own for it"
    assert got.code == 0 and notes == [f"note: -D rate {why}", f"note: --seed {why}"]
