"""How examples are dealt out to the pieces of a division.

Shuffled, examples are taken in the order of `sampling_order.permutation` of the site "split" at
epoch 0, else in that of the file; each piece has the next ones. By class each class is dealt out by
itself: of the m examples of a class a piece with a share p of all gets m p, rounded down, and what
is left of the class goes, one each, to the pieces that lack most, the first among equals. So each
class has in each piece its share within one example.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dln.compiler.plan import Division, site_number
from dln.runtime.readers import sampling_order

Indices = sampling_order.Indices


def dealt(division: Division, labels: NDArray[Any] | None) -> tuple[Indices, Indices]:
    """The order in which examples are dealt out, [n], and the piece that each is in, [n]."""
    sizes = division.sizes
    n = sum(sizes)
    order = sampling_order.file_order(n)
    if division.shuffled:
        order = sampling_order.permutation(n, division.seed, site_number("split"), 0)
    pieces = np.empty(n, np.int64)
    if labels is None or not division.by:
        pieces[order] = np.repeat(np.arange(len(sizes)), sizes)
        return order, pieces
    classes, which, counts = np.unique(labels, return_inverse=True, return_counts=True)
    by_class = order[np.argsort(which[order], kind="stable")]
    stop = 0
    for mine in shared(counts, np.asarray(sizes)):
        start, stop = stop, stop + int(mine.sum())
        pieces[by_class[start:stop]] = np.repeat(np.arange(len(sizes)), mine)
    return order, pieces


def shared(counts: NDArray[Any], sizes: NDArray[Any]) -> NDArray[np.int64]:
    """[classes, pieces]: how many of the `counts` examples of each class go to each of the `sizes`
    pieces, every one of them its share within one example.

    That it comes out is the theorem of Gale and Ryser: a class whose rest goes to the pieces that
    lack most leaves a rest that comes out.

    >>> shared(np.array([5, 3, 2]), np.array([6, 4])).tolist()
    [[3, 2], [2, 1], [1, 1]]
    """
    n = max(1, int(sizes.sum()))
    found: NDArray[np.int64] = counts[:, None].astype(np.int64) * sizes // n
    lack = sizes - found.sum(0)
    for mine, left in zip(found, counts - found.sum(1), strict=True):
        most = np.argsort(-lack, kind="stable")[: int(left)]
        mine[most] += 1
        lack[most] -= 1
    return found
