"""Several processes that share out one run by MPI: the bits of one process, and one voice.

One launch for each number of ranks does all that can be asked of it; two more are stopped and
killed while they train.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
from trained import NET, SPECS, trained

import dln
from dln import cli
from dln.runtime.checkpoint.rundir import RunDirectory
from dln.runtime.ranks.launched import Launched, launched

HERE = Path(__file__).parent
MPIRUN = shutil.which("mpirun", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
WHY = "needs mpi4py and mpirun: pip install -e '.[dev]'"
needs_mpi = pytest.mark.skipif(MPIRUN is None or find_spec("mpi4py") is None, reason=WHY)
ALLOWED = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
LONG = NET.replace("30 updates", "4000 updates").replace(
    "  watch balanced", "  checkpoint every 100 updates\n  watch balanced"
)
PATIENCE = 60  # seconds that anything here may take on a machine that is busy with other tests


def started(count: int, *words: str, **more: str) -> Any:
    """A command in so many processes, however few cores there are."""
    options = ["--oversubscribe", "--mca", "mpi_yield_when_idle", "1", "-n", str(count)]
    return subprocess.Popen(
        [str(MPIRUN), *options, sys.executable, *words], env={**os.environ, **ALLOWED, **more},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def ended(process: Any) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=2 * PATIENCE)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What is worked out of specs is kept for all processes."""
    folder = tmp_path_factory.mktemp("kept")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DLN_CACHE", "1")
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def alone(kept: Path) -> dict[str, str]:
    """What one process leaves of each spec."""
    return trained(SPECS)


@needs_mpi
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_ranks_have_the_bits_of_one_process(
    count: int, kept: Path, alone: dict[str, str], tmp_path: Path
) -> None:
    names = list(SPECS) if count > 1 else ["mlp", "rbm"]
    code, _, err = ended(started(count, str(HERE / "trained.py"), str(tmp_path / "found"), *names))
    assert code == 0, err
    found = [json.loads((tmp_path / f"found.{i}").read_text()) for i in range(count)]
    failed = [i for i, mine in enumerate(found) if "on rank" not in mine["left"]]
    assert len(failed) == 1
    for i, mine in enumerate(found):
        heard = "".join(f"no number {bad}" for bad in range(count) if bad != i)
        assert mine.pop("exchanged") == heard
        loss, said = mine.pop("left").split(" ", 1)
        assert loss == "1.1173436529671221"
        assert "overflow" in said and "example 3 of d.all" in said
        assert (f"on rank {failed[0]} of {count}" in said) == (i not in failed)
        assert mine == {name: alone[name] for name in mine}


# ---- stopped, killed, gone on with -------------------------------------------------------------


def saved(folder: Path, more_than: int = 0) -> int:
    """Wait for a checkpoint of more updates than so many; how many it has."""
    end = monotonic() + PATIENCE
    while monotonic() < end:
        found = [int(re.sub(r"\D", "", p.name)) for p in folder.glob("checkpoints/update-*")]
        if max(found, default=0) > more_than:
            return max(found)
        sleep(0.02)
    raise AssertionError("no checkpoint was written")


def processes_of(mpirun: int) -> list[int]:
    """The ranks that a launcher has started."""
    found = Path(f"/proc/{mpirun}/task").glob("*/children")
    return sorted(int(word) for path in found for word in path.read_text().split())


@needs_mpi
def test_a_run_is_stopped_and_killed_and_goes_on_in_other_numbers(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.dln").write_text(LONG)
    run, whole = ["-m", "dln", "run", "net.dln", "--mpi"], ["--shards", "5", "--dtype", "float64"]
    first = started(3, *run, *whole, "--out", "run")
    saved(Path("run"))
    first.send_signal(signal.SIGUSR1)  # what a scheduler sends, and mpirun passes on
    code, out, err = ended(first)
    assert code == 130 and not out
    assert err.count("interrupted in fit, update") == 1 and err.count("go on with") == 1
    done = saved(Path("run"))
    second = started(2, *run, "--resume", "run")
    saved(Path("run"), done)
    ranks = processes_of(second.pid)
    assert len(ranks) == 2
    os.kill(ranks[1], signal.SIGKILL)
    began = monotonic()
    code, out, err = ended(second)
    assert code == 137 and not out and monotonic() - began < 10
    assert f"rank 1 with PID {ranks[1]}" in err
    assert cli.carried_out(["run", "net.dln", "--resume", "run", "--quiet"]) == 0
    unbroken = dln.load(LONG).compile(dtype="float64", shards=5).session()
    whole_run = RunDirectory.create("net", "whole")
    unbroken.train(rundir=whole_run)
    ends = [RunDirectory(Path(n)).records() for n in ("run", "whole")]
    weights = [[r["weights"] for r in log if "weights" in r][-1] for log in ends]
    assert weights[0] == weights[1]
    reports = [[r["watch"] for r in log if r["event"] == "report"] for log in ends]
    assert reports[0] == reports[1]


@needs_mpi
def test_what_all_ranks_refuse_is_told_once(kept: Path, tmp_path: Path) -> None:
    (tmp_path / "net.dln").write_text(NET)
    wrong = started(2, "-m", "dln", "run", str(tmp_path / "net.dln"), "--mpi")
    code, out, err = ended(wrong)
    assert code == 2 and not out and err.count("error[E640]") == 1


def test_a_launcher_says_which_rank_this_is() -> None:
    assert launched({}) == Launched(0, 1)
    assert launched({"OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_SIZE": "4"}) == (2, 4)
    assert launched({"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "8"}) == (1, 8)
    assert launched({"SLURM_PROCID": "1"}) == (0, 1)
