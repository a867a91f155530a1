"""Several processes that share out one run by MPI: the bits of one process, and one voice.

One launch for each number of ranks does all that can be asked of it; two more are stopped and
killed while they train.
"""

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import numpy as np
import pytest
from trained import NET, SPECS, trained

import dln
from dln import cli
from dln.grammar.diagnostics import Fault
from dln.running import wiring
from dln.runtime.checkpoint.rundir import RunDirectory
from dln.runtime.data.fields import Fields
from dln.runtime.device.host import Host
from dln.runtime.device.limits import Limits
from dln.runtime.ranks.launched import Launched, launched
from dln.runtime.ranks.ranks import Alone
from dln.runtime.session import Session
from dln.runtime.training.shared.meeting import same_on_all
from dln.runtime.wire import MESSAGE, ROUND, least, message

HERE = Path(__file__).parent
MPIRUN = shutil.which("mpirun", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
WHY = "needs mpi4py and mpirun: pip install -e '.[dev]'"
needs_mpi = pytest.mark.skipif(MPIRUN is None or find_spec("mpi4py") is None, reason=WHY)
ALLOWED = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
SILENT = "waiting for rank 1 of 2 (there) for 0 s rank 1 of 2 (there) has died"
STOPPED = "aside: waiting for rank 0 of 2 (there), which is stopped, for 0 s"
LONG = NET.replace("30 updates", "4000 updates").replace(
    "  watch balanced", "  checkpoint every 100 updates\n  watch balanced"
)
PAGE = (HERE.parents[1] / "docs" / "cluster.md").read_text("utf-8")
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
    words = [str(HERE / "trained.py"), str(tmp_path / "found"), *SPECS]
    code, _, err = ended(started(count, *words))
    assert code == 0, err
    found = [json.loads((tmp_path / f"found.{i}").read_text()) for i in range(count)]
    failed = [i for i, mine in enumerate(found) if "on rank" not in mine["left"]]
    assert len(failed) == 1
    updates = set[str]()
    for i, mine in enumerate(found):
        heard = "".join(f"no number {bad}" for bad in range(count) if bad != i)
        assert mine.pop("kept") == "840000 36"
        assert mine.pop("exchanged") == 3 * heard
        losses, said = mine.pop("left").split("]", 1)
        assert losses == "[1.1173436529671221, 1.085706368565147, 1.055391150062458"
        assert "overflow" in said and "example 3 of d.all" in said
        assert (f"on rank {failed[0]} of {count}" in said) == (i not in failed)
        if count == 2:
            assert mine.pop("on device") == "1 of 4"
            updates.add(mine.pop("timed"))
            told = re.sub(r"process \d+ on \S+?(?=\))", "there", mine.pop("silent"))
            assert told.startswith(STOPPED) if i else told == SILENT
        assert mine == {name: alone[name] for name in mine}
    assert len(updates) == (count == 2)


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


@contextmanager
def terminal() -> Iterator[tuple[int, int]]:
    """Where keys are typed, and the screen of whoever has it."""
    keys, screen = os.openpty()
    try:
        yield keys, screen
    finally:
        os.close(keys)


def controlled() -> None:
    """The screen becomes the terminal of this process, in which Ctrl-C is heard, even if whoever
    has started the tests in the background ignores it: a shell could set no trap for it."""
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def shown(keys: int) -> str:
    """All that is written to a screen, until nobody has it any more."""
    found = b""
    with suppress(OSError):
        while some := os.read(keys, 65536):
            found += some
    return found.decode()


def job(count: int, **more: Any) -> Any:
    """The script of the page, word for word, of a job that has so many tasks. What it calls is put
    before it in its folder: `mpirun` that takes as many, `dln`, and `scontrol`."""
    script = re.search(r"```bash\n(#!/bin/bash\n# mpi.sh:.*?)```", PAGE, re.S)
    assert script is not None
    Path("mpi.sh").write_text(script[1].replace("--shards 8", "--shards 5"))
    Path("bin").mkdir(exist_ok=True)
    options = f"--oversubscribe --mca mpi_yield_when_idle 1 -n {count}"
    stubs = {"mpirun": f'exec "{MPIRUN}" {options} "$@"', "scontrol": 'echo "scontrol $*"',
             "dln": f'exec "{sys.executable}" -m dln "$@"'}  # fmt: skip
    for name, line in stubs.items():
        (stub := Path("bin") / name).write_text(f"#!/bin/bash\n{line}\n")
        stub.chmod(0o755)
    path = f"{Path('bin').resolve()}:{os.environ['PATH']}"
    env = {**os.environ, **ALLOWED, "PATH": path, "SLURM_JOB_ID": "71"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(
        ["bash", "mpi.sh", "net.dln", "run"], env=env, text=True, **{**pipes, **more}
    )


@needs_mpi
def test_a_run_is_stopped_and_killed_and_goes_on_in_other_numbers(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.dln").write_text(LONG)
    first = job(3)
    saved(Path("run"))
    first.send_signal(signal.SIGUSR1)  # the warning, to the shell alone
    code, out, err = ended(first)
    assert code == 130 and out == "scontrol requeue 71\n"
    assert err.count("interrupted in fit, update") == 1 and err.count("go on with") == 1
    done = saved(Path("run"))
    with terminal() as (keys, screen):
        again = job(2, stdin=screen, stdout=screen, stderr=screen, preexec_fn=controlled)
        os.close(screen)
        saved(Path("run"), done)
        os.write(keys, b"\x03")  # Ctrl-C, typed
        said = shown(keys)
    assert again.wait(PATIENCE) == 130 and said.count("scontrol requeue 71") == 1
    assert said.count("interrupted in fit, update") == 1 and said.count("go on with") == 1
    done = saved(Path("run"))
    second = started(2, "-m", "dln", "run", "net.dln", "--mpi", "--resume", "run")
    saved(Path("run"), done)
    ranks = processes_of(second.pid)
    assert len(ranks) == 2
    os.kill(ranks[1], signal.SIGKILL)
    began = monotonic()
    code, out, err = ended(second)
    assert code == 137 and not out and monotonic() - began < 10
    assert f"rank 1 with PID {ranks[1]}" in err
    assert cli.carried_out(["run", "net.dln", "--resume", "run", "--quiet"]) == 0
    unbroken = dln.load(LONG).compile(shards=5).session()
    whole_run = RunDirectory.create("net", "whole")
    unbroken.train(rundir=whole_run)
    ends = [RunDirectory(Path(n)).records() for n in ("run", "whole")]
    weights = [[r["weights"] for r in log if "weights" in r][-1] for log in ends]
    assert weights[0] == weights[1]
    begun = [r.get("ranks") for r in ends[0] if r["event"] == "start"]
    assert begun == [3, 2, 2, None]
    assert cli.carried_out(["verify", "run", "--quiet"]) == 0  # alone, from the beginning
    for words in (["runs", "."], ["compare", "run", "whole"]):
        assert cli.carried_out([*words, "--quiet"]) == 0
    reports = [[r["watch"] for r in log if r["event"] == "report"] for log in ends]
    assert reports[0] == reports[1]


@needs_mpi
def test_what_all_ranks_refuse_is_told_once(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.dln").write_text(NET)
    wrong = started(2, "-m", "dln", "run", "net.dln", "--mpi")
    code, out, err = ended(wrong)
    assert code == 2 and not out and err.count("error[E640]") == 1
    assert not Path("runs").exists()  # nothing was begun


def test_a_launcher_says_which_rank_this_is() -> None:
    assert launched({}) == Launched(0, 1)
    assert launched({"OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_SIZE": "4"}) == (2, 4)
    assert launched({"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "8"}) == (1, 8)
    assert launched({"SLURM_PROCID": "1"}) == (0, 1)


def test_a_plan_says_what_ranks_would_send(
    tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = Limits(flops=1e11, cached=1.5e11, memory=3e10, curves=3e9, calls=2e6)
    monkeypatch.setattr(wiring, "limits", lambda *_: most)
    (tmp_path / "net.dln").write_text(NET)
    words = ["plan", str(tmp_path / "net.dln"), "--mpi", "4", "--network", "2us, 1GB/s"]
    assert cli.carried_out([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["phases"]["fit"]
    sums = found["sums"]  # 12 weights, 3 biases, the loss: each from the start of a line on
    assert sums == 3 * 16 * 4 and (found["rounds"], found["shards"]) == (1, 4)
    assert found["received"] == found["sent"] == 3 * sums and found["wire"] == 12 * sums
    python = (ROUND + 6 * MESSAGE) / most.calls
    assert found["network"] == pytest.approx(2e-6 + python + 3 * sums / 1e9)
    assert tuple(message(1 << 20, 8, 4)) == (
        2,
        18,
        9 << 18,
        9 << 18,
        9 << 20,
    )  # twice 3/4 of what is added up
    assert found["rank"] < found["divided"] and found["alone"] < found["divided"]
    assert found["pays"] is None or found["pays"] > 50
    assert cli.carried_out(words) == 0
    said = capsys.readouterr().out
    assert f"it pays          from about {found['pays']:,} examples an update on" in said
    assert cli.carried_out([*words[:4], "--network", "10us"]) == 2
    assert "--network 10us,10GB/s" in capsys.readouterr().err
    assert cli.carried_out([*words[:2], *words[4:]]) == 2
    assert "try: --mpi 8" in capsys.readouterr().err


OTHERS = """data d = synthetic("gaussians", 2, 2, 24) {
  x[2] = raw.x
}
let net = dense(2)
train t on d batch 8 for 6 epochs {
  z = net(x)
  minimize sum(k in others: exp(0 - sum((z - z[k])^2))) over net with sgd(lr = 1)
}
"""


@pytest.mark.parametrize(
    ("text", "words", "said"),
    [
        (NET, ["1"], ["E640", "one rank has nobody to share them with", "try: --mpi 2"]),
        (NET, ["2", "--shards", "1"], ["E640", "try: --shards 2"]),
        (OTHERS, ["2"], ["E437", "net.dln:7:12", "one sees what others are"]),
        ("let net = dense(2)\nlet y = net([1, 2])\n", ["2"], ["E640", "try: leave out --mpi"]),
    ],
    ids=["one rank", "one shard", "cannot be cut", "nothing is trained"],
)
def test_why_there_is_nothing_to_plan_for_ranks(
    text: str, words: list[str], said: list[str], tmp_path: Path, capsys: Any
) -> None:
    (tmp_path / "net.dln").write_text(text)
    assert cli.carried_out(["plan", str(tmp_path / "net.dln"), "--mpi", *words]) == 2
    err = capsys.readouterr().err
    assert all(word in err for word in said), err


def test_a_rank_takes_its_share_of_large_data(tmp_path: Path, capsys: Any) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros((70_000, 40), np.float32), y=np.arange(70_000) % 2)
    (tmp_path / "net.dln").write_text(MAPPED.replace("x[2]", "x[40]").replace("= yes", "= no"))
    taken = []
    for ranks in ("1", "2", "4"):
        words = ["plan", str(tmp_path / "net.dln"), "--mpi", ranks, "--shards", "4"]
        assert cli.carried_out([*words, "--json"]) == 0
        taken.append(json.loads(capsys.readouterr().out)["memory"]["bytes"])
    data = 70_000 * (40 * 4 + 8)
    assert taken[0] - taken[1] > 1.4 * data  # as it was read, and half
    assert data / 6 < taken[1] - taken[2] < data / 3
    assert cli.carried_out(words) == 0
    assert "a rank takes " in capsys.readouterr().out


def test_what_pays_is_found_by_halves() -> None:
    for k in (1, 2, 7, 64, 1000):
        assert least(k.__le__) == k
    assert least(lambda n: False) is None


class Second(Alone):
    """The second of two ranks, of which the first has left the same, or other hashes."""

    index, count = 1, 2

    def __init__(self, apart: bool) -> None:
        self.apart = apart

    def share(self, n: int) -> range:
        return range(n // 2, n)

    def gather(self, rows: Any, parts: Any = None, once: bool = False) -> None:
        rows[0] = rows[1] + (self.apart and rows.shape[1] == 32)


MAPPED = """data d = npz("d.npz") {
  x[2] = raw.x
  y: class(2) = raw.y
  set mapped = yes
}
let f = dense(2)
train fit on d batch 6 for 2 updates order file {
  minimize cross_entropy(f(x), y) over f with sgd(lr = 0.1)
}
"""


def test_a_rank_reads_its_own_rows_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez(tmp_path / "d.npz", x=np.arange(24.0).reshape(12, 2), y=np.arange(12) % 2)
    (tmp_path / "net.dln").write_text(MAPPED)
    plan, found = dln.load(tmp_path / "net.dln").compile(shards=2).plan, list[list[int]]()
    session, looked = Session(plan, Host(), ranks=Second(False)), Fields.looked_up

    def told(self: Fields, *asked: Any) -> Any:
        part = looked(self, *asked)

        def drawn(indices: Any, update: float) -> Any:
            found.append(indices.tolist())
            return part.drawn and part.drawn(indices, update)

        return replace(part, drawn=drawn)

    monkeypatch.setattr(Fields, "looked_up", told)
    session.train("fit")
    assert found == [[3, 4, 5], [9, 10, 11]]


def test_ranks_that_have_gone_apart_are_told() -> None:
    state = dln.load(NET).compile(shards=2).session().state
    state.programs.ranks = Second(True)
    with pytest.raises(Fault, match="rank 1 has other numbers than rank 0"):
        same_on_all(state)
