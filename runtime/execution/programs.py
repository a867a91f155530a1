"""The programs of a session, made ready to run on its arrays as they are."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np

from dln.compiler.plan import (
    CLOCKS,
    LOOKED,
    Clock,
    FieldSpec,
    Heard,
    PhaseNumber,
    PhaseSpec,
    Program,
    ProgramKey,
    ProgramKind,
    WholeField,
)
from dln.grammar.diagnostics import Fault
from dln.runtime.device.device import DeviceArray
from dln.runtime.device.host import give_back
from dln.runtime.execution.calls import ArrayCall, feeds
from dln.runtime.execution.executable import Bound, Executable
from dln.runtime.execution.numeric_faults import (
    Run,
    Watchman,
    explained,
    numerical,
    strict,
    strictly,
)
from dln.runtime.execution.phase_result import PhaseResult, number_of
from dln.runtime.execution.sharded import Made, ShardedStep
from dln.runtime.execution.store import HostArray, Store, paths_of, put
from dln.runtime.ranks.ranks import Alone, Ranks

SEEN: Mapping[str, float] = MappingProxyType({LOOKED: 1.0})
"""The clocks of a call that does not depend on the time: somebody looks at what it gives."""

Whole = Callable[[WholeField, int, str], DeviceArray]
"""The first rows of a field, on the device: which field, how many, precision."""


@dataclass
class Ready:
    """A program that is ready: bound to the arrays of a `generation`, the parameters `untrue` to be
    refreshed before each run. Others may have changed the threads since a `step` ran last."""

    executable: Executable
    generation: int
    step: bool
    untrue: list[str]


class Programs:
    """Programs by key, bound to the arrays of a store.

    `results` are those of the phases that have run, whose numbers programs may ask for; `whole`
    gives the fields of whole parts of data that they read. The `ranks` share out what has shards.
    """

    def __init__(
        self, store: Store, seed: int, results: Mapping[str, PhaseResult], whole: Whole,
        ranks: Ranks | None = None,
    ) -> None:  # fmt: skip
        self.ranks = ranks or Alone()
        self.store, self.plan, self.device = store, store.plan, store.device
        self.seed, self.results = seed, results
        self._whole = whole
        self._ready: dict[ProgramKey, Ready] = {}
        self._called: dict[Hashable, Ready] = {}

    def executable(
        self,
        key: ProgramKey,
        phase: str | None = None,
        states: dict[str, DeviceArray] | None = None,
    ) -> Executable:
        """A program ready to run on the parameters as they are now.

        Its states are those of the phase, unless it has `states` of its own, arrays by path. Raises
        `DlnError` E560 for a program that the plan has not.
        """
        own, states = states, self.store.states.get(phase or "", {}) if states is None else states
        ready = self._ready.get(key)
        if ready is None:
            ready = self._ready[key] = self._made(key, phase, states)
            return ready.executable
        found = ready.executable
        if ready.generation != self.store.generation or (
            own is not None and own is not found.states
        ):
            params, dtype = list(found.params), found.program.dtype
            found.rebind(self.store.in_precision(params, dtype), states)
            ready.generation = self.store.generation
            ready.untrue = self.store.untrue(params, dtype)
        self._tend(ready)
        return found

    def _tend(self, ready: Ready) -> None:
        """What is done before each run of a program that is ready."""
        if ready.step:
            self.device.suit()
        for path in ready.untrue:
            self.store.refreshed(path, ready.executable.program.dtype)

    def _made(self, key: ProgramKey, phase: str | None, states: dict[str, DeviceArray]) -> Ready:
        program, step = self.plan.programs[key], key.kind is ProgramKind.STEP
        params = self.store.in_precision(paths_of(program), program.dtype)
        untrue = self.store.untrue(params, program.dtype)
        made = partial(self.on, params=params, states=states, phase=phase)
        spec = self.plan.phases.get(phase or "") if step else None
        whole = made(program) if spec is None or not spec.cuts else self._cut(spec, key, made)
        return Ready(whole, self.store.generation, step, untrue)

    def _cut(self, spec: PhaseSpec, key: ProgramKey, made: Made) -> ShardedStep:
        """A step in shards."""
        programs = self.plan.programs
        rounds = [
            (None if r.shard is None else programs[r.shard], programs[r.join])
            for r in spec.cuts[int(key.at or 0)]
        ]
        return ShardedStep(programs[key], rounds, spec.shards or 1, lambda: self.ranks, made)

    def on(
        self, program: Program, params: dict[str, DeviceArray], states: dict[str, DeviceArray],
        phase: str | None = None, **more: object,
    ) -> Executable:  # fmt: skip
        """A program on given arrays by path, in the shapes of its plan, with the seed of a phase;
        `more` are names that it sees."""
        asked = {b.key: b.shape_at(0)[0] for b in program.buffers if b.place == "whole"}
        wholes = {k: self._whole(WholeField.parse(k), asked[k], program.dtype) for k in asked}
        seed = self.seed_of(phase)
        return Executable(program, self.device, params, states, seed, wholes, **more)

    def seed_of(self, phase: str | None) -> int:
        """The seed of a phase's draws: its own, or the session's."""
        own = self.plan.phases[phase].seed if phase is not None else None
        return self.seed if own is None else own

    def clocks(
        self,
        program: Program,
        now: Mapping[str, float] | None = None,
        reports: Mapping[Heard, float] | None = None,
    ) -> list[float]:
        """The arguments of a program's `run`: the time, watched values, numbers of past phases.

        Raises `Fault` for a number of a phase that has not run, E535 for what a phase hears of its
        watches where it is not being trained.
        """
        if not program.clocks:
            return []
        known = dict[Clock, float](dict.fromkeys(CLOCKS, 0.0))
        known[LOOKED] = 1.0
        known.update(now or {})
        known.update((reports or {}).items())
        for clock in program.clocks:
            if clock not in known and not isinstance(clock, PhaseNumber):
                assert not isinstance(clock, str)
                text = f"this depends on {clock.spoken}, which is known while its phase is trained"
                raise Fault(text, "session.train(...), which takes the watches", "E535")
        return [
            number_of(self.results, c) if isinstance(c, PhaseNumber) else float(known[c])
            for c in program.clocks
        ]

    def texts(self) -> dict[str, str]:
        """The hashes of the texts of the programs that are ready."""
        from hashlib import sha256  # late: OpenSSL

        ready = dict[str, str]()
        for key, held in self._ready.items():
            if isinstance(held.executable, ShardedStep):
                ready |= {e.program.name: e.program.text for e in held.executable.executables}
            else:
                ready[str(key)] = self.plan.programs[key].text
        return {key: sha256(text.encode()).hexdigest() for key, text in sorted(ready.items())}

    # ---- run once ------------------------------------------------------------------------------

    def run_once(
        self, executable: Executable, arrays: Mapping[str, Any], where: str,
        now: Mapping[str, float] | None = None, rows: int = 1,
    ) -> Bound:  # fmt: skip
        """Fill in the inputs and run; a numerical fault becomes a `DlnError` with its line.

        Inputs have the first axis of the example. A program that reads no examples, as all that
        did was simplified away, still stands for so many `rows`. `where` is said of a fault.
        """
        batched = [b.key for b in executable.program.inputs if (0, 1) in b.shape[:1]]
        n = len(arrays[batched[0]]) if batched else rows
        watchman = Watchman(self.plan.texts)
        with watchman.over(lambda: where):
            watchman.running(executable, n)
            with strict(self.device):
                bound = executable.at(n)
            for key, target in bound.inputs.items():
                rows = arrays[key] if bound.rows is None else arrays[key][bound.rows]
                put(self.device, target, rows)
            watchman.running(executable, n, bound)
            clocks = self.clocks(executable.program, now)
            with strict(self.device):
                bound.run(*clocks)
        self.device.wait()
        return bound

    # ---- called from Python again and again ----------------------------------------------------

    def remember(
        self, name: Hashable, key: ProgramKey, bound: Bound, specs: Sequence[FieldSpec],
        given: Mapping[str, Any],
    ) -> None:  # fmt: skip
        """Keep how a program has just been called under a name with arrays `given` for fields, for
        `again`."""
        ready = self._ready[key]
        program = ready.executable.program
        feds = feeds(specs, given, bound.inputs, program.dtype, bound.rows)
        clocks = tuple(clock for clock in program.clocks if isinstance(clock, str))
        bound.call = None
        if feds and clocks == program.clocks:
            self._called[name] = ready
            unread = frozenset(given) - {spec.name for spec in specs}
            timed = not SEEN.keys() >= set(clocks)
            bound.call = ArrayCall(unread, feds, clocks, timed, strictly())

    def again(
        self, name: Hashable, given: Mapping[str, Any], now: Callable[[], Mapping[str, float]],
        where: Callable[[], str],
    ) -> Bound | None:  # fmt: skip
        """Make a call as one of that name was made before, at a time. None where there was none, or
        where the long way has to look at the arrays: nothing has been done then. Raises `DlnError`
        E600 where numbers fail, which says `where`."""
        ready, first = self._called.get(name), next(iter(given.values()), None)
        if ready is None or ready.generation != self.store.generation:
            return None
        executable = ready.executable
        n = len(first) if type(first) is np.ndarray and first.ndim else 0
        bound = executable.held(n)
        call = None if bound is None else bound.call
        if bound is None or call is None or not call.takes(given):
            return None
        self._tend(ready)
        known = {**now(), LOOKED: 1.0} if call.timed else SEEN
        try:
            call.strictly(bound.run, *[known.get(clock, 0.0) for clock in call.clocks])
        except (ArithmeticError, ValueError) as e:
            if not numerical(e):
                raise
            run = Run(executable, n, bound)
            raise explained(e, run, where(), self.plan.texts) from e
        self.device.wait()
        return bound

    def run(self, key: ProgramKey, phase: str | None = None, n: int = 1) -> dict[str, HostArray]:
        """The values by name of a program without inputs, on the host; a phase's has its seed."""
        where = "the first values" if key.kind is ProgramKind.INIT else key.spoken
        return self.values(self.run_once(self.executable(key, phase), {}, where, rows=n))

    def values(self, bound: Bound) -> dict[str, HostArray]:
        """Copies on the host of what a program has left, by name, for its n examples."""
        return {key: self.device.to_host(a) for key, a in bound.values.items()}

    def read(self, bound: Bound) -> dict[str, HostArray]:
        """What a program has left, by name, [examples, ...] each, on the host, where that may be
        the program's own memory."""
        own = self.device.xp is np
        return dict(bound.values) if own else self.values(bound)

    def once(self, key: ProgramKey, phase: str | None = None, n: int = 1) -> dict[str, HostArray]:
        """As `run`, by name, of what is not run again soon: its memory is given back."""
        values = self.run(key, phase, n)
        self._ready[key].executable.release()
        return values

    def release(self) -> None:
        """Give back the memory of all programs; each takes it again when it runs."""
        self.ranks.forget()
        for ready in self._ready.values():
            ready.executable.release()
        give_back()

    # ---- first values --------------------------------------------------------------------------

    def draw_params(self) -> None:
        """Give the parameters their first values, drawn or given, as wide as the widest phase
        wants them."""
        plan = self.plan
        if not plan.params:
            return
        keys = map(ProgramKind.INIT.of, (plan.dtype, "float64", "float32"))
        executable = self.executable(next(key for key in keys if key in plan.programs))
        values = self.read(self.run_once(executable, {}, "the first values"))
        wide = any((p.dtype or plan.dtype) == "float64" for p in plan.phases.values())
        dtype = "float64" if wide else plan.dtype
        self.store.params = {path: self.device.array(values[path], dtype) for path in plan.params}
        executable.release()

    def first_states(self, phase: PhaseSpec, counted: bool = True) -> dict[str, HostArray]:
        """The values that the states of a phase begin with, by path: of its optimisers, and its
        own. Weights of classes are `counted` over the data of the spec, or left to who knows with
        which data it trains."""
        key = ProgramKind.STATES.of(phase.name)
        values: dict[str, HostArray] = {p: np.zeros(shape) for p, shape in phase.states.items()}
        if values and key in self.plan.programs:
            values |= self.once(key, phase.name, phase.rows or 1)
        count = self.plan.data[phase.data].parts[phase.part].count
        for path, field in phase.weighed if counted and count else ():
            whole = WholeField(phase.data, phase.part, field)
            labels = self.device.to_host(self._whole(whole, count, phase.dtype or self.plan.dtype))
            values[path] = class_weights(labels, len(values[path]))
        return values


def class_weights(labels: HostArray, classes: int) -> HostArray:
    """What each of some classes weighs [classes], by the labels [n] of examples: n / (k m), where
    it has m of these and k classes occur; 0 where it does not occur."""
    counts = np.bincount(np.asarray(labels).reshape(-1).astype(np.int64), minlength=classes)
    return len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1)) * (counts > 0)
