"""Tasks: what a spec emits once it is trained, printed or written to files.

Faults: E015 a file name that leaves its folder.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dln.grammar.diagnostics import DlnError, Fault, Problem
from dln.inspecting import chosen
from dln.options import Settings
from dln.terminal import Terminal, number

if TYPE_CHECKING:
    from dln.compiler.plan import TaskSpec
    from dln.runtime.session import Session
    from dln.spec import Spec


def run_all(terminal: Terminal, session: Session, spec: Spec, folder: Path) -> dict[str, Any]:
    """Every task of a spec; what each emitted, for `--json`."""
    found = {name: run_one(terminal, session, task, folder)
             for name, task in session.plan.tasks.items()}  # fmt: skip
    return {"tasks": found} if found else {}


def run_one(
    terminal: Terminal, session: Session, task: TaskSpec, folder: Path
) -> list[dict[str, Any]]:
    """One task: values to files of `folder`, or printed."""
    values = session.evaluate(task.program)
    emitted: list[dict[str, Any]] = []
    for i, to in enumerate(task.emits):
        value = values[f"emit:{i}"]
        if to is None:
            terminal.result(f"{task.name}: {shown(value)}")
            emitted.append({"value": value})
        else:
            path = write(folder, to, value)
            terminal.say(f"{task.name}: wrote {path}")
            emitted.append({"file": str(path)})
    return emitted


def shown(value: Any) -> str:
    """A value as text: a number, a short row, or one line for each row."""
    if value.ndim < 2:
        return number(value)
    rows = value.reshape(value.shape[0], -1)
    return "\n" + "\n".join("  ".join(number(x) for x in row) for row in rows)


def write(folder: Path, name: str, value: Any) -> Path:
    """Write a value as .npy, .csv or .txt, whole or not at all."""
    from dln.runtime.checkpoint import atomic_write

    wanted = Path(name)
    if wanted.is_absolute() or ".." in wanted.parts or "\0" in name:
        raise Fault(f'the task emits to "{name}"', "name a file of the run directory", "E015").at(
            None)  # fmt: skip
    path = folder / wanted
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, encoded(wanted.suffix, value))
    except OSError as error:
        message = f"cannot write {path}: {error.strerror}"
        raise DlnError([Problem("E542", message, remedy="free some space, or use --out")]) from None
    return path


def encoded(kind: str, value: Any) -> bytes:
    """The bytes of a file of that kind."""
    import numpy as np

    out = io.BytesIO()
    if kind == ".npy":
        np.save(out, value, allow_pickle=False)
        return out.getvalue()
    rows = value.reshape(-1, 1) if value.ndim < 2 else value.reshape(value.shape[0], -1)
    separator = "," if kind == ".csv" else " "
    lines = (separator.join(repr(x) for x in row) for row in rows.tolist())
    return "".join(line + "\n" for line in lines).encode()


# ---- again, on a finished run ------------------------------------------------------------------


def repeat(terminal: Terminal, run_dir: str, name: str, given: Settings) -> int:
    """`dln task RUN NAME`: a task with the parameters that a run ended with."""
    from dln.resuming import remembered
    from dln.running import opened
    from dln.runtime import resume
    from dln.runtime.rundir import RunDirectory
    from dln.spec import find, from_source, read

    try:
        rundir = RunDirectory.reopen(run_dir)
        path, before = remembered(rundir)
        constants: Mapping[str, object] = {**before.constants, **given.constants}
        spec = from_source(read(find(path)), Path(path).stem, constants, before.data)
        [wanted] = chosen(name, spec.model.tasks, "task")
        compiled = spec.compile(before.backend, before.dtype, before.threads)
        session = opened(compiled, before.seed)
        restored = rundir.newest()
        if restored is not None:
            resume.restore(session, restored.arrays, restored.meta)
    except Fault as fault:
        raise fault.at(None) from None
    folder = Path(given.out) if given.out else rundir.path
    emitted = run_one(terminal, session, compiled.plan.tasks[wanted], folder)
    terminal.data({"spec": spec.name, "task": wanted, "emitted": emitted, "run_dir": run_dir})
    return 0
