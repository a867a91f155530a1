"""A phase that has ended, and is asked to be of another length when its run goes on.

More epochs (or updates, or seconds) go on from its end with the optimiser as it was: what comes out
is what one longer run gives. That has a meaning only for the phase that was trained last. Faults:
E561 a phase that cannot go on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dln.compiler.plan import PhaseSpec
from dln.grammar.diagnostics import Fault
from dln.runtime.execution.phase_result import PhaseResult, result_from
from dln.runtime.training.callbacks import Hooks, note
from dln.runtime.training.duration import Duration
from dln.runtime.training.phase_run import PhaseRun

ASKED = ("count", "unit", "epochs")
Facts = Mapping[str, Any]


def going_further(
    result: PhaseResult, spec: PhaseSpec, epochs: int | None, hooks: Hooks, meta: Facts
) -> Facts | None:
    """The place from which a phase that has ended with a result goes on; None where there is
    nothing to do, which is said. Raises `Fault` where it cannot go on."""
    if not result.length or not result.complete:
        return None
    wanted = Duration.of(spec, int(result.length["per_epoch"]), epochs)
    if _same(result.length, wanted.facts()):
        return None
    asked, done = said_length(wanted.facts()), said_length(result.length)
    nothing = f"{result.name}: nothing to do,"
    if result.ended or result.length.get("until"):  # before its time
        why = result.ended or "until"
        note(result, hooks, f"{nothing} it ended by itself at update {result.updates:,} ({why})")
        return None
    if wanted.over(result.updates, result.seconds):
        note(result, hooks, f"{nothing} {asked} asked for, {done} are done")
        return None
    ended: Facts = meta.get("ended") or {}  # where the last one did: what came after began there
    last = (meta.get("running") or ended).get("phase")
    if last is None:
        message = f"the checkpoint does not say where {spec.name} ended"
        raise Fault(message, "start a new run", "E561")
    if last != spec.name:
        message = f"{spec.name} is to go on for {asked}, not {done}, but {last} came after it"
        raise Fault(f"{message}: that is a run of another spec", "start a new run", "E561")
    return ended


def refuse(
    phases: Mapping[str, PhaseSpec], meta: Facts, names: Sequence[str], epochs: int | None
) -> None:
    """Raise `Fault` where one of these phases is to be longer and cannot be, before any begins."""
    for name in names:
        if name in meta["results"]:
            result = result_from(meta["results"][name], {})
            going_further(result, phases[name], epochs, (), meta)


def _same(one: Facts, other: Facts) -> bool:
    return all(one.get(key) == other.get(key) for key in ASKED)


def said_length(length: Facts) -> str:
    """`8 epochs`, of what was asked for."""
    count, unit = int(length["count"]), str(length["unit"])
    if length["epochs"] is not None:
        count, unit = int(length["epochs"]), "epoch"
    return f"{count:,} {unit}{'s' * (count != 1)}"


def say_mixed(phase: PhaseRun, result: PhaseResult, before: Facts | None) -> None:
    """Say where a phase that reads `progress` went by another length up to here: no unbroken run
    gives these numbers."""
    now, update, spec = phase.clock.duration.facts(), phase.clock.update, phase.spec
    if not before or _same(before, now) or not update:
        return
    names = [*spec.steps, *(e.program for e in spec.estimates)]
    names += [w.program for w in spec.watches if w.program is not None]
    if any("progress" in phase.state.plan.programs[name].clocks for name in names):
        was, is_now = said_length(before), said_length(now)
        text = f"{spec.name} reads progress: its first {update:,} updates went by that of {was},"
        text += f" the others by that of {is_now}; an unbroken run of {is_now} gives other numbers"
        note(result, phase.options.hooks, text)
