"""`emit by_class(found, true, on = data)`: precision, recall and F1 of each class, and their means.

A share of nothing is 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dln.artefacts.made import Made, counted, npy
from dln.compiler.plan import EmitSpec
from dln.printing.files import table
from dln.printing.terminal import columns
from dln.runtime.session import Session

SHARES = ("precision", "recall", "f1")


@dataclass(frozen=True)
class ByClass(Made):
    """`shares` [class, precision and recall and F1] of the classes called `names`, of which there
    are so many `examples` [class]; `right` is the share of all."""

    shares: NDArray[np.float64]
    examples: NDArray[np.int64]
    names: tuple[str, ...]
    right: float

    def text(self) -> str:
        """A line for each class, then the mean over all classes."""
        each = zip(self.names, self.shares, self.examples, strict=True)
        rows = [(name, *(f"{100 * v:.1f} %" for v in row), f"{n:,}") for name, row, n in each]
        mean = [f"{100 * v:.1f} %" for v in self.shares.mean(0)]
        rows.append(("mean", *mean, f"{self.examples.sum():,}"))
        body = columns([("", *SHARES, "examples"), *rows], right=range(5), lead="  ")
        return f"{100 * self.right:.1f} % right\n{body}"

    def data(self) -> Any:
        each = {name: self.shares[:, k] for k, name in enumerate(SHARES)}
        return {"classes": list(self.names), **each, "examples": self.examples, "right": self.right}

    def numbers(self, kind: str) -> bytes:
        if kind == ".npy":
            return npy(self.shares)
        if kind == ".txt":
            return f"{self.text()}\n".encode()
        rows = zip(self.names, self.shares.tolist(), self.examples.tolist(), strict=True)
        return table([["class", *SHARES, "examples"], *([n, *row, k] for n, row, k in rows)])


def made(session: Session, emit: EmitSpec, values: Mapping[str, NDArray[Any]]) -> ByClass:
    """The shares of each class; `values` [example, ...] are not looked at."""
    counts, names = counted(session, emit)
    hits, taken, true = np.diag(counts), counts.sum(0), counts.sum(1)
    shares = [hits / np.maximum(taken, 1), hits / np.maximum(true, 1),
              2 * hits / np.maximum(taken + true, 1)]  # fmt: skip
    right = float(hits.sum() / max(1, counts.sum()))
    return ByClass(np.stack(shares, 1), true, names, right)
