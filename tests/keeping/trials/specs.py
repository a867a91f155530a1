"""A small spec for each kind of phase, each with something to lose: states, draws, reports."""

from __future__ import annotations

from pathlib import Path

DATA = """# Points of a plane, and on which side of each axis they lie.
data points = rows([[0.5, -1], [1.5, 2], [-0.5, 0.25], [2, 1], [1, -2], [0.1, 0.7], [-1, 1]]) {
  x[2] = raw
  v[2]: binary = raw > 0
}
block rbm(v[n]: binary; m) {
  hidden h[m]: binary
  param W[n, m] ~ normal(0, 0.1), a[n] = 0, b[m] = 0
  energy = -(a @ v) - (b @ h) - (v @ W @ h)
}
block autoencoder(x[n]) -> y[n] {
  h = x -> dense(3, act = tanh)
  y = h -> dense(n)
}
const most = 300
const brief = 100
"""

MINIBATCH = """let net = autoencoder()
train fit on points batch 2 for most updates {
  noise ~ normal(zeros(2), 0.1)
  minimize sum((net(x + noise) - x)^2) over net with adam(lr = 0.01 * (1 - progress))
  watch error = sum((net(x) - x)^2) on points every 40 updates
  watch total seen = sum(x[0]) every 1 epoch
  checkpoint every 10 updates
  checkpoint best by error
}
"""

LBFGS = """let net = autoencoder()
train fit on points batch all for most updates dtype float64 {
  minimize sum((net(x) - [sin(9 * x[0] * x[1]), cos(9 * x[0])])^2) over net with lbfgs()
  watch error = sum((net(x) - x)^2) on points every 10 updates
  checkpoint every 5 updates
}
"""

PCD = """let R = rbm(4)
train pcd on points batch 3 for most updates {
  state chain[2] ~ bernoulli(0.5)
  fantasy = gibbs(R, chain, 2)
  chain := fantasy
  minimize R.free(v) - R.free(stop(fantasy)) over R with sgd(lr = 0.05, momentum = 0.5)
  watch mean = sum(chain) every 30 updates
  checkpoint every 10 updates
}
"""

STREAM = """data word = text("word.txt") {
  c[time]: class(V) = raw[:-1]
  next[time]: class(V) = raw[1:]
  set window = 3
}
block speller(c[time]: class(V)) -> z[time, V]: logit {
  z = onehot(c) -> rnn(5) -> dense(V)
}
let lm = speller()
train spell on word stream 2 for most updates {
  minimize sum(cross_entropy(lm(c), next)) over lm with adam(lr = 0.02)
  watch e = sum(cross_entropy(lm(c), next)) every 1 epoch
  checkpoint every 10 updates
}
"""

UPDOWN = """let up = dense(3, act = sigmoid)
let down = dense(2, act = sigmoid)
train refine on points batch 2 for most updates {
  state dream[3] ~ bernoulli(0.5)
  step wake {
    h ~ bernoulli(up(v))
    minimize sum(binary_cross_entropy(down(h), v)) over down with sgd(lr = 0.05, momentum = 0.9)
  }
  step sleep {
    seen ~ bernoulli(down(dream))
    next ~ bernoulli(up(seen))
    dream := next
    minimize sum(binary_cross_entropy(up(stop(seen)), dream)) over up with adam(lr = 0.01)
  }
  watch error = sum((down(up(v)) - v)^2) every 1 epoch
  checkpoint every 10 updates
}
"""

SECOND = """let net = autoencoder()
let other = autoencoder()
train first on points batch 2 for brief updates {
  minimize sum((net(x) - x)^2) over net with sgd(lr = 0.01, momentum = 0.9)
  checkpoint every 20 updates
}
train second on points batch 3 for most updates after first {
  start other.h.W := net.h.W
  noise ~ normal(zeros(2), 0.1)
  minimize sum((other(x + noise) - x)^2) over other with adam(lr = 0.01)
  watch error = sum((net(x) - other(x))^2) every 1 epoch
  checkpoint every 10 updates
}
train third on points batch 2 for brief updates after second {
  minimize sum((net(x) - other(x))^2) over net with sgd(lr = 0.01)
}
"""

KINDS = {
    "second": SECOND,
    "minibatch": MINIBATCH,
    "lbfgs": LBFGS,
    "pcd": PCD,
    "stream": STREAM,
    "updown": UPDOWN,
}
"""What is trained, by kind; `most` says for how long."""

SWEEP = """sweep lengths {
  vary most in [20, 40, 60, 80]
  report fit.updates, fit.error
}
"""


def written(folder: Path, kind: str, most: int = 300) -> Path:
    """The spec of a kind as a file, with the text that it reads."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "word.txt").write_text("hello world, hello sea, hello all of them; ")
    path = folder / f"{kind}.dln"
    text = MINIBATCH + SWEEP if kind == "sweep" else KINDS[kind]
    path.write_text(DATA.replace("most = 300", f"most = {most}") + text)
    return path
