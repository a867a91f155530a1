"""Where the time of a phase's update goes, by line of the spec.

The step runs twice on copies of the parameters: as it is, for the time of an update, and with a
mark after each statement, for the share of each line. On a device that runs ahead of the host the
marks wait for it, so shares there include the waiting.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median
from time import perf_counter
from types import SimpleNamespace
from typing import Any

from dln.compiler.plan import Line, Place, Program, at
from dln.runtime.batches import Batches
from dln.runtime.executable import Bound, Executable
from dln.runtime.programs import paths_of
from dln.runtime.session import Session

ROUNDS = 5


@dataclass(frozen=True)
class LineTime:
    """A line of the spec: its time in an update, how many statements it became, its cost."""

    place: Place | None
    formula: str
    milliseconds: float
    statements: int
    flops: int
    bytes: int


@dataclass(frozen=True)
class Profile:
    """An update of a phase on `examples` examples; `lines` with the slowest first."""

    phase: str
    examples: int
    milliseconds: float
    flops: int
    bytes: int
    lines: tuple[LineTime, ...]


def profile(
    session: Session, phase: str, batch: int | None = None, seconds: float = 1.0
) -> Profile:
    """Time the step of a phase on its first minibatch, for about `seconds`."""
    spec = session.phase(phase)
    program = session.plan.programs[spec.step]
    part = session.datasets.part(spec.data, spec.part, program.dtype)
    seed = session.programs.seed_of(phase)
    sized = replace(spec, batch=spec.batch if batch is None else batch)
    indices = Batches(sized, part, session.device, seed).indices(0)

    def timed(bound: Bound) -> float:
        part.filler(bound, session.device.xp)(indices, 0.0)
        clocks = session.programs.clocks(program)
        return _median(bound, clocks, seconds / 2, session.device.wait)

    plain = _bound(session, program, phase, session.device, len(indices))
    total = timed(plain)
    stamps: list[float] = []
    marked = _marked(session, program, phase, len(indices), stamps)
    timed(marked)
    by_line = _shares(stamps, len(program.lines))
    n = len(indices)
    lines = _by_place(program, by_line, n)
    return Profile(phase, n, total * 1e3, program.flops(n), program.traffic(n), lines)


def _bound(session: Session, program: Program, phase: str, device: Any, n: int) -> Bound:
    """The program on fresh copies of parameters and states."""
    held = session.programs
    dtype = program.dtype
    params = {p: device.array(device.to_host(held.params[p]), dtype) for p in paths_of(program)}
    states = {
        b.key: device.array(0.0 * device.to_host(device.xp.empty(b.shape_at(0), dtype)), dtype)
        if False
        else device.array(_zeros(b.shape_at(0)), dtype)
        for b in program.buffers
        if b.place == "state"
    }
    return Executable(program, device, params, states, held.seed_of(phase)).at(n)


def _zeros(shape: tuple[int, ...]) -> Any:
    import numpy as np

    return np.zeros(shape)


def _median(bound: Bound, clocks: list[float], seconds: float, wait: Callable[[], None]) -> float:
    """Seconds of a run: the median over rounds of the mean of each."""
    bound.run(*clocks)
    wait()
    start = perf_counter()
    bound.run(*clocks)
    wait()
    once = max(perf_counter() - start, 1e-7)
    count = max(1, int(seconds / ROUNDS / once))
    means = []
    for _ in range(ROUNDS):
        start = perf_counter()
        for _ in range(count):
            bound.run(*clocks)
        wait()
        means.append((perf_counter() - start) / count)
    return median(means)
