"""The work of compiling grows in line with what is compiled: calls of functions are counted, for
time would say something else on every machine."""

from __future__ import annotations

import sys
from types import FrameType

import pytest

import dln

EXPERTS = """const size = 4
data points = synthetic("gaussians", 2, 2, 60) {
  x[2] = raw.x
  label: class(2) = raw.label
}
block expert(x[n]) -> y[2] {
  y = x -> dense(4, act = tanh) -> dense(2)
}
block mixture(x[n]) -> z[2]: positive {
  let experts = [for k in 1..size: expert()]
  g = softmax(x -> dense(size))
  y = [for e in experts: softmax(e(x))]
  z[j] = sum(k: g[k] * y[k, j])
}
let net = mixture()
train fit on points batch 50 for 1 epoch {
  minimize -log(net(x)[label]) over net with adam(lr = 0.01)
}
"""
LAYERS = """const size = 4
data points = synthetic("gaussians", 2, 2, 60) {
  x[2] = raw.x
  label: class(2) = raw.label
}
block deep(x[n]) -> z[2]: logit {
  let layers = [for k in 1..size: dense(4, act = tanh)]
  z = x -> chain(layers) -> dense(2)
}
let net = deep()
train fit on points batch 50 for 1 epoch {
  minimize cross_entropy(net(x), label) over net with sgd(lr = 0.01, momentum = 0.5)
}
"""
LOOPS = """use "shakespeare.dln"
const size = 2
data lines = text("tinyshakespeare.txt") like bard {
  set window = 5
}
block model(c[time]: class(V)) -> z[time, V]: logit {
  let layers = [for k in 1..size: rnn(4)]
  z = onehot(c) -> chain(layers) -> dense(V)
}
let net = model()
train fit on lines batch 5 for 1 epoch {
  minimize mean(cross_entropy(net(c), next)) over net with sgd(lr = 0.01)
}
"""
SUMS = """data points = synthetic("gaussians", 2, 2, 60) {
  x[2] = raw.x
  label: class(2) = raw.label
}
block many(x[2]) -> z[2]: logit {
  param W[2, 2] ~ glorot(2, 2), V[2, LONG] ~ glorot(LONG, 2)
  h = W @ x
  z = V @ [LIST] + SUM
}
let net = many()
train fit on points batch 50 for 1 epoch {
  minimize cross_entropy(net(x), label) over net with sgd(lr = 0.01)
}
"""
CLOSE = 1.01
"""Calls are counted alike each time: what is 1 % more of sizes as small as these is no noise."""


def long_sums(size: int) -> str:
    """A long list of entries, whose gradients are put side by side, and a long sum."""
    listed = ", ".join(f"tanh({k + 1} * h[0])" for k in range(size))
    summed = " + ".join(f"tanh({k + 1} * h)" for k in range(size))
    found = SUMS.replace("LONG", str(size)).replace("LIST", listed).replace("SUM", summed)
    return f"const size = 1\n{found}"


def work(text: str, size: int) -> int:
    """How many functions are called to read a spec of a size and compile its update."""
    count = 0

    def seen(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(seen)
    try:
        assert dln.load(text, size=size).compile().plan.programs["step:fit"].lines
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize(("text", "size"), [(EXPERTS, 2), (LAYERS, 4), (LOOPS, 1)])
def test_compiling_takes_work_in_line_with_what_there_is(text: str, size: int) -> None:
    work(text, 1)  # imports, and what is read once
    once, twice, thrice = (work(text, k * size) for k in (1, 2, 3))
    assert thrice - twice < CLOSE * (twice - once)


def test_long_sums_and_lists_take_work_in_line_with_their_length() -> None:
    """No rule looks at all of a sum at each of its nodes, and no place is gone through for each."""
    work(long_sums(3), 1)
    once, twice, thrice = (work(long_sums(k), 1) for k in (5, 10, 15))
    assert thrice - twice < CLOSE * (twice - once)
