"""Apply an instance of a trained run to new data."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from dln.grammar.diagnostics import Fault
from dln.options import Some, settings, takes
from dln.printing.files import spared
from dln.printing.terminal import Terminal, plural

ORDER = 52


@click.command(help=__doc__)
@click.argument("run")
@click.argument("net")
@click.option("--data", "new", type=Some(), metavar="FILE", required=True,
              help="The new data: .csv, .npz, .npy, idx, \"new/*.csv\", - for stdin.")  # fmt: skip
@click.option("--to", type=Some(), metavar="FILE",
              help="A .csv, .npz, .npy or .parquet file [stdout, as CSV].")  # fmt: skip
@click.option("--keep", type=Some(), metavar="COLUMN", multiple=True,
              help="Hand a column of the new data through.")  # fmt: skip
@click.option("--probabilities", is_flag=True, help="A column for each class.")
@click.option("--as", "like", type=Some(), metavar="NAME",
              help="Read as this data set of the spec.")  # fmt: skip
@click.option("--checkpoint", "which", type=Some(), metavar="NAME", default="newest",
              help="newest, best or a file in checkpoints/ [newest].")  # fmt: skip
@takes("target", "files")
def command(
    terminal: Terminal, /, run: str, net: str, new: str, to: str | None, keep: tuple[str, ...],
    probabilities: bool, like: str | None, which: str, force: bool, **given: Any,
) -> int:  # fmt: skip
    """Results row by row, in the order of the data. Raises `Fault` E582 for results that go
    nowhere, E611 for a file that is there."""
    from dln.applying.application import AppliedRun  # late: NumPy
    from dln.applying.opening import opened  # late: NumPy
    from dln.applying.stdin import from_stdin  # late: NumPy
    from dln.applying.writing import JsonColumns, kind_of, sink  # late: NumPy

    asked = settings(terminal, given)
    kind_of(to)
    from dln.applying.several import tables_meant  # late: NumPy

    read = [new] if os.path.exists(new) else tables_meant(new)
    if to is not None and os.path.exists(to) and any(os.path.samefile(to, one) for one in read):
        raise Fault(f"{to} holds the new data, which would be lost", "--to out.csv", "E582")
    spared(*([] if to is None else [Path(to)]), force=force)
    held = JsonColumns() if terminal.json and to is None else None
    found = opened(run, which, asked.backend if "backend" in asked.asked else None, None,
                   asked.dtype)  # fmt: skip
    for note in found.notes:
        terminal.say(f"note: {note}")
    application = AppliedRun(found.spec, found.session, net, like)
    with from_stdin(new) as path, nullcontext(held) if held else sink(to) as made:
        source = application.source(path, keep)
        for note in source.notes:
            terminal.say(f"note: {note}")
        counts = application.write(source, made, probabilities, keep)
    ports = ", ".join(application.feed.ports[p.name] for p in application.applied.ports)
    terminal.say(f"{net}({ports}) of {application.feed.data}: {source.said}")
    done = f"{plural(counts.examples, 'example')} by {found.checkpoint}"
    if counts.without:
        done += f"; {counts.without:,} lack something that is read, and have no result"
    terminal.say(done + (f"; wrote {to}" if to not in (None, "-") else ""))
    terminal.data({
        "run": str(found.path), "net": net, "checkpoint": str(found.checkpoint),
        "data": application.feed.data, "ports": dict(application.feed.ports), "to": to,
        "examples": counts.examples, "without_result": counts.without,
        **({} if held is None else {"results": held.columns}),
    })  # fmt: skip
    return 0
