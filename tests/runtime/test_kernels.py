"""Draws of generated programs: bits against the raw generator, statistics, and the prefix rule."""

from __future__ import annotations

import inspect
import math
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dln.runtime.device import kernels
from dln.runtime.device.kernels import erf, lowest, normal, uniform

DTYPES = [np.float32, np.float64]
SIZES = [0, 1, 2, 3, 7, 8, 9, 31, 32, 33, 255, 257, 8191, 8192, 8193, 16385]


def explicit(size: int, dtype: type, seed: int, site: int, update: int) -> np.ndarray:
    """Uniform numbers from the raw words, converted here."""
    key = np.array([seed, 0], np.uint64)
    counter = np.array([0, update, site, 0], np.uint64)
    raw = np.random.Philox(key=key, counter=counter).random_raw(size)
    if dtype is np.float64:
        return (raw >> np.uint64(11)) * 2.0**-53
    halves = np.stack([raw & np.uint64(0xFFFFFFFF), raw >> np.uint64(32)], 1).reshape(-1)
    return ((halves[:size] >> np.uint64(8)) * 2.0**-24).astype(np.float32)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_uniform_is_the_explicit_conversion(size: int, dtype: type) -> None:
    out: np.ndarray = np.full(size, np.nan, dtype)
    uniform(out, 5, 2**63 + 9, 3)
    assert np.array_equal(out, explicit(size, dtype, 5, 2**63 + 9, 3))


@pytest.mark.parametrize("dtype", DTYPES)
def test_many_counters(dtype: type) -> None:
    out: np.ndarray = np.empty(19, dtype)
    for update in range(256):
        uniform(out, update % 7, 2**64 - 1 - update, update)
        assert np.array_equal(out, explicit(19, dtype, update % 7, 2**64 - 1 - update, update))


@pytest.mark.parametrize("draw", [uniform, normal])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_shorter_draw_is_the_head_of_a_longer(draw: Callable[..., None], dtype: type) -> None:
    whole: np.ndarray = np.empty(20_001, dtype)
    draw(whole, 1, 2, 3)
    for size in SIZES:
        out: np.ndarray = np.empty(size, dtype)
        draw(out, 1, 2, 3)
        assert np.array_equal(out, whole[:size])
    grid: np.ndarray = np.empty((50, 7), dtype)
    draw(grid, 1, 2, 3)
    assert np.array_equal(grid.reshape(-1), whole[:350])


@pytest.mark.parametrize("draw", [uniform, normal])
def test_each_part_of_the_place_matters(draw: Callable[..., None]) -> None:
    seen = set()
    for place in [(1, 2, 3), (2, 2, 3), (1, 3, 3), (1, 2, 4), (-1, 2, 3)]:
        out: np.ndarray = np.empty(8)
        draw(out, *place)
        seen.add(out.tobytes())
    assert len(seen) == 5


@pytest.mark.parametrize(("dtype", "close"), [(np.float32, 2e-6), (np.float64, 1e-14)])
@pytest.mark.parametrize("size", [1, 2, 9, 8195])
def test_normal_is_box_muller(size: int, dtype: type, close: float) -> None:
    out: np.ndarray = np.empty(size, dtype)
    u: np.ndarray = np.empty(size + size % 2, dtype)
    normal(out, 4, 5, 6)
    uniform(u, 4, 5, 6)
    expected = []
    for a, b in u.reshape(-1, 2).tolist():
        r = math.sqrt(-2 * math.log1p(-a))
        expected += [r * math.cos(2 * math.pi * b), r * math.sin(2 * math.pi * b)]
    np.testing.assert_allclose(out, expected[:size], rtol=0, atol=close * 10)


def test_statistics() -> None:
    u, z = np.empty(100_000), np.empty(100_000)
    uniform(u, 0, 1, 0)
    normal(z, 0, 2, 0)
    assert 0 <= u.min() and u.max() < 1
    assert abs(u.mean() - 0.5) < 4 * math.sqrt(1 / 12 / 1e5)
    counts = np.histogram(u, 100, (0, 1))[0]
    assert ((counts - 1000.0) ** 2 / 1000).sum() < 149  # chi-squared, 99 degrees, 0.999
    assert abs(z.mean()) < 4 / math.sqrt(1e5) and abs(z.var() - 1) < 4 * math.sqrt(2 / 1e5)
    assert abs((z**4).mean() - 3) < 4 * math.sqrt(96 / 1e5)
    assert abs(np.corrcoef(z[0::2], z[1::2])[0, 1]) < 4 / math.sqrt(5e4)
    inside = (np.abs(z) < 1.959964).mean()
    assert abs(inside - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 1e5)


def test_extreme_uniforms_stay_finite() -> None:
    """u = 0 gives radius 0, the largest u the largest radius; neither is infinite."""
    assert math.sqrt(-2 * math.log1p(-(1 - 2.0**-24))) < 5.8
    assert math.sqrt(-2 * math.log1p(-(1 - 2.0**-53))) < 8.6


