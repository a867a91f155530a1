"""How many threads the products of a program get, chosen while it runs, by its own times.

One thread is the rule. Several are tried where the other cores have been idle for a moment: some
runs with one thread and some with all, in turn. If all are quicker they stay, as long as they gain:
an account is kept of what each run takes less, or more, than one thread did. A pool of threads
whose cores are wanted by others can take a hundred times as long, for each waits for the last: as
soon as ten milliseconds more are lost than gained, one thread does the work again, and each new
trial waits twice as long as the one before.

The bits are those of one thread in any case (`sharing`), so that nothing of this can be seen in
what is computed, and nothing of it need be repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, Protocol

Run = Callable[..., None]

WINDOW = 0.1  # seconds over which the other cores are watched before a trial
IDLE = 0.5  # of each of them, at least, for a trial
PAUSE, LONGEST = 0.1, 30.0  # seconds until the next trial after a first failure, and at most
AGAIN, RARELY = 10.0, 100  # seconds, or runs, after which what is in force is tried anew
REST = 20  # times what a failure has cost, at least, until the next trial
BLOCK, PAIRS = 4, 4  # runs in a row in a trial, of which the first does not count; pairs of blocks
ENOUGH = 0.02  # seconds after which a block may be shorter by a run, and a pair is enough
GAIN = 0.95  # of the time of one thread: several must need less
LOST = 0.01  # seconds lost by several threads that are too many, or one run's, which may be more
SAVED = 0.02  # seconds gained by them that are set against later losses, at most
STALL = 4.0  # times its usual time: a run that has waited for cores
AWAY, WAKING = 0.02, 4e-3  # seconds of others between two runs; what those may cost the second one


class Pool(Protocol):
    """The threads of a process, `most` of them; `crowded` where others of the process compute too;
    `xp` are the functions of arrays that they share, each time for another program.

    `clock` counts seconds, `idle` those that the cores had nothing to do, all added up; None where
    it cannot be told.
    """

    most: int
    crowded: bool

    @property
    def xp(self) -> ModuleType: ...

    def clock(self) -> float: ...

    def idle(self) -> float | None: ...

    def take(self, count: int) -> None:
        """So many threads for the products that come."""

    def record(self) -> None:
        """Remember the products that come."""

    def learn(self, patient: bool) -> bool | None:
        """Find out how those remembered are shared among threads; whether any is. None where that
        had to wait for cores, and whoever asks is not patient."""


class Contest:
    """Runs with one thread and with several, in blocks in turn; those of the one at hand, and those
    `counted` of each kind."""

    def __init__(self) -> None:
        self.many, self.block = False, list[float]()
        self.counted = list[float](), list[float]()

    def end_block(self) -> None:
        """Its first run does not count; the next one is of the other kind."""
        self.counted[self.many].extend(self.block[1:])
        self.many = not self.many
        self.block = []


class Governor:
    """Runs a program with one thread or with `pool.most`: whichever is quicker, or all of them
    where that is `fixed`. `single` and `shared` count its runs, `why` says what the last choice
    was for."""

    def __init__(self, pool: Pool, fixed: bool = False) -> None:
        self.pool, self.fixed = pool, fixed
        self.many = False
        self.single = self.shared = 0
        self.why = ""
        self._look, self._pause = float("-inf"), PAUSE
        self._seen: tuple[float, float | None] | None = None
        self._waits = f"with {pool.most} threads a run had to wait for its cores"
        self._end = float("-inf")
        self._trial: Contest | None = None
        self._times = (0.0, 0.0)
        self._saved = 0.0

    def over(self, run: Run) -> Run:
        """A run of the program, governed; it takes and raises what the run does."""
        clock = self.pool.clock

        def governed(*clocks: Any) -> None:
            now = clock()
            if not self.many and now < self._look:
                self.single += 1
                run(*clocks)
            else:
                self._watched(now, run, clocks)

        return governed

    @property
    def threads(self) -> int:
        """Those in force."""
        return self.pool.most if self.many else 1

    def told(self) -> dict[str, Any]:
        """The threads in force, of how many, how many runs had one and all of them, and why."""
        return {"threads": self.threads, "of": self.pool.most, "single": self.single,
                "shared": self.shared, "why": self.why or "too few runs to try more"}  # fmt: skip

    @property
    def settled(self) -> bool:
        """Whether something has been chosen, with a reason."""
        return self._trial is None and bool(self.why)

    def like(self) -> Governor | None:
        """One that goes on with what has been chosen; nobody for one thread."""
        return Governor(self.pool, fixed=True) if self.many else None

    def next(self) -> Governor:
        """One that begins where this one has come to, for the same program bound to other arrays;
        what it has chosen is tried anew when this one would have done so."""
        found = Governor(self.pool, self.fixed)
        if self._trial is None and not self.fixed:
            found.many, found.why, found._times = self.many, self.why, self._times
            found._look, found._pause, found._end = self._look, self._pause, self._end
        return found

    def _watched(self, now: float, run: Run, clocks: tuple[Any, ...]) -> None:
        """A run that is timed, or one after which something is to be decided. Time that others have
        had does not count for the choice that is in force."""
        fresh = now - self._end > AWAY
        if self.many and fresh and not self.fixed:
            self._look += now - self._end
        if self.many and self.pool.crowded:
            self._drop(now, "other threads of the process compute too")
        if self._trial is not None:
            self._tried(run, clocks)
        elif self.many and (self.fixed or now < self._look):
            took = self._timed(True, run, clocks)
            if not self.fixed:
                self._judge(now + took, took, fresh)
        elif self.many or self._free(now):
            self._learnt(run, clocks)
        else:
            self._timed(False, run, clocks)

    def _timed(self, many: bool, run: Run, clocks: tuple[Any, ...]) -> float:
        """The seconds that a run takes."""
        pool = self.pool
        if not many:
            self.single += 1
            start = pool.clock()
            run(*clocks)
            return pool.clock() - start
        self.shared += 1
        pool.take(pool.most)
        start = pool.clock()
        try:
            run(*clocks)
        finally:
            self._end = pool.clock()
            pool.take(1)
        return self._end - start

    # ---- whether to try ------------------------------------------------------------------------

    def _free(self, now: float) -> bool:
        """Whether the other cores have been idle since somebody last looked, so that a trial may
        begin."""
        if self.pool.crowded:
            self.why, self._look = "other threads of the process compute too", now + LONGEST
            return False
        if self.fixed:  # what runs but once is not worth the trials
            return self.single > 0
        idle, seen = self.pool.idle(), self._seen
        self._seen = now, idle
        self._look = now + WINDOW
        if seen is None:
            return False
        if idle is not None and seen[1] is not None:
            wanted = IDLE * (self.pool.most - 1) * (now - seen[0])
            if idle - seen[1] < wanted:
                self.why = "the other cores are at work"
                return False
        return True

    def _learnt(self, run: Run, clocks: tuple[Any, ...]) -> None:
        """A run with one thread, of which the products are remembered; then a trial begins."""
        self.pool.record()
        try:
            self._timed(False, run, clocks)
        finally:
            start = self.pool.clock()
            shares = self.pool.learn(self.fixed)
        now = self.pool.clock()
        if shares is None:
            self._drop(now, self._waits, now - start)
        elif not shares:
            self.many, self._look = False, float("inf")
            self.why = "no product of it has the same bits with more threads, or is worth them"
        elif self.fixed:
            self.many, self._look, self.why = True, float("inf"), "asked for"
        else:
            self._trial, self._look = Contest(), float("-inf")

    # ---- a trial -------------------------------------------------------------------------------

    def _tried(self, run: Run, clocks: tuple[Any, ...]) -> None:
        """A run of the trial: some with one thread in a row, then some with several. What comes
        after the other kind has its numbers in the caches of other cores, and does not count."""
        assert self._trial is not None
        trial = self._trial
        many, block = trial.many, trial.block
        block.append(self._timed(many, run, clocks))
        if many and self._wasteful(block):
            return
        if len(block) < BLOCK and (len(block) < BLOCK - 1 or sum(block) < ENOUGH):
            return
        trial.end_block()
        ones, manies = trial.counted
        if many and (len(manies) >= PAIRS * (BLOCK - 1) or sum(manies) > ENOUGH):
            self._decide(median(ones), manies)

    def _wasteful(self, block: list[float]) -> bool:
        """Whether a block with several threads has lost so much that nothing more is tried."""
        assert self._trial is not None
        usual = median(self._trial.counted[0])
        lost = sum(max(0.0, each - usual) for each in [*self._trial.counted[1], *block])
        if lost <= max(LOST, 2 * usual):
            return False
        waited = max(block) > STALL * usual
        why = self._waits if waited else self._said(usual, block)
        self._drop(self.pool.clock(), why, lost)
        return True

    def _decide(self, usual: float, manies: Sequence[float]) -> None:
        self._trial, self._saved, now = None, 0.0, self.pool.clock()
        self._times = usual, median(manies)
        self.why = self._said(usual, manies)
        if self._times[1] < GAIN * usual:
            self.many, self._look = True, now + max(AGAIN, RARELY * usual)
        else:
            self._drop(now, self.why, sum(max(0.0, each - usual) for each in manies))

    def _said(self, usual: float, manies: Sequence[float]) -> str:
        ratio = median(manies) / max(usual, 1e-9)
        return f"{self.pool.most} threads take {ratio:.2f} of the time of one"

    # ---- with several --------------------------------------------------------------------------

    def _judge(self, now: float, took: float, fresh: bool) -> None:
        """Whether several threads stay, after a run of theirs. A `fresh` one, before which others
        have had the cores for a while, has threads to wake and caches to fill."""
        one, many = self._times
        self._saved = min(SAVED, self._saved + one - (max(0.0, took - WAKING) if fresh else took))
        if self._saved == SAVED:
            self._pause = PAUSE
        elif self._saved < -max(LOST, one):
            slower = f"{self.pool.most} threads have become slower than one was"
            self._drop(now, self._waits if took > STALL * many else slower, -self._saved)

    def _drop(self, now: float, why: str, lost: float = 0.0) -> None:
        """Back to one thread, and to the next trial after a pause, the longer the more seconds were
        lost."""
        self.many, self.why, self._trial, self._seen = False, why, None, None
        self._look = now + max(self._pause, REST * lost)
        self._pause = min(2 * self._pause, LONGEST)


def median(seconds: Sequence[float]) -> float:
    """The middle one, the upper of two."""
    return sorted(seconds)[len(seconds) // 2]
