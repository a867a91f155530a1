"""Numerical faults of a running program, as errors at the line of the spec they came from: E600."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from dln.compiler.plan import Line
from dln.grammar.diagnostics import DlnError, Fault, Problem
from dln.runtime.device.device import Device
from dln.runtime.device.source_map import span_of
from dln.runtime.execution.executable import Bound, Executable, culprit
from dln.runtime.training.causes import RATE, Cause, diagnosed, general, ranges

if TYPE_CHECKING:
    from dln.runtime.training.phase_trainer import Training

CODE = "E600"


class Watchman:
    """Remembers which program runs on which examples, to say so when it fails."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts
        self._at: tuple[Executable, Bound, Any] | None = None

    def running(self, executable: Executable, bound: Bound, examples: Any) -> None:
        """`examples` is (part, indices), or None for the minibatch of the step."""
        self._at = (executable, bound, examples)

    @contextmanager
    def over(self, training: Training) -> Iterator[None]:
        """Numerical faults inside become a `DlnError`; a checkpoint is left where one can be."""
        try:
            yield
        except (ArithmeticError, ValueError) as e:
            if not numerical(e):
                raise
            error = self._explained(e, training)
            _leave(training)
            raise error from e

    def _explained(self, error: Exception, training: Training) -> DlnError:
        where = f"phase {training.spec.name}, update {training.update}, epoch {training.epoch}"
        executable, bound, examples = self._at or (training.step, None, None)
        part, indices = examples or (training.part, training.minibatch())

        def example(row: int) -> str:
            return f"example {part.first + int(indices[row])} of {part.name}"

        n = len(indices) if bound is None else bound.n
        return _explained(error, executable, bound, n, where, example, self._texts)


def _leave(training: Training) -> None:
    """Save the parameters as they were beside the checkpoints, not among those to resume from."""
    from dln.runtime.checkpoint import checkpoint
    from dln.runtime.training import resume

    rundir = training.options.rundir
    if rundir is not None:
        with suppress(Fault):
            path = rundir.checkpoints / "failed.safetensors"
            checkpoint.save(path, *resume.pack(training.session, training))


def numerical(error: Exception) -> bool:
    """Whether an error is one of numbers: NumPy's own kind, or what Python says of a single number
    of a program, as of `lr = 1 / epoch` at epoch 0."""
    if isinstance(error, FloatingPointError):
        return True
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    name = "" if trace is None else trace.tb_frame.f_code.co_filename
    domain = ("math domain error", "expected a")  # the second from Python 3.14 on
    of_math = not isinstance(error, ValueError) or str(error).startswith(domain)
    return of_math and name.startswith("<dln program ")


def explained(
    error: Exception,
    executable: Executable,
    bound: Bound | None,
    where: str,
    texts: Mapping[str, str],
    n: int = 1,
) -> DlnError:
    """The fault of a single run on examples fed from Python; of `n` where it failed before."""
    n = n if bound is None else bound.n
    return _explained(error, executable, bound, n, where, lambda row: f"example {row}", texts)


def _explained(
    error: Exception,
    executable: Executable,
    bound: Bound | None,
    n: int,
    where: str,
    example: Callable[[int], str],
    texts: Mapping[str, str],
) -> DlnError:
    """The fault of a run, at its line, with what caused it as far as that shows."""
    stopped = executable.stopped(error)
    line = None if stopped is None else stopped.line
    row = _row(bound, line)
    facts = _read(bound, line)  # before the program runs again
    with strict(executable.device):
        values = None if stopped is None else executable.operands(n, stopped)
    span = None if line is None else span_of(texts, line.place)
    cause = None if line is None else diagnosed(line, "" if span is None else span.text, values)
    if line is not None and cause is None:
        facts = ranges(line, values) or facts
    step = None if stopped is None else stopped.step
    if line is not None and cause is not None and len(cause.at) >= len(line.axes):
        place = dict(zip(line.axes, cause.at, strict=False))
        row, step = place.get("batch", row), place.get("time", step)
        inner = list(cause.at[len(line.axes) :])
        found = cause.found + (f" at {inner}" if inner and cause.found else "")
        facts = (found,) if found else ()
    if row is not None:
        where += f", {example(row)}"
    if step is not None:
        where += f", step {step}"
    return _error(str(error), cause, line, (*facts, where), texts)


def strict(device: Device) -> AbstractContextManager[object]:
    """NumPy raises where a number overflows or loses its meaning; underflow is harmless."""
    if device.xp is np:
        return np.errstate(over="raise", invalid="raise", divide="raise")
    return nullcontext()


def not_finite(phase: str, update: int, epoch: int) -> DlnError:
    """The loss itself is not a number, and no line of the program said so."""
    message = f"the loss of {phase} is not a finite number (update {update}, epoch {epoch})"
    return DlnError([Problem(CODE, message, remedy=RATE)])


def _row(bound: Bound | None, line: Line | None) -> int | None:
    if bound is None or line is None:
        return None
    found = culprit(bound, line)
    return 0 if found is None and bound.n == 1 and bound.inputs else found


def _error(
    what: str,
    cause: Cause | None,
    line: Line | None,
    facts: tuple[str, ...],
    texts: Mapping[str, str],
) -> DlnError:
    kind = what.replace(" encountered", "") if cause is None else cause.what
    message = f"the computation left the numbers: {kind}"
    span = span_of(texts, line.place) if line is not None else None
    label = f"{line.formula[:80]}" if line is not None and span is not None else ""
    remedy = general(what) if cause is None else cause.remedy
    return DlnError([Problem(CODE, message, span, label, facts=facts, remedy=remedy)])


def _read(bound: Bound | None, line: Line | None) -> tuple[str, ...]:
    """What a line read: the range of each array, without its numbers that are not finite."""
    facts = []
    if bound is None or line is None:
        return ()
    for name in line.reads:
        array = bound.buffers.get(name)
        if array is None or array.dtype.kind != "f" or not array.size:
            continue
        host = np.asarray(array.get() if hasattr(array, "get") else array)
        fine = host[np.isfinite(host)]
        lost = host.size - fine.size
        said = f"from {fine.min():.4g} to {fine.max():.4g}" if fine.size else "nothing finite"
        facts.append(f"read {list(host.shape)}: {said}{f', {lost} not finite' if lost else ''}")
    return tuple(dict.fromkeys(facts))
