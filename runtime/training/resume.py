"""The contents of a checkpoint of a session, and the way back.

Parameters go under their paths, optimiser states under `state:<phase>:<path>`, what checks may ask
of a phase under `first:`, `before:` and `after:`. Counters, results and the place in the running
phase are plain facts; so is the end of the phase that has just ended, from where it may go on for
longer. Faults: E561 a checkpoint that this session cannot go on with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from dln.grammar.diagnostics import Fault
from dln.runtime.checkpoint import checkpoint
from dln.runtime.execution.phase_result import KEPT, result_from

if TYPE_CHECKING:
    from dln.runtime.session import Session
    from dln.runtime.training.phase_trainer import Training

Arrays = dict[str, NDArray[Any]]


def pack(session: Session, training: Training | None = None) -> tuple[Arrays, dict[str, Any]]:
    """All that the session is, as host arrays and plain facts."""
    programs = session.programs
    arrays = programs.host_params()
    for phase, states in programs.states.items():
        for path, array in states.items():
            arrays[f"state:{phase}:{path}"] = programs.device.to_host(array)
    running = {} if training is None else {training.spec.name: training.result}
    for name, result in {**session.results, **running}.items():
        for kept in KEPT:
            for key, host in (getattr(result, kept) or {}).items():
                arrays[f"{kept}:{name}:{key}"] = host
    meta = {
        "spec": session.plan.name,
        "fingerprint": session.plan.fingerprint,
        "seed": session.seed,
        "updates": dict(session.updates),
        "results": {name: r.facts() for name, r in session.results.items()},
        "running": None if training is None or training.result.complete else training.state(),
        "ended": None if training is None else training.before_end,
    }
    return arrays, meta


def restore(session: Session, arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> None:
    """Make a session what it was. Raises `Fault` for the checkpoint of another spec or seed."""
    for key, mine in {"fingerprint": session.plan.fingerprint, "seed": session.seed}.items():
        if meta.get(key) != mine:
            what = "spec (or other constants)" if key == "fingerprint" else f"seed, {meta.get(key)}"
            remedy = "start a new run; `load` takes over the parameters alone"
            raise Fault(f"the checkpoint is of another {what}", remedy, "E561")
    check_params(session, arrays)
    for path in session.programs.params:
        session.programs.replace(path, arrays[path], str(arrays[path].dtype))
    _take_states(session, arrays, strict=True)
    session.updates.update(meta["updates"])
    session.results.clear()
    order = list(session.plan.phases)
    for name, facts in sorted(meta["results"].items(), key=lambda r: order.index(r[0])):
        session.results[name] = result_from(facts)
        restore_kept(session.results[name], arrays)


def restore_kept(result: Any, arrays: Mapping[str, NDArray[Any]]) -> None:
    """The arrays that checks may ask of a phase."""
    for kept in KEPT:
        start = f"{kept}:{result.name}:"
        found = {k.removeprefix(start): a for k, a in arrays.items() if k.startswith(start)}
        if found:
            setattr(result, kept, found)


def load(session: Session, arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> None:
    """Take over parameters by path, and what fits of states and counters.

    The spec may be another one, as long as its parameters have these names and shapes. States
    are taken over for each phase that has exactly these.
    """
    from dln.runtime.execution.store import put

    check_params(session, arrays)
    for path, array in session.programs.params.items():
        put(session.programs.device, array, arrays[path])
        session.programs.clear_dead(path)
    for phase in _take_states(session, arrays, strict=False):
        session.updates[phase] = int(meta.get("updates", {}).get(phase, 0))


def check_params(session: Session, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Exactly the parameters of the spec, of their shapes, in any precision."""
    found = {k: a for k, a in arrays.items() if ":" not in k}
    real = {k: a.dtype for k, a in found.items() if a.dtype.kind == "f"}
    params = session.plan.params
    expected = {p: (s.shape, real.get(p, session.plan.dtype)) for p, s in params.items()}
    checkpoint.compare_keys(expected, found)


def _take_states(session: Session, arrays: Mapping[str, NDArray[Any]], strict: bool) -> list[str]:
    """Set the states of the phases that the arrays fit; returns the names of those phases."""
    taken = []
    for name, spec in session.plan.phases.items():
        start = f"state:{name}:"
        found = {k.removeprefix(start): a for k, a in arrays.items() if k.startswith(start)}
        fits = {k: a.shape for k, a in found.items()} == dict(spec.states)
        if strict and found and not fits:
            raise Fault(f"the optimiser of {name} has other states", "start a new run", "E561")
        if fits:
            real = (str(a.dtype) for a in found.values() if a.dtype.kind == "f")
            dtype = next(real, session.plan.dtype)
            session.programs.set_states(name, found, dtype)
            taken.append(name)
    return taken
