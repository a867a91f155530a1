"""Which phases a run trains, and how: a session, its signals, its progress."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from dln.compiler.model import Model
from dln.printing.progress import progress
from dln.printing.terminal import Terminal
from dln.running.interrupts import interruptible
from dln.runtime.checkpoint.rundir import Restored, RunDirectory
from dln.runtime.data.fields import Read
from dln.runtime.session import Session
from dln.runtime.training.phase_trainer import Interrupted
from dln.settings import Settings, chosen
from dln.spec import Compiled, Spec


@dataclass(frozen=True)
class Selection:
    """The phases to be trained, and those left out for want of --slow."""

    names: tuple[str, ...]
    left_out: tuple[str, ...]


def select(spec: Spec, given: Settings, asked: Sequence[str] = ()) -> Selection:
    """All phases; or the one asked for with what it comes after; slow ones only with --slow, but
    for those that a sweep asks something of."""
    phases = spec.model.phases
    after = {name: phase.after for name, phase in phases.items()}
    if given.phase is not None:
        wanted = closure(chosen(given.phase, phases, "phase"), after)
        return Selection(tuple(n for n in phases if n in wanted), ())
    quick = phases if given.slow else [n for n, p in phases.items() if not p.slow]
    wanted = closure([*quick, *asked], after)
    return Selection(
        tuple(n for n in phases if n in wanted), tuple(n for n in phases if n not in wanted)
    )


def closure(names: Iterable[str], after: Mapping[str, Sequence[str]]) -> set[str]:
    """Some phases and all that they come after; `after` names those of each."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += after.get(name, ())
    return found


def opened(compiled: Compiled, seed: int, read: Read | None = None) -> Session:
    """A session that keeps of each phase what the checks will ask."""
    session = compiled.session(seed, read)
    session.keep_before |= {probe.phase for probe in compiled.spec.model.probes.values()}
    return session


def train(
    terminal: Terminal, session: Session, selection: Selection, given: Settings,
    rundir: RunDirectory | None = None, restored: Restored | None = None,
) -> str:  # fmt: skip
    """Train the phases selected; what interrupted it, or nothing."""
    with interruptible(terminal) as stop, progress(terminal) as hook:
        try:
            session.train(
                selection.names, epochs=given.epochs, limit=given.limit, hooks=[hook],
                rundir=rundir, stop=stop, resume=restored,
            )  # fmt: skip
        except Interrupted as interrupted:
            return str(interrupted)
    return ""


def fixed(model: Model, names: Iterable[str]) -> dict[str, int]:
    """The seeds that some phases fix for themselves, by phase."""
    found = {name: model.phases[name].seed for name in names}
    return {name: seed for name, seed in found.items() if seed is not None}
