"""The watched values of a run as a table, `log.csv`: a row for each report, appended as it is made.

    phase, update, epoch, seconds, then a column for each watch; one of several numbers has a column
    for each, `hits[0]`, `hits[1]`. A cell is blank where a watch was not taken.

Columns follow from the plan, so they stay as they are. The log is what is believed: where a run
goes on, the table is made anew from the reports that the log still has, so that no row stands twice
and a line torn by a crash is gone.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dln.compiler.plan import PhaseSpec
from dln.runtime.checkpoint import checkpoint

TABLE = "log.csv"
PLACE = ("phase", "update", "epoch", "seconds")


def columns_of(phases: Iterable[PhaseSpec]) -> list[str]:
    """A column for each number that phases watch, each name once, in the order of the spec."""
    found = (name for phase in phases for watch in phase.watches
             for name in numbered(watch.name, watch.numbers))  # fmt: skip
    return list(dict.fromkeys(found))


def numbered(name: str, numbers: int | None) -> list[str]:
    """`error` of one number, `hits[0], hits[1]` of two."""
    return [name] if numbers is None else [f"{name}[{i}]" for i in range(numbers)]


class ReportTable:
    """The table of one run, opened anew with the reports that its log has so far."""

    def __init__(self, path: Path, columns: Sequence[str], reports: Iterable[Mapping[str, Any]]):
        self.path, self.columns = path, tuple(columns)
        lines = [row([*PLACE, *columns]), *map(self._line, reports)]
        with self._refusing():
            checkpoint.atomic_write(path, "".join(lines).encode())
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND)

    def add(self, report: Mapping[str, Any]) -> None:
        """Append a report: `phase`, `update`, `epoch`, `seconds`, and values by name as `watch`.
        Raises `Fault` E542 where the system refuses."""
        with self._refusing():
            os.write(self._file, self._line(report).encode())

    def close(self) -> None:
        """Write no more; later reports are refused."""
        os.close(self._file)
        self._file = -1

    def _line(self, report: Mapping[str, Any]) -> str:
        cells = dict[str, Any]()
        for name, value in report["watch"].items():
            values = value if isinstance(value, list) else [value]
            names = numbered(name, len(values) if isinstance(value, list) else None)
            cells |= dict(zip(names, values, strict=True))
        seconds = report.get("seconds")  # logs of before have none
        place = [report["phase"], report["update"], report["epoch"]]
        place.append("" if seconds is None else f"{seconds:.3f}")
        return row([*place, *(cells.get(name, "") for name in self.columns)])

    def _refusing(self) -> Any:
        return checkpoint.refusing("write", self.path, "free some space, or use --out", "E542")


def row(cells: Sequence[object]) -> str:
    """One line of CSV."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(cells)
    return out.getvalue()
