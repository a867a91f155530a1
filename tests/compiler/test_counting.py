"""Indices and steps as the numbers that they are: values by hand, in NumPy, and by the evaluator;
slopes against central differences; the same in steps, in what is read and in the windows of a
stream."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import dln
from dln.compiler.ir.evaluate import evaluate
from dln.compiler.plan import ProgramKind
from dln.compiler.stages import part
from dln.running.expectations import verdicts
from dln.runtime.gradcheck import gradcheck
from dln.runtime.session import Session


def session(text: str) -> Session:
    made: Session = dln.load(text).compile(dtype="float64").session(seed=1)
    return made


VALUES = """
let x = [1, 2, 4] + 0
let label = 2 as class(3)
block eye(x[n]) -> y[n, n] {
  y[i, j] = 1 if i == j else 0
}
block band(x[n]) -> y[n, n] {
  y[i, j] = x[j] if abs(i - j) <= 1 else -i
}
block code(x[n]) -> y[n] {
  y[i] = x[i] * (i + 1)^2 / 2 - max(i, 1) + [i, 3 * i - 1] @ [1, 10]
}
block count(x[time, n]) -> y[time] {
  scan t in time {
    y[t] = 2 * y[t-1] + (sum(x[t]) if t > 0 else -t - 1) + t / 4
  }
}
block inner(x[time, n]) -> y[time] {
  scan t in time {
    scan s in 3 {
      b[s] = b[s-1] + t * s
    }
    scan r in 3 {
      c[r] = c[r-1] + r^2
    }
    y[t] = last(b) + 100 * last(c)
  }
}
block own(x[n]) -> y[n] {
  y[i] = x[i] * i if i != 1 else x[2 - i]
}
let eye_of  = eye()
let band_of = band()
let code_of = code()
let counted = count()
let inside  = inner()
let chosen  = own()
fn far(k) = 10 * k
check "by hand" {
  expect eye_of(x) == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
  expect band_of(x) == [[1, 2, 0], [1, 2, 4], [-2, 2, 4]]
  expect code_of(x) == [0.5 - 1 - 10, 4 - 1 + 21, 18 - 2 + 52]
  expect counted([[1, 2], [3, 4], [5, 6]]) == [-1, 5.25, 22]
  expect inside([[1, 2], [3, 4]]) == [500, 503]
  expect chosen(x) == [0, 2, 8]
  expect sum(i in 2..8 by 2: i) == 20
  expect sum(i in 0..2, j in 0..1: x[i] * (2 * i + j - 1)) == 0 - 1 + 2 * (1 + 2) + 4 * (3 + 4)
  expect sum(i: x[i] if i == label else 0) == 4
  expect sum(i: x[i] if i != label else 0) == 3
  expect sum(i in 0..1: 1 if i + 1 == label else 0) == 1
  expect sum(i in 0..1: x[argmin(j: abs(i + 1 - j) + 0 * x[j])]) == 6
  expect sum(i: x[i] * far(i)) == 100
}
"""


def test_values() -> None:
    found = verdicts(dln.load(VALUES).model)
    assert len(found) == 13 and all(v.status == "passed" for v in found), found


ATTENTION = """
data d = npz("d.npz") {
  x[time, 3] = raw.x
}
block attend(x[time, n]) -> h[time, n] {
  param Q[n, n] ~ normal(0, 1), K[n, n] ~ normal(0, 1)
  z[t, i] = x[t, i] + sin(t / 10^(2 * i / 3))
  q = z @ Q
  k = z @ K
  s[t, r] = exp(q[t] @ k[r]) if r <= t else 0
  h[t, i] = sum(r: s[t, r] * z[r, i]) / sum(r: s[t, r])
}
block net(x[time, n]) -> y {
  param w[n] ~ normal(0, 1)
  h = x -> attend()
  scan t in time {
    g[t] = h[t] if t == 0 else tanh(g[t-1] * w + h[t] / (t + 1))
  }
  y = sum(time: g * g) @ w
}
let f = net()
train fit on d batch all for 1 update dtype float64 {
  minimize f(x) over f with sgd(lr = 0.01)
}
"""
LENGTH = np.array([4, 1, 3])
X = np.random.default_rng(3).normal(size=(3, 4, 3))


def by_hand(x: np.ndarray, p: dict[str, np.ndarray]) -> float:
    """The network for one sequence."""
    n, m = x.shape
    z = x + np.sin(np.arange(n)[:, None] / 10.0 ** (2 * np.arange(m) / 3))
    s = np.exp((z @ p["f.h.Q"]) @ (z @ p["f.h.K"]).T) * np.tri(n)
    h, g = s @ z / s.sum(1, keepdims=True), list[np.ndarray]()
    for t in range(n):
        g.append(np.tanh(g[-1] * p["f.w"] + h[t] / (t + 1)) if t else h[0])
    return float(np.square(g).sum(0) @ p["f.w"])


@pytest.fixture
def attending(tmp_path: Path) -> Session:
    np.savez(tmp_path / "d.npz", x=X, length=LENGTH)
    (tmp_path / "net.dln").write_text(ATTENTION)
    made: Session = dln.load(str(tmp_path / "net.dln")).compile(dtype="float64").session(seed=1)
    return made


def test_a_causal_mask_and_positions_of_sequences_of_unequal_lengths(attending: Session) -> None:
    params = {k: np.array(v, float) for k, v in attending.params.items()}
    wanted = [by_hand(x[:n], params) for x, n in zip(X, LENGTH, strict=True)]
    np.testing.assert_allclose(attending.f(X, length=LENGTH), wanted, rtol=1e-12)
    rows = gradcheck(attending, "fit")
    assert len(rows) == 3 and all(r.error < 1e-6 for r in rows)
    loss = attending.step("fit", x=X, length=LENGTH)
    np.testing.assert_allclose(loss, np.mean(wanted), rtol=1e-12)


def test_the_evaluator_agrees(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=X)
    (tmp_path / "net.dln").write_text(ATTENTION)
    spec = dln.load(str(tmp_path / "net.dln"))
    made = spec.compile(dtype="float64").session(seed=1)
    graph = part(spec.model, {"loss": spec.model.phases["fit"].objectives[0]})
    env = {("input", "x"): X}
    env |= {("param", k): np.asarray(v) for k, v in made.params.items()}
    found = evaluate(graph, env)["loss"]
    np.testing.assert_allclose(made.step("fit", x=X), found, rtol=1e-12)


STREAM = """
data word = text("word.txt") {
  c[time]: class(V) = raw[:-1]
  set window = 3
}
block counter(c[time]: class(V)) -> y[time] {
  scan t in time {
    y[t] = t + (10 if t == 0 else 0)
    z[t] = z[t-1] + t
  }
}
let net = counter()
train fit on word stream 2 for 2 epochs dtype float64 {
  param_free = sum(net(c))
  minimize param_free * w.b[0]^2 over w with sgd(lr = 0)
  watch seen = sum(net(c)) every 1 update
}
let w = dense(1)
let used = w([1])
"""


def test_the_windows_of_a_stream_count_on(tmp_path: Path) -> None:
    """And begin with 0 again in each epoch."""
    (tmp_path / "word.txt").write_text("abcabcabcabcabcabcabcabcabc")
    (tmp_path / "net.dln").write_text(STREAM)
    made = dln.load(str(tmp_path / "net.dln")).compile().session(seed=0)
    result = made.train("fit")
    windows = [10 + 0 + 1 + 2, 3 + 4 + 5, 6 + 7 + 8, 9 + 10 + 11]
    assert [r.value for r in result.history["seen"]] == 2 * windows


def test_what_is_read_counts_as_well() -> None:
    text = VALUES + (
        "task go() {\n  a = counted.read([[1, 2], [3, 4], [5, 6]])\n  emit counted.step(a)\n"
        "  emit counted.step([0, 0])\n}\n"
        "task whole() {\n  emit counted([[1, 2], [3, 4], [5, 6], [0, 0]])\n}\n"
    )
    made = session(text)
    found = {k: made.programs.run(ProgramKind.TASK.of(k)) for k in ("go", "whole")}
    steps = [float(np.asarray(v)) for _, v in sorted(found["go"].items())]
    (whole,) = found["whole"].values()
    np.testing.assert_allclose(steps, np.asarray(whole)[2:], rtol=1e-12)
