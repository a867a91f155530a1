"""What the directory of a run says of it, read and nothing else: no file is written or removed.

Runs of any age are read as far as they say something; what a log of before does not say is left
out. Faults: E548 a folder that holds no run.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dln.grammar.diagnostics import Fault
from dln.runtime.checkpoint import journal
from dln.runtime.checkpoint.rundir import LOG, MANIFEST, RESOLVED, SPEC, RunDirectory

LATELY = 600.0
"""Seconds since a log was written within which nobody can say that its run has ended."""

OPTIONS: Mapping[str, Any] = {
    "seed": 0, "epochs": None, "limit": None, "phase": None, "slow": False, "dtype": None,
    "shards": None,
    "backend": "numpy", "threads": None, "data": {}, "from": None,
}  # fmt: skip
"""The options of a run, with what they are where nobody gives them."""

SWEEP = "sweep.json"  # what a sweep leaves in its folder
EVENTS = ("run", "start", "report", "checkpoint", "end", "finished", "interrupted", "failed")
ENDS = {"finished": "complete", "interrupted": "interrupted", "failed": "failed"}
"""The last record of a log, and the state that it tells of."""


@dataclass(frozen=True)
class LoggedReading:
    """A report of a watch: after how many updates and epochs of its phase, and the value, a number
    or several."""

    update: int
    epoch: int
    value: Any


@dataclass
class PhaseRecord:
    """A phase that was begun: how far it has come, the last values of its watches, all of them."""

    name: str
    updates: int = 0
    epochs: int = 0
    seconds: float | None = None
    ended: bool = False
    history: dict[str, list[LoggedReading]] = field(default_factory=dict)

    @property
    def watch(self) -> dict[str, Any]:
        """The last value of each watch."""
        return {name: readings[-1].value for name, readings in self.history.items()}


@dataclass(frozen=True)
class RecordedRun:
    """A run. `constants` are those that were given to it, `options` those that are not as nobody
    gives them. `state` is complete, interrupted, running?, failed or damaged, `why` says of the
    last two what is wrong."""

    path: Path
    spec: str
    state: str
    why: str
    constants: Mapping[str, Any]
    options: Mapping[str, Any]
    phases: Mapping[str, PhaseRecord]
    checks: tuple[Mapping[str, Any], ...]
    manifest: Mapping[str, Any]
    text: str
    resolved: str

    @property
    def watch(self) -> dict[str, Any]:
        """The last value of each watch, called `phase.watch` where several phases have run."""
        named = len(self.phases) > 1
        return {f"{p.name}.{name}" if named else name: value
                for p in self.phases.values() for name, value in p.watch.items()}  # fmt: skip

    @property
    def seconds(self) -> float | None:
        """How long its phases were trained in all, as far as its log says."""
        known = [p.seconds for p in self.phases.values() if p.seconds is not None]
        return sum(known) if known else None


def is_run(folder: Path) -> bool:
    """Whether a folder holds what is left of a run."""
    return os.path.isfile(folder / LOG) or os.path.isfile(folder / MANIFEST)


def read_run(folder: Path) -> RecordedRun:
    """A run by its directory. Raises `Fault` E548 where it holds none."""
    if not is_run(folder):
        there = os.path.exists(folder)  # False of a name that no folder can have
        why = "there is no log.jsonl in it" if there else "there is no such folder"
        raise _foreign(folder, "it is a sweep" if os.path.isfile(folder / SWEEP) else why)
    rundir, wrong = RunDirectory(folder), list[str]()
    records = _records(rundir, wrong)
    if records and not any(r.get("event") in EVENTS for r in records):
        raise _foreign(folder, "its log.jsonl is none that dln wrote")
    begun = [r for r in records if r.get("event") == "run"]
    first: Mapping[str, Any] = begun[-1] if begun else {}
    manifest = _manifest(rundir, wrong)
    try:
        phases, checks = _phases(records), _checks(records)
        constants, options = dict(first.get("constants") or {}), dict(_options(first, manifest))
    except (TypeError, ValueError, AttributeError):  # no log that dln has written
        wrong.append(f"{LOG} says what cannot be")
        phases, checks, constants, options = {}, (), {}, {}
    state, why = ("damaged", wrong[0]) if wrong else _state(folder, records)
    return RecordedRun(
        folder, Path(str(first.get("spec", ""))).stem or _called(folder), state, why,
        constants, options, phases, checks, manifest,
        _text(folder / SPEC), _text(folder / RESOLVED),
    )  # fmt: skip


def _foreign(folder: Path, why: str) -> Fault:
    return Fault(f"{folder} holds no run: {why}", "dln runs, which lists those in runs/", "E548")


def _records(rundir: RunDirectory, wrong: list[str]) -> list[dict[str, Any]]:
    """The log; what is not as it was left is added to what is wrong. Logs of before have no seals,
    and nobody can tell."""
    path = rundir.path / LOG
    if not path.is_file():
        wrong.append(f"{LOG} is missing")
        return []
    try:
        read = list(journal.read(path))
        wrong += filter(None, [rundir.damage() if any(seal for _, seal, _ in read) else ""])
    except (Fault, OSError) as refused:
        wrong.append(getattr(refused, "message", str(refused)))
        return []
    if not read:
        wrong.append(f"{LOG} is empty")
    return [record for record, _, _ in read]


def _manifest(rundir: RunDirectory, wrong: list[str]) -> dict[str, Any]:
    """What the run depended on; nothing where it was trained from Python without."""
    if not (rundir.path / MANIFEST).is_file():
        return {}
    try:
        found: Any = rundir.manifest()
    except Fault as fault:
        wrong.append(fault.message)
        return {}
    return found if isinstance(found, dict) else {}


def _state(folder: Path, records: list[dict[str, Any]]) -> tuple[str, str]:
    """Complete, interrupted, failed with the message; a log that just ends is of a run that goes
    on, or of one that was killed."""
    last = records[-1]
    event = str(last.get("event"))
    if event in ENDS:
        problems = last.get("problems") or [{}]
        return ENDS[event], str(problems[0].get("message", "")) if event == "failed" else ""
    if event == "end" and not any(r.get("event") == "run" and not r.get("python") for r in records):
        return "complete", ""  # trained from Python, which says no more
    lately = time.time() - (folder / LOG).stat().st_mtime < LATELY
    return ("running?", "") if lately else ("interrupted", "")


def _phases(records: Iterable[Mapping[str, Any]]) -> dict[str, PhaseRecord]:
    """What the log says of each phase."""
    found: dict[str, PhaseRecord] = {}
    for r in records:
        name = r.get("phase")
        if not isinstance(name, str) or r.get("event") not in ("start", "report", "end"):
            continue
        phase = found.setdefault(name, PhaseRecord(name))
        phase.updates = int(r.get("updates" if r["event"] == "end" else "update") or 0)
        phase.epochs = int(r.get("epochs" if r["event"] == "end" else "epoch") or phase.epochs)
        phase.seconds = r.get("seconds", phase.seconds)
        phase.ended = r["event"] == "end"
        for watch, value in (r.get("watch") or {}).items():
            reading = LoggedReading(phase.updates, phase.epochs, numbers(value))
            phase.history.setdefault(watch, []).append(reading)
    return found


def numbers(value: Any) -> Any:
    """A number as the log holds it, "nan" and "inf" as texts; several as a list; whatever else a
    log may hold, which nobody wrote, as none."""
    if isinstance(value, list):
        return [numbers(v) for v in value]
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def _options(first: Mapping[str, Any], manifest: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, usual in OPTIONS.items():
        value = first.get(name, manifest.get(name, usual))
        if name == "from" and isinstance(value, Mapping):  # what was taken of it stands there too
            value = value.get("from")
        if value != usual:
            yield name, value


def _checks(records: list[dict[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    """The checks of a run that has ended."""
    ended = [r for r in records if r.get("event") == "finished"]
    checks = ended[-1].get("checks") if ended and ended[-1] is records[-1] else ()
    return tuple(c for c in checks or () if isinstance(c, dict))


def _called(folder: Path) -> str:
    """The spec that the name of a directory tells of: `mlp` of `mlp-12`."""
    head, _, number = folder.resolve().name.rpartition("-")
    return head if number.isdigit() else ""


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", errors="replace")
    except OSError:
        return ""
