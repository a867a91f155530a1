"""A row of a sweep that is being worked on: its run directory, new or gone on with.

Problems: E595 one that cannot be gone on with.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dln.grammar.diagnostics import DlnError, Fault
from dln.reading.resolved import resolved
from dln.running import differences, recording
from dln.running.differences import Earlier
from dln.running.resuming import remembered
from dln.runtime.checkpoint.rundir import Restored, RunDirectory
from dln.settings import Settings
from dln.spec import Compiled, Spec


@dataclass(frozen=True)
class BegunRow:
    """The run directory of a row, and the checkpoint to go on from."""

    rundir: RunDirectory
    restored: Restored | None = None

    def read(self) -> dict[str, str]:
        """The texts and files of data that the row is worked out from, with their digests."""
        facts = self.rundir.manifest()
        found = dict(facts["sources"])
        for name, files in facts.get("data", {}).items():
            found |= {f"{file} of {name}": digest for file, digest in files.items()}
        return found


def begun(
    folder: Path, spec: Spec, compiled: Compiled, given: Settings, path: str, phases: Sequence[str]
) -> BegunRow:
    """The run directory of a row. One without a checkpoint is begun anew: nothing is lost with it.
    Raises `DlnError` E595 where one that has some cannot be gone on with."""
    if any((folder / "checkpoints").glob("*.safetensors")):
        try:
            return _gone_on(folder, spec, compiled, path, phases)
        except (Fault, DlnError) as e:
            why = e.problems[0].message if isinstance(e, DlnError) else e.message
            remedy = f"remove {folder}, and start the part again: it begins the row anew"
            raise Fault(why, remedy, "E595").at(None) from e
    removed(folder)
    rundir = RunDirectory.create(spec.name, str(folder))
    text = spec.kept.value("resolved", lambda: resolved(spec))
    recording.written(rundir, spec, compiled, given, path, text)
    return BegunRow(rundir)


def _gone_on(
    folder: Path, spec: Spec, compiled: Compiled, path: str, phases: Sequence[str]
) -> BegunRow:
    rundir = RunDirectory.reopen(str(folder))
    was, first = remembered(rundir)
    restored = rundir.newest()
    before = Earlier(rundir, path, first, restored, first, was)
    differences.refuse_spec(before, spec, compiled, phases)
    return BegunRow(rundir, restored)


def removed(folder: Path) -> None:
    """Remove the run directory of a row; what the system does not let go of is left."""
    shutil.rmtree(folder, ignore_errors=True)
