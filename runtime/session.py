"""A session: the parameters of a plan on a device, and all that changes them.

The only mutable object of a run. It is not to be used by two threads at once. Everything a user
can get wrong here is a `DlnError`: E560 no such phase, parameter or instance, E563 wrong
arguments, E564 nothing to take the gradient of, E565 an instance that is no function; those of
`feeds`, `resume` and `faults` besides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, Unpack, overload

import numpy as np
from numpy.typing import NDArray

from dln.compiler.plan import AppliedSpec, DescentSpec, FieldSpec, PhaseSpec, Plan
from dln.grammar.diagnostics import DlnError, Problem, nearest
from dln.runtime.checkpoint import checkpoint
from dln.runtime.device.device import Device
from dln.runtime.device.source_map import placed, unknown
from dln.runtime.execution.executable import Bound, Executable
from dln.runtime.execution.phase_result import PhaseResult
from dln.runtime.execution.store import Params, Programs, joined, paths_of, put
from dln.runtime.readers.lengths import settled
from dln.runtime.readers.validation import check_fields
from dln.runtime.training import resume as resuming
from dln.runtime.training.curvature_estimates import before_step
from dln.runtime.training.lbfgs import Descent
from dln.runtime.training.minibatches import updates_of_epoch
from dln.runtime.training.numeric_faults import explained, numerical, strict
from dln.runtime.training.orchestrate import TrainOptions, begin, train_phases
from dln.runtime.training.phase_trainer import Interrupted as Interrupted
from dln.runtime.training.watching import unit_of

Host = NDArray[Any]


class Session:
    """Parameters and training of one plan on one device.

    `seed` decides every draw and every order of examples. `keep_before` names the phases whose
    first minibatch and parameters at both ends are kept in their results, for checks.
    """

    def __init__(self, plan: Plan, device: Device, seed: int = 0) -> None:
        self.plan, self.device, self.seed = plan, device, seed
        with placed(plan.texts):
            self.programs = Programs(plan, device, seed)
        self.params = Params(self.programs)
        self.results = self.programs.results
        self.updates: dict[str, int] = {}
        self.keep_before: set[str] = set()
        self.datasets = self.programs.datasets

    # ---- one minibatch -------------------------------------------------------------------------

    def step(self, phase: str, **fields: object) -> float:
        """One update of a phase on one minibatch of any size; returns the loss before it."""
        spec = self.phase(phase)
        with placed(self.plan.texts, spec.place):
            if phase not in self.programs.states:
                begin(self, spec)
            update = self.updates[phase]
            executable = self.programs.executable(spec.step, phase)
            now = self._times(spec, update)
            where = f"phase {phase}, update {update}"
            before_step(self, spec, update, now)
            arrays = self._fields(spec, fields)
            bound = self._run(executable, arrays, now, where, self._rows(spec, arrays, fields))
            loss = float(bound.values["loss"]) if "loss" in bound.values else 0.0
            if spec.descent is not None:
                self._descend(spec, spec.descent, executable, bound, now)
        self.updates[phase] = update + 1
        return loss

    def _descend(
        self,
        spec: PhaseSpec,
        rules: DescentSpec,
        executable: Executable,
        bound: Bound,
        now: Mapping[str, float],
    ) -> None:
        """One iteration of a descent on the minibatch that a step has been bound to."""
        descent = Descent(rules, self.device.xp, self.programs.states[spec.name])
        clocks = self.programs.clocks(executable.program, now)
        with strict(self.device):
            descent.over(self.programs.params | executable.params, bound)(*clocks)

    def grad(self, phase: str, path: str, **fields: object) -> Host:
        """The gradient that an update of a phase on one minibatch moves a parameter by: that of the
        lines which minimise over it, in a step after others with what these leave."""
        spec = self.phase(phase)
        if path not in self.plan.params:
            raise unknown("E560", "parameter", path, list(self.plan.params))
        name = f"grad:{phase}"
        known = self._values_of(name) if name in self.plan.programs else []
        if path not in known:
            message = f"{phase} does not minimise anything over {path}"
            raise DlnError([Problem("E564", message, remedy=f"one of {', '.join(known[:8])}")])
        with placed(self.plan.texts, spec.place):
            first = None
            if phase not in self.programs.states:  # it has not begun
                dtype = self.plan.programs[name].dtype
                first = self.programs.held(self.programs.first_states(spec), dtype)
            executable = self.programs.executable(name, phase, first)
            now = self._times(spec, self.updates.get(phase, 0))
            arrays = self._fields(spec, fields)
            where = f"the gradient of {phase}"
            bound = self._run(executable, arrays, now, where, self._rows(spec, arrays, fields))
        return self.device.to_host(bound.values[path])

    def apply(self, path: str, *arrays: object, **named: object) -> Any:
        """An instance applied to examples: arrays by position or by port, first axis the example.

        One result is an array, several are a dictionary by name.
        """
        spec = self.applied(path)
        checked, owner = self._ports(path, spec, arrays, named)
        with placed(self.plan.texts):
            executable = self.programs.executable(spec.program)
            rows = max(map(len, checked.values()), default=1)
            bound = self._run(executable, checked, {}, owner, rows)
        return self._results(spec, bound)

    def apply_step(
        self,
        path: str,
        held: dict[str, Host],
        arrays: Sequence[object],
        named: Mapping[str, object],
    ) -> Any:
        """One step of an instance that takes sequences, on examples; `held` is what it carries
        from step to step, empty before the first one, and is changed."""
        step = self.applied(path).step
        if step is None and f"{path}.step" in self.plan.refused:
            raise self._refused(f"{path}.step")
        if step is None:
            message = f"{path} takes no sequence, so there are no steps"
            raise DlnError([Problem("E563", message, remedy=f"call {path} itself")])
        checked, owner = self._ports(f"{path}.step", step, arrays, named)
        n = len(next(iter(checked.values())))
        if held and len(next(iter(held.values()))) != n:
            message = f"{owner} has gone through sequences of another number of examples than {n}"
            raise DlnError([Problem("E563", message, remedy=f"{path}.reset() begins anew")])
        with placed(self.plan.texts):
            if not held:
                bound = self.programs.executable(step.first).at(n)
                bound.run(*self.programs.clocks(self.plan.programs[step.first]))
                held.update(self.programs.values(bound))
            executable = self.programs.executable(step.program)
            bound = self._run(executable, {**checked, **held}, {}, owner, n)
        held.update({key: self.device.to_host(bound.values[key]) for key in step.carried})
        return self._results(step, bound)

    def _results(self, spec: AppliedSpec, bound: Bound) -> Any:
        found = {name: self.device.to_host(bound.values[name]) for name in spec.results}
        return found[spec.results[0]] if len(spec.results) == 1 else found

    def _ports(
        self, path: str, spec: AppliedSpec, arrays: Sequence[object], named: Mapping[str, object]
    ) -> tuple[Mapping[str, Host], str]:
        """The arrays for the ports of an instance, checked, and how the call reads."""
        owner = f"{path}({', '.join(p.name for p in spec.ports)})"
        if len(arrays) > len(spec.ports):
            found = f"{owner} takes {len(spec.ports)} arrays, not {len(arrays)}"
            raise DlnError([Problem("E563", found)])
        given = {p.name: a for p, a in zip(spec.ports, arrays, strict=False)}
        twice = sorted(given.keys() & named.keys())
        if twice:
            raise DlnError([Problem("E563", f"{owner} is given {twice[0]} twice")])
        return check_fields(spec.ports, {**given, **named}, owner, self.plan.texts), owner

    def evaluate(
        self,
        program: str,
        fields: Mapping[str, object] | None = None,
        params: Mapping[str, Host] | None = None,
        **now: float,
    ) -> dict[str, Host]:
        """The values of any program of the plan, on inputs given as they are, unchecked.

        `params` takes the place of the session's own, for instance those before a phase.
        """
        with placed(self.plan.texts):
            if params is None:
                executable = self.programs.executable(program)
            else:
                executable = self._with_params(program, params)
            arrays = {k: fields[k] for k in _inputs(executable)} if fields else {}
            rows = max(
                (len(np.atleast_1d(np.asarray(a))) for a in (fields or {}).values()), default=1
            )
            return self.programs.values(self._run(executable, arrays, now, program, rows))

    def _with_params(self, program: str, params: Mapping[str, Host]) -> Executable:
        spec = self.plan.programs[program]
        arrays = {}
        for path in paths_of(spec):
            live = joined(self.plan.params[path])
            given = params[path] if live is None else np.where(live, params[path], 0)
            arrays[path] = self.device.array(given, spec.dtype)
        wholes = self.programs.wholes(spec)
        return Executable(spec, self.device, arrays, {}, self.seed, wholes)

    def _run(
        self,
        executable: Executable,
        arrays: Mapping[str, Any],
        now: Mapping[str, float],
        where: str,
        rows: int = 1,
    ) -> Bound:
        """Fill in the inputs and run once; numerical faults become errors with their line. One that
        reads no examples, as all that did was simplified away, still stands for so many `rows`."""
        batched = [b.key for b in executable.program.inputs if (0, 1) in b.shape[:1]]
        n = len(arrays[batched[0]]) if batched else rows
        bound = None
        try:
            bound = executable.at(n)
            for key, target in bound.inputs.items():
                put(self.device, target, arrays[key])
            clocks = self.programs.clocks(executable.program, now)
            with strict(self.device):
                bound.run(*clocks)
        except (ArithmeticError, ValueError) as e:
            if not numerical(e):
                raise
            raise explained(e, executable, bound, where, self.plan.texts, n) from e
        self.device.wait()
        return bound

    def _rows(
        self, spec: PhaseSpec, arrays: Mapping[str, Host], given: Mapping[str, object]
    ) -> int:
        """How many examples a minibatch has: as many as any field that was given, used or not;
        without any, a minibatch of the phase's own."""
        known = {f.name for f in self.plan.data[spec.data].fields}
        lengths = [len(a) for a in arrays.values()]
        lengths += [len(np.atleast_1d(np.asarray(a))) for k, a in given.items() if k in known]
        count = max(1, self.plan.data[spec.data].parts[spec.part][1])
        return lengths[0] if lengths else spec.rows or min(spec.batch or count, count)

    def _fields(self, spec: PhaseSpec, given: Mapping[str, object]) -> dict[str, Host]:
        """The fields a phase uses, checked; others of its data set may be given as well."""
        known = {f.name: f for f in self.plan.data[spec.data].fields}
        unused = known.keys() - set(spec.fields)
        wanted: Sequence[FieldSpec] = [known[name] for name in spec.fields]
        given = settled(list(known.values()), given)
        used = {k: v for k, v in given.items() if k not in unused}
        dtype = self.plan.programs[spec.step].dtype
        checked = check_fields(wanted, used, f"the phase {spec.name}", self.plan.texts, dtype)
        for array in checked.values():
            check_rows(spec, len(array))
        return checked

    def _times(self, spec: PhaseSpec, update: int) -> dict[str, float]:
        """The clocks of a single step, as they would be in training on the spec's own data."""
        count = self.plan.data[spec.data].parts[spec.part][1]
        per_epoch = updates_of_epoch(spec, count)
        length, unit = spec.duration[0], unit_of(spec.duration[1])
        total = {"epoch": length * per_epoch, "update": length}.get(unit, 0)
        progress = min(1.0, update / total) if total else 0.0
        return {"epoch": float(update // per_epoch), "update": float(update), "progress": progress}

    # ---- training ------------------------------------------------------------------------------

    @overload
    def train(self, phase: str, **options: Unpack[TrainOptions]) -> PhaseResult: ...

    @overload
    def train(
        self, phase: list[str] | tuple[str, ...] | None = None, **options: Unpack[TrainOptions]
    ) -> dict[str, PhaseResult]: ...

    def train(
        self,
        phase: str | list[str] | tuple[str, ...] | None = None,
        **options: Unpack[TrainOptions],
    ) -> PhaseResult | dict[str, PhaseResult]:
        """Train a phase from its start, or several in order, or all of the spec.

        The options are those of `TrainOptions`. Parameters are as they are; optimiser states and
        the update's number begin anew. Returns the phase's result, or all results.
        """
        names = list(self.plan.phases) if phase is None else phase
        asked = [names] if isinstance(names, str) else list(names)
        train_phases(self, [self.phase(name) for name in asked], self.datasets, options)
        return self.results[phase] if isinstance(phase, str) else self.results

    def take_up(self, result: PhaseResult) -> None:
        """Take up the result of a phase, ended or interrupted, last in the order of results."""
        self.results.pop(result.name, None)
        self.results[result.name] = result
        if result.complete and result.name in self.keep_before:
            result.after = self.programs.snapshot(result.name)

    # ---- files ---------------------------------------------------------------------------------

    def save(self, path: str | PathLike[str]) -> None:
        """Write parameters, optimiser states and counters to a safetensors file, by path name."""
        with placed(self.plan.texts):
            checkpoint.save(path, *resuming.pack(self))

    def load(self, path: str | PathLike[str]) -> None:
        """Take over a saved file's parameters, and the states and counters of phases that fit."""
        with placed(self.plan.texts):
            resuming.load(self, *checkpoint.load(Path(path)))

    # ---- names ---------------------------------------------------------------------------------

    def phase(self, name: str) -> PhaseSpec:
        """The phase of a name."""
        if name not in self.plan.phases:
            raise unknown("E560", "phase", str(name), list(self.plan.phases))
        return self.plan.phases[name]

    def applied(self, path: str) -> AppliedSpec:
        """The instance at a path, as a function."""
        if self._is_machine(path):
            asked = " or ".join(f"{path}.{verb}" for verb in self._asked_of(path))
            raise DlnError([Problem("E563", f"{path} is a machine: ask for {asked}")])
        if path in self.plan.refused:
            raise self._refused(path)
        if path not in self.plan.applied:
            raise unknown("E560", "instance", str(path), list(self.plan.applied))
        return self.plan.applied[path]

    def _values_of(self, program: str) -> list[str]:
        return [b.key for b in self.plan.programs[program].values]

    def __getitem__(self, path: str) -> Instance:
        if not self._is_machine(path):
            self.applied(path)
        return Instance(self, path)

    def _is_machine(self, path: str) -> bool:
        """Whether what stands at a path is asked for by name: `R.up`, `R.free`."""
        return bool(self._asked_of(path)) and not self._known(path)

    def _asked_of(self, path: str) -> list[str]:
        """What a machine can be asked for, or is refused with a reason."""
        return [v for v in ("up", "down", "free") if self._known(f"{path}.{v}")]

    def _known(self, path: str) -> bool:
        return path in self.plan.applied or path in self.plan.refused

    def _refused(self, path: str) -> DlnError:
        """Why an instance is no function on its own: E565."""
        reason = self.plan.refused[path]
        message = f"{path} cannot be called on its own: {reason.message}"
        return DlnError([replace(reason, code="E565", message=message)])

    def __getattr__(self, name: str) -> Instance:
        hidden = name.startswith("_") or name == "plan"
        if not hidden and self._is_machine(name):
            return Instance(self, name)
        if hidden or not self._known(name):
            known = [] if hidden else self.plan.applied
            near = nearest(name, known)
            hint = f'; the nearest instance is "{near}"' if near else ""
            raise AttributeError(f'a session has no attribute or instance "{name}"{hint}')
        return Instance(self, name)

    def __repr__(self) -> str:
        numbers = sum(p.numbers for p in self.plan.params.values())
        return f"Session({self.plan.name}, {numbers:,} parameters, {self.device.name})"


class Instance:
    """An instance of a block, called with arrays: `session.net(images)`.

    One that takes sequences also goes step by step: `lm = session.lm; lm.step(x)` takes the next
    element of each sequence and remembers, `lm.reset()` begins anew.
    """

    def __init__(self, session: Session, path: str) -> None:
        self._session, self._path = session, path
        self._held: dict[str, Host] = {}

    def __call__(self, *arrays: object, **named: object) -> Any:
        return self._session.apply(self._path, *arrays, **named)

    def step(self, *arrays: object, **named: object) -> Any:
        """The results for the next element of each sequence, first axis the sequence."""
        return self._session.apply_step(self._path, self._held, arrays, named)

    def read(self, elements: object) -> Host:
        """Go through sequences [example, time, ...] from their beginning, but for the last element
        of each, which is given back: it is what the first `step` takes."""
        rows = np.asarray(elements)
        if rows.ndim < 2 or not rows.shape[1]:
            message = f"{self._path}.read takes sequences: [example, time, ...]"
            shape = f"this has the shape {list(rows.shape)}"
            raise DlnError([Problem("E563", message, facts=(shape,))])
        self.reset()
        for t in range(rows.shape[1] - 1):
            self.step(rows[:, t])
        return rows[:, -1]

    def reset(self) -> None:
        """Forget all steps."""
        self._held.clear()

    def __getattr__(self, name: str) -> Instance:
        if name.startswith("_") or not self._session._known(f"{self._path}.{name}"):
            raise AttributeError(f'{self._path} has no instance "{name}"')
        return Instance(self._session, f"{self._path}.{name}")

    def __repr__(self) -> str:
        if self._session._is_machine(self._path):
            asked = ", ".join(self._session._asked_of(self._path))
            return f"{self._path} (a machine: {asked})"
        if self._path in self._session.plan.refused:
            return f"{self._path} (cannot be called on its own)"
        ports = ", ".join(p.name for p in self._session.applied(self._path).ports)
        return f"{self._path}({ports})"


def check_rows(spec: PhaseSpec, n: int) -> None:
    """Raise `DlnError` E563 where a minibatch of a stream is not one window of each row, or has
    more examples than the phase keeps rows."""
    if spec.order == "stream" and n != spec.batch:
        message = f"{spec.name} is a stream of {spec.batch} rows: a minibatch has {spec.batch}"
        message += f" windows, not {n}"
        raise DlnError([Problem("E563", message)])
    if spec.rows is not None and n > spec.rows:
        message = f"{spec.name} keeps {spec.rows} rows from update to update"
        remedy = f"a minibatch of at most {spec.rows}"
        found = f"a minibatch of {n} examples is too many"
        raise DlnError([Problem("E563", message, facts=(found,), remedy=remedy)])


def _inputs(executable: Executable) -> list[str]:
    return [b.key for b in executable.program.inputs]
