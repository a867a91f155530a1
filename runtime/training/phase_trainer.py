"""Training: a phase's minibatches in order, with what happens between them.

Between two events (a watch, a checkpoint, the end of an epoch) the loop of `inner_loop` runs; the
events are here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from dln.compiler.plan import WatchSpec
from dln.runtime.checkpoint.checkpoint import Arrays
from dln.runtime.execution.numeric_faults import strict
from dln.runtime.execution.phase_result import PhaseResult, Watched
from dln.runtime.ranks.ranks import Elsewhere
from dln.runtime.training.best import BestSoFar
from dln.runtime.training.callbacks import Report, Started, note, tell
from dln.runtime.training.curvature_estimates import estimate
from dln.runtime.training.duration import due
from dln.runtime.training.inner_loop import InnerLoop
from dln.runtime.training.lbfgs import Descent
from dln.runtime.training.phase_run import PhaseRun
from dln.runtime.training.resume import PhaseAt
from dln.runtime.training.shared.meeting import same_on_all
from dln.runtime.training.stopping import Conditions
from dln.runtime.training.watching import Watches

NEVER = 1 << 62


class Interrupted(KeyboardInterrupt):
    """Training was asked to stop, and has stopped after an update; what was done is kept."""


class PhaseTrainer:
    """Trains one phase. `result` is filled in as it goes."""

    def __init__(self, run: PhaseRun) -> None:
        state, spec, duration = run.state, run.spec, run.clock.duration
        self.phase, self.spec, self.clock, self.state = run, spec, run.clock, state
        self.hooks, self.saver = run.options.hooks, run.options.saver
        self.watches = Watches(run)
        self.conditions = Conditions(run, self.watches)
        self.best = BestSoFar(run) if spec.handed else None
        self.descent: Descent | None = None
        if spec.descent is not None:
            self.descent = Descent(spec.descent, state.device.xp, state.store.states[spec.name])
        self.loop = InnerLoop(run, self.watches, self.descent)
        limited = run.options.datasets.limit is not None
        whole = run.options.datasets.spec(spec.data, spec.part).parts[spec.part].count
        fewer = limited and run.part.n < whole
        shortened = duration.shortened or fewer
        self.result = PhaseResult(spec.name, shortened=shortened, length=duration.facts())
        self._ended: dict[str, Any] | None = None
        self._improved = False
        self._kept = 0  # the update after which a checkpoint was written last

    # ---- the phase -----------------------------------------------------------------------------

    def run(self) -> PhaseResult:
        """Train to the end of the phase. Raises `Interrupted`; `DlnError` E600 for bad numbers."""
        self.clock.start()
        self.loop.start()
        clock, run, name, size = self.clock, self.phase, self.spec.name, self.phase.minibatches.size
        length = clock.duration.facts()
        event = Started(name, clock.update, clock.duration.total, run.part.n, size, length)
        tell(self.hooks, "phase_start", event)
        run.watchman.running(run.step, size, None, run.example)
        watched, failing = run.watchman.over(self._where, self._failed), self._failing()
        with failing, watched, strict(self.state.device):
            self.watches.begin()
            while not clock.over:
                if clock.between_epochs:
                    for path in self.spec.carried:  # from window to window, from zero on
                        self.state.store.states[name][path][...] = 0.0
                    estimate(run, clock.now())
                if self._before_update():
                    break
                self.loop.run(self._next_event())
                if self.saver is not None and clock.update == self._next_trace(clock.update - 1):
                    self.saver.trace(self.spec.name, clock.update)
                if self._after_update():
                    break
                if clock.update == self._asked(clock.update - 1) != self._kept:
                    self._keep()
                if self.loop.stopped:
                    self._keep()
                    self.state.take_up(self.result)
                    raise Interrupted(f"interrupted in {name}, update {clock.update}")
            self._end()
        run.watchman.done()
        tell(self.hooks, "phase_end", self.result)
        return self.result

    def _where(self) -> str:
        """Where the phase is, said of a fault."""
        return f"phase {self.spec.name}, update {self.clock.update}, epoch {self.clock.epoch}"

    def _failed(self) -> None:
        """The numbers are left: what they were is kept beside the checkpoints. Rows that other
        ranks keep cannot be asked for any more, and it says so."""
        if self.saver is not None:
            rows = (*self.spec.kept, *self.spec.carried) if self.state.ranks.count > 1 else ()
            self.saver.leave(self._at(), tuple(dict.fromkeys(rows)))

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """What fails in another rank is kept as what fails here."""
        try:
            yield
        except Elsewhere:
            self._failed()
            raise

    def _before_update(self) -> bool:
        """Watches on the minibatch at hand, before it is learned from; True at the end.

        After a resumption those that were taken before the checkpoint are not taken again.
        """
        update = self.clock.update
        wanted = [w for w in self.watches.before if due(w.every, "update", update)]
        wanted = [w for w in wanted if not self.watches.taken_at(w.name, update)]
        if not wanted:
            return False
        self._improved = self._report({w.name: self.watches.on_minibatch(w) for w in wanted})
        if self._until():
            return True
        if self._improved:
            self._keep()
        return False

    def _after_update(self) -> bool:
        """Watches, `until` and checkpoints that are due now; True where the phase is over.

        Nothing is saved once `until` holds or a descent has ended: resumed from there, the phase
        would go on. Its end is saved in a moment.
        """
        ends_epoch = self.clock.between_epochs
        values = self._taken(lambda w: due(w.every, "update", self.clock.update))
        if ends_epoch:
            values |= self._taken(lambda w: due(w.every, "epoch", self.clock.epoch))
        self._improved = bool(values) and self._report(values)
        if self.descent is not None and self.descent.ended:
            self.result.ended = self.descent.ended
            return True
        if (values or ends_epoch) and self._until():
            return True
        every = [keep.every for keep in self.spec.keeps]
        is_due = ends_epoch and any(due(e, "epoch", self.clock.epoch) for e in every)
        if self._improved or is_due or any(due(e, "update", self.clock.update) for e in every):
            self._keep()
        return False

    def _until(self) -> bool:
        """Whether the phase is to end here; the result then says so, for runs that go on."""
        holds = self.conditions.until()
        if holds:
            self.result.length["until"] = True
        return holds

    def _taken(self, wanted: Callable[[WatchSpec], bool]) -> dict[str, Watched]:
        """The values of the watches that are wanted, but for those on the minibatch."""
        values, update = dict[str, Watched](), self.clock.update
        for w in self.watches.summed:
            if wanted(w):
                value = self.watches.add(w, self.phase.minibatches.seen(update), update)
                if value is not None:
                    values[w.name] = value
        for w in self.watches.over:
            if wanted(w):
                values[w.name] = self.watches.on_part(w)
        return values

    def _end(self) -> None:
        """Watches of the whole phase, and those that were never due; then the result."""
        self._ended = self._place()
        then = self.conditions.at_best
        if self.best is not None and then and then["updates"] != self.clock.update:
            self.best.hand_on()
            text = f"{self.spec.name} hands on what it was after update {then['updates']:,.0f}, at"
            text += f" its best report, not what it was after update {self.clock.update:,}"
            note(self.result, self.hooks, text)
        known = self.watches.values
        values = self._taken(lambda w: w.every is None or w.name not in known)
        for w in self.watches.before:
            if w.name not in known and self.clock.update:
                values[w.name] = self.watches.on_minibatch(w)
        if values:
            self._improved |= self._report(values)
        self._fill_result(complete=True)
        same_on_all(self.state)
        self.result.seconds = self.state.ranks.first(self.result.seconds)
        self.state.take_up(self.result)
        if self.spec.name in self.phase.options.keep:
            self.result.after = self.state.store.snapshot(self.spec.name)
        if self.saver is not None:
            self.saver.save(self._at(), self._improved)

    def _fill_result(self, complete: bool = False) -> None:
        result, clock = self.result, self.clock
        result.epochs, result.updates, result.seconds = clock.epoch, clock.update, clock.seconds
        result.watch, result.history = dict(self.watches.values), self.watches.history
        result.complete, result.best = complete, dict(self.conditions.at_best)
        self.state.updates[self.spec.name] = clock.update
        governor = self.phase.step.governors.get(self.phase.minibatches.size)
        result.threads = {} if governor is None else governor.told()

    def _next_event(self) -> int:
        """The number of updates at which something is due next."""
        update, total = self.clock.update, self.clock.duration.total
        found = [self.phase.minibatches.alike(update), NEVER if total is None else total]
        found += [self._next_trace(update), self._asked(update)]
        for every in [w.every for w in self.spec.watches] + [k.every for k in self.spec.keeps]:
            if every is not None and every[1] == "update":
                found.append((update // every[0] + 1) * every[0])
        return min(found)

    def _next_trace(self, update: int) -> int:
        """The next update after which the hash of the weights is logged, 1, 10, 100 and so on, so
        that a run can be verified by its beginning."""
        return 10 ** len(str(update)) if update > 0 else 1

    def _asked(self, update: int) -> int:
        """The next update after which the run directory asks for a checkpoint."""
        rundir = None if self.saver is None else self.saver.rundir
        found = None if rundir is None else rundir.asked_after(self.spec.name, update)
        return NEVER if found is None else found

    def _report(self, values: Mapping[str, Watched]) -> bool:
        """Make values known; True where a checkpoint is kept by one that is the best yet."""
        clock = self.clock
        self.watches.record(values, clock.update, clock.epoch)
        report = Report(self.spec.name, clock.epoch, clock.update, values, clock.seconds)
        tell(self.hooks, "report", report)
        better = self.conditions.better()
        if better and self.best is not None:
            self.best.take()
        return better

    def _keep(self) -> None:
        self._fill_result()
        same_on_all(self.state)
        if self.saver is not None:
            self.saver.save(self._at(), self._improved)
        self._improved, self._kept = False, self.clock.update

    def keep_first(self) -> None:
        """Keep the first minibatch and the parameters as they are, for checks."""
        fields = self.phase.part.fields(self.phase.minibatch(), 0.0)
        self.result.first = {k: self.state.device.to_host(a) for k, a in fields.items()}
        self.result.before = self.state.store.snapshot(self.spec.name)

    # ---- going on ------------------------------------------------------------------------------

    def _at(self) -> PhaseAt:
        """The phase as a checkpoint holds it."""
        place = None if self.result.complete else self._place()
        held = {} if self.best is None else self.best.arrays()
        return PhaseAt(self.result, place, self._ended, held)

    def _place(self) -> dict[str, Any]:
        """Where the phase is, as plain data; the arrays are those of the run's state."""
        return {
            "phase": self.spec.name,
            "update": self.clock.update,
            "seconds": self.clock.seconds,
            "examples": self.phase.part.n,
            "batch": self.phase.minibatches.size,
            "best": self.conditions.state(),
            "length": self.clock.duration.facts(),
            "note": self.result.note,
            "watches": self.watches.state(),
        }

    def restore(self, place: Mapping[str, Any], kept: Mapping[str, Arrays]) -> None:
        """Go on where another run of the phase was, with what was kept at its beginning."""
        self.clock.restore(int(place["update"]), float(place["seconds"]))
        self.result.note = str(place.get("note", ""))
        self.result.first, self.result.before = kept.get("first"), kept.get("before")
        self.conditions.restore(place["best"])
        self.watches.restore(place["watches"])
        if self.best is not None:
            self.best.restore(kept, bool(self.conditions.at_best))
