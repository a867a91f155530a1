"""What a run was on: machine, versions, how busy others kept it."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from dataclasses import asdict
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from dln.runtime.device.device import open_device
from dln.runtime.device.host import default_threads
from dln.runtime.device.limits import measured


def cores() -> int:
    """The cores this process may use."""
    with suppress(AttributeError):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def described(threads: int) -> dict[str, Any]:
    """The machine as data; its limits are measured now, with so many threads."""
    model = platform.processor() or platform.machine()
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(x.split(":", 1)[1].strip() for x in lines if x.startswith("model name"))
    before = default_threads()
    rates = [asdict(measured(open_device("numpy", n), "float32")) for n in {1, threads}]
    found = {
        name: max(r[name] for r in rates) for name in rates[0]
    }  # where others are busy, one is more
    open_device("numpy", before)
    return {"date": date.today().isoformat(), "processor": model, "cores": cores(),
            "system": f"{platform.system()} {platform.machine()}", "threads": threads,
            "python": platform.python_version(), "numpy": np.__version__, "dln": version("dln"),
            "limits": found}  # fmt: skip


def told(machine: dict[str, Any]) -> str:
    """The same in a sentence or two."""
    limits, threads = machine["limits"], machine["threads"]
    rates = (
        f"{limits['flops'] / 1e9:.0f} GFLOP/s in products, {limits['cached'] / 1e9:.0f} GB/s in "
    )
    rates += f"caches, {limits['memory'] / 1e9:.0f} GB/s in memory"
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['system']}, "
        f"{threads} {'thread' if threads == 1 else 'threads'} for every program; "
        f"Python {machine['python']}, NumPy {machine['numpy']}, {machine['date']}. "
        f"Measured limits: {rates}."
    )
