"""A sweep in eight parts at once, some of them killed at work and started again."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import Any
from unittest import mock

from dln.cli import carried_out
from dln.printing import pictures
from dln.runtime.checkpoint.rundir import RunDirectory
from trials.processes import PATIENCE, Process

PARTS = 8

SPEC = """# Folds, states, draws and checkpoints.
const k = 0
const rate = 0.1
const most = 1
data d = rows([for i in 1..12: [i / 4, sin(i)]]) {
  x[1] = raw[:1]
  t[1] = raw[1:]
  split fold[4] shuffled
}
let net = chain([dense(4, act = tanh), dense(1)])
train fit on d - d.fold[k] batch 2 for most updates {
  noise ~ normal(zeros(1), 0.1)
  minimize sum((net(x + noise) - t)^2) over net with adam(lr = 0.1 * rate)
  watch error = sum((net(x) - t)^2) on d.fold[k] every 500 updates
  checkpoint every 100 updates
}
sweep each {
  vary k in 0..3
  vary rate in [0.1, 0.2]
  report fit.error, fit.updates
  expect fit.error < 1e9
}
"""


def killed(folder: Path, count: int, outside: bool, seed: int = 0) -> Counter[str]:
    """So many kills, two to a sweep: in the middle of a phase, right after a checkpoint; or from
    `outside`, at a random time after the first, of longer runs. What came of them."""
    updates = 10_000 if outside else 500
    pictures.available = lambda: False  # in all that are forked: a second each
    found, rng = Counter[str](), random.Random(seed)
    folder.mkdir(parents=True)
    (folder / "each.dln").write_text(SPEC)
    constant = ["-D", f"most={updates}"]
    whole = _sweep(folder, "alone", "--jobs", "1", "--threads", "1", *constant, "--out")
    for turn in range((count + 1) // 2):
        out = f"rows-{turn}"
        every = {k: ["--part", f"{k}/{PARTS}", "--out", str(folder / out), *constant]
                 for k in range(1, PARTS + 1)}  # fmt: skip
        victims = rng.sample(sorted(every), 2)
        work = {}
        for k, words in every.items():
            with mortal(rng.choice([1, 2, 3])) if k in victims and not outside else nullcontext():
                work[k] = _begun(folder, f"{turn}-{k}", *words)
        for k in victims if outside else ():
            _wait_for_checkpoint(work[k], folder / out, k)
            time.sleep(rng.uniform(0, 0.2))
            work[k].send(signal.SIGKILL)
        for process in work.values():
            found[f"exit {process.ended().code}"] += 1
        early = _gathered(folder, out)
        found["told as begun"] += sum(m["begun"] for m in early["missing"]["each"])
        for k in victims:
            again = _begun(folder, f"{turn}-{k}", *every[k]).ended()
            found[f"again: exit {again.code}"] += 1
            found["went on from a checkpoint"] += "from update-" in again.printed
        found["equal" if _same(_gathered(folder, out), whole) else "other rows"] += 1
        found["litter"] += len(list((folder / out).rglob("*.tmp")))
        found["left begun"] += sum(p.is_dir() for p in (folder / out / "begun").iterdir())
        found["equal table" if _table(folder / out) == _table(folder / "alone") else "other"] += 1
    return +found


@contextmanager
def mortal(last: int) -> Iterator[None]:
    """A process that is forked in here is killed right after so many checkpoints."""
    saved, save = [], RunDirectory.save

    def once_more(self: RunDirectory, *given: Any, **more: Any) -> Path:
        saved.append(save(self, *given, **more))
        if len(saved) == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return saved[-1]

    with mock.patch.object(RunDirectory, "save", once_more):
        yield


def _begun(folder: Path, name: str, *words: str) -> Process:
    """A sweep at work, which prints into a folder of its own."""
    own = folder / name
    own.mkdir(exist_ok=True)
    return Process(["sweep", str(folder / "each.dln"), *words], own)


def _sweep(folder: Path, out: str, *words: str) -> dict[str, Any]:
    """What a sweep in this process says as JSON, of which later ones are forked."""
    printed = io.StringIO()
    with redirect_stdout(printed):
        spec, place = str(folder / "each.dln"), str(folder / out)
        carried_out(["sweep", spec, *words, place, "--json", "-q"])
    found: dict[str, Any] = json.loads(printed.getvalue())
    return found


def _gathered(folder: Path, out: str) -> dict[str, Any]:
    return _sweep(folder, out, "--gather")


def _wait_for_checkpoint(process: Process, out: Path, k: int) -> None:
    limit = time.monotonic() + PATIENCE
    folder = out / "begun" / f"each-{k}" / "checkpoints"
    while time.monotonic() < limit and process.at_work():
        if any(folder.glob("update-*.safetensors")):
            return
        time.sleep(0.002)


def _same(found: dict[str, Any], whole: dict[str, Any]) -> bool:
    """Whether two sweeps have the same rows, but for their seconds, and the same means."""
    rows = [[{**r, "seconds": 0} for r in each["sweeps"]["each"]] for each in (found, whole)]
    return rows[0] == rows[1] and found["means"] == whole["means"] and "missing" not in found


def _table(folder: Path) -> list[list[str]]:
    """The table without its seconds."""
    lines = [line.split(",") for line in (folder / "table.csv").read_text().splitlines()]
    return [line[:-2] + line[-1:] for line in lines]
