"""Phases: what a `for` and a `step` in one stand for, and what goes from phase to phase."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dln
from dln.compiler.ir.graph import ancestors
from dln.compiler.plan import site_number
from dln.runtime.device.kernels import uniform
from dln.runtime.session import Session

ROWS = [[0.5, -1.0], [1.5, 2.0], [-0.5, 0.25], [2.0, 1.0], [1.0, -2.0]]
HEAD = f"""
data d = rows({ROWS}) {{
  x[2] = raw
}}
data other = rows([[1, 2], [3, 4]]) {{
  x[2] = raw
}}
block line(x[n]) -> y {{
  param w[n] = 0.3
  y = w @ x
}}
"""


def session(body: str, seed: int = 1) -> Session:
    made: Session = dln.load(HEAD + body).compile(dtype="float64").session(seed=seed)
    return made


# ---- for -----------------------------------------------------------------------------------------

ROUNDS = """
let nets = [line(), line()]
train t on d batch 5 for 1 update order file {
  for i in 0..1 {
    z[2] ~ uniform(0, 1)
    let inner = line()
    minimize nets[i](z) + inner(x) over nets[i], inner with sgd(lr = 1)
  }
}
"""


def test_the_rounds_of_a_for_draw_and_learn_for_themselves() -> None:
    """The gradient of w @ z is z: each round has other numbers, and parameters of its own."""
    s = session(ROUNDS)
    assert sorted(s.params) == ["nets[0].w", "nets[1].w", "t[0].inner.w", "t[1].inner.w"]
    s.train("t")
    for i in (0, 1):
        u = np.empty((5, 2))
        uniform(u, 1, site_number(f"t[{i}].z"), 0)
        np.testing.assert_allclose(s.params[f"nets[{i}].w"], 0.3 - u.mean(0))
        np.testing.assert_allclose(s.params[f"t[{i}].inner.w"], 0.3 - np.mean(ROWS, axis=0))
    assert not np.allclose(s.params["nets[0].w"], s.params["nets[1].w"])


def test_a_for_within_a_for() -> None:
    text = """
train t on d for 1 epoch {
  for i in 0..1 {
    for j in 0..1 {
      let inner = line()
      z[2] ~ uniform(0, 1)
      minimize inner(x + z) over inner with sgd(lr = 1)
    }
  }
}
"""
    model = dln.load(HEAD + text).model
    sites = [n["site"] for n in ancestors(model.phases["t"].updates.values()) if n.op == "draw"]
    assert sorted(sites) == sorted(f"t[{i}][{j}].z" for i in (0, 1) for j in (0, 1))
    assert len(model.phases["t"].updates) == 4


def test_a_fault_in_a_for_is_told_once_at_its_place() -> None:
    text = HEAD + ROUNDS.replace("inner(x)", "inner(y)")
    with pytest.raises(dln.DlnError) as e:
        dln.load(text)
    [problem] = e.value.problems
    assert problem.span is not None and problem.span.text == "y"


def test_a_watch_in_a_for_sees_the_equations_of_its_round_over_its_own_data() -> None:
    """Over [[1, 2], [3, 4]]: 10 * (0.3 + 0.6 + 0.9 + 1.2) / 2."""
    s = session(
        """
let net = line()
train t on d for 0 epochs {
  for i in 10..10 {
    y = i * net(x)
    watch level = y on other.all every 1 epoch
    minimize y over net with sgd(lr = 1)
  }
}
"""
    )
    assert s.train("t").watch["level"] == pytest.approx(15.0)


# ---- step ----------------------------------------------------------------------------------------


def test_steps_draw_for_themselves() -> None:
    s = session(
        """
