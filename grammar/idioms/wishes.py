"""What a name is meant to be that means nothing in a phase, by the lines around it: how long the
phase is, or what it minimises."""

from __future__ import annotations

import re

from dln.grammar.diagnostics import Span
from dln.grammar.idioms.names import clock

COUNTED = re.compile(r"\b(epoch|update)\s*/\s*(?:\w+\(\s*)?$")
LONG = re.compile(r"\bfor\s+(\d[\d_.]*|\w+)\s+(epoch|update|step)s?\b")
TOTALS = re.compile(
    r"(?:n|num|nb|max|total|all|tot|number_of)?_?(epoch|update|step|iter\w*)s?", re.I
)
LOSSES = frozenset("loss cost objective criterion loss_value train_loss l j e err".split())
LONGEST = 60  # characters of a loss that is written out again


def around(span: Span) -> str:
    """The text of the phase that a place stands in, from its first line."""
    text = f"\n{span.source.text}"
    start = text.rfind("\ntrain ", 0, span.start + 1)
    stop = text.find("\n}", start)
    return text[start:stop] if 0 <= start and stop > span.start else ""


def in_phase(name: str, span: Span) -> str:
    """What is meant in a phase by a name that means nothing there."""
    return length(name, span) or clock(name) or minimised(name, span)


def length(name: str, span: Span) -> str:
    """How long the phase is: `epochs` of `epoch / epochs`."""
    phase, said = around(span), COUNTED.search(span.source.text[: span.start])
    total, long = TOTALS.fullmatch(name), LONG.search(phase)
    if said is None or total is None or long is None:
        return ""
    return long[1] if long[2].replace("step", "update") == said[1] else ""


def minimised(name: str, span: Span) -> str:
    """What the one line of minimize in the phase makes small: `loss`, which has no name there."""
    found = re.findall(r"^\s*minimize\s+(?!total\b)(.+?)\s+over\s", around(span), re.MULTILINE)
    if name.casefold() not in LOSSES or len(found) != 1 or len(found[0]) > LONGEST:
        return ""
    return str(found[0]) if name not in found[0].split() else ""
