"""All that a run changes: what training works on and what a checkpoint holds."""

from __future__ import annotations

from dataclasses import dataclass, field

from dln.compiler.plan import Plan
from dln.runtime.device.device import Device
from dln.runtime.execution.phase_result import PhaseResult
from dln.runtime.execution.programs import Programs, Whole
from dln.runtime.execution.store import Store


@dataclass(frozen=True)
class RunState:
    """A run of a plan on a device: its arrays, its programs, results and numbers of updates.

    The fields stay; what they hold is changed by training. `results` are in the order in which the
    phases ended, `updates` counts those of each phase since it began.
    """

    store: Store
    programs: Programs
    results: dict[str, PhaseResult] = field(default_factory=dict)
    updates: dict[str, int] = field(default_factory=dict)

    @classmethod
    def begun(cls, plan: Plan, device: Device, seed: int, whole: Whole) -> RunState:
        """The state before anything has run; the parameters have no values yet."""
        store, results = Store(plan, device), dict[str, PhaseResult]()
        return cls(store, Programs(store, seed, results, whole), results)

    @property
    def plan(self) -> Plan:
        return self.store.plan

    @property
    def device(self) -> Device:
        return self.store.device

    @property
    def seed(self) -> int:
        return self.programs.seed

    def take_up(self, result: PhaseResult) -> None:
        """Take up the result of a phase, ended or interrupted, last in the order of results."""
        self.results.pop(result.name, None)
        self.results[result.name] = result
