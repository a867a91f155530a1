"""The runs of a sweep, one after another or side by side in processes.

joblib is imported here alone, and only where there is more than one process to be started. Rows
travel as plain data. An interruption is a KeyboardInterrupt, wherever it came from.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dln.grammar.diagnostics import Fault
from dln.printing.terminal import Terminal
from dln.runtime.interrupts import handled
from dln.settings import Settings
from dln.sweep.row import Row, named, run_one


@dataclass(frozen=True)
class Job:
    """A run to be done: the number of its row, and what is varied."""

    index: int
    path: Path
    sweep: str
    constants: Mapping[str, object]


def available() -> bool:
    """Whether joblib is installed."""
    return find_spec("joblib") is not None


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def one_by_one(
    terminal: Terminal, jobs: Sequence[Job], given: Settings
) -> Iterator[tuple[int, Row]]:
    """Each run in this process."""
    for job in jobs:
        terminal.say(f"{job.sweep}: {named(job.constants)}")
        yield job.index, _done(terminal, job, given)


def side_by_side(jobs: Sequence[Job], given: Settings, processes: int) -> Iterator[tuple[int, Row]]:
    """Each run in one of some processes, as they are finished. Raises `Fault` if one is killed."""
    joblib = import_module("joblib")
    loky: Any = import_module("joblib.externals.loky.process_executor")
    deaf = handled([signal.SIGINT], signal.SIG_IGN)  # it is for the command, which ends them
    with deaf, joblib.parallel_config(backend="loky", inner_max_num_threads=given.threads):
        pool = joblib.Parallel(
            n_jobs=processes, batch_size=1, pre_dispatch="all", max_nbytes=None,
            return_as="generator_unordered",
        )  # fmt: skip
        found = pool(joblib.delayed(carried_out)(job, given) for job in jobs)
    try:
        with closing(found):
            for index, data, error in found:
                row = Row.of_data(data)
                row.error = error
                yield index, row
    except loky.TerminatedWorkerError:
        remedy = "it may have run out of memory: try fewer --jobs"
        raise Fault("a process was killed from outside", remedy, "E543") from None


def carried_out(job: Job, given: Settings) -> tuple[int, dict[str, Any], str]:
    """One run in a process of its own: the number of its row, the row, what went wrong."""
    row = _done(Terminal(quiet=True), job, given)
    return job.index, row.as_data(), row.error


def _done(terminal: Terminal, job: Job, given: Settings) -> Row:
    row = run_one(terminal, job.path, job.sweep, job.constants, given)
    if row.interrupted:
        raise KeyboardInterrupt(row.interrupted)
    return row
