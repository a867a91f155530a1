"""Where what lives for a part of a run lies in the arena.

A region of memory is taken for a time. Regions are packed for the nominal number of examples. Sizes
grow with that number, and what fits for one number need not for another; so what is kept of the
packing is which regions lie below which. Of two that live at one time one lies below the other,
through others perhaps, and that holds for any number.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from dln.compiler.plan import ALIGNMENT, Extent, at

MANY = 300
"""Regions beyond which the largest are not put first (it takes quadratic time)."""

NEAR = 1.02
"""What is so near to what is taken at one time is not made better."""

Moment = tuple[float, ...]
"""A step, and behind it, in a loop, a step of that: the whole of step i is (i,) to (i, inf)."""


@dataclass
class Lease:
    """A region of memory: its bytes, and from when to when it is taken."""

    extent: Extent
    start: Moment
    stop: Moment = (inf,)


@dataclass(frozen=True)
class Packed:
    """The slot of each region, how large each slot is, and which slots lie `below` it."""

    slot: Sequence[int]
    slots: Sequence[Extent]
    below: Sequence[tuple[int, ...]]


def packed(leases: Sequence[Lease], capacity: int) -> Packed:
    """Slots for regions, laid out for so many examples. Regions of one size in one place share a
    slot."""
    sizes = [-(-at(lease.extent, capacity) // ALIGNMENT) * ALIGNMENT for lease in leases]
    starts = closest(leases, sizes)
    places = sorted({(start, lease.extent) for start, lease in zip(starts, leases, strict=True)})
    number = {place: i for i, place in enumerate(places)}
    slot = [number[start, lease.extent] for start, lease in zip(starts, leases, strict=True)]
    below: list[set[int]] = [set() for _ in places]
    for lower, upper in neighbours(leases, slot):
        below[upper].add(lower)
    return Packed(slot, [extent for _, extent in places], [tuple(sorted(s)) for s in below])


def closest(leases: Sequence[Lease], sizes: Sequence[int]) -> list[int]:
    """Where regions begin, by the way that takes least; the first that leaves next to nothing."""
    best, ends = in_order(leases, sizes), inf
    ways = (by_size, by_size_and_time, by_breadth) if len(leases) <= MANY else ()
    least = alive_at_once(leases, sizes) * NEAR
    for way in (None, *ways):
        starts = one_by_one(leases, sizes, way(leases, sizes)) if way else best
        reached = max(map(sum, zip(starts, sizes, strict=True)), default=0)
        if reached < ends:
            best, ends = starts, reached
        if ends <= least:
            break
    return best


def events(leases: Sequence[Lease]) -> list[tuple[Moment, int, int]]:
    """When regions are taken (1) and given back (0), in order: what is given back at a moment may
    not be taken in it."""
    taken = [(lease.start, 0, i) for i, lease in enumerate(leases)]
    return sorted([*taken, *((lease.stop, 1, i) for i, lease in enumerate(leases))])


def in_order(leases: Sequence[Lease], sizes: Sequence[int]) -> list[int]:
    """Where regions begin that are taken and given back one after another: each in the smallest gap
    that holds it, else at the end."""
    starts = [0] * len(leases)
    gaps: list[tuple[int, int]] = []  # where they begin and end, in order
    top = 0
    for _, over, i in events(leases):
        size = sizes[i]
        if over:
            low, high = starts[i], starts[i] + size
            k = bisect_left(gaps, (low, low))
            if k < len(gaps) and gaps[k][0] == high:
                high = gaps.pop(k)[1]
            if k > 0 and gaps[k - 1][1] == low:
                low = gaps.pop(k - 1)[0]
            if high == top:
                top = low
            elif high > low:
                insort(gaps, (low, high))
            continue
        fitting = [(high - low, low) for low, high in gaps if high - low >= size]
        if fitting:
            room, starts[i] = min(fitting)
            gaps.remove((starts[i], starts[i] + room))
            if room > size:
                insort(gaps, (starts[i] + size, starts[i] + room))
        else:
            starts[i] = top
            top += size
    return starts


def alive_at_once(leases: Sequence[Lease], sizes: Sequence[int]) -> int:
    """The most bytes that are taken at one time: less cannot do."""
    now = most = 0
    for _, over, i in events(leases):
        now += -sizes[i] if over else sizes[i]
        most = max(most, now)
    return most


def by_size(leases: Sequence[Lease], sizes: Sequence[int]) -> list[int]:
    """The largest first."""
    return sorted(range(len(leases)), key=lambda i: (-sizes[i], leases[i].start, i))


def by_size_and_time(leases: Sequence[Lease], sizes: Sequence[int]) -> list[int]:
    """First those that are large for long."""
    place = {moment: k for k, (moment, *_) in enumerate(events(leases))}
    weight = [size * (place[lease.stop] - place[lease.start]) for lease, size in
              zip(leases, sizes, strict=True)]  # fmt: skip
    return sorted(range(len(leases)), key=lambda i: (-weight[i], leases[i].start, i))


def by_breadth(leases: Sequence[Lease], sizes: Sequence[int]) -> list[int]:
    """First those of the time at which most is taken, the largest of them first."""
    alive: dict[int, None] = {}
    now, broad = 0, [0] * len(leases)
    for _, over, i in events(leases):
        now += -sizes[i] if over else sizes[i]
        if over:
            del alive[i]
        else:
            alive[i] = None
            for k in alive:
                broad[k] = max(broad[k], now)
    return sorted(range(len(leases)), key=lambda i: (-broad[i], -sizes[i], leases[i].start, i))


def one_by_one(leases: Sequence[Lease], sizes: Sequence[int], order: Sequence[int]) -> list[int]:
    """Where regions begin that are placed in an order, each in the smallest gap among those of its
    time."""
    starts = [0] * len(leases)
    done: list[tuple[int, int, int]] = []  # where they begin and end, in order
    for i in order:
        size, mine, free = sizes[i], leases[i], 0
        best: tuple[float, int] | None = None
        for low, high, other in done:
            if leases[other].start > mine.stop or leases[other].stop < mine.start:
                continue
            if low - free >= size and (best is None or low - free < best[0]):
                best = low - free, free
            free = max(free, high)
        starts[i] = free if best is None else best[1]
        insort(done, (starts[i], starts[i] + size, i))
    return starts


def neighbours(leases: Sequence[Lease], slot: Sequence[int]) -> set[tuple[int, int]]:
    """Pairs of slots of which, at some time, the one lay directly below the other."""
    alive: list[int] = []  # slots in the order of their places
    found = set[tuple[int, int]]()
    for _, over, i in events(leases):
        k = bisect_left(alive, slot[i])
        if over:
            alive.pop(k)
        else:
            alive.insert(k, slot[i])
        # The one that came with both beside it, or those that are beside each other now.
        around = alive[max(k - 1, 0) : k + (1 if over else 2)]
        found.update((a, b) for a, b in zip(around, around[1:], strict=False) if a != b)
    return found
