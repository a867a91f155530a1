"""Where two sets of results differ by more than rounding does."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dln.bisecting.given import Array, Values
from dln.grammar.record import Record

EXACT, ROUNDED = 1e-12, 1e-9
"""Of the size of a result, what rewrites may change that keep all bits of a value, though those of
its derivatives perhaps not, and what those may that work in another order."""
LOST = 100  # times what the digits lose that a formula cancels


class Deviation(Record):
    """Where a result differs most: at which element, what it was, what it is."""

    output: str
    at: tuple[int, ...]
    before: float
    after: float


def differences(
    before: Values, after: Values, allowed: float, precise: Callable[[], Values]
) -> list[Deviation]:
    """Each result that differs by more than is allowed. Where it is no number before, it is not
    compared.

    `precise` works out what was before in more digits: formulas that cancel are rewritten so that
    they do not, and may then differ by what they had lost.
    """
    common = [k for k in before if k in after]
    found = {k: apart(before[k], after[k], allowed) for k in common}
    if not any(f is not None for f in found.values()):
        return []
    exact = precise()
    kept = {}
    for k, place in found.items():
        if place is not None:
            lost = LOST * spread(before[k], exact[k])
            kept[k] = apart(before[k], after[k], allowed, lost)
    return [difference(k, at, before[k], after[k]) for k, at in kept.items() if at is not None]


def apart(before: Array, after: Array, allowed: float, lost: float = 0.0) -> tuple[int, ...] | None:
    """The element that differs most, if it is too much; () of a single number, or of another
    shape."""
    if before.shape != after.shape:
        return ()
    one, two = (a.astype(float) for a in (before, after))
    fine = np.isfinite(one)
    if not fine.any():
        return None
    size = np.abs(one[fine]).max()
    with np.errstate(invalid="ignore"):
        far = np.where(fine, np.abs(one - two) - allowed * (np.abs(one) + size) - lost, -1.0)
    far = np.where(fine & ~np.isfinite(two), np.inf, far)
    worst = np.unravel_index(int(np.argmax(far)), far.shape)
    return tuple(map(int, worst)) if far[worst] > 0 else None


def spread(one: Array, other: Array) -> float:
    """The most that two arrays differ, where both are numbers."""
    with np.errstate(invalid="ignore", over="ignore"):
        far = np.abs(one.astype(float) - other.astype(float))
    return float(far[np.isfinite(far)].max(initial=0.0))


def difference(output: str, at: tuple[int, ...], before: Array, after: Array) -> Deviation:
    if before.shape != after.shape:
        return Deviation(output, (), float(before.size), float(after.size))
    return Deviation(output, at, float(before[at]), float(after[at]))
