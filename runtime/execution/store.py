"""The arrays of a session and the programs that work on them.

Every parameter has one array on the device. A program of another precision works on copies, which
are refreshed whenever it is asked for; the step of a phase turns its own parameters into its
precision for good. A wrong name is E560.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dln.compiler.plan import ParamSpec, PhaseSpec, Plan, Program
from dln.runtime.device.device import Device
from dln.runtime.device.source_map import unknown
from dln.runtime.execution.executable import Bound, Executable
from dln.runtime.execution.phase_result import PhaseResult, number_of
from dln.runtime.training.numeric_faults import explained, numerical, strict

if TYPE_CHECKING:
    from dln.runtime.data.datasets import Datasets

Host = NDArray[Any]


def put(device: Device, target: Any, values: Any) -> None:
    """Copy host values into an array of the device, in its precision."""
    if type(target) is np.ndarray:
        np.copyto(target, values, casting="unsafe")
    else:
        shape = target.shape
        target[...] = device.array(np.broadcast_to(np.asarray(values), shape), str(target.dtype))


def paths_of(program: Program, place: str = "param") -> list[str]:
    """The parameters (or states) that a program reads or writes."""
    return [b.key for b in program.buffers if b.place == place]


def joined(spec: ParamSpec) -> Host | None:
    """Which entries of a parameter exist, as truth values over its shape; None where all do."""
    if spec.joins is None:
        return None
    table = np.asarray(spec.joins) > 0
    rest = (1,) * (len(spec.shape) - table.ndim)
    return np.broadcast_to(table.reshape(*table.shape, *rest), spec.shape)


class Programs:
    """Parameters, optimiser states and bound programs of one session."""

    def __init__(self, plan: Plan, device: Device, seed: int) -> None:
        self.plan, self.device, self.seed = plan, device, seed
        self.results: dict[str, PhaseResult] = {}
        self.states: dict[str, dict[str, Any]] = {}
        self._made: dict[str, tuple[int, Executable]] = {}
        self._mirrors: dict[tuple[str, str], Any] = {}
        self._generation = 0
        live = {path: joined(spec) for path, spec in plan.params.items()}
        self._live = {k: device.array(a, "bool") for k, a in live.items() if a is not None}
        self.params = self._first_params()

    # ---- programs ------------------------------------------------------------------------------

    def executable(
        self, name: str, phase: str | None = None, states: dict[str, Any] | None = None
    ) -> Executable:
        """A program ready to run on the parameters as they are now.

        Its states are those of the phase, unless it has `states` of its own.
        """
        own, states = states, self._states(phase) if states is None else states
        program = self.plan.programs[name]
        if name.startswith("step:"):
            self.device.suit(program.largest(program.capacity))
        arrays = self._in_precision(program)
        generation, found = self._made.get(name, (-1, None))
        if found is None:
            seed = self.seed_of(phase)
            found = Executable(program, self.device, arrays, states, seed, self.wholes(program))
        elif generation != self._generation or (own is not None and own is not found.states):
            found.rebind(arrays, states)
        self._made[name] = (self._generation, found)
        return found

    def seed_of(self, phase: str | None) -> int:
        """The seed of a phase's draws: its own, or the session's."""
        own = self.plan.phases[phase].seed if phase is not None else None
        return self.seed if own is None else own

    def run(self, name: str, phase: str | None = None, n: int = 1) -> dict[str, Host]:
        """The values of a program without inputs, on the host; of a phase's with its seed."""
        executable, bound = self.executable(name, phase), None
        try:
            with strict(self.device):
                bound = executable.at(n)
                bound.run(*self.clocks(executable.program))
        except (ArithmeticError, ValueError) as e:
            if not numerical(e):
                raise
            kind, _, of = name.partition(":")
            where = "the first values" if kind == "init" else f"{kind} {of}"
            raise explained(e, executable, bound, where, self.plan.texts, n) from e
        return self.values(bound)

    def values(self, bound: Bound) -> dict[str, Host]:
        """Copies on the host of what a program has left."""
        return {key: self.device.to_host(a) for key, a in bound.values.items()}

    def clocks(
        self,
        program: Program,
        now: Mapping[str, float] | None = None,
        watch: Mapping[str, float] | None = None,
    ) -> list[float]:
        """The arguments of a program's `run`: the time, watched values, numbers of past phases.

        Raises `Fault` for a number of a phase that has not run.
        """
        watched = {f"watch:{k}": v for k, v in (watch or {}).items()}
        known = {"epoch": 0.0, "update": 0.0, "progress": 0.0, **(now or {}), **watched}
        return [
            float(known[c] if c in known else number_of(self.results, c)) for c in program.clocks
        ]

    # ---- data ----------------------------------------------------------------------------------

    @cached_property
    def datasets(self) -> Datasets:
        """The data sets of the spec, from their files."""
        from dln.runtime.data.datasets import Datasets  # which stands on this class

        return Datasets(self)

    def wholes(self, program: Program) -> dict[str, Any]:
        """The fields of whole parts that a program reads, in its precision: one array for all."""
        asked = [b for b in program.buffers if b.place == "whole"]
        whole = self.datasets.whole if asked else None
        return {b.key: whole(b.key, b.shape_at(0)[0], program.dtype) for b in asked if whole}

    # ---- parameters ----------------------------------------------------------------------------

    def _first_params(self) -> dict[str, Any]:
        """Drawn or given values, as wide as the widest phase wants them."""
        plan = self.plan
        if not plan.params:
            return {}
        self.params = {}
        names = (f"init:{plan.dtype}", "init:float64", "init:float32")
        values = self.run(next(n for n in names if n in plan.programs))
        wide = any((p.dtype or plan.dtype) == "float64" for p in plan.phases.values())
        dtype = "float64" if wide else plan.dtype
        return {path: self.device.array(values[path], dtype) for path in plan.params}

    def replace(self, path: str, values: Any, dtype: str) -> None:
        """Give a parameter a new array."""
        self.params[path] = self.device.array(values, dtype)
        self.clear_dead(path)
        self._generation += 1

    def clear_dead(self, path: str) -> None:
        """Put the dead entries of a parameter back to 0, whatever was written there."""
        if path in self._live:
            array = self.params[path]
            array[...] = self.device.xp.where(self._live[path], array, 0.0)

    def cast(self, paths: Iterable[str], dtype: str) -> None:
        """Bring parameters into a precision; those that have it keep their arrays."""
        for path in paths:
            if str(self.params[path].dtype) != dtype:
                self.replace(path, self.device.to_host(self.params[path]), dtype)

    def host_params(self) -> dict[str, Host]:
        """Copies of all parameters on the host."""
        return {path: self.device.to_host(a) for path, a in self.params.items()}

    def _in_precision(self, program: Program) -> dict[str, Any]:
        """The parameters that a program uses, copied where they have another precision."""
        return {path: self._mirror(path, program.dtype) for path in paths_of(program)}

    def _mirror(self, path: str, dtype: str) -> Any:
        self.clear_dead(path)
        array = self.params[path]
        if str(array.dtype) == dtype:
            return array
        key = (path, dtype)
        if key not in self._mirrors:
            self._mirrors[key] = self.device.array(self.device.to_host(array), dtype)
        self._mirrors[key][...] = array
        return self._mirrors[key]

    # ---- states --------------------------------------------------------------------------------

    def _states(self, phase: str | None) -> dict[str, Any]:
        return self.states.get(phase, {}) if phase is not None else {}

    def start_states(self, phase: PhaseSpec, dtype: str) -> None:
        """Put the first values into the states of a phase."""
        self.set_states(phase.name, self.first_states(phase), dtype)

    def first_states(self, phase: PhaseSpec) -> dict[str, Host]:
        """The values that the states of a phase begin with: of its optimisers, and its own."""
        name = f"states:{phase.name}"
        values: dict[str, Host] = {path: np.zeros(shape) for path, shape in phase.states.items()}
        if values and name in self.plan.programs:
            values |= self.run(name, phase.name, phase.rows or 1)
        return values

    def set_states(self, phase: str, values: Mapping[str, Host], dtype: str) -> None:
        """Take over states: numbers in the precision of the phase, classes as they are."""
        self.states[phase] = self.held(values, dtype)
        self._generation += 1

    def held(self, values: Mapping[str, Host], dtype: str) -> dict[str, Any]:
        """Values on the device: numbers in a precision, classes as they are."""
        kinds = {path: dtype if a.dtype.kind == "f" else str(a.dtype) for path, a in values.items()}
        return {p: self.device.array(a, kinds[p]) for p, a in values.items()}

    def snapshot(self, phase: str) -> dict[str, Host]:
        """Copies of all parameters, and of what a phase keeps as `state:<path>`, on the host."""
        held, kept = self._states(phase), self.plan.phases[phase].kept
        return self.host_params() | {f"state:{k}": self.device.to_host(held[k]) for k in kept}


