"""Scans in windows, out of which no gradient runs, against the same with `stop` written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dln
from dln.running.expectations import verdicts

SPEC = """
data d = rows([[1, 2, 0.5, -1, 0.3, 2, 1], [0.2, -1, 2, 0.7, 1, -0.4, 0.1]]) {
  x[time] = raw
}
block free(x[time]) -> y {
  param a = 0.7, h0 = 0.4
  h[-1] = h0
  %s
  y = sum(h^2)
}
let f = free()
train fit on d batch all for 1 update dtype float64 {
  minimize f(x) over f with sgd(lr = 0.1)
}
"""
WINDOWS = {
    "ahead": (
        "scan t in time by 3 {\n h[t] = tanh(a * h[t-1] + x[t])\n}",
        "scan t in time {\n p = stop(h[t-1]) if t == 3 or t == 6 else h[t-1]\n"
        " h[t] = tanh(a * p + x[t])\n}",
    ),
    "two steps ago": (
        "scan t in time by 3 {\n h[t] = tanh(a * h[t-1] + h[t-2] * x[t])\n}",
        "scan t in time {\n p = stop(h[t-1]) if t == 3 or t == 6 else h[t-1]\n"
        " q = stop(h[t-2]) if t == 3 or t == 4 or t == 6 else h[t-2]\n"
        " h[t] = tanh(a * p + q * x[t])\n}",
    ),
    "in a step": (
        "scan t in time {\n scan s in 4 by 2 {\n b[s] = tanh(a * b[s-1] + x[t])\n}\n"
        " h[t] = h0 * sum(b)\n}",
        "scan t in time {\n scan s in 4 {\n"
        " b[s] = tanh(a * (stop(b[s-1]) if s == 2 else b[s-1]) + x[t])\n}\n h[t] = h0 * sum(b)\n}",
    ),
    "longer than the sequence": (
        "scan t in time by 50 {\n h[t] = tanh(a * h[t-1] + x[t])\n}",
        "scan t in time {\n h[t] = tanh(a * h[t-1] + x[t])\n}",
    ),
    "a layer in single steps": (
        "let c = cell()\n scan t in time by 3 {\n h[t] = c.step(a * x[t])\n}",
        "scan t in time {\n p = stop(h[t-1]) if t == 3 or t == 6 else h[t-1]\n"
        " h[t] = tanh(p / 2 + a * x[t])\n}",
    ),
}
CELL = """
block cell(x[time]) -> h[time] {
  scan t in time {
    h[t] = tanh(h[t-1] / 2 + x[t])
  }
}
"""


X = np.array([[1, 2, 0.5, -1, 0.3, 2, 1], [0.2, -1, 2, 0.7, 1, -0.4, 0.1]])


def learnt(body: str) -> dict[str, Any]:
    """The loss, and the parameters after an update."""
    text = SPEC
    if not any(h in body for h in ("h[t-1] +", "p +")) or "p / 2" in body:
        text = text.replace("h[-1] = h0\n  ", "").replace("y = sum(h^2)", "y = sum(h^2) + h0^2")
    made = dln.load(CELL + text % body).compile(dtype="float64").session(seed=0)
    loss = made.step("fit", x=X)
    return {"loss": loss, **{k: np.array(v) for k, v in made.params.items()}}


@pytest.mark.parametrize("name", WINDOWS)
def test_no_gradient_leaves_a_window(name: str) -> None:
    found, wanted = map(learnt, WINDOWS[name])
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        np.testing.assert_allclose(found[key], value, rtol=1e-12, err_msg=key)


def test_windows_change_slopes_and_no_values() -> None:
    found = learnt("scan t in time by 3 {\n h[t] = tanh(a * h[t-1] + x[t])\n}")
    whole = learnt("scan t in time {\n h[t] = tanh(a * h[t-1] + x[t])\n}")
    assert found["loss"] == whole["loss"] and found["f.a"] != whole["f.a"]


BACK = """
block free(x[time]) -> y {
  param a = 0.7
  scan t in time by 3 backwards {
    h[t] = tanh(a * h[t+1] + x[t])
  }
  y = sum(h^2)
}
block ahead(x[time]; a) -> y {
  scan t in time by 3 {
    h[t] = tanh(a * h[t-1] + x[t])
  }
  y = sum(h^2)
}
block counted(x[time]; a) -> y[time] {
  scan t in time by 3 backwards {
    y[t] = tanh(a * y[t+1] + x[t]) * (t + 1)
  }
}
block stopped(x[time]; a) -> y[time] {
  scan t in time {
    p = stop(y[t-1]) if t == 3 else y[t-1]
    y[t] = tanh(a * p + x[t]) * (5 - t)
  }
}
let f = free()
let g = ahead(a = f.a)
let k = counted(a = f.a)
let m = stopped(a = f.a)
check "counted from the end" {
  there = grad(f([1, 2, 0.5, -1, 0.3, 2, 4]), f.a)
  back = grad(g([4, 2, 0.3, -1, 0.5, 2, 1]), f.a)
  expect there == back within 1e-12
  e = sum(k([1, 2, 0.5, -1, 0.3]))
  s = sum(m([0.3, -1, 0.5, 2, 1]))
  expect grad(e, f.a) == grad(s, f.a) within 1e-12
}
"""


def test_windows_from_the_end() -> None:
    found = verdicts(dln.load(BACK).model)
    assert len(found) == 2 and all(v.status == "passed" for v in found), found
