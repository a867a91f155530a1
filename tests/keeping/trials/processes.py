"""Commands in processes of their own that are signalled or killed at random times.

A process is forked from one that has imported everything, so that it is at work in a moment: the
fork has one thread, and computes with one. Those that are to be met while starting are new ones.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import safetensors.numpy

import dln.cli
import dln.commands.run
import dln.commands.sweep

READY = (safetensors.numpy, dln.cli, dln.commands.run, dln.commands.sweep)
"""What a forked process finds imported."""

PATIENCE = 60.0  # seconds after which a process counts as hanging


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code, minus the signal that killed it; None where it hung."""

    code: int | None
    printed: str

    @property
    def traced(self) -> bool:
        """Whether a person has seen the inside of Python."""
        return any(s in self.printed for s in ("Traceback", "Exception ignored", "E999", "Fatal"))


class Process:
    """A command of dln at work in a folder; what it prints goes to a file."""

    def __init__(self, words: Sequence[str], folder: Path, fresh: bool = False) -> None:
        self.printed = folder / "printed.txt"
        self.printed.write_bytes(b"")
        self.began = time.monotonic()
        if fresh:
            with open(self.printed, "wb") as out:
                self.pid = subprocess.Popen(
                    [sys.executable, "-m", "dln", *words], cwd=folder, stdin=subprocess.DEVNULL,
                    stdout=out, stderr=out, start_new_session=True, preexec_fn=_plain,
                ).pid  # fmt: skip
            return
        self.pid = os.fork()
        if self.pid == 0:
            _carry_out(words, folder, self.printed)

    def send(self, *numbers: int, apart: float = 0.0) -> None:
        """Signals, one soon after the other; none where it has ended."""
        for i, number in enumerate(numbers):
            end = time.perf_counter() + apart if i else 0.0
            while time.perf_counter() < end:
                pass
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return

    def at_work(self) -> bool:
        """Whether it has not ended yet; its end is still to be asked for."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def ended(self, patience: float = PATIENCE) -> Ended:
        """How it ends; one that hangs is killed."""
        limit, hung = time.monotonic() + patience, False
        while True:
            found, status = os.waitpid(self.pid, os.WNOHANG)
            if found:
                code = None if hung else os.waitstatus_to_exitcode(status)
                return Ended(code, self.printed.read_text(errors="replace"))
            if time.monotonic() > limit and not hung:
                hung = True
                os.kill(self.pid, signal.SIGKILL)
            time.sleep(0.002)


def _plain() -> None:
    """Signals as a shell in front of a person gives them to a process."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def _carry_out(words: Sequence[str], folder: Path, printed: Path) -> None:
    """The rest of the life of a forked process."""
    code = 70
    _plain()
    try:
        os.setsid()
        out = os.open(printed, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for number, each in ((0, os.open(os.devnull, os.O_RDONLY)), (1, out), (2, out)):
            os.dup2(each, number)
        os.chdir(folder)
        sys.argv = ["dln", *words]
        sys.stdout = open(1, "w", closefd=False)
        sys.stderr = open(2, "w", closefd=False, buffering=1)
        from dln.__main__ import start  # late: in the process itself

        start()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    except BaseException:
        import traceback  # late: seldom

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)
