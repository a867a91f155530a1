"""Five points of a training run at which a caller is told what happened.

A hook is an object with some of these methods; `Hook` has them all and does nothing. Progress is
told at most ten times a second, the rest when it happens. Hooks look; they do not change the run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dln.runtime.checkpoint.reports import ReportTable
from dln.runtime.checkpoint.rundir import RunDirectory
from dln.runtime.execution.phase_result import PhaseResult, Watched

Hooks = Sequence[object]


@dataclass(frozen=True)
class Started:
    """A phase begins, or goes on at `update` of so many `updates` in all, None where only time
    ends it. It has `examples` in its part of the data, `batch` in a full minibatch, and is to be of
    a `length` (`Duration.facts`)."""

    phase: str
    update: int
    updates: int | None
    examples: int
    batch: int
    length: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Progress:
    """Where a phase is: `epoch` epochs and `update` updates done, `fraction` of its way (0 to 1),
    `rate` in examples a second since it was last told, `seconds` in all, the `loss` of the last
    minibatch before its update, and the last watched values."""

    phase: str
    epoch: int
    update: int
    fraction: float
    rate: float
    seconds: float
    loss: float
    watch: Mapping[str, Watched]


@dataclass(frozen=True)
class Report:
    """Watched values that were taken together, after so many `seconds` of the phase."""

    phase: str
    epoch: int
    update: int
    values: Mapping[str, Watched]
    seconds: float = 0.0


class Hook:
    """The five points, and what is said of a run that goes on. Override what is of interest.

    `checkpoint`: one has been written, which is the `best` so far as well. `phase_end`: a phase has
    come to its end; one that is interrupted has not.
    """

    def phase_start(self, event: Started) -> None: ...
    def report(self, event: Report) -> None: ...
    def progress(self, event: Progress) -> None: ...
    def checkpoint(self, path: Path, best: bool) -> None: ...
    def phase_end(self, result: PhaseResult) -> None: ...
    def note(self, text: str) -> None: ...


POINTS = tuple(name for name in vars(Hook) if not name.startswith("_"))


def tell(hooks: Hooks, point: str, *arguments: Any) -> None:
    """Call a method of several hooks, in order; one that a hook lacks is passed over."""
    for hook in hooks:
        method = getattr(hook, point, None)
        if method is not None:
            method(*arguments)


def note(result: PhaseResult, hooks: Hooks, text: str) -> None:
    """Say something of a phase that whoever reads its numbers should know."""
    tell(hooks, "note", text)
    result.note = ". ".join(filter(None, [result.note, text]))


class Log(Hook):
    """Writes what happens into the log of a run directory.

    Its records are numbered from `written` on, so that those after a checkpoint can be dropped.
    `texts` gives the hashes of the programs that are ready; each is written once. Reports go into
    the `table` too, where there is one. Of several `ranks` it says how many they are.
    """

    def __init__(
        self, rundir: RunDirectory, written: int = 0,
        texts: Callable[[], Mapping[str, str]] = dict, table: ReportTable | None = None,
        ranks: int = 1,
    ) -> None:  # fmt: skip
        self._rundir, self._texts, self._table, self._ranks = rundir, texts, table, ranks
        self._known = set[str]()
        self.written = written

    def numbered(self, event: str, **facts: object) -> dict[str, object]:
        """A record of the log, which counts as written."""
        self.written += 1
        return {"event": event, "n": self.written - 1, **facts}

    def _log(self, event: str, **facts: object) -> None:
        self._rundir.log(**self.numbered(event, **facts))

    def _programs(self) -> dict[str, Mapping[str, str]]:
        """The programs that were not written yet."""
        new = {key: text for key, text in self._texts().items() if key not in self._known}
        self._known |= new.keys()
        return {"programs": new} if new else {}

    def phase_start(self, event: Started) -> None:
        several = {"ranks": self._ranks} if self._ranks > 1 else {}
        self._log("start", **vars(event), **several, **self._programs())

    def report(self, event: Report) -> None:
        at = {"epoch": event.epoch, "update": event.update, "seconds": round(event.seconds, 3)}
        said = {"phase": event.phase, **at, "watch": dict(event.values)}
        self._log("report", **said)
        if self._table is not None:
            self._table.add(said)

    def weights(self, phase: str, update: int, digest: str) -> None:
        """The hash of parameters and states after an update of a phase."""
        self._log("weights", phase=phase, update=update, weights=digest)

    def phase_end(self, result: PhaseResult) -> None:
        counts = {"epochs": result.epochs, "updates": result.updates}
        why: dict[str, object] = {"ended": result.ended} if result.ended else {}
        why |= {"threads": result.threads} if result.threads else {}
        seconds = round(result.seconds, 3)
        self._log("end", phase=result.name, **counts, seconds=seconds, **why, **self._programs())

    def note(self, text: str) -> None:
        self._log("note", text=text)
