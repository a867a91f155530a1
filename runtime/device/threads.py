"""The threads of the process as a governor sees them: how many there may be, whether the other
cores are idle, and who shares the products."""

from __future__ import annotations

import os
from collections.abc import Hashable
from contextlib import suppress
from pathlib import Path
from threading import get_ident
from time import perf_counter
from types import ModuleType

import numpy as np

from dln.runtime.device.governor import Governor
from dln.runtime.device.sharing import Cutter, Multiplier, SharedNumPy, Sharing

STATS = Path("/proc/stat")
QUOTA = Path("/sys/fs/cgroup/cpu.max")
MOST_KNOWN = 256  # programs whose choice is remembered


class Threads:
    """A pool of `most` threads (see `governor.Pool`)."""

    def __init__(self, sharing: Sharing, most: int, cut: Cutter) -> None:
        self.sharing, self.most = sharing, most
        self._by = Multiplier(np.dot, cut), Multiplier(np.matmul, cut)
        self.caller, self.crowded = get_ident(), False
        self.allowed = allowed()
        self.clock = perf_counter
        self._chosen: dict[Hashable, Governor] = {}
        self.take, self.record = sharing.take, sharing.record

    @property
    def xp(self) -> ModuleType:
        return SharedNumPy(self.sharing, *self._by)

    def idle(self) -> float | None:
        """The seconds that the cores this process may use have been idle, all added up."""
        return idle_seconds(self.allowed)

    def learn(self, patient: bool) -> bool | None:
        return self.sharing.learn(self.most, patient)

    def governor(self, program: Hashable, fixed: bool) -> Governor:
        """Who chooses for a program, told by all that its time depends on. What was chosen for the
        same one, in another phase or session, is where it begins."""
        before = self._chosen.get(program)
        if len(self._chosen) >= MOST_KNOWN:
            self._chosen.clear()
        known = before is not None and before.fixed == fixed
        found = self._chosen[program] = before.next() if known and before else Governor(self, fixed)
        return found

    def called(self) -> None:
        """Somebody makes a program ready: where that is another thread of Python than before, all
        programs have one thread from now on, for the number is one of the process."""
        self.crowded |= get_ident() != self.caller


def allowed() -> set[int] | None:
    """The cores that any thread of this process may use; None where the system does not tell."""
    with suppress(AttributeError, OSError):
        found = set(os.sched_getaffinity(0))
        with suppress(OSError, ValueError):  # one that has just ended, perhaps
            for task in os.listdir("/proc/self/task"):
                found |= os.sched_getaffinity(int(task))
        return found
    return None


def cores(file: Path = QUOTA) -> int:
    """How many cores this process may use at a time, by its affinity and by the limit of its
    control group (Linux, version 2); at least one."""
    known = allowed()
    found = (os.cpu_count() or 1) if known is None else len(known)
    with suppress(OSError, ValueError):
        most, period = file.read_text("ascii").split()
        if most != "max":
            found = min(found, int(most) // int(period))
    return max(1, found)


def idle_seconds(known: set[int] | None, file: Path = STATS) -> float | None:
    """The seconds that some cores, or all, have had nothing to do since the system started; None
    where it does not tell."""
    with suppress(OSError, ValueError, IndexError, AttributeError):
        ticks, total = os.sysconf("SC_CLK_TCK"), 0
        for line in file.read_text("ascii").splitlines():
            name, *counts = line.split()
            if name.startswith("cpu") and name != "cpu":
                if known is None or int(name[3:]) in known:
                    total += int(counts[3]) + int(counts[4])
        return total / ticks
    return None
