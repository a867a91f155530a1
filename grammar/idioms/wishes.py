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
LOSSES = frozenset("loss cost objective criterion loss_value train_loss l j err".split())
COUNTERS = frozenset("t k i step iteration it".split())
LONGEST = 60  # characters of a loss that is written out again


def around(span: Span) -> str:
    """The text of the phase that a place stands in, from its first line."""
    text = f"\n{span.source.text}"
    start = text.rfind("\ntrain ", 0, span.start + 1)
    stop = text.find("\n}", start)
    return text[start:stop] if 0 <= start and stop > span.start else ""


def in_phase(name: str, span: Span) -> str:
    """What is meant in a phase by a name that means nothing there."""
    after = span.source.text[span.stop :]
    if name == "e" and (power := re.match(r"\s*\^\s*(\([^()]*\)|-?\w+)", after)) is not None:
        return f"exp({power[1].strip('()')}), in place of {name}{power[0]}"
    return length(name, span) or clock(name) or minimised(name, span) or found(name, span)


FOUND = re.compile(
    r"(?:y|p|z)?_?(?:hat|pred|preds|prediction|predictions|predicted|output|outputs|logits)|out"
)


def found(name: str, span: Span) -> str:
    """What `y_hat` or `logits` is: the one net of the spec, of the field x."""
    nets = re.findall(r"^let\s+(\w+)\s*=", span.source.text, re.MULTILINE)
    there = [n for n in nets if re.search(rf"\bover\s[^\n]*\b{n}\b", around(span))]
    if not FOUND.fullmatch(name.casefold()) or len(there) != 1:
        return ""
    return f"{there[0]}(x)"


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


def as_index(name: str, span: Span) -> tuple[str, ...]:
    """How a letter gets a meaning that stands in an index."""
    before, after = span.source.text[: span.start], span.source.text[span.stop :]
    taken = re.search(r"\b(arg\w+|softmax|sum|max|min)\(\s*(\w+)\[\s*$", before)
    if taken is not None and re.match(r"\s*\]\s*\)", after):
        return (f"{taken[1]}({taken[2]}) is of all of {taken[2]}, without an index",)
    if not re.fullmatch(r"[a-z]", name) or not _in_index(span):
        return ()
    line = span.source.line(span.line)
    alone = re.match(r"\s*([A-Za-z]\w*)\s*=(?!=)", line)
    bound = re.search(r"\b(?:sum|mean|max|min)\(\s*(\w+)[^:()]*:", line[: span.column])
    used = bound is not None and re.search(rf"\b{bound[1]}\b", line[bound.end() :])
    head = span.source.text[: span.start].rpartition("block ")[2].partition("\n")[0]
    if alone is not None and used and f"{alone[1]}[" in head.partition("->")[2]:
        return (f"an index of the result stands behind its name: {alone[1]}[{name}] = ...",)
    whole = f"sum({name}: W[i, {name}] * x[{name}])"
    return (f"an index that is summed over is bound first: {whole}",)


def _in_index(span: Span) -> bool:
    """Whether a name stands alone in an index."""
    text = span.source.text
    return text[: span.start].rstrip()[-1:] in "[," and text[span.stop :].lstrip()[:1] in "],"


LENGTHS = frozenset("t len length steps n_steps seq_len n count".split())


def divisor(name: str, span: Span) -> tuple[str, ...]:
    """What `sum(t: x[t]) / T` is."""
    before = span.source.text[: span.start].rstrip()
    summed = re.search(r"\bsum\(\s*(\w+)\s*:[^\n]*\)\s*/$", before)
    if summed is None or name.casefold() not in LENGTHS:
        return ()
    return (
        "a sum by how many there are is a mean: mean(time: x) over the steps, else mean(i: x[i])",
    )


def how_often(span: Span) -> tuple[str, ...]:
    """What a number behind `every` is."""
    if not re.search(r"\bevery\s+$", span.source.text[: span.start]):
        return ()
    return ("how often is a whole number: every 1 epoch, or every 500 updates",)


def stands(name: str, span: Span) -> tuple[str, ...]:
    """How a name gets a meaning, by what stands around it."""
    option = re.search(r"\bwith\s+\w+\([^\n]*$", span.source.text[: span.start])
    if option is not None and name in COUNTERS and around(span):
        return ("what counts in a phase is update, from 0, epoch, and progress, from 0 to 1",)
    of = re.search(r"(\w+)\[\s*$", span.source.text[: span.start])
    if of is not None and name in ("time", "T", "last", "end"):
        return (f"the last element of a sequence is last({of[1]})",)
    return as_index(name, span) or how_often(span) or divisor(name, span)


def of_data(name: str, span: Span) -> str:
    """`petal_length`, in a data set that is read from a file: a column of it."""
    before = f"\n{span.source.text[: span.start]}"
    head = before[before.rfind("\ndata ") :] if "\ndata " in before else ""
    read = re.match(r"\ndata\s+\w+\s*=\s*(?:table|npz|rows|images)\(", head)
    return f"raw.{name}" if read and "\n}" not in head and "=" in head.rpartition("\n")[2] else ""
