"""Runs killed at random times, again and again until they end: nothing is lost, all bits alike."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dln.grammar.diagnostics import Fault
from dln.runtime.checkpoint import checkpoint
from dln.runtime.checkpoint.rundir import RunDirectory
from trials.processes import PATIENCE, Process
from trials.specs import KINDS, written

OFTEN = 60  # runs that one kill may follow another in, at most


def killed(folder: Path, count: int, seed: int = 0) -> Counter[str]:
    """So many kills, spread over the kinds of phases; what came of them."""
    found, rng = Counter[str](), random.Random(seed)
    for turn, kind in enumerate(KINDS):
        each = count // len(KINDS) + (turn < count % len(KINDS))
        found += _one(folder / kind, kind, each, rng) if each else Counter()
    return found


def _one(folder: Path, kind: str, count: int, rng: random.Random) -> Counter[str]:
    """Kills of runs of one kind, each run gone on with until it ends."""
    written(folder, kind, 120)
    found = Counter[str]()
    process = Process(["run", f"{kind}.dln", "--out", "whole"], folder)
    if process.ended().code != 0:
        return Counter({f"{kind} fails": 1})
    lasts = sum(r["seconds"] for r in _newest(folder / "whole")[1]["results"].values())
    while found["killed"] < count:
        shutil.rmtree(folder / "run", ignore_errors=True)
        found += _until_ended(folder, kind, count - found["killed"], lasts, rng)
        wrong = list(_differences(folder / "whole", folder / "run"))
        found.update(wrong or ["runs equal to the unbroken one"])
    return found


def _until_ended(
    folder: Path, kind: str, most: int, lasts: float, rng: random.Random
) -> Counter[str]:
    """One run, killed at most so many times, each time gone on with."""
    found, run, update = Counter[str](), folder / "run", 0
    for _ in range(OFTEN):
        before = _logged(run)
        words = ["run", f"{kind}.dln", *(["--resume", "run"] if run.exists() else [])]
        process = Process([*words, *([] if run.exists() else ["--out", "run"])], folder)
        if found["killed"] < most:
            _wait_for_training(process, run, before)
            time.sleep(rng.uniform(0.0, lasts / 2))
            process.send(signal.SIGKILL)
        ended = process.ended()
        if ended.code == 0:
            break
        if ended.code != -signal.SIGKILL:
            found[f"{kind}: exit {ended.code}: {ended.printed[-200:]}"] += 1
            break
        found["killed"] += 1
        update = _kept(run, update, found)
    return found


def _logged(run: Path) -> tuple[int, int]:
    """When the log of a run was written last, and its length."""
    log = run / "log.jsonl"
    return (log.stat().st_mtime_ns, log.stat().st_size) if log.exists() else (0, 0)


def _wait_for_training(process: Process, run: Path, before: tuple[int, int]) -> None:
    """Wait until a run has begun, or gone on, with a phase."""
    limit = time.monotonic() + PATIENCE
    while time.monotonic() < limit and process.at_work():
        if _logged(run) != before and '"start"' in (run / "log.jsonl").read_text():
            return
        time.sleep(0.002)


def _kept(run: Path, update: int, found: Counter[str]) -> int:
    """Count what is wrong with the newest checkpoint after a kill; give its update."""
    if not (run / "manifest.json").exists():
        if run.exists():  # killed before it had written what it is
            shutil.rmtree(run)
        return 0
    try:
        restored = RunDirectory.reopen(str(run)).newest()
    except Fault as fault:
        found[f"lost: {fault.message}"] += 1
        return update
    if restored is not None and restored.refused:
        found["unreadable"] += 1
    now = 0 if restored is None else int(restored.path.stem.rpartition("-")[2])
    if now != update:
        found["went back" if now < update else "further"] += 1
    return now


def _differences(whole: Path, run: Path) -> Iterator[str]:
    """In what a run that was gone on with differs from the unbroken one."""
    if not list(run.glob("checkpoints/update-*")):
        yield "without an end"
        return
    (a, at), (b, bt) = (_newest(folder) for folder in (whole, run))
    if a.keys() != b.keys() or any(not np.array_equal(a[k], b[k]) for k in a):
        yield "other bits"
    if _untimed(at) != _untimed(bt):
        yield "other results"
    if _reports(whole) != _reports(run):
        yield "other reports"
    if list(run.rglob(".*.tmp")):
        yield "litter"


def _newest(run: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    return checkpoint.load(sorted((run / "checkpoints").glob("update-*"))[-1])


def _untimed(meta: dict[str, Any]) -> Any:
    return {name: {**r, "seconds": 0} for name, r in meta["results"].items()}


def _reports(run: Path) -> list[Any]:
    said = RunDirectory(run).records()
    return [(r["phase"], r["update"], r["watch"]) for r in said if r["event"] == "report"]
