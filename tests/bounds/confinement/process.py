"""A call in a process of its own, with a limit of memory and a clock."""

from __future__ import annotations

import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

BEGUN = 100 << 20  # bytes of a process that has imported dln and NumPy


@dataclass
class Left:
    """What a process left: its exit code (negative where a signal ended it), what it printed, how
    much processor time it took, and memory: what it took beyond what these tests have themselves
    by then, and what dln begins with."""

    code: int
    said: str
    seconds: float
    most: int

    @property
    def raw(self) -> bool:
        """Whether something came out that is no message."""
        return any(word in self.said for word in ("E999", "Traceback", "MemoryError", "Killed"))


def confined(call: Callable[[], object], memory: int, seconds: int) -> Left:
    """Do something with so many bytes of address space at most, for so long at most."""
    out, into = os.pipe()
    held = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    process = os.fork()
    if not process:
        _child(call, memory, seconds, into)
    os.close(into)
    said, stop = b"", time.monotonic() + 4 * seconds
    while (left := stop - time.monotonic()) > 0 and select.select([out], [], [], left)[0]:
        if not (part := os.read(out, 65536)):
            break
        said = (said + part)[:1_000_000]
    else:
        os.kill(process, signal.SIGKILL)
    os.close(out)
    _, status, used = os.wait4(process, 0)
    text, took = said.decode("utf-8", "replace"), used.ru_utime + used.ru_stime
    most = BEGUN + max(0, (used.ru_maxrss << 10) - held)
    return Left(os.waitstatus_to_exitcode(status), text, took, most)


def _child(call: Callable[[], object], memory: int, seconds: int, into: int) -> None:
    """The process: its output goes to a pipe, and it ends without a word of pytest's."""
    code = 70
    try:
        for stream in (1, 2):
            os.dup2(into, stream)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        call()
        code = 0
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 0
    except BaseException as error:
        print("Traceback:", type(error).__name__, error)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
