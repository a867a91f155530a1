"""What an update takes in one process and in each of several ranks, beside what the plan foresees.

    python -m benchmarks.ranks

It is the time of the processor, of the rank that has most of it, without waiting: so ranks may
be more than cores, and other programs at work. What is foreseen is foreseen with a latency of 1 us
and 8 GB/s, as between processes of one machine. `mpirun` has to be there.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np

import dln
from dln.running import wiring
from dln.runtime.device.device import open_device
from dln.runtime.device.limits import limits
from dln.runtime.ranks import exchange
from dln.runtime.wire import Link, wires

SHARDS, SIZES, COUNTS = 4, (20, 200, 2000), (2, 4)
LINK = Link(1e-6, 8e9)
NET = """use "mnist.dln"
const n = 20
block net(x[784]) -> y[10] {{
  {}
}}
let f = net()
train fit on mnist batch n for 2 epochs {{
  minimize cross_entropy(f(x), label) over f with sgd(lr = 0.01)
}}
"""
SMALL = "y = x -> dense(100, act = tanh) -> dense(10)"
LARGE = "y = x -> dense(500, act = tanh) -> dense(500, act = tanh) -> dense(10)"
CASES = {
    "784-100-10": SMALL,
    "784-500-500-10": LARGE,
}


def plan_of(text: str, n: int, shards: int) -> Any:
    """A net on MNIST with so many examples in an update."""
    return dln.load(NET.format(text), n=n).compile(shards=shards, dtype="float32", threads=1)


def timed(text: str, n: int, shards: int, comm: object = None) -> float:
    """Seconds of the processor for an update on n examples, the lower quartile of many."""
    session = plan_of(text, n, shards).session(comm=comm)
    x, label = np.random.default_rng(0).random((n, 784)), np.arange(n) % 10
    found, each = [], max(1, 2000 // n)
    for _ in range(20):
        start = process_time()
        for _ in range(each):
            session.step("fit", x=x, label=label)
        found.append((process_time() - start) / each)
    return float(np.quantile(found, 0.25))


def worker(name: str, n: int) -> None:
    from mpi4py import MPI

    exchange.SPIN = 0.0  # who waits sleeps
    world = MPI.COMM_WORLD
    shards = SHARDS if world.Get_size() > 1 else 1
    taken = world.gather(timed(CASES[name], n, shards, world))
    if taken:
        print(json.dumps(max(taken)))


def launched(name: str, n: int, count: int) -> float:
    mpirun = shutil.which("mpirun", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    options = ["--oversubscribe", "--mca", "mpi_yield_when_idle", "1", "-n", str(count)]
    words = [
        str(mpirun),
        *options,
        sys.executable,
        "-m",
        "benchmarks.ranks",
        "worker",
        name,
        str(n),
    ]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return float(json.loads(done.stdout.strip().splitlines()[-1]))


def main() -> None:
    most = limits(open_device("numpy"), "float32")
    print("| net | examples | undivided | of 2 ranks | of 4 | foreseen gain of 2, 4 | measured |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, text in CASES.items():
        for n in SIZES:
            plan = plan_of(text, n, SHARDS).plan
            alone, *both = (launched(name, n, count) for count in (1, *COUNTS))
            wire = [next(wires(plan, count, LINK, most)) for count in COUNTS]
            taken = " | ".join(map(wiring.time, (alone, *both)))
            foreseen = ", ".join(f"{w.alone / w.together:.2f}" for w in wire)
            measured = ", ".join(f"{alone / own:.2f}" for own in both)
            print(f"| {name} | {n} | {taken} | {foreseen} | {measured} |")


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        worker(sys.argv[2], int(sys.argv[3]))
    else:
        main()
