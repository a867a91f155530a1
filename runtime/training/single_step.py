"""One update of a phase, or its gradient, on a minibatch given from Python.

Faults: E563 a minibatch that the phase cannot take, E564 nothing to take the gradient of; those of
`readers.validation` for arrays that do not fit, E600 where the numbers are left.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from dln.compiler.plan import DataSpec, PhaseSpec, ProgramKind
from dln.grammar.diagnostics import DlnError, Fault, Problem
from dln.runtime.data.datasets import Datasets
from dln.runtime.device.source_map import placed
from dln.runtime.execution.executable import Bound, Executable
from dln.runtime.execution.numeric_faults import strict
from dln.runtime.execution.run_state import RunState
from dln.runtime.execution.store import HostArray
from dln.runtime.readers import handed
from dln.runtime.readers.frames import numbered
from dln.runtime.readers.given import settled, to_host
from dln.runtime.readers.validation import check_fields
from dln.runtime.training.curvature_estimates import before_step
from dln.runtime.training.duration import said_total
from dln.runtime.training.lbfgs import Descent
from dln.runtime.training.minibatches import updates_of_epoch
from dln.runtime.training.phase_run import begin, refuse_uncut

Given = Mapping[str, object]
"""Arrays by field, first axis the example."""


def step(state: RunState, datasets: Datasets, spec: PhaseSpec, given: Given) -> float:
    """One update of a phase; returns the loss before it. A phase that has not begun begins."""
    again = _again(state, datasets, spec, given)
    return _first(state, datasets, spec, given) if again is None else again


def _again(state: RunState, datasets: Datasets, spec: PhaseSpec, given: Given) -> float | None:
    """One update on arrays such as came before; None where the long way is to be gone."""
    name, update = spec.name, state.updates.get(spec.name, 0)
    bound = state.programs.again(
        _turn(spec, update), given, lambda: times(datasets, spec, update),
        lambda: f"phase {name}, update {update}",
    )  # fmt: skip
    if bound is None:
        return None
    state.updates[name] = update + 1
    return float(bound.values["loss"]) if "loss" in bound.values else 0.0


def _turn(spec: PhaseSpec, update: int) -> tuple[str, int]:
    """What the program of an update is remembered by: the phase, and whose turn it is there."""
    return spec.name, spec.rounds[update % len(spec.rounds)] if spec.rounds else 0


def _first(state: RunState, datasets: Datasets, spec: PhaseSpec, given: Given) -> float:
    """One update on arrays of a new form, and whatever is to be looked at twice."""
    refuse_uncut(state.plan, [spec.name])
    given = _by_number(state.plan.data[spec.data], given)
    with placed(state.plan.texts, spec.place):
        if spec.name not in state.store.states:
            begin(state, spec, counted=True)
        update = state.updates[spec.name]
        executable = state.programs.executable(spec.step_of(update), spec.name)
        now = times(datasets, spec, update, executable.program.clocks)
        before_step(state, datasets, spec, now)
        where = f"phase {spec.name}, update {update}"
        bound = _run(state, datasets, spec, executable, given, where, now)
        loss = float(bound.values["loss"]) if "loss" in bound.values else 0.0
        if spec.descent is not None:
            descent = Descent(spec.descent, state.device.xp, state.store.states[spec.name])
            clocks = state.programs.clocks(executable.program, now)
            with strict(state.device):
                descent.over(state.store.params | executable.params, bound)(*clocks)
    state.updates[spec.name] = update + 1
    _remember(state, spec, update, bound, given)
    return loss


def _by_number(data: DataSpec, given: Given) -> Given:
    """What was given, with the numbers of classes in place of words that the data set knows.
    Raises `DlnError` E554 for another word."""
    names = handed.names_of(data.source) if data.reader == "given" else data.names
    known = {k: to_host(given[k]) for k in names.keys() & given.keys()}
    words = {k: a for k, a in known.items() if isinstance(a, np.ndarray) and a.dtype.kind in "USO"}
    return {**given, **{k: numbered(a, names[k], k) for k, a in words.items()}} if words else given


def _remember(state: RunState, spec: PhaseSpec, update: int, bound: Bound, given: Given) -> None:
    """Keep how a step was called for those that come, where an update is one run of its program."""
    known = {f.name: f for f in state.plan.data[spec.data].fields}
    ragged = any(f.domain == "length" for f in known.values())
    if not ragged and not spec.estimates and spec.descent is None:
        wanted = [known[name] for name in spec.fields]
        key = spec.step_of(update)
        state.programs.remember(_turn(spec, update), key, bound, wanted, given)


def gradient(
    state: RunState, datasets: Datasets, spec: PhaseSpec, path: str, given: Given
) -> HostArray:
    """The gradient that an update of a phase moves a parameter by, of its shape: that of the lines
    which minimise over it, in a step after others with what these leave. Raises `DlnError` E564
    where the phase does not move it."""
    key, given = ProgramKind.GRAD.of(spec.name), _by_number(state.plan.data[spec.data], given)
    program = state.plan.programs.find(key)
    known = [] if program is None else [b.key for b in program.values]
    if program is None or path not in known:
        message = f"{spec.name} does not minimise anything over {path}"
        raise DlnError([Problem("E564", message, remedy=f"one of {', '.join(known[:8])}")])
    with placed(state.plan.texts, spec.place):
        first = None
        if spec.name not in state.store.states:  # it has not begun
            values = state.programs.first_states(spec)
            first = state.store.placed(values, program.dtype)
        executable = state.programs.executable(key, spec.name, first)
        now = times(datasets, spec, state.updates.get(spec.name, 0), executable.program.clocks)
        where = f"the gradient of {spec.name}"
        bound = _run(state, datasets, spec, executable, given, where, now)
    return state.device.to_host(bound.values[path])


def _run(
    state: RunState, datasets: Datasets, spec: PhaseSpec, executable: Executable, given: Given,
    where: str, now: Mapping[str, float],
) -> Bound:  # fmt: skip
    """Run on a minibatch of as many examples as any field that is given has; without any, on as
    many as the phase takes. Fields that it does not use may be given as well."""
    plan, dtype = state.plan, executable.program.dtype
    known = {f.name: f for f in plan.data[spec.data].fields}
    unused, wanted = known.keys() - set(spec.fields), [known[name] for name in spec.fields]
    used = {k: v for k, v in settled(list(known.values()), given).items() if k not in unused}
    arrays = check_fields(wanted, used, f"the phase {spec.name}", plan.texts, dtype)
    for array in arrays.values():
        check_rows(spec, len(array))
    lengths = [len(a) for a in arrays.values()]  # of all that was given, used or not
    lengths = lengths or [len(np.atleast_1d(np.asarray(a))) for k, a in given.items() if k in known]
    count = max(1, datasets.spec(spec.data, spec.part).parts[spec.part].count)
    rows = lengths[0] if lengths else spec.rows or min(spec.batch or count, count)
    return state.programs.run_once(executable, arrays, where, now, rows)


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


def times(
    datasets: Datasets, spec: PhaseSpec, update: int, clocks: Iterable[object] = ()
) -> dict[str, float]:
    """The clocks of a single step, as they would be in training on the session's own data. Raises
    `Fault` E518 where a program reads `clocks` that depend on examples which it was not given."""
    data = datasets.spec(spec.data, spec.part)
    if not data.counted:
        for name in {"epoch", "progress"}.intersection(map(str, clocks)):
            message = f"{name} follows from how many examples {spec.data} has"
            fault = handed.unhanded(data.source, spec.data)
            raise Fault(f"{message}, and {fault.message}", fault.remedy, "E518")
        return {"epoch": 0.0, "update": float(update), "progress": 0.0}
    per_epoch = updates_of_epoch(spec, data.parts[spec.part].count)
    total = said_total(spec, per_epoch)
    progress = min(1.0, update / total) if total else 0.0
    return {"epoch": float(update // per_epoch), "update": float(update), "progress": progress}
