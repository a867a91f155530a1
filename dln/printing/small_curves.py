"""Small curves drawn with characters: braille dots, or full stops where a terminal has none.

Plain text of a given width and height, without colours or escape codes: the same for a terminal, a
pipe and a test.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple, TextIO

Points = Sequence[tuple[float, float]]
"""Places and values, in the order of the places."""

LEAST, MOST = 24, 100  # characters of a curve, its scale included
HIGH = 6  # lines of a curve
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bits of a braille character, row by row: two dots across, four down."""


class Pen(NamedTuple):
    """How a line of characters is made of dots: so many in each, across and down."""

    across: int
    down: int

    def character(self, dots: int) -> str:
        if self.down == len(DOTS):
            return chr(0x2800 + dots) if dots else " "
        return " '.:"[dots]

    def bit(self, x: int, y: int) -> int:
        return DOTS[y][x] if self.down == len(DOTS) else 1 << y


BRAILLE, PLAIN = Pen(2, 4), Pen(1, 2)


def pen_for(stream: TextIO) -> Pen:
    """Braille where a stream can carry it."""
    try:
        "\u28ff".encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeError, LookupError):
        return PLAIN
    return BRAILLE


def drawn(
    title: str, curves: Sequence[Points], axis: str, width: int, high: int = HIGH,
    pen: Pen = BRAILLE,
) -> list[str]:  # fmt: skip
    """Curves over one axis, in lines of at most `width` characters: a title, the largest and the
    least value beside `high` lines of dots, the ends of the axis below. None of it where no value
    is a number."""
    curves = [[(x, y) for x, y in c if math.isfinite(x) and math.isfinite(y)] for c in curves]
    points = [p for c in curves for p in c]
    if not points:
        return []
    (x0, x1), (y0, y1) = (_ends(v) for v in zip(*points, strict=True))
    scale = [f"{y1:.4g}", f"{y0:.4g}"]
    lead = max(map(len, scale))
    across = max(LEAST, min(width, MOST)) - lead - 1
    grid = [[0] * across for _ in range(high)]
    wide, tall = across * pen.across - 1, high * pen.down - 1

    def place(x: float, y: float) -> tuple[int, int]:
        down = (y1 - y) / (y1 - y0) if y1 > y0 else 0.5
        return round((x - x0) / (x1 - x0) * wide) if x1 > x0 else 0, round(down * tall)

    for curve in curves:
        for i, j in _line([place(x, y) for x, y in curve]):
            grid[j // pen.down][i // pen.across] |= pen.bit(i % pen.across, j % pen.down)
    marks = [scale[0], *[""] * (high - 2), scale[1]] if y1 > y0 else [""] * high
    marks[high // 2] = marks[high // 2] if y1 > y0 else scale[0]
    mark = "\u2502" if pen.down == len(DOTS) else "|"
    rows = [f"{m:>{lead}}{mark}{''.join(map(pen.character, row))}".rstrip()
            for m, row in zip(marks, grid, strict=True)]  # fmt: skip
    first, last = (f"{v:,.6g}" for v in (x0, x1))
    below = f"{axis} {first}" if x1 > x0 else f"{axis} {first} alone"
    if x1 > x0:
        below += last.rjust(across - len(below)) if len(below) + len(last) < across else f"..{last}"
    return [f"{'':{lead}} {title}"[:width].rstrip(), *rows, f"{'':{lead}} {below}".rstrip()]


def _ends(values: Sequence[float]) -> tuple[float, float]:
    return min(values), max(values)


def _line(places: Sequence[tuple[int, int]]) -> Sequence[tuple[int, int]]:
    """The dots of a line through places, ends included."""
    found = list(places[:1])
    for (a, b), (c, d) in pairwise(places):
        steps = max(abs(c - a), abs(d - b), 1)
        found += [(a + round((c - a) * k / steps), b + round((d - b) * k / steps))
                  for k in range(1, steps + 1)]  # fmt: skip
    return found


def beside(blocks: Sequence[Sequence[str]], width: int) -> list[str]:
    """Blocks of lines beside one another, each `width` wide."""
    high = max(map(len, blocks), default=0)
    cells = [[*block, *[""] * (high - len(block))] for block in blocks]
    return ["  ".join(c.ljust(width) for c in row).rstrip() for row in zip(*cells, strict=True)]


def several(
    curves: Mapping[str, Sequence[Points]], axis: str, width: int, pen: Pen = BRAILLE
) -> list[str]:
    """What is watched, by its title, up to three beside one another as far as they fit, in lines
    of at most `width` characters; the rest below."""
    many = max(1, min(len(curves), 3, (width + 2) // (LEAST + 10)))
    each = max(LEAST, min(MOST, (width - 2 * (many - 1)) // many))
    blocks = [drawn(title, c, axis, each, pen=pen) for title, c in curves.items()]
    blocks = [b for b in blocks if b]
    lines = [beside(blocks[i : i + many], each) for i in range(0, len(blocks), many)]
    return [line for block in lines for line in block]
