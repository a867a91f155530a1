"""Tables of classes for files that stand alone, into which these are copied as text: what
`dln.artefacts` makes of the same counts, to the letter."""

from __future__ import annotations

from typing import Any

import numpy as np

from dln.standalone.pieces import picked


def counted(program: Any, part: Any, keys: Any, size: int, classes: int, most: Any = None) -> Any:
    """How often each class was taken for which: a row for each true one."""
    found, true = picked(program, part, keys, size, most)
    pairs = np.stack([true.reshape(-1), found.reshape(-1)]).astype(int)
    counts = np.zeros((classes, classes), int)
    np.add.at(counts, tuple(pairs[:, (pairs >= 0).all(0)]), 1)
    return counts


def shares(counts: Any) -> Any:
    """Precision, recall and F1 of each class; a share of nothing is 0."""
    hits, taken, true = np.diag(counts), counts.sum(0), counts.sum(1)
    means = 2 * hits / np.maximum(taken + true, 1)
    return np.stack([hits / np.maximum(taken, 1), hits / np.maximum(true, 1), means], 1)


def share_rows(counts: Any) -> Any:
    """What is told of each class: its shares, and how many examples it has."""
    every = zip(shares(counts).tolist(), counts.sum(1).tolist(), strict=True)
    return [[*row, n] for row, n in every]


def of_counts(counts: Any, names: Any) -> str:
    """Counts as a person reads them, with the share that was found right of each class."""
    rows = [["true \\ found", *names, "right"]]
    for k, row in enumerate(counts):
        cells = [f"{n:,}" if n else "." for n in row]
        rows.append([names[k], *cells, percent(row[k], row.sum())])
    every = counts.sum()
    return f"{percent(counts.trace(), every)} of {every:,} right\n{aligned(rows)}"


def of_shares(counts: Any, names: Any) -> str:
    """Shares as a person reads them: a line for each class, then the mean over all."""
    found, rows = shares(counts), [["", "precision", "recall", "f1", "examples"]]
    each = [*zip(names, found, counts.sum(1), strict=True), ("mean", found.mean(0), counts.sum())]
    for name, row, n in each:
        rows.append([name, *(f"{100 * v:.1f} %" for v in row), f"{n:,}"])
    right = float(counts.trace() / max(1, counts.sum()))
    return f"{100 * right:.1f} % right\n{aligned(rows)}"


def aligned(rows: Any) -> str:
    """Rows in columns, flush right."""
    wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.rjust, row, wide)) for row in rows]
    return "\n".join(f"  {line}".rstrip() for line in lines)


def percent(part: int, whole: int) -> str:
    """A share of something."""
    return f"{100 * part / whole:.1f} %" if whole else ""


def commas(head: Any, names: Any, rows: Any) -> str:
    """A table as the text of a .csv file, a row for each class."""
    every = [head, *([name, *row] for name, row in zip(names, rows, strict=True))]
    return "".join(",".join(map(quoted, row)) + "\n" for row in every)


def quoted(cell: Any) -> str:
    """A cell of a .csv file."""
    text = str(cell)
    return '"' + text.replace('"', '""') + '"' if set(text) & set(',"\r\n') else text