class Params(Mapping[str, Any]):
    """The parameters by path, as `session.params`.

    With NumPy the arrays are those that the programs use; on another device each is a `Handle`.
    Assigning to a path copies into its array. Dead entries stay 0: what is written into the array
    itself is put right before a program is run.
    """

    def __init__(self, programs: Programs) -> None:
        self._programs = programs

    def __getitem__(self, path: str) -> Any:
        held = self._programs.params
        if path not in held:
            raise unknown("E560", "parameter", str(path), list(held))
        array = held[path]
        return array if type(array) is np.ndarray else Handle(self._programs, path)

    def __setitem__(self, path: str, values: Any) -> None:
        self[path][...] = values
        self._programs.clear_dead(path)

    def __iter__(self) -> Iterator[str]:
        return iter(self._programs.params)

    def __len__(self) -> int:
        return len(self._programs.params)

    def __repr__(self) -> str:
        shapes = (f"{p}{list(a.shape)}" for p, a in self._programs.params.items())
        return f"Params({', '.join(shapes)})"


class Handle:
    """A parameter on a device: read as an array of the host, written through to the device."""

    def __init__(self, programs: Programs, path: str) -> None:
        self._programs, self._path = programs, path

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self._programs.params[self._path].shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(str(self._programs.params[self._path].dtype))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Host:
        found = self._programs.device.to_host(self._programs.params[self._path])
        return found if dtype is None else found.astype(dtype)

    def __getitem__(self, key: Any) -> Any:
        return self.__array__()[key]

    def __setitem__(self, key: Any, values: Any) -> None:
        host = self.__array__()
        host[key] = values
        put(self._programs.device, self._programs.params[self._path], host)

    def __repr__(self) -> str:
        return f"Handle({self._path!r}, {self.__array__()!r})"
