"""Instances that are alike are typed once; what comes out is what each would give by itself."""

from __future__ import annotations

from collections import Counter

import pytest

import dln
from dln.compiler.frontend.instances.typed_once import TypedOnce, Work
from dln.grammar.diagnostics import DlnError

HEAD = """
data d = synthetic("adding", 5, 30) {
  x[time, 2] = raw.x
  t[1] = raw.t
}
"""
LEARNS = """
train p on d batch 10 for 1 epoch dtype float64 {
  minimize sum((net(x) - t)^2) over net with sgd(lr = 0.01)
}
"""
CELLS = """
block cell(x[time, n]; m, act = tanh, p = 0) -> y[time, m] {
  param W[m, n] ~ glorot(n, m), U[m, m] ~ glorot(m, m), b[m] = 0, d[m] = 0
  scan t in time {
    a    = W @ x[t] + U @ h[t-1] + (b + d)
    h[t] = act(a)
  }
  y = dropout(h, p)
}
block mixed(x[n]; m) -> y[m] {
  param W[m, n] ~ glorot(n, m)
  q[i] = sum(j: W[i, j] * x[j]) + i
  y = softmax(q)
}
"""
TWINS = """
let a = [for k in 1..2: cell(3)]
let b = cell(3, act = sigmoid)
let c = cell(3,
             act = sigmoid)
let f = cell(3, W = a[1].W, U = a[1].W, p = 0)
let up   = [dense(3, act = tanh), dense(3, act = tanh)]
let down = [dense(3, act = tanh), mixed(3), mixed(3)]
block whole(x[time, 2]) -> y[1] {
  h = x -> chain([cell(3), a[0], a[1], b, c, f])
  z = last(h + f.h) -> up[0] -> up[1] -> down[0] -> down[1] -> down[2]
  y = z -> dense(1)
}
let net = whole()
"""


STREAM = """
use "shakespeare.dln"
data lines = text("tinyshakespeare.txt") like bard {
  set window = 5
}
block model(c[time]: class(V)) -> z[time, V]: logit {
  z = onehot(c) -> chain([for k in 1..3: cell(4)]) -> dense(V)
}
let net = model()
train p on lines stream 5 for 3 updates {
  minimize mean(cross_entropy(net(c), next)) over net with sgd(lr = 0.01)
}
"""


def everything(text: str) -> tuple[object, ...]:
    """What a spec becomes: the text and places of its update, its hash."""
    made = dln.load(text).compile()
    return made.plan.fingerprint, made.text("step:p"), repr(made.plan.programs["step:p"].lines)


def shared(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts the instances of each block that are made of others."""
    found, again = Counter[str](), Work.again

    def seen(self: Work, first: TypedOnce) -> None:
        found[self.made.name] += 1
        again(self, first)

    monkeypatch.setattr(Work, "again", seen)
    return found


@pytest.mark.parametrize(
    "text", [HEAD + CELLS + TWINS + LEARNS, STREAM.replace("block model", f"{CELLS}block model")]
)
def test_what_is_typed_once_is_what_each_would_be(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        found = shared(patched)
        once = everything(text)
    assert found["cell"] > 1
    if HEAD in text:
        assert found["dense"] > 1 and found["mixed"]
    monkeypatch.setattr(Work, "found", None)
    assert everything(text) == once


WRONG = [
    "let a = [for k in 1..2: dense(3)]\nfn net(x) = last(x) -> a[0] -> a[1]",
    "let a = [dense(1), dense(2)]\nlet b = [for k in 1..2: dense(2)]\n"
    "fn net(x) = (last(x) -> b[0] -> a[0]) + (last(x) -> b[1] -> a[1])",
    "let a = [dense(3), dense(3), dense(4)]\n"
    "fn net(x) = (last(x) -> a[0]) * (last(x) -> a[1]) * (last(x) -> a[2])",
]


@pytest.mark.parametrize("text", WRONG)
def test_faults_are_told_of_the_instance_that_is_meant(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = f"{HEAD}{text}\n{LEARNS.replace('over net', 'over a')}"
    told = []
    for _ in range(2):
        with pytest.raises(DlnError) as error:
            dln.load(spec)
        told.append(str(error.value))
        monkeypatch.setattr(Work, "found", None)
    assert told[0] == told[1]
