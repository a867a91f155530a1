"""Indices that start, step, run and repeat as they like, against NumPy; gradients against central
differences."""

from __future__ import annotations

import numpy as np
import pytest

import dln
from dln.compiler.ir.evaluate import evaluate
from dln.compiler.stages import optimise, part
from dln.running.expectations import verdicts
from dln.runtime.gradcheck import gradcheck
from dln.runtime.session import Session


def session(text: str) -> Session:
    made: Session = dln.load(text).compile(dtype="float64").session(seed=1)
    return made


def expectations(text: str) -> None:
    found = verdicts(dln.load(text).model)
    assert found and all(v.status == "passed" for v in found), found


TENSORS = """
let x = [1, 2, 4, 8, 16, 32] + 0
let W = [[1, 2, 3], [4, 5, 6], [7, 8, 10]] + 0
let M = [[[1, 2], [3, 4], [5, 6]], [[7, 8], [9, 10], [11, 12]]] + 0
let near = lowest([3, 1, 2], 2)
check "c" {
"""
NUMBERS = [
    # a range may start anywhere, go up by more, and end early
    ("sum(i in 2..5: x[i])", "60"),
    ("sum(i in 0..2: x[i])", "7"),
    ("sum(i in 0..4 by 2: x[i])", "21"),
    ("sum(i in 1..4 by 2: x[i] * x[i + 1])", "136"),
    ("sum(i in 2..5: x[i] * x[i - 2])", "4 + 16 + 64 + 256"),
    ("max(i in 1..1: x[i])", "2"),
    ("sum(i in 1..2, j in 0..2 by 2: W[i, j])", "27"),
    # backwards
    ("sum(i in 0..2: W[i, 2 - i])", "15"),
    ("sum(i in 0..2: x[4 - 2*i] * W[0, i])", "16 + 8 + 3"),
    ("sum(i in 1..3: x[3 - i])", "7"),
    ("sum(i in 0..1, u in 0..1: x[i - u + 1] * W[i, u])", "2 + 2 + 16 + 10"),
    ("sum(i in 2..3: x[i - i] * x[i])", "12"),
    # the diagonal, also of what is shifted
    ("sum(i: W[i, i])", "16"),
    ("sum(i in 0..1: W[i, i + 1] * W[i + 1, i])", "8 + 48"),
    ("sum(i in 0..2: x[i] * W[i, i])", "51"),
    ("sum(i in 0..1: M[i, i, i])", "11"),
    # a class, or several, among other axes
    ("M[:, near]", "[[[3, 4], [5, 6]], [[9, 10], [11, 12]]]"),
    ("M[:, near, 1]", "[[4, 6], [10, 12]]"),
    ("M[1, near, 0]", "[9, 11]"),
]


def test_values() -> None:
    lines = [f"  expect {left} == {right}\n" for left, right in NUMBERS]
    expectations(TENSORS + "".join(lines) + "}\n")


LEARNED = """
data d = rows([[1, 2, 4, 8, 3, 7], [3, -1, 2, 0.5, 1, 2]]) {
  x[6] = raw
}
block net(x[n]) -> y {
  param K[3] = [0.3, -0.2, 0.5], W[n, n] ~ normal(0, 1)
  c[i] = sum(u: K[u] * x[i + 2 - u])
  r[i] = x[5 - i] * W[i, i]
  s[i] = sum(j in 1..5 by 2: W[i, j] * x[j])
  q = sum(i in 0..4: W[i, i + 1] * W[i + 1, i])
  y = sum(tanh(c)) + sum(tanh(r)) * sum(s^2) + q
}
let net1 = net()
train p on d batch 2 for 1 epoch dtype float64 {
  minimize net1(x) over net1 with sgd(lr = 0.01)
}
"""


def test_a_true_convolution_a_diagonal_and_a_stride_in_a_block() -> None:
    made = session(LEARNED)
    x = np.array([[1, 2, 4, 8, 3, 7], [3, -1, 2, 0.5, 1, 2]])
    k, w = (np.asarray(made.params[f"net1.{p}"], float) for p in "KW")
    beside = sum(w[i, i + 1] * w[i + 1, i] for i in range(5))
    wanted = [
        np.tanh(np.convolve(v, k, "valid")).sum()
        + np.tanh(v[::-1] * np.diag(w)).sum() * ((w[:, 1::2] @ v[1::2]) ** 2).sum()
        + beside
        for v in x
    ]
    np.testing.assert_allclose(made.net1(x), wanted, rtol=1e-12)
    rows = gradcheck(made, "p")
    assert len(rows) == 2 and all(r.error < 1e-7 for r in rows)


PICKED = """
data d = synthetic("gaussians", 3, 2, 20) {
  x[2] = raw.x
  label: class(3) = raw.label
}
block net(x[n], label: class(3)) -> y {
  param W[3, n] ~ normal(0, 1), V[n, 3, 4] ~ normal(0, 1)
  U = outer(W @ x, x)
  p[i, j, k] = V[i, j, k] * x[i]
  c[k] = p[1, label, k]
  e = V[:, label, 1:]
  y = sum(U[label, :]^2) + sum(tanh(p[:, label])) + sum(c^3) + sum(e * e) + U'[1, label]
}
let n = net()
train t on d batch 7 for 1 epoch dtype float64 {
  minimize n(x, label) over n with sgd(lr = 0.01)
}
"""


