"""How examples are dealt out to the pieces of a division.

Shuffled, examples are taken in the order of `sampling_order.permutation` of the site "split" at
epoch 0, else in that of the file; each piece has the next ones. By class each class is dealt out by
itself: of the m examples of a class a piece with a share p of all gets m p, rounded down, and what
is left of the class goes, one each, to the pieces that lack most, the first among equals. So each
class has in each piece its share within one example.

Where groups stay together they are taken in the order in which they come in the file, or shuffled,
and each goes as a whole to the piece that lacks the largest share of what it asks for; by class, of
what it asks for of the classes of the group; the first among equals. A piece that has all it asks
for gets nothing while another lacks something, so that without classes none has as much as the
largest group more than it asks for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dln.compiler.plan import Division, GroupedDivision, site_number
from dln.runtime.readers import sampling_order

Indices = sampling_order.Indices


Told = Mapping[str, NDArray[Any]]
"""The values of fields that decide who is in which piece, by name: [n] each."""


def dealt(division: Division, told: Told) -> tuple[Indices, Indices]:
    """The order in which examples are dealt out, [n], and the piece that each is in, [n]."""
    sizes, labels = division.sizes, told.get(division.by)
    n = sum(division.asked_for)
    order = sampling_order.file_order(n)
    if division.shuffled:
        order = sampling_order.permutation(n, division.seed, site_number("split"), 0)
    if isinstance(division, GroupedDivision):
        return order, together(division, told[division.apart], labels)
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


def together(
    division: GroupedDivision, groups: NDArray[Any], labels: NDArray[Any] | None
) -> NDArray[np.int64]:
    """The piece that each example is in, [n], of groups [n] that are not divided, and perhaps of
    classes [n].

    >>> pieces = GroupedDivision(sizes=(), apart="who", wanted=(6, 2))
    >>> together(pieces, np.array([5, 5, 5, 7, 7, 2, 2, 2]), None).tolist()
    [0, 0, 0, 1, 1, 0, 0, 0]
    """
    n = len(groups)
    _, first, which = np.unique(groups, return_index=True, return_inverse=True)
    turns = np.argsort(first, kind="stable")
    if division.shuffled:
        site = site_number("split")
        turns = turns[sampling_order.permutation(len(turns), division.seed, site, 0)]
    classes = np.zeros(n, np.int64) if labels is None else np.unique(labels, return_inverse=True)[1]
    held = np.zeros((len(first), int(classes.max(initial=0)) + 1), np.int64)
    np.add.at(held, (which, classes), 1)
    asked = np.asarray(division.wanted)[:, None] * held.sum(0)  # n times that of each class
    given, found = np.zeros_like(asked), np.empty(len(first), np.int64)
    for group in turns.tolist():
        mine = held[group]
        lack = ((1 - given * n / np.maximum(asked, 1)) * mine).sum(1)
        found[group] = piece = int(np.where(asked.sum(1) > 0, lack, -np.inf).argmax())
        given[piece] += mine
    pieces: NDArray[np.int64] = found[which]
    return pieces


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
