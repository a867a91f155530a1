"""Parameters out of another run or file, as far as they fit those of a plan by name and shape.

A run directory stands for its newest checkpoint. A file is one of dln, with its hashes, or any
safetensors file: plain arrays, and no code in any of them. Faults: E536 nothing fits, E546 a
directory without a checkpoint; those of `checkpoint` for files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np

from dln.compiler.plan import CheckpointKey
from dln.grammar.diagnostics import Fault, nearest
from dln.runtime.checkpoint import checkpoint
from dln.runtime.checkpoint.checkpoint import Arrays
from dln.runtime.checkpoint.rundir import RunDirectory
from dln.runtime.execution.run_state import RunState
from dln.runtime.execution.store import HostArray, put

SHOWN = 3  # names that a message shows


@dataclass(frozen=True)
class Fitted:
    """What was taken out of a `file`: the paths that were `taken` with the shapes; the parameters
    that were `kept` as they were, and the arrays of the file that were `left` there, each with the
    reason."""

    file: str
    taken: Mapping[str, tuple[int, ...]]
    kept: Mapping[str, str]
    left: Mapping[str, str]


def read(path: str | PathLike[str]) -> tuple[Path, Arrays]:
    """The arrays of parameters by path, in a file or in the newest checkpoint of a run directory,
    each of its own shape, with the file that they stand in. Raises `Fault` E546 for a directory
    without a checkpoint, and what `checkpoint` says of files."""
    found = Path(path)
    if found.is_dir():
        restored = RunDirectory(found).last() if (found / "checkpoints").is_dir() else None
        if restored is None:
            remedy = "name a run directory, or a .safetensors file"
            raise Fault(f"{path} holds no checkpoint of a run", remedy, "E546")
        found, arrays = restored.path, restored.arrays
    else:
        arrays = checkpoint.any_arrays(found)
    return found, {k: a for k, a in arrays.items() if CheckpointKey.parse(k) is None}


def fitting(state: RunState, file: Path, arrays: Arrays) -> tuple[Fitted, Arrays]:
    """What of some arrays by path, each of its own shape, fits the parameters of a run, in their
    precision. Raises `Fault` E536 where nothing does."""
    taken, kept, fits = dict[str, tuple[int, ...]](), dict[str, str](), Arrays()
    for path, held in state.store.params.items():
        array = arrays.get(path)
        if array is None:
            near = nearest(path, arrays)
            kept[path] = "is not there" + (f" (nearest: {near})" if near else "")
        elif array.shape != tuple(held.shape):
            kept[path] = f"is {list(array.shape)} there, {list(held.shape)} here"
        elif (values := _in_precision(array, str(held.dtype))) is None:
            kept[path] = "holds there what is no number here"
        else:
            taken[path], fits[path] = array.shape, values
    known = state.store.params
    left = {
        k: f"is no parameter here, {list(a.shape)}" for k, a in arrays.items() if k not in known
    }
    if not taken:
        there = [f"{k} {list(a.shape)}" for k, a in arrays.items()]
        here = [f"{k} {list(a.shape)}" for k, a in known.items()]
        text = f"nothing in {file} fits by name and shape: it has {_some(there)},"
        text += f" here are {_some(here)}"
        raise Fault(text, "names and shapes as they are in the spec", "E536")
    return Fitted(str(file), taken, kept, left), fits


def take(state: RunState, fits: Arrays) -> None:
    """Take over arrays by path, each of the shape and precision of its parameter."""
    for path, values in fits.items():
        put(state.device, state.store.params[path], values)
        state.store.clear_dead(path)


def _in_precision(array: HostArray, dtype: str) -> HostArray | None:
    """An array of any shape as real numbers of a precision; None where it holds others."""
    if array.dtype.kind != "f":
        return None
    with np.errstate(over="ignore"):
        values = array.astype(dtype)
    return values if np.isfinite(values).all() else None


def _some(names: list[str]) -> str:
    more = len(names) - SHOWN
    return (
        ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "") if names else "nothing"
    )