let a = line()
let c = line()
train t on d batch 5 for 1 update order file {
  step one {
    z[2] ~ uniform(0, 1)
    minimize a(z) over a with sgd(lr = 1)
  }
  step two {
    z[2] ~ uniform(0, 1)
    minimize c(z) over c with sgd(lr = 1)
  }
}
"""
    )
    s.train("t")
    for name, step in (("a.w", "one"), ("c.w", "two")):
        u = np.empty((5, 2))
        uniform(u, 1, site_number(f"t.{step}.z"), 0)
        np.testing.assert_allclose(s.params[name], 0.3 - u.mean(0))


WAKE_SLEEP = """
block up(x[n]; m) -> h[m] {
  param W[m, n] = 0.1, b[m] = [0.2, -0.1, 0.3]
  h = tanh(W @ x + b)
}
block down(h[m]; n) -> x[n] {
  param W[n, m] = [[0.3, -0.2, 0.1], [0.05, 0.4, -0.3]], b[n] = 0
  x = W @ h + b
}
let rec = up(3)
let gen = down(2)
train t on d batch 2 for 3 epochs order file {
  step wake {
    h = stop(rec(x))
    minimize sum((gen(h) - x)^2) / 2 over gen with sgd(lr = 0.1, momentum = 0.9)
  }
  step associate {
    update gen.b += 0.1 * (mean(batch: rec(x)[0]) + sum(gen.b))
  }
  step sleep {
    h = rec(x)
    dream = stop(gen(h))
    minimize sum((rec(dream) - stop(h))^2) / 2 over rec with sgd(lr = 0.2, momentum = 0.5)
  }
  watch total error = sum((gen(rec(x)) - x)^2) every 1 epoch
}
"""


def wake_sleep() -> tuple[dict[str, np.ndarray], list[float]]:
    """`WAKE_SLEEP` by hand: three steps on each minibatch, each after the one before."""
    R, c = np.full((3, 2), 0.1), np.array([0.2, -0.1, 0.3])
    G, b = np.array([[0.3, -0.2, 0.1], [0.05, 0.4, -0.3]]), np.zeros(2)
    v = {k: np.zeros_like(a) for k, a in (("R", R), ("c", c), ("G", G), ("b", b))}
    errors = []
    for _ in range(3):
        total = 0.0
        for low in (0, 2, 4):
            x = np.array(ROWS[low : low + 2])
            n, h = len(x), np.tanh(x @ R.T + c)
            total += ((h @ G.T + b - x) ** 2).sum()
            r = h @ G.T + b - x
            v["G"], v["b"] = 0.9 * v["G"] - 0.1 * r.T @ h / n, 0.9 * v["b"] - 0.1 * r.mean(0)
            G, b = G + v["G"], b + v["b"]
            b = b + 0.1 * (h[:, 0].mean() + b.sum())
            dream = h @ G.T + b
            a = np.tanh(dream @ R.T + c)
            e = (a - h) * (1 - a * a)
            v["R"], v["c"] = 0.5 * v["R"] - 0.2 * e.T @ dream / n, 0.5 * v["c"] - 0.2 * e.mean(0)
            R, c = R + v["R"], c + v["c"]
        errors.append(total)
    return {"rec.W": R, "rec.b": c, "gen.W": G, "gen.b": b}, errors


def test_each_step_sees_what_the_one_before_left() -> None:
    s = session(WAKE_SLEEP)
    got = s.train("t")
    wanted, errors = wake_sleep()
    for path, array in wanted.items():
        np.testing.assert_allclose(s.params[path], array, rtol=1e-12, err_msg=path)
    np.testing.assert_allclose([v for *_, v in got.history["error"]], errors, rtol=1e-12)


# ---- from phase to phase -------------------------------------------------------------------------

TWO = """
let a = dense(2)
let c = dense(2)
let sum_of = dense(1)
train first on d batch 2 for 3 epochs {
  minimize sum((a(x) + c(x) - x)^2) over a with sgd(lr = 0.1, momentum = 0.5)
}
train second on d batch 2 for 2 epochs after first {
  minimize sum((a(x) + c(x) - x)^2) over c.b with adam(lr = 0.1)
}
train none on d for 0 epochs after second {
  start a.b := c.b
  minimize sum(a(x)^2) over a with sgd(lr = 1)
}
"""


def held(s: Session) -> dict[str, bytes]:
    return {path: np.asarray(a).tobytes() for path, a in s.params.items()}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_not_named_in_over_keeps_its_bytes(dtype: str) -> None:
    s = dln.load(HEAD + TWO).compile(dtype=dtype).session(seed=3)
    start = held(s)
    for phase, learned in (
        ("first", {"a.W", "a.b"}), ("second", {"c.b"}), ("none", {"a.b"}),
    ):  # fmt: skip
        s.train(phase)
        after = held(s)
        assert {p for p in start if start[p] != after[p]} == learned
        start = after


def test_a_phase_of_no_epochs_still_starts() -> None:
    s = session(TWO)
    results = s.train()
    assert results["none"].updates == 0 and results["none"].complete
    np.testing.assert_array_equal(s.params["a.b"], s.params["c.b"])


TIED = """
let enc = dense(3, act = tanh)
let dec = dense(2, W = enc.W')
train t on d batch 2 for 4 epochs order file {
  minimize sum((dec(enc(x)) - x)^2) / 2 over enc, dec with sgd(lr = 0.1, momentum = 0.5)
}
"""


def test_tied_weights_are_one_array_and_their_gradients_add() -> None:
    s = session(TIED)
    assert sorted(s.params) == ["dec.b", "enc.W", "enc.b"]
    W, b, c = (np.array(s.params[p]) for p in ("enc.W", "enc.b", "dec.b"))
    v: list[Any] = [0.0, 0.0, 0.0]
    array = s.params["enc.W"]
    s.train("t")
    for _ in range(4):
        for low in (0, 2, 4):
            x = np.array(ROWS[low : low + 2])
            h = np.tanh(x @ W.T + b)
            r = h @ W + c - x
            e = (r @ W.T) * (1 - h * h)
            steps = (e.T @ x + h.T @ r) / len(x), e.mean(0), r.mean(0)
            v = [0.5 * old - 0.1 * new for old, new in zip(v, steps, strict=True)]
            W, b, c = W + v[0], b + v[1], c + v[2]
    np.testing.assert_allclose(s.params["enc.W"], W, rtol=1e-12)
    assert np.shares_memory(s.params["enc.W"], array)
    h = np.random.default_rng(0).normal(size=(5, 3))
    np.testing.assert_allclose(s["dec"](h), h @ W + c, rtol=1e-12)
    s.params["enc.W"] = 2 * W  # there is no second array
    np.testing.assert_allclose(s["dec"](h), h @ (2 * W) + c, rtol=1e-12)


UNTIE = """
let R = dense(3)
let up = dense(2)
train one on d for 2 epochs {
  minimize sum((R(x) - 1)^2) over R with sgd(lr = 0.1)
}
train two on d for 2 epochs after one {
  start up.W := R.W'[:2, :2] @ [[1, 0], [0, 1]]
  minimize sum((up(x) - 2)^2) over up with sgd(lr = 0.1)
}
train three on d for 2 epochs after two {
  minimize sum((R(x) - 3)^2) over R with sgd(lr = 0.1)
}
"""


def test_a_hand_over_copies_once_and_unties() -> None:
    text = UNTIE.replace("R.W'[:2, :2] @ [[1, 0], [0, 1]]", "R.W'").replace("dense(3)", "dense(2)")
    s = session(text)
    s.keep_before = {"two"}
    s.train("one")
    R = np.array(s.params["R.W"])
    s.train("two")
    before = s.results["two"].before
    assert before is not None
    np.testing.assert_array_equal(before["up.W"], R.T)
    np.testing.assert_array_equal(s.params["R.W"], R)
    assert not np.shares_memory(s.params["up.W"], s.params["R.W"])
    up = np.array(s.params["up.W"])
    assert not np.array_equal(up, R.T)
    s.train("three")
    np.testing.assert_array_equal(s.params["up.W"], up)
    assert not np.array_equal(s.params["R.W"], R)
