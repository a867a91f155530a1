"""Where the time of a phase's update goes, by line of the spec.

The step runs twice on copies of the parameters: as it is, for the time of an update, and with a
mark after each statement, for the share of each line. On a device that runs ahead of the host the
marks wait for it, so shares there include the waiting.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from dln.compiler.plan import Line, Place, Program, at
from dln.runtime.device.device import Device
from dln.runtime.device.governor import Governor
from dln.runtime.execution.executable import Bound, Executable, dtype_of
from dln.runtime.execution.store import paths_of
from dln.runtime.session import Session
from dln.runtime.training.minibatches import Minibatches
from dln.runtime.training.single_step import check_rows

ROUNDS = 5
SETTLING = 1.0  # seconds at most until the threads are chosen
Mark = Callable[[int], None]


@dataclass(frozen=True)
class Cost:
    """Statements together: their time in an update, how many there are and how often they run,
    their floating-point operations, the bytes that they read and write."""

    milliseconds: float
    statements: int
    calls: int
    flops: int
    bytes: int


@dataclass(frozen=True)
class LineTime:
    """A line of the spec: what it costs in all, and by operation with the slowest first."""

    place: Place | None
    formula: str
    cost: Cost
    operations: dict[str, Cost]


@dataclass(frozen=True)
class Profile:
    """An update of a phase on `examples` examples, in the same units; `lines` with the slowest
    first. `threads` says how many it had (`Governor.told`), where somebody chooses."""

    phase: str
    examples: int
    milliseconds: float
    flops: int
    bytes: int
    lines: tuple[LineTime, ...]
    threads: dict[str, Any]


def profile(
    session: Session, phase: str, batch: int | None = None, seconds: float = 1.0
) -> Profile:
    """Time the step of a phase on its first minibatch, for about `seconds`. `batch` takes another
    number of examples. Raises `DlnError` E563 where a stream cannot."""
    spec = session.phase(phase)
    if batch is not None:
        check_rows(spec, batch)
    program = session.plan.programs[spec.step]
    part = session.datasets.part(spec.data, spec.part, program.dtype)
    sized = spec.changed(batch=spec.batch if batch is None else batch)
    batches = Minibatches(sized, part, session.device, session.programs.seed_of(phase))
    indices = batches.indices(0)
    n = len(indices)
    clocks = session.programs.clocks(program)
    spent = [0.0] * len(program.lines)
    mark, marked = _marks(session.device, spent), program.changed(text=_marked(program))
    with np.errstate(all="ignore"):
        means, governor = [], None
        for made in (program, marked):
            executable = _executable(session, made, phase, n, mark)
            if made is marked:
                executable.governors[n] = None if governor is None else governor.like()
            bound = executable.at(n)
            part.filler(bound, session.device.xp)(indices, 0.0)
            if made is program:
                governor = executable.governors[n]
                _settle(bound, clocks, governor)
            means.append(_mean(bound, clocks, seconds / 2, session.device.wait))
    share = means[0] / (sum(spent) or 1.0)
    lines = _by_place(program, [t * share for t in spent], n)
    told = {} if governor is None else governor.told()
    return Profile(phase, n, means[0] * 1e3, program.flops(n), program.traffic(n), lines, told)


def _settle(bound: Bound, clocks: list[float], governor: Governor | None) -> None:
    """Run until the threads are chosen, where somebody chooses them: some tenths of a second."""
    end = perf_counter() + SETTLING
    while governor is not None and not governor.settled and perf_counter() < end:
        bound.run(*clocks)


def _executable(session: Session, program: Program, phase: str, n: int, mark: Mark) -> Executable:
    """The program on copies of the parameters, and on states that are zero."""
    held, device = session.state.store.params, session.device
    copied = {p: device.to_host(held[p]) for p in paths_of(program)}
    params = {p: device.array(a, program.dtype) for p, a in copied.items()}
    buffers = (b for b in program.buffers if b.place == "state")
    states = {b.key: device.array(np.zeros(b.shape_at(n)), dtype_of(program, b)) for b in buffers}
    return session.programs.on(program, params, states, phase, mark=mark)


def _mean(bound: Bound, clocks: list[float], seconds: float, wait: Callable[[], None]) -> float:
    """Seconds of a run: the median over rounds of the mean in each."""

    def timed(count: int) -> float:
        start = perf_counter()
        for _ in range(count):
            bound.run(*clocks)
        wait()
        return (perf_counter() - start) / count

    timed(1)
    count = max(1, int(seconds / ROUNDS / max(timed(1), 1e-7)))
    return median(timed(count) for _ in range(ROUNDS))


# ---- marks between statements ------------------------------------------------------------------


def _marks(device: Device, spent: list[float]) -> Mark:
    """What a program calls as `mark(line)`: adds up the time between calls, line by line."""
    last = 0.0

    def mark(line: int) -> None:
        nonlocal last
        device.wait()
        if line >= 0:
            spent[line] += perf_counter() - last
        last = perf_counter()

    return mark


def _marked(program: Program) -> str:
    """The text with a call of `mark` before the first statement and after each one, inside a loop
    as well; what opens a loop is not marked."""
    text = program.text.split("\n")
    for i in reversed(range(len(program.lines))):
        code = program.lines[i].code
        if program.lines[i].call is not None:
            indent = " " * (8 + len(code) - len(code.lstrip()))
            text.insert(program.first + i, f"{indent}mark({i})")  # `first` is counted from 1
    text.insert(program.first - 1, "        mark(-1)")
    return "\n".join(text)


def _by_place(program: Program, spent: list[float], n: int) -> tuple[LineTime, ...]:
    """Statements put together by the line of the spec that they came from; without those that only
    a report needs, which an ordinary step leaves out."""
    groups: dict[tuple[str, int], list[tuple[Line, float]]] = {}
    for line, time in zip(program.lines, spent, strict=True):
        if line.looked:
            continue
        key = (line.place.path, line.place.line) if line.place else ("", 0)
        groups.setdefault(key, []).append((line, time))
    rows = []
    for group in groups.values():
        slowest = max(group, key=lambda pair: pair[1])[0]
        operations = {op: _cost([p for p in group if p[0].op == op], n) for op in _ops(group)}
        ordered = sorted(operations.items(), key=lambda row: -row[1].milliseconds)
        rows.append(LineTime(slowest.place, slowest.formula, _cost(group, n), dict(ordered)))
    return tuple(sorted(rows, key=lambda r: -r.cost.milliseconds))


def _ops(group: list[tuple[Line, float]]) -> list[str]:
    return list(dict.fromkeys(line.op for line, _ in group))


def _cost(group: list[tuple[Line, float]], n: int) -> Cost:
    return Cost(
        sum(time for _, time in group) * 1e3,
        len(group),
        sum(line.times for line, _ in group),
        sum(at(line.flops, n) * line.times for line, _ in group),
        sum(at(line.bytes, n) * line.times for line, _ in group),
    )
