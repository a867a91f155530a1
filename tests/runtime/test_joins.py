"""Dead entries stay 0 whatever is written into a parameter from outside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dln
from dln.runtime.gradcheck import gradcheck

TABLE = np.array([[1, 0, 1], [0, 1, 1]])
SPEC = """
data d = rows([[1, 2, 3, 0.5], [4, -5, 6, 1]]) {
  x[3] = raw[:3]
  t = raw[3]
}
block sparse(x[n]; m, joins = 1) -> y[m] {
  param W[m, n] ~ uniform(1, 2) where joins
  y = W @ x
}
let net = sparse(2, JOINS)
train fit on d batch 1 for 4 updates dtype float64 {
  minimize (sum(tanh(net(x) / 10)) - t)^2 over net with sgd(lr = 0.1, momentum = 0.5)
}
"""
LIVE = SPEC.replace("JOINS", str(TABLE.tolist()))
X = np.eye(3)


def session(text: str = LIVE, seed: int = 1) -> Any:
    return dln.load(text).compile().session(seed=seed)


def test_assigned() -> None:
    s = session()
    s.params["net.W"] = 7
    np.testing.assert_array_equal(s.params["net.W"], 7 * TABLE)
    s.params["net.W"][...] = 3
    np.testing.assert_allclose(s.net(X), 3 * TABLE.T)
    np.testing.assert_array_equal(s.params["net.W"], 3 * TABLE)


def test_written_into_the_array_before_training() -> None:
    s, other = session(), session()
    s.params["net.W"][TABLE == 0] = 9
    s.train("fit")
    other.train("fit")
    np.testing.assert_array_equal(s.params["net.W"], other.params["net.W"])
    assert (s.params["net.W"][TABLE == 0] == 0).all()


def test_loaded_from_a_net_without_a_table(tmp_path: Path) -> None:
    full = session(SPEC.replace(", JOINS", ""))
    full.save(tmp_path / "full.safetensors")
    s = session()
    s.load(tmp_path / "full.safetensors")
    np.testing.assert_array_equal(s.params["net.W"], full.params["net.W"] * TABLE)


def test_given_to_evaluate() -> None:
    s = session()
    found = s.evaluate("apply:net", {"x": X}, params={"net.W": np.full((2, 3), 2.0)})
    np.testing.assert_allclose(found["y"], 2 * TABLE.T)


def test_saved_and_gone_on_with_they_are_the_same(tmp_path: Path) -> None:
    s = session()
    s.train("fit")
    s.save(tmp_path / "some.safetensors")
    again = session(seed=5)
    again.load(tmp_path / "some.safetensors")
    np.testing.assert_array_equal(again.params["net.W"], s.params["net.W"])


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_gradients_are_checked_along_the_living(seed: int) -> None:
    (row,) = gradcheck(session(seed=seed), "fit", points=4)
    assert row.parameter == "net.W" and row.error < 1e-7 and row.analytic != 0
