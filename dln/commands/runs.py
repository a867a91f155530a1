"""List the runs of a folder: what they were given, state, watches."""

from __future__ import annotations

import sys
from pathlib import Path
from shutil import get_terminal_size
from typing import Any

import click

from dln.options import Some, settings, takes
from dln.printing.terminal import Terminal
from dln.recorded.listing import as_data, as_table, ordered, runs_of

ORDER = 55


@click.command(help=__doc__)
@click.argument("folder", metavar="[DIR]", required=False, default="runs")
@click.option("--by", type=Some(), metavar="NAME",
              help="Sort by a watch, a constant, seconds, state or spec.")  # fmt: skip
@takes()
def command(terminal: Terminal, /, folder: str, by: str | None, **given: Any) -> int:
    """The runs of a folder, and what in it is none; 0 whatever they have come to."""
    settings(terminal, given)
    found = runs_of(Path(folder))
    runs = list(found.runs) if by is None else ordered(found.runs, by)
    width = get_terminal_size().columns if sys.stdout.isatty() else None
    terminal.result(as_table(runs, width) if runs else f"{folder} holds no runs")
    for note in found.notes:
        terminal.say(f"note: {note}")
    terminal.data({"runs": [as_data(run) for run in runs], "notes": list(found.notes)})
    return 0
