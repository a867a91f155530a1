"""Devices: the host, the CuPy device over a stand-in for cupy, and a missing GPU in one line."""

from __future__ import annotations

import importlib.util
import math
import sys
from typing import Any

import numpy as np
import pytest

from dln.grammar.diagnostics import Fault
from dln.runtime.device import host
from dln.runtime.device.device import Device, open_device
from dln.runtime.device.kernels import KERNELS


@pytest.fixture(params=["numpy", "cupy"])
def device(request: pytest.FixtureRequest, fake_cupy: Any) -> Device:
    if request.param == "cupy":
        fake_cupy()
    return open_device(request.param)


def test_views_share_the_buffer(device: Device) -> None:
    buffer = device.empty(256)
    a = device.view(buffer, 64, (2, 3), "float32")
    a[...] = 1.5
    flat = device.to_host(device.view(buffer, 64, (6,), np.float32))
    assert flat.tolist() == [1.5] * 6
    scalar = device.view(buffer, 128, (), "float64")
    scalar[...] = 7
    assert device.to_host(scalar).shape == () and device.to_host(scalar) == 7
    assert device.view(buffer, 256, (0, 4), "float32").shape == (0, 4)
    assert device.view(buffer, 0, (256,), bool).dtype == np.bool_
    for offset, shape in ((0, (65,)), (256, (1,)), (-4, (1,))):
        with pytest.raises(ValueError, match="outside a buffer"):
            device.view(buffer, offset, shape, "float32")


def test_arrays_are_copies(device: Device) -> None:
    source = np.arange(6.0).reshape(2, 3)
    there = device.array(source.T, "float32")
    source[...] = 0
    back = device.to_host(there)
    there[...] = 9
    assert back.dtype == np.float32 and back.tolist() == [[0, 3], [1, 4], [2, 5]]
    assert type(back) is np.ndarray
    assert device.to_host(device.array(2.5, "float64")).shape == ()


def test_kernels_draw_the_same_bits(device: Device) -> None:
    for name in ("uniform", "normal"):
        out, expected = device.array(np.zeros((5, 7)), "float32"), np.zeros((5, 7), np.float32)
        device.kernels[name](out, 1, 2, 3)
        KERNELS[name](expected, 1, 2, 3)
        assert np.array_equal(device.to_host(out), expected)


@pytest.mark.parametrize("k", [1, 5, 17, 30])
def test_kernels_find_the_same_places(device: Device, k: int) -> None:
    values = np.random.default_rng(k).integers(0, 12, (3, 2, 30)).astype(np.float32)
    out = device.array(np.zeros((3, 2, k)), "int64")
    device.kernels["lowest"](device.array(values, "float32"), out)
    wanted = np.argsort(values, axis=-1, kind="stable")[..., :k]
    assert np.array_equal(device.to_host(out), wanted)


def test_a_device_uses_its_own_special_functions(device: Device) -> None:
    values, out = np.linspace(-3, 3, 7), device.array(np.zeros(7), "float64")
    device.kernels["erf"](device.array(values, "float64"), out=out)
    wanted = [math.erf(v) for v in values]
    assert np.allclose(device.to_host(out), wanted, rtol=1e-15, atol=0)


def test_facts(device: Device) -> None:
    assert device.name in ("numpy", "cupy")
    assert callable(device.xp.empty)
    free = device.memory_available()
    assert free is None or free > 0
    device.wait()
    if device.name == "cupy":
        assert free == (1 << 40) + 24 and vars(sys.modules["cupy"])["waits"] == 1


@pytest.mark.parametrize("nbytes", [1, 64, 1000])
def test_host_memory_is_aligned(nbytes: int) -> None:
    for _ in range(20):
        buffer = open_device("numpy").empty(nbytes)
        assert buffer.nbytes == nbytes and buffer.ctypes.data % 64 == 0


def test_threads() -> None:
    before = host.threads_in_use()
    try:
        device = open_device("numpy", threads=1)
        assert device.threads == host.threads_in_use()
        if before is not None:
            assert device.threads == 1
            assert open_device("numpy").threads == 1
    finally:
        if before is not None:
            host.set_threads(before)


def test_another_blas_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "_openblas", lambda: None)
    assert open_device("numpy", threads=3).threads is None


def test_wrong_arguments() -> None:
    with pytest.raises(Fault) as caught:
        open_device("cuppy")
    assert caught.value.code == "E522" and caught.value.remedy == "cupy"
    with pytest.raises(Fault, match="at least 1"):
        open_device("numpy", threads=0)


# ---- what can be missing -----------------------------------------------------------------------


def gpu_fault(code: str) -> Fault:
    with pytest.raises(Fault) as caught:
        open_device("cupy")
    assert caught.value.code == code
    assert "\n" not in caught.value.message and "--backend numpy" in caught.value.remedy
    return caught.value


@pytest.mark.skipif(importlib.util.find_spec("cupy") is not None, reason="cupy is installed")
def test_cupy_is_not_installed() -> None:
    fault = gpu_fault("E520")
    assert fault.message == "CuPy is not installed" and "pip install" in fault.remedy


class Breaks:
    """An importer whose cupy fails while it loads."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def find_spec(self, name: str, *_: object) -> None:
        if name == "cupy":
            raise self.error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ImportError("\n=====\nlibcuda.so.1: cannot open\n====="), "libcuda.so.1: cannot open"),
        (ModuleNotFoundError("No module named 'fastrlock'", name="fastrlock"), "fastrlock"),
        (OSError(""), "OSError"),
    ],
)
def test_cupy_is_broken(error: Exception, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Breaks(error), *sys.meta_path])
    assert said in gpu_fault("E520").message


def test_there_is_no_gpu(fake_cupy: Any) -> None:
    fake_cupy(available=False)
    gpu_fault("E521")
    fake_cupy(broken=True)
    assert "driver too old" in gpu_fault("E521").message
