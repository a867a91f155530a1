"""Training: a phase's minibatches in order, with what happens between them.

A phase is at `update`, the number of updates done; epoch and place in the epoch follow from it, so
they are never stored. Between two events (a watch, a checkpoint, the end of an epoch) the loop of
`loop.py` runs; the events are here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from dln.compiler.plan import PhaseSpec, WatchSpec
from dln.grammar.diagnostics import Fault
from dln.runtime.checkpoint.rundir import RunDirectory
from dln.runtime.data.datasets import Datasets, Part
from dln.runtime.execution.phase_result import PhaseResult
from dln.runtime.training.callbacks import Hooks, Report, Started
from dln.runtime.training.curvature_estimates import Estimates
from dln.runtime.training.duration import Duration
from dln.runtime.training.inner_loop import Loop
from dln.runtime.training.lbfgs import Descent
from dln.runtime.training.minibatches import Batches
from dln.runtime.training.numeric_faults import Watchman, strict
from dln.runtime.training.stopping import Conditions
from dln.runtime.training.watching import Watches, due, unit_of

if TYPE_CHECKING:
    from dln.runtime.session import Session

NEVER = 1 << 62


class Stop(Protocol):
    """What `threading.Event` has: set from elsewhere to end training after the update at hand."""

    def is_set(self) -> bool: ...


class Interrupted(KeyboardInterrupt):
    """Training was asked to stop, and has stopped after an update; what was done is kept."""


@dataclass
class Options:
    """How a run differs from what the spec says, and who is told of it."""

    datasets: Datasets
    epochs: int | None = None
    hooks: Hooks = field(default_factory=Hooks)
    stop: Stop | None = None
    save: Callable[[Training, bool], None] | None = None
    rundir: RunDirectory | None = None


def check_kept(spec: PhaseSpec, size: int, part: Part) -> None:
    """Raise `Fault` E557 where minibatches have more examples than the phase keeps rows."""
    if spec.rows is not None and size > spec.rows:
        message = f"{spec.name} keeps {spec.rows:,} rows, and {part.name} has {size:,} examples"
        raise Fault(message, f"at most {spec.rows:,} examples, or a spec with a batch", "E557")


class Training:
    """One phase under way."""

    def __init__(self, session: Session, spec: PhaseSpec, options: Options) -> None:
        self.session, self.spec, self.options = session, spec, options
        self.programs = session.programs
        self.step = self.programs.executable(spec.step, spec.name)
        program = self.step.program
        self.part: Part = options.datasets.part(spec.data, spec.part, program.dtype)
        seed = self.programs.seed_of(spec.name)
        self.batches = Batches(spec, self.part, self.programs.device, seed)
        check_kept(spec, self.batches.size, self.part)
        self.per_epoch = self.batches.per_epoch
        self.duration = Duration(spec, self.per_epoch, options.epochs)
        self.watchman = Watchman(self.programs.plan.texts)
        self.watches = Watches(self.programs, options.datasets, spec, self.watchman.running)
        self.watches.prepare()
        self.update = 0
        guard = self.watchman.running
        self.estimates = Estimates(self.programs, spec, self.part, self.batches, guard)
        self.conditions = Conditions(self.programs, spec, self.watches, guard)
        self.result = PhaseResult(spec.name, shortened=self.duration.shortened or self._fewer())
        self.result.length = self.duration.facts()
        self.before_end: dict[str, Any] | None = None
        self._improved = False
        self.descent: Descent | None = None
        if spec.descent is not None:
            states = self.programs.states[spec.name]
            self.descent = Descent(spec.descent, self.programs.device.xp, states)
        self.loop = Loop(self)

    def _fewer(self) -> bool:
        """Whether `limit` has left examples out."""
        limited = self.options.datasets.limit is not None
        said = self.session.plan.data[self.spec.data].parts[self.spec.part][1]
        return limited and self.part.n < said

    # ---- where it is ---------------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        return self.update // self.per_epoch

    def now(self) -> dict[str, float]:
        """The clocks."""
        now = {"epoch": float(self.epoch), "update": float(self.update)}
        return {**now, "progress": self.duration.fraction(self.update)}

    def seen(self) -> tuple[int, int]:
        """Examples and minibatches so far."""
        return self.batches.seen(self.update), self.update

    def minibatch(self) -> Any:
        """The minibatch at hand, as indices into the part."""
        return self.batches.indices(self.update)

    # ---- the phase -----------------------------------------------------------------------------

    def run(self) -> PhaseResult:
        """Train to the end of the phase. Raises `Interrupted`, and `DlnError` for bad numbers."""
        self.duration.start()
        self.loop.start()
        self.options.hooks.call("phase_start", self._started())
        with self.watchman.over(self), strict(self.programs.device):
            while not self.duration.over(self.update):
                self._clear_carried()
                self.estimates.take(self.update, self.now())
                if self._before_update():
                    break
                self.loop.run(self._next_event())
                if self._after_update():
                    break
                if self._stopped():
                    self._keep()
                    self.session.take_up(self.result)
                    raise Interrupted(f"interrupted in {self.spec.name}, update {self.update}")
            self._end()
        self.options.hooks.call("phase_end", self.result)
        return self.result

    def _started(self) -> Started:
        sizes = {"examples": self.part.n, "batch": self.batches.size}
        total, per_epoch = self.duration.total, self.per_epoch
        return Started(self.spec.name, self.update, total, per_epoch, **sizes)

    def _stopped(self) -> bool:
        return self.options.stop is not None and self.options.stop.is_set()

    def _clear_carried(self) -> None:
        """At the start of an epoch, what is carried from window to window begins at zero."""
        if self.update % self.per_epoch == 0:
            for path in self.spec.carried:
                self.programs.states[self.spec.name][path][...] = 0.0

    def _before_update(self) -> bool:
        """Watches on the minibatch at hand, before it is learned from; True at the end.

        After a resumption those that were taken before the checkpoint are not taken again.
        """
        wanted = [w for w in self.watches.before if due(w.every, "update", self.update)]
        wanted = [w for w in wanted if not self.watches.taken_at(w.name, self.update)]
        if not wanted:
            return False
        at = (self.part, self.minibatch(), self.now())
        better = self._report({w.name: self.watches.on_minibatch(w, *at) for w in wanted})
        if self._until():
            self._improved |= better
            return True
        if better:
            self._improved = True
            self._keep()
        return False

    def _after_update(self) -> bool:
        """Watches, `until` and checkpoints that are due now; True where the phase is over.

        Nothing is saved once `until` holds or a descent has ended: resumed from there, the phase
        would go on. Its end is saved in a moment.
        """
        ends_epoch = self.update % self.per_epoch == 0
        values = self._taken(lambda w: due(w.every, "update", self.update))
        if ends_epoch:
            values |= self._taken(lambda w: due(w.every, "epoch", self.epoch))
        self._improved = bool(values) and self._report(values)
        if self.descent is not None and self.descent.ended:
            self.result.ended = self.descent.ended
            return True
        if (values or ends_epoch) and self._until():
            return True
        if self._improved or self._keep_due(ends_epoch):
            self._keep()
        return False

    def _until(self) -> bool:
        """Whether the phase is to end here; the result then says so, for runs that go on."""
        holds = self.conditions.until(self.now())
        if holds:
            self.result.length["until"] = True
        return holds

    def _taken(self, wanted: Callable[[WatchSpec], bool]) -> dict[str, float]:
        """The values of the watches that are wanted, but for those on the minibatch."""
        values = {}
        for w in self.watches.summed:
            if wanted(w):
                value = self.watches.add(*self.seen(), w.name)
                if value is not None:
                    values[w.name] = value
        for w in self.watches.over:
            if wanted(w):
                values[w.name] = self.watches.on_part(w, self.now())
        return values

    def _end(self) -> None:
        """Watches of the whole phase, and those that were never due; then the result."""
        self.before_end = self.state()
        known = self.watches.values
        values = self._taken(lambda w: w.every is None or w.name not in known)
        for w in self.watches.before:
            if w.name not in known and self.update:
                value = self.watches.on_minibatch(w, self.part, self.minibatch(), self.now())
                values[w.name] = value
        if values:
            self._improved |= self._report(values)
        self._fill_result(complete=True)
        self.session.take_up(self.result)
        if self.options.save is not None:
            self.options.save(self, self._improved)

    def _fill_result(self, complete: bool = False) -> None:
        result = self.result
        result.epochs, result.updates = self.epoch, self.update
        result.seconds = self.duration.seconds
        result.watch, result.history = dict(self.watches.values), self.watches.history
        result.complete, result.best = complete, dict(self.conditions.at_best)
        self.session.updates[self.spec.name] = self.update

    def _next_event(self) -> int:
        """The number of updates at which something is due next."""
        found = [self.batches.alike(self.update)]
        every = [w.every for w in self.spec.watches] + [k.every for k in self.spec.keeps]
        for each in every:
            if each is not None and unit_of(each[1]) == "update":
                found.append((self.update // each[0] + 1) * each[0])
        return min([*found, NEVER if self.duration.total is None else self.duration.total])

    def _report(self, values: Mapping[str, float]) -> bool:
        """Make values known; True where a checkpoint is kept by one that is the best yet."""
        self.watches.record(values, self.update, self.epoch)
        self.options.hooks.call("report", Report(self.spec.name, self.epoch, self.update, values))
        return self.conditions.better(self.now(), self.epoch)

    def _keep_due(self, ends_epoch: bool) -> bool:
        every = [k.every for k in self.spec.keeps]
        by_epoch = ends_epoch and any(due(e, "epoch", self.epoch) for e in every)
        return by_epoch or any(due(e, "update", self.update) for e in every)

    def _keep(self) -> None:
        self._fill_result()
        if self.options.save is not None:
            self.options.save(self, self._improved)
        self._improved = False

    def keep_first(self) -> None:
        """Keep the fields of the first minibatch, for checks."""
        fields = self.part.fields(self.minibatch(), 0.0)
        self.result.first = {k: self.programs.device.to_host(a) for k, a in fields.items()}

    # ---- going on ------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Where the phase is, as plain data; the arrays are the session's."""
        place = {"phase": self.spec.name, "update": self.update, "seconds": self.duration.seconds}
        best = self.conditions.state()
        sizes = {"examples": self.part.n, "batch": self.batches.size}
        length, note = self.duration.facts(), self.result.note
        told = {"length": length, "note": note, "watches": self.watches.state()}
        return {**place, **sizes, "best": best, **told}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where another run of the phase was. Raises `Fault` where the data differ."""
        for key, mine in {"examples": self.part.n, "batch": self.batches.size}.items():
            if state[key] != mine:
                message = f"the run used {key} {state[key]:,}, this one {mine:,}"
                raise Fault(message, "resume with the options of the first run", "E561")
        self.update = int(state["update"])
        self.duration.restore(float(state["seconds"]))
        self.result.note = str(state.get("note", ""))
        self.conditions.restore(state["best"])
        self.watches.restore(state["watches"])
