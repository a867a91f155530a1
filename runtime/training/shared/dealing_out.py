"""Sums over pieces of the examples, dealt out to the ranks of a run and added up as one adds them.

A piece is as many examples as a program is laid out for. Each rank runs those of its share; what
they leave becomes rows, gathered by all, and the rows are added in the order of the pieces. So the
bits are those of one process, which goes through the pieces in that order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import ceil, prod

import numpy as np

from dln.compiler.plan import Heard, ProgramKey
from dln.runtime.data.part import DataPart
from dln.runtime.device.device import DeviceArray
from dln.runtime.execution.executable import dtype_of
from dln.runtime.training.phase_run import NOTHING, PhaseRun

Values = Mapping[str, DeviceArray]


def pieces(
    run: PhaseRun, key: ProgramKey, part: DataPart, order: DeviceArray, size: int,
    now: Mapping[str, float], states: dict[str, DeviceArray] | None = None,
    reports: Mapping[Heard, float] | None = None,
    known: Mapping[str, DeviceArray] = NOTHING,
) -> Iterator[tuple[int, Values]]:  # fmt: skip
    """What a program leaves of each piece of an order [examples], by name, in their order, with the
    number of its examples, as `PhaseRun.over` runs them. Values hold until the next are asked for.

    With `states` of its own, which go from piece to piece, every rank runs them all.
    """
    ranks, device = run.state.ranks, run.state.device
    count = ceil(len(order) / size)
    if ranks.count == 1 or count == 1 or states is not None:
        for indices, bound in run.over(key, part, order, size, now, states, reports, known):
            yield len(indices), bound.values
        return
    program = run.state.plan.programs[key]
    asked = {b.key: (b.shape_at(size), dtype_of(program, b)) for b in program.values}
    rows = np.zeros((count, sum(prod(shape) for shape, _ in asked.values())))
    own = ranks.share(count)
    mine = order[own.start * size : own.stop * size]
    done = run.over(key, part, mine, size, now, states, reports, known) if len(own) else ()
    for at, (_, bound) in zip(own, done, strict=True):
        rows[at] = np.concatenate([device.to_host(bound.values[k]).reshape(-1) for k in asked])
    ranks.gather(rows, once=True)
    for at, row in enumerate(rows):
        found, low = dict[str, DeviceArray](), 0
        for name, (shape, dtype) in asked.items():
            found[name] = device.array(row[low : low + prod(shape)].reshape(shape), dtype)
            low += prod(shape)
        yield min(size, len(order) - at * size), found
