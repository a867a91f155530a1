"""Checkpoints: what was saved comes back, or the file is refused; a failed save harms nothing."""

from __future__ import annotations

import builtins
import errno
import json
import os
import random
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from dln.grammar.diagnostics import Fault
from dln.runtime.checkpoint import checkpoint
from dln.runtime.checkpoint.checkpoint import atomic_write, compare_keys, load, save

META: dict[str, object] = {"update": 12, "best": 0.5, "phase": "sse", "nested": {"a": [1, "é"]}}


def arrays() -> dict[str, np.ndarray]:
    base = np.arange(24, dtype=np.float32).reshape(4, 6)
    return {
        "net.h.W": base,
        "transposed": base.T,
        "strided": base[::2, 1::3],
        "fortran": np.asfortranarray(base.astype(np.float64)),
        "big_endian": np.arange(3, dtype=">f8"),
        "scalar": np.array(2.5),
        "none": np.zeros((0, 3), np.float32),
        "count": np.array([1, 2], np.int64),
        "mask": np.array([True, False]),
    }


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(
        a[k].shape == b[k].shape
        and a[k].dtype.name == b[k].dtype.name
        and np.array_equal(a[k], b[k])
        for k in a
    )


def test_round_trip(tmp_path: Path) -> None:
    save(tmp_path / "c.safetensors", arrays(), META)
    found, meta = load(tmp_path / "c.safetensors")
    assert same(found, arrays()) and meta == META
    assert all(a.flags.writeable and a.flags.c_contiguous for a in found.values())
    assert os.listdir(tmp_path) == ["c.safetensors"]


def test_other_readers_see_the_same_tensors(tmp_path: Path) -> None:
    save(tmp_path / "c", arrays(), META)
    assert same(dict(load_file(tmp_path / "c")), arrays())


def test_bytes_are_stable_over_order_and_hash_seeds(tmp_path: Path) -> None:
    forward = checkpoint.encode(arrays(), META)
    backward = checkpoint.encode(dict(reversed(arrays().items())), dict(reversed(META.items())))
    assert forward == backward
    code = (
        "import hashlib, numpy as np; from dln.runtime.checkpoint.checkpoint import encode\n"
        "a = {f't{i}': np.full(i, i) for i in range(9)}\n"
        "m = {k: 1 for k in {'x', 'y', 'z', 'u', 'v'}}\n"
        "print(hashlib.sha256(encode(a, m)).hexdigest())"
    )
    run = [sys.executable, "-c", code]
    seen = {
        subprocess.check_output(run, env={**os.environ, "PYTHONHASHSEED": str(s)}) for s in range(3)
    }
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("a", np.array(["x"])),
        ("a", np.array([{}], object)),
        ("a", np.zeros(1, complex)),
        ("", np.zeros(1)),
        ("__metadata__", np.zeros(1)),
    ],
)
def test_what_cannot_be_stored(tmp_path: Path, name: str, value: np.ndarray) -> None:
    with pytest.raises(Fault) as caught:
        save(tmp_path / "c", {name: value}, {})
    assert caught.value.code == "E533" and not os.listdir(tmp_path)


def test_facts_must_be_plain(tmp_path: Path) -> None:
    with pytest.raises(Fault) as caught:
        save(tmp_path / "c", {}, {"x": object()})
    assert caught.value.code == "E533"


# ---- damaged files -----------------------------------------------------------------------------


def refused(path: Path) -> Fault:
    with pytest.raises(Fault) as caught:
        load(path)
    assert caught.value.code in ("E530", "E531", "E534") and caught.value.remedy
    assert str(path) in caught.value.message
    return caught.value


def rewritten(data: bytes, change: Any) -> bytes:
    """The file with another header."""
    size = struct.unpack("<Q", data[:8])[0]
    header = change(data[8 : 8 + size])
    return struct.pack("<Q", len(header)) + header + data[8 + size :]


def test_damage_is_named(tmp_path: Path) -> None:
    path, good = tmp_path / "c", checkpoint.encode({"w": np.ones(4), "x": np.zeros(4)}, META)
    path.write_bytes(good[:-1] + b"\x01")
    assert "hash of tensor x differs" in refused(path).message
    path.write_bytes(good[:100])
    assert "cut short" in refused(path).message
    path.write_bytes(good[:-3])
    assert refused(path).code == "E530"
    for data in (b"", b"\0" * 8, b"\xff" * 100, struct.pack("<Q", 2**40), b"PK\3\4" * 50):
        path.write_bytes(data)
        assert refused(path).code == "E530"
    path.write_bytes(rewritten(good, lambda h: h.replace(b"sse", b"ssf")))
    assert "facts" in refused(path).message
    path.write_bytes(rewritten(good, lambda h: h.replace(b'"F64"', b'"I64"', 1)))
    assert "hash of tensor" in refused(path).message
    path.write_bytes(rewritten(good, lambda h: h.replace(b'"w":', b'"v":', 1)))
    assert refused(path).code == "E531"
    save_file({"w": np.ones(4)}, path)
    assert "no checkpoint of dln" in refused(path).message
    assert refused(tmp_path / "gone").code == "E534"


def test_a_name_given_twice_is_refused(tmp_path: Path) -> None:
    good = checkpoint.encode({"a": np.ones(4), "b": np.ones(4)}, {})
    (tmp_path / "c").write_bytes(rewritten(good, lambda h: h.replace(b'"b":{', b'"a":{', 1)))
    refused(tmp_path / "c")


