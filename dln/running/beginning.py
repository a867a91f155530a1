"""A run that begins with the parameters of another one, or of a file: `dln run SPEC --from RUN`.

What was taken is copied into the run directory, so that it can be gone on with, and verified,
without what it came from. Faults: E541 where that copy is not what was taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dln.grammar.diagnostics import Fault
from dln.printing.terminal import Terminal, columns, plural
from dln.runtime.checkpoint import checkpoint, foreign
from dln.runtime.checkpoint.checkpoint import Arrays, sha256
from dln.runtime.checkpoint.foreign import Fitted
from dln.runtime.checkpoint.rundir import RunDirectory
from dln.runtime.device.source_map import placed
from dln.runtime.session import Session

COPY = "from.safetensors"


@dataclass(frozen=True)
class Origin:
    """What a run begins with: the word by which it was asked for, the hash of the file, what was
    taken, and the bytes of a file that holds it."""

    word: str
    digest: str
    taken: Fitted
    copy: bytes

    def facts(self) -> dict[str, Any]:
        """What the manifest of the run says of it."""
        return {"from": self.word, "file": self.taken.file, "sha256": self.digest,
                "copy": sha256(self.copy), "taken": list(self.taken.taken),
                "kept": dict(self.taken.kept), "left": dict(self.taken.left)}  # fmt: skip

    def write(self, rundir: RunDirectory) -> None:
        """Leave the copy in the directory of the run."""
        with checkpoint.refusing("write", rundir.path / COPY, "free some space", "E542"):
            checkpoint.atomic_write(rundir.path / COPY, self.copy)


def taken(terminal: Terminal, session: Session, word: str | None) -> Origin | None:
    """Take over what fits of a run or file, and print what was taken, what not, and why. Raises
    `DlnError`, as `Session.load` does."""
    if word is None:
        return None
    with placed(session.plan.texts):
        file, arrays = foreign.read(word)
        found, fits = foreign.fitting(session.state, file, arrays)
        foreign.take(session.state, fits)
    terminal.result(table(found))
    copy = checkpoint.encode(fits, {})
    return Origin(word, sha256(file.read_bytes()), found, copy)


def table(found: Fitted) -> str:
    """What was taken, what not, and why."""
    rows = [("taken", path, str(list(shape))) for path, shape in found.taken.items()]
    rows += [("not taken", path, why) for path, why in {**found.kept, **found.left}.items()]
    count = len(found.taken) + len(found.kept)
    said = f"{len(found.taken)} of {plural(count, 'parameter')} from {found.file}"
    return f"{said}\n\n{columns(rows, lead='  ')}\n"


def facts(rundir: RunDirectory) -> Mapping[str, Any] | None:
    """What the manifest of a run says of what it began with, with the hash of the copy as it is."""
    said: Mapping[str, Any] | None = rundir.manifest().get("from")
    return said and {**said, "copy": rundir.hash_of(COPY)}


def again(session: Session, rundir: RunDirectory) -> None:
    """Take over what a recorded run began with, if it did. Raises `Fault` E541 where the copy is
    another one."""
    said = rundir.manifest().get("from")
    if said is None:
        return
    arrays: Arrays = checkpoint.load(rundir.path / COPY)[0]
    if rundir.hash_of(COPY) != said["copy"]:
        message = f"{rundir.path / COPY} is not what the run began with"
        raise Fault(message, "put back the file as it was, or start a new run", "E541")
    foreign.take(session.state, arrays)
