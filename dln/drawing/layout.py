"""Where everything of a scene stands: pure geometry, in points from the upper left corner."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

from dln.drawing import layers
from dln.drawing.scene import Arrow, Box, Scene, TextLine
from dln.drawing.text_size import width

SIZES = {"title": 14.0, "fact": 12.0, "code": 11.5}
HIGH = {"title": 20.0, "fact": 17.0, "code": 16.5}
PAD, INSET = 12.0, 16.0  # around text; around what is inside of a group
GAP, APART = 30.0, 26.0  # between layers, and along one
LABEL = 11.0
SLOT = 16.0  # between two arrows at one side of a box
BEHIND = 7.0  # of a stack
LOOP = 30.0
MARGIN = 18.0
WANTED = 1.6  # of width to height, on a slide
MIXED = 1.15  # how much nearer to that a picture must be in which arrows go both ways
MANY_LOOSE = 4  # boxes without arrows that stand in rows, from so many on
DEEPEST = 3  # scenes in one another of which each may go its own way

Point = tuple[float, float]
Ways = tuple[bool, ...]
"""Whether arrows go to the right, else down: of a scene, of those inside, and so on."""


@dataclass(frozen=True)
class PlacedBox:
    """A box with its upper left corner and size; `head` is as high as its own text is."""

    box: Box
    x: float
    y: float
    w: float
    h: float
    head: float
    inside: Placed | None = None


@dataclass(frozen=True)
class PlacedArrow:
    """An arrow as cubic curves: a start, then three points for each piece; and where its label
    stands: left end, base line."""

    arrow: Arrow
    points: tuple[Point, ...]
    label_at: Point = (0.0, 0.0)


@dataclass(frozen=True)
class Placed:
    """A scene with its size and all of its places."""

    w: float
    h: float
    boxes: tuple[PlacedBox, ...]
    arrows: tuple[PlacedArrow, ...]

    def moved(self, x: float, y: float) -> Placed:
        boxes = tuple(replace(b, x=b.x + x, y=b.y + y, inside=b.inside and b.inside.moved(x, y))
                      for b in self.boxes)  # fmt: skip
        arrows = tuple(
            PlacedArrow(a.arrow, tuple((p + x, q + y) for p, q in a.points),
                        (a.label_at[0] + x, a.label_at[1] + y))
            for a in self.arrows
        )  # fmt: skip
        return Placed(self.w, self.h, boxes, arrows)

    def all_boxes(self) -> Iterator[PlacedBox]:
        for box in self.boxes:
            yield box
            if box.inside is not None:
                yield from box.inside.all_boxes()

    def all_arrows(self) -> Iterator[PlacedArrow]:
        yield from self.arrows
        for box in self.boxes:
            if box.inside is not None:
                yield from box.inside.all_arrows()


def laid_out(scene: Scene) -> Placed:
    """A scene from top to bottom or from left to right, and what is inside of its boxes in either
    way, whichever is nearest to a slide's shape."""
    found = []
    for ways in product((False, True), repeat=min(depth_of(scene), DEEPEST)):
        placed = _scene(scene, ways)
        off = max(placed.w / placed.h / WANTED, WANTED * placed.h / placed.w)
        found.append((off * (1.0 if len(set(ways)) == 1 else MIXED), placed))
    best = min(found, key=lambda f: f[0])[1]
    return replace(best.moved(MARGIN, MARGIN), w=best.w + 2 * MARGIN, h=best.h + 2 * MARGIN)


def depth_of(scene: Scene) -> int:
    """How many scenes lie in one another."""
    return 1 + max((depth_of(b.inside) for b in scene.boxes if b.inside is not None), default=0)


# ---- boxes -------------------------------------------------------------------------------------


def line_width(line: TextLine) -> float:
    return width(line.text, SIZES[line.style], line.style == "title", line.style == "code")


def titled(box: Box) -> tuple[TextLine, ...]:
    """The lines of a box; of a stack with its number."""
    if box.times == 1 or box.kind == "phase":
        return box.lines
    first = box.lines[0]
    return (replace(first, text=f"{first.text}  \u00d7{box.times}"), *box.lines[1:])


