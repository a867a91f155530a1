"""Several processes that share out one run by MPI: the bits of one process, and one voice."""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from trained import NET, digest

import dln
from dln.runtime.ranks.launched import Launched, launched

HERE = Path(__file__).parent
MPIRUN = shutil.which("mpirun", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
WHY = "needs mpi4py and mpirun: pip install -e '.[dev]'"
needs_mpi = pytest.mark.skipif(MPIRUN is None or find_spec("mpi4py") is None, reason=WHY)
ALLOWED = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


def mpirun(count: int, *words: str, **more: Any) -> Any:
    """A command in so many processes, however few cores there are."""
    options = ["--oversubscribe", "--mca", "mpi_yield_when_idle", "1"]
    line = [str(MPIRUN), *options, "-n", str(count), sys.executable, *words]
    return subprocess.run(line, env={**os.environ, **ALLOWED}, capture_output=True, text=True,
                          timeout=120, **more)  # fmt: skip


@needs_mpi
def test_ranks_have_the_bits_of_one_process(tmp_path: Path) -> None:
    alone = dln.load(NET).compile(dtype="float64").session()
    alone.train()
    done = mpirun(3, str(HERE / "trained.py"), str(tmp_path / "found"))
    assert done.returncode == 0, done.stderr
    found = [json.loads((tmp_path / f"found.{i}").read_text()) for i in range(3)]
    assert [f["net"] for f in found] == [digest(alone)] * 3
    assert found[1]["exchanged"] == "no number 0no number 2"


def test_a_launcher_says_which_rank_this_is() -> None:
    assert launched({}) == Launched(0, 1)
    assert launched({"OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_SIZE": "4"}) == (2, 4)
    assert launched({"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "8"}) == (1, 8)
    assert launched({"SLURM_PROCID": "1"}) == (0, 1)
