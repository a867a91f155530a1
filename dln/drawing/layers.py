"""Layers of a scene: who stands before whom, in which order along a layer, and where.

After Sugiyama, Tagawa and Toda 1981: cycles are cut, layers follow from the longest way, long
arrows get a place in each layer that they pass, orders along layers are made with few crossings,
places by means of neighbours that keep their distances.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

SWEEPS = 12
NEAR, STRAIGHT = 12.0, 8.0
"""How much an arrow wants to be straight between two boxes next to each other, and in the middle of
its way, where it is 1 at the ends of a long one."""


@dataclass
class Mesh:
    """Nodes by number in layers, with the arrows between neighbouring layers. `first` are the nodes
    of boxes, the rest are places of long arrows; `paths` leads from arrow to its nodes."""

    layers: list[list[int]]
    edges: list[tuple[int, int, float]]
    paths: list[list[int]]
    count: int
    above: dict[int, list[tuple[int, float]]] = field(default_factory=dict)
    below: dict[int, list[tuple[int, float]]] = field(default_factory=dict)


def acyclic(count: int, arrows: Sequence[tuple[int, int]]) -> list[bool]:
    """Which arrows to turn round so that none lead in a circle."""
    out: dict[int, list[int]] = {}
    for i, (a, _) in enumerate(arrows):
        out.setdefault(a, []).append(i)
    state, turned = [0] * count, [False] * len(arrows)

    for start in range(count):
        if state[start]:
            continue
        state[start] = 1
        stack = [(start, iter(out.get(start, ())))]
        while stack:
            node, rest = stack[-1]
            step = next(rest, None)
            if step is None:
                state[node] = 2
                stack.pop()
                continue
            end = arrows[step][1]
            if state[end] == 1:
                turned[step] = True
            elif not state[end]:
                state[end] = 1
                stack.append((end, iter(out.get(end, ()))))
    return turned


def ranks(
    count: int, arrows: Sequence[tuple[int, int]], top: Sequence[int], bottom: Sequence[int]
) -> list[int]:
    """The layer of each node: behind all that flows into it, no earlier than it must be. Those of
    `top` come first, those of `bottom` last."""
    rank, before, after = [0] * count, _by(arrows, 1), _by(arrows, 0)
    order = _sorted(count, arrows)
    for node in order:
        rank[node] = max((rank[a] + 1 for a in before.get(node, ())), default=0)
    for node in reversed(order):
        if node not in top and not before.get(node) and after.get(node):
            rank[node] = min(rank[b] for b in after[node]) - 1
    deepest = max(rank, default=0)
    for node in bottom:
        rank[node] = deepest if all(rank[a] < deepest for a in before.get(node, ())) else rank[node]
    return rank


def _by(arrows: Sequence[tuple[int, int]], side: int) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for arrow in arrows:
        found.setdefault(arrow[side], []).append(arrow[1 - side])
    return found


def _sorted(count: int, arrows: Sequence[tuple[int, int]]) -> list[int]:
    """Nodes, those that flow into others first."""
    waits, after = [0] * count, _by(arrows, 0)
    for _, b in arrows:
        waits[b] += 1
    ready, found = [n for n in range(count) if not waits[n]], list[int]()
    while ready:
        node = ready.pop(0)
        found.append(node)
        for b in after.get(node, ()):
            waits[b] -= 1
            if not waits[b]:
                ready.append(b)
    return found


def mesh(count: int, arrows: Sequence[tuple[int, int]], rank: Sequence[int]) -> Mesh:
    """Nodes in layers, with places for long arrows."""
    layers: list[list[int]] = [[] for _ in range(max(rank, default=0) + 1)]
    for node in range(count):
        layers[rank[node]].append(node)
    edges, paths, fresh = [], [], count
    for a, b in arrows:
        path = [a]
        for layer in range(rank[a] + 1, rank[b]):
            layers[layer].append(fresh)
            path.append(fresh)
            fresh += 1
        path.append(b)
        paths.append(path)
        for x, y in zip(path, path[1:], strict=False):
            long = (x >= count) + (y >= count)
            edges.append((x, y, (NEAR, 1.0, STRAIGHT)[long]))
    made = Mesh(layers, edges, paths, fresh)
    for x, y, weight in edges:
        made.below.setdefault(x, []).append((y, weight))
        made.above.setdefault(y, []).append((x, weight))
    return made


# ---- orders ------------------------------------------------------------------------------------


def ordered(found: Mesh) -> None:
    """Put the nodes of each layer in an order with few crossings."""
    best, fewest = [list(layer) for layer in found.layers], crossings(found)
    for sweep in range(SWEEPS):
        if not fewest:
            break
        down = sweep % 2 == 0
        order = range(1, len(found.layers)) if down else range(len(found.layers) - 2, -1, -1)
        for i in order:
            fixed = found.layers[i - 1 if down else i + 1]
            place = {node: k for k, node in enumerate(fixed)}
            sides = found.above if down else found.below
            _by_means(found.layers[i], place, sides)
        now = crossings(found)
        if now < fewest:
            best, fewest = [list(layer) for layer in found.layers], now
    found.layers[:] = best


def _by_means(
    layer: list[int], place: Mapping[int, int], sides: Mapping[int, list[tuple[int, float]]]
) -> None:
    """Sort a layer by the mean places of neighbours; who has none stays where he is."""
    means = {n: sum(place[m] for m, _ in near) / len(near) for n in layer if (near := sides.get(n))}
    moving = sorted((n for n in layer if n in means), key=lambda n: means[n])
    rest = iter(moving)
    layer[:] = [next(rest) if n in means else n for n in layer]


def crossings(found: Mesh) -> int:
    """How often arrows cross between neighbouring layers."""
    total = 0
    for upper, lower in zip(found.layers, found.layers[1:], strict=False):
        place = {n: i for i, n in enumerate(lower)}
        ends = [
            place[m]
            for n in upper
            for m, _ in sorted(found.below.get(n, ()), key=lambda e: place[e[0]])
        ]
        total += sum(a > b for i, a in enumerate(ends) for b in ends[i + 1 :])
    return total


# ---- places ------------------------------------------------------------------------------------


def placed(
    found: Mesh, before: Callable[[int], float], behind: Callable[[int], float], gap: float
) -> dict[int, float]:
    """Where each node stands along its layer. A node takes `before` and `behind` it so much; those
    of a layer keep their order and a gap."""
    at: dict[int, float] = {}
    for layer in found.layers:
        x = 0.0
        for node in layer:
            x += before(node)
            at[node] = x
            x += behind(node) + gap
        middle = (x - gap) / 2
        for node in layer:
            at[node] -= middle
    both = {n: [*found.above.get(n, ()), *found.below.get(n, ())] for n in range(found.count)}
    for sweep in range(24):
        sides = (found.above, found.below, both)[sweep % 3 if sweep < 18 else 2]
        order = found.layers if sweep % 2 == 0 else found.layers[::-1]
        for layer in order:
            _settle(layer, at, sides, before, behind, gap)
    return at


def _settle(
    layer: Sequence[int], at: dict[int, float], sides: Mapping[int, Sequence[tuple[int, float]]],
    before: Callable[[int], float], behind: Callable[[int], float], gap: float,
) -> None:  # fmt: skip
    """Move a layer as near as may be to the means of its neighbours (least squares, by pooling
    those that come too close to one another)."""
    pools: list[list[float]] = []  # sum of wishes by weight, weight, how many
    shift, offsets = 0.0, list[float]()
    for i, node in enumerate(layer):
        if i:
            shift += behind(layer[i - 1]) + gap + before(node)
        offsets.append(shift)
        near = sides.get(node, ())
        weight = sum(w for _, w in near)
        wish = sum(at[m] * w for m, w in near) / weight if weight else at[node]
        weight = weight or 0.05
        pools.append([(wish - shift) * weight, weight, 1])
        while len(pools) > 1 and pools[-2][0] / pools[-2][1] > pools[-1][0] / pools[-1][1]:
            last = pools.pop()
            pools[-1] = [a + b for a, b in zip(pools[-1], last, strict=True)]
    i = 0
    for total, weight, many in pools:
        for _ in range(int(many)):
            at[layer[i]] = total / weight + offsets[i]
            i += 1
