"""Grids of small images: where each stands, and in which greys."""

from __future__ import annotations

from math import ceil, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIDE = 96  # pixels that a tile's longer side is drawn with, or a little less
GAP = 6  # pixels between tiles
ACROSS = 10  # examples side by side, where each has several tiles


def tiled(array: NDArray[Any], band: int = 0) -> tuple[NDArray[Any], list[int]]:
    """The pixels of a grid of tiles from [n, h, w] or [rows, columns, h, w], in 0 to 1, and where
    its rows begin. With a band of k rows [n, k, h, w] are n columns of k tiles, `ACROSS` of them
    side by side and then a band below.

    Each tile has its own range of greys, with 0 in the middle if the numbers of all are of both
    signs; the gaps are white.
    """
    at, signed, times = places(array, band), is_signed(array), enlarged(array)
    h, w = array.shape[-2:]
    high, wide = h * times + GAP, w * times + GAP
    rows, columns = (1 + max(place[i] for place in at) for i in (0, 1))
    tops = [row * high + (2 * GAP * (row // band) if band else 0) for row in range(rows)]
    grid = np.ones((tops[-1] + h * times, columns * wide - GAP))
    for (row, column), tile in zip(at, array.reshape(-1, h, w), strict=True):
        large = np.repeat(np.repeat(greys(tile, signed), times, 0), times, 1)
        left = column * wide
        grid[tops[row] : tops[row] + h * times, left : left + w * times] = large
    return grid, tops


def places(array: NDArray[Any], band: int) -> list[tuple[int, int]]:
    """Row and column of each tile of [n, h, w], or of a stack as `tiled` takes it."""
    if band:
        n, k = array.shape[:2]
        return [(i // ACROSS * band + j, i % ACROSS) for i in range(n) for j in range(k)]
    columns = array.shape[1] if array.ndim == 4 else across(len(array))
    return [divmod(i, columns) for i in range(array.size // (array.shape[-2] * array.shape[-1]))]


def enlarged(array: NDArray[Any]) -> int:
    """How many pixels across a number of a tile [..., h, w] is."""
    side: int = max(*array.shape[-2:], 1)
    return max(1, SIDE // side)


def across(n: int) -> int:
    """Columns for n tiles: a single row of few, else about a square.

    >>> across(6), across(20), across(100)
    (6, 5, 10)
    """
    return n if n <= 8 else ceil(sqrt(n))


def greys(tile: NDArray[Any], signed: bool) -> NDArray[Any]:
    """The numbers of a tile [h, w] from 0 to 1, 0 in the middle if they are signed; what is no
    number is 0."""
    tile = np.nan_to_num(tile, nan=0.0, posinf=0.0, neginf=0.0)
    if signed:
        return np.asarray(tile / (2 * largest(tile)) + 0.5)
    low, high = tile.min(), tile.max()
    return np.asarray((tile - low) / ((high - low) or 1.0))


def is_signed(array: NDArray[Any]) -> bool:
    """Whether numbers, of any shape, go both ways, as weights do: not a background a little below
    0."""
    finite = array[np.isfinite(array)]
    return bool(finite.min(initial=0.0) < -finite.max(initial=0.0) / 4)


def largest(array: NDArray[Any]) -> float:
    """The largest absolute value of an array of any shape, 1 where there is none."""
    finite = np.abs(array[np.isfinite(array)])
    return float(finite.max(initial=0.0)) or 1.0
