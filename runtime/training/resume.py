"""The contents of a checkpoint of a run, and the way back.

Parameters go under their paths, optimiser states under `state:<phase>:<path>`, what checks may ask
of a phase under `first:`, `before:` and `after:`. Counters, results and the place in the running
phase are plain facts; so is the end of the phase that has just ended, from where it may go on for
longer. Faults: E561 a checkpoint that this run cannot go on with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dln.compiler.plan import DTYPES, CheckpointKey
from dln.grammar.diagnostics import Fault
from dln.runtime.checkpoint import checkpoint
from dln.runtime.checkpoint.checkpoint import Arrays
from dln.runtime.checkpoint.rundir import Restored, RunDirectory
from dln.runtime.execution.phase_result import ARRAYS, PhaseResult, result_from
from dln.runtime.execution.run_state import RunState
from dln.runtime.execution.store import put
from dln.runtime.training import facts
from dln.runtime.training.callbacks import Hooks, Log, tell


@dataclass(frozen=True)
class PhaseAt:
    """A phase under way, or at its end: its result so far, the `place` where it is (None when it is
    complete) and the one where it `ended`, before it took its last watches. `held` are other values
    of it by kind, `best` or `last`."""

    result: PhaseResult
    place: Mapping[str, Any] | None
    ended: Mapping[str, Any] | None
    held: Mapping[str, Arrays] = field(default_factory=dict)


def pack(state: RunState, phase: PhaseAt | None = None) -> tuple[Arrays, dict[str, Any]]:
    """All that a run is, as host arrays by name and plain facts."""
    arrays = state.store.host_params()
    for name, states in state.store.states.items():
        for path, array in states.items():
            arrays[str(CheckpointKey("state", name, path))] = state.device.to_host(array)
    running = {} if phase is None else {phase.result.name: phase.result}
    for name, result in {**state.results, **running}.items():
        for kept in ARRAYS:
            for key, host in (getattr(result, kept) or {}).items():
                arrays[str(CheckpointKey(kept, name, key))] = host
    if phase is not None:
        for kind, named in phase.held.items():
            for path, array in named.items():
                arrays[str(CheckpointKey(kind, phase.result.name, path))] = array
    meta = {
        "spec": state.plan.name,
        "fingerprint": state.plan.fingerprint,
        "seed": state.seed,
        "updates": dict(state.updates),
        "results": {name: r.facts() for name, r in state.results.items()},
        "running": None if phase is None else phase.place,
        "ended": None if phase is None else phase.ended,
    }
    if state.measured:
        meta["measured"] = {
            name: {k: np.asarray(a).tolist() for k, a in numbers.items()}
            for name, numbers in state.measured.items()
        }
    return arrays, meta


def weights(arrays: Arrays) -> str:
    """A hash of the parameters and states among the arrays of a checkpoint."""
    kinds = {name: CheckpointKey.parse(name) for name in arrays}
    return checkpoint.digest(
        {name: arrays[name] for name, key in kinds.items() if key is None or key.kind == "state"}
    )


class Saver:
    """Writes the checkpoints of a run, numbered by the updates of all its phases."""

    def __init__(self, state: RunState, rundir: RunDirectory, hooks: Hooks, log: Log) -> None:
        self.state, self.rundir, self.hooks, self.log = state, rundir, hooks, log

    def save(self, phase: PhaseAt, best: bool) -> Path:
        """Write one among those to resume from; where it is the `best`, as that too."""
        arrays, meta = pack(self.state, phase)
        result, update = phase.result, sum(r.updates for r in self.state.results.values())
        update += 0 if result.complete else result.updates
        record = self.log.numbered(
            "checkpoint", phase=result.name, update=result.updates, complete=result.complete,
            number=update, best=best, weights=weights(arrays),
        )  # fmt: skip
        path = self.rundir.save(update, arrays, {**meta, "log": self.log.written}, best, record)
        tell(self.hooks, "checkpoint", path, best)
        return path

    def trace(self, phase: str, update: int) -> None:
        """Log the hash of what the run is now."""
        self.log.weights(phase, update, weights(pack(self.state)[0]))

    def leave(self, phase: PhaseAt, rows: Sequence[str] = ()) -> None:
        """Save what failed beside the checkpoints, not among those to resume from, if it can be. Of
        the states `rows` it has only those of this rank as they were then."""
        with suppress(Fault):
            path = self.rundir.checkpoints / "failed.safetensors"
            arrays, meta = pack(self.state, phase)
            checkpoint.save(path, arrays, {**meta, "earlier_rows": list(rows)} if rows else meta)
            if rows:
                text = f"{path.name} holds, of {', '.join(rows)}, the rows of other ranks as they"
                tell(self.hooks, "note", f"{text} were when ranks last came together")


# ---- the way back ------------------------------------------------------------------------------


def restore(state: RunState, restored: Restored) -> None:
    """Make a run what it was. Raises `Fault` E561 for the checkpoint of another spec or seed, or
    for one that says what cannot be, before anything is changed."""
    facts.refuse(state.plan, state.seed, restored.arrays, restored.meta)
    state.measured.update(facts.measured(state.plan, restored.meta))
    arrays, meta = restored.arrays, restored.meta
    for path in state.store.params:
        state.store.replace(path, arrays[path], str(arrays[path].dtype))
    _take_states(state, arrays)
    state.updates.update(meta["updates"])
    state.results.clear()
    order = list(state.plan.phases)
    for name, said in sorted(meta["results"].items(), key=lambda r: order.index(r[0])):
        kept = kept_of(name, arrays)
        state.results[name] = result_from(said, {k: v for k, v in kept.items() if k in ARRAYS})


def kept_of(phase: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, Arrays]:
    """The arrays by name that checks may ask of a phase, `first`, `before` and `after`, and its
    values at its `best` report or its `last`, as far as kept."""
    found = {kept: facts.of_kind(arrays, kept, phase) for kept in (*ARRAYS, *facts.HELD)}
    return {kept: mine for kept, mine in found.items() if mine}


def load(state: RunState, arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> None:
    """Take over parameters by path, and what fits of states and counters.

    The spec may be another one, as long as its parameters have these names and shapes. States are
    taken over for each phase that has exactly these. Raises `Fault` E532.
    """
    facts.refuse_params(state.plan, arrays)
    updates = meta.get("updates", {})
    facts.refuse_form(updates, facts.each(facts.count), "updates")
    with suppress(Fault):  # another spec may measure other things: then they are measured anew
        state.measured.update(facts.measured(state.plan, meta))
    for path, array in state.store.params.items():
        put(state.device, array, arrays[path])
        state.store.clear_dead(path)
    for phase in _take_states(state, arrays):
        state.updates[phase] = int(updates.get(phase, 0))


def _take_states(state: RunState, arrays: Mapping[str, NDArray[Any]]) -> list[str]:
    """Set the states of the phases that the arrays fit; returns the names of those phases."""
    taken = []
    for name, spec in state.plan.phases.items():
        found = facts.of_kind(arrays, "state", name)
        if {k: a.shape for k, a in found.items()} == dict(spec.states):
            real = (str(a.dtype) for a in found.values() if str(a.dtype) in DTYPES)
            state.store.set_states(name, found, next(real, state.plan.dtype))
            taken.append(name)
    return taken
