"""Progress of training on stderr: a bar on a terminal, now and then a line into a pipe.

Both are hooks (`runtime/hooks.py`), told at most ten times a second, so training does not wait.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from shutil import get_terminal_size
from time import perf_counter
from typing import Any

from dln.grammar.diagnostics import clean
from dln.printing.terminal import Terminal, number, plural
from dln.runtime.execution.phase_result import PhaseResult, Watched
from dln.runtime.training.callbacks import Hook, Progress, Report, Started

SELDOM = 3.0  # seconds between two lines within an epoch
MANY = 12  # numbers of a watch that are written out
OFTEN = 0.5  # seconds between two lines for reports at the end of an epoch


def progress(terminal: Terminal, curves: SmallCurves | None = None) -> AbstractContextManager[Hook]:
    """What shows progress: a bar, lines, or nothing with --quiet; and `curves`, a hook that is told
    before it."""
    if terminal.quiet:
        return nullcontext(Hook())
    return Bar(curves) if sys.stderr.isatty() else nullcontext(Lines(terminal, curves))


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


class SmallCurves(Hook):
    """The curves of the phase under way, as text: of each watch over updates, of the loss where
    nothing is watched."""

    def __init__(self) -> None:
        from dln.printing.small_curves import pen_for  # late: with --plot alone

        self.pen = pen_for(sys.stderr)  # a bar puts a stream without encoding in its place
        self.clear()

    def clear(self) -> None:
        self.known: dict[str, list[tuple[float, Watched]]] = {}
        self.loss: list[tuple[float, Watched]] = []

    def phase_start(self, event: Started) -> None:
        self.clear()

    def report(self, event: Report) -> None:
        for name, value in event.values.items():
            self.known.setdefault(name, []).append((event.update, value))

    def progress(self, event: Progress) -> None:
        self.loss.append((event.update, event.loss))

    def lines(self, width: int) -> list[str]:
        """The curves in lines of at most `width` characters; none before there are two points."""
        from dln.printing.small_curves import several  # late: with --plot alone

        known = self.known or {"loss": self.loss}
        titled = {f"{name} {_said(points[-1][1])}": _each(points)
                  for name, points in known.items() if len(points) > 1}  # fmt: skip
        return several(titled, "update", width, self.pen)


def _each(points: list[tuple[float, Watched]]) -> list[list[tuple[float, float]]]:
    """A curve for each number of a watch."""
    if not isinstance(points[0][1], list):
        return [points]
    return [[(x, v[i]) for x, v in points] for i in range(min(len(points[0][1]), MANY))]


class Lines(Hook):
    """A line when a phase starts, one now and then, one when it ends; then its small curves."""

    def __init__(self, terminal: Terminal, curves: SmallCurves | None = None) -> None:
        self.terminal, self.curves = terminal, curves
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
        for line in [] if self.curves is None else self.curves.lines(get_terminal_size().columns):
            self._say(line)


class Bar(Hook):
    """A bar for each phase, with its rate and its watched values; drawn only when told.

    Names come from specs, so no markup is read from them.
    """

    def __init__(self, curves: SmallCurves | None = None) -> None:
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
        self.curves = curves
        if curves is not None:
            self._draw_below(curves)
        self.task: Any = None
        self.values: dict[str, Watched] = {}

    def _draw_below(self, curves: SmallCurves) -> None:
        """Let the curves of the phase under way stand below its bar."""
        from rich.console import Group  # late: on a terminal alone

        bars: Any = self.bars
        above = bars.get_renderable
        bars.get_renderable = lambda: Group(above(), *self._lines(curves))

    def _lines(self, curves: SmallCurves) -> list[Any]:
        from rich.text import Text  # late: on a terminal alone

        return [Text(clean(line)) for line in curves.lines(self.bars.console.width - 1)]

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
        lines = [] if self.curves is None else self._lines(self.curves)
        if self.curves is not None:
            self.curves.clear()
        self._draw(1.0, f"{_took(result)}  {watched(result.watch)}")
        if lines:
            self.bars.console.print(clean(result.name), *lines, sep="\n")

    def note(self, text: str) -> None:
        self.bars.console.print(f"note: {clean(text)}")

    def _draw(self, fraction: float, facts: str) -> None:
        self.bars.update(self.task, completed=fraction, facts=clean(facts))
        self.bars.refresh()
