"""What a recorded run says of itself against what its replay says: logs, checkpoints, checks."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dln.grammar.diagnostics import Fault
from dln.printing.terminal import number
from dln.runtime.checkpoint import checkpoint
from dln.runtime.checkpoint.checkpoint import sha256
from dln.runtime.checkpoint.rundir import RunDirectory, numbered

LogRecord = Mapping[str, Any]
Records = Sequence[LogRecord]
Saved = tuple[Mapping[str, NDArray[Any]], Mapping[str, Any]]

UNTIMED = frozenset({"seconds", "log", "threads"})
"""What a replay cannot have in common: time, what was chosen by it, and how often something was
written."""
ITEMS = {  # what is compared of a record, beside its phase and its place
    "start": ("updates", "examples", "batch", "length"),
    "weights": ("weights",),
    "report": ("epoch", "watch"),
    "checkpoint": ("number", "weights", "best"),
    "end": ("epochs", "ended"),
}


class Difference(NamedTuple):
    """Something that is not as it was, or not as it was said to be."""

    place: str
    recorded: Any
    found: Any

    def __str__(self) -> str:
        return f"{self.place}: recorded {_short(self.recorded)}, found {_short(self.found)}"


def _short(value: Any) -> str:
    """A value as it is told: of a hash the beginning."""
    if isinstance(value, str):
        return f"{value[:12]}..." if len(value) == 64 and " " not in value else value or '""'
    return "nothing" if value is None else repr(value) if isinstance(value, float) else str(value)


def unlike(place: str, said: Any, now: Any, skip: Collection[str] = ()) -> Iterator[Difference]:
    """The parts of plain data that differ, but for keys to be skipped."""
    if isinstance(said, Mapping) and isinstance(now, Mapping):
        for key in [*said, *(k for k in now if k not in said)]:
            if key not in skip:
                inner = f"{place}.{key}" if ": " in place else f"{place}: {key}"
                yield from unlike(inner, said.get(key), now.get(key), skip)
    elif said != now:
        yield Difference(place, said, now)


# ---- the log -----------------------------------------------------------------------------------


def said(record: LogRecord) -> str:
    """A record as it is told of: `report of fit, update 60`."""
    event = str(record.get("event", "a record"))
    if "phase" not in record:
        return event
    at = record.get("update", record.get("updates"))
    return f"{event} of {record['phase']}" + ("" if at is None else f", update {at:,}")


def edited(rundir: RunDirectory, records: Records) -> Iterator[Difference]:
    """Lines of the log that are not as they were written."""
    for i in rundir.edited():
        place = f"log.jsonl, record {i + 1} ({said(records[i])})"
        yield Difference(place, "what its seal says", "something else")
    numbers = [r["n"] for r in records if "n" in r]
    if numbers != list(range(len(numbers))):
        yield Difference("log.jsonl", f"{len(numbers)} records, numbered", "other numbers")


def _items(records: Records, timed: Collection[str]) -> dict[tuple[Any, ...], list[LogRecord]]:
    """What records say, by kind, phase and place, in the order of the first; a checkpoint that was
    written twice counts once. Lengths in seconds are left out, for a replay counts updates."""
    found: dict[tuple[Any, ...], list[LogRecord]] = {}
    for r in records:
        event, phase = r["event"], r.get("phase")
        if event not in ITEMS or (event == "start" and r["update"]):
            continue
        key = (event, phase, r.get("update", r.get("updates")), r.get("complete", False))
        parts = {k: r.get(k) for k in ITEMS[event]}
        if event == "start" and phase in timed:
            del parts["length"], parts["updates"]
        same = found.setdefault(key, [])
        if event == "checkpoint":
            parts["best"] = any(one["best"] for one in (parts, *same))
            same.clear()
        same.append(parts)
    return found


def compared(
    records: Records, logged: Records, timed: Collection[str], done: Mapping[str, int]
) -> Iterator[Difference]:
    """The log against that of a replay, the first difference in time first. Of a phase that the
    replay has not ended, but `done` so many updates of, what comes after them is not asked for."""
    mine, theirs = _items(logged, timed), _items(records, timed)
    ended = {r["phase"] for r in logged if r["event"] == "end"}
    for key, sayings in theirs.items():
        event, phase, update, _ = key
        if key not in mine and (phase in ended or update < done.get(phase, 0)):
            yield Difference(_place(key), f"a {event}", "none")
        for was, now in zip(sayings, mine.get(key, ()), strict=False):
            yield from unlike(_place(key), was, now)
    for key, sayings in mine.items():
        event, phase, update, _ = key
        asked = event in ("report", "weights") and (phase in ended or update < done[phase])
        if asked and len(theirs.get(key, ())) < len(sayings):
            yield Difference(_place(key), "none", f"a {event}")
    was, now = (_programs(some) for some in (records, logged))
    for name in was:
        if name in now or ended >= set(done):
            yield from unlike(f"program {name}", was[name], now.get(name))


def _place(key: tuple[Any, ...]) -> str:
    event, phase, update, _ = key
    return f"{event} of {phase}" + ("" if event == "start" else f", update {update:,}")


def _programs(records: Records) -> dict[str, str]:
    """The hashes of programs by name."""
    return {k: text for r in records for k, text in r.get("programs", {}).items()}


# ---- the checkpoints ---------------------------------------------------------------------------


def record_of(path: Path, records: Records) -> LogRecord | None:
    """What the log says of a checkpoint's file."""
    kept = [r for r in records if r["event"] == "checkpoint"]
    if path.name == "best.safetensors":
        kept = [r for r in kept if r["best"]]
    else:
        kept = [r for r in kept if path.name == _file(r)]
    return kept[-1] if kept else None


