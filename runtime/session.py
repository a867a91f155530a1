"""A session: the parameters of a plan on a device, and all that changes them.

The only mutable object of a run. It is not to be used by two threads at once. Everything a user
can get wrong here is a `DlnError`: E560 no such phase, parameter, instance or program, E563 wrong
arguments, E564 nothing to take the gradient of, E565 an instance that is no function, E600 numbers
that are none; those of `readers`, `data` and `training.resume` besides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from os import PathLike
from typing import Any, Unpack, overload

import numpy as np

from dln.compiler.plan import CLOCKS, AppliedSpec, PhaseSpec, Plan, ProgramKey
from dln.compiler.schema import arguments
from dln.grammar.diagnostics import Fault, nearest
from dln.runtime.checkpoint import checkpoint, foreign
from dln.runtime.checkpoint.foreign import Fitted
from dln.runtime.checkpoint.rundir import LOG, Restored, RunDirectory
from dln.runtime.data.class_names import class_names, names_for
from dln.runtime.data.datasets import Datasets
from dln.runtime.data.fields import Fields
from dln.runtime.data.raw import Read
from dln.runtime.device.device import Device
from dln.runtime.device.source_map import placed, unknown
from dln.runtime.execution.executable import Executable
from dln.runtime.execution.instances import CallableInstance, CallableInstances
from dln.runtime.execution.parameters import Params
from dln.runtime.execution.phase_result import PhaseResult
from dln.runtime.execution.run_state import RunState
from dln.runtime.execution.store import HostArray, joined, paths_of
from dln.runtime.footprint.process import resident
from dln.runtime.footprint.refusing import Bounds, refuse
from dln.runtime.footprint.walk import AskedRun
from dln.runtime.interrupts import postponed
from dln.runtime.ranks.ranks import Alone, Ranks
from dln.runtime.readers import readers
from dln.runtime.readers.given import counted
from dln.runtime.readers.npz.file_rows import staying
from dln.runtime.training import resume, single_step
from dln.runtime.training.callbacks import tell
from dln.runtime.training.orchestrate import TrainOptions, checked, train_phases
from dln.runtime.training.phase_trainer import Interrupted as Interrupted
from dln.runtime.training.shared.meeting import idle, same_plan


class Session:
    """Parameters and training of one plan on one device.

    `seed` decides every draw and every order of examples. `read` takes the place of reading files
    each time, as a cache does. `keep_before` names the phases whose first minibatch and
    parameters at both ends are kept in their results, for checks. `describe` is told of each new
    run directory that something is trained in. `given` are the examples that
    data sets are handed. Of more memory than
    `memory_limit` bytes of the whole process nothing is taken: E523. Several `ranks`, each with a
    session of its own, share out what is trained: all ask the same of theirs, in the same order.
    """

    def __init__(
        self, plan: Plan, device: Device, seed: int = 0, read: Read | None = None,
        memory_limit: int | None = None, given: Mapping[str, Any] | None = None,
        ranks: Ranks | None = None,
    ) -> None:  # fmt: skip
        self.bounds = Bounds(memory_limit, None, resident())
        self.plan, self.device, self.seed = plan, device, seed

        def whole(*asked: Any) -> Any:
            return self.datasets.whole(*asked)

        self.ranks = ranks or Alone()
        self.state = RunState(plan, device, seed, whole, self.ranks)
        self.programs = self.state.programs
        fields = Fields(self.programs, read or readers.read, self.state.measured)
        self.datasets = Datasets(fields, given)
        self.params = Params(self.state.store)
        self.results, self.updates = self.state.results, self.state.updates
        self.keep_before: set[str] = set()
        self._functions = CallableInstances(self.programs)
        self.describe: Callable[[RunDirectory, int], None] | None = None
        self.affordable(())
        with placed(plan.texts):
            self.programs.draw_params()

    # ---- one minibatch -------------------------------------------------------------------------

    @arguments.verb
    def step(self, phase: str, **fields: object) -> float:
        """One update of a phase on one minibatch of any size; returns the loss before it.

        Fields are arrays [example, ...], in anything NumPy understands. Raises `DlnError`: E550 to
        E556 for fields that do not fit, E560 for a phase that there is not, E563 for a number of
        examples that a stream has no rows for, E600 where numbers fail.
        """
        with self.ranks.failing(), postponed():
            return single_step.step(self.state, self.datasets, self._phase(phase), fields)

    @arguments.verb
    def grad(self, phase: str, path: str, **fields: object) -> HostArray:
        """The gradient that an update of a phase on one minibatch moves a parameter by, of the
        parameter's shape: that of the lines which minimise over it, in a step after others with
        what these leave. Fields and errors are those of `step`; E560 for no parameter, E564 for one
        that the phase does not move: `DlnError` each."""
        spec = self.phase(phase)
        if not isinstance(path, str) or path not in self.plan.params:
            raise unknown("E560", "parameter", path, list(self.plan.params))
        with self.ranks.failing():
            return single_step.gradient(self.state, self.datasets, spec, path, fields)

    # ---- instances and programs ----------------------------------------------------------------

    @arguments.verb
    def apply(self, path: str, *arrays: object, **named: object) -> Any:
        """An instance applied to examples: arrays [example, ...] by position or by port.

        One result is an array, several are a dictionary by name. Raises `DlnError`: E550 to E556
        for arrays that do not fit, E560, E563 for wrong arguments, E565 for one that cannot be
        called.
        """
        return self._functions.apply(path, arrays, named)

    @arguments.verb
    def evaluate(
        self,
        program: ProgramKey | str,
        fields: Mapping[str, object] | None = None,
        params: Mapping[str, HostArray] | None = None,
        **now: float,
    ) -> dict[str, HostArray]:
        """The values of any program of the plan by name, on inputs by key, given as they are,
        unchecked.

        `params` takes the place of the session's own, for instance those before a phase; `now` are
        the clocks. Raises `DlnError`: E550 for an input that is not given, E560 for no such
        program, E563 for no such clock, E600 where numbers fail.
        """
        for name in now:
            if name not in CLOCKS and "." not in name:  # what a phase says is one too
                raise unknown("E563", "clock", name, list(CLOCKS))
            arguments.number(name, now[name])
        with placed(self.plan.texts):
            text = program if isinstance(program, ProgramKey | str) else arguments.shown(program)
            key = ProgramKey.parse(str(text))
            if key not in self.plan.programs:
                raise unknown("E560", "program", str(key), list(self.plan.programs))
            if params is None:
                executable = self.programs.executable(key)
            else:
                executable = self._with_params(key, params)
            fields = arguments.by_name("fields", {} if fields is None else fields)
            for b in executable.program.inputs:
                if b.key not in fields:
                    raise Fault(f'there is no array for "{b.key}"', code="E550")
            arrays = {b.key: fields[b.key] for b in executable.program.inputs}
            counts = (len(np.atleast_1d(np.asarray(a))) for a in fields.values())
            rows = max(counts, default=1)
            bound = self.programs.run_once(executable, arrays, str(key), now, rows)
            return self.programs.values(bound)

    def _with_params(self, key: ProgramKey, params: Mapping[str, HostArray]) -> Executable:
        spec = self.plan.programs[key]
        arrays = {}
        params = arguments.by_name("params", params)
        for path in paths_of(spec):
            if path not in params:
                arguments.refuse(f"params has no {path}, which the program reads")
            live = joined(self.plan.params[path])
            given = params[path] if live is None else np.where(live, params[path], 0)
            arrays[path] = self.device.array(given, spec.dtype)
        return self.programs.on(spec, arrays, {})

    # ---- training ------------------------------------------------------------------------------

    @overload
    def train(self, phase: str, **options: Unpack[TrainOptions]) -> PhaseResult: ...

    @overload
    def train(
        self, phase: list[str] | tuple[str, ...] | None = None, **options: Unpack[TrainOptions]
    ) -> dict[str, PhaseResult]: ...

    @arguments.verb
    def train(
        self,
        phase: str | list[str] | tuple[str, ...] | None = None,
        **options: Unpack[TrainOptions],
    ) -> PhaseResult | dict[str, PhaseResult]:
        """Train a phase from its start, or several in order, or all of the spec.

        The options are those of `TrainOptions`. Parameters are as they are; optimiser states and
        the update's number begin anew. Returns the phase's result, or all results. Raises
        `Interrupted` where `stop`, or without one Ctrl-C, asked for it, after the update at hand;
        `DlnError` E557 for data that do not fit, E560, E563 for options, E600 where numbers fail.
        """
        with self.ranks.together():
            return self._train(phase, options)

    def _train(
        self, phase: str | list[str] | tuple[str, ...] | None, options: TrainOptions
    ) -> PhaseResult | dict[str, PhaseResult]:
        names = list(self.plan.phases) if phase is None else phase
        asked = list(names) if isinstance(names, list | tuple) else [names]
        specs = [self.phase(name) for name in asked]
        self.affordable(asked, options)
        given = options.get("stop")
        with postponed() if given is None else nullcontext(given) as stop:
            options["stop"] = stop
            same_plan(self.state)
            if said := idle(self.state):
                options = checked(options)
                tell(list(options.get("hooks") or ()), "note", said)
            rundir = options.get("rundir")
            if self.describe is not None and type(rundir) is RunDirectory:  # a replay has none
                if self.ranks.index == 0 and not (rundir.path / LOG).exists():
                    self.describe(rundir, self.seed)
            train_phases(self.state, self.datasets, specs, options, self.keep_before)
        return self.results[phase] if isinstance(phase, str) else self.results

    def alone(self) -> None:
        """Go on without the other ranks, with all that there is."""
        self.ranks = Alone()
        self.state.part()

    def affordable(self, phases: Iterable[str], options: TrainOptions | None = None) -> None:
        """Raise `DlnError` E523 where training phases would take more memory than it may, or than
        there is."""
        given = checked(options or {})
        handed = {**self.datasets.given, **(given.get("data") or {})}
        for name in (key.partition(".")[0] for key in handed):
            if name not in self.plan.data:
                raise unknown("E560", "data set", name, list(self.plan.data))
        asked = AskedRun(
            tuple(phases), given.get("epochs"), given.get("limit"), bool(given.get("rundir")),
            frozenset(self.keep_before),
            given=counted(handed), stay=staying(handed),
            ranks=self.ranks.count if self.device.name == "numpy" else 1,
        )  # fmt: skip
        free = self.device.memory_available() if self.device.name == "numpy" else None
        refuse(self.plan, asked, replace(self.bounds, free=free))

    # ---- files ---------------------------------------------------------------------------------

    @arguments.verb
    def save(self, path: str | PathLike[str]) -> None:
        """Write parameters, optimiser states and counters to a safetensors file, by path name.
        Raises `DlnError` E534 where the system refuses."""
        with placed(self.plan.texts):
            checkpoint.save(arguments.path("the file", path), *resume.pack(self.state))

    @arguments.verb
    def load(self, path: str | PathLike[str], partial: bool = False) -> Fitted | None:
        """Take over a saved file's parameters, and the states and counters of phases that fit.

        With `partial` the parameters alone, as far as they fit by name and shape, of a run
        directory, a checkpoint or any safetensors file; returns what was taken, and what was not
        and why. Raises `DlnError`: E530 or E531 for no intact file, E532 for other parameters, E534
        where the system refuses, E536 where nothing fits, E546 for a directory without a run."""
        with placed(self.plan.texts):
            file = arguments.path("the file", path)
            if not partial:
                resume.load(self.state, *checkpoint.load(file))
                self.datasets.forget()
                return None
            taken, fits = foreign.fitting(self.state, *foreign.read(file))
            foreign.take(self.state, fits)
            return taken

    @arguments.verb
    def restore(self, restored: Restored) -> None:
        """Become what a checkpoint of this plan and seed holds, results included. Raises `Fault`
        E561 for one of another plan or seed."""
        if not isinstance(restored, Restored):
            arguments.refuse(f"restore takes a Restored, not {arguments.shown(restored)}")
        resume.restore(self.state, restored)
        self.datasets.forget()

    # ---- names ---------------------------------------------------------------------------------

    @arguments.verb
    def phase(self, name: str) -> PhaseSpec:
        """The phase of a name. Raises `DlnError` E560 where there is none."""
        return self._phase(name)

    def _phase(self, name: str) -> PhaseSpec:
        if not isinstance(name, str) or name not in self.plan.phases:
            raise unknown("E560", "phase", name, list(self.plan.phases))
        return self.plan.phases[name]

    @property
    def classes(self) -> dict[str, tuple[str, ...]]:
        """What classes are called, in their order, where they are words of a table: by data set and
        field, `session.classes["iris.label"]`."""
        return class_names(self.plan)

    @arguments.verb
    def class_names(self, path: str, size: int) -> tuple[str, ...]:
        """What the `size` classes are called that an instance tells apart: nothing where the data
        do not name so many. Raises `DlnError` E560 where there is no such instance."""
        self.applied(path)
        return names_for(self.plan, path, size)

    @arguments.verb
    def applied(self, path: str) -> AppliedSpec:
        """The instance at a path, as a function. Raises `DlnError` E560 where there is none."""
        return self._functions.spec(path)

    def __getitem__(self, path: str) -> CallableInstance:
        if not isinstance(path, str) or not self._functions.is_machine(path):
            self.applied(path)
        return CallableInstance(self._functions, path)

    def __getattr__(self, name: str) -> CallableInstance:
        hidden = name.startswith("_") or name == "plan"
        if not hidden and (self._functions.known(name) or self._functions.is_machine(name)):
            return CallableInstance(self._functions, name)
        near = nearest(name, [] if hidden else [*self.plan.applied, *dir(type(self))])
        hint = f'; the nearest is "{near}"' if near else ""
        raise AttributeError(f'a session has no attribute or instance "{name}"{hint}')

    def __repr__(self) -> str:
        numbers = sum(p.numbers for p in self.plan.params.values())
        return f"Session({self.plan.name}, {numbers:,} parameters, {self.device.name})"
