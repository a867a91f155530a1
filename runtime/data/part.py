"""A part of a data set on the device, and how minibatches are gathered from it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from dln.runtime.data.division import ChosenRows
from dln.runtime.device.device import Device, DeviceArray
from dln.runtime.execution.executable import Bound, Executable
from dln.runtime.execution.numeric_faults import Example
from dln.runtime.execution.store import put

Fill = Callable[[DeviceArray, float], None]
"""Fills the inputs of a program with the examples at some indices, as they are at an update."""

Drawn = Callable[[DeviceArray, float], dict[str, DeviceArray]]
"""Gives the fields of the examples at some indices, as they are drawn at an update."""


@dataclass
class DataPart:
    """The examples `rows` of a data set: `n` of them, as arrays by field.

    Arrays have the first axis of the example. `drawn` gives the fields of some examples at an
    update where they are drawn at each visit; `arrays` then holds what it starts from. Those of one
    example are worked out `apart` where no number of them hangs on its place in a minibatch.
    """

    name: str
    rows: ChosenRows
    n: int
    arrays: dict[str, DeviceArray]
    drawn: Drawn | None = None
    apart: bool = False

    def fields(self, indices: DeviceArray, update: float) -> dict[str, DeviceArray]:
        """All fields of the examples [n] at some indices, on the device: [n, *shape] each."""
        if self.drawn is not None:
            return self.drawn(indices, update)
        return {key: a[indices] for key, a in self.arrays.items()}

    def field(self, name: str, device: Device) -> DeviceArray:
        """One field of all examples, [example, ...]; of what is drawn it is one draw."""
        if self.drawn is None:
            return self.arrays[name]
        return self.drawn(device.array(np.arange(self.n), "int64"), 0.0)[name]

    def called(self, indices: DeviceArray) -> Example:
        """What the rows of a minibatch, given as indices [n], are called in messages: by the number
        in the file."""
        return lambda row: f"example {self.rows.number(int(indices[row]))} of {self.name}"

    def filled(
        self, executable: Executable, order: DeviceArray, size: int, update: float,
        known: Mapping[str, DeviceArray] | None = None,
    ) -> Iterator[tuple[DeviceArray, Bound]]:  # fmt: skip
        """A program with the examples of an order [examples] filled in, `size` at a time, and their
        indices. Inputs by name that are `known` are the same for all.

        Whoever asks runs it before the next are filled in.
        """
        for low in range(0, len(order), size):  # a full one first, so that memory is taken once
            indices = order[low : low + size]
            bound = executable.at(len(indices))
            own = {k: a for k, a in (known or {}).items() if k in bound.inputs}
            self.filler(bound, executable.device.xp, own)(indices, update)
            for name, array in own.items():
                put(executable.device, bound.inputs[name], array)
            yield indices, bound

    def filler(self, bound: Bound, xp: ModuleType, but: Collection[str] = ()) -> Fill:
        """What copies the examples with given indices into the inputs of a program, `but` some: of
        a program that has a part of the rows, those."""
        rows = bound.rows
        drawn, inputs = self.drawn, {k: a for k, a in bound.inputs.items() if k not in but}
        mode = ("clip",) if xp is np else ()  # writes straight into `out`; indices are in range
        pairs = [] if drawn else [(self.arrays[key].take, out) for key, out in inputs.items()]

        def fill(indices: DeviceArray, update: float) -> None:
            own = indices if rows is None else indices[rows]
            for take, out in pairs:
                take(own, 0, out, *mode)
            if drawn is not None:
                values = drawn(own if self.apart else indices, update)
                for key, out in inputs.items():
                    whole = rows is None or self.apart
                    made = values[key] if whole else values[key][rows]
                    xp.copyto(out, made, casting="unsafe")

        return fill
