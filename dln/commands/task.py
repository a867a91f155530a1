"""Repeat a task on the run directory of a finished run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from dln.commands.options import settings, takes
from dln.grammar.diagnostics import Fault
from dln.printing.terminal import Terminal
from dln.running.resuming import remembered
from dln.running.tasks import run_one
from dln.running.training import opened
from dln.runtime.checkpoint.rundir import RunDirectory
from dln.settings import Settings, chosen
from dln.spec import find, from_source, read

ORDER = 70


@click.command(help=__doc__)
@click.argument("run_dir", metavar="RUN")
@click.argument("name")
@click.option("--out", metavar="DIR", help="Where files go [the run directory].")
@takes("spec")
def command(terminal: Terminal, /, run_dir: str, name: str, **given: Any) -> int:
    """A task of a run that has ended, perhaps with other options."""
    return repeat(terminal, run_dir, name, settings(terminal, given))


def repeat(terminal: Terminal, run_dir: str, name: str, given: Settings) -> int:
    """A task with the parameters that a run ended with."""
    try:
        rundir = RunDirectory.reopen(run_dir)
        path, before = remembered(rundir)
        constants: Mapping[str, object] = {**before.constants, **given.constants}
        outside = constants, before.data, True, before.limit
        spec = from_source(read(find(path)), Path(path).stem, *outside)
        [wanted] = chosen(name, spec.model.tasks, "task")
        compiled = spec.compile(before.backend, before.dtype, before.threads)
        session = opened(compiled, before.seed)
        restored = rundir.newest()
        if restored is not None:
            session.restore(restored)
    except Fault as fault:
        raise fault.at(None) from None
    folder = Path(given.out) if given.out else rundir.path
    emitted = run_one(terminal, session, compiled.plan.tasks[wanted], folder)
    terminal.data({"spec": spec.name, "task": wanted, "emitted": emitted, "run_dir": run_dir})
    return 0
