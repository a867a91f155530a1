"""The CuPy device: the only file that imports cupy, and only when asked.

Kernels that the device has no function for run on the host and are copied; random draws among
them, so that they are the same bits as the NumPy device's. All work of the device is in the order
of its current stream.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from inspect import signature
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from dln.compiler.plan import Program
from dln.grammar.diagnostics import Fault
from dln.runtime.device.host import set_threads, threads_in_use, view
from dln.runtime.device.kernels import DRAWS, FUNCTIONS, Kernel


class Gpu:
    """The current CUDA device through CuPy."""

    name = "cupy"
    poisons = False
    view = staticmethod(view)

    def __init__(self, cupy: Any, threads: int | None = None) -> None:
        if threads is not None:
            set_threads(threads)
        self.threads = threads_in_use()
        self.xp: ModuleType = cupy
        self._cupy = cupy
        shared = {k.__name__: self._on_host(k) for k in DRAWS}
        own = {k.__name__: self._here(k) for k in FUNCTIONS} | {"lowest": self._lowest}
        self.kernels: Mapping[str, Kernel] = {**shared, **own}

    def suit(self, threads: int = 1) -> None:
        """The host's threads do not matter here."""

    def governor(self, program: Program, n: int) -> None:
        """Nobody chooses anything here."""

    def beside(self, program: Program, n: int, parts: int) -> None:
        """Parts of an update run one after the other here."""

    def empty(self, nbytes: int) -> Any:
        """CuPy's pool hands out multiples of 512 bytes, so the start is aligned."""
        return self._cupy.empty(nbytes, np.uint8)

    def array(self, values: ArrayLike, dtype: DTypeLike) -> Any:
        """A copy. `reshape` since NumPy makes a 0-d array 1-d on the way."""
        host = np.asarray(values, dtype)
        return self._cupy.array(np.ascontiguousarray(host).reshape(host.shape))

    def to_host(self, array: Any) -> NDArray[Any]:
        return np.array(self._cupy.asnumpy(array))

    def wait(self) -> None:
        self._cupy.cuda.get_current_stream().synchronize()

    def memory_available(self) -> int | None:
        """Bytes free on the device, and those that CuPy's pool holds but does not use."""
        free, _ = self._cupy.cuda.runtime.memGetInfo()
        return int(free) + int(self._cupy.get_default_memory_pool().free_bytes())

    def _on_host(self, kernel: Callable[..., None]) -> Callable[..., None]:
        """A kernel for arrays of the device: run on the host, then copied into `out`."""
        given = signature(kernel)

        def run(*args: Any, **named: Any) -> None:
            held = given.bind(*args, **named).arguments
            out = held["out"]
            arrays = {k: self.to_host(a) for k, a in held.items() if hasattr(a, "shape")}
            arrays["out"] = host = np.empty(out.shape, out.dtype)
            kernel(**{**held, **arrays})
            out.set(host)

        return run

    def _here(self, kernel: Callable[..., None]) -> Callable[..., None]:
        """CuPy's own function of that name, looked for when it is first called; where it has none
        the kernel, run on the host."""

        @cache
        def found() -> Callable[..., None]:
            try:
                special = import_module("cupyx.scipy.special")
            except ImportError:
                special = None
            return getattr(special, kernel.__name__, None) or self._on_host(kernel)

        return lambda *args, **named: found()(*args, **named)

    def _lowest(self, values: Any, out: Any) -> None:
        """A few are taken one by one, rows side by side; for many the rows are sorted. CuPy's
        sort is stable, and its argmin gives the first of equal numbers."""
        n, k = values.shape[-1], out.shape[-1]
        rows, places = values.reshape(-1, n), out.reshape(-1, k)
        if k > 16:
            places[...] = self._cupy.argsort(rows, axis=-1)[:, :k]
            return
        left, every = rows.copy(), self._cupy.arange(len(rows))
        for i in range(k):
            places[:, i] = left.argmin(axis=-1)
            left[every, places[:, i]] = np.inf


def open_gpu(threads: int | None = None) -> Gpu:
    """The device. Raises `Fault` E520, one line that says what is missing and what to do."""
    try:
        cupy = import_module("cupy")
    except Exception as e:  # a package that is present but broken fails in many ways
        if isinstance(e, ModuleNotFoundError) and e.name == "cupy":
            remedy = 'pip install "dln[cuda]", or --backend numpy'
            raise Fault("CuPy is not installed", remedy, "E520") from e
        remedy = "install the CuPy that fits your CUDA, or use --backend numpy"
        message = f"CuPy is installed but does not load: {_first_line(e)}"
        raise Fault(message, remedy, "E520") from e
    try:
        there = bool(cupy.cuda.is_available()) and cupy.cuda.runtime.getDeviceCount() > 0
    except Exception as e:  # CuPy's own error classes cannot be named without importing it
        raise _no_gpu(f": {_first_line(e)}") from e
    if not there:
        raise _no_gpu("")
    return Gpu(cupy, threads)


def _no_gpu(why: str) -> Fault:
    remedy = "check the driver with nvidia-smi, or use --backend numpy"
    return Fault(f"CuPy finds no usable GPU{why}", remedy, "E521")


def _first_line(e: Exception) -> str:
    lines = [line.strip() for line in str(e).splitlines() if line.strip(" =\t")]
    return lines[0] if lines else type(e).__name__
