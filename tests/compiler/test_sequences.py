"""Sequences written by index: recurrences whose first values nobody says, results that are
sequences because the block says so, and steps that a class picks, against NumPy written out."""

from __future__ import annotations

import numpy as np
import pytest

import dln
from dln.compiler.plan import ProgramKind
from dln.runtime.gradcheck import gradcheck
from dln.runtime.session import Session

X = np.random.default_rng(3).normal(size=(4, 5, 2))
DATA = (
    "data d = rows(["
    + ", ".join(["[" + ", ".join(["0.5"] * 10) + "]"] * 4)
    + """]) {
  x[time, 2] = [raw[:2], raw[2:4], raw[4:6], raw[6:8], raw[8:]]
}
"""
)
LEARN = """
let f = net()
train fit on d batch 4 for 1 epoch dtype float64 {
  minimize f(x) over f with sgd(lr = 0.1)
}
"""


def learning(body: str) -> Session:
    made: Session = dln.load(DATA + body + LEARN).compile().session(seed=2)
    return made


VECTOR = """
block net(x[time, n]; m = 3) -> y {
  param W[m, n] ~ normal(0, 1), u[m] ~ normal(0, 1), v[m] ~ normal(0, 1)
SAID  scan k in time {
    h[k, i] = tanh(sum(j: W[i, j] * x[k, j]) + u[i] * h[k-1, i] + v[i] * h[k-2, 2 - i])
    g[k, i] = 0.5 * g[k-1, i] + h[k, i]
  }
  y = sum(last(g)^2)
}
"""


def test_indices_say_how_many_axes_a_sequence_has_that_nobody_begins() -> None:
    zeros = "  h[-1] = zeros(m)\n  h[-2] = zeros(m)\n  g[-1] = zeros(m)\n"
    silent = learning(VECTOR.replace("SAID", ""))
    said = learning(VECTOR.replace("SAID", zeros))
    W, u, v = (silent.params[f"f.{name}"] for name in "Wuv")
    before, last, g = (np.zeros((4, 3)) for _ in range(3))
    for t in range(5):
        before, last = last, np.tanh(X[:, t] @ W.T + u * last + v * before[:, ::-1])
        g = 0.5 * g + last
    for name in "Wuv":
        slope = silent.grad("fit", f"f.{name}", x=X)
        assert np.array_equal(slope, said.grad("fit", f"f.{name}", x=X))
    assert silent.step("fit", x=X) == pytest.approx(np.mean(np.sum(g**2, axis=1)), rel=1e-12)
    rows = gradcheck(learning(VECTOR.replace("SAID", "")), "fit")
    assert rows and all(row.error < 1e-6 for row in rows)


def test_a_matrix_by_index_begins_as_zeros_too() -> None:
    session = learning("""
block net(x[time, n]) -> y {
  param w = 0.9
  scan k in time {
    A[k, i, j] = w * A[k-1, i, j] + x[k, i] * x[k, j]
    r[k] = sum(i: A[k, i, 1 - i] * A[k-1, i, i])
  }
  y = sum(r)
}
""")
    A, total = np.zeros((4, 2, 2)), 0.0
    for t in range(5):
        A, old = 0.9 * A + X[:, t, :, None] * X[:, t, None, :], A
        total += float(np.mean(A[:, 0, 1] * old[:, 0, 0] + A[:, 1, 0] * old[:, 1, 1]))
    assert session.step("fit", x=X) == pytest.approx(total, rel=1e-12)


def test_a_result_by_index_is_a_sequence_where_the_block_says_so() -> None:
    session = learning("""
block attend(x[time, n]) -> o[time, n], s[time] {
  a[t, r] = exp(sum(i: x[t, i] * x[r, i]))
  o[t, i] = sum(r: a[t, r] * x[r, i]) / sum(r: a[t, r])
  s[t] = a[t, t]
}
block net(x[time, n]) -> y {
  param U[n, n] ~ normal(0, 1)
  let at = attend()
  z = at(x @ U)
  scan k in time {
    h[k] = 0.5 * h[k-1] + z.o[k] * z.s[k-1]
  }
  y = sum(last(h)) + sum(last(z.o))
}
""")
    q = X @ session.params["f.U"]
    a = np.exp(q @ q.transpose(0, 2, 1))
    o, s, h = a @ q / a.sum(2, keepdims=True), np.einsum("btt->bt", a), np.zeros((4, 2))
    for t in range(5):
        h = 0.5 * h + o[:, t] * (s[:, t - 1, None] if t else 0)
    wanted = np.mean(h.sum(1) + o[:, -1].sum(1))
    assert session.step("fit", x=X) == pytest.approx(wanted, rel=1e-12)


