"""Examples of a part of a data set, picked by a program: those that a task shows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dln.compiler.plan import EmitSpec
from dln.runtime.data.datasets import Datasets
from dln.runtime.execution.programs import Programs


def examples(programs: Programs, datasets: Datasets, emit: EmitSpec) -> NDArray[Any]:
    """The first `emit.count` values of a part, of the examples that its condition holds for."""
    assert emit.program is not None and emit.on is not None
    executable = programs.executable(emit.program)
    clocks = programs.clocks(executable.program)
    part = datasets.part(*emit.on, executable.program.dtype)
    order = programs.device.array(np.arange(part.n), "int64")
    size, found, left = min(part.n, executable.program.capacity), [], emit.count
    executable.at(size)  # the most first, so that memory is taken once
    for low in range(0, part.n, size):
        indices = order[low : low + size]
        bound = executable.at(len(indices))
        part.filler(bound, programs.device.xp)(indices, 0.0)
        bound.run(*clocks)
        values = programs.values(bound)
        rows = values["value"]
        if "where" in values:
            rows = rows[values["where"] != 0]
        found.append(rows[:left])
        left -= len(found[-1])
        if left <= 0:
            break
    return np.concatenate(found)
