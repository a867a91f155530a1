"""The figures of a run, or of a sweep, from the directory it left behind.

Of a run that was stopped: those of the phases that were finished, and how far the others came.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from dln.grammar.diagnostics import Fault, Source
from dln.grammar.parser import parse_source
from dln.printing import progress
from dln.results import records
from dln.results.records import Data
from dln.running import expectations
from dln.running.report import facts
from dln.running.resuming import remembered
from dln.running.training import opened
from dln.runtime.checkpoint.rundir import Restored, RunDirectory
from dln.spec import from_source, read
from dln.sweep import directory


@dataclass(frozen=True)
class Taken:
    """What a directory holds: of which spec, a `run` or a `sweep`, as `--json` prints it, and when
    and where it was."""

    spec: str
    kind: str
    data: Data
    run: Data


def taken(folder: Path) -> Taken:
    """The figures of a directory. Raises `Fault` where none were finished there."""
    try:
        return _sweep(folder) if (folder / "sweep.json").is_file() else _run(folder)
    except (OSError, ValueError, KeyError) as error:
        raise Fault(f"{folder} holds no run that can be read: {error}", code="E541") from None


def _run(folder: Path) -> Taken:
    rundir = RunDirectory.reopen(str(folder))
    restored = rundir.last()
    said = rundir.records()
    begun = next((r for r in said if r.get("event") == "run"), None)
    if begun is None:
        raise Fault(f"{folder} holds no run", "dln run SPEC --out DIR", "E541")
    done = [r for r in said if r.get("event") == "finished"]
    data, facts = done[-1] if done else _stopped(rundir, restored, said), rundir.manifest()
    options, log = "--slow" if begun["slow"] else "", folder / "log.jsonl"
    run = _provenance(log, facts, facts, data["phases"].values(), options)
    return Taken(Path(begun["spec"]).stem, "run", data, run)


def _stopped(rundir: RunDirectory, restored: Restored | None, said: list[Data]) -> Data:
    """What a run that was stopped has come to, from its newest checkpoint."""
    if restored is None:
        remedy = f"dln run --resume {rundir.path}"
        raise Fault(f"{rundir.path} holds no finished run, nor a phase of one", remedy, "E541")
    path, given = remembered(rundir)
    source = Source(path, read(rundir.path / "spec.dln").text)
    spec = from_source(source, Path(path).stem, given.constants, given.data, False, given.limit)
    session = opened(
        spec.compile(given.backend, given.dtype, given.threads, shards=given.shards), given.seed
    )
    session.restore(restored)
    found = expectations.verdicts(spec.model, session, slow=given.slow, seed=given.seed)
    data = facts(spec, session, found, rundir)
    reached = _reached(restored.meta["running"], said)
    finished = {p for p, r in session.results.items() if r.complete}
    for check in data["checks"]:
        if reached and check["status"] == "not run" and not finished.issuperset(check["phases"]):
            check["reached"] = reached
    return data


def _reached(running: Data | None, said: list[Data]) -> str:
    """`refine[1] stopped at update 10,120 of 44,000: error 1.9`, by its last watched values; or,
    between two phases, `stopped after layer[0]`."""
    if running is None:
        done = [r["phase"] for r in said if r.get("event") == "end"]
        return f"stopped after {done[-1]}" if done else ""
    own = [r for r in said if r.get("phase") == running["phase"]]
    total = next((r["updates"] for r in own if r["event"] == "start"), None)
    of = f" of {total:,}" if total else ""
    watched = running["watches"]["values"]
    values = progress.watched(watched)
    text = f"{running['phase']} stopped at update {running['update']:,}{of}"
    return f"{text}: {values}" if values else text


def _sweep(folder: Path) -> Taken:
    log = folder / "sweep.json"
    data = directory.read(folder)
    machine = json.loads((folder / "machine.json").read_text("utf-8"))
    rows = [r for some in data["sweeps"].values() for r in some]
    return Taken(data["spec"], "sweep", data, _provenance(log, data["settings"], machine, rows))


def _provenance(
    log: Path, settings: Data, machine: Data, parts: Iterable[Data], options: str = ""
) -> Data:
    """When and where a run was: `log` is what it wrote last, `parts` are what took time."""
    text = records.digest(parse_source(read(log.parent / "spec.dln")))
    seconds, day = sum(p["seconds"] for p in parts), date.fromtimestamp(log.stat().st_mtime)
    return records.provenance(
        text, settings["seed"], seconds, settings["backend"], options, machine, day.isoformat()
    )
