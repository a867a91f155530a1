"""Terms that are simplified away: slopes of 0, and sizes that are still known.

The oracle is the same spec with the factor 1e-300 in place of 0, whose terms stay: they are too
small to change a number. Where it is the batch that only such a term knew, values by hand.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dln
from dln.running.expectations import verdicts
from dln.runtime.gradcheck import gradcheck

HEAD = """
const factor = 0.0
data d = rows([[1], [2], [3]]) {
  x[1] = raw
}
block line(x[n]) -> y {
  param w[n] = 1
  y = w @ x
}
let f = line()
let g = line()
"""
X = [[1.0], [2.0], [3.0]]


def outcome(body: str, head: str, factor: float, x: Any) -> dict[str, Any]:
    """Everything that can be asked of a phase."""
    spec = dln.load(head + body, factor=factor)
    plan = spec.compile(dtype="float64")
    s = plan.session(seed=1)
    moved = [p for p in s.params if p in spec.model.phases["t"].updates]
    found: dict[str, Any] = {f"grad {p}": s.grad("t", p, x=x) for p in moved}
    found["steps"] = [s.step("t", x=x) for _ in range(2)]
    found |= {f"after {p}": np.array(a) for p, a in s.params.items()}
    trained = plan.session(seed=1)
    trained.keep_before = {"t"}
    found |= {f"watch {k}": v for k, v in trained.train("t").watch.items()}
    found |= {f"trained {p}": np.array(a) for p, a in trained.params.items()}
    found["check"] = [v.value for v in verdicts(spec.model, trained, seed=1)]
    rows = gradcheck(plan.session(seed=1), "t")
    assert len(rows) == len(moved) and all(r.error < 1e-6 for r in rows if not r.reason)
    return found


def same(body: str, head: str = HEAD, x: Any = X) -> dict[str, Any]:
    zero, small = (outcome(body, head, factor, x) for factor in (0.0, 1e-300))
    assert zero.keys() == small.keys()
    for key, value in zero.items():
        np.testing.assert_allclose(value, small[key], rtol=1e-12, atol=1e-12, err_msg=key)
    return zero


PHASE = """
train t on d batch 3 for 2 updates order file dtype float64 {
  e = LOSS
  minimize e over f, g with OPTIMISER
  watch steep = norm(grad(mean(batch: e), g.w)) every 1 update
}
check "c" {
  expect t.before(norm(grad(mean(batch: e), g.w))) == 0
  expect t.grad(g.w)[0] == 0
}
"""
LOSSES = ["f(x)^2 + factor * g(x)^2", "factor * (f(x)^2 + g(x))", "f(factor * x)^2 + g(x * factor)",
          "sum(batch: factor * g(x)) + f(x)"]  # fmt: skip


@pytest.mark.parametrize("loss", LOSSES)
def test_the_slope_by_what_is_dropped_is_0(loss: str) -> None:
    found = same(PHASE.replace("LOSS", loss).replace("OPTIMISER", "sgd(lr = 0.1, momentum = 0.9)"))
    assert found["grad g.w"] == [0] and found["watch steep"] == 0 and found["check"] == [0, 0]
    assert found["after g.w"] == [1]


@pytest.mark.parametrize("optimiser", ["adam(lr = 0.1)", "sgd(lr = 0.1, decay = 0.2)"])
def test_so_it_is_under_any_optimiser(optimiser: str) -> None:
    same(PHASE.replace("LOSS", LOSSES[0]).replace("OPTIMISER", optimiser))


def test_a_line_search_leaves_it_where_it_is() -> None:
    text = """
train t on d batch all for 3 epochs dtype float64 {
  minimize (f(x) - 2)^2 + factor * g(x)^2 over f, g with lbfgs()
}
check "c" {
  expect t.grad(g.w)[0] == 0
}
"""
    found = same(text)
    assert found["trained g.w"] == [1]
    assert found["trained f.w"] == pytest.approx(2 * 6 / 14, abs=1e-6)


BATCH = """
train t on d batch 3 for 2 updates order file dtype float64 {
  e = f.w[0]^2 + factor * f(x)
  minimize total e over f with sgd(lr = 0.1)
  watch total all = e every 1 update
}
check "c" {
  expect t.before(sum(batch: e)) == 3
  expect t.grad(f.w)[0] == 6
}
"""


def test_how_many_examples_there_are_is_still_known() -> None:
    found = same(BATCH)
    assert found["grad f.w"] == [6] and found["check"] == [3, 6]
    np.testing.assert_allclose(found["steps"], [3, 3 * 0.4**2], atol=1e-14)


SEQUENCES = """
const factor = 0.0
data q = rows([[1, 2, 3, 4, 5, 6], [2, 3, 4, 1, 1, 1]]) {
  x[time, 2] = [[raw[0], raw[1]], [raw[2], raw[3]], [raw[4], raw[5]]]
}
block rec(x[time, n]) -> h[time, n] {
  param v[n] = 0.5, u[n] = 0.3
  h[-1] = 0.2 * ones(n)
  scan t in time {
    h[t] = tanh(v * h[t-1] + factor * u * x[t])
  }
}
let r = rec()
train t on q batch 2 for 2 updates order file dtype float64 {
  e = sum(r(x))
  minimize total e over r with sgd(lr = 0.1)
  watch total all = e every 1 epoch
}
check "c" {
  expect t.before(e) == 0
  expect norm(t.grad(r.v)) == 0
  expect sum(r([[1, 2], [3, 4]])) == 0
}
"""


def test_how_long_sequences_are_is_still_known() -> None:
    x = [[[1, 2], [3, 4], [5, 6]], [[2, 3], [4, 1], [1, 1]]]
    found = same("", SEQUENCES, np.array(x, float))
    h, total = 0.2, 0.0
    for _ in range(3):
        h = np.tanh(0.5 * h)
        total += h
    assert found["steps"][0] == pytest.approx(4 * total, abs=1e-14)
