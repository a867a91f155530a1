"""The order of examples, as pure functions of (seed, site, epoch).

Bits come from NumPy's Philox4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2,
3", SC 2011) by `random_raw`, the part of NumPy's generators whose stream is promised to stay
(NEP 19); the conversions are written here. Key = (seed, 0), counter = (block, epoch, site, 0), so
no generator state is ever saved: any epoch of any run is drawn again from its number.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Indices = NDArray[np.int64]
WORD = (1 << 64) - 1


def words(count: int, seed: int, site: int, epoch: int) -> NDArray[np.uint64]:
    """[count] random 64-bit words; a shorter draw is the head of a longer one."""
    key = np.array([seed & WORD, 0], np.uint64)
    counter = np.array([0, epoch & WORD, site & WORD, 0], np.uint64)
    return np.random.Philox(key=key, counter=counter).random_raw(count)


def unit(count: int, seed: int, site: int, epoch: int) -> NDArray[np.float64]:
    """[count] numbers in [0, 1), multiples of 2^-53: the upper 53 bits of each word."""
    bits = words(count, seed, site, epoch)
    bits >>= np.uint64(11)
    found = bits.astype(np.float64)
    found *= 2.0**-53
    return found


def file_order(n: int) -> Indices:
    """[n]: 0, 1, ..., n - 1, the examples as they lie in the file."""
    return np.arange(n, dtype=np.int64)


def stream(n: int, rows: int) -> Indices:
    """`rows` equal stretches of 0..n-1 side by side: the first of each, the second of each, ....

    What is left over at the end is left out.

    >>> stream(7, 2).tolist()
    [0, 3, 1, 4, 2, 5]
    """
    each = n // rows
    return np.arange(rows * each, dtype=np.int64).reshape(rows, each).T.reshape(-1)


def permutation(n: int, seed: int, site: int, epoch: int) -> Indices:
    """[n]: a uniform shuffle of 0..n-1, the stable order of n random words."""
    return np.argsort(words(n, seed, site, epoch), kind="stable").astype(np.int64, copy=False)


def replacement(n: int, count: int, seed: int, site: int, epoch: int) -> Indices:
    """[count] independent draws from 0..n-1: floor(u n), never n for n below 2^52."""
    return np.floor(unit(count, seed, site, epoch) * n).astype(np.int64)


def balanced(
    labels: ArrayLike, seed: int, site: int, epoch: int, count: int | None = None
) -> Indices:
    """A shuffle of the examples of `labels` [n] in which each class is spread evenly; its first
    `count` examples, or all.

    The j-th of the m examples of a class stands at (j + 1/2) / m of the way. With C classes of
    equal size each run of C examples, counted from the start, holds every class once.
    """
    classes = np.asarray(labels).reshape(-1)
    n = len(classes)
    shuffled = permutation(n, seed, site, epoch)
    _, which, sizes = np.unique(classes[shuffled], return_inverse=True, return_counts=True)
    by_class = np.argsort(which, kind="stable")
    place = np.empty(n, np.int64)
    place[by_class] = np.arange(n) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    way = (2 * place + 1) / (2 * sizes[which])
    # Ties keep the shuffled order, so the classes of a run come in no fixed order.
    return shuffled[np.argsort(way, kind="stable")][:count]


def even(labels: ArrayLike, seed: int, site: int, epoch: int) -> Indices:
    """[n] independent draws from the examples of `labels` [n]: a class of those that occur, each as
    often as the others, then one of its examples."""
    classes = np.asarray(labels).reshape(-1)
    draws = unit(2 * len(classes), seed, site, epoch)
    _, which, sizes = np.unique(classes, return_inverse=True, return_counts=True)
    by_class = np.argsort(which, kind="stable")
    drawn = np.floor(draws[: len(classes)] * len(sizes)).astype(np.int64)
    place = np.floor(draws[len(classes) :] * sizes[drawn]).astype(np.int64)
    found: Indices = by_class[(np.cumsum(sizes) - sizes)[drawn] + place].astype(np.int64)
    return found