def _sized(box: Box, ways: Ways, least: float) -> tuple[float, float, float, Placed | None]:
    """Width, at least so much, height, the height of its own text, and its inside from its own
    corner."""
    lines = titled(box)
    wide = max(least, max((line_width(line) for line in lines), default=0.0) + 2 * PAD)
    high = sum(HIGH[line.style] for line in lines)
    if box.inside is None:
        slim = box.kind in ("port", "result", "operation", "draw")
        return wide - (PAD if slim else 0), high + (6.0 if slim else 14.0), high, None
    inner = _scene(box.inside, ways[1:] or ways)
    w = max(wide, inner.w + 2 * INSET)
    head = high + 12.0
    moved = inner.moved((w - inner.w) / 2, head + 8.0)
    return w, head + 8.0 + inner.h + INSET, high, moved


# ---- a scene -----------------------------------------------------------------------------------


@dataclass
class _Frame:
    """The measures of a scene in the direction of its flow (`along`) and at right angles to it."""

    across: bool
    boxes: tuple[Box, ...]
    sizes: list[tuple[float, float, float, Placed | None]]
    loops: dict[int, Arrow]
    slots: dict[int, float]

    def along(self, i: int) -> float:
        if i >= len(self.boxes):
            return 0.0
        w, h, *_ = self.sizes[i]
        behind = BEHIND if self.boxes[i].times > 1 else 0.0
        return (w if self.across else h) + behind

    def before(self, i: int) -> float:
        """What a node takes on the near side of its middle, along its layer."""
        if i >= len(self.boxes):
            return SLOT / 2
        w, h, *_ = self.sizes[i]
        loop = LOOP + HIGH["fact"] if self.across and i in self.loops else 0.0
        return max((h if self.across else w) / 2, self.slots.get(i, 0.0)) + loop

    def behind(self, i: int) -> float:
        if i >= len(self.boxes):
            return SLOT / 2
        w, h, *_ = self.sizes[i]
        loop = 0.0
        if not self.across and i in self.loops:
            loop = LOOP + 6.0 + width(self.loops[i].label, LABEL)
        stack = BEHIND if self.boxes[i].times > 1 else 0.0
        return max((h if self.across else w) / 2, self.slots.get(i, 0.0)) + loop + stack


def _scene(scene: Scene, ways: Ways) -> Placed:
    """What is joined by arrows in layers, and boxes without any below that, in rows."""
    ends = {end for a in scene.arrows for end in (a.start, a.end)}
    loose = [box for box in scene.boxes if box.id not in ends]
    if len(loose) < MANY_LOOSE:
        return _layered(scene, ways)
    rest = tuple(box for box in scene.boxes if box.id in ends)
    above = _layered(Scene(rest, scene.arrows), ways) if rest else Placed(0.0, 0.0, (), ())
    shelf = _shelves(loose, ways, above.w)
    below = shelf.moved(0.0, above.h + APART if rest else 0.0)
    w, h = max(above.w, below.w), below.h + (above.h + APART if rest else 0.0)
    return Placed(w, h, (*above.boxes, *below.boxes), above.arrows)


def _shelves(boxes: Sequence[Box], ways: Ways, least: float) -> Placed:
    """Boxes in rows, in their order, about as wide in all as a slide."""
    sizes = [_sized(box, ways, 0.0) for box in boxes]
    area = sum((w + APART) * (h + APART) for w, h, *_ in sizes)
    most = max(least, (area * WANTED) ** 0.5, *(w for w, *_ in sizes))
    made, x, y, high = list[PlacedBox](), 0.0, 0.0, 0.0
    for box, (w, h, head, inside) in zip(boxes, sizes, strict=True):
        behind = BEHIND if box.times > 1 else 0.0
        if x and x + w + behind > most:
            x, y, high = 0.0, y + high + APART, 0.0
        made.append(PlacedBox(box, x, y, w, h, head, inside and inside.moved(x, y)))
        x, high = x + w + behind + APART, max(high, h + behind)
    wide = max(b.x + b.w + (BEHIND if b.box.times > 1 else 0.0) for b in made)
    return Placed(wide, y + high, tuple(made), ())


