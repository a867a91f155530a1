"""The process of one program and one workload, asked line by line.

    python -m benchmarks.comparison.worker MODULE VARIANT FOLDER THREADS STARTED

Says on its standard output, in JSON: what its first steps gave, and then the answer to each line of
its standard input: to `["settle", S]`, after S seconds of calls, the seconds that one took; to
`["time", N]` what N calls took. Imports NumPy and the program alone.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.comparison.work import FIRST, Running, load

AGAIN = 0.1  # seconds of calls before each measurement


def main() -> None:
    module, variant, folder, threads, started = sys.argv[1:]
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    keep_to(int(threads))
    work = load(Path(folder))
    program = importlib.import_module(f"benchmarks.peers.{module}")
    running: Running = program.make(work, variant, int(threads))
    n = len(work.batches)
    values = [running.value(running.call(0))]
    begun = time.time() - float(started)
    values += [running.value(running.call(i % n)) for i in range(1, FIRST)]
    facts = {"values": values, "first_step": begun, "version": program.version()}
    print(json.dumps(facts), file=out, flush=True)
    k = FIRST
    for line in sys.stdin:
        what, much = json.loads(line)
        if what == "settle":
            k = _warm(running, n, k, much / 2)  # now it is seen which threads work
            pin(program.DEALT)
            start, first = time.perf_counter(), k
            k = _warm(running, n, k, much / 2)
            answer: dict[str, Any] = {"seconds": (time.perf_counter() - start) / (k - first)}
        else:
            k = _warm(running, n, k, AGAIN)
            answer = _timed(running, n, k, much)
            k += much
        print(json.dumps(answer), file=out, flush=True)


def _warm(running: Running, n: int, k: int, seconds: float) -> int:
    """Call until caches and clocks are warm; the number of the next call."""
    end = time.perf_counter() + seconds
    while True:
        handle = running.call(k % n)
        k += 1
        if time.perf_counter() > end:
            running.wait(handle)
            return k


def _timed(running: Running, n: int, k: int, count: int) -> dict[str, Any]:
    """Seconds of so many calls, by the clock and of the processor, all threads together."""
    call, handle = running.call, None
    start, spent = time.perf_counter(), time.process_time()
    for i in range(k, k + count):
        handle = call(i % n)
    running.wait(handle)
    passed, spent = time.perf_counter() - start, time.process_time() - spent
    peak = peak_memory()
    return {"seconds": passed, "processor": spent, "peak": peak, "threads": running.threads()}


def keep_to(threads: int) -> None:
    """Leave this process, and the pools it will make, no more cores than it may have threads."""
    with suppress(AttributeError, OSError):  # Linux alone
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, set(allowed[:threads]))


def pin(dealt: bool | None) -> None:
    """Spread the threads over the cores: the main one on the first, the busiest other one on the
    next; where `dealt`, all of a pool in turn. None leaves them.

    Two threads that wait for each other are else often seen on one core for seconds.
    """
    with suppress(AttributeError, OSError):  # Linux alone
        cores = sorted(os.sched_getaffinity(0))
        me, spent, names = os.getpid(), dict[int, int](), dict[int, str]()
        for task in map(int, os.listdir("/proc/self/task")):
            said = Path(f"/proc/self/task/{task}/stat").read_text()
            fields: list[Any] = said.rsplit(")", 1)[1].split()
            spent[task], names[task] = int(fields[11]) + int(fields[12]), said.split("(", 1)[1][:15]
        others = sorted((t for t in spent if t != me and spent[t]), key=lambda t: -spent[t])
        if dealt is None or len(cores) < 2 or not others:
            return
        os.sched_setaffinity(me, {cores[0]})
        turn: dict[str, int] = {}
        for task in others if dealt else others[:1]:
            turn[names[task]] = turn.get(names[task], 0) + 1
            os.sched_setaffinity(task, {cores[turn[names[task]] % len(cores)]})


def peak_memory() -> int | None:
    """The most bytes of memory this process has held so far; None where it cannot be told."""
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * int(next(x for x in lines if x.startswith("VmHWM:")).split()[1])
    return None


if __name__ == "__main__":
    main()
