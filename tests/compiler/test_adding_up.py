"""`y[2*i + u] += e`: values and gradients are those of loops that add number after number."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

import dln
from dln.running.expectations import verdicts

X = np.random.default_rng(5).normal(size=(2, 3, 4))
CASES: list[tuple[str, tuple[int, ...], Any]] = [
    ("y[2*i + u] += w * x[i, u]", (8,), lambda i, u: (2 * i + u,)),
    ("y[i + u] += w * x[i, u]", (6,), lambda i, u: (i + u,)),
    ("y[u, 3*i + 1] += w * x[i, u]", (4, 8), lambda i, u: (u, 3 * i + 1)),
    ("y[2 - i, u] += w * x[i, u]", (3, 4), lambda i, u: (2 - i, u)),
    ("y[2 - i + 2*u] += w * x[i, u]", (9,), lambda i, u: (2 - i + 2 * u,)),
    ("y[step*i + u] += w * x[i, u]", (8,), lambda i, u: (2 * i + u,)),
]


def session(equation: str, shape: str = "[3, 4]") -> Any:
    text = (
        f"const step = 2\ndata d = rows({X.reshape(2, -1).tolist()}) {{\n  z[12] = raw\n}}\n"
        f"block model(z[12]) -> r {{\n  param w = 2\n  x = reshape(z, {shape})\n  {equation}\n"
        "  r = sum(sin(y))\n}\nlet net = model()\n"
        "train t on d batch 2 for 1 update dtype float64 {\n"
        "  minimize net(z) over net with sgd(lr = 0.1)\n}\n"
    )
    return dln.load(text).compile(dtype="float64").session(seed=0)


@pytest.mark.parametrize(("text", "shape", "place"), CASES)
def test_what_loops_give(text: str, shape: tuple[int, ...], place: Any) -> None:
    values, slopes = [], []
    for x in X:
        y, dy = np.zeros(shape), np.zeros(shape)
        for i, u in product(range(3), range(4)):
            y[place(i, u)] += 2 * x[i, u]
            dy[place(i, u)] += x[i, u]
        values.append(np.sin(y).sum())
        slopes.append((np.cos(y) * dy).sum())
    s = session(text)
    np.testing.assert_allclose(s.net(X.reshape(2, -1)), values, rtol=1e-12)
    got = s.grad("t", "net.w", z=X.reshape(2, -1))
    np.testing.assert_allclose(got, np.mean(slopes), rtol=1e-12)


@pytest.mark.parametrize("axis", ["", "k, "])
def test_three_indices_in_one_place(axis: str) -> None:
    """Pieces that begin at the same place, also where another axis stands before it."""
    y, dy = np.zeros((2, 3, 5)), np.zeros((2, 3, 5))
    x = X.reshape(2, 3, 2, 2)
    for k, i, u, v in product(*map(range, (3, 3, 2, 2))):
        y[:, k, i + u + v] += 2 * (k + 1) * x[:, i, u, v]
        dy[:, k, i + u + v] += (k + 1) * x[:, i, u, v]
    if not axis:
        y, dy = y[:, :1], dy[:, :1]
    term = f"w * {'c[k] * ' if axis else ''}x[i, u, v]"
    s = session(f"c = [1, 2, 3]\n  y[{axis}i + u + v] += {term}", "[3, 2, 2]")
    np.testing.assert_allclose(s.net(X.reshape(2, -1)), np.sin(y).sum((1, 2)), rtol=1e-12)
    got = s.grad("t", "net.w", z=X.reshape(2, -1))
    np.testing.assert_allclose(got, (np.cos(y) * dy).sum((1, 2)).mean(), rtol=1e-12)


def test_an_index_in_two_places_is_refused() -> None:
    with pytest.raises(dln.DlnError, match="u stands in two indices of y"):
        session("y[3 - u + 4*i, u] += w * x[i, u]")


def test_it_is_the_adjoint_of_the_window() -> None:
    """<A x, y> = <x, A' y>, of a random filter; and inside of a scan as outside."""
    text = """
block there(x[n]; k[m]) -> y[p] {
  y[i] = sum(u: k[u] * x[3*i + u])
}
block back(y[p]; k[m]) -> x[n] {
  x[3*i + u] += k[u] * y[i]
}
block steps(x[time, p]; k[m]) -> h[time, n] {
  h[-1] = zeros(11)
  scan t in time {
    now = x[t]
    z[3*i + u] += k[u] * now[i]
    h[t] = z + h[t-1]
  }
}
let k = [0.5, -1, 2, 0.25, 3]
let a = there(k = k)
let b = back(k = k)
let c = steps(k = k)
check "adjoint" {
  x = [1, 5, -2, 3, 0.5, 2, 7, -1, 4, 2, 6]
  y = [2, -3, 1.5]
  expect a(x) @ y == x @ b(y) within 1e-12
  expect last(c([y, [1, 1, 1]])) == b(y) + b([1, 1, 1]) within 1e-12
}
"""
    assert {v.status for v in verdicts(dln.load(text).model)} == {"passed"}
