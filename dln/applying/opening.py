"""A run opened again from its directory: the spec with what its files said, and the parameters.

Nothing is written there, and neither the file of the spec nor the data are needed. Faults: E577 a
run of which nothing could be applied; E541 one that is not as it was left, E548 no run at all.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dln.compiler.schema import arguments
from dln.grammar.diagnostics import DlnError, Fault, Source, nearest
from dln.kept import answered
from dln.kept.kept_spec import KeptSpec
from dln.kept.questions import Doors
from dln.recorded.recorded_run import read_run
from dln.runtime.checkpoint import checkpoint
from dln.runtime.checkpoint.rundir import SPEC, Restored, RunDirectory
from dln.runtime.session import Session
from dln.settings import SpecOptions
from dln.spec import Compiled, Spec, header, text_file, used_file

NEWEST, BEST = "newest", "best"


@dataclass(frozen=True)
class Opened:
    """A run that was opened: its spec, a session with what it has learnt, which checkpoint that is,
    and what is to be said of it."""

    path: Path
    spec: Spec
    session: Session
    checkpoint: Path
    notes: tuple[str, ...]


def opened(
    run: str | os.PathLike[str], which: str = NEWEST, backend: str | None = None,
    threads: int | None = None, dtype: str | None = None,
) -> Opened:  # fmt: skip
    """A run by its directory, with its newest checkpoint, its best one or a file. Raises `DlnError`
    E541, E548 or E577, those of reading a spec, and of a device that there is not."""
    try:
        folder = Path(arguments.path("the run", run, "runs/mlp-1"))
        if os.path.isfile(folder) and folder.parent.name == "checkpoints":
            folder, which = folder.parent.parent, str(folder)
        found = read_run(folder)
        if found.state == "damaged":
            remedy = "put back the file as it was, or start a new run"
            raise Fault(f"{folder} is not as it was left: {found.why}", remedy, "E541")
        if not found.text:
            text = f"{folder} holds no {SPEC}: it was trained from Python"
            remedy = "dln.load(SPEC).compile().session(), then session.load(CHECKPOINT)"
            raise Fault(text, remedy, "E577")
        rundir = RunDirectory(folder)
        restored = _restored(rundir, which)
        spec = _spec(rundir, found.manifest)
        said = found.manifest
        compiled = spec.compile(
            backend or _known(said.get("backend")), dtype or found.options.get("dtype"),
            threads if threads is not None else said.get("threads"),
            shards=found.options.get("shards"),
        )  # fmt: skip
        session = _session(compiled, restored, int(said.get("seed", 0)))
    except Fault as fault:
        raise fault.at(None) from None
    notes = [f"{f.message}; an earlier checkpoint is taken" for f in restored.refused]
    if found.state != "complete":
        notes.append(f"{folder} is {found.state}: applied is what it was at {restored.path.name}")
    return Opened(folder, spec, session, restored.path, tuple(notes))


def _known(backend: object) -> str:
    """The backend of the run, where this machine has it."""
    return str(backend) if backend and (backend != "cupy" or find_spec("cupy")) else "numpy"


def _restored(rundir: RunDirectory, which: str) -> Restored:
    """The checkpoint that is asked for: the newest, the best, or a file. Raises `Fault` E577 where
    there is none."""
    if which == NEWEST:
        found = rundir.newest()
        if found is None:
            text = f"{rundir.path} holds no checkpoint: nothing was trained to its end"
            raise Fault(text, f"dln run --resume {rundir.path}", "E577")
        return found
    path = rundir.checkpoints / "best.safetensors" if which == BEST else Path(which)
    if not path.is_file():
        path = rundir.checkpoints / which
    if not path.is_file():
        names = sorted(p.name for p in rundir.checkpoints.glob("*.safetensors"))
        there = ", ".join(names) or "none"
        text = f"{rundir.path} has no checkpoint {which}: there is {there}"
        raise Fault(text, f"--checkpoint {nearest(which, names) or NEWEST}", "E577")
    return Restored(path, *checkpoint.load(path))


def _spec(rundir: RunDirectory, manifest: Mapping[str, Any]) -> Spec:
    """The spec of a run as it was read then."""
    begun = [r for r in rundir.records() if r.get("event") == "run"]
    if not begun or "spec" not in begun[-1]:
        text = f"{rundir.path} does not say which spec it ran"
        raise Fault(text, "start a new run", "E577")
    path, last = str(begun[-1]["spec"]), begun[-1]
    asked: dict[str, Any] = {"constants": dict(last.get("constants") or {}),
                             "data_paths": dict(last.get("data") or {}), "handed": {},
                             "limit": last.get("limit")}  # fmt: skip
    doors = Doors(used_file, header, text_file)
    if (rundir.path / answered.FILE).is_file():
        name = str(rundir.path / answered.FILE)
        doors, given = answered.doors(rundir.text(answered.FILE), doors, path, name)
        asked |= {k: v for k, v in given.items() if k in asked}
    options = SpecOptions(**asked, functions=True)
    source = Source(path, rundir.spec_text())
    kept = KeptSpec(source, doors, name=Path(path).stem, **vars(options))
    made = Spec(Path(path).stem, source, options, kept)
    try:
        _ = made.facts
    except DlnError as error:
        if any(p.code in ("E501", "E384") for p in error.problems):
            text = f"{rundir.path} is of an earlier dln, and its spec reads files that are gone"
            remedy = "put them back where they were, or run the spec once more"
            raise Fault(f"{text} ({error.problems[0].message})", remedy, "E577") from None
        raise
    return made


def _session(compiled: Compiled, restored: Restored, seed: int) -> Session:
    """A session that is what a checkpoint holds: with all results where the plan is that of the
    run, else the parameters."""
    session = compiled.session(seed)
    same = restored.meta.get("fingerprint") == compiled.plan.fingerprint
    if same and restored.meta.get("seed") == seed:
        session.restore(restored)
    else:
        session.load(restored.path)
    return session
