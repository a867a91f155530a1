"""Train the phases, run the tasks, test the checks."""

from __future__ import annotations

import gc
import os
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from typing import Any

import click

from dln.grammar.diagnostics import DlnError, Fault
from dln.options import Some, settings, takes
from dln.printing.terminal import Terminal, present
from dln.running import beginning, differences, recording, tasks, verdict_text
from dln.running.beginning import Origin
from dln.running.differences import Earlier
from dln.running.report import facts, report
from dln.running.resuming import earlier
from dln.running.training import Selection, foreseen, idle, opened, select, train
from dln.running.verdict import Verdict
from dln.runtime.checkpoint.rundir import RunDirectory
from dln.runtime.interrupts import WARNINGS, terminable
from dln.runtime.ranks.launched import refuse_apart
from dln.runtime.ranks.ranks import Alone, Ranks
from dln.runtime.session import Session
from dln.runtime.training.phase_run import refuse_uncut
from dln.runtime.training.shared.meeting import same_plan
from dln.settings import Settings
from dln.spec import Compiled, Spec, find, from_file

ORDER = 50


@click.command(help=__doc__)
@click.argument("spec", required=False)
@click.option(
    "--phase", type=Some(), metavar="NAME", help="Only this phase, and those that it comes after."
)
@click.option("--out", type=Some(), metavar="DIR", help="The run directory [runs/SPEC-N].")
@click.option(
    "--resume", metavar="[DIR]", is_flag=False, flag_value="", default=None,
    help="Go on with an interrupted run: of DIR, or the newest of the spec.",
)  # fmt: skip
@click.option(
    "--from", "begun", type=Some(), metavar="RUN",
    help="Begin with the parameters of a run, or a .safetensors file, as far as they fit.",
)  # fmt: skip
@click.option(
    "--mpi", is_flag=True, help="One of several processes that mpirun has started: share it out."
)
@click.option("--plot", is_flag=True, help="Small curves of what is watched, while it trains.")
@takes("training", "device", "target", "memory", "spec")
def command(terminal: Terminal, /, spec: str | None, **given: Any) -> int:
    """A new run, or one that goes on."""
    gc.enable()
    gc.set_threshold(50_000)  # graphs are many small objects, which go without a collection
    asked = settings(terminal, given)
    if asked.mpi:
        from dln.running.ranked import in_ranks  # late: with --mpi alone

        return in_ranks(terminal, lambda ranks: run(terminal, spec, asked, ranks))
    refuse_apart(os.environ)
    return run(terminal, spec, asked)


class Failed(DlnError):
    """A run that began and could not be brought to its end."""

    exit_code = 1


def run(terminal: Terminal, name: str | None, given: Settings, ranks: Ranks | None = None) -> int:
    """Carry out a whole run; the exit code. Of several ranks the first one writes what there is to
    be written. Raises `Fault` E014 where nothing says which spec."""
    ranks = ranks or Alone()
    if given.begun is not None and given.resume is not None:
        message = "--from begins a new run, --resume goes on with one"
        raise Fault(message, "leave out one of them", "E545")
    here = given.resume is not None and ranks.index == 0
    before = ranks.first(earlier(name, given) if here else None)
    if before is not None:
        name, given = before.spec, replace(before.settings, plot=given.plot, mpi=given.mpi)
        for note in before.notes:
            terminal.say(f"note: {note}")
    if name is None:
        raise Fault("which spec?", "dln run SPEC, or dln run --resume DIR", "E014")
    path = find(name)
    spec = from_file(path, given)
    for note in (*spec.facts.notes, *idle(spec, given)):
        terminal.say(f"note: {note}")
    compiled = spec.compile(
        given.backend, given.dtype, given.threads, given.memory_limit, shards=given.shards
    )
    selection = select(spec, given)
    refuse_uncut(compiled.plan, selection.names)
    if before is not None:
        differences.refuse_spec(before, spec, compiled, selection.names)
    foreseen(compiled, selection, given, ranks.count)
    session = opened(compiled, given.seed, ranks=ranks)
    same_plan(session.state)
    origin = beginning.taken(terminal, session, given.begun)
    terminal.warn(spec.facts.warnings)
    directory: AbstractContextManager[RunDirectory | None] = nullcontext()
    with terminable(WARNINGS if given.mpi else ()):
        if ranks.index == 0:
            directory = recorded(spec, compiled, given, str(path), before, origin)
        with directory as rundir:
            if before is not None:
                beginning.again(session, before.rundir)
            return _run(terminal, spec, session, selection, given, rundir, before)


