"""Write a file of Python that trains the spec with NumPy alone."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import click
import numpy as np

from dln.options import Some, Wrong, compiled, settings, takes
from dln.printing.files import put
from dln.printing.terminal import Terminal
from dln.running.training import select
from dln.standalone.page import page

ORDER = 85


@click.command(help=__doc__)
@click.argument("spec")
@click.option("--to", type=Some(), metavar="FILE", help="A .py file [SPEC.py].")
@takes("phase", "spec")
@click.option("--slow", is_flag=True, help="Also what only slow checks need: the full recipes.")
def command(terminal: Terminal, /, spec: str, to: str | None, **given: Any) -> int:
    """The text of the file, which is written whole or not at all. Raises `DlnError` E586 for what
    cannot stand alone."""
    asked = settings(terminal, given)
    if to is not None and Path(to).suffix != ".py":
        stem = Path(to).stem if Path(to).suffix else to
        raise Wrong(f"--to writes .py, not {Path(to).suffix or to}", f"--to {stem}.py")
    made = compiled(terminal, spec, asked)
    chosen = select(made.spec, asked)
    phases = [made.plan.phases[name] for name in chosen.names]
    text, arrays = page(made.plan, phases, made.spec.source.text, made.spec.source.path,
                        made.spec.model.checks)  # fmt: skip
    path = Path(to or f"{made.spec.name}.py")
    put(path, text.encode(), "free some space, or give another --to")
    lines, beside = text.count("\n"), path.with_suffix(".npz")
    terminal.say(f"wrote {path}: {lines} lines")
    if arrays:
        held = BytesIO()
        np.savez_compressed(held, allow_pickle=False, **arrays)
        put(beside, held.getvalue(), "free some space, or give another --to")
        terminal.say(f"wrote {beside}, the data that it reads")
    terminal.data({"spec": made.spec.name, "file": str(path), "lines": lines,
                   "phases": list(chosen.names), "left_out": list(chosen.left_out)})  # fmt: skip
    return 0
