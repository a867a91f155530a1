"""A laid-out scene as SVG, written without any library."""

from __future__ import annotations

from collections.abc import Iterator
from xml.sax.saxutils import escape, quoteattr

from dln.drawing.layout import (
    BEHIND,
    HIGH,
    LABEL,
    SIZES,
    Placed,
    PlacedArrow,
    PlacedBox,
    line_width,
    titled,
)
from dln.drawing.look import ARROW, FONT, INK, LOOKS, MONO, QUIET
from dln.drawing.scene import TextLine


def svg(placed: Placed) -> str:
    """The text of an SVG file."""
    w, h = f"{placed.w:.0f}", f"{placed.h:.0f}"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{w}" height="{h}" '
    head += f'viewBox="0 0 {w} {h}" font-family={quoteattr(FONT)} fill="{INK}">'
    parts = [head, f'<rect width="{w}" height="{h}" fill="white"/>', *_scene(placed), "</svg>"]
    return "\n".join(parts) + "\n"


def _scene(placed: Placed) -> Iterator[str]:
    for box in placed.boxes:
        yield from _box(box)
    for arrow in placed.arrows:
        yield from _arrow(arrow)


def _box(placed: PlacedBox) -> Iterator[str]:
    look = LOOKS[placed.box.kind]
    dash = ' stroke-dasharray="4 3"' if look.dashed else ""
    for k in (2, 1, 0) if placed.box.times > 1 else (0,):
        x, y = placed.x + k * BEHIND / 2, placed.y + k * BEHIND / 2
        yield (f'<rect x="{x:.1f}" y="{y:.1f}" width="{placed.w:.1f}" height="{placed.h:.1f}" '
               f'rx="{look.round}" fill="{look.fill}" stroke="{look.edge}"{dash}/>')  # fmt: skip
    for x, y, line in text_places(placed):
        size = SIZES[line.style]
        style = f'x="{x:.1f}" y="{y:.1f}" font-size="{size:g}"'
        if line.style == "code":
            style += f' font-family={quoteattr(MONO)} xml:space="preserve"'
            yield f"<text {style}>{escape(line.text)}</text>"
            continue
        weight = ' font-weight="bold"' if line.style == "title" else f' fill="{QUIET}"'
        yield f'<text {style} text-anchor="middle"{weight}>{escape(line.text)}</text>'
    if placed.inside is not None:
        yield from _scene(placed.inside)


def text_places(placed: PlacedBox) -> Iterator[tuple[float, float, TextLine]]:
    """Each line of a box with its place: the middle of a text, the beginning of code."""
    lines = titled(placed.box)
    y = placed.y + (10.0 if placed.inside is not None else (placed.h - placed.head) / 2)
    for line in lines:
        y += HIGH[line.style]
        x = placed.x + placed.w / 2
        if line.style == "code":
            wide = max(line_width(other) for other in lines if other.style == "code")
            x -= wide / 2  # equations stand below one another
        yield x, y - 0.3 * HIGH[line.style], line


def _arrow(placed: PlacedArrow) -> Iterator[str]:
    (x, y), *rest = placed.points
    pieces = [rest[i : i + 3] for i in range(0, len(rest), 3)]
    path = f"M{x:.1f},{y:.1f}" + "".join(
        " C" + " ".join(f"{a:.1f},{b:.1f}" for a, b in piece) for piece in pieces
    )
    yield f'<path d="{path}" fill="none" stroke="{ARROW}" stroke-width="1.4"/>'
    if placed.arrow.kind != "join":
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in head_of(placed))
        yield f'<polygon points="{points}" fill="{ARROW}"/>'
    if placed.arrow.label:
        x, y = placed.label_at
        halo = 'stroke="white" stroke-width="3" paint-order="stroke"'
        yield (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{LABEL:g}" fill="{QUIET}" {halo}>'
               f"{escape(placed.arrow.label)}</text>")  # fmt: skip


def head_of(placed: PlacedArrow) -> list[tuple[float, float]]:
    """The three corners of an arrow's head."""
    (x1, y1), (x0, y0) = placed.points[-1], placed.points[-2]
    dx, dy = x1 - x0, y1 - y0
    length = (dx * dx + dy * dy) ** 0.5 or 1.0
    ux, uy = dx / length, dy / length
    back = (x1 - 8 * ux, y1 - 8 * uy)
    return [
        (x1, y1),
        (back[0] - 3.6 * uy, back[1] + 3.6 * ux),
        (back[0] + 3.6 * uy, back[1] - 3.6 * ux),
    ]