def missing(rundir: RunDirectory, records: Records) -> Iterator[Difference]:
    """Files that should be there: the last checkpoint, the one before it where no run went on, and
    the best. A process may have been killed between the last line of its log and the file."""
    there = {path.name for path in rundir.checkpoints.glob("*.safetensors")}
    kept = [r for r in records if r["event"] == "checkpoint"]
    if records[-1]["event"] == "checkpoint" and _file(kept[-1]) not in there:
        kept.pop()
    went_on = any(r["event"] == "start" and r["update"] for r in records)
    names = list(dict.fromkeys(map(_file, reversed(kept))))[: 1 if went_on else 2]
    names += ["best.safetensors"] if any(r["best"] for r in kept) else []
    for name in names:
        if name not in there:
            yield Difference(f"checkpoints/{name}", "a checkpoint", "no file")


def _file(record: LogRecord) -> str:
    """The name of a checkpoint's file."""
    return numbered(record["number"])


def of_file(
    path: Path, record: LogRecord | None, saved: Saved | None, skip: Collection[str]
) -> Iterator[Difference]:
    """A checkpoint against the log and, where that has come by it, the replay."""
    place = f"checkpoints/{path.name}"
    if record is None:
        yield Difference(place, "nothing", "a file that no run has written")
        return
    try:
        data = path.read_bytes()
        arrays, meta = checkpoint.decode(data, place)
    except (Fault, OSError) as fault:
        yield Difference(place, "a checkpoint", getattr(fault, "message", str(fault)))
        return
    found: list[Difference] = []
    if saved is not None:
        for name in sorted({*arrays, *saved[0]}):
            found += _tensor(f"{place}: {name}", arrays.get(name), saved[0].get(name))
        found += unlike(place, meta, saved[1], skip)
    if not found and sha256(data) != record["file"]:
        found = [Difference(place, record["file"], sha256(data))]
    yield from found


def _tensor(place: str, was: NDArray[Any] | None, now: NDArray[Any] | None) -> Iterator[Difference]:
    """The first element that differs."""
    if was is None or now is None:
        yield Difference(place, None if was is None else "a tensor", None if now is None else "one")
    elif (was.dtype, was.shape) != (now.dtype, now.shape):
        yield Difference(place, f"{was.dtype}{[*was.shape]}", f"{now.dtype}{[*now.shape]}")
    elif was.tobytes() != now.tobytes():
        flat = [np.ascontiguousarray(a).reshape(-1) for a in (was, now)]
        bits = [a.view(np.uint8).reshape(len(a), -1) for a in flat]
        wrong = np.flatnonzero((bits[0] != bits[1]).any(1))
        at = [int(i) for i in np.unravel_index(int(wrong[0]), was.shape)]
        more = f" and {len(wrong) - 1:,} more" if len(wrong) > 1 else ""
        values = [number(a[wrong[0]].item(), 1e-12) for a in flat]
        yield Difference(f"{place}{at if at else ''}{more}", *values)
