"""Which phases a run trains, and how: a session, its signals, its progress."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from dln.kept.facts import SpecFacts
from dln.printing.progress import SmallCurves, progress
from dln.printing.terminal import Terminal
from dln.runtime.checkpoint.rundir import Restored, RunDirectory
from dln.runtime.data.raw import Read
from dln.runtime.footprint.ledger import Moment
from dln.runtime.footprint.refusing import LINE, Bounds, refuse
from dln.runtime.footprint.walk import AskedRun
from dln.runtime.interrupts import WARNINGS, interruptible
from dln.runtime.ranks.ranks import Ranks
from dln.runtime.readers.folders.telling import listening
from dln.runtime.session import Session
from dln.runtime.training.phase_trainer import Interrupted
from dln.settings import Settings, chosen
from dln.spec import Compiled, Spec

STOPPING = "finishing this update; once more to stop at once\n"


@dataclass(frozen=True)
class Selection:
    """The phases to be trained, and those left out for want of --slow."""

    names: tuple[str, ...]
    left_out: tuple[str, ...]


NEEDS: Mapping[str, tuple[str, Callable[[SpecFacts], object]]] = {
    "epochs": ("trains nothing", lambda facts: facts.phases),
    "limit": ("has no data", lambda facts: facts.data),
    "slow": (
        "has nothing slow",
        lambda f: any(p.slow for p in f.phases.values()) or any(c.slow for c in f.checks),
    ),
}
"""Options, and what a spec is without that they are of use for."""


def idle(spec: Spec, given: Settings) -> list[str]:
    """What is to be said of options that change nothing."""
    needs = {name: row for name, row in NEEDS.items() if name in given.asked}
    return [f"--{name} changes nothing: {spec.name} {lack}"
            for name, (lack, has) in needs.items() if not has(spec.facts)]  # fmt: skip


def select(spec: Spec, given: Settings, asked: Sequence[str] = ()) -> Selection:
    """All phases; or the one asked for with what it comes after; slow ones only with --slow, but
    for those that a sweep asks something of."""
    phases = spec.facts.phases
    after = {name: phase.after for name, phase in phases.items()}
    quick = [n for n, p in phases.items() if given.slow or not p.slow]
    one = None if given.phase is None else chosen(given.phase, phases, "phase")
    wanted = closure(one or [*quick, *asked], after)
    left = () if one else tuple(n for n in phases if n not in wanted)
    return Selection(tuple(n for n in phases if n in wanted), left)


def closure(names: Iterable[str], after: Mapping[str, Sequence[str]]) -> set[str]:
    """Some phases and all that they come after; `after` names those of each."""
    found = set(names)
    while more := {b for name in found for b in after.get(name, ())} - found:
        found |= more
    return found


def opened(
    compiled: Compiled, seed: int, read: Read | None = None, ranks: Ranks | None = None
) -> Session:
    """A session that keeps of each phase what the checks will ask, one of several `ranks`."""
    session = compiled.session(seed, read, ranks)
    session.bounds = replace(session.bounds, words=LINE)
    session.keep_before |= compiled.spec.facts.probed
    return session


def foreseen(
    compiled: Compiled, selection: Selection, given: Settings, ranks: int = 1, before: int = 0
) -> Moment:
    """The moment at which a run takes most memory, in the first of its ranks; the process has taken
    so many bytes `before`, those that it has now if none are said. Raises `DlnError` E523 where
    that is more than the limit."""
    keep = compiled.spec.facts.probed
    asked = AskedRun(selection.names, given.epochs, given.limit, saves=True, keep=keep, tasks=True,
                     ranks=ranks if given.backend == "numpy" else 1)  # fmt: skip
    bounds = Bounds(given.memory_limit, before=before, words=LINE)
    refuse(compiled.plan, asked, bounds)
    return bounds.foreseen(compiled.plan, asked)[1]


def train(
    terminal: Terminal, session: Session, selection: Selection, given: Settings,
    rundir: RunDirectory | None = None, restored: Restored | None = None,
) -> str:  # fmt: skip
    """Train the phases selected; what interrupted it, or nothing."""
    curves = SmallCurves() if given.plot and not terminal.quiet else None
    stopping = "" if terminal.quiet or given.mpi else STOPPING
    hearing = listening(terminal.say)  # of readings that take long
    more = WARNINGS if given.mpi else ()
    with interruptible(stopping, more) as stop, progress(terminal, curves) as hook, hearing:
        hooks = [hook] if curves is None else [curves, hook]
        try:
            session.train(selection.names, epochs=given.epochs, limit=given.limit, hooks=hooks,
                          rundir=rundir, stop=stop, resume=restored)  # fmt: skip
        except Interrupted as interrupted:
            return str(interrupted)
        return "interrupted after the training" if session.ranks.agree(stop.is_set()) else ""


def fixed(facts: SpecFacts, names: Iterable[str]) -> dict[str, int]:
    """The seeds that some phases fix for themselves, by phase."""
    return {n: seed for n in names if (seed := facts.phases[n].seed) is not None}
