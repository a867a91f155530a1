"""Examples of a part of a data set, worked out by a program: what a task makes of each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dln.compiler.plan import EmitSpec
from dln.runtime.data.datasets import Datasets
from dln.runtime.execution.programs import Programs


def picked(
    programs: Programs, datasets: Datasets, emit: EmitSpec
) -> Iterator[tuple[NDArray[Any], ...]]:
    """The parts of `emit`, some examples at a time [examples, ...] in the order of the data: of
    those that its condition holds for."""
    assert emit.program is not None and emit.on is not None
    executable = programs.executable(emit.program)
    clocks = programs.clocks(executable.program)
    part = datasets.part(emit.on.data, emit.on.part, executable.program.dtype)
    order = programs.device.array(np.arange(part.n), "int64")
    size = min(part.n, executable.program.capacity)
    for _, bound in part.filled(executable, order, size, 0.0):
        bound.run(*clocks)
        values = programs.values(bound)
        rows = values["where"] != 0 if "where" in values else slice(None)
        yield tuple(values[piece.key][rows] for piece in emit.parts)
