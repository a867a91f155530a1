"""What an update takes in one process and in each of several ranks, beside what the plan foresees.

    python -m benchmarks.ranks [NET [EXAMPLES]]

Of as many ranks as there are cores it is the time by the clock, on a machine that has nothing else
to do; of more of them the time of the processor, of the rank that has most of it, without waiting.
What is foreseen is foreseen with the latency and bandwidth that messages had there. `mpirun` has
to be there.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from functools import partialmethod
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
from numpy.typing import NDArray

import dln
from dln.running import wiring
from dln.runtime.device.device import open_device
from dln.runtime.device.limits import limits
from dln.runtime.ranks import exchange
from dln.runtime.ranks.ranks import Ranks
from dln.runtime.training.inner_loop import InnerLoop
from dln.runtime.wire import Link, wire
from dln.spec import Compiled

SHARDS, SIZES, COUNTS = 4, (20, 200, 2000), (2, 4)
LARGE = 1 << 18  # numbers of a row that is sent to see how quick messages are
CORES = len(os.sched_getaffinity(0))
ROUNDS, SECONDS = 7, 0.25  # how often it is measured, for how long
NET = """use "mnist.dln"
const n = 20
block net(x[784]) -> y[10] {{
  y = x -> {} -> dense(10)
}}
let f = net()
train fit on mnist batch n for 1 epoch {{
  minimize cross_entropy(f(x), label) over f with sgd(lr = 0.01)
}}
"""
CASES = {
    "784-100-10": "dense(100, act = tanh)",
    "784-500-500-10": "dense(500, act = tanh) -> dense(500, act = tanh)",
    "784-2000-2000-10": "dense(2000, act = tanh) -> dense(2000, act = tanh)",
    "LeNet-5": "",
}


def plan_of(name: str, n: int, shards: int) -> tuple[Compiled, str]:
    """A net on MNIST with so many examples in an update, and the phase that learns it."""
    if CASES[name]:
        spec, phase = dln.load(NET.format(CASES[name]), n=n), "fit"
    else:
        spec, phase = dln.load("lenet5"), "short"
        text = re.sub(r"diagonal_lm\(.*?, mu = 0.02\)", "sgd(lr = 0.001)", spec.source.text)
        spec = dln.load(text.replace("batch 1 ", f"batch {n} "))
    return spec.compile(shards=shards, dtype="float32", threads=1), phase


class Stopwatch:
    """Seconds that updates have taken, by the clock and of the processor; what begins and ends a
    phase is left out."""

    def __init__(self) -> None:
        self.run, self.taken = InnerLoop.run, np.zeros(2)
        InnerLoop.run = partialmethod(Stopwatch.timed, self)  # type: ignore[assignment]

    @staticmethod
    def timed(loop: InnerLoop, watch: Stopwatch, until: int) -> None:
        began = np.array([perf_counter(), process_time()])
        watch.run(loop, until)
        watch.taken += np.array([perf_counter(), process_time()]) - began


def timed(name: str, n: int, shards: int, comm: Any = None) -> list[float]:
    """Of an update on n examples the seconds by the clock and of the processor, and of messages
    between ranks those of a small one and a large one: the lower quartile of many, in turns."""
    made, phase = plan_of(name, n, shards)
    session, watch, updates = made.session(comm=comm), Stopwatch(), 4
    ranks, found = session.ranks, list[Any]()
    for i in range(ROUNDS + 2):
        watch.taken[:] = 0.0
        session.train(phase, epochs=1, limit=n * updates)
        found.append([*(watch.taken / updates), *message(ranks, 16), *message(ranks, LARGE)])
        if i == 1:
            each = ranks.first(float(found[-1][0]))  # of all ranks alike
            updates = max(4, min(49_000 // n, int(SECONDS / each)))
    return [float(x) for x in np.quantile(found[2:], 0.25, axis=0)]


def message(ranks: Ranks, size: int) -> NDArray[Any]:
    """Seconds of rows of so many numbers, as they are written and sent."""
    rows, taken = np.zeros((ranks.count, size), "float32"), []
    for i in range(9):
        began = np.array([perf_counter(), process_time()])
        rows[ranks.index] = i  # which another core has read
        ranks.gather(rows)
        taken.append(np.array([perf_counter(), process_time()]) - began)
    ranks.forget()
    return np.asarray(np.median(taken, axis=0))


def worker(name: str, n: int) -> None:
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    count = world.Get_size()
    if count > CORES:
        exchange.SPIN = 0.0  # who waits sleeps
    taken = world.gather(timed(name, n, SHARDS if count > 1 else 1, world if count > 1 else None))
    if taken:
        print(json.dumps([max(x) for x in zip(*taken, strict=True)]))


def launched(name: str, n: int, count: int) -> tuple[float, Link]:
    """Seconds of an update, and what messages took there."""
    mpirun = shutil.which("mpirun", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    options = f"--oversubscribe --mca mpi_yield_when_idle 1 -n {count}".split()
    words = [str(mpirun), *options, sys.executable, "-m", "benchmarks.ranks", "worker", name]
    done = subprocess.run([*words, str(n)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    update, small, large = json.loads(done.stdout.strip().splitlines()[-1])[count > CORES :: 2]
    return update, Link(small, 4 * LARGE * max(1, count - 1) / (large - small))


def row(name: str, n: int) -> str:
    most, (made, phase) = limits(open_device("numpy"), "float32"), plan_of(name, n, SHARDS)
    spec, taken, gains, links = made.plan.phases[phase], [], [], []
    alone = launched(name, n, 1)[0]
    for count in COUNTS:
        own, link = launched(name, n, count)
        found = wire(made.plan, spec, n, count, link, most)
        taken.append(wiring.time(own))
        gains.append(f"{found.alone / found.together:.2f} | {alone / own:.2f}")
        links.append(f"{wiring.time(link.latency)}, {link.bandwidth / 1e9:.1f} GB/s")
    cells = [name, str(n), wiring.time(alone), *taken, *links, *gains]
    return f"| {' | '.join(cells)} |"


def main(names: list[str], sizes: list[str]) -> None:
    limits(open_device("numpy"), "float32", anew=True)
    heads = "net|examples|undivided|2 ranks|of 4|messages|of 4|gain of 2|measured|of 4|measured"
    print(f"| {' | '.join(heads.split('|'))} |\n|{' --- |' * 11}")
    for name in names or CASES:
        for n in map(int, sizes or map(str, SIZES)):
            print(row(name, n), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        worker(sys.argv[2], int(sys.argv[3]))
    else:
        main(sys.argv[1:2], sys.argv[2:3])
