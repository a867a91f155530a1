"""How long `dln check SPEC` takes, as a multiple of importing what it stands on.

    python benchmarks/startup.py [SPEC ...]

For every spec of the lecture: the processor time of `dln check SPEC` over that of `import lark,
networkx, click`, each in a process of its own, taken in turn; the median of nine. Once with nothing
kept (`DLN_CACHE=0`), once with what the run before has kept. Byte code is written before.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from statistics import median
from tempfile import TemporaryDirectory

from dln.spec import LIBRARIES, lecture

TIMES = 9
IMPORTS = ("-c", "import lark, networkx, click")


def seconds(*words: str, **more: str) -> float:
    """The processor time of a Python process."""
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *words], check=True, capture_output=True, env=env | more)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    print(f"{'spec':<20} {'imports':>8} {'anew':>14} {'kept':>14}   seconds, median of {TIMES}")
    with TemporaryDirectory() as folder:
        for name in sys.argv[1:] or [n for n in lecture() if n not in LIBRARIES]:
            row(name, folder)


def row(name: str, folder: str) -> None:
    check = ("-m", "dln", "check", name)
    seconds(*IMPORTS), seconds(*check, XDG_CACHE_HOME=folder)
    rounds = [
        (seconds(*IMPORTS), seconds(*check, DLN_CACHE="0"), seconds(*check, XDG_CACHE_HOME=folder))
        for _ in range(TIMES)
    ]
    imports, anew, kept = (median(column) for column in zip(*rounds, strict=True))
    first = median(b / a for a, b, _ in rounds)
    second = median(c / a for a, _, c in rounds)
    print(f"{name:<20} {imports:>8.3f} {anew:>7.3f} {first:>6.2f} {kept:>7.3f} {second:>6.2f}")


if __name__ == "__main__":
    main()
