"""What runs survive, in figures: `python tests/keeping/figures.py` prints all of them, a line each.

With a name only that trial, with a number after it so many times: `figures.py signals 1000`. What a
trial counts beside its exit codes is a fault.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before NumPy: a process that forks must have one thread
sys.path.insert(0, str(Path(__file__).parent))


def double(folder: Path, count: int) -> Counter[str]:
    """Two signals within 2 ms to runs at random times."""
    from trials import signals  # late: the line above

    return signals.double(folder, count, seed=1, longest=0.8, fresh=False)


def starting(folder: Path, count: int) -> Counter[str]:
    """Two signals to commands that have just been started."""
    from trials import signals  # late: the line above

    return signals.double(folder, count, seed=2, longest=1.0, fresh=True)


def sweeps(folder: Path, count: int) -> Counter[str]:
    """Two signals, or a kill, to sweeps at random times, alone and side by side."""
    from trials import signals  # late: the line above

    return signals.sweeps(folder, count, seed=3, longest=2.0)


def kills(folder: Path, count: int) -> Counter[str]:
    """Kills of runs that train, each gone on with until it ends, over the kinds of phases."""
    from trials import kills  # late: the line above

    return kills.killed(folder, count)


def failing(folder: Path, count: int) -> Counter[str]:
    """The n-th write, fsync, rename and open of a run, for each n up to the count, three errors."""
    from trials import failing  # late: the line above

    return failing.failing(folder, range(1, count + 1), failing.in_this_process)


def parts(folder: Path, count: int) -> Counter[str]:
    """Kills of parts of a sweep that work side by side, each started again."""
    from trials import parts  # late: the line above

    return parts.killed(folder, count, outside=count > 2)


def checkpoints(_: Path, count: int) -> Counter[str]:
    """Damaged checkpoints."""
    from trials import damage  # late: the line above

    return damage.checkpoints(count)


def data(folder: Path, count: int) -> Counter[str]:
    """Damaged files of data."""
    from trials import damage  # late: the line above

    return damage.data_files(folder, count)


TRIALS: dict[str, tuple[Callable[[Path, int], Counter[str]], int]] = {
    "signals": (double, 1000),
    "starting": (starting, 200),
    "sweeps": (sweeps, 40),
    "kills": (kills, 200),
    "failing": (failing, 50),
    "parts": (parts, 20),
    "checkpoints": (checkpoints, 20_000),
    "data": (data, 5_000),
}


def main(words: list[str]) -> None:
    for name in words[:1] or TRIALS:
        trial, count = TRIALS[name]
        count = int(words[1]) if len(words) > 1 else count
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            found = trial(Path(folder) / name, count)
        took = round(time.monotonic() - began, 1)
        print(json.dumps({"trial": name, "count": count, "seconds": took, **found}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
