"""What a machine can do at most: products, bytes, hyperbolic tangents and calls a second, measured.

The measurement takes some tenths of a second. It is kept in the user's cache folder,
`$XDG_CACHE_HOME/dln/limits.json` or `~/.cache/dln/limits.json`, by device, number of threads and
precision; where nothing can be kept it is done each time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, astuple, dataclass, fields
from math import sqrt
from pathlib import Path
from platform import machine
from time import perf_counter

import numpy as np

from dln.runtime.device.device import Device
from dln.runtime.device.host import core

SQUARE = 768  # rows and columns of the matrices
CACHED, BEYOND = 2**18, 2**25  # bytes of arrays that stay in the nearest caches; that do not
ROUNDS = 5
FEW = 1000  # numbers of a call that is nothing but a call
NEAR, WIDE = 2**20, 2**23  # bytes that the nearest caches hold; that only memory does
FAR = 2**24  # bytes of a call from which on memory is taken to be the limit, not a cache


@dataclass(frozen=True)
class Limits:
    """The most in a second: floating-point operations of a product of matrices, bytes read and
    written in the caches and in memory, hyperbolic tangents, calls on a thousand numbers."""

    flops: float
    cached: float
    memory: float
    curves: float
    calls: float = 2e6

    def bytes(self, moved: float) -> float:
        """Bytes a second, at most, of a call that moves so many."""
        return self.memory if moved > FAR else self.cached

    def rate(self, held: float) -> float:
        """Bytes a second of a program that goes through so many again and again: those of the
        nearest caches, of memory, or of caches between them."""
        if held > WIDE:
            return self.memory
        return self.cached if held <= NEAR else sqrt(self.cached * self.memory)

    def share(self, seconds: float, flops: float, moved: float, calls: int = 1) -> float:
        """Which part of `seconds` so many operations and bytes in so many calls must take."""
        least = max(flops / self.flops, moved / self.bytes(moved / max(calls, 1)))
        return least / seconds if seconds else 0.0


def limits(
    device: Device, dtype: str, anew: bool = False, threads: int = 1, passed: bool = False
) -> Limits:
    """The limits of a device with so many threads; those kept, unless `anew`. Where those are known
    to be `passed`, the machine was busy when they were measured: they are again, and of each the
    higher one is kept."""
    device.suit(threads)
    try:
        return _limits(device, dtype, anew, passed)
    finally:
        device.suit()


def _limits(device: Device, dtype: str, anew: bool, passed: bool) -> Limits:
    what = (device.name, core() or machine(), os.cpu_count(), device.threads, dtype, np.__version__)
    key = " ".join(map(str, what))
    kept = _kept()
    before = kept.get(key)
    if before is not None and not anew and not passed:
        return before
    found = measured(device, dtype)
    if before is not None and passed:
        found = Limits(*map(max, astuple(before), astuple(found)))
    kept[key] = found
    _keep(kept)
    return found


def measured(device: Device, dtype: str) -> Limits:
    """A measurement now: the best of some rounds each."""
    xp, size = device.xp, np.dtype(dtype).itemsize
    a, b = (device.array(np.ones((SQUARE, SQUARE)), dtype) for _ in range(2))
    c = xp.empty_like(a)
    product = _seconds(device, lambda: xp.matmul(a, b, out=c), 2)
    # In place: three arrays may drive one another out of a cache by where they happen to lie.
    x, y = (device.array(np.ones(CACHED // size), dtype) for _ in range(2))
    added = _seconds(device, lambda: xp.add(x, y, out=x), 100)
    curved = _seconds(device, lambda: xp.tanh(x, out=y), 20)
    large, other = (device.array(np.ones(BEYOND // size), dtype) for _ in range(2))
    copied = _seconds(device, lambda: xp.copyto(other, large), 1)
    few, some = (device.array(np.ones(FEW), dtype) for _ in range(2))
    called = _seconds(device, lambda: xp.multiply(few, few, out=some), 1000)
    rates = 3 * CACHED / added, 2 * BEYOND / copied, CACHED / size / curved, 1 / called
    return Limits(2 * SQUARE**3 / product, *rates)


def _seconds(device: Device, call: Callable[[], object], count: int) -> float:
    def once() -> float:
        start = perf_counter()
        for _ in range(count):
            call()
        device.wait()
        return (perf_counter() - start) / count

    once()
    return min(once() for _ in range(ROUNDS))


# ---- what is kept ------------------------------------------------------------------------------


def _file() -> Path:
    folder = os.environ.get("XDG_CACHE_HOME")
    return (Path(folder) if folder else Path.home() / ".cache") / "dln" / "limits.json"


def _kept() -> dict[str, Limits]:
    """The measurements of the file, by key; what is no such measurement is left out."""
    names = {f.name for f in fields(Limits)}
    with suppress(OSError, ValueError, RuntimeError):  # the last: no home
        said = json.loads(_file().read_text("utf-8"))
        rows = said.items() if isinstance(said, dict) else ()
        return {k: Limits(**v) for k, v in rows if isinstance(v, dict) and _sound(v, names)}
    return {}


def _sound(row: dict[str, object], names: set[str]) -> bool:
    return set(row) == names and all(isinstance(x, float) and x > 0 for x in row.values())


def _keep(found: dict[str, Limits]) -> None:
    with suppress(OSError, RuntimeError):
        path = _file()
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}")
        part.write_text(json.dumps({k: asdict(v) for k, v in found.items()}, indent=1), "utf-8")
        part.replace(path)
