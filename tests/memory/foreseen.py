"""Memory foreseen and measured, a line each: `python tests/memory/foreseen.py [arrays|process]`.

`arrays` are those of training, by tracemalloc, of specs that take much in one way each; `process`
is the resident memory of `dln run`, of these and of all shipped specs, on 200 examples.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from measuring.specs import SPECS, written
from measuring.taking import Taken, arrays, process

from dln.spec import LIBRARIES, lecture


def rows(folder: Path, what: str) -> Iterator[tuple[str, Taken]]:
    """Each spec with what was foreseen and measured."""
    if what in ("arrays", "all"):
        for name in SPECS:
            for limit in (None, 500):
                found = arrays(str(folder / f"{name}.dln"), limit)
                yield f"arrays   {name}{'' if limit is None else ', 500 examples'}", found
    if what in ("process", "all"):
        for name in SPECS:
            yield f"process  {name}", process(str(folder / f"{name}.dln"), "--epochs", "1")
        for name in lecture():
            if name not in LIBRARIES:
                yield f"process  {name}", process(name, "--epochs", "1", "--limit", "200")


def main(words: list[str]) -> None:
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name, taken in rows(written(Path(folder)), (words or ["all"])[0]):
            megabytes = [f"{n / 1e6:9.1f}" for n in (taken.foreseen, taken.measured)]
            print(f"{name:40} {' '.join(megabytes)} MB  {taken.ratio:.3f}", flush=True)
            found.append(taken.ratio)
    near = sum(0.95 <= ratio <= 1.05 for ratio in found)
    print(f"{near} of {len(found)} within 5 %, {min(found):.3f} to {max(found):.3f}")


if __name__ == "__main__":
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    main(sys.argv[1:])
