"""Products shared among threads: the bits of one thread, for shapes whose summed axis is cut and
for those that are left to it; an overflow in any part of a result is told of."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from dln.runtime.device.host import Host, _sharing, _threads, set_threads, threads_in_use
from dln.runtime.device.sharing import BLOCKS, cut, ways
from dln.runtime.device.threads import Threads

SHAPES = [(20, 784, 90), (60, 500, 33), (64, 64, 64), (3, 4, 5), (1, 700, 90), (31, 1500, 47),
          (30, 90, 100)]  # fmt: skip


@pytest.fixture
def pool() -> Iterator[Threads]:
    before = threads_in_use()
    if before is None:
        pytest.skip("NumPy's BLAS does not tell of its threads")
    Host()
    yield _threads(2)
    _sharing().take(1)
    set_threads(before)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_bits_of_one_thread(pool: Threads, shape: tuple[int, int, int], dtype: str) -> None:
    (m, k, n), rng = shape, np.random.default_rng(5)
    scale, gemm, xp = np.array(0.3, dtype), Host().kernels["gemm"], pool.xp
    drawn = [rng.normal(size=s).astype(dtype) for s in ((m, k), (k, m), (k, n), (n, k))]
    for a, b in ((drawn[0], drawn[2]), (drawn[1].T, drawn[3].T)):
        outs = [np.full((m, n), 0.1, dtype) for _ in range(4)]
        stack = np.empty((2, m, n), dtype)
        added = gemm(a, b, scale, out=outs[1])
        assert added is not None

        def run(a: np.ndarray = a, b: np.ndarray = b, added: object = added,
                outs: list[np.ndarray] = outs, stack: np.ndarray = stack) -> bytes:  # fmt: skip
            outs[1][...] = 0.1
            xp.dot(a, b, out=outs[0])
            assert callable(added)
            added()
            xp.dot(a[0], b, out=outs[2][0])
            xp.matmul(np.stack([a, a]), b, out=stack)
            return b"".join(x.tobytes() for x in (*outs, stack))

        pool.take(1)
        one = run()
        pool.record()
        assert run() == one
        pool.learn(patient=True)
        pool.take(2)
        assert run() == one and run() == one
        assert threads_in_use() == 2
        pool.take(1)
    np.testing.assert_allclose(outs[0], a @ b, rtol=2e-4, atol=2e-4)


def test_where_an_axis_is_cut() -> None:
    """Pieces are whole numbers of blocks, halves, or the rest, and cover the axis."""
    for length in (1, 255, 256, 384, 385, 784, 2500, 4096):
        for block, unit in BLOCKS:
            cuts = cut(length, block, unit)
            sizes = np.diff(cuts)
            assert (cuts[0], cuts[-1]) == (0, length) and (sizes > 0).all()
            assert all(s % block == 0 or s <= block for s in sizes)
        assert next(iter(ways(length))) == (0, length) and len(set(ways(length))) > 0


@pytest.mark.parametrize("inner", [8, 80])
@pytest.mark.parametrize("kind", ["dot", "matmul", "gemm", "finite"])
@pytest.mark.parametrize("at", [0, 59])
def test_an_overflow_in_any_part_is_told(pool: Threads, kind: str, at: int, inner: int) -> None:
    """Of a result that is smaller than its sides, and of one that is larger."""
    a, b, out = np.ones((60, inner)), np.ones((inner, 70)), np.zeros((60, 70))
    made = Host().kernels["gemm"](a, b, np.array(1.0), out=out)
    told = f"overflow encountered in {'a sum of products' if kind == 'gemm' else kind}"
    xp = pool.xp
    calls = {"dot": lambda: xp.dot(a, b, out=out), "gemm": made}
    run = calls.get(kind, lambda: xp.matmul(a, b, out=out))
    assert run is not None
    pool.record()
    run()
    pool.learn(patient=True)
    pool.take(2)
    a[at], b[:, at] = 1e200, 1e200
    if kind == "finite":  # no number leaves the range, though squares do
        b[:, at] = 1.0
        with np.errstate(all="raise"):
            run()
        assert np.isfinite(out).all() and out[at, 0] > 7e200
        return
    with np.errstate(all="raise"), pytest.raises(FloatingPointError, match=told):
        run()
