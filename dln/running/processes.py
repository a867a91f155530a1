"""Commands of dln in processes of their own, some side by side.

Each is this Python with `-m dln` and a list of words; no shell reads them. A process does not see
the Ctrl-C of the terminal: it is told to stop, which ends its update and saves.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter, sleep
from typing import IO

from dln.runtime.interrupts import interruptible

PATIENCE = 120.0  # seconds that a process has to end its update and save
PAUSE = 0.05


@dataclass(frozen=True)
class Finished:
    """A command that has ended: its key, exit code, output and wall-clock seconds."""

    key: str
    code: int
    out: str
    err: str
    seconds: float


class Running:
    """A command at work. What it prints goes to files without a name, so that no pipe fills."""

    def __init__(self, key: str, words: Sequence[str]) -> None:
        self.key, self.start = key, perf_counter()
        self.out: IO[bytes] = tempfile.TemporaryFile()
        self.err: IO[bytes] = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dln", *words], stdin=subprocess.DEVNULL, stdout=self.out,
            stderr=self.err, start_new_session=True,
        )  # fmt: skip

    def finished(self) -> Finished | None:
        """What came of it, once it has ended."""
        code = self.process.poll()
        if code is None:
            return None
        out, err = (_text(file) for file in (self.out, self.err))
        return Finished(self.key, code, out, err, perf_counter() - self.start)


def side_by_side(commands: Sequence[tuple[str, Sequence[str]]], jobs: int) -> Iterator[Finished]:
    """Run commands (each with a key), at most `jobs` at once, giving each as it ends.

    If this is interrupted (it raises KeyboardInterrupt) or given up, those at work are stopped;
    what they had to say is lost.
    """
    waiting, working = list(commands), list[Running]()
    try:
        while waiting or working:
            while waiting and len(working) < jobs:
                with interruptible() as stop:  # or a process would begin that nobody ends
                    working.append(Running(*waiting.pop(0)))
                if stop.is_set():
                    raise KeyboardInterrupt("interrupted")
            for running in list(working):
                if done := running.finished():
                    working.remove(running)
                    yield done
            sleep(PAUSE)
    finally:
        _stop([running.process for running in working])


def _stop(working: Sequence[subprocess.Popen[bytes]]) -> None:
    """Ask each to end, once, for a second signal kills it before it has saved; then wait, and end
    it where that takes too long."""
    for process in working:
        process.terminate()
    for process in working:
        try:
            process.wait(PATIENCE)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            process.kill()
            process.wait()


def _text(file: IO[bytes]) -> str:
    with file:
        file.seek(0)
        return file.read().decode("utf-8", "replace")
