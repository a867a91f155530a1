"""Orders of examples: pure functions of (seed, site, epoch), checked against plain Python."""

from __future__ import annotations

import math
from collections import Counter
from hashlib import sha256

import numpy as np
import pytest

from dln.compiler.plan import site_number
from dln.runtime.readers import sampling_order

M64 = (1 << 64) - 1


def philox(key: int, counter: list[int]) -> list[int]:
    """Philox4x64-10 as in Salmon et al. 2011, in Python integers."""
    k0, k1, c = key, 0, counter
    for _ in range(10):
        a, b = 0xD2E7470EE14C6C93 * c[0], 0xCA5A826395121157 * c[2]
        c = [(b >> 64) ^ c[1] ^ k0, b & M64, (a >> 64) ^ c[3] ^ k1, a & M64]
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) & M64, (k1 + 0xBB67AE8584CAA73B) & M64
    return c


@pytest.mark.parametrize("seed", [0, 7, M64, -1])
def test_words_are_philox(seed: int) -> None:
    site, epoch = site_number("train.sse"), 3
    expected = [w for block in (1, 2, 3) for w in philox(seed & M64, [block, epoch, site, 0])]
    assert sampling_order.words(11, seed, site, epoch).tolist() == expected[:11]
    assert sampling_order.unit(5, seed, site, epoch).tolist() == [
        (w >> 11) / 2**53 for w in expected[:5]
    ]


def test_site_keys() -> None:
    digest = sha256(b"net.h").digest()[:8]
    assert site_number("net.h") == int.from_bytes(digest, "little")
    keys = {site_number(f"net.{i}") for i in range(10_000)}
    assert len(keys) == 10_000 and all(0 <= k <= M64 for k in keys)


@pytest.mark.parametrize("n", [0, 1, 2, 17, 1000])
def test_permutation(n: int) -> None:
    found = sampling_order.permutation(n, 1, 2, 3)
    words = sampling_order.words(n, 1, 2, 3).tolist()
    assert found.dtype == np.int64
    assert found.tolist() == sorted(range(n), key=words.__getitem__)
    assert found.tolist() == sampling_order.permutation(n, 1, 2, 3).tolist()


def test_permutations_differ_by_each_part() -> None:
    drawn = [(1, 2, 3), (2, 2, 3), (1, 3, 3), (1, 2, 4)]
    assert len({tuple(sampling_order.permutation(50, *d).tolist()) for d in drawn}) == 4


def test_permutations_are_uniform() -> None:
    """All 24 orders of 4 in 4800 epochs: chi-squared with 23 degrees, 0.999 quantile 49.7."""
    counts = Counter(tuple(sampling_order.permutation(4, 0, 1, e).tolist()) for e in range(4800))
    assert len(counts) == 24
    assert sum((c - 200) ** 2 / 200 for c in counts.values()) < 49.7


def test_replacement() -> None:
    found = sampling_order.replacement(10, 5000, 1, 2, 3)
    words = sampling_order.words(5000, 1, 2, 3).tolist()
    assert found.tolist() == [math.floor((w >> 11) / 2**53 * 10) for w in words]
    counts = np.bincount(found, minlength=10)
    assert ((counts - 500.0) ** 2 / 500).sum() < 27.9  # chi-squared, 9 degrees, 0.999
    assert sampling_order.replacement(10, 7, 1, 2, 3).tolist() == found[:7].tolist()


def test_replacement_never_reaches_n(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling_order, "unit", lambda count, *_: np.full(count, 1 - 2.0**-53))
    for n in (1, 2, 3, 60_000, 2**31 + 1, 2**40 - 1):
        assert sampling_order.replacement(n, 1, 0, 0, 0).tolist() == [n - 1]


def test_file_order() -> None:
    assert sampling_order.file_order(4).tolist() == [0, 1, 2, 3]


def test_balanced_with_equal_classes() -> None:
    labels = np.arange(200) % 10
    found = sampling_order.balanced(labels, 1, 2, 3)
    assert sorted(found.tolist()) == list(range(200))
    for start in range(0, 200, 10):
        assert sorted(labels[found[start : start + 10]]) == list(range(10))
    runs = {tuple(labels[found[s : s + 10]].tolist()) for s in range(0, 200, 10)}
    assert len(runs) > 15  # the classes come in no fixed order
    assert sampling_order.balanced(labels, 1, 2, 3, count=30).tolist() == found[:30].tolist()
    assert found.tolist() != sampling_order.balanced(labels, 1, 2, 4).tolist()


def test_balanced_with_unequal_classes() -> None:
    labels = np.repeat([3, 5, 8], [300, 100, 20])
    found = sampling_order.balanced(labels, 0, 0, 0)
    assert sorted(found.tolist()) == list(range(420))
    for start in range(0, 420, 42):
        run = Counter(labels[found[start : start + 42]].tolist())
        assert abs(run[3] - 30) <= 1 and abs(run[5] - 10) <= 1 and abs(run[8] - 2) <= 1


def test_even_draws_classes_alike_and_examples_within_them_alike() -> None:
    """Of 5 and 50 and 945 examples: chi-squared against equal shares, and of the rare ones each."""
    labels = np.repeat([4, 0, 2], [50, 945, 5])
    found = np.concatenate([sampling_order.even(labels, 1, 2, e) for e in range(30)])
    shares = np.bincount(labels[found], minlength=5)[[0, 2, 4]]
    assert ((shares - 10_000) ** 2 / 10_000).sum() < 13.8  # 2 degrees, 0.999 quantile
    rare = np.bincount(found[labels[found] == 2])[-5:]
    assert ((rare - shares[1] / 5) ** 2 / (shares[1] / 5)).sum() < 18.5  # 4 degrees
    assert sampling_order.even(labels, 1, 2, 3).tolist() == found[3000:4000].tolist()
