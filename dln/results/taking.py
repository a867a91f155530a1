"""The figures of a run, or of a sweep, from the directory it left behind.

Of a run that was stopped: those of the phases that were finished, and how far the others came.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from dln.grammar.diagnostics import Fault, Source
from dln.grammar.parser import parse_source
from dln.printing.terminal import number
from dln.results import records
from dln.results.records import Data
from dln.running import expectations
from dln.running.report import facts
from dln.running.resuming import remembered
from dln.running.training import opened
from dln.runtime.checkpoint.rundir import RunDirectory
from dln.spec import from_source, read


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
    rundir = RunDirectory(folder)
    said = rundir.records()
    begun = next((r for r in said if r.get("event") == "run"), None)
    if begun is None:
        raise Fault(f"{folder} holds no run", "dln run SPEC --out DIR", "E541")
    done = [r for r in said if r.get("event") == "finished"]
    data = done[-1] if done else _stopped(rundir, said)
    facts = rundir.manifest()
    seconds = sum(p["seconds"] for p in data["phases"].values())
    options = "--slow" if begun["slow"] else ""
    run = records.provenance(
        _digest(folder), facts["seed"], seconds, facts["backend"], options,
        facts, _day(folder / "log.jsonl"),
    )  # fmt: skip
    return Taken(Path(begun["spec"]).stem, "run", data, run)


def _stopped(rundir: RunDirectory, said: list[Data]) -> Data:
    """What a run that was stopped has come to, from its newest checkpoint."""
    restored = rundir.newest()
    if restored is None:
        remedy = f"dln run --resume {rundir.path}"
        raise Fault(f"{rundir.path} holds no finished run, nor a phase of one", remedy, "E541")
    path, given = remembered(rundir)
    source = Source(path, read(rundir.path / "spec.dln").text)
    spec = from_source(source, Path(path).stem, given.constants, given.data, False, given.limit)
    session = opened(spec.compile(given.backend, given.dtype, given.threads), given.seed)
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
    values = ", ".join(f"{k} {number(v)}" for k, v in watched.items())
    text = f"{running['phase']} stopped at update {running['update']:,}{of}"
    return f"{text}: {values}" if values else text


def _sweep(folder: Path) -> Taken:
    data = json.loads((folder / "sweep.json").read_text("utf-8"))
    facts = json.loads((folder / "machine.json").read_text("utf-8"))
    settings = data["settings"]
    seconds = sum(r["seconds"] for rows in data["sweeps"].values() for r in rows)
    run = records.provenance(
        _digest(folder), settings["seed"], seconds, settings["backend"], "", facts,
        _day(folder / "sweep.json"),
    )  # fmt: skip
    return Taken(data["spec"], "sweep", data, run)


def _digest(folder: Path) -> str:
    return records.digest(parse_source(read(folder / "spec.dln")))


def _day(path: Path) -> str:
    return date.fromtimestamp(path.stat().st_mtime).isoformat()