def test_an_unknown_format_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "FORMAT", 2)
    save(tmp_path / "c", {}, {})
    monkeypatch.undo()
    assert "format 2" in refused(tmp_path / "c").message


def test_random_damage_is_refused_or_harmless(tmp_path: Path) -> None:
    rng, path = random.Random(1), tmp_path / "c"
    good = checkpoint.encode(arrays(), META)
    for _ in range(500):
        data, at = bytearray(good), rng.randrange(len(good))
        match rng.randrange(4):
            case 0 | 1:
                data[at] ^= 1 << rng.randrange(8)
            case 2:
                del data[at : at + rng.randrange(1, 50)]
            case 3:
                data[at:at] = rng.randbytes(rng.randrange(1, 9))
        path.write_bytes(data)
        try:
            found, meta = load(path)
        except Fault:
            continue
        assert same(found, arrays()) and meta == META


# ---- failures of the system --------------------------------------------------------------------


class Failing:
    """Makes the n-th call among the system's calls fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, n: int, error: BaseException) -> None:
        self.left, self.error, self.calls = n, error, 0
        for name in ("fsync", "replace"):
            monkeypatch.setattr(os, name, self.wrapped(getattr(os, name)))
        real = builtins.open

        def opened(file: Any, mode: str = "r", *args: Any, **kw: Any) -> Any:
            if mode != "wb":
                return real(file, mode, *args, **kw)
            self.step()
            f = real(file, mode, *args, **kw)
            outer = self

            class Half:
                def __enter__(self) -> Half:
                    return self

                def __exit__(self, *_: object) -> None:
                    f.close()

                def write(self, data: bytes) -> None:
                    f.write(data[: len(data) // 2])
                    outer.step()
                    f.write(data[len(data) // 2 :])

                def flush(self) -> None:
                    outer.step()
                    f.flush()

                def fileno(self) -> int:
                    return f.fileno()

            return Half()

        monkeypatch.setattr(builtins, "open", opened)

    def step(self) -> None:
        self.calls += 1
        self.left -= 1
        if self.left == 0:
            raise self.error

    def wrapped(self, real: Any) -> Any:
        def call(*args: Any, **kw: Any) -> Any:
            self.step()
            return real(*args, **kw)

        return call


STEPS = 6  # open, write, flush, fsync, replace, fsync of the folder


@pytest.mark.parametrize("n", range(1, STEPS + 1))
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EACCES])
def test_a_failed_save_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n: int, number: int
) -> None:
    path = tmp_path / "c"
    save(path, {"w": np.zeros(100)}, {"n": 1})
    with monkeypatch.context() as m:
        Failing(m, n, OSError(number, os.strerror(number)))
        with pytest.raises(Fault) as caught:
            save(path, {"w": np.ones(100)}, {"n": 2})
    assert caught.value.code == "E534" and os.strerror(number) in caught.value.message
    assert os.listdir(tmp_path) == ["c"]
    # Once renamed, the new file is in place; before that, the old one is.
    assert load(path)[1] == {"n": 2 if n == STEPS else 1}


def test_there_are_no_other_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as m:
        failing = Failing(m, 0, OSError())
        save(tmp_path / "c", {}, {})
    assert failing.calls == STEPS


@pytest.mark.parametrize("n", range(1, STEPS))
def test_an_interrupt_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n: int
) -> None:
    atomic_write(tmp_path / "c", b"old")
    with monkeypatch.context() as m:
        Failing(m, n, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            atomic_write(tmp_path / "c", b"new")
    assert os.listdir(tmp_path) == ["c"] and (tmp_path / "c").read_bytes() == b"old"


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(Fault) as caught:
        save(tmp_path / "no" / "c", {}, {})
    assert caught.value.code == "E534"


@pytest.mark.skipif(os.name != "posix", reason="pipes with a name")
def test_what_is_no_ordinary_file_is_neither_read_nor_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "link").symlink_to(pipe)
    for path in (pipe, tmp_path / "link", tmp_path, Path("/dev/zero")):
        with pytest.raises(Fault, match="no ordinary file") as caught:
            load(path)
        assert caught.value.code == "E534"
    for path in (pipe, tmp_path / "link", tmp_path):
        with pytest.raises(Fault, match="no ordinary file") as caught:
            save(path, {"w": np.ones(2)}, {})
        assert caught.value.code == "E534" and pipe.is_fifo()
    assert sorted(os.listdir(tmp_path)) == ["link", "pipe"]


# ---- against the spec --------------------------------------------------------------------------


def test_compare_keys() -> None:
    expected = {"net.h.W": ((3, 2), "float32"), "net.h.b": ((3,), "float32")}
    good = {"net.h.W": np.zeros((3, 2), np.float32), "net.h.b": np.zeros(3, np.float32)}
    compare_keys(expected, good)
    with pytest.raises(Fault) as caught:
        compare_keys(expected, {"net.h.w": good["net.h.W"], "net.h.b": np.zeros(4)})
    shown = caught.value.message
    assert caught.value.code == "E532"
    assert "net.h.W is missing (nearest: net.h.w)" in shown
    assert "net.h.w is not expected (nearest: net.h.W)" in shown
    assert "net.h.b is float64[4], expected float32[3]" in shown
    many = {f"t{i}": ((1,), "float32") for i in range(9)}
    with pytest.raises(Fault, match="and 4 more"):
        compare_keys(many, {})


def test_meta_is_one_sorted_key(tmp_path: Path) -> None:
    data = checkpoint.encode({"w": np.ones(2)}, META)
    header = json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])
    assert list(header["__metadata__"]) == ["dln"]
