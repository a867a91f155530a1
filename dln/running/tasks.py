"""Tasks: what a spec emits once it is trained, printed or written to files.

Faults: E015 a file name that leaves its folder, E562 a watch of a phase that has not run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dln.artefacts.made import maker, save
from dln.compiler.plan import TaskSpec
from dln.grammar.diagnostics import DlnError, Fault, Problem
from dln.printing.terminal import Terminal
from dln.runtime.device.source_map import placed
from dln.runtime.readers.files import within
from dln.runtime.session import Session
from dln.spec import Spec


def run_all(terminal: Terminal, session: Session, spec: Spec, folder: Path) -> dict[str, Any]:
    """Every task of a spec; what each emitted, for `--json`. Those of phases that were left out
    are left out too."""
    found: dict[str, Any] = {}
    for name, task in session.plan.tasks.items():
        try:
            found[name] = run_one(terminal, session, task, folder)
        except DlnError as error:
            if any(p.code != "E562" for p in error.problems):
                raise
            terminal.say(f"{name}: not run: {error.problems[0].message}")
    return {"tasks": found} if found else {}


def run_one(
    terminal: Terminal, session: Session, task: TaskSpec, folder: Path, force: bool = True
) -> list[dict[str, Any]]:
    """One task: values to files of `folder`, or printed. Raises E562 where a phase that it comes
    after has not run, E611 for files that are there, where these are not to be written over."""
    if waiting := [phase for phase in task.after if phase not in session.results]:
        message = f"{task.name} comes after the phase {waiting[0]}, which has not run"
        raise DlnError([Problem("E562", message)])
    values = session.evaluate(task.program)
    emitted: list[dict[str, Any]] = []
    for emit in task.emits:
        with placed(session.plan.texts, emit.place):
            made = maker(emit.form)(session, emit, values)
            if emit.to is None:
                terminal.result(f"{task.name}: {made.text()}")
                emitted.append({"value": made.data()})
                continue
            if leaves(folder, emit.to):
                remedy = "name a file of the run directory"
                raise Fault(f'the task emits to "{emit.to}"', remedy, "E015")
            path = save(terminal, task.name, folder / emit.to, made, force)
        terminal.say(f"{task.name}: wrote {path}")
        emitted.append({"file": str(path)})
    return emitted


def leaves(folder: Path, name: str) -> bool:
    """Whether a file of that name would lie outside of a folder, by its name or through a link."""
    if Path(name).is_absolute() or ".." in Path(name).parts or "\0" in name:
        return True
    return within((folder / name).parent, [folder]) is None
