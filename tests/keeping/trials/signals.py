"""Two signals within microseconds, or while starting: none hangs, none loses anything."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

from dln.grammar.diagnostics import DlnError, Fault
from dln.runtime.checkpoint.rundir import RunDirectory
from dln.sweep import directory
from trials.processes import Ended, Process
from trials.specs import written

PAIRS = (signal.SIGINT, signal.SIGTERM)
PYTHON = ("init_import_site", "_get_module_lock")
"""What Python says that is interrupted before it comes to the first line of dln: it gives up, or,
in what it does when it has imported a file, lets go of the signal."""


def double(folder: Path, count: int, seed: int, longest: float, fresh: bool) -> Counter[str]:
    """So many runs that get two signals; what came of them, by kind."""
    rng, found = random.Random(seed), Counter[str]()
    written(folder, "minibatch", 2000)
    for turn in range(count):
        shutil.rmtree(folder / "runs", ignore_errors=True)
        process = Process(["run", "minibatch.dln"], folder, fresh)
        time.sleep(rng.uniform(0.0, longest))
        process.send(*rng.choices(PAIRS, k=2), apart=rng.choice((0.0, rng.uniform(0.0, 0.002))))
        ended = process.ended()
        if fresh and any(word in ended.printed for word in PYTHON):
            found["before dln"] += 1
            continue
        found[f"exit {ended.code}"] += 1
        for what in judged(folder / "runs" / "minibatch-1", ended):
            found[what] += 1
            keep = folder.parent / f"{folder.name}-{turn}-{what.replace(' ', '-')}"
            shutil.copytree(folder, keep, dirs_exist_ok=True)
    return found


def judged(run: Path, ended: Ended) -> list[str]:
    """What is wrong with how a run ended."""
    wrong = []
    if ended.code is None:
        wrong.append("hung")
    if ended.traced:
        wrong.append("traceback")
    early = ended.code in (-signal.SIGINT, -signal.SIGTERM) and not ended.printed
    if ended.code not in (None, 0, 130) and not (early and not run.exists()):
        wrong.append("another code")
    if "saved in" in ended.printed and not _saved(run):
        wrong.append("lost")
    if run.is_dir() and [p for p in run.rglob(".*.tmp")]:
        wrong.append("litter")
    return wrong


def _saved(run: Path) -> bool:
    try:
        found = RunDirectory.reopen(str(run)).newest()
    except (DlnError, Fault):
        return False
    return found is not None and found.meta["running"]["update"] > 0


def sweeps(folder: Path, count: int, seed: int, longest: float) -> Counter[str]:
    """So many sweeps that get two signals, or are killed, and are gone on with: what came of it."""
    rng, found = random.Random(seed), Counter[str]()
    written(folder, "sweep")
    words = ["sweep", "sweep.dln", "-q"]
    if Process([*words, "--out", "whole", "--jobs", "1"], folder, fresh=True).ended().code != 0:
        return Counter({"the sweep fails": 1})
    for turn in range(count):
        shutil.rmtree(folder / "there", ignore_errors=True)
        jobs, killed = str(1 + turn % 2), turn % 4 > 1
        process = Process([*words, "--out", "there", "--jobs", jobs], folder, fresh=True)
        while turn % 8 < 6 and process.at_work() and not (folder / "there/sweep.json").exists():
            time.sleep(0.01)
        time.sleep(rng.uniform(0.0, longest))
        if killed:
            process.send(signal.SIGKILL)
        else:
            process.send(*rng.choices(PAIRS, k=2), apart=rng.uniform(0.0, 0.002))
        ended = process.ended()
        found[f"exit {ended.code}"] += 1
        fine = (-signal.SIGKILL, 0) if killed else (130, 0)
        wrong = [] if ended.code in fine else [f"another code: {ended.printed[-300:]}"]
        wrong += ["traceback"] if ended.traced else []
        wrong += ["processes left"] if not killed and left_over(process.pid) else []
        found.update(wrong or _gone_on_with(folder, jobs))
    return found


def _gone_on_with(folder: Path, jobs: str) -> list[str]:
    """A sweep gone on with to its end: whether its rows are those of the unbroken one."""
    there = folder / "there"
    if not (there / "sweep.json").exists():
        return ["not begun"]
    if list(there.glob(".*.tmp")):
        return ["litter"]
    words = ["sweep", "sweep.dln", "-q", "--resume", "there", "--jobs", jobs]
    ended = Process(words, folder, fresh=True).ended()
    if ended.code != 0:
        return [f"lost: {ended.printed[-300:]}"]
    rows = [
        [{**r, "seconds": 0} for r in directory.read(each)["sweeps"]["lengths"]]
        for each in (there, folder / "whole")
    ]
    return ["equal to the unbroken one" if rows[0] == rows[1] else "other rows"]


def left_over(group: int, patience: float = 10.0) -> int:
    """Processes of a session that are still there after a while."""
    limit = time.monotonic() + patience
    while (found := _members(group)) and time.monotonic() < limit:
        time.sleep(0.1)
    return found


def _members(group: int) -> int:
    found = 0
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                said = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            found += int(said[3]) == group and said[0] != "Z"
    return found
