"""`split`: which examples are in which part, against a few lines of NumPy that share no code."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dln.spec as specs
from dln.compiler.plan import Division
from dln.grammar.diagnostics import DlnError
from dln.runtime.readers.dealing import dealt
from dln.runtime.session import Session

N = 83
LABEL = np.repeat([0, 1, 2], [50, 30, 3])  # sorted by class, and one of them rare
SET = 'data d = npz("a.npz") {{\n  i = raw.i\n  label: class(4) = raw.label\n  {}\n}}\n'
PHASE = """block net(x) -> y { param w = 0
  y = w * x }
let m = net()
train fit on %s batch 7 for 1 epoch { minimize (m(i) - 1)^2 over m with sgd(lr = 1e-5)
  watch n = sum(batch: 0 * i + 1) on %s }
"""


def session(tmp_path: Path, split: str, more: str = "", n: int = N) -> Session:
    np.savez(tmp_path / "a.npz", i=np.arange(n) * 1.0, label=np.resize(LABEL, n))
    (tmp_path / "net.dln").write_text(SET.format(split) + more)
    return specs.load(tmp_path / "net.dln").compile().session()


def part(s: Session, name: str) -> list[int]:
    """The numbers in the file of the examples of a part."""
    found: list[int] = s.datasets.part("d", name, "float64").arrays["i"].astype(int).tolist()
    return found


def shuffle(n: int, seed: int) -> np.ndarray[Any, Any]:
    site = int.from_bytes(hashlib.sha256(b"split").digest()[:8], "little")
    words = np.random.Philox(
        key=np.array([seed, 0], np.uint64), counter=np.array([0, 0, site, 0], np.uint64)
    ).random_raw(n)
    return np.argsort(words, kind="stable")


def test_shuffled_parts_and_folds(tmp_path: Path) -> None:
    """Also unions, and all but one. Within a part examples stand as in the file."""
    s = session(
        tmp_path,
        "split test 0.1, fold[4], valid 5 shuffled seed 6",
        PHASE % ("d - d.fold[1] - d.test", "d.test + d.valid"),
    )
    order = shuffle(N, 6)
    expected = {"test": order[:8], "fold[0]": order[8:26], "fold[1]": order[26:44]}
    expected |= {"fold[3]": order[61:78], "valid": order[78:], "all": order}
    expected |= {"all-fold[1]-test": np.r_[order[8:26], order[44:]]}
    expected |= {"test+valid": np.r_[order[:8], order[78:]]}
    for name, mine in expected.items():
        assert part(s, name) == sorted(mine.tolist()), name
    s.train("fit")
    assert s.results["fit"].watch["n"] == 8 + 5
    assert s.updates["fit"] == -(-(N - 8 - 18) // 7)
    few = {"d": (np.arange(200) * 2.0, np.zeros(200, int))}  # parts keep their shares of other sets
    s.train("fit", data=few)
    taken = s.datasets.limited(few, None).part("d", "test", "float64")
    assert taken.arrays["i"].tolist() == sorted(2.0 * shuffle(200, 6)[: 8 * 200 // N])


def test_each_class_has_its_share(tmp_path: Path) -> None:
    """Within one example, in parts that leave some over, and in folds; so for any numbers."""
    for split, names in {
        "split fit 0.7, valid 0.2 by label": ("fit", "valid"),
        "split fold[5] shuffled seed 2 by label": [f"fold[{k}]" for k in range(5)],
    }.items():
        s, seen = session(tmp_path, split), list[int]()
        for name in names:
            mine = part(s, name)
            counts = np.bincount(LABEL[mine], minlength=3)
            assert (abs(counts - np.bincount(LABEL) * len(mine) / N) <= 1).all()
            seen += mine
        assert len(set(seen)) == len(seen)
    assert part(session(tmp_path, "split fit 0.5 by label"), "fit")[:25] == list(range(25))
    rng = np.random.default_rng(0)
    for _ in range(50):
        sizes = tuple(rng.integers(1, 9, rng.integers(1, 6)).tolist())
        labels = rng.integers(0, 4, sum(sizes)) ** 2
        _, pieces = dealt(Division(sizes, True, 3, "label"), {"label": labels})
        assert np.bincount(pieces, minlength=len(sizes)).tolist() == list(sizes)
        for c in set(labels.tolist()):
            of_c = np.bincount(pieces[labels == c], minlength=len(sizes))
            assert (abs(of_c - (labels == c).mean() * np.array(sizes)) <= 1).all()


def test_without_a_word_parts_are_stretches_of_the_file(tmp_path: Path) -> None:
    """Folds too, as scikit-learn's KFold has them; a union of neighbours is one stretch."""
    s = session(tmp_path, "split a 20, fold[3], b 3", PHASE % ("d.a + d.fold[0]", "d.b"))
    assert part(s, "a+fold[0]") == list(range(40))
    assert [part(s, f"fold[{k}]")[0] for k in range(3)] == [20, 40, 60]
    assert s.plan.data["d"].stretch("a+fold[0]") == (0, 40)


def test_a_limit_takes_those_dealt_out_first(tmp_path: Path) -> None:
    s = session(tmp_path, "split fit 60 shuffled")
    s.datasets = s.datasets.limited(None, 10)
    assert part(s, "fit") == sorted(shuffle(N, 0)[:10].tolist())


def test_whole_fields_and_balanced_minibatches(tmp_path: Path) -> None:
    more = """block near(x; X, c) -> y { y = sum(j: X[j]) + 0 * x }
let all = near(X = (d - d.fold[0]).i, c = d.fold[2].label)
train fit on d - d.fold[0] batch 6 for 2 epochs order balanced(label) {
  watch s = all(i) on d.fold[0] + d.fold[2]
}
"""
    s = session(tmp_path, "split fold[3] shuffled by label", more)
    s.train("fit")
    assert s.results["fit"].watch["s"] == sum(part(s, "all-fold[0]"))
    assert s.updates["fit"] == 2 * -(-len(part(s, "all-fold[0]")) // 6)


def test_a_label_that_is_none_is_found_before_it_divides(tmp_path: Path) -> None:
    s = session(tmp_path, "split fit 0.5 shuffled by label")
    np.savez(tmp_path / "a.npz", i=np.arange(N) * 1.0, label=LABEL + 2)
    with pytest.raises(DlnError, match="label: example 80 has 4, expected a class"):
        part(s, "fit")
