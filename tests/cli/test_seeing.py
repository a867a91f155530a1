"""What a run shows and leaves: small curves, log.csv, curves.png; runs listed and compared."""

import csv
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dln as dln_module
from dln.printing import pictures, small_curves
from dln.recorded import curves
from dln.recorded.listing import natural
from dln.recorded.recorded_run import read_run
from dln.runtime.checkpoint.rundir import RunDirectory
from dln.runtime.execution.phase_result import PhaseResult, Reading

Dln = Callable[..., Any]

TEXT = """const rate = 0.1
data points = rows([[0, 1], [1, 3], [2, 5], [3, 7]]) {
  x[1] = raw[:1]
  t[1] = raw[1:]
}
let line = dense(1, init = zero)
train fit on points batch 2 for 6 epochs {
  minimize sum((line(x) - t)^2) over line with sgd(lr = rate)
  watch error = sum((line(x) - t)^2) every 1 epoch
  watch both = [line.b[0], 0] every 4 updates
  checkpoint every 2 epochs
}
"""


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "line.dln"
    path.write_text(TEXT, encoding="utf-8")
    return path


# ---- log.csv -----------------------------------------------------------------------------------


class Killed(BaseException):
    """As if the process was gone: nothing is saved, nothing is said."""


class Killer:
    def __init__(self, at: int) -> None:
        self.at = at

    def report(self, event: Any) -> None:
        if event.update >= self.at:
            raise Killed


def rows(folder: Path) -> list[dict[str, str]]:
    """The table without its seconds, of which no two runs have the same."""
    with open(folder / "log.csv", newline="") as file:
        return [{**row, "seconds": ""} for row in csv.DictReader(file)]


def test_the_table_is_appended_to_and_survives_a_kill(tmp_path: Path, spec: Path) -> None:
    made = dln_module.load(str(spec)).compile()
    for name, at in (("whole", 99), ("killed", 9)):
        run = RunDirectory.create(name, str(tmp_path / name))
        try:
            made.session().train(rundir=run, hooks=[Killer(at)])
        except Killed:
            run.close()
    whole, killed = (tmp_path / name / "log.csv" for name in ("whole", "killed"))
    head = "phase,update,epoch,seconds,error,both[0],both[1]\n"
    assert whole.read_text().startswith(head) and killed.read_text().startswith(head)
    before = killed.read_text().splitlines()[:5]  # up to the checkpoint of 2 epochs
    assert len(rows(tmp_path / "killed")) < len(rows(tmp_path / "whole")) == 9
    with open(killed, "a") as file:
        file.write("fit,10,5,0.0")  # torn
    run = RunDirectory.reopen(str(tmp_path / "killed"))
    made.session().train(rundir=run, resume=run.newest())
    assert rows(tmp_path / "killed") == rows(tmp_path / "whole")
    assert killed.read_text().splitlines()[:5] == before
    first = rows(tmp_path / "whole")[0]
    assert (first["error"], first["phase"], first["update"], first["epoch"]) == (
        "",
        "fit",
        "0",
        "0",
    )
    logged = [r for r in run.records() if r["event"] == "report"]
    values = [r["watch"]["error"] for r in logged if "error" in r["watch"]]
    assert [float(r["error"]) for r in rows(tmp_path / "killed") if r["error"]] == values


# ---- curves ------------------------------------------------------------------------------------


def test_small_curves_keep_to_their_width_and_are_plain_text() -> None:
    falling = [(float(i), 1 / (i + 1)) for i in range(40)]
    lines = small_curves.drawn("loss 0.025", [falling], "update", 40)
    assert lines == [
        "      loss 0.025",
        "    1│⡇",
        "     │⢸",
        "     │⠈⡆",
        "     │ ⢇",
        "     │ ⠈⠢⢄⡀",
        "0.025│    ⠈⠉⠒⠒⠒⠢⠤⠤⠤⠤⠤⠤⠤⠤⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀",
        "      update 0                        39",
    ]
    watched = {f"watch {i}": [falling, [(x, 1 - y) for x, y in falling]] for i in range(4)}
    for width in (24, 60, 80, 200):
        for pen in (small_curves.BRAILLE, small_curves.PLAIN):
            drawn = small_curves.several(watched, "epoch", width, pen)
            assert max(map(len, drawn)) <= width and len(drawn) >= 16
            assert "".join(drawn).isprintable()
    plain = small_curves.several(watched, "epoch", 80, small_curves.PLAIN)
    assert "".join(plain).isascii()
    assert small_curves.drawn("none", [[(0.0, float("nan"))]], "update", 40) == []
    assert "5" in small_curves.drawn("one", [[(3.0, 5.0)]], "update", 40)[4]


