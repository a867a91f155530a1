"""Progress of training on stderr: a bar on a terminal, now and then a line into a pipe.

Both are hooks (`runtime/hooks.py`), told at most ten times a second, so training does not wait.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from time import perf_counter
from typing import Any

from dln.grammar.diagnostics import clean
from dln.printing.terminal import Terminal, number, plural
from dln.runtime.execution.phase_result import PhaseResult, Watched
from dln.runtime.training.callbacks import Hook, Progress, Report, Started

SELDOM = 3.0  # seconds between two lines within an epoch
MANY = 12  # numbers of a watch that are written out
OFTEN = 0.5  # seconds between two lines for reports at the end of an epoch


def progress(terminal: Terminal) -> AbstractContextManager[Hook]:
    """What shows progress: a bar, lines, or nothing with --quiet."""
    if terminal.quiet:
        return nullcontext(Hook())
    return Bar() if sys.stderr.isatty() else nullcontext(Lines(terminal))


def watched(values: Mapping[str, Watched]) -> str:
    """`accuracy 94.8, hits [0.9, 0.7]`."""
    return ", ".join(f"{name} {_said(value)}" for name, value in values.items())


def _said(value: Watched) -> str:
    """A number, or several, the first of many."""
    if not isinstance(value, list):
        return number(value)
    more = f", ... ({len(value)})" if len(value) > MANY else ""
    return f"[{', '.join(map(number, value[:MANY]))}{more}]"


def _took(result: PhaseResult) -> str:
    """`69 updates in 6.6 s: the gradient is flat`."""
    why = f": {result.ended}" if result.ended else ""
    return f"{plural(result.updates, 'update')} in {result.seconds:.1f} s{why}"


class Lines(Hook):
    """A line when a phase starts, one now and then, one when it ends."""

    def __init__(self, terminal: Terminal) -> None:
        self.terminal = terminal
        self.last = perf_counter()
        self.epoch = -1
        self.total: int | None = None

    def note(self, text: str) -> None:
        self._say(f"note: {text}")

    def _say(self, text: str) -> None:
        self.terminal.say(text)
        self.last = perf_counter()

    def phase_start(self, event: Started) -> None:
        self.total, self.epoch = event.updates, -1
        length = "" if event.updates is None else f", {plural(event.updates, 'update')}"
        start = f", from update {event.update:,}" if event.update else ""
        batch = f"minibatches of {event.batch:,}" if event.batch > 1 else "one at a time"
        self._say(f"{event.phase}: {plural(event.examples, 'example')}, {batch}{length}{start}")

    def report(self, event: Report) -> None:
        waited = perf_counter() - self.last
        if waited >= (OFTEN if event.epoch != self.epoch else SELDOM):
            self.epoch = event.epoch
            self._say(f"{event.phase}: {self._place(event)}, {watched(event.values)}")

    def progress(self, event: Progress) -> None:
        if perf_counter() - self.last >= SELDOM:
            parts = [self._place(event), f"{event.rate:,.0f} examples/s", watched(event.watch)]
            self._say(f"{event.phase}: {', '.join(p for p in parts if p)}")

    def _place(self, event: Report | Progress) -> str:
        of = "" if self.total is None else f" of {self.total:,}"
        return f"epoch {event.epoch}, update {event.update:,}{of}"

    def phase_end(self, result: PhaseResult) -> None:
        values = f", {watched(result.watch)}" if result.watch else ""
        self._say(f"{result.name}: {_took(result)}{values}")


class Bar(Hook):
    """A bar for each phase, with its rate and its watched values; drawn only when told.

    Names come from specs, so no markup is read from them.
    """

    def __init__(self) -> None:
        from rich import progress as rich  # late: on a terminal alone
        from rich.console import Console  # late: on a terminal alone

        console = Console(stderr=True, markup=False, highlight=False)
        columns: list[Any] = [
            rich.TextColumn("{task.description}", markup=False),
            rich.BarColumn(bar_width=24),
            rich.TextColumn("{task.percentage:>3.0f}%", markup=False),
            rich.TimeRemainingColumn(),
            rich.TextColumn("{task.fields[facts]}", markup=False),
        ]
        self.bars = rich.Progress(*columns, console=console, auto_refresh=False)
        self.task: Any = None
        self.values: dict[str, Watched] = {}

    def __enter__(self) -> Bar:
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bars.refresh()
        self.bars.stop()

    def phase_start(self, event: Started) -> None:
        self.values = {}
        self.task = self.bars.add_task(clean(event.phase), total=1.0, facts="")
        self.bars.refresh()

    def report(self, event: Report) -> None:
        self.values.update(event.values)

    def progress(self, event: Progress) -> None:
        self._draw(event.fraction, f"{event.rate:,.0f} examples/s  {watched(self.values)}")

    def phase_end(self, result: PhaseResult) -> None:
        self._draw(1.0, f"{_took(result)}  {watched(result.watch)}")

    def note(self, text: str) -> None:
        self.bars.console.print(f"note: {clean(text)}")

    def _draw(self, fraction: float, facts: str) -> None:
        self.bars.update(self.task, completed=fraction, facts=clean(facts))
        self.bars.refresh()
