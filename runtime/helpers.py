"""The helpers that generated programs call.

Each function is copied as text into a program that stands alone, so each is self-contained, leans
on NumPy alone (as `np`) and works on arrays. Draws are pure functions of (seed, site, update,
element): Philox4x64-10 with key (seed, 0) and counter (block, update, site, 0); NumPy counts the
block up before it is used, so the first one is number 1. A draw of k numbers is the head of any
longer draw, so a short last batch sees what it would have seen in a full one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def uniform(out: NDArray[Any], seed: int, site: int, update: int) -> None:
    """Fill `out` (C-contiguous, float32 or float64) with numbers in [0, 1), in place.

    float32: element i is 24 bits of 32-bit word i (the low half of each 64-bit word first) times
    2^-24. float64: 53 bits of 64-bit word i times 2^-53.
    """
    key = np.array([seed % 2**64, 0], np.uint64)
    counter = np.array([0, update, site, 0], np.uint64)
    bits = np.random.Philox(key=key, counter=counter)
    np.random.Generator(bits).random(out=out, dtype=out.dtype)


def normal(out: NDArray[Any], seed: int, site: int, update: int) -> None:
    """Fill `out` (C-contiguous, float32 or float64) with standard normal numbers, in place.

    Box and Muller (1958): elements 2k and 2k+1 are r cos(a) and r sin(a), from uniform numbers 2k
    and 2k+1, with r = sqrt(-2 log(1 - u[2k])) and a = 2 pi u[2k+1]. Works through blocks of 8192
    elements, so it allocates at most 16,384 numbers whatever the size of `out`.
    """
    key = np.array([seed % 2**64, 0], np.uint64)
    counter = np.array([0, update, site, 0], np.uint64)
    generator = np.random.Generator(np.random.Philox(key=key, counter=counter))
    flat, block = out.reshape(-1), 8192
    most = min(block, flat.size + flat.size % 2)
    drawn, radius, angle = (np.empty(n, out.dtype) for n in (most, most // 2, most // 2))
    for start in range(0, flat.size, block):
        part = flat[start : start + block]
        half = (part.size + 1) // 2
        u, r, a = drawn[: 2 * half], radius[:half], angle[:half]
        generator.random(out=u, dtype=out.dtype)
        np.negative(u[0::2], out=r)
        np.log1p(r, out=r)
        np.multiply(r, -2, out=r)
        np.sqrt(r, out=r)
        np.multiply(u[1::2], 2 * np.pi, out=a)
        np.cos(a, out=u[:half])
        np.multiply(u[:half], r, out=part[0::2])
        np.sin(a, out=a)
        np.multiply(a[: part.size // 2], r[: part.size // 2], out=part[1::2])