def _layered(scene: Scene, ways: Ways) -> Placed:
    across = ways[0]
    number = {box.id: i for i, box in enumerate(scene.boxes)}
    flows = [a for a in scene.arrows if a.start != a.end and {a.start, a.end} <= number.keys()]
    pairs = [(number[a.start], number[a.end]) for a in flows]
    turned = layers.acyclic(len(number), pairs)
    ahead = [(b, a) if t else (a, b) for (a, b), t in zip(pairs, turned, strict=True)]
    top = [number[b.id] for b in scene.boxes if b.kind == "port"]
    bottom = [number[b.id] for b in scene.boxes if b.kind == "result"]
    rank = layers.ranks(len(number), ahead, top, bottom)
    found = layers.mesh(len(number), ahead, rank)
    layers.ordered(found)
    slots = _slots(flows, ahead, turned, across)
    least = [0.0 if across else 2 * slots.get(i, 0.0) + SLOT for i in range(len(number))]
    sizes = [_sized(box, ways, w) for box, w in zip(scene.boxes, least, strict=True)]
    loops = {number[a.start]: a for a in scene.arrows if a.start == a.end}
    frame = _Frame(across, scene.boxes, sizes, loops, slots)
    at = layers.placed(found, frame.before, frame.behind, APART)
    return _drawn(scene, frame, found, at, flows, turned)


def _slots(
    flows: Sequence[Arrow], ahead: Sequence[tuple[int, int]], turned: Sequence[bool], across: bool
) -> dict[int, float]:
    """Half of what the labels of the arrows into a box take side by side."""
    found: dict[int, float] = {}
    for arrow, (_, b), back in zip(flows, ahead, turned, strict=True):
        found[b] = found.get(b, 0.0) + _slot(arrow, across or back) / 2
    return found


def _slot(arrow: Arrow, bare: bool) -> float:
    """What an arrow takes at the side of the box that it flows into; its label is on its right."""
    return width(arrow.label, LABEL) + 14.0 if arrow.label and not bare else SLOT


def _bands(
    frame: _Frame, found: layers.Mesh, flows: Sequence[Arrow], rank: dict[int, int]
) -> list[tuple[float, float]]:
    """Where each layer begins and ends along the flow."""
    need = [0.0] * (len(found.layers) + 1)
    for arrow, path in zip(flows, found.paths, strict=True):
        if arrow.label:
            last = rank[path[-1]]
            much = width(arrow.label, LABEL) + 44.0 if frame.across else 46.0
            need[last] = max(need[last], much)
    bands, y = [], 0.0
    for i, layer in enumerate(found.layers):
        y += max(GAP + 10.0 * frame.across, need[i]) if i else 0.0
        thick = max((frame.along(n) for n in layer), default=0.0)
        bands.append((y, y + thick))
        y += thick
    return bands


def _drawn(
    scene: Scene, frame: _Frame, found: layers.Mesh, at: dict[int, float], flows: Sequence[Arrow],
    turned: Sequence[bool],
) -> Placed:  # fmt: skip
    rank = {n: i for i, layer in enumerate(found.layers) for n in layer}
    bands = _bands(frame, found, flows, rank)
    near = min((at[n] - frame.before(n) for n in at), default=0.0)
    far = max((at[n] + frame.behind(n) for n in at), default=0.0)
    boxes = list[PlacedBox]()
    for i, box in enumerate(scene.boxes):
        w, h, head, inside = frame.sizes[i]
        start, end = bands[rank[i]]
        middle = (start + end - frame.along(i)) / 2  # boxes of a layer share their middle
        x, y = (middle, at[i] - near - h / 2) if frame.across else (at[i] - near - w / 2, middle)
        boxes.append(PlacedBox(box, x, y, w, h, head, inside and inside.moved(x, y)))
    spots = _spots(frame, found, at, boxes, near, flows, turned)
    arrows = [
        _route(a, path, back, frame, boxes, at, bands, rank, near, spot)
        for a, path, back, spot in zip(flows, found.paths, turned, spots, strict=True)
    ]
    arrows += [_loop(frame, arrow, boxes[i]) for i, arrow in frame.loops.items()]
    long = bands[-1][1] if bands else 0.0
    w, h = (long, far - near) if frame.across else (far - near, long)
    return Placed(w, h, tuple(boxes), tuple(arrows))


