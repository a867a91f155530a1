"""What a machine can do at most: by a clock that is set by hand; kept, and thrown away where it is
no measurement."""

import json
from pathlib import Path

import pytest

from dln.runtime.device import limits as module
from dln.runtime.device.device import open_device
from dln.runtime.device.limits import Limits, limits, measured


def test_rates_are_work_over_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look at the clock is half a second after the last: so long takes a round."""
    now = iter(x / 2 for x in range(10_000))
    monkeypatch.setattr(module, "perf_counter", lambda: next(now))
    monkeypatch.setattr(module, "SQUARE", 8)
    monkeypatch.setattr(module, "BEYOND", 2**12)
    found = measured(open_device("numpy"), "float64")
    product, added, curved = 0.5 / 2, 0.5 / 100, 0.5 / 20  # seconds of a call
    bytes_of_float = 8
    assert found.flops == pytest.approx(2 * 8**3 / product)
    assert found.cached == pytest.approx(3 * 2**18 / added)
    assert found.memory == pytest.approx(2 * 2**12 / 0.5)
    assert found.curves == pytest.approx(2**18 / bytes_of_float / curved)
    assert found.calls == pytest.approx(1000 / 0.5)


def test_the_share_is_that_of_what_takes_longer() -> None:
    most = Limits(flops=100.0, cached=10.0 * 2**24, memory=2.0**24, curves=1.0)
    assert most.share(10.0, flops=500.0, moved=0.0) == 0.5
    assert (
        most.share(10.0, flops=500.0, moved=80.0 * 2**24, calls=80) == 0.8
    )  # each is in the cache
    assert most.share(10.0, flops=500.0, moved=8.0 * 2**24, calls=1) == 0.8  # and this is not
    near, between, far = (most.rate(held) for held in (2.0**20, 2.0**22, 2.0**24))
    assert (near, far) == (most.cached, most.memory)
    assert between**2 == pytest.approx(near * far)


@pytest.mark.parametrize("junk", ["", "[]", "{", "nothing", '{"x": 3}', "\x00"])
def test_a_file_that_is_none_is_measured_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, junk: str
) -> None:
    made, device = Limits(2.0, 3.0, 4.0, 5.0), open_device("numpy")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(module, "measured", lambda *_: made)
    path = tmp_path / "dln" / "limits.json"
    path.parent.mkdir()
    path.write_text(junk)
    assert limits(device, "float32") == made
    [(key, row)] = json.loads(path.read_text()).items()
    path.write_text(json.dumps({key: {**row, "flops": "many"}}))
    assert limits(device, "float32") == made
    monkeypatch.setattr(module, "measured", lambda *_: Limits(6.0, 7.0, 8.0, 9.0))
    assert limits(device, "float32") == made
    assert limits(device, "float32", anew=True).flops == 6.0


def test_where_nothing_can_be_kept_it_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dln").write_text("a file in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = Limits(2.0, 3.0, 4.0, 5.0)
    monkeypatch.setattr(module, "measured", lambda *_: made)
    assert limits(open_device("numpy"), "float32") == made