def test_a_run_plots_into_a_pipe_without_escape_codes(dln: Dln, spec: Path) -> None:
    got = dln("run", spec, "--plot")
    assert got.code == 0 and "error 0.0" in got.err and "update 2" in got.err
    assert "\x1b" not in got.err + got.out and max(map(len, got.err.splitlines())) <= 120
    assert dln("run", spec, "--plot", "-q").err == ""
    assert Path("runs/line-1/curves.png").read_bytes()[:4] == b"\x89PNG"  # as it was asked for
    longer = dln("run", spec, "--resume", "runs/line-1", "--epochs", 9, "--plot")
    assert "update 14" in longer.err and len(rows(Path("runs/line-1"))) == 14, longer.err


def test_the_picture_is_drawn_by_itself_where_it_costs_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    result = PhaseResult("fit", seconds=0.1)
    result.history["error"] = [Reading(i, i, 1.0 / (i + 1)) for i in range(3)]
    curves.of_itself({"fit": result}, tmp_path, False, said.append)
    assert not (tmp_path / "curves.png").exists()
    monkeypatch.setattr(pictures, "LOADED", "sys")
    curves.of_itself({"fit": result}, tmp_path, False, said.append)
    (tmp_path / "curves.png").unlink()
    monkeypatch.undo()
    result.seconds = curves.LONG_ENOUGH
    curves.of_itself({"fit": result}, tmp_path, False, said.append)
    assert (tmp_path / "curves.png").exists() and said == []
    curves.of_itself({"fit": result}, tmp_path / "curves.png", True, said.append)
    assert said[0].startswith("curves.png was not drawn: cannot write")  # and the run goes on


def test_thinned_curves_keep_their_extremes() -> None:
    values = np.random.default_rng(0).normal(size=20_000)
    values[[7_000, 12_345]] = [50, -60]
    points = np.stack([np.arange(len(values)), values], axis=1)
    thin = curves.thinned(points)
    assert len(thin) <= curves.POINTS and (np.diff(thin[:, 0]) > 0).all()
    assert (thin[:, 1].max(), thin[:, 1].min()) == (50, -60)


# ---- runs --------------------------------------------------------------------------------------


def test_runs_are_listed_with_what_they_have_come_to(dln: Dln, spec: Path, line: Path) -> None:
    dln("run", spec, "-q")
    dln("run", spec, "-q", "-D", "rate=1e9")  # leaves the numbers
    dln("run", spec, "-q", "-D", "rate=0.01", "--seed", "3", "--epochs", "2")
    for n in (4, 5, 10):
        shutil.copytree("runs/line-1", f"runs/line-{n}")
    log = Path("runs/line-4/log.jsonl")  # killed
    log.write_text("".join(log.read_text().splitlines(True)[:5]) + '{"event": "rep')
    shutil.copytree("runs/line-4", "runs/line-11")
    os.utime("runs/line-11/log.jsonl", (time.time() - 9999,) * 2)
    Path("runs/line-5/spec.dln").write_text("edited")
    Path("runs/line-10/manifest.json").write_text("{")
    Path("runs/notes.txt").write_text("mine")
    Path("runs/holiday").mkdir()
    Path("runs/other").mkdir()
    Path("runs/other/log.jsonl").write_text('{"level": "info", "event": "boot"}\nnonsense\n')
    got = dln("runs")
    assert got.code == 0
    table = got.out.splitlines()
    assert [row.split()[0] for row in table[1:]] == [
        f"runs/line-{n}" for n in (1, 2, 3, 4, 5, 10, 11)
    ]
    assert "complete" in table[1] and "failed: " in table[2] and "rate=1000000000" in table[2]
    assert "rate=0.01 --seed 3 --epochs 2" in table[3] and "error" in table[3]
    assert "running?" in table[4] and "damaged: spec.dln has been changed" in table[5]
    assert "damaged: " in table[6] and "interrupted" in table[7]
    assert got.err.splitlines() == [
        "note: runs/holiday holds no run: there is no log.jsonl in it",
        "note: runs/notes.txt is a file, no run",
        "note: runs/other holds no run: its log.jsonl is none that dln wrote",
    ]
    data = dln("runs", "--json", "--by", "error").data["runs"]
    errors = [r["watch"].get("error") for r in data]
    assert None not in errors and errors == sorted(errors)
    third = next(r for r in data if r["run_dir"] == "runs/line-3")
    assert third["constants"] == {"rate": 0.01} and third["options"] == {"seed": 3, "epochs": 2}
    assert third["phases"]["fit"]["updates"] == 4 and third["phases"]["fit"]["complete"]
    assert "no run has eror" in (wrong := dln("runs", "--by", "eror").err) and "--by error" in wrong
    assert dln("runs", "nowhere").err.startswith("error[E548]: nowhere does not exist")
    assert natural("a-2") < natural("a-10") < natural("b-1")


