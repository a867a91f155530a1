"""The NumPy device: aligned memory, and the number of threads of NumPy's own OpenBLAS."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from importlib import import_module
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from dln.runtime.device.kernels import KERNELS

ALIGNMENT = 64  # bytes: a cache line, and the widest vector register
WORTH_A_POOL = 50_000_000  # operations of a product: about half a millisecond on one core


def view(buffer: Any, offset: int, shape: tuple[int, ...], dtype: DTypeLike) -> Any:
    """Part of a buffer of bytes, by whatever library, as an array."""
    kind = np.dtype(dtype)
    stop = offset + math.prod(shape) * kind.itemsize
    if not 0 <= offset <= stop <= buffer.size:
        raise ValueError(f"bytes {offset} to {stop} lie outside a buffer of {buffer.size}")
    return buffer[offset:stop].view(kind).reshape(shape)


class Host:
    """The machine itself."""

    name = "numpy"
    poisons = False
    xp: ModuleType = np
    kernels: Mapping[str, Callable[..., None]] = KERNELS
    view = staticmethod(view)

    def __init__(self, threads: int | None = None) -> None:
        self.asked = threads
        if threads is not None:
            default_threads()  # what the machine had before anybody asked
            set_threads(threads)
        self.threads = threads_in_use()

    def suit(self, flops: int) -> None:
        """The threads for a program whose largest product takes so many operations.

        A thread pool pays for itself in large products only, and where the cores are shared it
        can cost a hundred times what it saves. The choice follows from the spec alone, so a run
        can be repeated; `threads` given by the user overrides it.
        """
        if self.asked is None:
            set_threads(1 if flops < WORTH_A_POOL else default_threads() or 1)
            self.threads = threads_in_use()

    def empty(self, nbytes: int) -> NDArray[np.uint8]:
        raw = np.empty(nbytes + ALIGNMENT, np.uint8)
        start = -raw.ctypes.data % ALIGNMENT
        return raw[start : start + nbytes]

    def array(self, values: ArrayLike, dtype: DTypeLike) -> NDArray[Any]:
        # A number that float32 lacks, as -1e300 for what a softmax leaves out, is infinite there.
        # Where that does not vanish again, what is made of it is told of as no number.
        with np.errstate(over="ignore"):
            return np.array(values, dtype, order="C")

    def to_host(self, array: NDArray[Any]) -> NDArray[Any]:
        return np.array(array)

    def wait(self) -> None:
        """NumPy has finished when it returns."""

    def memory_available(self) -> int | None:
        """Free bytes of the machine, or of the group of processes this one is confined to."""
        known = []
        with suppress(OSError, ValueError, IndexError):
            lines = Path("/proc/meminfo").read_text("ascii").splitlines()
            free = next((line for line in lines if line.startswith("MemAvailable:")), "")
            known.append(int(free.split()[1]) * 1024)
        with suppress(OSError, ValueError):  # a Linux control group (version 2) that sets a limit
            group = Path("/sys/fs/cgroup")
            limit = int((group / "memory.max").read_text("ascii"))
            known.append(max(0, limit - int((group / "memory.current").read_text("ascii"))))
        return min(known, default=None)


# ---- threads of OpenBLAS -----------------------------------------------------------------------

_SPELLINGS = (
    "scipy_openblas_{}_num_threads64_",
    "scipy_openblas_{}_num_threads",
    "openblas_{}_num_threads64_",
    "openblas_{}_num_threads",
)


@cache
def _openblas() -> tuple[Callable[[], int], Callable[[int], None]] | None:
    """OpenBLAS's functions that get and set the number of threads, if NumPy uses OpenBLAS: of its
    core, through which its libraries are found, or of libraries shipped beside it."""
    core = str(import_module("numpy._core._multiarray_umath").__file__)
    beside = Path(np.__file__).parent
    shipped = sorted(p for d in ("../numpy.libs", ".dylibs") for p in (beside / d).glob("*blas*"))
    for path, spelling in product([core, *map(str, shipped)], _SPELLINGS):
        try:
            get, put = (getattr(ctypes.CDLL(path), spelling.format(v)) for v in ("get", "set"))
        except (OSError, AttributeError):
            continue
        get.restype, get.argtypes = ctypes.c_int, []
        put.restype, put.argtypes = None, [ctypes.c_int]
        return get, put
    return None


def threads_in_use() -> int | None:
    """Threads of matrix products, for the whole process; None if NumPy's BLAS does not tell."""
    found = _openblas()
    return found[0]() if found else None


@cache
def default_threads() -> int | None:
    """The threads that NumPy's BLAS takes when nobody says otherwise."""
    return threads_in_use()


def set_threads(count: int) -> None:
    """Set that number where NumPy's BLAS is OpenBLAS; leave any other BLAS as it is."""
    found = _openblas()
    if found:
        found[1](count)
