"""Repeat a task on the run directory of a finished run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from dln.options import Some, settings, takes
from dln.printing.terminal import Terminal
from dln.running.resuming import remembered
from dln.running.tasks import run_one
from dln.running.training import opened
from dln.runtime.checkpoint.rundir import RunDirectory
from dln.settings import chosen
from dln.spec import find, from_file

ORDER = 70


@click.command(help=__doc__)
@click.argument("run_dir", metavar="RUN")
@click.argument("name")
@click.option("--out", type=Some(), metavar="DIR", help="Where files go [the run directory].")
@takes("spec", "files")
def command(terminal: Terminal, /, run_dir: str, name: str, force: bool, **given: Any) -> int:
    """A task with the parameters that a run ended with, perhaps with other options."""
    asked = settings(terminal, given)
    rundir = RunDirectory.reopen(run_dir)
    path, before = remembered(rundir)
    before = replace(before, constants={**before.constants, **asked.constants},
                     data={**before.data, **asked.data})  # fmt: skip
    spec = from_file(find(path), before, functions=True)
    [wanted] = chosen(name, spec.model.tasks, "task")
    compiled = spec.compile(before.backend, before.dtype, before.threads, shards=before.shards)
    session = opened(compiled, before.seed)
    if restored := rundir.last():
        session.restore(restored)
    folder = Path(asked.out) if asked.out else rundir.path
    emitted = run_one(
        terminal, session, compiled.plan.tasks[wanted], folder, force or not asked.out
    )
    terminal.data({"spec": spec.name, "task": wanted, "emitted": emitted, "run_dir": run_dir})
    return 0
