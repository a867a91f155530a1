"""What all tests share.

The option `--slow`, without which tests marked slow are skipped. And three nets under every test:
each program that is compiled is proved to read no memory that it has not written and to keep apart
what is alive at once, the memory of each is filled with NaN before every run, and a rewriting that
does not end fails.
"""

import gc
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, TypeAlias

import numpy as np
import pytest

from dln.commands import time_
from dln.compiler.lower import emit
from dln.compiler.lower.definite import unfit, verify_program
from dln.compiler.lower.schedule import Schedule
from dln.compiler.lower.writer import Writer
from dln.compiler.passes import rewriting
from dln.compiler.passes.rewriting import Log
from dln.compiler.plan import Buffer, Program, buffer_bytes, slot_offsets
from dln.printing import pictures
from dln.runtime.device import kernels
from dln.runtime.device.host import Host, set_threads

gc.set_threshold(200_000)  # graphs are many small objects; most go without a collection
os.environ["DLN_POISON"] = "1"  # for the processes that tests start
os.environ["DLN_CACHE"] = "0"  # nothing that an earlier version has made stands for this one's
Host.poisons = True  # for devices that tests make themselves
time_.SECONDS = 0.05  # whatever the numbers of `dln time` are, they are printed alike
pictures.LOADED = "no module"  # a run draws curves for a test that asks, not because one has drawn
# Each of those processes would compile all that it imports, where Python is told to keep nothing.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
if WORKERS := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
    # They share the cores: threads of one that wait for their turn would spin on those of another.
    THREADS = max(1, (os.cpu_count() or 1) // WORKERS)
    set_threads(THREADS)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", str(THREADS))


Overlaps: TypeAlias = Callable[[Schedule], list[tuple[str, str]]]


SIZES = (1, 2, 9, 1000)  # examples, beside those that memory is laid out for


def overlapping(made: Schedule, outer: Schedule | None = None) -> list[tuple[str, str]]:
    """Pairs of arena buffers that are alive at once in memory that they share: none in a sound
    schedule, for whatever number of examples.

    Compares all that are alive at once, from the steps alone; what one step of a loop needs is
    looked at there.
    """
    touched: dict[str, list[int]] = {}
    for i, step in enumerate(made.steps):
        for name in (step.out, *step.scratch.values()):
            touched.setdefault(name, []).append(i)
        for operand in step.node.operands:
            while made.roles.role[operand] == "view":
                operand = operand.operands[0]
            if operand in made.home:
                touched.setdefault(made.home[operand], []).append(i)
    packed = outer or made
    within = next((x.names for x in packed.loops.values() if x.step is made), {})
    found = {
        n: packed.buffers[within.get(n, n)] for n in touched if made.buffers[n].place == "arena"
    }
    loop_of = {name: node for node, loop in made.loops.items() for name in loop.names.values()}
    inside = [pair for loop in made.loops.values() for pair in overlapping(loop.step, made)]
    at_once, alive = list[tuple[str, str]](), list[str]()
    for b in sorted(found, key=lambda name: touched[name][0]):
        alive = [a for a in alive if touched[b][0] <= touched[a][-1]]
        at_once += [(a, b) for a in alive if a not in loop_of or loop_of[a] is not loop_of.get(b)]
        alive.append(b)
    wrong: dict[tuple[str, str], None] = {}
    for n in (packed.capacity, *SIZES) if at_once else ():
        at = placed(packed, found, n)
        for a, b in at_once:
            (start, stop), (first, last) = at[a], at[b]
            if start < last and first < stop and start < stop and first < last:
                wrong[a, b] = None
    return [*inside, *wrong]


def placed(made: Schedule, found: dict[str, Buffer], n: int) -> dict[str, tuple[int, int]]:
    """Where buffers of the arena begin and end, for n examples."""
    program: Any = SimpleNamespace(slots=made.slots, below=made.below, dtype=made.dtype)
    starts = slot_offsets(program, n)
    return {name: (starts[b.slot], starts[b.slot] + buffer_bytes(program, b, n))
            for name, b in found.items()}  # fmt: skip


def proved(writer: Writer, name: str, dtype: str) -> Program:
    """The program of a schedule, if its text stands up to the verifier; each text once."""
    made = written(writer, name, dtype)
    assert not list(unfit(made))
    key = hash((made.text, made.buffers))  # in which precision, no more is asked than what fits
    if key not in sound:
        verify_program(made)
        assert overlapping(writer.made) == []
        sound.add(key)
    return made


def not_given_up(log: Log | None, rules: Iterable[str]) -> None:
    """A rewriting that does not end fails, also where nobody keeps a log."""
    noted: Log = []
    given_up(noted, rules)
    rewriting.must_end(noted)


given_up, rewriting.give_up = rewriting.give_up, not_given_up
sound: set[int] = set()
written, emit.program = emit.program, proved


@pytest.fixture
def overlaps() -> Overlaps:
    """Which arena buffers of a schedule are alive at once in one slot."""
    return overlapping


# ---- CuPy, without a GPU -----------------------------------------------------------------------


class OnDevice(np.ndarray):
    """An array that stands for device memory; it goes to the host by `asnumpy` or `get` only."""

    def set(self, values: np.ndarray) -> None:
        assert values.flags.c_contiguous and type(values) is np.ndarray
        assert values.dtype == self.dtype and values.shape == self.shape
        self[...] = values

    def get(self) -> np.ndarray:
        return np.array(self)

    def take(self, indices: Any, axis: Any = None, out: Any = None, mode: Any = "raise") -> Any:
        assert type(indices) is not np.ndarray, "indices of the host were given to the device"
        return np.ndarray.take(self, indices, axis, out, mode)


def guarded(function: Any) -> Any:
    """A function that, as CuPy's do, refuses arrays of the host and stays on the device."""

    def call(*args: Any, **named: Any) -> Any:
        for a in (*args, *named.values()):
            assert type(a) is not np.ndarray, "an array of the host was given to the device"
        made = function(*args, **named)
        return made.view(OnDevice) if isinstance(made, np.ndarray) else made

    vars(call)["at"] = getattr(function, "at", None)  # of a ufunc
    return call


class FakeCupy(ModuleType):
    """CuPy's interface over NumPy, as far as programs and the device use it. `waits` counts how
    often the device was waited for."""

    def __init__(self, available: bool = True, broken: bool = False) -> None:
        super().__init__("cupy")
        self.waits, self.newaxis, self.asnumpy = 0, None, np.asarray

        def wait() -> None:
            self.waits += 1

        def count() -> int:
            if broken:
                raise RuntimeError("cudaErrorInsufficientDriver: driver too old\nmore")
            return 1

        stream, pool = SimpleNamespace(synchronize=wait), SimpleNamespace(free_bytes=lambda: 24)
        runtime = SimpleNamespace(memGetInfo=lambda: (1 << 40, 1 << 40), getDeviceCount=count)
        self.cuda = SimpleNamespace(
            is_available=lambda: available, get_current_stream=lambda: stream, runtime=runtime
        )
        self.get_default_memory_pool = lambda: pool
        self.empty = lambda n, dtype: np.full(n, 255, dtype).view(OnDevice)
        self.array = lambda a: np.array(a).view(OnDevice)
        self.argsort = guarded(lambda a, axis: np.argsort(a, axis, kind="stable"))  # as CuPy's is
        windows = SimpleNamespace(as_strided=guarded(np.lib.stride_tricks.as_strided))
        self.lib = SimpleNamespace(stride_tricks=windows)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return guarded(getattr(np, name))


@pytest.fixture
def fake_cupy(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeCupy]:
    """Makes a stand-in for CuPy, which is then what `import cupy` gives."""

    def made(**options: bool) -> FakeCupy:
        cupy, special = FakeCupy(**options), ModuleType("cupyx.scipy.special")
        vars(special)["erf"] = guarded(kernels.erf)
        for module in (cupy, ModuleType("cupyx"), ModuleType("cupyx.scipy"), special):
            monkeypatch.setitem(sys.modules, module.__name__, module)
        return cupy

    return made


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests marked slow as well")


BUSY = tuple(
    "specs bounds fuzzing messages/test_mutants.py compiler/test_fuzz.py compiler/drawn"
    " compiler/test_ragged.py".split()
)
"""What runs much and much again of what other tests have run, or has a limit of processor time:
left out where coverage is measured, which makes tests take two and a half times as long."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.pluginmanager.hasplugin("_cov"):
        busy = [Path(__file__).parent / part for part in BUSY]
        items[:] = [i for i in items if not any(i.path.is_relative_to(part) for part in busy)]
    if config.getoption("--slow"):
        return
    skip = pytest.mark.skip(reason="takes long: runs with --slow")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)


def pytest_collection_finish() -> None:
    """Modules and tests, a million objects, stay to the end: no collection looks at them again."""
    gc.freeze()
