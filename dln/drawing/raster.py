"""A laid-out scene as PNG or PDF, with the shapes of `pictures`."""

from __future__ import annotations

from typing import Any

from dln.drawing.layout import BEHIND, LABEL, SIZES, Placed, PlacedArrow, PlacedBox
from dln.drawing.look import ARROW, INK, LOOKS, QUIET
from dln.drawing.svg import head_of, text_places
from dln.printing import pictures

POINT = 72.0


def drawn(placed: Placed, kind: str) -> bytes:
    """The bytes of a .png or .pdf file."""
    return pictures.of_canvas(
        placed.w / POINT, placed.h / POINT, kind, lambda axes, shapes: _all(axes, shapes, placed)
    )


def _all(axes: Any, shapes: Any, placed: Placed) -> None:
    axes.set_xlim(0, placed.w)
    axes.set_ylim(placed.h, 0)
    _scene(axes, shapes, placed, 0)


def _scene(axes: Any, shapes: Any, placed: Placed, depth: int) -> None:
    for box in placed.boxes:
        _box(axes, shapes, box, depth)
    for arrow in placed.arrows:
        _arrow(axes, shapes, arrow, depth)


def _box(axes: Any, shapes: Any, placed: PlacedBox, depth: int) -> None:
    look = LOOKS[placed.box.kind]
    for k in (2, 1, 0) if placed.box.times > 1 else (0,):
        at = (placed.x + k * BEHIND / 2, placed.y + k * BEHIND / 2)
        style = f"round,pad=0,rounding_size={look.round}"
        axes.add_patch(shapes.FancyBboxPatch(
            at, placed.w, placed.h, boxstyle=style, facecolor=look.fill, edgecolor=look.edge,
            linewidth=1.0, linestyle=(0, (4, 3)) if look.dashed else "-", zorder=depth,
        ))  # fmt: skip
    for x, y, line in text_places(placed):
        code, title = line.style == "code", line.style == "title"
        axes.text(x, y, line.text, fontsize=SIZES[line.style], ha="left" if code else "center",
                  va="baseline", color=INK if title or code else QUIET, zorder=depth + 0.6,
                  family="monospace" if code else "sans-serif",
                  weight="bold" if title else "normal")  # fmt: skip
    if placed.inside is not None:
        _scene(axes, shapes, placed.inside, depth + 1)


def _arrow(axes: Any, shapes: Any, placed: PlacedArrow, depth: int) -> None:
    path = shapes.Path
    codes = [path.MOVETO, *[path.CURVE4] * (len(placed.points) - 1)]
    line = {"facecolor": "none", "edgecolor": ARROW, "linewidth": 1.4, "zorder": depth + 0.5}
    axes.add_patch(shapes.PathPatch(path(placed.points, codes), **line))
    if placed.arrow.kind != "join":
        axes.add_patch(
            shapes.Polygon(head_of(placed), color=ARROW, linewidth=0, zorder=depth + 0.5)
        )
    if placed.arrow.label:
        x, y = placed.label_at
        behind = {"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.7}
        axes.text(x, y, placed.arrow.label, fontsize=LABEL, color=QUIET, zorder=depth + 0.7,
                  bbox=behind)  # fmt: skip
