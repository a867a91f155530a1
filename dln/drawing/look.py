"""How each kind of box looks: colours that go with print and projectors."""

from __future__ import annotations

from typing import NamedTuple

from dln.drawing.scene import BoxKind

FONT = "DejaVu Sans, Verdana, Helvetica, Arial, sans-serif"
MONO = "DejaVu Sans Mono, Menlo, Consolas, monospace"
INK, QUIET, ARROW = "#222222", "#555555", "#666666"


class Look(NamedTuple):
    fill: str
    edge: str
    round: float = 6.0
    dashed: bool = False


LOOKS: dict[BoxKind, Look] = {
    "data": Look("#e6f0f9", "#6f9ec8"),
    "draw": Look("#ffffff", "#999999", 11.0, True),
    "port": Look("#eeeeee", "#eeeeee", 11.0),
    "result": Look("#eeeeee", "#eeeeee", 11.0),
    "block": Look("#ffffff", "#777777"),
    "group": Look("#f8f8f6", "#aaaaaa", 10.0),
    "equation": Look("#fffbe8", "#c8b45f"),
    "loop": Look("#edf6ed", "#74a874"),
    "operation": Look("#ffffff", "#777777", 11.0),
    "units": Look("#f1ecf9", "#9480c0"),
    "phase": Look("#fdf0e2", "#d29a55"),
}
