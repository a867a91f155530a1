"""Running the phases of a plan in order: fresh, or from a checkpoint of an earlier run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict

from dln.compiler.plan import PhaseSpec
from dln.compiler.schema import arguments
from dln.grammar.diagnostics import Fault
from dln.runtime.checkpoint.reports import columns_of
from dln.runtime.checkpoint.rundir import Restored, RunDirectory
from dln.runtime.data.datasets import Datasets
from dln.runtime.device.source_map import placed, unknown
from dln.runtime.execution.run_state import RunState
from dln.runtime.training import resume as resuming
from dln.runtime.training.callbacks import POINTS, Log
from dln.runtime.training.facts import refuse
from dln.runtime.training.further import going_further, say_mixed
from dln.runtime.training.minibatches import Minibatches
from dln.runtime.training.phase_run import Options, Stop, begin, prepared, refuse_uncut
from dln.runtime.training.phase_trainer import PhaseTrainer


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
    state: RunState, datasets: Datasets, specs: Sequence[PhaseSpec], given: TrainOptions,
    keep: Iterable[str] = (),
) -> None:  # fmt: skip
    """Train phases in order, on the spec's `datasets` if no others are given; of those in `keep`
    their results hold what checks ask. Raises `DlnError` E563 for an option that there is not, and
    what training raises."""
    for name in given:
        if name not in TrainOptions.__annotations__:
            raise unknown("E563", "option of train", name, list(TrainOptions.__annotations__))
    given = checked(given)
    for hook in given.get("hooks") or ():
        if not any(arguments.method(hook, point) for point in POINTS):
            what, remedy = arguments.shown(hook), f"one of {', '.join(POINTS)}"
            if isinstance(hook, type):
                arguments.refuse(f"hooks are objects, and {what} is a class", f"{hook.__name__}()")
            arguments.refuse(f"{what} has no method that a run calls", remedy)
    refuse_uncut(state.plan, [spec.name for spec in specs])
    restored, running = given.get("resume"), dict[str, Any]()
    with placed(state.plan.texts):
        datasets = datasets.limited(given.get("data"), given.get("limit"))
        if restored is not None:
            refuse(state.plan, state.seed, restored.arrays, restored.meta)
            running = restored.meta["running"] or running
            _refuse_data(state, datasets, running or restored.meta["ended"])
            resuming.restore(state, restored)
        options = _options(state, datasets, given, frozenset(keep))
    for spec in specs:
        with placed(state.plan.texts, spec.place):
            _train(state, spec, options, restored, running)
        state.programs.release()  # each phase has its memory in turn


def _train(
    state: RunState, spec: PhaseSpec, options: Options, restored: Restored | None,
    running: Mapping[str, Any],
) -> None:  # fmt: skip
    """Train one phase, from its start or from a checkpoint; one that is complete is passed over."""
    result, place = state.results.get(spec.name), dict[str, Any]()
    if restored is not None and result is not None and result.complete:
        further = going_further(result, spec, options.epochs, options.hooks, restored.meta)
        if further is None:
            return
        del state.results[spec.name]  # until it has ended again there is none
        place.update(further)
    elif running.get("phase") == spec.name:
        place.update(running)
    if not place:
        begin(state, spec)
    trainer = PhaseTrainer(prepared(state, spec, options))
    options.datasets.let_go()
    if restored is not None and place:
        trainer.restore(place, resuming.kept_of(spec.name, restored.arrays))
        say_mixed(trainer.phase, trainer.result, place.get("length"))
    elif spec.name in options.keep:
        trainer.keep_first()
    trainer.run()


def _refuse_data(state: RunState, datasets: Datasets, place: Mapping[str, Any] | None) -> None:
    """Raise `Fault` E561 where the phase that goes on has other data now."""
    if place is None:
        return
    spec = state.plan.phases[place["phase"]]
    part = datasets.part(spec.data, spec.part, state.plan.programs[spec.step].dtype)
    size = Minibatches(spec, part, state.device, state.programs.seed_of(spec.name)).size
    for key, mine in {"examples": part.n, "batch": size}.items():
        if place[key] != mine:
            message = f"the run used {key} {place[key]:,}, this one {mine:,}"
            raise Fault(message, "resume with the options of the first run", "E561")


def _options(
    state: RunState, datasets: Datasets, given: TrainOptions, keep: frozenset[str]
) -> Options:
    """The options of each phase, the log and the checkpoints of a run directory among them; what
    was logged after the checkpoint from which it goes on is dropped."""
    hooks, saver = list(given.get("hooks") or ()), None
    rundir, restored = given.get("rundir"), given.get("resume")
    if rundir is not None and state.ranks.index == 0:
        known = 0 if restored is None else int(restored.meta.get("log", 0))
        path = None if restored is None else restored.path
        rundir.go_on_from(path, lambda record: int(record.get("n", -1)) < known)
        table = rundir.table(columns_of(state.plan.phases.values()))
        log = Log(rundir, known, state.programs.texts, table, state.ranks.count)
        hooks.append(log)
        saver = resuming.Saver(state, rundir, hooks, log)
    return Options(datasets, given.get("epochs"), hooks, given.get("stop"), saver, keep)


def checked(given: TrainOptions) -> TrainOptions:
    """The options as plain values. Raises `DlnError` E563 for what is none of its kind."""
    found = given.copy()
    if (epochs := given.get("epochs")) is not None:
        found["epochs"] = arguments.whole("epochs", epochs)
    if (limit := given.get("limit")) is not None:
        found["limit"] = arguments.whole("limit", limit, 1)
    if given.get("data") is not None:
        arguments.by_name("data", given.get("data"))
    for name, kind in (("rundir", RunDirectory), ("resume", Restored)):
        if not isinstance(value := given.get(name), kind | None):
            made = "RunDirectory.create(NAME, FOLDER), from dln.runtime.checkpoint.rundir"
            remedy = {"rundir": made, "resume": "rundir.newest()"}[name]
            what = f"{name} must be a {kind.__name__}, not {arguments.shown(value)}"
            arguments.refuse(what, remedy)
    if (stop := given.get("stop")) is not None and not arguments.method(stop, "is_set"):
        arguments.refuse(
            f"stop must have is_set(), as a threading.Event has, not {arguments.shown(stop)}"
        )
    hooks = given.get("hooks")
    if hooks is not None and not isinstance(hooks, list | tuple):
        try:
            found["hooks"] = list(hooks)
        except TypeError:
            arguments.refuse(f"hooks must be a list, not {arguments.shown(hooks)}")
    return found