def test_draws_allocate_little() -> None:
    out: np.ndarray = np.empty(1_000_000, np.float32)
    for draw, most in ((uniform, 20_000), (normal, 150_000)):
        draw(out, 1, 2, 3)
        tracemalloc.start()
        draw(out, 1, 2, 3)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < most


@pytest.mark.parametrize("draw", [uniform, normal])
def test_the_text_stands_alone(draw: Callable[..., None]) -> None:
    """A copy of the source works with NumPy alone."""
    text = "from __future__ import annotations\nimport numpy as np\n" + inspect.getsource(draw)
    names: dict[str, Any] = {}
    exec(compile(text, "copy", "exec"), names)
    ours, theirs = np.empty(99, np.float32), np.empty(99, np.float32)
    name = draw.__name__
    getattr(kernels, name)(ours, 1, 2, 3)
    names[name](theirs, 1, 2, 3)
    assert np.array_equal(ours, theirs)


# ---- the lowest --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", [1, 3, 16, 17, 40, 60])
def test_the_lowest_come_in_order_and_the_first_of_equals_first(k: int, dtype: type) -> None:
    rng = np.random.default_rng(k)
    values: np.ndarray = rng.integers(0, 9, (4, 5, 60)).astype(dtype)  # many are equal
    out: np.ndarray = np.full((4, 5, k), -1)
    lowest(values, out)
    for row, places in zip(values.reshape(-1, 60), out.reshape(-1, k), strict=True):
        pairs = sorted((v, i) for i, v in enumerate(row.tolist()))
        assert places.tolist() == [i for _, i in pairs[:k]]


def test_the_lowest_of_a_view_and_of_one_vector() -> None:
    values = np.random.default_rng(1).normal(size=(60, 7))
    kept, out = values.copy(), np.empty((7, 5), np.int64)
    lowest(values.T, out)
    assert np.array_equal(out, np.argsort(values.T, axis=-1)[:, :5])
    alone = np.empty(60, np.int64)
    lowest(values[:, 2], alone)
    assert np.array_equal(alone, np.argsort(values[:, 2]))
    assert np.array_equal(values, kept)


@pytest.mark.parametrize("dtype", DTYPES)
def test_erf_is_within_a_few_units_in_the_last_place(dtype: type) -> None:
    """Against the C library's; with the points where one quotient hands over to the other."""
    rng = np.random.default_rng(0)
    smallest = -300 if dtype is np.float64 else -36
    x: np.ndarray = np.concatenate(
        [rng.uniform(-7, 7, 20_000), 10 ** rng.uniform(smallest, 0, 5_000), rng.normal(size=5_000),
         np.linspace(0.84, 0.85, 1_001), np.linspace(5.5, 6.5, 101), [0.0, 30.0, 1e30]]
    ).astype(dtype)  # fmt: skip
    out = np.full_like(x, np.nan)
    erf(x, out)
    wanted = np.array([math.erf(float(v)) for v in x])
    assert np.all(np.abs(out - wanted) <= 3 * np.spacing(np.abs(wanted).astype(dtype)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_erf_at_the_ends_and_in_place(dtype: type) -> None:
    x: np.ndarray = np.array([0.0, -0.0, np.inf, -np.inf, np.nan], dtype)
    erf(x, x)
    assert x[:4].tolist() == [0.0, 0.0, 1.0, -1.0] and np.signbit(x[1]) and np.isnan(x[4])
    for shape in ((), (0, 3), (2, 0)):
        out: np.ndarray = np.zeros(shape, dtype)
        erf(np.full(shape, 0.5, dtype), out)
        assert np.allclose(out, math.erf(0.5), rtol=1e-6)
    turned: np.ndarray = np.linspace(-1, 1, 6, dtype=dtype).reshape(2, 3).T
    out = np.zeros((3, 2), dtype)
    erf(turned, out)
    assert out[2, 0] == out.reshape(-1)[4] and np.allclose(out[2, 0], math.erf(-0.2), rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("classes", [1, 3, 40])
def test_rows_are_added_up_by_class(classes: int, dtype: type) -> None:
    """Whole numbers, which add up exactly; some classes have no rows, one more than fit at once."""
    rng = np.random.default_rng(classes)
    rows: NDArray[Any] = rng.integers(-9, 9, (6, 30, 2, 5)).astype(dtype)
    at = rng.integers(0, max(1, classes - 1), (6, 30)) * (rng.random((6, 30)) < 0.7)
    out: NDArray[Any] = np.full((classes, 2, 5), np.nan, dtype)
    want: NDArray[Any] = np.zeros((classes, 2, 5), dtype)
    np.add.at(want, at, rows)
    kernels.sum_by_class(rows, at, out)
    np.testing.assert_array_equal(out, want)
