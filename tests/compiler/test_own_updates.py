"""Lines of `update` in a block: what a layer keeps by itself where a phase learns, by NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

import dln

X = np.array([[1.0, 2.0], [3.0, 5.0], [4.0, 1.0]])
KEEPER = """
block keeper(x[n]) -> y[n] {
  param w[n] = 2
  fixed m[n] = 1
  update m += 0.25 * (mean(batch: x) - m)
  y = w * x - training(0, 1) * m
}
data d = rows([[1, 2], [3, 5], [4, 1]]) {
  x[2] = raw
}
let net = keeper()
"""


def session(phase: str, head: str = KEEPER) -> Any:
    text = f"{head}train t on d batch 3 for 1 update dtype float64 {{\n{phase}\n}}\n"
    return dln.load(text).compile(dtype="float64").session(seed=0)


LOSS = "  minimize sum(net(x)^2) over {} with sgd(lr = 0.01)"


def test_it_is_done_with_what_the_loss_moves_and_seen_where_nothing_learns() -> None:
    s, m = session(LOSS.format("net")), np.ones(2)
    for _ in range(3):
        s.step("t", x=X)
        m = m + 0.25 * (X.mean(0) - m)
    np.testing.assert_allclose(s.params["net.m"], m, rtol=1e-12)
    np.testing.assert_allclose(s.net(X), s.params["net.w"] * X - m, rtol=1e-12)


def test_what_is_not_moved_keeps_what_it_has() -> None:
    s = session(LOSS.format("net.w"))
    s.step("t", x=X)
    assert s.params["net.m"].tolist() == [1, 1]


def test_of_several_applications_it_is_the_mean() -> None:
    s = session("  minimize sum((net(x) + net(3 * x))^2) over net with sgd(lr = 0.01)")
    s.step("t", x=X)
    np.testing.assert_allclose(s.params["net.m"], 1 + 0.25 * (2 * X.mean(0) - 1), rtol=1e-12)


def test_each_step_has_those_of_its_own_losses() -> None:
    """The first sees x with the weights as they were, the second with those that the first left."""
    two = "  step a {{\n  {}\n  }}\n  step b {{\n    minimize sum(net(net.w * x)) over net with "
    two += "sgd(lr = 0)\n  }}"
    s = session(two.format(LOSS.format("net")))
    w = np.full(2, 2.0)
    s.step("t", x=X)
    w = w - 0.01 * 2 * w * (X**2).mean(0)
    m = 1 + 0.25 * (X.mean(0) - 1)
    m = m + 0.25 * (w * X.mean(0) - m)
    np.testing.assert_allclose(s.params["net.w"], w, rtol=1e-12)
    np.testing.assert_allclose(s.params["net.m"], m, rtol=1e-12)


def test_a_line_of_the_phase_takes_its_place() -> None:
    s = session(LOSS.format("net") + "\n  update net.m += 5")
    s.step("t", x=X)
    assert s.params["net.m"].tolist() == [6, 6]


def test_batch_norm_is_the_papers() -> None:
    head = KEEPER.replace("let net = keeper()", "let net = batch_norm()")
    s, m, v = session(LOSS.format("net"), head), np.zeros(2), np.ones(2)
    for _ in range(2):
        g, b = s.params["net.g"].copy(), s.params["net.b"].copy()
        s.step("t", x=X)
        z = (X - X.mean(0)) / np.sqrt(X.var(0) + 1e-5)
        np.testing.assert_allclose(
            s.params["net.g"], g - 0.02 * (z * (g * z + b)).mean(0), atol=1e-12
        )
        m, v = 0.9 * m + 0.1 * X.mean(0), 0.9 * v + 0.1 * X.var(0, ddof=1)
    np.testing.assert_allclose(s.params["net.m"], m, rtol=1e-12)
    np.testing.assert_allclose(s.params["net.s"], v, rtol=1e-12)
    y = s.params["net.g"] * (X - m) / np.sqrt(v + 1e-5) + s.params["net.b"]
    np.testing.assert_allclose(s.net(X), y, rtol=1e-12)


AVERAGED = """
data d = rows([[1, 2], [3, 5], [4, 1]]) {
  x[2] = raw
}
block form(x[2]) -> y[3] {
  y = x -> dense(4, act = tanh) -> dense(3)
}
let net  = form()
let slow = form()
let mean_of = form()
train t on d batch 3 for 1 update dtype float64 {
  start slow := net
  minimize sum(net(x)^2) over net with sgd(lr = 0.1)
  update slow += 0.25 * (net - slow)
  watch e = sum(slow(x)) + sum(mean_of(x)) every 1 update
}
"""


def test_all_parameters_of_an_instance_follow_those_of_another() -> None:
    """Averaged weights: what stands before each update is taken in by a quarter."""
    s = dln.load(AVERAGED).compile(dtype="float64").session(seed=0)
    names = [k.removeprefix("net") for k in s.params if k.startswith("net.")]
    slow = {k: s.params[f"net{k}"].copy() for k in names}
    assert len(names) == 4
    s.train("t")
    for k in names:
        np.testing.assert_array_equal(s.params[f"slow{k}"], slow[k])
    for _ in range(3):
        net = {k: s.params[f"net{k}"].copy() for k in names}
        s.step("t", x=X)
        slow = {k: slow[k] + 0.25 * (net[k] - slow[k]) for k in names}
        for k in names:
            np.testing.assert_allclose(s.params[f"slow{k}"], slow[k], rtol=1e-12)
