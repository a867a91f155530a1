"""The lecture's table of errors on MNIST (slide 43), with ours beside it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dln.printing.terminal import number

Data = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """A row of the slide: what, its error in percent, by whom; and ours, the figures of some specs
    whose measured side is like `words`."""

    what: str
    error: str
    source: str
    specs: tuple[str, ...]
    words: str


ENTRIES = (
    Entry("generative model of RBMs", "1.25", "Hinton, Osindero and Teh 2006",
          ("dbn", "dbn_updown"), r"(top|refine\[4\])\.error"),
    Entry("support vector machine", "1.4", "DeCoste and Schölkopf 2002", ("svm",), "error"),
    Entry("backpropagation, 1000 hidden units", "1.6", "Simard, Steinkraus, Platt 2003: 800 units",
          ("baselines",), r"full\[0\]\.error"),
    Entry("backpropagation, 500 and 300 hidden units", "1.6", "Hinton's table: 1.51",
          ("baselines",), r"full\[1\]\.error"),
    Entry("k nearest neighbours", "about 3.3", "LeCun's page of MNIST", ("baselines",),
          r"nearest\.\w+"),
)  # fmt: skip

HEAD = """## The lecture's table of MNIST errors (slide 43)

| model | slide, % wrong | published by | ours, % wrong |
| --- | --- | --- | --- |
"""


def comparison(rows: Mapping[str, Sequence[Data]]) -> str:
    """The slide's table, each row with what we measured of its kind; `rows` are figures by spec."""
    return HEAD + "".join(_line(e, rows) for e in ENTRIES)


def _line(e: Entry, rows: Mapping[str, Sequence[Data]]) -> str:
    found = [text for spec in e.specs for f in rows.get(spec, ()) if (text := _ours(e, spec, f))]
    return f"| {e.what} | {e.error} | {e.source} | {', '.join(found) or 'not run'} |\n"


def _ours(e: Entry, spec: str, figure: Data) -> str:
    """A figure of ours, "" for one that is not of this row."""
    left = figure["expect"].split(f" {figure['op']} ")[0].strip()
    measured = figure["op"] == "==" and isinstance(figure["value"], int | float)
    if not measured or not re.fullmatch(e.words, left):
        return ""
    return f"{number(round(figure['value'], 3))} (`{left}` of {spec})"
