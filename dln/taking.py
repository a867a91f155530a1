"""The figures of a finished run, or of a sweep, from the directory it left behind."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from dln import records
from dln.grammar.diagnostics import Fault
from dln.grammar.parser import parse_source
from dln.spec import read

Data = dict[str, Any]


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
    from dln.runtime.rundir import RunDirectory

    rundir = RunDirectory(folder)
    said = rundir.records()
    begun = next((r for r in said if r.get("event") == "run"), None)
    done = [r for r in said if r.get("event") == "finished"]
    if begun is None or not done:
        raise Fault(f"{folder} holds no finished run", "dln run --resume " + str(folder), "E541")
    facts = rundir.manifest()
    seconds = sum(p["seconds"] for p in done[-1]["phases"].values())
    options = "--slow" if begun["slow"] else ""
    run = records.provenance(
        _digest(folder), facts["seed"], seconds, facts["backend"], options,
        facts, _day(folder / "log.jsonl"),
    )  # fmt: skip
    return Taken(Path(begun["spec"]).stem, "run", done[-1], run)


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
