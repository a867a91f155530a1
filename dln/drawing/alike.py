"""What is alike in a spec stands in one box: phases that are fed alike, instances in lists."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from dln.drawing.scene import Arrow, Box, Scene, TextLine

INDEXED = re.compile(r"(.*)\[(\d+)\]")


def shortened(names: Sequence[str]) -> list[str]:
    """`net, ten[0..9]` for a list of names.

    >>> shortened(["net", "ten[0]", "ten[1]", "ten[2]", "a[1]"])
    ['net', 'ten[0..2]', 'a[1]']
    """
    found: dict[str, list[int]] = {}
    for name in names:
        said = INDEXED.fullmatch(name)
        found.setdefault(said[1] if said else name, []).extend([int(said[2])] if said else [])
    made = []
    for base, numbers in found.items():
        row = len(numbers) > 1 and numbers == list(range(numbers[0], numbers[-1] + 1))
        if row:
            made.append(f"{base}[{numbers[0]}..{numbers[-1]}]")
        else:
            made += [f"{base}[{n}]" for n in numbers] or [base]
    return made


def phases_merged(scene: Scene, phases: Sequence[Box]) -> Scene:
    """Phases that are fed alike and train the same, in one box with all of their names."""
    fed: dict[object, list[Box]] = {}
    for box in phases:
        arrows = tuple((a.start, a.label) for a in scene.arrows if a.end == box.id)
        trains = tuple(line.text for line in box.lines if line.text.startswith("trains "))
        fed.setdefault((arrows, trains), []).append(box)
    merged = {box.id: same[0] for same in fed.values() for box in same[1:]}
    ones = {same[0].id: _one_of(same) for same in fed.values() if len(same) > 1}
    boxes = (ones.get(box.id, box) for box in scene.boxes if box.id not in merged)
    return Scene(tuple(boxes), tuple(a for a in scene.arrows if a.end not in merged))


def _one_of(boxes: Sequence[Box]) -> Box:
    """One box for several phases: their names, and what they have in common."""
    names = shortened([b.lines[0].text for b in boxes])
    common = [line for line in boxes[0].lines[1:] if all(line in b.lines for b in boxes)]
    title = ", ".join(names) if len(names) <= 3 else f"{names[0]} ... {names[-1]}"
    return Box(boxes[0].id, "phase", (TextLine(title, "title"), *common), times=len(boxes))


def lists_merged(scene: Scene, merged: Mapping[str, str]) -> Scene:
    """Instances of one list that are the same inside, and are fed and read alike, as one stack."""
    rows: dict[object, list[str]] = {}
    for box in scene.boxes:
        said = INDEXED.fullmatch(box.id)
        if said is not None and box.kind in ("block", "group"):
            first = merged.get(box.id, box.id)
            rows.setdefault((said[1], first, *_around(scene.arrows, box.id)), []).append(box.id)
    gone = {name: row[0] for row in rows.values() for name in row[1:]}
    boxes = []
    for box in scene.boxes:
        row = next((r for r in rows.values() if r[0] == box.id), [box.id])
        if box.id not in gone:
            boxes.append(box if len(row) == 1 else _stack(box, row))
    kept = (a for a in scene.arrows if a.start not in gone and a.end not in gone)
    return Scene(tuple(boxes), tuple(kept))


def _around(arrows: Iterable[Arrow], name: str) -> tuple[object, object]:
    into = frozenset((a.start, a.label) for a in arrows if a.end == name)
    return into, frozenset((a.end, a.label) for a in arrows if a.start == name)


def _stack(box: Box, row: Sequence[str]) -> Box:
    title = box.lines[0].text.replace(row[0], ", ".join(shortened(row)))
    return Box(box.id, box.kind, (TextLine(title, "title"), *box.lines[1:]), box.inside, len(row))
