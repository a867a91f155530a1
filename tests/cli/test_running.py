"""run, resume, task: commands that train."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dln.runtime.checkpoint import checkpoint


def test_a_run_trains_then_tests_then_says_so(dln: Callable[..., Any], line: Path) -> None:
    got = dln("run", line)
    assert got.code == 0, got.out + got.err
    assert "phase  epochs  updates  seconds  watched" in got.out
    assert "passed   fit.error < 0.01" in got.out and "expected < 0.01" in got.out
    assert "run directory: runs/line-1" in got.out
    assert "fit: 4 examples, minibatches of 2, 120 updates" in got.err


def test_what_only_slow_checks_need_is_left_out(dln: Callable[..., Any], line: Path) -> None:
    got = dln("run", line)
    assert "left out: again (only slow checks ask for it; train with --slow)" in got.out
    assert "not run  again.updates == 3  slow: needs --slow" in got.out
    slow = dln("run", line, "--slow")
    assert slow.code == 0 and "left out" not in slow.out
    assert "passed   again.updates == 3" in slow.out


def test_one_phase_with_what_it_comes_after(dln: Callable[..., Any], line: Path) -> None:
    data = dln("run", line, "--phase", "again", "--json").data
    assert list(data["phases"]) == ["fit", "again"]
    data = dln("run", line, "--phase", "fit", "--json").data
    assert list(data["phases"]) == ["fit"]


def test_the_object_that_json_prints(dln: Callable[..., Any], line: Path) -> None:
    got = dln("run", line, "--json")
    data = got.data
    assert data.keys() >= {"spec", "parameters", "phases", "checks", "run_dir"}
    fit = data["phases"]["fit"]
    assert fit.keys() == {"epochs", "updates", "seconds", "watch", "after"}
    assert (fit["epochs"], fit["updates"]) == (60, 120) and fit["watch"]["error"] < 0.01
    assert {"text", "status", "value", "expected", "within"} <= data["checks"][0].keys()
    assert data["left_out"] == ["again"] and data["run_dir"] == "runs/line-1"
    assert data["tasks"]["weights"][1] == {"file": "runs/line-1/weights.csv"}


def test_a_shortened_run_tests_nothing_that_needs_the_whole(
    dln: Callable[..., Any], line: Path
) -> None:
    checks = dln("run", line, "--epochs", "1", "--json").data["checks"]
    assert [c["status"] for c in checks] == ["passed", "not run", "not run", "not run"]
    assert checks[1]["reason"] == "the phase fit was shortened"
    checks = dln("run", line, "--limit", "2", "--json").data["checks"]
    assert checks[1]["status"] == "not run"


def test_a_failed_check_exits_1(dln: Callable[..., Any], line: Path) -> None:
    got = dln("run", line, "-D", "rate=1e-6", "-q")
    assert got.code == 1 and "failed   fit.error < 0.01" in got.out and got.err == ""


def test_a_run_that_leaves_the_numbers_exits_1_and_names_the_line(
    dln: Callable[..., Any], line: Path
) -> None:
    got = dln("run", line, "-D", "rate=1e30", "-q")
    assert got.code == 1
    assert "error[E600]" in got.err and "line.dln" in got.err
    assert got.out == ""


def test_seed_threads_dtype_and_constants_are_written_down(
    dln: Callable[..., Any], line: Path
) -> None:
    dln("run", line, "--seed", "7", "--dtype", "float64", "--threads", "1", "-D", "rate=0.2",
        "--out", "here", "-q")  # fmt: skip
    facts = json.loads(Path("here/manifest.json").read_text())
    assert facts["seed"] == 7 and facts["dtype"] == "float64" and facts["threads"] == 1
    assert facts["constants"]["rate"] == 0.2
    assert Path("here/spec.dln").read_text() == line.read_text()
    assert "const rate = 0.2" in Path("here/resolved.dln").read_text()
    events = [json.loads(x)["event"] for x in Path("here/log.jsonl").read_text().splitlines()]
    assert events[0] == "run" and events[-1] == "finished"


def test_an_occupied_directory_is_refused(dln: Callable[..., Any], line: Path) -> None:
    assert dln("run", line, "--out", "here", "-q").code == 0
    got = dln("run", line, "--out", "here", "-q")
    assert got.code == 2 and "already holds a run" in got.err


def test_the_same_seed_gives_the_same_run(dln: Callable[..., Any], line: Path) -> None:
    for _ in range(2):
        dln("run", line, "-q")
    a, b = (newest(Path(f"runs/line-{n}")) for n in (1, 2))
    assert a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


@pytest.mark.skipif(find_spec("cupy") is not None, reason="CuPy can be had")
def test_a_backend_that_cannot_be_had_exits_2_in_a_line(
    dln: Callable[..., Any], line: Path
) -> None:
    got = dln("run", line, "--backend", "cupy")
    assert got.code == 2 and "CuPy is not installed" in got.err
    assert not Path("runs").exists()


def newest(folder: Path) -> dict[str, np.ndarray]:
    """The arrays of the newest checkpoint of a run."""
    path = sorted((folder / "checkpoints").glob("update-*"))[-1]
    return checkpoint.load(path)[0]


# ---- interruption --------------------------------------------------------------------------------

LONG = """
data points = rows([[0, 1], [1, 3], [2, 5], [3, 7], [5, 11]]) {
  x[1] = raw[:1]
  t[1] = raw[1:]
}
let line = dense(1)
train fit on points batch 2 for 40000 updates {
  y = line(x)
  minimize sum((y - t)^2) / 2 over line with sgd(lr = 0.001 * (1 - progress))
  watch error = sum((y - t)^2) every 400 updates
}
check "all of it" {
  expect fit.updates == 40000
}
"""


def interrupted(folder: Path, number: signal.Signals) -> int:
    """Start a run as a process, send it a signal once it trains; the exit code."""
    command = [sys.executable, "-m", "dln", "run", "long.dln", "-q"]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    log = folder / "runs" / "long-1" / "log.jsonl"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if log.is_file() and '"report"' in log.read_text():
            break
        time.sleep(0.01)
    process.send_signal(number)
    return process.wait(timeout=60)


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_goes_on_bit_for_bit(
    dln: Callable[..., Any], tmp_path: Path, number: Any
) -> None:
    (tmp_path / "long.dln").write_text(LONG, encoding="utf-8")
    assert interrupted(tmp_path, number) == 130
    first = newest(Path("runs/long-1"))
    got = dln("run", "long.dln", "--resume", "-q")
    assert got.code == 0 and "runs/long-1" in got.out
    assert dln("run", "long.dln", "-q").code == 0  # unbroken
    a, b = newest(Path("runs/long-1")), newest(Path("runs/long-2"))
    assert a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)
    assert not np.array_equal(first["line.W"], b["line.W"])


def test_resume_finds_the_run_by_spec_or_directory(dln: Callable[..., Any], line: Path) -> None:
    assert dln("run", line, "--resume").code == 2
    dln("run", line, "-q", "--seed", "3")
    got = dln("run", line, "--resume")
    assert got.code == 2 and "no unfinished run of line" in got.err
    got = dln("run", "--resume", "runs/line-1", "--json", "-q")
    assert got.code == 0 and got.data["phases"]["fit"]["updates"] == 120
    assert dln("run", "--resume", "runs/nothing").code == 2


def test_resume_of_a_changed_spec_is_refused(dln: Callable[..., Any], line: Path) -> None:
    dln("run", line, "-q")
    line.write_text(line.read_text().replace("init = zero", "init = glorot"))
    got = dln("run", "--resume", "runs/line-1")
    assert got.code == 2 and "another spec" in got.err


# ---- tasks ---------------------------------------------------------------------------------------


def test_a_task_runs_and_can_be_repeated(dln: Callable[..., Any], line: Path) -> None:
    got = dln("run", line)
    assert "weights: [" in got.out
    table = Path("runs/line-1/weights.csv")
    value = float(table.read_text())
    assert abs(value - 2) < 0.2
    table.unlink()
    again = dln("task", "runs/line-1", "weights", "--json")
    assert again.code == 0 and again.data["task"] == "weights"
    assert float(table.read_text()) == value
    assert dln("task", "runs/line-1", "weight").code == 2
    elsewhere = dln("task", "runs/line-1", "weights", "--data", "nosuch=a.csv")
    assert elsewhere.code == 2 and "the spec uses no data set nosuch" in elsewhere.err


def test_names_of_a_spec_are_no_markup(dln: Callable[..., Any], tmp_path: Path) -> None:
    spec = tmp_path / "odd.dln"
    spec.write_text('check "[bold]a[/x] [relu] \x1b[31m" {\n  expect 1 == 1\n}\n', encoding="utf-8")
    got = dln("check", spec)
    assert "[bold]a[/x] [relu] \\x1b[31m" in got.out and "\x1b" not in got.out
