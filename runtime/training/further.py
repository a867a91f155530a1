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
from dln.runtime.training.callbacks import Hooks
from dln.runtime.training.duration import Duration
from dln.runtime.training.phase_run import Options, PhaseRun

ASKED = ("count", "unit", "epochs")


def going_further(
    result: PhaseResult, spec: PhaseSpec, options: Options, meta: Mapping[str, Any]
) -> Mapping[str, Any] | None:
    """The place from which a phase that has ended with a result goes on; None where there is
    nothing to do, which is said."""
    wanted = _wanted(spec, result, options.epochs)
    if wanted is None:
        return None
    if _early(result):
        why = result.ended or "until"
        _nothing(result, options.hooks, f"it ended by itself at update {result.updates:,} ({why})")
        return None
    if _enough(result, wanted):
        said = f"{said_length(wanted.facts())} asked for, {said_length(result.length)} are done"
        _nothing(result, options.hooks, said)
        return None
    return _end_of(spec, meta, result, wanted)


def _nothing(result: PhaseResult, hooks: Hooks, why: str) -> None:
    """Say why a phase is left as it is."""
    _note(result, hooks, f"{result.name}: nothing to do, {why}")


def _note(result: PhaseResult, hooks: Hooks, text: str) -> None:
    hooks.call("note", text)
    result.note = ". ".join(filter(None, [result.note, text]))


def refuse(
    phases: Mapping[str, PhaseSpec], meta: Mapping[str, Any], names: Sequence[str],
    epochs: int | None,
) -> None:  # fmt: skip
    """Raise `Fault` where one of these phases is to be longer and cannot be, before any begins."""
    for name in names:
        if name in meta["results"]:
            result = result_from(meta["results"][name], {})
            wanted = _wanted(phases[name], result, epochs)
            if wanted is not None and not _early(result) and not _enough(result, wanted):
                _end_of(phases[name], meta, result, wanted)


def _wanted(spec: PhaseSpec, result: PhaseResult, epochs: int | None) -> Duration | None:
    """How long a phase is to be, where that is not what it was asked for."""
    if not result.length or not result.complete:
        return None
    wanted = Duration.of(spec, int(result.length["per_epoch"]), epochs)
    return None if _same(result.length, wanted.facts()) else wanted


def _enough(result: PhaseResult, wanted: Duration) -> bool:
    return wanted.over(result.updates, result.seconds)


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return all(one.get(key) == other.get(key) for key in ASKED)


def _early(result: PhaseResult) -> bool:
    """Whether a phase ended before its time."""
    return bool(result.ended or result.length.get("until"))


def _end_of(
    spec: PhaseSpec, meta: Mapping[str, Any], result: PhaseResult, wanted: Duration
) -> Mapping[str, Any]:
    """Where a phase ended, if it was the last one: what came after it began there."""
    ended: Mapping[str, Any] = meta.get("ended") or {}
    last = (meta.get("running") or ended).get("phase")
    if last is None:
        message = f"the checkpoint does not say where {spec.name} ended"
        raise Fault(message, "start a new run", "E561")
    if last != spec.name:
        lengths = f"{said_length(wanted.facts())}, not {said_length(result.length)}"
        message = f"{spec.name} is to go on for {lengths}, but {last} came after it"
        raise Fault(f"{message}: that is a run of another spec", "start a new run", "E561")
    return ended


def said_length(length: Mapping[str, Any]) -> str:
    """`8 epochs`, of what was asked for."""
    count, unit = int(length["count"]), str(length["unit"])
    if length["epochs"] is not None:
        count, unit = int(length["epochs"]), "epoch"
    return f"{count:,} {unit}{'s' * (count != 1)}"


def say_mixed(phase: PhaseRun, result: PhaseResult, before: Mapping[str, Any] | None) -> None:
    """Say where a phase that reads `progress` went by another length up to here: no unbroken run
    gives these numbers."""
    now, update = phase.clock.duration.facts(), phase.clock.update
    if not before or _same(before, now) or not update or not _reads_progress(phase):
        return
    done = f"its first {update:,} updates"
    was, is_now = said_length(before), said_length(now)
    text = f"{phase.spec.name} reads progress: {done} went by that of {was}, the others by that"
    text = f"{text} of {is_now}; an unbroken run of {is_now} gives other numbers"
    _note(result, phase.options.hooks, text)


def _reads_progress(phase: PhaseRun) -> bool:
    spec, programs = phase.spec, phase.state.plan.programs
    names = [spec.step, *(e.program for e in spec.estimates)]
    names += [w.program for w in spec.watches if w.program is not None]
    return any("progress" in programs[name].clocks for name in names)
