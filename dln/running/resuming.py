"""Going on with an earlier run: which directory, with which options.

What the command line does not say is as in the first run, written in its directory. What it says
is done where that has a meaning, and refused where it has none (`differences`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dln.grammar.diagnostics import Fault
from dln.running import differences, recording
from dln.running.differences import Earlier
from dln.runtime.checkpoint.rundir import RunDirectory
from dln.settings import Settings
from dln.spec import find, shipped

ROOT = "runs"
MANIFEST = ("backend", "threads", "seed")  # the settings that the manifest of a run holds
STARTED = ("constants", "data", "dtype", "epochs", "limit", "phase", "slow")  # and those of its log


def earlier(name: str | None, given: Settings) -> Earlier:
    """The run to go on with. Raises DlnError or Fault where there is none, or it cannot go on."""
    folder = given.resume or given.out
    if folder and name is None and not Path(folder).is_dir():
        if Path(folder).is_file() or folder.removesuffix(".dln") in shipped():
            folder, name = None, folder  # `--resume mlp`: the spec, not a directory
    if not folder:
        folder = newest(Path(name).stem if name else "")
    rundir = RunDirectory.reopen(folder)
    spec, first = remembered(rundir)
    differences.refuse_options(folder, first, given)
    settings, notes = differences.joined(first, given)
    path, restored = spec if name is None else str(find(name)), rundir.newest()
    for fault in restored.refused if restored else ():
        notes += (f"{fault.message}; going on from an earlier one",)
    return Earlier(rundir, path, settings, restored, first, spec, notes)


def newest(spec: str) -> str:
    """The newest run directory of a spec (of any, without a name) that is not finished. Raises
    `Fault` E541 where there is none."""
    wanted = re.compile(re.escape(spec) + r"-(\d+)" if spec else r".*-(\d+)")
    manifests = [p for p in Path(ROOT).glob("*/manifest.json") if wanted.fullmatch(p.parent.name)]
    ages = [(p.stat().st_mtime, int(p.parent.name.rpartition("-")[2]), p) for p in manifests]
    for *_, manifest in sorted(ages, reverse=True):
        with suppress(Fault):  # one that was edited is no reason to refuse another
            said = RunDirectory(manifest.parent).records()
            if not any(r.get("event") == "finished" for r in said):
                return str(manifest.parent)
    whose = f"unfinished run of {spec}" if spec else "unfinished run"
    remedy = "dln run SPEC --resume DIR" if manifests else f"dln run {spec or 'SPEC'}"
    raise Fault(f"there is no {whose} in {ROOT}/", remedy, "E541")


def refuse_python(path: Path, begun: Mapping[str, Any]) -> None:
    """Raise `Fault` E541 for a run that Python trained, on what it was handed there."""
    if begun.get(recording.PYTHON):
        remedy = f'dln.open("{path}") from Python, or dln apply {path} NET --data FILE'
        message = f"{path} was trained from Python, on what it was handed there"
        raise Fault(message, remedy, "E541")


def remembered(rundir: RunDirectory) -> tuple[str, Settings]:
    """The spec of a run and the settings that it was started with, or gone on with last. Raises
    `Fault` E541 where it does not say so."""
    facts = rundir.manifest()
    started = [r for r in rundir.records() if r.get("event") == "run"]
    if not started or "spec" not in started[-1]:
        raise Fault(f"{rundir.path} does not say which spec it ran", "start a new run", "E541")
    refuse_python(rundir.path, started[-1])
    said = {k: started[-1][k] for k in STARTED} | {k: facts[k] for k in MANIFEST}
    said |= recording.later(started[-1])
    return started[-1]["spec"], Settings(**said, out=str(rundir.path))
