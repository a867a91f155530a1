"""Weights of other tools into the parameters of a spec or a run: the work of the command.

Without a map one is proposed and nothing is written; with one a file of safetensors is written that
`--from`, `load()` and `session.load` take, or nothing at all.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dln.applying.opening import opened as run_opened
from dln.grammar.diagnostics import Fault
from dln.options import Wrong, compiled
from dln.printing.files import put, spared
from dln.printing.terminal import Terminal, columns, plural
from dln.recorded.recorded_run import is_run
from dln.running.training import opened
from dln.runtime.checkpoint import checkpoint
from dln.runtime.session import Session
from dln.settings import Settings
from dln.weights.held import WeightsFile
from dln.weights.mapping import read_map
from dln.weights.outside import outside
from dln.weights.proposing import proposed
from dln.weights.taking import Fit, fitted, taken

REMEDY = "free some space, or give another --to"


def imported(
    terminal: Terminal, asked: Settings, weights: str, into: str, chart: str | None,
    to: str | None, chart_to: str | None, force: bool,
) -> int:  # fmt: skip
    """Write the parameters that a map takes out of a file, or propose a map. Raises `Fault` E611
    for a file that is there, `DlnError` E625 to E629, and those of specs, runs and files."""
    if to is not None and Path(to).suffix != ".safetensors":
        stem = Path(to).stem if Path(to).suffix else to
        raise Wrong(f"--to writes .safetensors, not {to}", f"--to {stem}.safetensors")
    if chart is not None and chart_to is not None:
        raise Wrong("--map-to proposes a map, and --map has one", "one of both")
    if chart is None and to is not None:
        raise Wrong("--to needs a map of names", f"--map-to map.csv, then --map map.csv --to {to}")
    spared(*([] if chart_to is None else [Path(chart_to)]), force=force)
    there = outside(weights)
    is_a_run = os.path.isdir(into) and is_run(Path(into))
    session = run_opened(into).session if is_a_run else opened(compiled(terminal, into, asked), 0)
    here = {path: tuple(spec.shape) for path, spec in session.plan.params.items()}
    if chart is None:
        return _propose(terminal, proposed(there, here), chart_to)
    lines = read_map(chart)
    fit = fitted(lines, there, here)
    target = Path(to or f"{session.plan.name}.safetensors")
    if target.exists() and any(target.samefile(p) for p in (there.path, chart)):
        raise Fault(f"{target} is read, and would be lost", "--to other.safetensors", "E542")
    spared(target, force=force)
    made = _values(session, taken(fit, there, here), is_a_run)
    meta = {"weights": str(there.path), "map": chart}
    put(target, checkpoint.encode(made, meta), REMEDY)
    terminal.result(table(fit, there, here, into if is_a_run else ""))
    whole = len(made) == len(here)
    use = (
        f"session.load({str(target)!r})" if whole else f"--from {target}, which takes what there is"
    )
    terminal.say(f"wrote {target}: {plural(len(made), 'parameter')}; for {use}")
    terminal.data({
        "into": into, "weights": str(there.path), "to": str(target), "whole": whole,
        "taken": [{"ours": str(m.ours), "theirs": str(m.theirs), "how": m.line.how,
                   "shape": list(m.shape)} for m in fit.moves],
        "left_here": dict(fit.here), "left_there": dict(fit.there),
    })  # fmt: skip
    return 0


def _propose(terminal: Terminal, text: str, chart_to: str | None) -> int:
    """Print a map, or write it."""
    if chart_to is None:
        terminal.result(text.removesuffix("\n"))
        terminal.say("read it, put it right, and give it back: --map map.csv (--map-to writes it)")
    else:
        put(Path(chart_to), text.encode(), "free some space, or give another --map-to")
        terminal.say(f"wrote {chart_to}: read it, put it right, and give it back: --map {chart_to}")
    terminal.data({"map": text, "to": chart_to})
    return 0


def _values(session: Session, made: dict[str, NDArray[Any]], all_of: bool) -> dict[str, Any]:
    """What is written: the parameters of a map; those of a run beside, as they are there. Raises
    `Fault` E627 where numbers are beyond the precision here."""
    for path, values in made.items():
        dtype = str(session.state.store.params[path].dtype)
        with np.errstate(over="ignore"):
            if not np.isfinite(values.astype(dtype)).all():
                text = f"{path} holds numbers that {dtype} does not"
                raise Fault(text, "--dtype float64", "E627")
    rest = {k: np.array(session.params[k]) for k in session.params if k not in made}
    return {**(rest if all_of else {}), **made}


def table(fit: Fit, there: WeightsFile, here: Any, run: str) -> str:
    """What was taken from where, and what is left on either side."""
    rows = [(str(m.ours), str(list(m.shape)), str(m.theirs),
             m.line.how or ("as it is; transposed would fit too" if m.also else "as it is"))
            for m in fit.moves]  # fmt: skip
    count = len({m.ours.name for m in fit.moves})
    text = f"{count} of {plural(len(here), 'parameter')} from {there.path}\n\n"
    text += columns(rows, lead="  ") + "\n"
    mine = f"as it is in {run}" if run else "not in the file"
    left = [(k, str(list(here[k])), f"{why}: {mine}") for k, why in fit.here.items()]
    if left:
        text += f"\nleft here\n\n{columns(left, lead='  ')}\n"
    if fit.there:
        text += f"\nleft there\n\n{columns(list(fit.there.items()), lead='  ')}\n"
    return text
