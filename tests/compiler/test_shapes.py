"""Tensors joined, stacked, reshaped and repeated: values and gradients are those of NumPy's own
functions, which know nothing of a graph."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dln

X = np.random.default_rng(3).normal(size=(2, 2, 3, 4))
CASES: list[tuple[str, Callable[[Any, Any], Any]]] = [
    ("concat(v, x, axis = 0)", lambda v, x: np.concatenate([v, x], 0)),
    ("concat(v, x, v, axis = 1)", lambda v, x: np.concatenate([v, x, v], 1)),
    ("concat(v, x, axis = 2)", lambda v, x: np.concatenate([v, x], 2)),
    ("concat(v, x)", lambda v, x: np.concatenate([v, x], 0)),
    ("stack(v, x, axis = 3)", lambda v, x: np.stack([v, x], 3)),
    ("stack([v, x, v], axis = 1)", lambda v, x: np.stack([v, x, v], 1)),
    ("stack(v, x)", lambda v, x: np.stack([v, x])),
    ("reshape(v, [4, 2 * 3])", lambda v, x: v.reshape(4, 6)),
    ("reshape(v, [2, 3, 2, 2])", lambda v, x: v.reshape(2, 3, 2, 2)),
    ("upsample(v, 2)", lambda v, x: v.repeat(2, 1).repeat(2, 2)),
    ("upsample(v[0, 1], 3)", lambda v, x: v[0, 1].repeat(3)),
    ("[v, x][k]", lambda v, x: v),
]  # fmt: skip


@pytest.mark.parametrize(("text", "meant"), CASES, ids=[c[0] for c in CASES])
def test_what_numpy_gives(text: str, meant: Callable[[Any, Any], Any]) -> None:
    """Of `v`, which learns, and x; the gradient of a sum with fixed factors c is those factors put
    back, which the linear function itself does on the unit tensors."""
    sizes = meant(X[0], X[0]).shape
    c = np.sin(np.arange(np.prod(sizes))).reshape(sizes)
    said = re.sub(r"\bx\b", "reshape(x, [2, 3, 4])", text)
    text = (
        f"data d = rows({X.reshape(2, -1).tolist()}) {{\n  x[24] = raw\n}}\n"
        "block model(x[24]) -> r {\n  param w[2, 3, 4] = 1\n  k = argmax([1, 0])\n"
        f"  v = w * reshape(x, [2, 3, 4])\n  f = {said}\n"
        f"  fixed c[{', '.join(map(str, sizes))}] = {c.tolist()}\n  r = sum(c * f)\n}}\n"
        "let net = model()\ntrain t on d batch 2 for 1 update dtype float64 {\n"
        "  minimize net(x) over net with sgd(lr = 0.1)\n}\n"
    )
    s = dln.load(text).compile(dtype="float64").session(seed=0)
    values = [(c * meant(x, x)).sum() for x in X]
    np.testing.assert_allclose(s.net(X.reshape(2, -1)), values, rtol=1e-12)
    units = np.eye(24).reshape(24, 2, 3, 4)
    slope = [(c * meant(u, 0 * u)).sum() for u in units]
    expected = np.mean([x.ravel() * slope for x in X], axis=0).reshape(2, 3, 4)
    np.testing.assert_allclose(s.grad("t", "net.w", x=X.reshape(2, -1)), expected, atol=1e-12)


def test_parts_of_a_chain_by_number() -> None:
    """What a message calls net[2].b is net[2].b; `over net[2]` moves that part alone, and what a
    function in a chain makes is a part too."""
    text = """
fn wide(x) = x -> dense(5)
let net = chain([dense(4), tanh, dense(2), wide])
data d = rows([[1, 2], [3, 4]]) {
  x[2] = raw
}
train t on d batch 2 for 1 update dtype float64 {
  minimize sum(net(x)^2) over net[2] with sgd(lr = 0.1)
}
train u on d batch 2 for 1 update dtype float64 {
  minimize sum(net(x)^2) over net[:2] with sgd(lr = 0.1)
}
check "c" {
  expect params(net[2]) == 10
  expect params(net[3]) == 15
  expect shape(net[3].W) == [5, 2]
  expect params(net[1:]) == 25
}
"""
    s = dln.load(text).compile(dtype="float64").session(seed=0)
    before = {k: np.array(v) for k, v in s.params.items()}
    s.step("t", x=[[1, 2], [3, 4]])
    moved = {k for k, v in s.params.items() if not np.array_equal(v, before[k])}
    assert moved == {"net[2].W", "net[2].b"}


def test_constants_on_one_line_and_steps_with_numbers() -> None:
    text = """
const a = 1, b = 2
let net = dense(a)
data d = rows([[1, 2]]) {
  x[2] = raw
}
train t on d batch 1 for 1 update {
  for k in 0..b {
    step s[k] {
      minimize sum(net(x)) over net with sgd(lr = 0.1)
    }
  }
}
"""
    made = dln.load(text, b=3)
    assert dict(made.constants) == {"a": 1, "b": 3}
    s = made.compile().session(seed=0)
    before = s.params["net.b"].copy()
    s.step("t", x=[[1, 2]])
    np.testing.assert_allclose(s.params["net.b"], before - 0.4, atol=1e-6)
