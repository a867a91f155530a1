"""Running the phases of a session in order: fresh, or from a checkpoint of an earlier run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypedDict

from dln.compiler.plan import PhaseSpec
from dln.grammar.diagnostics import DlnError, Problem
from dln.runtime.checkpoint.rundir import Restored, RunDirectory
from dln.runtime.data.datasets import Datasets
from dln.runtime.device.source_map import placed
from dln.runtime.execution.store import paths_of, put
from dln.runtime.training import resume as resuming
from dln.runtime.training.callbacks import Hooks, Log
from dln.runtime.training.further import going_further, say_mixed
from dln.runtime.training.phase_trainer import Options, Stop, Training

if TYPE_CHECKING:
    from dln.runtime.session import Session


class TrainOptions(TypedDict, total=False):
    """How `Session.train` may differ from the spec, and who is told of it.

    `epochs` takes the place of the duration (a phase said in updates is cut short by it, not made
    longer); `limit` uses that many examples of each part, though what stands whole in the spec
    keeps the size that it was read with; `data` takes the place of the spec's data, by set or part:
    `{"mnist": (x, label)}`. With `rundir` checkpoints and a log are written.
    `stop.is_set()` ends it after the update at hand with `Interrupted`. `resume` is a checkpoint
    to go on from: phases that are complete in it are passed over, but for the last one where it
    is to be longer now.
    """

    epochs: int | None
    limit: int | None
    data: Mapping[str, Any] | None
    hooks: Iterable[object]
    rundir: RunDirectory | None
    stop: Stop | None
    resume: Restored | None


def train_phases(
    session: Session, specs: Sequence[PhaseSpec], datasets: Datasets, given: TrainOptions
) -> None:
    """Train phases in order; `datasets` are the session's own."""
    _check_counts(epochs=given.get("epochs"), limit=given.get("limit"))
    restored, rundir = given.get("resume"), given.get("rundir")
    with placed(session.plan.texts):
        datasets = datasets.limited(given.get("data"), given.get("limit"))
        running = _resumed(session, restored, rundir)
        hooks = list(given.get("hooks") or ())
        options = Options(datasets, given.get("epochs"), Hooks(hooks), given.get("stop"))
        if rundir is not None:
            log = Log(rundir, 0 if restored is None else int(restored.meta.get("log", 0)))
            options = replace(options, hooks=Hooks([*hooks, log]), rundir=rundir)
            options.save = _Saver(session, rundir, options.hooks, log)
    for spec in specs:
        if restored is None or not _complete(session, spec.name):
            _train(session, spec, options, running, restored)
            continue
        with placed(session.plan.texts, spec.place):
            further = going_further(session, spec, options, restored.meta)
        if further is not None:
            _train(session, spec, options, further, restored)


def _train(
    session: Session,
    spec: PhaseSpec,
    options: Options,
    running: Mapping[str, Any],
    restored: Restored | None,
) -> None:
    going_on = restored is not None and running.get("phase") == spec.name
    with placed(session.plan.texts, spec.place):
        if not going_on:
            begin(session, spec)
        training = Training(session, spec, options)
        if going_on:
            assert restored is not None
            training.restore(running)
            say_mixed(training, running.get("length"))
            resuming.restore_kept(training.result, restored.arrays)
            training.result.after = None
        elif spec.name in session.keep_before:
            training.keep_first()
            training.result.before = session.programs.snapshot(spec.name)
        training.run()


def begin(session: Session, spec: PhaseSpec) -> None:
    """The start of a phase: precision, hand-over, fresh optimiser states, update 0."""
    programs = session.programs
    program = session.plan.programs[spec.step]
    programs.cast(paths_of(program), program.dtype)
    if spec.starts:
        for path, values in programs.run(f"start:{spec.name}").items():
            put(session.device, programs.params[path], values)
    programs.start_states(spec, program.dtype)
    session.updates[spec.name] = 0


def _complete(session: Session, phase: str) -> bool:
    return phase in session.results and session.results[phase].complete


def _resumed(
    session: Session, restored: Restored | None, rundir: RunDirectory | None
) -> Mapping[str, Any]:
    """Take the session back to a checkpoint; returns the place in the running phase."""
    if restored is None:
        return {}
    resuming.restore(session, restored.arrays, restored.meta)
    if rundir is not None:
        known = int(restored.meta.get("log", 0))
        rundir.trim_log(lambda record: int(record.get("n", -1)) < known)
    return restored.meta["running"] or {}


class _Saver:
    """Writes the checkpoints of a run, numbered by the updates of all its phases."""

    def __init__(self, session: Session, rundir: RunDirectory, hooks: Hooks, log: Log) -> None:
        self.session, self.rundir, self.hooks, self.log = session, rundir, hooks, log

    def __call__(self, training: Training, best: bool) -> None:
        arrays, meta = resuming.pack(self.session, training)
        done = sum(r.updates for r in self.session.results.values())
        update = done + (0 if training.result.complete else training.update)
        path = self.rundir.save(update, arrays, {**meta, "log": self.log.written}, best)
        self.hooks.call("checkpoint", path, best)


def _check_counts(**counts: int | None) -> None:
    for name, count in counts.items():
        least = 0 if name == "epochs" else 1
        whole = isinstance(count, int) and not isinstance(count, bool)
        if count is not None and not (whole and count >= least):
            message = f"{name} must be a whole number of at least {least}, not {count!r}"
            raise DlnError([Problem("E563", message)])
