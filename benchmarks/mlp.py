"""Times the 50,000 single-image updates of specs/mlp.dln, loading and compiling left out.

    python benchmarks/mlp.py [hidden=300]

Prints the seconds of the phase, least and median of three runs.
"""

from __future__ import annotations

import sys
from statistics import median
from typing import Any

import dln

RUNS = 3


def seconds(constants: dict[str, Any]) -> float:
    """One training of the phase `sse` from fresh parameters, on one thread."""
    session = dln.load("mlp", **constants).compile(threads=1).session(seed=0)
    session.train("sse", epochs=1, limit=100)  # reads the files and compiles
    return session.train("sse").seconds


def main() -> None:
    given = [word.split("=", 1) for word in sys.argv[1:] if "=" in word]
    numbers = {name: float(value) for name, value in given}
    constants = {k: int(v) if v == int(v) else v for k, v in numbers.items()}
    times = [seconds(constants) for _ in range(RUNS)]
    print(f"mlp: min {min(times):.2f} s, median {median(times):.2f} s of {RUNS} runs")


if __name__ == "__main__":
    main()
