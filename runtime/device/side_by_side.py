"""Parts of a run on several threads of Python at a time: NumPy lets others run while it computes.

How many there are is chosen as the threads of products are, by a governor, which sees these threads
as a pool. Each of them computes with one thread of the linear algebra.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from threading import Thread, get_ident
from time import perf_counter
from types import ModuleType

import numpy as np

from dln.runtime.device.governor import Governor
from dln.runtime.device.threads import MOST_KNOWN, allowed, idle_seconds

Call = Callable[[], None]


class Lanes:
    """A pool of `most` threads, the caller's among them (see `governor.Pool`); `count` of them are
    in use. `xp` is plain NumPy: nothing is shared within a product."""

    def __init__(self, most: int) -> None:
        self.most, self.count = most, 1
        self.caller, self.crowded = get_ident(), False
        self.allowed = allowed()
        self.clock = perf_counter
        self._given: list[SimpleQueue[Call]] = []
        self._chosen: dict[Hashable, Governor] = {}

    @property
    def xp(self) -> ModuleType:
        return np

    def idle(self) -> float | None:
        """The seconds that the cores this process may use have been idle, all added up."""
        return idle_seconds(self.allowed)

    def take(self, count: int) -> None:
        """So many threads for the runs that come."""
        self.count = count

    def record(self) -> None:
        """There is nothing to be remembered: all parts can go side by side."""

    def learn(self, patient: bool) -> bool | None:
        """Parts have the same bits wherever they run."""
        return True

    def governor(self, program: Hashable, fixed: bool) -> Governor:
        """Who chooses for a program, told by all that its time depends on; begun where the same one
        has come to before. Where another thread of Python asks than before, all have one thread."""
        self.crowded |= get_ident() != self.caller
        before = self._chosen.get(program)
        if len(self._chosen) >= MOST_KNOWN:
            self._chosen.clear()
        known = before is not None and before.fixed == fixed
        found = self._chosen[program] = before.next() if known and before else Governor(self, fixed)
        return found

    # ---- running -------------------------------------------------------------------------------

    def run(self, calls: Sequence[Call]) -> list[Exception | None]:
        """Run as many calls as there are threads, or fewer, side by side: what each has raised."""
        raised: list[Exception | None] = [None] * len(calls)
        done: SimpleQueue[None] = (
            SimpleQueue()
        )  # of this run alone: another may have been broken off

        def caught(i: int) -> None:
            try:
                calls[i]()
            except Exception as error:
                raised[i] = error
            finally:
                done.put(None)

        while len(self._given) < len(calls) - 1:
            self._given.append(SimpleQueue())
            Thread(target=self._serve, args=(self._given[-1],), daemon=True).start()
        for i in range(1, len(calls)):
            context = copy_context()  # what is an error, among other things
            self._given[i - 1].put(partial(context.run, caught, i))
        caught(0)
        for _ in calls:
            done.get()
        return raised

    def _serve(self, given: SimpleQueue[Call]) -> None:
        """What a thread does: one call after the other, as they come."""
        while True:
            given.get()()