def test_a_class_picks_from_any_axis_of_what_each_example_has() -> None:
    made = session(PICKED)
    x, label = np.random.default_rng(0).normal(size=(5, 2)), np.array([0, 2, 1, 1, 0])
    w, v = (np.asarray(made.params[f"n.{p}"], float) for p in "WV")
    wanted = []
    for a, j in zip(x, label, strict=True):
        u, p, e = np.outer(w @ a, a), v * a[:, None, None], v[:, j, 1:]
        parts = [u[j] ** 2, np.tanh(p[:, j]), p[1, j] ** 3, e * e, u[j, 1]]
        wanted.append(sum(q.sum() for q in parts))
    np.testing.assert_allclose(made.n(x=x, label=label), wanted, rtol=1e-12)
    rows = gradcheck(made, "t")
    assert len(rows) == 2 and all(r.error < 1e-7 for r in rows)


def test_programs_and_the_evaluator_agree() -> None:
    spec = dln.load(PICKED)
    phase = spec.model.phases["t"]
    graph = optimise(part(spec.model, {"loss": phase.losses[0]}))
    made = session(PICKED)
    rng = np.random.default_rng(3)
    x, label = rng.normal(size=(4, 2)), rng.integers(0, 3, 4)
    env = {("param", k): np.asarray(a, float) for k, a in made.params.items()}
    env |= {("input", "x"): x, ("input", "label"): label}
    found = evaluate(graph, env)["loss"]
    np.testing.assert_allclose(found.mean(), made.n(x=x, label=label).mean(), rtol=1e-12)


OVER_TIME = """
block net(x[time, n]) -> y[n], z[n], w {
  y[j] = sum(i in 1..3 by 2: x[i, j])
  z[j] = sum(i in 0..1: x[i, j])
  w = sum(i in 0..1, j in 1..1: x[3 - 2*i, j])
}
let o = net()([[1, 2], [3, 4], [5, 6], [7, 8]])
check "c" {
  expect o.y == [10, 12]
  expect o.z == [4, 6]
  expect o.w == 12
}
"""


def test_the_steps_of_a_sequence_under_such_indices() -> None:
    expectations(OVER_TIME)


@pytest.mark.parametrize("seen", ["argmax", "argmin"])
def test_the_last_class_of_sequences_of_unequal_lengths(seen: str) -> None:
    """It is the class that the last of the same as numbers is."""
    made = session(f"""
data d = synthetic("multiplication", 50) {{
  x[time, 2] = raw.x
  length = raw.length
}}
train t on d batch 16 for 1 epoch {{
  k = last({seen}(x))
  watch differ = sum(abs(onehot(k) - last(onehot({seen}(x)))))
  watch one = mean(k == 1)
}}
""")
    history = made.train("t").history
    assert history["differ"][-1][2] == 0
    assert history["one"][-1][2] == float(seen == "argmin")  # the last marker is -1


WHOLE = """
const n = 2
block fold(x[c]; k) -> z[k, c / k] {
  z[a, e] = x[c / k * a + e]
}
block strides(x[c]) -> y[m] {
  y[i] = sum(u in 0..1: x[n*i + u])
}
block before(x[time, k]) -> y[time, k] {
  scan t in time {
    y[t] = x[t] + y[t-n]
  }
}
let four = fold(2 * n)
let sums = strides()
let late = before()
check "c" {
  expect sum(zeros(n, 3) + ones(n, 3)) == 6
  expect lowest([5, 3, 9], n) == [1, 0]
  expect pad([1, 2], n) == [0, 0, 1, 2, 0, 0]
  expect four([1, 2, 3, 4, 5, 6, 7, 8])[1] == [3, 4]
  expect sums([1, 2, 3, 4, 5, 6]) == [3, 7, 11]
  expect late([[1], [2], [3], [4]]) == [[1], [2], [4], [6]]
  expect shape(noise(n, n)) == [n]
}
"""


@pytest.mark.parametrize("n", ["2", "2.0", "4 / 2", "0.5 * 4", "sqrt(4)"])
def test_a_whole_number_is_one_however_it_is_written(n: str) -> None:
    expectations(WHOLE.replace("const n = 2", f"const n = {n}"))


def test_an_index_may_be_called_as_a_size_an_option_or_a_number_is() -> None:
    """As it is on slides: `y[m] = sum(n: W[m, n] * x[n])`."""
    expectations(
        """block full(x[n]; m) -> y[m], s {
  param W[m, n] = 2
  l = m + 1
  y[m] = sum(n: W[m, n] * x[n])
  s = l * sum(l: x[l])
}
let f = full(3)
check "by hand" {
  expect f([1, 5]).y == [12, 12, 12]
  expect f([1, 5]).s == 24
}
"""
    )
