"""Products added to an array by OpenBLAS: NumPy's products in double precision, whatever way the
matrices lie; bits that repeat; and what is done where there is no such function."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dln.runtime.device.host import Host, _openblas, product_by, set_threads, threads_in_use
from dln.runtime.device.kernels import add_rows, gemm
from dln.runtime.device.openblas import SPELLINGS, Blas, flags, lying

SIZES = [(3, 4, 5), (1, 4, 5), (3, 1, 5), (3, 4, 1), (1, 1, 1), (40, 70, 90)]


def ways(rows: int, columns: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A matrix in an array of its own, turned, with rows apart, both, and without neighbours."""
    drawn = rng.normal
    return {
        "rows": drawn(size=(rows, columns)),
        "turned": drawn(size=(columns, rows)).T,
        "apart": drawn(size=(2 * rows, columns + 3))[::2, :columns],
        "turned and apart": drawn(size=(columns, rows + 2))[:, 1 : rows + 1].T,
        "scattered": drawn(size=(rows, 2 * columns))[:, ::2],
        "backwards": drawn(size=(rows, columns))[::-1],
    }


def cast(array: np.ndarray, dtype: str) -> Any:
    """The same numbers in another precision, lying in the same way."""
    whole = array if array.base is None else array.base
    step = np.dtype(dtype).itemsize
    start = (array.ctypes.data - whole.ctypes.data) // whole.itemsize
    flat = whole.astype(dtype).reshape(-1)
    strides = [s // whole.itemsize * step for s in array.strides]
    return np.lib.stride_tricks.as_strided(flat[start:], array.shape, strides)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", SIZES)
def test_it_adds_the_product(size: tuple[int, int, int], dtype: str) -> None:
    (m, k, n), rng, kernel = size, np.random.default_rng(7), Host().kernels["gemm"]
    for left, a in ways(m, k, rng).items():
        for right, b in ways(k, n, rng).items():
            for where, c in ways(m, n, rng).items():
                given = [cast(x, dtype) for x in (a, b, c)]
                scale = np.array(-0.5, dtype)
                run = kernel(given[0], given[1], scale, out=given[2])
                assert run is not None
                wanted = given[2].astype(float)
                for by in (-0.5, 2.0):  # the number is read when it runs
                    scale[...] = by
                    run()
                    wanted += by * given[0].astype(float) @ given[1].astype(float)
                tolerance = 1e-13 if dtype == "float64" else 3e-5
                np.testing.assert_allclose(
                    given[2], wanted, tolerance, tolerance, err_msg=f"{left}, {right} to {where}"
                )


def test_what_lies_otherwise_is_left_to_numpy() -> None:
    found = {name: lying(a) for name, a in ways(3, 4, np.random.default_rng(1)).items()}
    assert found == {
        "rows": (b"N", 4), "turned": (b"T", 3), "apart": (b"N", 14), "turned and apart": (b"T", 5),
        "scattered": None, "backwards": None,
    }  # fmt: skip
    assert lying(np.broadcast_to(np.ones(4), (3, 4))) is None


def test_bits_repeat() -> None:
    rng, kernel = np.random.default_rng(3), Host().kernels["gemm"]
    a, b, c = (rng.normal(size=s).astype("float32") for s in ((61, 203), (203, 77), (61, 77)))
    found = []
    for _ in range(3):
        out = c.copy()
        run = kernel(a.copy(), b.copy(), np.array(0.1, "float32"), out=out)
        assert run is not None
        run()
        found.append(out.tobytes())
    assert len(set(found)) == 1


def test_it_is_trusted_only_where_it_multiplies_as_numpy_does() -> None:
    """Without OpenBLAS, without the function, and with one that does something else."""

    def idle(*addresses: Any) -> None: ...

    def broken(library: Any) -> bool:
        return Blas((library, "openblas_{}"), flags()).spelling is None

    library: Any = SimpleNamespace(sgemm_=idle)
    assert Blas(None, flags()).spelling is None and broken(library)  # there is no dgemm_
    library.openblas_get_num_threads = idle
    for name in ("dgemm_", "sgemv_", "dgemv_"):
        setattr(library, name, idle)
    assert broken(library)
    out, row = np.ones((2, 3)), np.ones(3)
    kernels = Blas((library, "openblas_{}"), flags()).kernels
    kernels["gemm"](np.ones((2, 4)), np.ones((4, 3)), np.array(0.25), out)()
    kernels["add_rows"](np.ones((4, 3)), np.array(0.25), row)()
    assert (out == 2).all() and (row == 2).all()
    assert product_by() is None or product_by() in SPELLINGS.values()


def test_the_kernels_of_three_statements() -> None:
    out, row = np.ones((2, 3)), np.ones(3)
    run = gemm(np.ones((2, 4)), np.ones((4, 3)), np.array(0.25), out)
    add = add_rows(np.ones((4, 3)), np.array(0.25), row)
    for _ in range(2):
        run()
        add()
    assert (out == 3).all() and (row == 3).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [(3, 5), (1, 5), (5, 1), (1, 1), (700, 90)])
