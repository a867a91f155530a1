"""What a program runs on: memory, transfers, waiting, and the array module it is handed.

A device owns all that touches memory, so that streams and captured graphs can come later behind
the same few verbs: allocate once (`empty`), look at parts of it (`view`), copy in (`array`) and
out (`to_host`), and wait. Faults: E520 no usable CuPy, E521 no GPU, E522 wrong arguments.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from dln.grammar.diagnostics import Fault, nearest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, DTypeLike, NDArray

    from dln.compiler.plan import Program
    from dln.runtime.device.governor import Governor
    from dln.runtime.device.kernels import Kernel

BACKENDS = ("cupy", "numpy")

DeviceArray: TypeAlias = Any
"""An array of a device, by whatever library: NumPy's on the machine itself, else CuPy's."""


class Device(Protocol):
    """One place to compute. `Any` stands for its buffers and arrays.

    `xp` is the array module handed to programs, `kernels` what they call by name beside it
    (`dln.runtime.device.kernels`), the same bits on every device; `threads` is the number of
    threads of the host's linear algebra, None where it cannot be told. Where it `poisons`, the
    memory of a program holds no numbers before each run, so that none can depend on the run before.
    """

    name: str
    xp: ModuleType
    kernels: Mapping[str, Kernel]
    threads: int | None
    poisons: bool

    def empty(self, nbytes: int) -> Any:
        """Uninitialised memory, aligned to 64 bytes or more."""

    def view(self, buffer: Any, offset: int, shape: tuple[int, ...], dtype: DTypeLike) -> Any:
        """The bytes from `offset` on as an array in C order; shares memory."""

    def array(self, values: ArrayLike, dtype: DTypeLike) -> Any:
        """A new array on the device, of the shape of the values, copied from the host."""

    def to_host(self, array: Any) -> NDArray[np.generic]:
        """A copy on the host, of the same shape, complete when this returns."""

    def wait(self) -> None:
        """Return when all that was asked of the device is done."""

    def suit(self, threads: int = 1) -> None:
        """So many threads from here on, whatever others have done to them; programs take one."""

    def governor(self, program: Program, n: int) -> Governor | None:
        """Who chooses the threads of the runs of a program on n examples, if anybody is to."""

    def beside(self, program: Program, n: int, parts: int) -> Governor | None:
        """Who chooses whether so many parts of a run go side by side, if anybody is to: its pool
        are `Lanes`."""

    def memory_available(self) -> int | None:
        """Bytes that could still be allocated, None where unknown."""


def open_device(backend: str, threads: int | None = None, poisons: bool = False) -> Device:
    """The device of a backend. Its packages are imported here, when asked for. Raises `Fault` E520
    where it cannot be had, E522 for an unknown backend or less than one thread."""
    if threads is not None and threads < 1:
        raise Fault(f"threads must be at least 1, not {threads}", code="E522")
    if backend == "numpy":
        from dln.runtime.device.host import Host  # late: NumPy

        device: Device = Host(threads)
    elif backend == "cupy":
        from dln.runtime.device.gpu import open_gpu  # late: NumPy

        device = open_gpu(threads)
    else:
        remedy = nearest(backend, BACKENDS) or f"one of {', '.join(BACKENDS)}"
        raise Fault(f'there is no backend "{backend}"', remedy, "E522")
    device.poisons = device.poisons or poisons
    return device
