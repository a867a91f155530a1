"""What stands before the first step of a sequence of classes, and past its end, is no class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dln

C = np.array([[0, 2, 0, 1], [1, 1, 2, 0]])
SPEC = """
data d = npz("d.npz") {
  c[time]: class(3) = raw.c
}
block table(e: class(3)) -> y[2] {
  param E[3, 2] ~ normal(0, 1)
  y = E[e]
}
block look(c[time]: class(3)) -> s[time, 2] {
  let of = table()
  scan t in time {
    WHAT
  }
}
let net = look()
train p on d batch all order file for 1 epoch dtype float64 {
  minimize sum(net(c)) over net with sgd(lr = 1)
}
"""


def session(folder: Path, what: str) -> Any:
    np.savez(folder / "d.npz", c=C)
    (folder / "s.dln").write_text(SPEC.replace("WHAT", what))
    return dln.load(str(folder / "s.dln")).compile().session(seed=1)


def moved(offset: int) -> np.ndarray:
    """The classes some steps on, -1 where there is none."""
    found = np.full_like(C, -1)
    for t in range(4):
        if 0 <= t + offset < 4:
            found[:, t] = C[:, t + offset]
    return found


@pytest.mark.parametrize("offset", [-1, -2, 1, 2])
def test_its_row_of_a_table_is_0_and_learns_nothing(tmp_path: Path, offset: int) -> None:
    s = session(tmp_path, f"s[t] = of(c[t{offset:+}])")
    table, at = np.array(s.params["net.of.E"]), moved(offset)
    np.testing.assert_array_equal(s.net(C), np.where(at[..., None] >= 0, table[at], 0.0))
    counts = [(at == k).sum() / 2 for k in range(3)]
    np.testing.assert_allclose(s.grad("p", "net.of.E", c=C), np.array([counts, counts]).T)


def test_one_step_at_a_time_begins_with_no_class_too(tmp_path: Path) -> None:
    s = session(tmp_path, "s[t] = of(c[t-1]) + 2 * of(c[t-2])")
    whole, net = s.net(C), s.net
    steps = np.stack([net.step(C[:, t]) for t in range(4)], axis=1)
    np.testing.assert_allclose(steps, whole, rtol=1e-14)


def test_a_first_value_may_be_said(tmp_path: Path) -> None:
    said = "p[t] = c[t]\n    s[t] = of(p[t-1])"
    text = SPEC.replace("  scan t in time {", "  p[-1] = 2 as class(3)\n  scan t in time {")
    np.savez(tmp_path / "d.npz", c=C)
    (tmp_path / "s.dln").write_text(text.replace("WHAT", said))
    s = dln.load(str(tmp_path / "s.dln")).compile().session(seed=1)
    at = np.where(moved(-1) < 0, 2, moved(-1))
    np.testing.assert_array_equal(s.net(C), s.params["net.of.E"][at])


def test_it_equals_no_class(tmp_path: Path) -> None:
    what = "s[t] = of(c[t]) * (1 if c[t-1] == 0 else 0)"
    s = session(tmp_path, what)
    wanted = np.where(moved(-1)[..., None] == 0, s.params["net.of.E"][C], 0.0)
    np.testing.assert_array_equal(s.net(C), wanted)
