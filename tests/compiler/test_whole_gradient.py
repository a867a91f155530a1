"""The gradient by everything in a net, and clipping by its norm, against their definitions.

Slopes are complex steps through the equations in NumPy; the optimisers are written out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dln
from dln.running.expectations import verdicts
from dln.runtime.gradcheck import gradcheck
from dln.runtime.session import Session

RNG = np.random.default_rng(5)
X, T, START = RNG.normal(size=(6, 3)), RNG.normal(size=(6, 2)), RNG.normal(size=25)
SPEC = """
const joins = \"\"\"
X.X
.XX
XX.
XXX
\"\"\"
optimiser heavy(p, g; lr) {
  state v = 0
  v := 0.9 * v + g
  p := p - lr * v
}
data d = rows([[0, 0, 0, 0, 0]]) {
  x[3] = raw[:3]
  t[2] = raw[3:]
}
block net(x[n]) -> y[2] {
  param W[4, n] = 0 where marks(joins)
  fixed k = 2
  y = tanh(W @ x) -> dense(2)
}
let f = net()
let g = dense(2)
let unused = dense(2)
let z = unused([1, 2])
train s on d batch 6 for 9 updates order file dtype float64 {
  e = sum((f(x) * f.k + g(x) - t)^2)
  BODY
  watch norm_f = norm(grad(mean(batch: e), f)) every 1 update
  watch norm_all = norm(grad(mean(batch: e), [f, g, unused])) every 1 update
}
"""
PATHS = ("f.W", "f.y.W", "f.y.b", "g.W", "g.b")
DEAD = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 0, 0]], bool)


def parts(v: np.ndarray) -> list[np.ndarray]:
    """The parameters as one vector holds them: 9 live entries of f.W, then all others."""
    w = np.zeros((4, 3), v.dtype)
    w[~DEAD] = v[:9]
    return [w, v[9:17].reshape(2, 4), v[17:19], v[19:25].reshape(2, 3), np.zeros(2, v.dtype)]


def loss(v: np.ndarray) -> Any:
    w, u, b, q, c = parts(v)
    y = (np.tanh(X @ w.T) @ u.T + b) * 2 + X @ q.T + c
    return ((y - T) ** 2).sum(1).mean()


def slope(v: np.ndarray, of: Any = loss) -> np.ndarray:
    return np.array([of(v + 1e-30j * e).imag / 1e-30 for e in np.eye(len(v))])


def session(body: str) -> Session:
    """With g.b left out of all that learns, so that one vector holds the rest."""
    made: Session = dln.load(SPEC.replace("BODY", body)).compile(dtype="float64").session(seed=1)
    for path, value in zip(PATHS, parts(START), strict=True):
        made.params[path][...] = value
    return made


OVER = "f.W, f.y, g.W"


def moved(
    optimiser: str, v: np.ndarray, clip: float, updates: int
) -> tuple[np.ndarray, list[float]]:
    """The parameters after some updates, and the losses before each."""
    m = s = h = np.zeros_like(v)
    losses = []
    for n in range(1, updates + 1):
        losses.append(loss(v))
        g = slope(v)
        g = g * min(1.0, clip / np.sqrt((g**2).sum()))
        if optimiser.startswith("adam"):
            m, s = 0.9 * m + 0.1 * g, 0.999 * s + 0.001 * g**2
            v = v - 0.1 * (m / (1 - 0.9**n)) / (np.sqrt(s / (1 - 0.999**n)) + 1e-8)
        elif optimiser.startswith("heavy"):
            h = 0.9 * h + g
            v = v - 0.1 * h
        else:
            v = v - 0.1 * g
    return v, losses


@pytest.mark.parametrize("clip", [0.5, 3.0, 1e6])
@pytest.mark.parametrize("optimiser", ["sgd(lr = 0.1)", "heavy(0.1)", "adam(lr = 0.1)"])
def test_every_optimiser_is_given_the_limited_gradient(optimiser: str, clip: float) -> None:
    s = session(f"minimize e over {OVER} with {optimiser} clip {clip}")
    want, losses = moved(optimiser, START, clip, 3)
    assert [s.step("s", x=X, t=T) for _ in range(3)] == pytest.approx(losses, rel=1e-12)
    for path, value in zip(PATHS, parts(want), strict=True):
        np.testing.assert_allclose(s.params[path], value, rtol=1e-12, atol=1e-13)


def test_a_limit_that_is_not_reached_changes_no_bit() -> None:
    one, two = (
        session(f"minimize e over {OVER} with adam(lr = 0.1) {c}") for c in ("", "clip 1e6")
    )
    for s in (one, two):
        s.step("s", x=X, t=T)
    assert all(np.array_equal(one.params[p], two.params[p]) for p in PATHS)


def test_what_is_called_the_gradient_is_not_scaled() -> None:
    s = session(f"minimize e over {OVER} with sgd(lr = 0.1) clip 0.01")
    for path, value in zip(PATHS[:-1], parts(slope(START)), strict=False):
        np.testing.assert_allclose(s.grad("s", path, x=X, t=T), value, rtol=1e-12, atol=1e-13)
    assert max(row.error for row in gradcheck(s, "s")) < 1e-7


def test_lines_are_clipped_each_by_itself_and_a_limit_may_change() -> None:
    body = """minimize e over f.W with sgd(lr = 0.1) clip 0.2 / (1 + update)
  minimize e over g.W with sgd(lr = 0.1) clip 0.3"""
    s = session(body)
    s.step("s", x=X, t=T)
    first = slope(START)
    for path, at, limit in (("f.W", 0, 0.2), ("g.W", 3, 0.3)):
        g = parts(first)[at]
        want = parts(START)[at] - 0.1 * g * limit / np.linalg.norm(g)
        np.testing.assert_allclose(s.params[path], want, rtol=1e-12)


def test_the_norm_is_of_all_parameters_but_fixed_ones() -> None:
    s = session("minimize e over f with sgd(lr = 0)").train("s", data={"d": (X, T)})
    g = slope(START)
    bias = 2 * residual(START).mean(0)
    assert s.history["norm_f"][0][2] == pytest.approx(np.linalg.norm(g[:19]), rel=1e-12)
    assert s.history["norm_all"][0][2] == pytest.approx(
        np.hypot(np.linalg.norm(g), np.linalg.norm(bias))
    )


def residual(v: np.ndarray) -> Any:
    w, u, b, q, c = parts(v)
    return (np.tanh(X @ w.T) @ u.T + b) * 2 + X @ q.T + c - T


CHECK = """
check "all that moves" {
  all = norm(s.grad([f, g]))
  one = norm(s.grad(f.W))
  two = norm(s.grad(f.y.W))
  expect all == norm(s.grad([f.W, g.W, f.y.W, f.y.b])) within 1e-12
  expect norm(s.grad(f))^2 == one^2 + two^2 + norm(s.grad(f.y.b))^2 within 1e-9
}
"""


def test_a_check_asks_for_that_of_the_first_update() -> None:
    """As it is before it is clipped."""
    body = f"minimize e over {OVER} with sgd(lr = 0.1) clip 0.1"
    spec = dln.load(SPEC.replace("BODY", body) + CHECK)
    made = spec.compile(dtype="float64").session(seed=1)
    made.keep_before = {"s"}
    made.train("s", data={"d": (X, T)})
    assert [v.status for v in verdicts(spec.model, made)] == ["passed", "passed"]


def test_a_norm_in_a_loss_has_its_own_slope() -> None:
    s = session(
        f"minimize e + 0.3 * norm(grad(mean(batch: e), [f, g.W])) over {OVER} with sgd(lr = 0.1)"
    )

    def of(v: np.ndarray) -> float:
        return float(loss(v) + 0.3 * np.linalg.norm(slope(v)))

    h = 1e-5
    want = np.array([(of(START + h * e) - of(START - h * e)) / (2 * h) for e in np.eye(25)])
    for path, value in zip(PATHS[:-1], parts(want), strict=False):
        np.testing.assert_allclose(s.grad("s", path, x=X, t=T), value, rtol=1e-7, atol=1e-8)
    assert s.step("s", x=X, t=T) == pytest.approx(of(START), rel=1e-12)
