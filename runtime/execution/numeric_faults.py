"""Numerical faults of a running program, as errors at the line of the spec they came from: E600."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import Context
from traceback import walk_tb
from typing import Any, NamedTuple

import numpy as np

from dln.grammar.diagnostics import DlnError, Note, Problem, Span
from dln.runtime.device.device import Device
from dln.runtime.device.source_map import span_of
from dln.runtime.execution.causes import SLOWER, diagnosed, general, ranges, read
from dln.runtime.execution.executable import Bound, Executable, Stopped, culprit, reals

LEFT = "the computation left the numbers"
MOST_NOTES = 3  # lines shown that what was given came from
Example = Callable[[int], str]
"""How the example in a row of a minibatch is called: `example 7 of mnist.fit`."""


def fed(row: int) -> str:
    """An example fed from Python, as it is called."""
    return f"example {row}"


class Run(NamedTuple):
    """A program that runs on n examples, or the program of a step in shards; not `bound` yet where
    binding itself may fail."""

    executable: Executable
    n: int
    bound: Bound | None
    example: Example = fed

    def failed(self) -> Run:
        """The run of the one program that failed."""
        executable, bound, first = self.executable.failed(self.bound)
        n = self.n if bound is None else bound.n
        return Run(executable, n, bound, lambda row: self.example(row + first))


class Watchman:
    """Is told which program runs on which examples, to say so when it fails."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts
        self._ran: Run | None = None

    def running(
        self, executable: Executable, n: int, bound: Bound | None = None, example: Example = fed
    ) -> None:
        """A program is about to run, or to be bound, on n examples."""
        self._ran = Run(executable, n, bound, example)

    def done(self) -> None:
        """Nothing runs any more: memory of what ran last is not held any longer. Of the phase that
        watches by this, and is held by it, the cyclic collector may come late."""
        self._ran = None

    @contextmanager
    def over(
        self, where: Callable[[], str], failed: Callable[[], None] = lambda: None
    ) -> Iterator[None]:
        """Numerical faults inside become a `DlnError` E600 that says `where`; `failed` is called
        before it is raised."""
        try:
            yield
        except (ArithmeticError, ValueError) as e:
            if self._ran is None or not numerical(e):
                raise
            error = explained(e, self._ran, where(), self._texts)
            failed()
            raise error from e


def numerical(error: Exception) -> bool:
    """Whether an error is one of numbers: NumPy's own kind, or what Python says of a single number
    of a program, as of `lr = 1 / epoch` at epoch 0."""
    if isinstance(error, FloatingPointError):
        return True
    files = [frame.f_code.co_filename for frame, _ in walk_tb(error.__traceback__)]
    domain = ("math domain error", "expected a")  # the second from Python 3.14 on
    of_math = not isinstance(error, ValueError) or str(error).startswith(domain)
    return of_math and bool(files) and files[-1].startswith("<dln program ")


def explained(error: Exception, run: Run, where: str, texts: Mapping[str, str]) -> DlnError:
    """The fault of a run, at its line, with what caused it as far as that shows."""
    said, run = str(error), run.failed()
    kind, remedy = said.replace(" encountered", ""), general(said)
    stopped = run.executable.stopped(error)
    if stopped is None:
        return DlnError([Problem("E600", f"{LEFT}: {kind}", facts=(where,), remedy=remedy)])
    line, step = stopped.line, stopped.step
    bound, row, facts = run.bound, None, tuple[str, ...]()
    if bound is not None:  # before the program runs again
        row, facts = culprit(bound, line), read(reals(bound, line.reads))
        row = 0 if row is None and bound.n == 1 and bound.inputs else row
    with strict(run.executable.device):
        values = run.executable.operands(run.n, stopped, bound)
    span = span_of(texts, line.place)
    cause = diagnosed(line, "" if span is None else span.text, values)
    if cause is None:
        facts = ranges(line, values) or facts
    else:
        kind, remedy = cause.what, cause.remedy
    if cause is not None and len(cause.at) >= len(line.axes):
        place = dict(zip(line.axes, cause.at, strict=False))
        row, step = place.get("batch", row), place.get("time", step)
        inner = list(cause.at[len(line.axes) :])
        found = cause.found + (f" at {inner}" if inner and cause.found else "")
        facts = (found,) if found else ()
    if row is not None:
        where += f", {run.example(row)}"
    if step is not None:
        where += f", step {step}"
    label = "" if span is None else line.formula[:80]
    facts, remedy = (*facts, where), in_time(remedy, where)
    notes = () if span is None else came_from(run, stopped, span)
    return DlnError([Problem("E600", f"{LEFT}: {kind}", span, label, notes, facts, remedy)])


def in_time(remedy: str, where: str) -> str:
    """A remedy at the update where the numbers are left: before the first, no learning rate is to
    blame."""
    if not re.search(r"\bupdate 0\b", where):
        return remedy
    return remedy.replace(f"{SLOWER}, ", "").replace(f"; or {SLOWER}", "")


def came_from(run: Run, stopped: Stopped, span: Span) -> tuple[Note, ...]:
    """The lines of the spec that made what a statement was given, the nearest first."""
    program, found = run.executable.program, list[Note]()
    before = program.lines[: max(0, stopped.number - program.first)]
    waiting, lines = [*stopped.line.reads], {span.line}
    for line in reversed(before):
        if line.writes not in waiting:
            continue
        waiting = [name for name in waiting if name != line.writes] + [*line.reads]
        place = line.place
        if place is None or place.path != span.source.path:
            continue
        at = Span(span.source, place.start, place.stop)
        if at.line not in lines:
            lines.add(at.line)
            found.append(Note(at, "came from here"))
        if len(found) == MOST_NOTES:
            break
    return tuple(found)


def strict(device: Device) -> AbstractContextManager[object]:
    """NumPy raises where a number overflows or loses its meaning; underflow is harmless."""
    if device.xp is np:
        return np.errstate(over="raise", invalid="raise", divide="raise")
    return nullcontext()


def strictly() -> Callable[..., Any]:
    """What calls a function as inside `strict`, with NumPy, at next to no cost: a context of its
    own, in which NumPy raises. It is for one thread at a time."""
    context = Context()
    context.run(np.seterr, over="raise", invalid="raise", divide="raise")
    return context.run
