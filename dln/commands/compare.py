"""Print what differs between runs; draw their curves in one picture."""

from __future__ import annotations

import sys
from pathlib import Path
from shutil import get_terminal_size
from typing import Any

import click

from dln.compiler.schema.tables import PICTURES
from dln.options import Some, Wrong, settings, takes
from dln.printing import pictures
from dln.printing.files import put, spared
from dln.printing.small_curves import pen_for, several
from dln.printing.terminal import Terminal, present
from dln.recorded import comparing, curves
from dln.recorded.recorded_run import RecordedRun, read_run

ORDER = 56
INSTALL = "pip install 'dln[plot]'"


@click.command(help=__doc__)
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@click.option("--to", type=Some(), metavar="FILE", help="Draw their curves, to curves.png.")
@click.option("--plot", is_flag=True, help="Draw them small, below the figures.")
@takes("files")
def command(
    terminal: Terminal,
    /,
    runs: tuple[str, ...],
    to: str | None,
    plot: bool,
    force: bool,
    **given: Any,
) -> int:
    """What differs between runs; of one, its figures and curves. Raises `Fault` E611 for a file
    that is there."""
    settings(terminal, given)
    if to is not None and Path(to).suffix not in PICTURES:
        raise Wrong(f"--to draws {', '.join(PICTURES)}, not {Path(to).suffix or to}",
                    f"--to {Path(to).stem}.png")  # fmt: skip
    again = next((name for name in runs if runs.count(name) > 1), None)
    if again is not None:
        raise Wrong(f"{again} is given twice")
    spared(*([] if to is None else [Path(to)]), force=force)
    read = [read_run(Path(name)) for name in runs]
    for run in read:
        if run.state == "damaged":
            terminal.say(f"note: {run.path} is damaged: {run.why}")
    found = comparing.compared(read)
    terminal.result(comparing.text(found))
    for line in small(read) if plot else ():
        terminal.result(line)
    written = None if to is None else draw(terminal, read, Path(to))
    terminal.data({**comparing.as_data(found), **present(curves=written)})
    return 0


def small(runs: list[RecordedRun]) -> list[str]:
    """The curves of each watch as text, those of all runs in one."""
    lines = [""]
    found = curves.series(runs)
    made = {p.label: [list(zip(c.x, c.y, strict=True)) for c in p.curves]
            for p in curves.panels(found)}  # fmt: skip
    return lines + several(
        made, curves.axis_of(found), get_terminal_size().columns, pen_for(sys.stdout)
    )


def draw(terminal: Terminal, runs: list[RecordedRun], to: Path) -> str | None:
    """The file of the curves of all runs, if there are any."""
    if not pictures.available():
        raise Wrong(f"{to.name} needs matplotlib", f"{INSTALL}, or --plot")
    content = curves.picture(curves.series(runs), to.suffix)
    if content is None:
        terminal.say("no watch was reported twice, so there are no curves")
        return None
    put(to, content, "free some space, or give another --to")
    terminal.say(f"wrote {to}")
    return str(to)
