"""What a folder of specs says of all of them on the page of results: tables of published figures,
with ours beside them.

It stands in `results.toml` beside the specs, which those shipped have (specs/results.toml).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dln.grammar.diagnostics import Fault
from dln.printing.files import markdown
from dln.printing.terminal import number
from dln.results.records import Data, left

FILE = "results.toml"


@dataclass(frozen=True)
class PublishedRow:
    """Cells as published; then ours, the figures of some specs whose measured side is like
    `words`."""

    cells: tuple[str, ...]
    specs: tuple[str, ...]
    words: re.Pattern[str]


@dataclass(frozen=True)
class Published:
    """A table of published figures; the last column of its `head` is ours."""

    title: str
    head: tuple[str, ...]
    rows: tuple[PublishedRow, ...]


@dataclass(frozen=True)
class About:
    """What is said of all specs of a folder; `beyond` of one that names no slides."""

    tables: tuple[Published, ...] = ()
    beyond: str = ""

    @property
    def specs(self) -> set[str]:
        """Those whose figures stand in the tables; some are no specs, and measured by a script."""
        return {name for t in self.tables for row in t.rows for name in row.specs}


def about(folder: Path) -> About:
    """What a folder says of its specs, if it says something. Raises `Fault` where it is unclear."""
    path = folder / FILE
    if not path.is_file():
        return About()
    try:
        said = tomllib.loads(path.read_text("utf-8"))
        return About(tuple(map(_table, said.get("tables", ()))), said.get("beyond", ""))
    except (OSError, ValueError, KeyError, TypeError, re.error) as e:
        remedy = "each of its tables has a title, a head and rows of cells, specs and figures"
        raise Fault(f"{path} cannot be read: {e!r}", remedy) from e


def _table(said: Data) -> Published:
    rows = [PublishedRow(tuple(r["cells"]), tuple(r["specs"]), re.compile(r["figures"]))
            for r in said["rows"]]  # fmt: skip
    return Published(said["title"], tuple(said["head"]), tuple(rows))


def comparison(published: Published, figures: Mapping[str, Sequence[Data]]) -> str:
    """A table, each row with what was measured of its kind; `figures` are those of each spec."""
    rows = [[*row.cells, _ours(row, figures)] for row in published.rows]
    return f"## {published.title}\n\n" + markdown(published.head, rows)


def _ours(row: PublishedRow, figures: Mapping[str, Sequence[Data]]) -> str:
    """All figures of a row; `not run` where there are none."""
    found = [f"{number(round(f['value'], 3))} (`{left(f)}` of {spec})"
             for spec in row.specs for f in figures.get(spec, ())
             if f["op"] == "==" and isinstance(f["value"], int | float)
             and row.words.fullmatch(left(f))]  # fmt: skip
    return ", ".join(found) or "not run"