MADE = """
block attend(x[time, n]) -> h[time, n] {
  a[t, r] = exp(x[t] @ x[r]) if r <= t else 0
  v[t in time, i] = 2 * x[t, i] - t
  h[t in time, i] = sum(r: a[t, r] * v[r, i]) / sum(r: a[t, r])
}
block net(x[time, n]) -> y[n] {
  h = x -> attend()
  g[t in time] = h[t] + 10 * t
  back[t, i] = g[t, i]
  scan t in time {
    s[t] = s[t-1] / 2 + g[t]
  }
  e[i in 0..1, j in 0..1] = 1 if i == j else i - j
  y = e @ (last(s) + back[1])
}
let f = net()
"""


def test_what_an_index_over_time_makes_is_a_sequence_and_back() -> None:
    x = np.array([[1.0, 0.5], [-0.5, 2.0], [0.3, 0.7]])
    made = dln.load(MADE + f"task t() {{\n  emit f({x.tolist()})\n}}\n").compile(dtype="float64")
    (found,) = made.session(seed=0).programs.run(ProgramKind.TASK.of("t")).values()
    a, s = np.exp(x @ x.T) * np.tri(3), np.zeros(2)
    h = a @ (2 * x - np.arange(3)[:, None]) / a.sum(1, keepdims=True)
    g = h + 10 * np.arange(3)[:, None]
    for row in g:
        s = s / 2 + row
    wanted = np.array([[1, -1], [1, 1]]) @ (s + g[1])
    np.testing.assert_allclose(np.asarray(found), wanted, rtol=1e-12)


def test_a_class_picks_a_step() -> None:
    session = learning("""
block net(x[time, n]) -> y {
  param w[n] ~ normal(0, 1)
  e = x @ w
  scan k in time {
    u[i] = e[i] * x[k, 0]
    h[k] = 0.5 * h[k-1] + x[argmax(u)]
  }
  z[i] = e[i]
  y = e[argmax(z)]^2 + sum(x[lowest(z, 2), 1]) * w[0] + last(h) @ w
}
""")
    w = session.params["f.w"]
    e, total = X @ w, 0.0
    for x, row in zip(X, e, strict=True):
        h = np.zeros(2)
        for t in range(5):
            h = 0.5 * h + x[np.argmax(row * x[t, 0])]
        total += row.max() ** 2 + x[np.argsort(row)[:2], 1].sum() * w[0] + h @ w
    assert session.step("fit", x=X) == pytest.approx(total / 4, rel=1e-12)


def test_what_begins_as_zeros_may_become_anything() -> None:
    session = learning("""
block net(x[time, n]) -> y {
  param w = 0.7
  b[-1] = zeros(n)
  p[-1] = softmax(x[0])
  scan k in 3 {
    c = softmax(b[k-1])
    b[k] = b[k-1] + w * c * p[k-1]
    p[k] = 3 * p[k-1] - 1
  }
  y = sum(last(b)^2)
}
""")
    b, p = np.zeros((4, 2)), np.exp(X[:, 0]) / np.exp(X[:, 0]).sum(1, keepdims=True)
    for _ in range(3):
        b = b + 0.7 * np.exp(b) / np.exp(b).sum(1, keepdims=True) * p
        p = 3 * p - 1
    assert session.step("fit", x=X) == pytest.approx(np.mean(np.sum(b**2, axis=1)), rel=1e-12)


CARRIED = """
block net(x[time, n]) -> y {
  param w = 1
  p[-1] = START
  scan k in time {
    e[k] = sum(binary_cross_entropy(p[k-1], sigmoid(x[k])))
    p[k] = NEXT
  }
  y = w * sum(e)
}
"""


@pytest.mark.parametrize("start", ["0.5 * ones(n) as prob", "softmax(x[0])"])
def test_a_probability_is_carried_as_one_where_beginning_and_equation_are(start: str) -> None:
    session = learning(CARRIED.replace("START", start).replace("NEXT", "sigmoid(x[k])"))
    first = np.exp(X[:, 0]) / np.exp(X[:, 0]).sum(1, keepdims=True)
    p, total = 0.5 * np.ones((4, 2)) if "ones" in start else first, 0.0
    for t in range(5):
        q = 1 / (1 + np.exp(-X[:, t]))
        total -= np.mean(np.sum(q * np.log(p) + (1 - q) * np.log(1 - p), axis=1))
        p = q
    assert session.step("fit", x=X) == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize("start", ["0.5 * ones(n) as prob", "softmax(x[0])", "ones(n)"])
def test_what_leaves_the_probabilities_is_none(start: str) -> None:
    with pytest.raises(dln.DlnError, match="E310.*prob"):
        learning(CARRIED.replace("START", start).replace("NEXT", "3 * p[k-1] - 1"))
