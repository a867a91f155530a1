"""What a phase trains with, made ready before its first update."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from dln.compiler.plan import Heard, PhaseSpec, Plan, ProgramKey, ProgramKind
from dln.grammar.diagnostics import DlnError, Fault, Problem
from dln.runtime.data.datasets import Datasets
from dln.runtime.data.part import DataPart
from dln.runtime.device.device import DeviceArray
from dln.runtime.device.source_map import span_of
from dln.runtime.execution.executable import Bound, Executable
from dln.runtime.execution.numeric_faults import Watchman
from dln.runtime.execution.programs import class_weights
from dln.runtime.execution.run_state import RunState
from dln.runtime.execution.store import HostArray, paths_of, put
from dln.runtime.readers import readers
from dln.runtime.training.callbacks import Hooks, tell
from dln.runtime.training.duration import Duration, PhaseClock
from dln.runtime.training.minibatches import Minibatches
from dln.runtime.training.resume import Saver


class Stop(Protocol):
    """What `threading.Event` has: set from elsewhere to end training after the update at hand."""

    def is_set(self) -> bool: ...


@dataclass(frozen=True)
class Options:
    """How training differs from what the spec says, and who is told of it.

    `keep` names the phases of which checks ask the first minibatch and the parameters at both ends.
    """

    datasets: Datasets
    epochs: int | None = None
    hooks: Hooks = ()
    stop: Stop | None = None
    saver: Saver | None = None
    keep: frozenset[str] = frozenset()


NOTHING: Mapping[str, DeviceArray] = {}


@dataclass(frozen=True)
class PhaseRun:
    """A phase with what it works on, the same from its start to its end; its `clock` goes on.

    `steps` are the programs of its updates, of which there are several where some do not do every
    step.
    """

    state: RunState
    spec: PhaseSpec
    options: Options
    steps: Mapping[ProgramKey, Executable]
    part: DataPart
    minibatches: Minibatches
    clock: PhaseClock
    watchman: Watchman

    @property
    def step(self) -> Executable:
        """What does the update at hand."""
        return self.steps[self.spec.step_of(self.clock.update)]

    def minibatch(self) -> DeviceArray:
        """The minibatch at hand, as indices [n] into the part."""
        return self.minibatches.indices(self.clock.update)

    def example(self, row: int) -> str:
        """What an example of the minibatch at hand is called."""
        return self.part.called(self.minibatch())(row)

    def over(
        self, key: ProgramKey, part: DataPart, order: DeviceArray, size: int,
        now: Mapping[str, float], states: dict[str, DeviceArray] | None = None,
        reports: Mapping[Heard, float] | None = None,
        known: Mapping[str, DeviceArray] = NOTHING,
    ) -> Iterator[tuple[DeviceArray, Bound]]:  # fmt: skip
        """Run a program of the phase on the examples of an order [examples], `size` at a time:
        their indices, and what it is bound to. Its states are those of the phase, or its own;
        inputs by name that are `known` are the same for all."""
        executable = self.state.programs.executable(key, self.spec.name, states)
        clocks = self.state.programs.clocks(executable.program, now, reports)
        for indices, bound in part.filled(executable, order, size, now["update"], known):
            self.watchman.running(executable, bound.n, bound, part.called(indices))
            bound.run(*clocks)
            yield indices, bound


def refuse_uncut(plan: Plan, names: Iterable[str]) -> None:
    """Raise `DlnError` E437, with the line, where one of some phases is to be learned in shards and
    cannot be cut into them."""
    found = [u for name in names for u in plan.phases[name].uncut]
    if found:
        rest = [name for name, phase in plan.phases.items() if not phase.uncut]
        other = f", or train other phases alone: {', '.join(rest[:8])}" if rest else ""
        raise DlnError(
            Problem("E437", u.message, span_of(plan.texts, u.place), u.label, facts=u.facts,
                    remedy=u.remedy + other)
            for u in found
        )  # fmt: skip


def begin(state: RunState, spec: PhaseSpec, counted: bool = False) -> None:
    """The start of a phase: precision, hand-over, fresh optimiser states, update 0. Weights of
    classes are `counted` over the data of the spec, or by `prepared`."""
    store, programs = state.store, state.programs
    steps = [state.plan.programs[key] for key in spec.steps]
    program = steps[0]
    store.cast([path for step in steps for path in paths_of(step)], program.dtype)
    if spec.starts:
        for path, values in programs.once(ProgramKind.START.of(spec.name)).items():
            put(state.device, store.params[path], values)
    load(state, spec)
    store.set_states(spec.name, programs.first_states(spec, counted), program.dtype)
    state.updates[spec.name] = 0


def load(state: RunState, spec: PhaseSpec) -> None:
    """Give parameters what files hold of them. Raises `Fault` E537 where a file is no longer what
    it was when the spec was read, or holds what is no number."""
    found = dict[str, dict[str, HostArray]]()
    for asked in spec.loads:
        word, target = str(asked.file.args[0]), state.store.params[asked.path]
        if word not in found:
            found[word] = readers.read(asked.file)
        array = found[word].get(asked.name)
        if array is None or array.shape != tuple(target.shape):
            text = f"{word} has been changed since the spec was read: {asked.name} is another"
            raise Fault(text, "put the file back", "E537")
        if not np.isfinite(array.astype(str(target.dtype))).all():
            raise Fault(f"{asked.name} of {word} holds what is no number", "another file", "E537")
        put(state.device, target, array)
        state.store.clear_dead(asked.path)


def prepared(state: RunState, spec: PhaseSpec, options: Options) -> PhaseRun:
    """A phase that has begun, with its data. Raises `DlnError` for data that are not as declared,
    `Fault` E557 where they do not fit the phase."""
    steps = {key: state.programs.executable(key, spec.name) for key in spec.steps}
    dtype = steps[spec.step].program.dtype
    part = options.datasets.part(spec.data, spec.part, dtype)
    for text in options.datasets.remarks(spec.data, part):
        tell(options.hooks, "note", text)
    for path, field in spec.weighed:  # by what there is to learn from, whoever has given it
        held = state.store.states[spec.name][path]
        labels = state.device.to_host(part.field(field, state.device))
        put(state.device, held, class_weights(labels, len(held)))
    minibatches = Minibatches(spec, part, state.device, state.programs.seed_of(spec.name))
    size = minibatches.size
    if spec.rows is not None and size > spec.rows:
        message = f"{spec.name} keeps {spec.rows:,} rows, and {part.name} has {size:,} examples"
        raise Fault(message, f"at most {spec.rows:,} examples, or a spec with a batch", "E557")
    clock = PhaseClock(Duration.of(spec, minibatches.per_epoch, options.epochs))
    watchman = Watchman(state.plan.texts)
    return PhaseRun(state, spec, options, steps, part, minibatches, clock, watchman)