def _run(
    terminal: Terminal, spec: Spec, session: Session, selection: Selection, given: Settings,
    rundir: RunDirectory | None, before: Earlier | None,
) -> int:  # fmt: skip
    """Train, then tasks, then checks; only train without a run directory. Raises `Failed`."""
    restored, emitted = None if before is None else before.restored, dict[str, Any]()
    try:
        interrupted = train(terminal, session, selection, given, rundir, restored)
        if rundir is None:
            return 130 if interrupted else 0
        session.alone()
        if not interrupted:
            emitted = tasks.run_all(terminal, session, spec, rundir.path)
    except DlnError as error:
        with suppress(Fault):  # of a full disk the first error is told
            if rundir is not None:
                rundir.log(event="failed", problems=[p.as_data() for p in error.problems])
        raise Failed(error.problems) from None
    if interrupted:
        rundir.log(event="interrupted")
        terminal.say(f"{interrupted}; saved in {rundir.path}")
        terminal.say(f"go on with: dln run {spec.name} --resume {rundir.path}")
        terminal.data({**facts(spec, session, [], rundir), "interrupted": True})
        return 130
    found = _verdicts(spec, session, given)
    told = facts(spec, session, found, rundir)
    rundir.log(event="finished", checks=told["checks"], phases=told["phases"])
    if any(result.history for result in session.results.values()):
        _curves(terminal, session, rundir, given)
    report(terminal, spec, session, selection, found)
    terminal.result(f"\nrun directory: {rundir.path}")
    terminal.data({**told, **emitted, **present(left_out=selection.left_out)})
    return 1 if verdict_text.status_of(found) == "failed" else 0


def _curves(terminal: Terminal, session: Session, rundir: RunDirectory, given: Settings) -> None:
    from dln.recorded import curves  # late: many runs watch nothing

    curves.of_itself(session.results, rundir.path, given.plot, terminal.say)


def _verdicts(spec: Spec, session: Session, given: Settings) -> list[Verdict]:
    """What has become of all that checks expect."""
    if not spec.facts.checks:
        return []
    from dln.running.expectations import verdicts  # late: the graph's operations

    return verdicts(spec.model, session, slow=given.slow, seed=given.seed)


# ---- the run directory -------------------------------------------------------------------------


def recorded(
    spec: Spec, compiled: Compiled, given: Settings, path: str, before: Earlier | None,
    origin: Origin | None = None,
) -> RunDirectory:  # fmt: skip
    """The directory of a run, with all that it depends on written down, where that is new."""
    if before is not None:
        now = replace(before.settings, phase=before.first.phase, slow=before.first.slow,
                      memory_limit=None)  # fmt: skip
        same = now == before.first and before.first_spec == path
        if same and before.rundir.spec_text() == spec.source.text:
            return before.rundir
    text = spec.kept.value("resolved", lambda: _resolved(spec))
    rundir = RunDirectory.create(spec.name, given.out) if before is None else before.rundir
    if before is not None:  # which phases are trained is asked anew each time
        given = replace(given, phase=before.first.phase, slow=before.first.slow)
    begun = None if before is None else beginning.facts(rundir)
    if origin is not None:
        origin.write(rundir)
        begun = origin.facts()
    recording.written(rundir, spec, compiled, given, path, text, begun)
    return rundir


def _resolved(spec: Spec) -> str:
    from dln.reading.resolved import resolved  # late: what is kept was written out before

    return resolved(spec)
