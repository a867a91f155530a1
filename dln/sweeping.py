"""`dln sweep`: a spec for every combination of the constants it varies, one after another.

`row` is a function from plain values to a plain row, so that rows can be worked out elsewhere.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dln import checking
from dln.checking import Verdict
from dln.compiler.model import Checking, Model, Sweeping
from dln.grammar.diagnostics import DlnError, Fault, Problem
from dln.inspecting import chosen
from dln.options import Settings
from dln.reporting import comparison, tally
from dln.running import Failed, opened, select, train
from dln.spec import find, from_source, read
from dln.terminal import Terminal, columns, number, plain, plural, verdict

if TYPE_CHECKING:
    from dln.runtime.session import Session
    from dln.spec import Spec


@dataclass
class Row:
    """One run of a sweep: what was varied, what it reports, what it expects."""

    constants: dict[str, Any]
    reports: dict[str, Any] = field(default_factory=dict)
    verdicts: list[Verdict] = field(default_factory=list)
    seconds: float = 0.0
    interrupted: str = ""

    def as_data(self) -> dict[str, Any]:
        checks = [v.as_data() for v in self.verdicts]
        return {"constants": self.constants, "reports": self.reports, "checks": checks,
                "seconds": self.seconds}  # fmt: skip


def sweep(terminal: Terminal, name: str, only: str | None, given: Settings) -> int:
    """Run one sweep of a spec, or all; 1 if an expectation failed."""
    path = find(name)
    sweeps = _load(path, given).model.sweeps
    if not sweeps:
        raise DlnError([Problem("E016", f"{name} has no sweep", remedy="sweep width { ... }")])
    found: dict[str, list[Row]] = {}
    for wanted in chosen(only, sweeps, "sweep"):
        found[wanted] = rows = []
        for row in _rows(terminal, path, sweeps[wanted], given):
            rows.append(row)
        if rows and rows[-1].interrupted:
            break
    return _closing(terminal, name, found)


def _closing(terminal: Terminal, name: str, found: Mapping[str, Sequence[Row]]) -> int:
    rows = [r for some in found.values() for r in some]
    verdicts = [v for r in rows for v in r.verdicts]
    interrupted = any(r.interrupted for r in rows)
    terminal.result()
    tally(terminal, verdicts)
    data = {k: [r.as_data() for r in some if not r.interrupted] for k, some in found.items()}
    terminal.data({"spec": Path(name).stem, "sweeps": data,
                   **({"interrupted": True} if interrupted else {})})  # fmt: skip
    if interrupted:
        return 130
    return 1 if any(v.status == "failed" for v in verdicts) else 0


def _rows(terminal: Terminal, path: Path, swept: Sweeping, given: Settings) -> Iterator[Row]:
    """The runs of a sweep, each printed when it is done."""
    varied = combinations(swept)
    terminal.say(f"{swept.name}: {plural(len(varied), 'run')}")
    table = Table(terminal, swept, varied)
    for constants in varied:
        shown = ", ".join(f"{k} = {number(v)}" for k, v in constants.items())
        terminal.say(f"{swept.name}: {shown}")
        try:
            row = run_one(terminal, path, swept.name, constants, given)
        except DlnError as error:
            raise Failed(error.problems) from None
        if not row.interrupted:
            table.add(row)
        yield row
        if row.interrupted:
            return


def combinations(swept: Sweeping) -> list[dict[str, Any]]:
    """Every combination of the values varied, the last constant fastest."""
    return [dict(run) for run in swept.runs]


def _load(path: Path, given: Settings, constants: Mapping[str, object] | None = None) -> Spec:
    values = {**given.constants, **(constants or {})}
    return from_source(read(path), path.stem, values, given.data, functions=False)


def run_one(
    terminal: Terminal, path: Path, name: str, constants: Mapping[str, Any], given: Settings
) -> Row:
    """Run a spec with some constants; `seed` is the run's seed where the spec has no such."""
    base = _load(path, given)
    own = {k: v for k, v in constants.items() if k in base.constants}
    given = replace(given, seed=int(constants.get("seed", given.seed)))
    spec = _load(path, given, own)
    session = opened(spec.compile(given.backend, given.dtype, given.threads), given.seed)
    silent = replace(terminal, quiet=terminal.quiet or not sys.stderr.isatty())
    interrupted = train(silent, session, select(spec, given), given)
    row = Row(dict(constants), interrupted=interrupted)
    if not interrupted:
        swept = spec.model.sweeps[name]
        row.reports = reported(spec.model, session, swept, given.seed)
        row.verdicts = judged(spec.model, session, swept, given.seed)
        row.seconds = sum(r.seconds for r in session.results.values())
    return row


def reported(model: Model, session: Session, swept: Sweeping, seed: int) -> dict[str, Any]:
    """The values of the report lines; None where one cannot be had."""
    worker, found = checking.Worker(model, session, seed), {}
    for text, node in swept.reports:
        try:
            found[text] = plain(worker.values({"x": node})["x"])
        except Fault:
            found[text] = None
    return found


def judged(model: Model, session: Session, swept: Sweeping, seed: int) -> list[Verdict]:
    """The verdicts on what the sweep expects of this run."""
    worker = checking.Worker(model, session, seed)
    check = Checking(swept.name, False, swept.expects, swept.span)
    return [worker.verdict(check, e) for e in swept.expects]


class Table:
    """The rows of a sweep, printed as they come; columns are as wide as they must be by then."""

    def __init__(
        self, terminal: Terminal, swept: Sweeping, varied: Sequence[Mapping[str, Any]]
    ) -> None:
        self.terminal = terminal
        heads = [*swept.vary, *(text for text, _ in swept.reports)]
        values = [[number(v[k]) for v in varied] for k in swept.vary]
        self.widths = [max(map(len, [k, *v])) for k, v in zip(swept.vary, values, strict=True)]
        self.widths += [max(10, len(text)) for text, _ in swept.reports]
        self._line(heads)

    def _line(self, cells: Sequence[str], after: str = "") -> None:
        padded = [c.rjust(w) for c, w in zip(cells, self.widths, strict=True)]
        self.terminal.result(columns([padded]) + after)

    def add(self, row: Row) -> None:
        cells = [number(v) for v in [*row.constants.values(), *row.reports.values()]]
        states = {v.status for v in row.verdicts}
        worst = next((s for s in ("failed", "not run", "passed") if s in states), "")
        self._line(cells, f"  {verdict(worst)}" if worst else "")
        for v in row.verdicts:
            if v.status == "failed":
                self.terminal.result(f"  {v.text}: {comparison(v)}")
