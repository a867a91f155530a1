"""Distorted images: each pixel against a bilinear look-up written out in plain Python."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from dln.runtime.device.kernels import warp

STILL = {"shift": 0.0, "scale": 0.0, "squeeze": 0.0, "shear": 0.0, "background": 0.0}


def pixel(image: Any, row: float, column: float, background: float) -> float:
    """The weighted mean of the four pixels around a point."""
    total = 0.0
    for r in (math.floor(row), math.floor(row) + 1):
        for c in (math.floor(column), math.floor(column) + 1):
            weight = (1 - abs(row - r)) * (1 - abs(column - c))
            inside = 0 <= r < len(image) and 0 <= c < len(image[0])
            total += weight * (image[r][c] if inside else background)
    return total


def distorted(image: Any, u: list[float], how: dict[str, float]) -> list[list[float]]:
    """One map, moved by five uniform numbers."""
    right, down, size, ratio, slant = (2 * v - 1 for v in u)
    h, w = len(image), len(image[0])
    tall = (1 + how["scale"] * size) * (1 + how["squeeze"] * ratio)
    wide = (1 + how["scale"] * size) / (1 + how["squeeze"] * ratio)
    out = []
    for i in range(h):
        y = (i - (h - 1) / 2 - how["shift"] * down) / tall
        line = []
        for j in range(w):
            x = (j - (w - 1) / 2 - how["shift"] * right) / wide + how["shear"] * slant * y
            at = (y + (h - 1) / 2, x + (w - 1) / 2)
            line.append(pixel(image, *at, how["background"]))
        out.append(line)
    return out


@pytest.mark.parametrize("shape", [(5, 6), (3, 7, 4), (2, 3, 6, 6), (1, 1, 1, 1)])
@pytest.mark.parametrize("far", [0.3, 3.0])
def test_every_pixel_is_where_the_formula_says(shape: tuple[int, ...], far: float) -> None:
    rng = np.random.default_rng(len(shape))
    lead = shape[:1] if len(shape) > 2 else ()
    image, u = rng.normal(size=shape), rng.random((*lead, 5))
    how = {"shift": far, "scale": 0.4, "squeeze": 0.3, "shear": 0.5 * far, "background": -0.5}
    out = np.full(shape, np.nan)
    warp(image, u, out, **how)
    draws = u.reshape(-1, 5).tolist()
    for n, maps in enumerate(image.reshape(len(draws), -1, *shape[-2:]).tolist()):
        found = out.reshape(len(draws), -1, *shape[-2:])[n]
        for k, part in enumerate(maps):
            assert np.allclose(found[k], distorted(part, draws[n], how), rtol=0, atol=1e-12)


def test_nothing_moves_without_a_range() -> None:
    image = np.arange(24.0).reshape(2, 3, 4)
    out = np.empty_like(image)
    warp(image, np.random.default_rng(0).random((2, 5)), out, **STILL)
    assert np.array_equal(out, image)


def test_a_whole_shift_moves_pixels() -> None:
    """The largest draw but a rounding: 2 to the right, 2 down; background comes in."""
    image, out = np.arange(1.0, 26.0).reshape(5, 5), np.empty((5, 5))
    warp(image, np.array([1.0, 1.0, 0.5, 0.5, 0.5]), out, **{**STILL, "shift": 2.0})
    assert np.allclose(out[2:, 2:], image[:-2, :-2])
    assert not out[:2].any() and not out[:, :2].any()


def test_single_precision_agrees() -> None:
    rng = np.random.default_rng(3)
    image, u = rng.random((4, 9, 9)), rng.random((4, 5))
    how = {"shift": 2.0, "scale": 0.15, "squeeze": 0.15, "shear": 0.2, "background": 0.0}
    wide, narrow = np.empty((4, 9, 9)), np.empty((4, 9, 9), np.float32)
    warp(image, u, wide, **how)
    warp(image.astype(np.float32), u.astype(np.float32), narrow, **how)
    assert np.allclose(wide, narrow, atol=2e-5)
