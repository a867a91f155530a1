"""Parts of a sweep that are killed at work, and the scripts of `docs/cluster.md`, word for word."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from trials.parts import PARTS, SPEC

from dln.cli import carried_out
from dln.runtime.checkpoint import checkpoint

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "cluster.md"
posix = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX, and bash")
slow = pytest.mark.slow


@posix
@pytest.mark.parametrize("count", [2, pytest.param(20, marks=slow)])
def test_parts_that_are_killed_and_started_again_make_the_table_of_one_process(count: int) -> None:
    command = [sys.executable, str(HERE / "figures.py"), "parts", str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    sweeps, kills = count // 2, found["exit -9"]
    assert kills == count or count > 2 and kills > 0
    assert found["again: exit 0"] == count and found["equal"] == found["equal table"] == sweeps
    assert found["exit 0"] == PARTS * sweeps - kills
    assert found["told as begun"] == found["went on from a checkpoint"] == kills
    others = found.keys() - {"trial", "count", "seconds", "exit 0", "exit -9", "again: exit 0"}
    assert others == {"equal", "equal table", "told as begun", "went on from a checkpoint"}


# ---- the scripts on the page -------------------------------------------------------------------

SCRIPTS = {
    m[1]: m[0].removeprefix("```bash\n").removesuffix("```")
    for m in re.finditer(r"```bash\n#!/bin/bash\n# (\S+):.*?```", PAGE.read_text("utf-8"), re.S)
}
REAL = f'exec "{sys.executable}" -m dln "$@"'
FAKE = "for i in {1..3000}; do [ ! -e over ] || exit $(cat over); sleep 0.02; done"
ARRAY = {"SLURM_ARRAY_TASK_ID": "2", "SLURM_ARRAY_TASK_COUNT": str(PARTS)}

LONG = SPEC.replace("const most = 1\n", "const most = 10000\n").replace(
    "100 updates", "1000 updates"
)


class Scheduler:
    """A folder with a script of the page, and stand-ins for what it calls: `dln`, which writes down
    its words before anything else, and `scontrol`."""

    def __init__(self, folder: Path, script: str, dln: str) -> None:
        self.folder, self.script = folder, script
        (folder / script).write_text(SCRIPTS[script])
        (folder / "bin").mkdir()
        for name, then in (("dln", dln), ("scontrol", "")):
            stub = folder / "bin" / name
            stub.write_text(
                f'#!/bin/bash\ntrap "exit 130" TERM\necho "{name} $*" >> said\n{then}\n'
            )
            stub.chmod(0o755)

    def job(self, *words: str, warned: Callable[[], bool] | None = None) -> int:
        """Its exit code; with `warned` the shell, and it alone, gets SIGTERM when that is so."""
        (self.folder / "said").write_text("")
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        env = {**os.environ, **ARRAY, "SLURM_JOB_ID": "71", "PATH": path}
        job = subprocess.Popen(["bash", self.script, *words], cwd=self.folder, env=env)
        limit = time.monotonic() + 60
        while warned is not None and not warned() and time.monotonic() < limit:
            time.sleep(0.005)
        if warned is not None:
            job.send_signal(signal.SIGTERM)
        return job.wait(timeout=60)

    @property
    def said(self) -> list[str]:
        return (self.folder / "said").read_text().splitlines()


@posix
@pytest.mark.parametrize(
    ("script", "words"),
    [("sweep.sh", "sweep a.dln --part 2/8 --out there"), ("long.sh", "run a.dln --out there")],
)
def test_a_script_hands_the_warning_on_and_asks_for_another_turn(
    tmp_path: Path, script: str, words: str
) -> None:
    at = Scheduler(tmp_path, script, FAKE)
    assert at.job("a.dln", "there", warned=lambda: bool(at.said)) == 130
    assert at.said == [f"dln {words}", "scontrol requeue 71"]
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "manifest.json").touch()
    for code in (0, 1, 2):  # what has ended, well or not, is not put into the queue again
        (tmp_path / "over").write_text(str(code))
        assert at.job("a.dln", "there") == code
        assert at.said == [f"dln {words}".replace("run a.dln --out", "run a.dln --resume")]


def begun(folder: Path) -> Callable[[], bool]:
    """Whether a run has a checkpoint."""
    return lambda: any((folder / "checkpoints").glob("update-*.safetensors"))


def carry_on(said: Sequence[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """The command that a script gave, in this process."""
    monkeypatch.chdir(folder)
    return carried_out(said[0].split()[1:])


@posix
def test_a_job_of_an_array_that_is_warned_goes_on_when_it_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    at, rows = Scheduler(tmp_path, "sweep.sh", REAL), tmp_path / "rows"
    (tmp_path / "each.dln").write_text(LONG)
    assert at.job("each.dln", "rows", warned=begun(rows / "begun" / "each-2")) == 130
    assert at.said[1:] == ["scontrol requeue 71"] and not any((rows / "rows").iterdir())
    assert carry_on(at.said, tmp_path, monkeypatch) == 0
    assert "each: k = 0, rate = 0.2, from update-" in capsys.readouterr().err
    row = json.loads((rows / "rows" / "each-2.json").read_text())["row"]
    assert row["reports"]["fit.updates"] == 10000
    assert [p.name for p in (rows / "begun").iterdir()] == ["each-2.lock"]


@posix
@slow
def test_a_long_run_that_is_warned_goes_on_when_it_is_started_again(tmp_path: Path) -> None:
    at, run = Scheduler(tmp_path, "long.sh", REAL), tmp_path / "run"
    (tmp_path / "one.dln").write_text(LONG.partition("sweep")[0])
    assert at.job("one.dln", "run", warned=begun(run)) == 130
    assert at.job("one.dln", "run") == 0 and "--resume" in at.said[0]
    assert at.job("one.dln", "run") == 0  # it has ended already
    assert carried_out(["run", str(tmp_path / "one.dln"), "--out", str(tmp_path / "whole")]) == 0
    run_, whole = (ended(folder) for folder in (run, tmp_path / "whole"))
    assert run_ == whole and len(whole[1]) == 20


def ended(folder: Path) -> tuple[bytes, list[Any]]:
    """The weights of a run at its end, and its reports without their seconds."""
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    saved = sorted((folder / "checkpoints").glob("update-*"))[-1]
    arrays, _ = checkpoint.load(saved)
    weights = b"".join(arrays[name].tobytes() for name in sorted(arrays))
    return weights, [(r["update"], r["watch"]) for r in log if r["event"] == "report"]
