"""How time grows: with examples, epochs, depth, width and the length of sequences.

    python -m benchmarks.scale [-o FOLDER]

Specs made for it, float32; of each size the least time of some rounds, the sizes taken in turn.
Prints the table, and writes its record and `docs/performance.md`. About two minutes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dln
from benchmarks.comparison.machine import described, told
from benchmarks.comparison.page import DOCS, keep, scale
from dln.runtime.profiler import profile
from dln.runtime.session import Session

ROUNDS = 5
Timer = Callable[[], float]

DIGITS = """use "mnist.dln"
const hidden = 100
const depth = 1
const B = 20
block net(x[784]; layers) -> z[10]: logit {
  let inner = [for k in 1..layers: dense(hidden, act = tanh)]
  z = x -> dense(hidden, act = tanh) -> chain(inner) -> dense(10)
}
let f = net(depth)
train fit on mnist.fit batch B for 1 epoch {
  minimize cross_entropy(f(x), label) over f with sgd(lr = 0.01)
}
"""
LETTERS = """use "shakespeare.dln"
const steps = 50
const B = 50
data lines = text("tinyshakespeare.txt") like bard {
  set window = steps
}
block elman(x[time, n]; m) -> h[time, m] {
  param W[m, n] ~ glorot(n, m), U[m, m] ~ glorot(m, m), b[m] = 0
  scan t in time {
    h[t] = tanh(W @ x[t] + U @ h[t-1] + b)
  }
}
block model(c[time]: class(V)) -> z[time, V]: logit {
  z = onehot(c) -> elman(128) -> dense(V)
}
let f = model()
train fit on lines batch B for 1 epoch {
  minimize mean(cross_entropy(f(c), next)) over f with sgd(lr = 0.01)
}
"""


@dataclass(frozen=True)
class Growth:
    """What grows, by which sizes, what the time of the largest is to be of that of the smallest,
    and how the seconds of one size are taken."""

    what: str
    sizes: tuple[int, ...]
    wanted: float
    timer: Callable[[int], Timer]


def session(text: str, **constants: Any) -> Session:
    return dln.load(text, **constants).compile(threads=1).session(seed=0)


def update(text: str, name: str, **constants: int) -> Callable[[int], Timer]:
    """Milliseconds of an update, where a constant is the size."""

    def timer(size: int) -> Timer:
        made = session(text, **{**constants, name: size})
        return lambda: profile(made, "fit", seconds=0.2).milliseconds

    return timer


def of_examples(size: int) -> Timer:
    """Seconds of an example, where so many are trained with."""
    made = session(DIGITS.replace("mnist.fit", "mnist"))
    return lambda: made.train("fit", limit=size).seconds / size


def of_epochs(size: int) -> Timer:
    """Seconds of an epoch of 1,000 examples, where so many are trained."""
    made = session(DIGITS.replace("for 1 epoch", f"for {size} epochs"))
    return lambda: made.train("fit", limit=1000).seconds / size


GROWTHS = (
    Growth("examples, time of one", (1_000, 10_000, 60_000), 1.0, of_examples),
    Growth("epochs, time of one", (1, 10, 100), 1.0, of_epochs),
    Growth("layers of 256, batch 100", (8, 16, 32), 4.0,
           update(DIGITS, "depth", hidden=256, B=100)),
    Growth("width of 8 layers, batch 100", (256, 512, 1024), 16.0,
           update(DIGITS, "hidden", depth=8, B=100)),
    Growth("steps of a sequence, batch 50", (25, 50, 100, 200), 8.0, update(LETTERS, "steps")),
)  # fmt: skip


def grown(growth: Growth) -> dict[str, Any]:
    """A row of the table: the least times of all sizes."""
    timers = [growth.timer(size) for size in growth.sizes]
    for timer in timers:
        timer()  # reads, compiles
    rounds = [[timer() for timer in timers] for _ in range(ROUNDS)]
    least = [min(column) for column in zip(*rounds, strict=True)]
    return {"what": growth.what, "sizes": list(growth.sizes), "wanted": growth.wanted,
            "ratios": [t / least[0] for t in least]}  # fmt: skip


def record() -> Mapping[str, Any]:
    said = told(described(1)) + f" The least of {ROUNDS} rounds, as a multiple of the first."
    return {"said": said, "rows": [grown(growth) for growth in GROWTHS]}


if __name__ == "__main__":
    found = record()
    folder = Path(sys.argv[2]) if sys.argv[1:2] == ["-o"] else DOCS
    keep("scale", found, folder)
    print(scale(found))