def test_runs_of_before_seals_are_read(dln: Dln, spec: Path) -> None:
    dln("run", spec, "-q")
    log = Path("runs/line-1/log.jsonl")
    old = [json.loads(text) for text in log.read_text().splitlines()]
    for record in old:
        for new in ("seal", "files", "n", "seconds"):
            record.pop(new, None)
    log.write_text("".join(json.dumps(r) + "\n" for r in old))
    run = read_run(Path("runs/line-1"))
    assert (run.state, run.spec) == ("complete", "line") and run.watch["error"] > 0


def test_runs_are_compared(dln: Dln, spec: Path) -> None:
    dln("run", spec, "-q")
    spec.write_text(TEXT.replace("every 1 epoch", "every 2 updates"), encoding="utf-8")
    dln("run", spec, "-q", "-D", "rate=0.05", "--epochs", "3")
    names = ("runs/line-1", "runs/line-2")
    got = dln("compare", *names, "--to", "both.svg", "--plot")
    assert got.code == 0 and "wrote both.svg" in got.err
    blocks = got.out.split("\n\n")
    assert "constants that differ" in blocks[0] and "  rate  0.1          0.05" in blocks[0]
    assert "--epochs  -            3" in blocks[1]
    assert "-  watch error = sum((line(x) - t)^2) every 1 epoch" in blocks[2]
    assert "+  watch error = sum((line(x) - t)^2) every 2 updates" in blocks[2]
    assert "fit.epochs   6              3" in blocks[3] and "fit.both[" not in blocks[3]
    drawn = Path("both.svg").read_text()
    assert "line-1" in drawn and "line-2" in drawn and ">error<" in drawn
    data = dln("compare", *names, "--json").data
    assert data["differs"]["constants"] == {"rate": [0.1, 0.05]}
    assert data["figures"]["fit.updates"] == [12, 6] and "runs/line-2" in data["texts"]
    alone = dln("compare", "runs/line-1")
    assert alone.out.startswith("figures\n") and "differ" not in alone.out
    same = dln("compare", "runs/line-1", shutil.copytree("runs/line-1", "runs/again"))
    assert "of one spec, with the same constants" in same.out
    for words, said in (
        (("runs/line-1", "runs/line-9"), "E548"),
        (("runs/line-1", "runs/line-1"), "given twice"),
        (("runs/line-1", "--to", "a.gif"), "--to draws"),
        ((), "which runs?"),
    ):
        wrong = dln("compare", *words)
        assert wrong.code == 2 and said in wrong.err and "Traceback" not in wrong.err


def test_curves_over_many_decades_of_updates_are_drawn() -> None:
    if not pictures.available():
        pytest.skip("without matplotlib nothing is drawn")
    curve = pictures.Curve("late", np.array([3.0, 6000.0]), np.array([1.0, 0.1]), "update")
    assert pictures.of_panels([pictures.Panel("late", "update", (curve,))], ".png")
