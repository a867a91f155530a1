"""Drawings in a spec as numbers: `marks("...")` for tables, `glyphs("file")` for bitmaps."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NoReturn

from dln.compiler.frontend.context.build_context import Build, Value
from dln.compiler.frontend.context.values import TEXT, unfit
from dln.grammar.diagnostics import DlnError, Fault, Note, Problem, Source, Span

MARKS = {"X": 1, "#": 1, "1": 1, ".": 0, "0": 0}
INK = {"#": 1, ".": -1}


def marks(b: Build, span: Span, text: Value) -> list[list[int]]:
    """A drawn table as rows of 0 and 1: `X`, `#` or `1` is a mark, `.` or `0` is none."""
    if not isinstance(text, str):
        unfit(b, "E302", "marks takes a text", b.blame(text, span), text, TEXT)
    at = b.blame(text, span)
    places = [(m.group(), m.start()) for m in re.finditer(r"\S.*\S|\S", text)]
    rows = [row for row, _ in places]
    if not rows:
        b.fail("E219", "a table of marks has no rows", at, "is empty")
    for number, (row, start) in enumerate(places):
        wrong = next((c for c in row if c not in MARKS), None)
        if wrong is not None:
            message, label = "a table of marks is drawn with X and .", f'holds "{wrong}"'
        elif len(row) != len(rows[0]):
            message = "the rows of a table of marks are of one length"
            label = f"row {number} has {len(row)} marks, row 0 has {len(rows[0])}"
        else:
            continue
        if (first := at.source.text.find(text)) >= 0:  # else the text is used elsewhere
            at = Span(at.source, first + start, first + start + len(row))
        b.fail("E219", message, at, label)
    return [[MARKS[c] for c in row] for row in rows]


# ---- bitmaps from a file -----------------------------------------------------------------------


def glyphs(b: Build, span: Span, name: Value) -> list[list[int]]:
    """The bitmaps drawn in a text file, each as one row of +1 (`#`) and -1 (`.`).

    Bitmaps stand side by side, parted by blanks, or below each other, parted by an empty line; all
    are of one size and are read row by row.
    """
    if not isinstance(name, str):
        unfit(b, "E302", "glyphs takes a file name", b.blame(name, span), name, TEXT)
    try:
        source = b.outside.text_file(name, str(Path(span.source.path).resolve().parent))
    except Fault as fault:
        raise fault.at(b.blame(name, span)) from None
    b.built.drawings[source.path] = source
    found = [bitmap for band in _bands(source) for bitmap in _side_by_side(band, span)]
    if not found:
        b.fail("E219", f'"{name}" holds no bitmaps', b.blame(name, span), "is empty")
    for at, drawn in found:
        height, width = len(found[0][1]), len(found[0][1][0])
        if (len(drawn), len(drawn[0])) != (height, width):
            label = f"{len(drawn)} x {len(drawn[0])} begins here, the first is {height} x {width}"
            _wrong("the bitmaps of a file are of one size", at, label, span)
    return [[INK[c] for row in drawn for c in row] for _, drawn in found]


def _bands(source: Source) -> list[list[Span]]:
    """The lines of a file in stretches between empty ones."""
    bands: list[list[Span]] = [[]]
    start = 0
    for line in source.text.splitlines(keepends=True):
        if line.strip():
            bands[-1].append(Span(source, start, start + len(line.rstrip())))
        elif bands[-1]:
            bands.append([])
        start += len(line)
    return [band for band in bands if band]


def _side_by_side(band: list[Span], used: Span) -> list[tuple[Span, list[str]]]:
    """The bitmaps of a stretch of lines, each with the place of its first row."""
    rows = [line.text.split() for line in band]
    for line, words in zip(band, rows, strict=True):
        wrong = next((c for word in words for c in word if c not in INK), None)
        if wrong is not None:
            _wrong("a bitmap is drawn with # and .", line, f'holds "{wrong}"', used)
        widths, first = (" ".join(str(len(w)) for w in row) for row in (words, rows[0]))
        if widths != first:
            label = f"widths {widths}, above it {first}"
            _wrong("the lines of a bitmap are of one width", line, label, used)
    return [(band[0], list(column)) for column in zip(*rows, strict=True)]


def _wrong(message: str, at: Span, label: str, used: Span) -> NoReturn:
    """A fault inside a file of drawings, and where the spec reads it."""
    raise DlnError([Problem("E219", message, at, label, (Note(used, "is read here"),))])
