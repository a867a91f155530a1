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
from trials.processes import Ended, Process
from trials.specs import written

PAIRS = (signal.SIGINT, signal.SIGTERM)


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


def left_over(group: int) -> int:
    """Processes of a session that are still there."""
    found = 0
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                said = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            found += int(said[3]) == group and said[0] != "Z"
    return found
