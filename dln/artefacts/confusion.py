"""`emit confusion(found, true, on = data)`: how often each class was taken for which.

A row for each true class, a column for each found one. Where one of the two is no class (past the
end of a sequence) nothing is counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dln.artefacts.made import Made, counted, npy
from dln.compiler.plan import EmitSpec
from dln.printing import pictures
from dln.printing.files import table
from dln.printing.terminal import columns
from dln.runtime.session import Session


@dataclass(frozen=True)
class Confusion(Made):
    """Counts [true, found] of the classes called `names`."""

    counts: NDArray[np.int64]
    names: tuple[str, ...]

    def text(self) -> str:
        """The table with the share that was found right of each class; no count is a dot."""
        head = ("true \\ found", *self.names, "right")
        rows = []
        for k, (name, row) in enumerate(zip(self.names, self.counts, strict=True)):
            cells = [f"{n:,}" if n else "." for n in row]
            rows.append((name, *cells, _share(row[k], row.sum())))
        body = columns([head, *rows], right=range(len(head)), lead="  ")
        every = self.counts.sum()
        return f"{_share(self.counts.trace(), every)} of {every:,} right\n{body}"

    def data(self) -> Any:
        return {"classes": list(self.names), "counts": self.counts}

    def numbers(self, kind: str) -> bytes:
        if kind == ".npy":
            return npy(self.counts)
        if kind == ".txt":
            return f"{self.text()}\n".encode()
        rows = zip(self.names, self.counts.tolist(), strict=True)
        return table([["true", *self.names], *([name, *row] for name, row in rows)])

    def picture(self, kind: str) -> bytes:
        return pictures.of_counts(self.counts, self.names, ("true", "found"), kind)


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else ""


def made(session: Session, emit: EmitSpec, values: Mapping[str, NDArray[Any]]) -> Confusion:
    """The counts; `values` [example, ...] are not looked at: the classes are worked out here."""
    return Confusion(*counted(session, emit))
