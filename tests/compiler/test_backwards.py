"""Scans from the end of each sequence, `reversed`, and layers that read both ways: against NumPy
written out, against the same with masks and an index that runs backwards, and by slopes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dln
from dln.compiler.ir.evaluate import evaluate
from dln.compiler.stages import part
from dln.grammar.diagnostics import DlnError
from dln.running.expectations import verdicts
from dln.runtime.device.kernels import turned
from dln.runtime.gradcheck import gradcheck
from dln.runtime.session import Session

LENGTH = np.array([4, 1, 3])
X = np.random.default_rng(5).normal(size=(3, 4, 2))

VALUES = """
block sums(x[time, n]) -> h[time, n] {
  scan t in time backwards {
    h[t] = h[t+1] / 2 + x[t] + 100 * x[t+1] + 1000 * x[t-1]
  }
}
block counts(x[time, n]) -> h[time] {
  k[time] = 7
  k[time+1] = 1
  scan t in time backwards {
    k[t] = k[t+1] + k[t+2]
    h[t] = k[t] + 10 * (t if t != 1 else sum(x[t]))
  }
}
block inner(x[time, n]) -> y[time] {
  scan t in time {
    scan s in 3 backwards {
      b[s] = b[s+1] + t * s
    }
    scan r in time backwards {
      c[r] = c[r+1] + x[r, 0] * r
    }
    y[t] = b[0] + 1000 * c[1]
  }
}
let f = sums()
let g = counts()
let i = inner()
check "by hand" {
  expect f([[1, 2], [3, 4], [5, 6]]) == [[1803.75, 2705.5], [3005.5, 4607], [3005, 4006]]
  expect g([[1, 2], [3, 4], [5, 6]]) == [0 + 23, 15 + 70, 8 + 20]
  expect i([[1, 2], [3, 4], [5, 6]]) == [13000, 13003, 13006]
  expect reversed(f([[1, 2], [3, 4], [5, 6]]))[0] == [3005, 4006]
  expect grad(sum(f([[1, 2], [3, 4], [5, 6]])), f.h[1]) == [1.5, 1.5]
}
"""


def test_values() -> None:
    found = verdicts(dln.load(VALUES).model)
    assert len(found) == 5 and all(v.status == "passed" for v in found), found


FIT = """
data d = npz("d.npz") {
  x[time, 2] = raw.x
}
block net(x[time, n]) -> y[time, 3] {
  param W[3, n] ~ normal(0, 1), U[3, 3] ~ normal(0, 1), a[3] ~ normal(0, 1)
  h[time] = a
  scan t in time backwards {
    h[t] = tanh(W @ x[t] + U @ h[t+1] + x[t+1, 0] - x[t-1, 1] * t)
  }
  y = h * reversed(h) + last(h)
}
let f = net()
train fit on d batch all for 1 update dtype float64 {
  minimize sum(f(x)^2) over f with sgd(lr = 0.01)
}
"""


def built(folder: Path, text: str, **arrays: Any) -> dln.Spec:
    np.savez(folder / "d.npz", **arrays)
    (folder / "net.dln").write_text(text)
    return dln.load(str(folder / "net.dln"))


def by_hand(x: np.ndarray, p: dict[str, np.ndarray]) -> np.ndarray:
    n, w, u = len(x), p["f.W"], p["f.U"]
    h = np.zeros((n + 1, 3))
    h[n] = p["f.a"]
    for t in reversed(range(n)):
        later = x[t + 1, 0] if t + 1 < n else 0.0
        before = x[t - 1, 1] * t if t else 0.0
        h[t] = np.tanh(w @ x[t] + u @ h[t + 1] + later - before)
    return h[:n] * h[:n][::-1] + h[n - 1]


def test_each_sequence_from_its_own_end(tmp_path: Path) -> None:
    made: Session = built(tmp_path, FIT, x=X, length=LENGTH).compile(dtype="float64").session()
    params = {k: np.array(v, float) for k, v in made.params.items()}
    wanted = [by_hand(x[:n], params) for x, n in zip(X, LENGTH, strict=True)]
    found = made.f(X, length=LENGTH)
    for row, right in zip(found, wanted, strict=True):
        np.testing.assert_allclose(row[: len(right)], right, rtol=1e-12, atol=1e-14)
        assert not row[len(right) :].any()
    assert all(r.error < 1e-6 for r in gradcheck(made, "fit"))
    loss = np.mean([np.square(y).sum() for y in wanted])
    np.testing.assert_allclose(made.step("fit", x=X, length=LENGTH), loss, rtol=1e-12)


def test_the_evaluator_agrees(tmp_path: Path) -> None:
    spec = built(tmp_path, FIT, x=X)
    made = spec.compile(dtype="float64").session(seed=1)
    graph = part(spec.model, {"loss": spec.model.phases["fit"].objectives[0]})
    env: dict[Any, Any] = {("input", "x"): X}
    env |= {("param", k): np.asarray(v) for k, v in made.params.items()}
    wanted = evaluate(graph, env)["loss"]
    np.testing.assert_allclose(made.step("fit", x=X), wanted, rtol=1e-12)


BOTH = """
data d = npz("d.npz") {
  x[time, 2] = raw.x
}
block by_hand(x[time, n]; ahead, back) -> h[time, m] {
  a = ahead(x)
  z[i, j] = x[3 - i, j]
  b = z -> shown() -> back
  r[i, j] = b[3 - i, j]
  h = concat(a, r -> shown())
}
block shown(x[time, n]) -> y[time, n] {
  y = x
}
let one = lstm(3)
let two = rnn(2)
let f = both(one, two)
let g = by_hand(one, two)
train fit on d batch all for 1 update dtype float64 {
  minimize sum(f(x)^2) over f with sgd(lr = 0.01)
  watch apart = norm(f(x) - g(x))
  by_f = grad(mean(batch: sum(f(x)^2)), two.Wh)
  watch slopes = norm(by_f - grad(mean(batch: sum(g(x)^2)), two.Wh))
}
"""


def test_a_layer_both_ways_is_the_one_with_indices(tmp_path: Path) -> None:
    made = built(tmp_path, BOTH, x=X).compile(dtype="float64").session(seed=1)
    np.testing.assert_allclose(made.f(X), made.g(X), rtol=1e-12, atol=1e-14)
    found = made.train("fit").watch
    assert found["apart"] < 1e-12 and found["slopes"] < 1e-12


AHEAD = """
data word = text("word.txt") {
  c[time]: class(V) = raw[:-1]
  set window = 3
}
block net(c[time]: class(V)) -> y[time, 2] {
  %s
}
let f = net()
train fit on word stream 2 for 1 epoch {
  minimize sum(f(c)^2) over f with sgd(lr = 0.1)
}
"""


@pytest.mark.parametrize("line", ["y = onehot(c) -> both(rnn(1), rnn(1))", "y = reversed(e)"])
def test_a_stream_does_not_see_what_comes(tmp_path: Path, line: str) -> None:
    (tmp_path / "word.txt").write_text("abcabcabcabcabcabcabc")
    table = "param E[3, 2] ~ normal(0, 1)\n  e = E[c]\n  "
    (tmp_path / "net.dln").write_text(AHEAD % (table * line.startswith("y = rev") + line))
    with pytest.raises(DlnError, match=r"E319.*a window of a stream does not see what comes"):
        dln.load(str(tmp_path / "net.dln"))


def test_the_kernel_moves_what_counts_alone() -> None:
    x = np.arange(24.0).reshape(4, 3, 2)
    out = np.full_like(x, np.nan)
    turned(x, LENGTH, out)
    for i, n in enumerate(LENGTH):
        np.testing.assert_array_equal(out[:n, i], x[:n, i][::-1])
        np.testing.assert_array_equal(out[n:, i], x[n:, i])
