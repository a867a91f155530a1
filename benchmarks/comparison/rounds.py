"""Workers of one workload side by side, timed in turns.

All processes of a workload are alive at once. Each first runs by itself for a while, the same for
all, so that caches and pools of threads are warm and whoever chooses something by its own times has
chosen; then each round asks every one for a block of calls. Only what ran together is compared,
since the speed of a machine drifts by the minute.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from benchmarks.peers import PROGRAMS

ROOT = Path(__file__).parents[2]
BLOCK, SETTLE = 0.5, 1.5  # seconds of a block of calls, about, and of the calls before the first
QUICK_BLOCK, QUICK_SETTLE = 0.25, 1.0  # the same, quick
QUIET = 0.15  # cores that others may use during a block
TRIES = 3
TIMEOUT = 300.0  # seconds for the first steps


@dataclass
class Measured:
    """What one program gave: the `values` of its first calls, the seconds from the start of its
    process to the end of its first call, the milliseconds of a call in each round, the most memory
    it held in bytes. `reason` says why there is nothing else."""

    reason: str = ""
    version: str = ""
    values: list[float] = field(default_factory=list)
    first_step: float | None = None
    milliseconds: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)
    """Cores that other processes used, in each round."""
    peak: int | None = None
    threads: int | None = None
    """Those that it had chosen in the end, if it is one that chooses."""

    def data(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Setting:
    """How workers are started: the Python for each package, or for all of the peers (`""`)."""

    pythons: Mapping[str, str]
    threads: int
    rounds: int
    quick: bool = False
    """Whether the workers start at once, which disturbs their first steps, and run for less."""
    processor: bool = False
    """Whether time is that of the processor, all threads of a program together."""

    @property
    def block(self) -> float:
        return QUICK_BLOCK if self.quick else BLOCK

    @property
    def settle(self) -> float:
        return QUICK_SETTLE if self.quick else SETTLE

    @property
    def tries(self) -> int:
        """How often a block is done again where others disturb it."""
        return 1 if self.processor else TRIES

    def python(self, package: str) -> str:
        own = package in ("dln", "numpy")
        common = sys.executable if own else self.pythons.get("", sys.executable)
        return self.pythons.get(package, common)


def absent(setting: Setting) -> dict[str, str]:
    """The programs that are not installed, and why they are left out."""
    code = "import importlib.util as u, sys; sys.exit(u.find_spec(sys.argv[1]) is None)"
    found = {}
    for name, program in PROGRAMS.items():
        words = [setting.python(program.package), "-c", code, program.package]
        if subprocess.run(words, cwd=ROOT, capture_output=True).returncode:
            found[name] = f"{program.package} is not installed"
    return found


class Worker:
    """The process of one program on one workload."""

    def __init__(self, name: str, work: Path, setting: Setting) -> None:
        self.program, self.errors = PROGRAMS[name], TemporaryFile("w+")
        limits = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "MKL_NUM_THREADS")
        threads = str(setting.threads)
        words = [setting.python(self.program.package), "-m", "benchmarks.comparison.worker"]
        words += [self.program.module, self.program.variant, str(work), threads, repr(time.time())]
        self.process = subprocess.Popen(
            words, cwd=ROOT, env=os.environ | dict.fromkeys(limits, threads), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
        )  # fmt: skip

    def answer(self, timeout: float) -> dict[str, Any]:
        """The next line it says. Raises EOFError where it says none."""
        out = self.process.stdout
        assert out is not None
        ready, _, _ = select.select([out], [], [], timeout)
        line = out.readline() if ready else ""
        if not line:
            raise EOFError(self.last_words() if ready else f"no answer in {timeout:.0f} s")
        found: dict[str, Any] = json.loads(line)
        return found

    def ask(self, what: str, much: float) -> dict[str, Any]:
        """Its answer to one question of `worker`."""
        given = self.process.stdin
        assert given is not None
        given.write(json.dumps([what, much]) + "\n")
        given.flush()
        return self.answer(TIMEOUT)

    def last_words(self) -> str:
        self.process.wait()
        self.errors.seek(0)
        lines = [line.strip() for line in self.errors if line.strip()]
        return lines[-1][:200] if lines else "it ended"

    def close(self) -> None:
        with suppress(OSError, ValueError):
            if self.process.stdin is not None:
                self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.errors.close()


def compared(work: Path, names: Iterable[str], setting: Setting) -> dict[str, Measured]:
    """All programs on one workload, by name."""
    found: dict[str, Measured] = {}
    workers: dict[str, Worker] = {}
    try:
        for name in names:
            workers[name] = Worker(name, work, setting)
            if not setting.quick:
                found[name] = _begun(workers[name])
        for name, worker in workers.items():
            found[name] = found.get(name) or _begun(worker)
            if setting.quick:
                found[name].first_step = None  # that of all of them
        alive = {n: w for n, w in workers.items() if not found[n].reason}
        calls = {n: _calls(w, setting) for n, w in alive.items()}
        for _ in range(setting.rounds):
            for name, worker in alive.items():
                _block(worker, calls[name], found[name], setting)
    finally:
        for worker in workers.values():
            worker.close()
    return {name: found[name] for name in workers}


def _begun(worker: Worker) -> Measured:
    try:
        said = worker.answer(TIMEOUT)
    except EOFError as error:
        return Measured(reason=str(error))
    return Measured("", said["version"], said["values"], said["first_step"])


def _calls(worker: Worker, setting: Setting) -> int:
    """How many calls make a block, once it has settled."""
    steady: float = worker.ask("settle", setting.settle)["seconds"]
    return max(1, int(setting.block / steady))


def _block(worker: Worker, calls: int, into: Measured, setting: Setting) -> None:
    """One block, again where others disturb it; the quietest counts."""
    tried, clock = [], "processor" if setting.processor else "seconds"
    for _ in range(setting.tries):
        before, mine, start = used(), used(worker.process.pid), time.perf_counter()
        said = worker.ask("time", calls)
        passed = time.perf_counter() - start
        into.peak, into.threads = said["peak"], said["threads"]
        others = max(0.0, used() - before - (used(worker.process.pid) - mine)) / passed
        tried.append((others, said[clock] / calls))
        if others < QUIET:
            break
    others, seconds = min(tried)
    into.others.append(others)
    into.milliseconds.append(seconds * 1e3)


def used(pid: int | None = None) -> float:
    """Seconds of processor time that a process has used, or all of them; 0 where it cannot be
    told."""
    with suppress(OSError, ValueError, IndexError):
        tick = os.sysconf("SC_CLK_TCK")
        if pid is None:
            times = [int(x) for x in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
            return (sum(times) - times[3] - times[4]) / tick
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / tick
    return 0.0
