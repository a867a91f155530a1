"""The NumPy device: aligned memory, and the number of threads of NumPy's own OpenBLAS."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from dln.compiler.plan import Program
from dln.runtime.device.governor import Governor
from dln.runtime.device.kernels import KERNELS, Kernel
from dln.runtime.device.openblas import SPELLINGS, blas
from dln.runtime.device.sharing import Sharing
from dln.runtime.device.side_by_side import Lanes
from dln.runtime.device.threads import Threads, cores

ALIGNMENT = 64  # bytes: a cache line, and the widest vector register
WORTH_A_POOL = 10_000_000  # operations of a program: about a tenth of a millisecond on one core
LARGE = 1_000_000  # operations of one statement from which on it counts for that


def view(buffer: Any, offset: int, shape: tuple[int, ...], dtype: DTypeLike) -> Any:
    """Part of a buffer of bytes, by whatever library, as an array in C order. Raises ValueError
    where that lies outside of the buffer."""
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
    view = staticmethod(view)

    def __init__(self, threads: int | None = None) -> None:
        default_threads()  # what the machine had before anybody asked
        self.asked, self._told = threads, _getter()  # found once: each step from Python asks
        self.threads = threads_in_use()
        _sharing()
        self.kernels: Mapping[str, Kernel] = {**KERNELS, **blas(_openblas()).kernels}
        self.suit()

    def suit(self, threads: int = 1) -> None:
        """One thread, for what no governor runs, or so many."""
        self.threads = None if self._told is None else self._told()
        if self.threads not in (threads, None):
            set_threads(threads)
            self.threads = threads_in_use()

    def governor(self, program: Program, n: int) -> Governor | None:
        """Who chooses the threads of a program on n examples; nobody where it is too small to gain
        by several, where one is asked for, or where there is but one core.

        `threads` given by the user are taken wherever a governor would try them.
        """
        self.suit()
        most = self.asked or min(default_threads() or 1, cores())
        heavy = program.heavy(n, LARGE)
        if self.threads is None or most == 1 or heavy < WORTH_A_POOL:
            return None
        threads = _threads(most)
        threads.called()
        key = hash((program.text, program.buffers)), n  # which keeps no text alive
        return threads.governor(key, self.asked is not None)

    def beside(self, program: Program, n: int, parts: int) -> Governor | None:
        """Who chooses whether so many parts of an update on n examples go side by side; nobody
        where the update is too small to gain by it, or as above."""
        self.suit()
        most = min(parts, self.asked or min(default_threads() or 1, cores()))
        if self.threads is None or most < 2 or program.flops(n) < WORTH_A_POOL:
            return None
        known = (program.text, program.buffers, n, parts)
        return _lanes(most).governor(known, self.asked is not None)

    def empty(self, nbytes: int) -> NDArray[np.uint8]:
        """[nbytes], not initialised, from an address that is a multiple of `ALIGNMENT`."""
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
        with suppress(ImportError, OSError, ValueError, IndexError):  # `ulimit -v`
            import resource  # late: Unix alone

            most = resource.getrlimit(resource.RLIMIT_AS)[0]
            taken = int(Path("/proc/self/statm").read_text("ascii").split()[0])
            if most != resource.RLIM_INFINITY:
                known.append(max(0, most - taken * resource.getpagesize()))
        return min(known, default=None)


# ---- threads of OpenBLAS -----------------------------------------------------------------------


@cache
def _sharing() -> Sharing:
    """Who computes the products of this process."""
    sharing = blas(_openblas()).sharing = Sharing(_setter() or set_threads)
    return sharing


@cache
def _lanes(most: int) -> Lanes:
    return Lanes(most)


@cache
def _threads(most: int) -> Threads:
    return Threads(_sharing(), most, blas(_openblas()).cut)


@cache
def _openblas() -> tuple[ctypes.CDLL, str] | None:
    """OpenBLAS and how it spells its functions, if NumPy uses OpenBLAS: of its core, through which
    its libraries are found, or of libraries shipped beside it."""
    module = str(import_module("numpy._core._multiarray_umath").__file__)
    beside = Path(np.__file__).parent
    shipped = sorted(p for d in ("../numpy.libs", ".dylibs") for p in (beside / d).glob("*blas*"))
    for path, spelling in product([module, *map(str, shipped)], SPELLINGS):
        with suppress(OSError, AttributeError):
            library = ctypes.CDLL(path)
            getattr(library, spelling.format("set_num_threads"))
            return library, spelling
    return None


@cache
def _typed(library: ctypes.CDLL, name: str, kind: Any, *takes: Any) -> Any:
    """A function of a library, which gives one kind and takes others."""
    function = getattr(library, name)
    function.restype, function.argtypes = kind, takes
    return function


def _getter(name: str = "get_num_threads", kind: Any = ctypes.c_int) -> Callable[[], Any] | None:
    """A function of OpenBLAS without arguments; None if NumPy's BLAS is another."""
    found = _openblas()
    return None if found is None else _typed(found[0], found[1].format(name), kind)


def give_back() -> None:
    """What is free goes to the system, of which glibc keeps up to 64 MB for the next to ask; other
    libraries of C keep little, and have no word for it."""
    if trim := _trim():
        trim(0)


@cache
def _trim() -> Callable[[int], int] | None:
    with suppress(OSError, TypeError):  # there is no library of that name, as on Windows
        return getattr(ctypes.CDLL(None), "malloc_trim", None)
    return None


def threads_in_use() -> int | None:
    """Threads of matrix products, for the whole process; None if NumPy's BLAS does not tell."""
    getter = _getter()
    return None if getter is None else getter()


def core() -> str | None:
    """The processor that OpenBLAS takes this one for, whose kernels it uses; None as above."""
    getter = _getter("get_corename", ctypes.c_char_p)
    return None if getter is None else getter().decode("ascii", "replace")


def product_by() -> str | None:
    """How OpenBLAS spells what adds products to an array; None where statements of NumPy do."""
    return blas(_openblas()).spelling


@cache
def default_threads() -> int | None:
    """The threads that NumPy's BLAS takes when nobody says otherwise."""
    return threads_in_use()


def set_threads(count: int) -> None:
    """Set that number where NumPy's BLAS is OpenBLAS; leave any other BLAS as it is."""
    setter = _setter()
    if setter is not None:
        setter(count)


def _setter() -> Callable[[int], None] | None:
    """The function of OpenBLAS that does it, looked for once: a program may call it twice a run."""
    found = _openblas()
    if found is None:
        return None
    setter: Callable[[int], None] = _typed(
        found[0], found[1].format("set_num_threads"), None, ctypes.c_int
    )
    return setter


@contextmanager
def threads_kept(count: int | None) -> Iterator[None]:
    """In here the machine seems to have so many threads when nobody asks: those of another one."""
    own = default_threads()
    if count is None or own is None or count == own:
        yield
        return
    try:
        set_threads(count)
        default_threads.cache_clear()
        default_threads()
        yield
    finally:
        set_threads(own)
        default_threads.cache_clear()
        default_threads()
