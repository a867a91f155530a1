"""Write a file of Python that trains the spec with NumPy alone."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from dln.options import Some, Wrong, compiled, settings, takes
from dln.printing.files import put
from dln.printing.terminal import Terminal
from dln.running import beginning
from dln.running.training import opened, select
from dln.standalone.page import inference_page, page

ORDER = 85


@click.command(help=__doc__)
@click.argument("spec")
@click.option("--to", type=Some(), metavar="FILE", help="A .py file [SPEC.py].")
@click.option("--inference", is_flag=True, help="Only what applies the instances.")
@click.option("--weights", type=Some(), metavar="RUN",
              help="With --inference: the parameters of a run beside it.")  # fmt: skip
@takes("phase", "spec")
@click.option("--slow", is_flag=True, help="Also what only slow checks need: the full recipes.")
def command(
    terminal: Terminal, /, spec: str, to: str | None, inference: bool, weights: str | None,
    **given: Any,
) -> int:  # fmt: skip
    """The text of the file, which is written whole or not at all. Raises `DlnError` E586 for what
    cannot stand alone."""
    asked = settings(terminal, given)
    if to is not None and Path(to).suffix != ".py":
        stem = Path(to).stem if Path(to).suffix else to
        raise Wrong(f"--to writes .py, not {Path(to).suffix or to}", f"--to {stem}.py")
    made = compiled(terminal, spec, asked)
    chosen = select(made.spec, asked)
    phases = [made.plan.phases[name] for name in chosen.names]
    source, arrays = made.spec.source, dict[str, NDArray[Any]]()
    if weights is not None and not inference:
        raise Wrong("--weights goes with --inference", "--inference --weights RUN")
    if inference:
        text = inference_page(made.plan, source.text, source.path)
        if weights is not None:
            session = opened(made, 0)
            beginning.taken(terminal, session, weights)
            arrays = {k: np.array(session.params[k]) for k in made.plan.params}
    else:
        text, arrays = page(made.plan, phases, source.text, source.path, made.spec.model.checks)
    path = Path(to or f"{made.spec.name}.py")
    put(path, text.encode(), "free some space, or give another --to")
    lines, beside = text.count("\n"), path.with_suffix(".npz" if inference else ".data.npz")
    terminal.say(f"wrote {path}: {lines} lines")
    if arrays:
        held = BytesIO()
        np.savez_compressed(held, allow_pickle=False, **arrays)
        put(beside, held.getvalue(), "free some space, or give another --to")
        terminal.say(f"wrote {beside}, which it reads")
    terminal.data({"spec": made.spec.name, "file": str(path), "lines": lines,
                   "phases": list(chosen.names), "left_out": list(chosen.left_out)})  # fmt: skip
    return 0
