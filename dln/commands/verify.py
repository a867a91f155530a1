"""Replay a recorded run and compare hashes."""

from __future__ import annotations

import gc
from typing import Any

import click

from dln.options import settings, takes
from dln.printing.terminal import Terminal, columns, plural
from dln.running.verifying import as_data, verify

ORDER = 75
SHOWN = 10  # differences that are printed


@click.command(help=__doc__)
@click.argument("run_dir", metavar="RUN")
@click.option("--updates", type=click.IntRange(1), metavar="N",
              help="Replay the first N updates only.")  # fmt: skip
@takes("memory")
def command(terminal: Terminal, /, run_dir: str, updates: int | None, **given: Any) -> int:
    """What of a run agrees with what it says of itself; 1 if something differs."""
    gc.enable()
    found = verify(run_dir, updates, settings(terminal, given).memory_limit)
    for note in found.notes:
        terminal.say(f"note: {note}")
    if found.agrees:
        terminal.result(columns([("agrees", *row) for row in found.agrees.items()]))
    for difference in found.differs[:SHOWN]:
        terminal.result(f"differs  {difference}")
    if len(found.differs) > SHOWN:
        terminal.result(f"and {plural(len(found.differs) - SHOWN, 'more difference')}")
    what = f"{plural(found.updates, 'update')} replayed"
    outcome = f"{plural(len(found.differs), 'difference')}" if found.differs else "the same bits"
    terminal.result(f"\n{run_dir}: {what}, {outcome}")
    terminal.data(as_data(run_dir, found))
    return 1 if found.differs else 0
