"""Scans inside scans, against loops written by hand; gradients against central differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dln
from dln.compiler.plan import ProgramKind
from dln.grammar.diagnostics import DlnError
from dln.runtime.gradcheck import gradcheck
from dln.runtime.session import Session

DATA = """
data d = synthetic("adding", 5, 30) {
  x[time, 2] = raw.x
  t[1] = raw.t
}
"""
LEARNS = """
train p on d batch 10 for 1 epoch dtype float64 {
  minimize sum((sum(last(net(x))) - t)^2) over net with sgd(lr = 0.01)
}
"""
OUTER = """
block outer(x[time, n]; m) -> y[time, m] {
  param W[m, n] ~ normal(0, 0.5), U[m, m] ~ normal(0, 0.5)
  a[-1] = ones(m)
  scan t in time {
    a[t] = tanh(W @ x[t] + last(b) / 2)
    b[-1] = a[t-1]
    scan s in STEPS {
      b[s] = tanh(U @ b[s-1] + b[s-2] / 10) * x[t, 0]
      h[s] = b[s-1] + W @ SEEN
    }
    y[t] = a[t] + sum(time: b * h)
  }
}
let net = outer(3)
"""
X = np.random.default_rng(0).normal(size=(4, 5, 2))


def session(text: str) -> Session:
    made: Session = dln.load(text).compile(dtype="float64").session(seed=1)
    return made


def outer_by_hand(made: Session, x: np.ndarray, steps: int, looks: bool) -> np.ndarray:
    """The block `outer` for one example."""
    w, u = (np.asarray(made.params[k], float) for k in ("net.W", "net.U"))
    old, ys = np.ones(3), []
    for now in x:
        b = [np.zeros(3), old]
        h = []
        for s in range(steps):
            b.append(np.tanh(u @ b[-1] + b[-2] / 10) * now[0])
            h.append(b[-2] + w @ (x[s] if looks else now))
        new = np.tanh(w @ now + b[-1] / 2)
        ys.append(new + sum(p * q for p, q in zip(b[2:], h, strict=True)))
        old = new
    return np.array(ys)


@pytest.mark.parametrize(("steps", "seen"), [("time", "x[s]"), ("3", "x[t]"), ("1", "x[t]")])
def test_values_and_gradients_are_those_of_loops_by_hand(steps: str, seen: str) -> None:
    """The inner scan over the whole sequence, or over a number of steps of its own."""
    text = DATA + OUTER.replace("STEPS", steps).replace("SEEN", seen) + LEARNS
    made = session(text)
    number = 5 if steps == "time" else int(steps)
    wanted = [outer_by_hand(made, x, number, seen == "x[s]") for x in X]
    np.testing.assert_allclose(made.net(X), wanted, rtol=1e-12, atol=1e-14)
    rows = gradcheck(made, "p")
    assert len(rows) == 2 and all(r.error < 1e-7 for r in rows)


def test_one_step_forms_run_the_inner_scan_as_a_whole() -> None:
    made = session(DATA + OUTER.replace("STEPS", "3").replace("SEEN", "x[t]") + LEARNS)
    whole, net = made.net(X), made.net
    for t in range(5):
        np.testing.assert_allclose(net.step(X[:, t]), whole[:, t], rtol=1e-12, atol=1e-14)
    net.reset()
    first = net.read(X[:, :4])
    np.testing.assert_allclose(first, X[:, 3])
    np.testing.assert_allclose(net.step(X[:, 3]), whole[:, 3], rtol=1e-12, atol=1e-14)


THREE = """
block deep(x[time]) -> y[time] {
  scan t in time {
    scan s in 3 {
      scan r in 2 {
        c[r] = c[r-1] * x[t] + b[s-1] + r_(x[t])
      }
      b[s] = last(c) / 2 + y[t-1]
    }
    y[t] = sum(b)
  }
}
fn r_(a) = a / 3
let net = deep()
let used = net([0, 0])
"""


def test_three_deep() -> None:
    made = session(THREE)
    x, y, wanted = [0.5, -1.0, 2.0, 0.25], 0.0, []
    for now in x:
        b = [0.0]
        for _ in range(3):
            c = 0.0
            for _ in range(2):
                c = c * now + b[-1] + now / 3
            b.append(c / 2 + y)
        y = sum(b)
        wanted.append(y)
    np.testing.assert_allclose(made.net(np.array([x[:2]]))[0], wanted[:2], rtol=1e-12)


RNN = """
block cell(x[time, n]; m) -> h[time, m] {
  param W[m, n] ~ normal(0, 1), U[m, m] ~ normal(0, 1)
  scan t in time {
    h[t] = tanh(W @ x[t] + U @ h[t-1])
  }
}
block reads(x[time, n]; m) -> y[time, m] {
  let inner = cell(m)
  y[-1] = zeros(m)
  scan t in time {
    q = x * sum(y[t-1])
    y[t] = tanh(last(inner(q)) + sum(x[t]))
  }
}
let net = reads(3)
"""


def test_a_block_with_a_scan_is_applied_in_a_step_to_a_sequence_of_its_own() -> None:
    made = session(DATA + RNN + LEARNS)
    w, u = (np.asarray(made.params[f"net.inner.{k}"], float) for k in "WU")
    for x, found in zip(X, made.net(X), strict=True):
        y = np.zeros(3)
        for t in range(5):
            h = np.zeros(3)
            for row in x * y.sum():
                h = np.tanh(w @ row + u @ h)
            y = np.tanh(h + x[t].sum())
            np.testing.assert_allclose(found[t], y, rtol=1e-12)
    assert all(r.error < 1e-7 for r in gradcheck(made, "p"))


def task(text: str, name: str = "show") -> list[Any]:
    values = session(text).programs.run(ProgramKind.TASK.of(name))
    return [values[k] for k in sorted(values)]


DRAWS = """
block noisy(x[time]) -> y[time, 3] {
  scan t in time {
    scan s in 3 {
      u[s] ~ uniform(0, 1)
    }
    y[t, i] = u[i] + 0 * x[t]
  }
}
let f = noisy()
task show() {
  emit f([0, 0, 0, 0])
}
"""


def test_each_inner_step_of_each_outer_step_draws_for_itself() -> None:
    (y,) = task(DRAWS)
    assert y.shape == (4, 3) and len(np.unique(y)) == 12 and 0 < y.min() and y.max() < 1


INDEPENDENT = """
block whole(x[time, n]) -> y[time] {
  scan t in time {
    scan s in 200 {
      b[s] = b[s-1] / 2 + sum(x)
    }
    y[t] = y[t-1] + last(b) * x[t, 0]
  }
}
let net = whole()
let used = net([[1, 2], [3, 4]])
"""


def test_what_needs_no_outer_step_is_a_loop_outside() -> None:
    """Whatever its length, it is done once."""
    made = session(INDEPENDENT)
    wanted = [np.cumsum(2 * x.sum() * x[:, 0]) for x in X[:, :2]]
    np.testing.assert_allclose(made.net(X[:, :2]), wanted, rtol=1e-12)


STEPPED = """
block counter(x[time]) -> n[time] {
  scan t in time {
    n[t] = n[t-1] + x[t]
  }
}
let f = counter()
task show() {
  scan t in 3 {
    scan s in 2 {
      a[s] = f.step(1)
    }
    y[t] = last(a)
  }
  emit y
}
"""


def test_a_memory_moves_on_with_each_inner_step() -> None:
    (y,) = task(STEPPED)
    np.testing.assert_array_equal(y, [2, 4, 6])


def test_the_longest_that_is_written_out() -> None:
    text = INDEPENDENT.replace("sum(x)", "x[t, 0]")
    made = session(text.replace("200", "64"))
    total = 2 - 2.0**-63
    wanted = [np.cumsum(total * x[:, 0] ** 2) for x in X[:, :2]]
    np.testing.assert_allclose(made.net(X[:, :2]), wanted, rtol=1e-12)
    with pytest.raises(DlnError, match="at most 64 steps"):
        dln.load(text)


LOOKS_BACK = """
block smooth(x[time, n]) -> h[time, n], g[time, n] {
  param a[n] = 0.5
  scan t in time {
    h[t] = a * h[t-1] + x[t] - 2 * x[t-1] + 3 * x[t-3]
  }
  scan s in time {
    g[s] = x[s-1] * x[s-2]
  }
}
let net = smooth()
let used = net([[1, 2], [3, 4], [5, 6], [7, 8], [9, 11]])
task show() {
  u[-1] = net.read([[1, 2], [3, 4], [5, 6]])
  scan t in 4 {
    u[t] = net.step(u[t-1]).h / 10
  }
  emit u
}
"""


def looks_back(x: np.ndarray) -> np.ndarray:
    """The sequence h of the block `smooth`."""
    seen = np.concatenate([np.zeros((3, *x.shape[1:])), x])
    h = np.zeros(x.shape[1:])
    rows = []
    for t in range(len(x)):
        h = h / 2 + seen[t + 3] - 2 * seen[t + 2] + 3 * seen[t]
        rows.append(h)
    return np.array(rows)


def test_one_step_remembers_what_came_in() -> None:
    """Each of two scans over one input for itself; what was read counts, however short it is."""
    made = session(LOOKS_BACK)
    whole, net = made.net(X), made.net
    np.testing.assert_allclose(whole["h"][1], looks_back(X[1]), rtol=1e-12)
    for t in range(5):
        step = net.step(X[:, t])
        for name in ("h", "g"):
            np.testing.assert_allclose(step[name], whole[name][:, t], rtol=1e-12, atol=1e-14)
    (u,) = task(LOOKS_BACK)
    seen, now = [np.array([1.0, 2]), np.array([3.0, 4])], np.array([5.0, 6])
    for found in u:
        seen.append(now)
        now = looks_back(np.array(seen))[-1] / 10
        np.testing.assert_allclose(found, now, rtol=1e-12)


STREAM = """
data word = text("hello.txt") {
  c[time]: class(4) = raw[:-1]
  next[time]: class(4) = raw[1:]
  set window = 2
}
block speller(c[time]: class(V); m) -> z[time, V]: logit {
  param W[m, V] ~ normal(0, 1), U[m, m] ~ normal(0, 1), B[V, m] ~ normal(0, 1)
  scan t in time {
    INNER
    z[t] = B @ h[t]
  }
}
let lm = speller(m = 3)
train spell on word stream 1 for 5 epochs dtype float64 {
  minimize sum(cross_entropy(lm(c), next)) over lm with sgd(lr = 0.1)
}
"""
WRITTEN = ["b0 = tanh(U @ h[t-1] + W @ onehot(c[t]))", "b1 = tanh(U @ b0 + W @ onehot(c[t]))"]
SCANNED = """b[-1] = h[t-1]
    scan s in 2 {
      b[s] = tanh(U @ b[s-1] + W @ onehot(c[t]))
    }
    h[t] = last(b)"""


def test_a_stream_carries_what_the_outer_scan_leaves() -> None:
    """The inner one begins anew in each step, whatever window it is in."""
    by_hand = "\n    ".join([*WRITTEN, "h[t] = b1"])
    found = []
    for inner in (by_hand, SCANNED):
        made = session(STREAM.replace("INNER", inner))
        made.train("spell")
        held = [p for p in made.programs.store.states["spell"] if "carried" in p]
        assert held == ["spell.carried:lm.h-1"]
        found.append({k: np.array(v) for k, v in made.params.items()})
    for path, value in found[0].items():
        np.testing.assert_allclose(found[1][path], value, rtol=1e-10, err_msg=path)
