"""One run of a sweep: from plain values to a plain row, so that it can be worked out anywhere."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dln.compiler.ir.graph import Node
from dln.compiler.model import Checking
from dln.grammar.diagnostics import DlnError, Fault
from dln.printing.terminal import Terminal, number, plain, present
from dln.reading.mentions import SEED
from dln.running import expectations
from dln.running.training import fixed, opened, select, train
from dln.running.verdict import Verdict, of_data
from dln.running.verdict_text import status_of
from dln.runtime.readers.read_cache import ReadCache
from dln.settings import Settings
from dln.spec import Spec, from_file
from dln.sweep.begun import begun

CACHE = ReadCache()
"""What this process has read of data files: its runs share it."""


@dataclass
class Row:
    """One run of a sweep: what was varied, what it reports, what it expects, or what went wrong.

    `seeds` are those that phases fix for themselves. `problems` are plain data, `error` is how a
    person reads them. `read` are the files that it was worked out from, with their digests, where
    it was recorded.
    """

    constants: dict[str, Any]
    reports: dict[str, Any] = field(default_factory=dict)
    verdicts: list[Verdict] = field(default_factory=list)
    seconds: float = 0.0
    seeds: dict[str, int] = field(default_factory=dict)
    problems: list[dict[str, Any]] = field(default_factory=list)
    error: str = ""
    interrupted: str = ""
    read: dict[str, str] = field(default_factory=dict)

    @property
    def status(self) -> str:
        """`failed` if the run or an expectation failed, `passed` if all did pass."""
        return "failed" if self.problems else status_of(self.verdicts)

    def as_data(self) -> dict[str, Any]:
        """The row as plain data; `problems` only where there are such."""
        checks = [v.as_data() for v in self.verdicts]
        return {"constants": self.constants, "reports": self.reports, "checks": checks,
                "seconds": self.seconds,
                **present(seeds=self.seeds, problems=self.problems)}  # fmt: skip

    @classmethod
    def of_data(cls, data: Mapping[str, Any]) -> Row:
        """The row that `as_data` wrote."""
        checks = [of_data(v) for v in data["checks"]]
        reports = {k: _number(v) for k, v in data["reports"].items()}
        return cls(dict(data["constants"]), reports, checks, data["seconds"],
                   dict(data.get("seeds", {})), list(data.get("problems", ())))  # fmt: skip


def _number(value: Any) -> Any:
    """What a report is that JSON has no number for, "nan" and "inf"; several as a list."""
    if isinstance(value, list):
        return [_number(v) for v in value]
    return float(value) if value in ("nan", "inf", "-inf") else value


def named(constants: Mapping[str, Any]) -> str:
    """`hidden = 300, rate = 0.1`."""
    return ", ".join(f"{k} = {number(v)}" for k, v in constants.items())


def load(path: Path, given: Settings, constants: Mapping[str, object] | None = None) -> Spec:
    """A spec with the constants of the command and those of one run."""
    return from_file(path, replace(given, constants={**given.constants, **(constants or {})}))


def run_one(
    terminal: Terminal, path: Path, name: str, constants: Mapping[str, Any], given: Settings,
    folder: Path | None = None,
) -> Row:  # fmt: skip
    """Run a spec with some constants; `seed` is the run's seed where the spec has no such. With a
    `folder` it is a run directory while it is trained, and goes on with the one that is there.

    What a user can do wrong is in the row, so that the other runs of the sweep go on.
    """
    row = Row(dict(constants))
    try:
        base = load(path, given)
        own = {k: v for k, v in constants.items() if k in base.constants}
        if SEED not in own:
            given = replace(given, seed=int(row.constants.get(SEED, given.seed)))
        spec = load(path, given, own)
        compiled = spec.compile(
            given.backend, given.dtype, given.threads, given.memory_limit, shards=given.shards
        )
        session = opened(compiled, given.seed, CACHE.read)
        silent = replace(terminal, quiet=terminal.quiet or not sys.stderr.isatty())
        swept = spec.model.sweeps[name]
        selection = select(spec, given, swept.phases)
        if folder is None:
            row.interrupted = train(silent, session, selection, given)
        else:
            given = replace(given, constants={**given.constants, **own})
            work = begun(folder, spec, compiled, given, str(path), selection.names)
            with work.rundir as rundir:
                row.read = work.read()
                row.interrupted = train(silent, session, selection, given, rundir,
                                        work.restored)  # fmt: skip
        if not row.interrupted:
            worker = expectations.Worker(spec.model, session, given.seed)
            check = Checking(name, False, swept.expects, swept.span)
            row.reports = {text: _reported(worker, node) for text, node in swept.reports}
            row.verdicts = [worker.verdict(check, e) for e in swept.expects]
            row.seeds = fixed(spec.facts, session.results)
            row.seconds = sum(r.seconds for r in session.results.values())
    except DlnError as error:
        row.problems, row.error = [plain(p.as_data()) for p in error.problems], str(error)
    return row


def _reported(worker: expectations.Worker, node: Node) -> Any:
    """The value of a report line; None where it cannot be had."""
    try:
        return expectations.plain(worker.values({"x": node})["x"])
    except Fault:
        return None
