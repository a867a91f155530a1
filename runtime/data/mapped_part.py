"""A part of a data set whose examples stay in their files: each minibatch is gathered from a map,
made into fields by their program, and checked then."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from dln.runtime.data.division import ChosenRows
from dln.runtime.data.part import DataPart, Fill
from dln.runtime.device.device import Device, DeviceArray
from dln.runtime.execution.executable import Bound
from dln.runtime.execution.store import put

CHUNK = 1000  # examples of which a field is worked out at a time


@dataclass
class MappedPart(DataPart):
    """`arrays` are those of raw, by the inputs of the program that makes fields of them; `where`
    are the examples of the part in these."""

    device: Device | None = None
    where: ChosenRows | None = None

    def filler(self, bound: Bound, xp: ModuleType, but: Collection[str] = ()) -> Fill:
        """What copies the examples with given indices into the inputs of a program, `but` some."""
        device, where = self.device, self.where
        if self.drawn is not None or device is None or where is None:
            return super().filler(bound, xp, but)
        rows = bound.rows
        pairs = [(self.arrays[k], out) for k, out in bound.inputs.items() if k not in but]

        def fill(indices: DeviceArray, update: float) -> None:
            places = where.places(device.to_host(indices if rows is None else indices[rows]))
            for array, out in pairs:
                put(device, out, array[places])

        return fill

    def field(self, name: str, device: Device) -> DeviceArray:
        """One field of all examples, [example, ...], worked out some examples at a time."""
        assert self.drawn is not None
        made = []
        for low in range(0, self.n, CHUNK):
            some = device.array(np.arange(low, min(low + CHUNK, self.n)), "int64")
            made.append(device.to_host(self.drawn(some, 0.0)[name]).copy())
        values = np.concatenate(made)
        return device.array(values, str(values.dtype))
