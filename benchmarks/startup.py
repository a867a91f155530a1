"""How long `dln check SPEC` takes, as a multiple of importing what it stands on.

    python benchmarks/startup.py

For every shipped spec: the time of `dln check SPEC` over that of `import lark, networkx, click`,
each in a process of its own, taken in turn; the median of nine. Byte code is written before.
"""

from __future__ import annotations

import subprocess
import sys
from statistics import median
from time import perf_counter

from dln.spec import LIBRARIES, lecture

TIMES = 9
IMPORTS = ("-c", "import lark, networkx, click")


def seconds(*words: str) -> float:
    """The wall-clock time of a Python process."""
    start = perf_counter()
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    return perf_counter() - start


def main() -> None:
    print(f"{'spec':<12} {'check':>7} {'imports':>8} {'ratio':>6}   seconds, median of {TIMES}")
    for name in [n for n in lecture() if n not in LIBRARIES]:
        check = ("-m", "dln", "check", name)
        seconds(*check), seconds(*IMPORTS)
        pairs = [(seconds(*check), seconds(*IMPORTS)) for _ in range(TIMES)]
        ours, theirs = (median(column) for column in zip(*pairs, strict=True))
        ratio = median(a / b for a, b in pairs)
        print(f"{name:<12} {ours:>7.3f} {theirs:>8.3f} {ratio:>6.2f}")


if __name__ == "__main__":
    main()
