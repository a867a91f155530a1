"""A recorded run verified: what agrees, and what differs with its place.

First what is written is held against its own hashes, so that whatever was edited is named; then
the run is trained once more, and what it reported, the hashes of its programs and weights, and its
checkpoints are held against that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from dln.grammar.diagnostics import DlnError, Fault, Source
from dln.printing.terminal import plain, plural
from dln.reading.resolved import resolved
from dln.running import beginning, evidence, expectations, recording
from dln.running.evidence import UNTIMED, Difference, LogRecord, Records, unlike
from dln.running.replay import Replay, moment_of, replayed, stretches
from dln.running.report import phase_facts
from dln.running.verdict import Verdict
from dln.runtime.checkpoint.rundir import RunDirectory, machine
from dln.runtime.device.host import threads_kept
from dln.runtime.session import Session
from dln.settings import Settings
from dln.spec import Compiled, Spec, from_source


@dataclass
class Verification:
    """What came of it: what agrees, by what it is; what differs, the first in time first; what is
    to be said besides; how many updates were replayed."""

    agrees: dict[str, str] = field(default_factory=dict)
    differs: list[Difference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    updates: int = 0

    def take(self, what: str, count: str, found: Sequence[Difference]) -> None:
        """Take up what was found of one kind of thing."""
        self.differs += found
        if not found:
            self.agrees[what] = count


def verify(folder: str, most: int | None, memory_limit: int | None = None) -> Verification:
    """Verify a recorded run by its first `most` updates, or by all. Raises `Fault` E541 where there
    is nothing to verify, `DlnError` where it cannot be replayed."""
    if not Path(folder).is_dir():
        raise Fault(f"there is no directory {folder}", "name the directory of a run", "E541")
    rundir, verdict = RunDirectory(Path(folder)), Verification()
    records = rundir.records() if (rundir.path / "log.jsonl").is_file() else []
    if not records or len(rundir.edited()) == len(records):
        message = f"{folder} holds no run that could be replayed: its log has no seals"
        remedy = "name the directory of a run; one of an earlier dln cannot be verified"
        raise Fault(message, remedy, "E541")
    if any(r.get("event") == "run" and r.get(recording.PYTHON) for r in records):
        message = f"{folder} was trained from Python, on what it was handed there"
        raise Fault(message, "train it by dln run, which can be replayed", "E541")
    verdict.take("log", plural(len(records), "record"), list(evidence.edited(rundir, records)))
    try:
        given, path, last = _started(records)
        source = Source(path, rundir.spec_text())
        spec = from_source(
            source, Path(path).stem, given.constants, given.data, False, given.limit, anew=True
        )
        compiled = spec.compile(
            given.backend, given.dtype, given.threads, memory_limit, shards=given.shards
        )
        _written(verdict, rundir, spec, compiled, given, last)
        _replayed(verdict, rundir, records, compiled, given, most)
    except Exception as error:  # what was edited may be anything, and has been named
        if not verdict.differs:
            raise
        problem = error.problems[0] if isinstance(error, DlnError) else error
        verdict.notes.append(f"it cannot be replayed: {getattr(problem, 'message', problem)}")
    return verdict


def _started(records: Records) -> tuple[Settings, str, LogRecord]:
    """The settings that a run was started with, or gone on with last, its spec, and the record."""
    last = [r for r in records if r.get("event") == "run"][-1]
    words = {word: last[word] for word in recording.WORDS} | recording.later(last)
    return Settings(constants=last["constants"], **words), last["spec"], last


def _written(
    verdict: Verification, rundir: RunDirectory, spec: Spec, compiled: Compiled, given: Settings,
    last: LogRecord,
) -> None:  # fmt: skip
    """The manifest against what is there now, and the texts against their hashes."""
    text, said = resolved(spec), rundir.manifest()
    now = recording.expected(spec, compiled, given, text, beginning.facts(rundir))
    intact = rundir.hash_of("manifest.json") == last["manifest"]
    found = []
    for difference in unlike("manifest.json", said, now):
        if intact and difference.place.split(": ")[1].split(".")[0] in machine():
            verdict.notes.append(f"on another machine, where bits may differ: {difference}")
        else:
            found.append(difference)
    if not found and not intact:
        found = [Difference("manifest.json", last["manifest"], rundir.hash_of("manifest.json"))]
    if rundir.text("resolved.dln") != text:
        found.append(Difference("resolved.dln", "the spec with its defaults", "another text"))
    texts, files = len(now["sources"]), sum(map(len, now["data"].values()))
    verdict.take("spec and data", f"{plural(texts, 'text')}, {plural(files, 'file')}", found)


def _replayed(
    verdict: Verification, rundir: RunDirectory, records: Records, compiled: Compiled,
    given: Settings, most: int | None,
) -> None:  # fmt: skip
    """The log, the checkpoints and the checks against a replay."""
    paths = sorted(rundir.checkpoints.glob("*.safetensors"))
    files = {p: evidence.record_of(p, records) for p in paths if p.stem != "failed"}
    wanted: dict[str, set[int]] = {}
    for r in records:
        if r["event"] == "checkpoint":
            wanted.setdefault(r["phase"], set()).add(r["update"])
    timed = {r["phase"] for r in records if r["event"] == "start" and _timed(r)}
    begin = partial(beginning.again, rundir=rundir)
    replay = Replay(wanted, [moment_of(r) for r in files.values() if r], most)
    with threads_kept(rundir.manifest().get("blas_threads")):
        session = replayed(compiled, given, stretches(records), replay, records, begin)
    verdict.updates = sum(replay.done.values())
    found = list(evidence.compared(records, replay.logged, timed, replay.done))
    verdict.take("replay", f"{plural(len(replay.logged), 'record')}", found)
    skip = UNTIMED | ({"length", "shortened"} if timed else frozenset())
    kept = list(evidence.missing(rundir, records))
    for path, record in files.items():
        saved = replay.saved.get(moment_of(record)) if record else None
        kept += evidence.of_file(path, record, saved, skip)
    verdict.take("checkpoints", plural(len(files), "file"), kept)
    finished = [r for r in records if r["event"] == "finished"]
    if finished and session is not None and replay.over:
        found = list(_outcome(compiled.spec, session, given, finished[-1]))
        verdict.take("checks", plural(len(finished[-1]["checks"]), "expectation"), found)


def _timed(start: LogRecord) -> bool:
    return bool(start["length"]["unit"] == "second")


def _outcome(
    spec: Spec, session: Session, given: Settings, finished: LogRecord
) -> Iterator[Difference]:
    """What a finished run said of its phases and checks, but for what only slow ones ask."""
    yield from unlike("finished", finished["phases"], plain(phase_facts(spec, session)), UNTIMED)
    found = expectations.verdicts(spec.model, session, slow=True, seed=given.seed)
    pairs = zip(finished["checks"], map(Verdict.as_data, found), strict=False)
    for i, (was, now) in enumerate(pairs, 1):
        if "slow" not in was["reason"] and ".seconds" not in was["expect"]:
            yield from unlike(f"finished: expectation {i}", was, plain(now))
    if len(finished["checks"]) != len(found):
        yield Difference("finished: expectations", len(finished["checks"]), len(found))


def as_data(folder: str, verdict: Verification) -> Mapping[str, Any]:
    """What `--json` prints."""
    differs = [d._asdict() for d in verdict.differs]
    return {"run_dir": folder, "verified": not differs, "updates": verdict.updates,
            "agrees": verdict.agrees, "differs": differs, "notes": verdict.notes}  # fmt: skip
