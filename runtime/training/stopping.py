"""Expressions over watched values: `until` and what `checkpoint best by` says."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any

from dln.compiler.plan import Heard, ProgramKey, ReportFold, WatchReport
from dln.runtime.execution.phase_result import Watched
from dln.runtime.training.phase_run import PhaseRun
from dln.runtime.training.watching import Watches


class Conditions:
    """`until` and the smallest values so far by which checkpoints are kept.

    An expression is not looked at before every report in it is there: `valid` after the first one,
    `valid[-1]` after the second.
    """

    def __init__(self, run: PhaseRun, watches: Watches) -> None:
        self.run, self.spec, self.watches = run, run.spec, watches
        self.best: list[float] = [inf] * len(run.spec.keeps)
        self.at_best: dict[str, Watched] = {}

    def until(self) -> bool:
        """Whether the phase is to end."""
        return any(self._value(program, "until") for program in self.spec.until)

    def better(self) -> bool:
        """Whether a value that checkpoints are kept by is the smallest yet; what else is known then
        is remembered."""
        found = False
        for i, keep in enumerate(self.spec.keeps):
            value = self._value(keep.program, "best") if keep.program else None
            if value is not None and value < self.best[i]:
                self.best[i], found = value, True
        if found:
            clock = self.run.clock
            counts = {"epochs": float(clock.epoch), "updates": float(clock.update)}
            self.at_best = {**counts, **self.watches.values}  # as `sse.epochs` reads them
        return found

    def _value(self, program: ProgramKey, key: str) -> float | None:
        """What an expression is; None where a report that it asks for is not there yet."""
        programs = self.run.state.programs
        wanted = programs.plan.programs[program].clocks
        asked = [c for c in wanted if isinstance(c, WatchReport | ReportFold)]
        found = {c: self.watches.report(c) for c in asked}
        reports: dict[Heard, float] = {c: v for c, v in found.items() if v is not None}
        if len(reports) < len(found):
            return None
        executable = programs.executable(program, self.spec.name)
        bound = executable.at(1)
        clocks = programs.clocks(executable.program, self.run.clock.now(), reports)
        self.run.watchman.running(executable, 1, bound)
        bound.run(*clocks)
        return float(bound.values[key])

    def state(self) -> dict[str, Any]:
        """The smallest values as plain data, and what was known then."""
        smallest = [None if b == inf else b for b in self.best]
        return {"smallest": smallest, "then": dict(self.at_best)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` has told."""
        self.best = [inf if b is None else float(b) for b in state["smallest"]]
        self.at_best = dict(state["then"])
