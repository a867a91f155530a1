"""The arrays of a session: its parameters and the states of its phases, on a device.

Every parameter has one array. A program of another precision works on copies, which are refreshed
whenever it is asked for; the step of a phase turns its own parameters into its precision for good.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dln.compiler.plan import ParamSpec, Plan, Program, new_state
from dln.runtime.device.device import Device, DeviceArray

HostArray = NDArray[Any]


def put(device: Device, target: DeviceArray, values: ArrayLike) -> None:
    """Copy host values into an array of the device, in its precision and broadcast to its shape."""
    if type(target) is np.ndarray:
        np.copyto(target, values, casting="unsafe")
    else:
        shape = target.shape
        target[...] = device.array(np.broadcast_to(np.asarray(values), shape), str(target.dtype))


def paths_of(program: Program) -> list[str]:
    """The parameters that a program reads or writes."""
    return [b.key for b in program.buffers if b.place == "param"]


def joined(spec: ParamSpec) -> HostArray | None:
    """Which entries of a parameter exist, as truth values over its shape; None where all do."""
    if spec.joins is None:
        return None
    table = np.asarray(spec.joins) > 0
    rest = (1,) * (len(spec.shape) - table.ndim)
    return np.broadcast_to(table.reshape(*table.shape, *rest), spec.shape)


class Store:
    """Parameters by path and states by phase and path, as arrays of the device.

    `params` and `states` are read freely; arrays are replaced by the methods, which count the
    `generation`: who holds arrays of an earlier one asks for them anew.
    """

    def __init__(self, plan: Plan, device: Device) -> None:
        self.plan, self.device = plan, device
        self.params: dict[str, DeviceArray] = {}
        self.states: dict[str, dict[str, DeviceArray]] = {}
        self.generation = 0
        self._mirrors: dict[tuple[str, str], DeviceArray] = {}
        live = {path: joined(spec) for path, spec in plan.params.items()}
        self._live = {k: device.array(a, "bool") for k, a in live.items() if a is not None}

    # ---- parameters ----------------------------------------------------------------------------

    def replace(self, path: str, values: HostArray, dtype: str) -> None:
        """Give a parameter a new array, of its shape, in a precision."""
        self.params[path] = self.device.array(values, dtype)
        self.clear_dead(path)
        self.generation += 1

    def clear_dead(self, path: str) -> None:
        """Put the dead entries of a parameter back to 0, whatever was written there."""
        if path in self._live:
            array = self.params[path]
            array[...] = self.device.xp.where(self._live[path], array, 0.0)

    def cast(self, paths: Iterable[str], dtype: str) -> None:
        """Bring parameters into a precision; those that have it keep their arrays."""
        for path in paths:
            if self.params[path].dtype != dtype:
                self.replace(path, self.device.to_host(self.params[path]), dtype)

    def in_precision(self, paths: Iterable[str], dtype: str) -> dict[str, DeviceArray]:
        """Parameters by path in a precision, copied where they have another."""
        return {path: self.refreshed(path, dtype) for path in paths}

    def untrue(self, paths: Iterable[str], dtype: str) -> list[str]:
        """The parameters that are to be `refreshed` before each run in a precision: what is seen
        of them is a copy, or they have dead entries."""
        return [p for p in paths if p in self._live or self.params[p].dtype != dtype]

    def refreshed(self, path: str, dtype: str) -> DeviceArray:
        """A parameter as it is now, of its own shape, in a precision, its dead entries 0."""
        self.clear_dead(path)
        array = self.params[path]
        if array.dtype == dtype:
            return array
        key = (path, dtype)
        if key not in self._mirrors:
            self._mirrors[key] = self.device.array(self.device.to_host(array), dtype)
        self._mirrors[key][...] = array
        return self._mirrors[key]

    # ---- states --------------------------------------------------------------------------------

    def set_states(self, phase: str, values: Mapping[str, HostArray], dtype: str) -> None:
        """Take over states by path: numbers in the precision of the phase, classes as they are."""
        self.states[phase] = self.placed(values, dtype)
        self.generation += 1

    def placed(self, values: Mapping[str, HostArray], dtype: str) -> dict[str, DeviceArray]:
        """Values by path on the device: numbers in a precision, classes as they are."""
        kinds = {path: dtype if a.dtype.kind == "f" else str(a.dtype) for path, a in values.items()}
        return {p: self.device.array(a, kinds[p]) for p, a in values.items()}

    # ---- copies on the host --------------------------------------------------------------------

    def host_params(self) -> dict[str, HostArray]:
        """Copies of all parameters on the host, by path."""
        return {path: self.device.to_host(a) for path, a in self.params.items()}

    def snapshot(self, phase: str) -> dict[str, HostArray]:
        """Copies on the host of all parameters, by path, and of what a phase keeps as
        `state:<path>`."""
        held, kept = self.states[phase], self.plan.phases[phase].kept
        return self.host_params() | {str(new_state(k)): self.device.to_host(held[k]) for k in kept}
