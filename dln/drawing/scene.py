"""What a picture of a network shows: boxes with lines of text, arrows between them, boxes inside.

Nothing here says where anything stands: that is `layout`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

BoxKind = Literal[
    "data", "port", "result", "block", "group", "equation", "loop", "operation", "units", "phase",
    "draw",
]  # fmt: skip
ArrowKind = Literal["flow", "back", "join"]
"""Data flows; it comes back in the next step; units that are joined, both ways."""


@dataclass(frozen=True)
class TextLine:
    """A line of text in a box: its title, a fact, or an equation."""

    text: str
    style: Literal["title", "fact", "code"] = "fact"


@dataclass(frozen=True)
class Box:
    """A thing that is drawn, with a name of its own in its scene; a `group` has a scene inside.
    `times` many alike stand for it, as a stack."""

    id: str
    kind: BoxKind
    lines: tuple[TextLine, ...]
    inside: Scene | None = None
    times: int = 1


@dataclass(frozen=True)
class Arrow:
    """From a box to another of the same scene, or back to itself."""

    start: str
    end: str
    label: str = ""
    kind: ArrowKind = "flow"


@dataclass(frozen=True)
class Scene:
    """Boxes and arrows; both in the order in which the spec has them."""

    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...] = ()
    title: str = ""
    note: str = field(default="", compare=False)

    def all_boxes(self) -> Iterator[Box]:
        """Every box, those inside of others too."""
        for box in self.boxes:
            yield box
            if box.inside is not None:
                yield from box.inside.all_boxes()
