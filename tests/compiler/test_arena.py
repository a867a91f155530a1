"""Regions of the arena: apart while both are taken, for any number of examples, and close."""

from __future__ import annotations

from itertools import combinations
from math import inf
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dln.compiler.lower import arena
from dln.compiler.lower.arena import Lease, packed
from dln.compiler.plan import ALIGNMENT, Extent, at, sharing, slot_offsets

DRAWN = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
STEPS = st.integers(0, 12)
EXTENTS = st.tuples(st.integers(0, 3000), st.integers(0, 900), st.integers(0, 3))


@st.composite
def leases(draw: st.DrawFn) -> list[Lease]:
    """Regions of steps, and of steps of a loop that stands in one of them."""
    found = []
    for extent in draw(st.lists(EXTENTS, max_size=14)):
        low, high = sorted((draw(STEPS), draw(STEPS)))
        lead = (draw(st.just(5)),) if draw(st.booleans()) else ()
        found.append(Lease(extent, (*lead, low), (*lead, high, inf)))
    return found


def at_once(a: Lease, b: Lease) -> bool:
    return a.start <= b.stop and b.start <= a.stop


def size(extent: Extent, n: int) -> int:
    return -(-at(extent, n) // ALIGNMENT) * ALIGNMENT


@pytest.mark.parametrize("many", [0, 300], ids=["in order", "largest first"])
@DRAWN
@given(found=leases(), capacity=st.integers(1, 20))
def test_what_is_taken_at_once_is_apart(many: int, found: list[Lease], capacity: int) -> None:
    with pytest.MonkeyPatch.context() as m:
        m.setattr(arena, "MANY", many)
        made = packed(found, capacity)
    program: Any = SimpleNamespace(slots=tuple(made.slots), below=tuple(made.below))
    shared = sharing(program)
    for n in (capacity, 1, 7, 1000):
        offsets = slot_offsets(program, n)
        for i, j in combinations(range(len(found)), 2):
            a, b = made.slot[i], made.slot[j]
            low, high = sorted((a, b), key=lambda k: (offsets[k], k))
            apart = offsets[low] + at(made.slots[low], n) <= offsets[high]
            if at_once(found[i], found[j]):
                assert apart
            assert apart or a == b or shared[a] >> b & 1
        assert all(size(lease.extent, n) + offsets[s] <= offsets[-1] for lease, s in
                   zip(found, made.slot, strict=True))  # fmt: skip


@DRAWN
@given(found=leases(), capacity=st.integers(1, 20))
def test_no_more_is_taken_than_one_after_another(found: list[Lease], capacity: int) -> None:
    made = packed(found, capacity)
    program: Any = SimpleNamespace(slots=tuple(made.slots), below=tuple(made.below))
    alive = [sum(size(b.extent, capacity) for b in found if b.start <= a.start <= b.stop)
             for a in found]  # fmt: skip
    total = sum(size(lease.extent, capacity) for lease in found)
    assert max(alive, default=0) <= slot_offsets(program, capacity)[-1] <= total


def test_small_ones_share_what_a_large_one_leaves() -> None:
    """By hand: one of 8 pieces, then two of 4 each, then one of 2 and one of 6 beside them."""

    def region(pieces: int, low: int, high: int) -> Lease:
        return Lease((pieces * ALIGNMENT, 0), (low,), (high, inf))

    found = [region(8, 0, 0), region(4, 1, 1), region(4, 1, 2), region(2, 2, 3), region(6, 3, 3)]
    made = packed(found, 1)
    program: Any = SimpleNamespace(slots=tuple(made.slots), below=tuple(made.below))
    assert slot_offsets(program, 1)[-1] == 8 * ALIGNMENT
