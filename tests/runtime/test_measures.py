"""`standardised` and `scaled`: by the numbers of one part, against scikit-learn and NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from sklearn.preprocessing import MinMaxScaler, StandardScaler

import dln.spec as specs
from dln.runtime.data.measures import Moments
from dln.runtime.session import Session

RNG = np.random.default_rng(3)
X = np.c_[RNG.normal(1e6, 3, 61), RNG.exponential(2, 61), np.full(61, 0.1), RNG.normal(size=61)]
NEW = RNG.normal(0, 9, (9, 4))
TEXT = """const k = 1
data d = npz("a.npz") {
  x[4] = standardised(raw.x)
  y = scaled(raw.x[0], by = all - fold[0])
  z[4] ~ standardised(raw.x) + normal(0, 0 * ones(4))
  split fold[4] shuffled
}
data new = npz("new.npz") like d
block net(x[n]) -> y[1] { y = x -> dense(1) }
let m = net()
train look on d batch all for 1 epoch { watch a = mean(x) }
train fit on d - d.fold[k] batch 7 for 1 epoch {
  minimize sum(m(x)^2) over m with sgd(lr = 0.01)
  watch b = sum(z) on new
}
"""


def session(tmp_path: Path, text: str = TEXT, **constants: Any) -> Session:
    np.savez(tmp_path / "a.npz", x=X)
    np.savez(tmp_path / "new.npz", x=NEW)
    (tmp_path / "net.dln").write_text(text)
    return specs.load(tmp_path / "net.dln", **constants).compile().session()


def field(s: Session, part: str, name: str) -> Any:
    return s.datasets.part("d", part, "float64").field(name, s.device)


def test_by_what_is_learned_from_or_what_is_said(tmp_path: Path) -> None:
    """Another fold is left out of the numbers where it is left out of the training; they are used
    on every part, on a set that is like it, and on what is drawn."""
    for k in (1, 2):
        s = session(tmp_path, k=k)
        d = s.plan.data["d"]
        rows = {p: s.datasets.fields.rows(d, p).listed for p in d.parts}
        fit = X[rows[f"all-fold[{k}]"]]
        wanted = StandardScaler().fit(fit)
        by_hand = (X - wanted.mean_) / np.where(fit.std(0) < 1e-12, np.inf, wanted.scale_)
        x, y = field(s, "all", "x"), field(s, "all", "y")
        np.testing.assert_allclose(x, by_hand, rtol=1e-9, atol=1e-12)
        assert (x[:, 2] == 0).all()
        scaled = MinMaxScaler().fit(X[rows["all-fold[0]"]]).transform(X)[:, 0]
        np.testing.assert_allclose(y, scaled, rtol=1e-7)
        new = (NEW - wanted.mean_) / np.where(fit.std(0) < 1e-12, np.inf, wanted.scale_)
        s.train("fit")
        np.testing.assert_allclose(s.results["fit"].watch["b"], new.sum(1).mean(), rtol=1e-5)


def test_kept_with_what_is_saved(tmp_path: Path) -> None:
    """The numbers go with the weights: on other data they stay what they were."""
    s = session(tmp_path)
    s.train("fit")
    s.save(tmp_path / "net.safetensors")
    other = session(tmp_path)
    np.savez(tmp_path / "a.npz", x=3 * X + 1)
    other.datasets.part("d", "all", "float64")
    other.load(tmp_path / "net.safetensors")
    for name, numbers in s.state.measured.items():
        for what, values in numbers.items():
            assert (other.state.measured[name][what] == values).all()
    got = field(other, "fold[0]", "x")
    kept, rows = s.state.measured["d.x"], other.datasets.fields.rows(s.plan.data["d"], "fold[0]")
    width = np.where(kept["deviation"] == 0, np.inf, kept["deviation"])
    np.testing.assert_array_equal(got, (3 * rows.of(X) + 1 - kept["mean"]) / width)


def test_of_sequences_over_the_steps_that_there_are(tmp_path: Path) -> None:
    """Whatever stands past the end, and of each number of a step by itself."""
    length, x = RNG.integers(1, 6, 11), RNG.normal(2, 5, (11, 5, 2))
    x[np.arange(5) >= length[:, None]] = np.nan
    np.savez(tmp_path / "seq.npz", x=x, length=length)
    text = """data d = npz("seq.npz") {
  x[time, 2] = standardised(raw.x)
  m[time] = scaled(raw.x[:, 0])
  split fit 8, valid 3
}
"""
    s = session(tmp_path, text)
    held = s.datasets.part("d", "valid", "float64").arrays
    steps = np.concatenate([x[i, : length[i]] for i in range(8)])
    for i in range(3):
        mine = x[8 + i, : length[8 + i]]
        seen = held["x"][i, : len(mine)]
        np.testing.assert_allclose(seen, StandardScaler().fit(steps).transform(mine), rtol=1e-9)
        low, high = steps[:, 0].min(), steps[:, 0].max()
        np.testing.assert_allclose(held["m"][i, : len(mine)], (mine[:, 0] - low) / (high - low))


def test_moments_some_at_a_time() -> None:
    """No large mean eats a small deviation, and what is constant has none."""
    values = np.c_[1e8 + RNG.normal(size=1001), np.full(1001, 0.1)]
    moments = Moments((2,))
    for low in range(0, 1001, 200):
        moments.add(values[low : low + 200])
    found = moments.numbers(("mean", "deviation"))
    np.testing.assert_allclose(found["mean"], values.mean(0), rtol=1e-13)
    np.testing.assert_allclose(found["deviation"][0], values[:, 0].std(), rtol=1e-7)
    assert (found["mean"][1], found["deviation"][1]) == (0.1, 0.0)