def test_it_adds_rows(size: tuple[int, int], dtype: str) -> None:
    rng, kernel = np.random.default_rng(7), Host().kernels["add_rows"]
    for way, a in ways(*size, rng).items():
        for out in (rng.normal(size=size[1]), rng.normal(size=2 * size[1])[::2]):
            rows, target, scale = cast(a, dtype), cast(out, dtype), np.array(-0.5, dtype)
            wanted = target - 0.5 * rows.astype(float).sum(axis=0)
            run = kernel(rows, scale, out=target)
            assert run is not None
            run()
            tolerance = 1e-13 if dtype == "float64" else 3e-5
            np.testing.assert_allclose(target, wanted, tolerance, tolerance, err_msg=way)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [(1,), (7,), (3, 5, 4), (300, 70), (0, 3)])
def test_it_adds_multiples(size: tuple[int, ...], dtype: str) -> None:
    """Where both lie in C order, and where one does not; the numbers are read when it runs."""
    rng, kernel = np.random.default_rng(7), Host().kernels["add_scaled"]
    for way in (lambda x: x, np.asfortranarray, lambda x: np.repeat(x, 2, axis=0)[::2]):
        a, out = (way(rng.normal(size=size).astype(dtype)) for _ in range(2))
        scale, keep, wanted = np.array(0.0, dtype), np.array(0.0, dtype), out.astype(float)
        run = kernel(a, keep, scale, out=out)
        assert run is not None
        for scale[...], keep[...] in ((0.1, 0.9), (-2.0, 1.0), (0.0, 0.5), (1e-3, -1.0)):
            run()
            wanted = float(keep) * wanted + float(scale) * a.astype(float)
        tolerance = 1e-14 if dtype == "float64" else 1e-6
        np.testing.assert_allclose(out, wanted, tolerance, tolerance)


def test_it_computes_nothing_where_no_flag_can_be_read() -> None:
    if (spelled := product_by()) is None:
        pytest.skip("NumPy's BLAS has no product that adds")
    library = _openblas()
    assert Blas(library, flags()).spelling == spelled
    assert Blas(library, None).spelling is None


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("size", [(3, 4, 5), (60, 70, 80)])
def test_what_overflows_is_told_of_as_numpy_is_set(
    size: tuple[int, int, int], threads: int
) -> None:
    (m, k, n), before = size, threads_in_use()
    kernels, scale = Host(threads).kernels, np.array(1e300)
    a, b = np.zeros((m, k)), np.zeros((k, n))
    b[-1, -1] = 1e200
    try:
        one = np.array(1.0)
        for name, given, out in (
            ("gemm", (a, b), np.ones((m, n))),
            ("add_rows", (a,), np.ones(k)),
            ("add_scaled", (a, one), np.ones((m, k))),
        ):
            a[-1, -1] = 1e200
            run = kernels[name](*given, scale, out=out)
            assert run is not None
            with np.errstate(all="ignore"):
                run()
            assert not np.isfinite(out).all()
            out[...] = 0
            with np.errstate(over="raise"), pytest.raises(FloatingPointError, match="overflow"):
                run()
            out[...], a[...] = 0, 0  # and nothing stays of it
            with np.errstate(over="raise"):
                run()
    finally:
        set_threads(before or 1)
