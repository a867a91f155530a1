"""What a run takes, measured: arrays by tracemalloc, a process by its resident memory."""

from __future__ import annotations

import gc
import json
import os
import re
import subprocess
import sys
import tempfile
import tracemalloc
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dln
from dln.runtime.footprint.forecast import forecast
from dln.runtime.footprint.walk import AskedRun


@dataclass(frozen=True)
class Taken:
    """Bytes foreseen and bytes measured."""

    foreseen: int
    measured: int

    @property
    def ratio(self) -> float:
        return self.foreseen / self.measured


def arrays(spec: str, limit: int | None = None, epochs: int | None = 1) -> Taken:
    """The arrays of training a spec, a second time: what is imported and compiled is there then."""
    made = dln.load(spec).compile()
    asked = AskedRun(tuple(made.plan.phases), epochs, limit)
    for measured in (False, True):
        gc.collect()
        if measured:
            tracemalloc.start()
        made.session().train(limit=limit, epochs=epochs)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return Taken(forecast(made.plan, asked).bytes, peak)


def process(spec: str, *words: str) -> Taken:
    """A whole process that runs `dln run`, beside what it foresees itself before it begins."""
    path = str(Path(spec).absolute()) if Path(spec).is_file() else spec
    with tempfile.TemporaryDirectory() as folder:
        found = subprocess.run(
            [sys.executable, __file__, path, *words], cwd=folder, capture_output=True, text=True,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "DLN_POISON": ""},
        )  # fmt: skip
    assert found.returncode == 0, found.stderr
    return Taken(*json.loads(found.stdout.splitlines()[-1]))


def main(words: list[str]) -> None:
    """Carry out a run and print what was foreseen, and the most that was resident."""
    from dln.cli import carried_out  # late: the process that measures has its own
    from dln.commands import run  # late: as above

    seen: list[int] = []
    foreseen = vars(run)["foreseen"]

    def noted(*given: Any) -> Any:
        moment = foreseen(*given)
        seen.append(moment.bytes)
        return moment

    vars(run)["foreseen"] = noted
    code = carried_out(["run", "-q", *words])
    # What getrusage tells counts the process that started this one, until it became what it is.
    [peak] = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text("ascii"))
    print(json.dumps([seen[0], int(peak) * 1024]))
    sys.exit(2 if code > 1 else 0)  # a check that a shortened run misses is none of ours


if __name__ == "__main__":
    main(sys.argv[1:])
