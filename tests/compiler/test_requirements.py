"""`expect` in a block holds wherever it is applied, or names what was found (golden messages)."""

from __future__ import annotations

import dln

HOLDS = """
block layer(x[n]; m, rate = 0.5, how = "mean") -> y[m] {
  param W[m, n] = 1
  y = W @ x
  expect shape(y) == [m]
  expect n > 2 and m <= 2
  expect rate == 0.4 within 0.2
  expect how == "mean"
  expect (not m == n)
  for l in 0..1 {
    expect l < m
  }
}
let r = layer(2)
let y = r([1, 2, 3])
block over(x[time, n]) -> y[time, n] {
  scan t in time {
    y[t] = y[t-1] + x[t]
    expect shape(y[t]) == [n]
  }
}
let o = over()
let s = o([[1, 2], [3, 4]])
block tied(h[m]; W) -> y {
  y = sum(W) * h[0]
  expect shape(W) == [m, 4]
}
let enc = dense(2)
let dec = tied(W = enc.W)
let before = dec([1, 2])
let after = enc([1, 2, 3, 4])
"""


def test_what_holds_is_silent() -> None:
    """Of numbers, lists, texts and truth values; in rounds, in steps, and of sizes known later."""
    assert "r.W" in dln.load(HOLDS).model.params
