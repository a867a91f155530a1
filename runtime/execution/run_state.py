"""All that a run changes: what training works on and what a checkpoint holds."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from dln.compiler.plan import Plan
from dln.runtime.device.device import Device
from dln.runtime.execution.phase_result import PhaseResult
from dln.runtime.execution.programs import Programs, Whole
from dln.runtime.execution.store import Store
from dln.runtime.ranks.ranks import Alone, Ranks


class RunState:
    """A run of a plan on a device: its arrays, its programs, results and numbers of updates.

    The fields stay; what they hold is changed by training. At first parameters have no values.
    `results` are in the order in which the phases ended, `updates` counts those of each phase since
    it began; `measured` are the numbers by which data are standardised or scaled, by set and value,
    as far as they have been measured. The `ranks` share out its work.
    """

    def __init__(
        self, plan: Plan, device: Device, seed: int, whole: Whole, ranks: Ranks | None = None
    ) -> None:
        self.plan, self.device, self.seed = plan, device, seed
        self.results: dict[str, PhaseResult] = {}
        self.updates: dict[str, int] = {}
        self.measured: dict[str, dict[str, NDArray[Any]]] = {}
        self.store = Store(plan, device)
        self.programs = Programs(self.store, seed, self.results, whole, ranks)

    @property
    def ranks(self) -> Ranks:
        """The processes that share out its work."""
        return self.programs.ranks

    def part(self) -> None:
        """Go on alone, with all that there is."""
        self.programs.ranks = Alone()
        self.store.generation += 1

    def take_up(self, result: PhaseResult) -> None:
        """Take up the result of a phase, ended or interrupted, last in the order of results."""
        self.results.pop(result.name, None)
        self.results[result.name] = result