def _spots(
    frame: _Frame, found: layers.Mesh, at: dict[int, float], boxes: Sequence[PlacedBox],
    near: float, flows: Sequence[Arrow], turned: Sequence[bool],
) -> list[tuple[float, float]]:  # fmt: skip
    """Where each arrow leaves its box and meets the other: side by side, in the order of where
    they come from."""
    ends: dict[tuple[int, int], list[tuple[float, int]]] = {}
    for i, path in enumerate(found.paths):
        ends.setdefault((path[0], 0), []).append((at[path[1]], i))
        ends.setdefault((path[-1], 1), []).append((at[path[-2]], i))
    places = [[0.0, 0.0] for _ in found.paths]
    for (node, side), some in ends.items():
        room = boxes[node].h if frame.across else boxes[node].w
        bare = frame.across or not side
        wide = [_slot(flows[i], bare or turned[i]) for _, i in sorted(some)]
        scale = min(1.0, room / (sum(wide) + SLOT))
        place = at[node] - near - sum(wide) * scale / 2
        for (_, i), much in zip(sorted(some), wide, strict=True):
            places[i][side] = place + min(SLOT, much) * scale / 2
            place += much * scale
        if len(some) == 1:
            places[some[0][1]][side] = at[node] - near
    return [(a, b) for a, b in places]


def _route(
    arrow: Arrow, path: Sequence[int], back: bool, frame: _Frame, boxes: Sequence[PlacedBox],
    at: dict[int, float], bands: Sequence[tuple[float, float]], rank: dict[int, int], near: float,
    spots: tuple[float, float],
) -> PlacedArrow:  # fmt: skip
    """An arrow through its places: straight through layers, in curves between them."""
    first, last = boxes[path[0]], boxes[path[-1]]
    leaves = first.x + first.w if frame.across else first.y + first.h
    meets = last.x if frame.across else last.y
    leaves += BEHIND if first.box.times > 1 else 0.0
    out, into = spots
    if len(path) == 2 and abs(out - into) < 3.0:
        out = into  # as good as straight
    stops = [(out, leaves), (out, max(leaves, bands[rank[path[0]]][1]))]
    for node in path[1:-1]:
        place = at[node] - near
        stops += [(place, bands[rank[node]][0]), (place, bands[rank[node]][1])]
    begins = min(meets, bands[rank[path[-1]]][0])
    if arrow.label and arrow.kind != "join":  # beside the label it is straight
        begins -= width(arrow.label, LABEL) + 14.0 if frame.across else 18.0
    stops += [(into, begins), (into, meets)]
    stops = [s for i, s in enumerate(stops) if i == 0 or max(
        abs(s[0] - stops[i - 1][0]), abs(s[1] - stops[i - 1][1])) > 0.5]  # fmt: skip
    points = [stops[0]]
    for (x0, y0), (x1, y1) in zip(stops, stops[1:], strict=False):
        middle = (y0 + y1) / 2
        points += [(x0, middle), (x1, middle), (x1, y1)]
    x, y = stops[-1]
    label_at = (x + 6.0, y - 10.0)
    if frame.across:
        points = [(q, p) for p, q in points]
        label_at = (y - 12.0 - width(arrow.label, LABEL), x - 5.0)
    if arrow.kind == "join":
        (x0, y0), (x1, y1) = points[0], points[-1]
        label_at = ((x0 + x1) / 2 + 7.0, (y0 + y1) / 2 + 4.0)
        if frame.across:
            label_at = ((x0 + x1 - width(arrow.label, LABEL)) / 2, (y0 + y1) / 2 - 6.0)
    return PlacedArrow(arrow, tuple(points[::-1] if back else points), label_at)


def _loop(frame: _Frame, arrow: Arrow, box: PlacedBox) -> PlacedArrow:
    """An arrow from a box back to itself: at its right side, or on top where all flows to the
    right."""
    if frame.across:
        x, out = box.x + box.w / 2, box.y - LOOP
        reach = min(34.0, box.w / 3)
        points = ((x + reach, box.y), (x + reach, out), (x - reach, out), (x - reach, box.y))
        return PlacedArrow(arrow, points, (x - width(arrow.label, LABEL) / 2, out + 2.0))
    y, edge = box.y + box.h / 2, box.x + box.w
    reach, out = min(24.0, box.h / 3), box.x + box.w + LOOP
    points = ((edge, y + reach), (out, y + reach), (out, y - reach), (edge, y - reach))
    return PlacedArrow(arrow, points, (edge + LOOP - 4.0, y + 4.0))
