"""A penalty on means over the minibatch: the sparse autoencoder's, against its formulas by hand.

UFLDL gives them: the hidden error is (W2' d + beta (-rho / rho_j + (1 - rho) / (1 - rho_j))) times
the slope of the unit, rho_j the mean activation over all examples of the minibatch.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

import dln
from dln.runtime.gradcheck import gradcheck
from dln.runtime.session import Session

RHO, BETA, DECAY, RATE = 0.1, 3.0, 3e-3, 0.05
X = np.random.default_rng(4).uniform(0, 1, (11, 5))
SPEC = """\
data d = rows([[0, 0, 0, 0, 0]]) {
  x[5]: prob = raw
}
fn kl(p, q) = p * log(p / q) + (1 - p) * log((1 - p) / (1 - q))
block autoencoder(x[n]; m) -> r[n]: prob {
  let enc = dense(m, act = sigmoid)
  let dec = dense(n, act = sigmoid)
  h = enc(x)
  r = dec(h)
}
let ae = autoencoder(3)
train s on d READ for 3 epochs order file dtype float64 {
  r = ae(x)
  small  = 3e-3 / 2 * (sum(ae.enc.W^2) + sum(ae.dec.W^2))
  sparse = 3 * sum(kl(0.1, mean(batch: ae.h)))
  minimize squared_error(r, x) + small + sparse over ae with OPTIMISER
}
"""
NAMES = ("ae.enc.W", "ae.enc.b", "ae.dec.W", "ae.dec.b")
ORDINARY = ("batch 4", f"sgd(lr = {RATE})")


@cache
def compiled(read: str, optimiser: str) -> Any:
    return dln.load(SPEC.replace("READ", read).replace("OPTIMISER", optimiser)).compile()


def session(read: str, optimiser: str) -> Session:
    return compiled(read, optimiser).session(seed=2)


def sigmoid(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


def by_hand(params: Any, x: np.ndarray) -> tuple[float, dict[str, np.ndarray]]:
    """Loss and gradients of the sparse autoencoder on a minibatch."""
    w1, b1, w2, b2 = (params[k] for k in NAMES)
    n = len(x)
    h = sigmoid(x @ w1.T + b1)
    r = sigmoid(h @ w2.T + b2)
    mean = h.mean(0)
    kl = RHO * np.log(RHO / mean) + (1 - RHO) * np.log((1 - RHO) / (1 - mean))
    loss = ((r - x) ** 2).sum() / 2 / n + DECAY / 2 * ((w1**2).sum() + (w2**2).sum())
    out = (r - x) * r * (1 - r)
    sparse = BETA * (-RHO / mean + (1 - RHO) / (1 - mean))
    hidden = (out @ w2 + sparse) * h * (1 - h)
    return loss + BETA * kl.sum(), {
        "ae.enc.W": hidden.T @ x / n + DECAY * w1,
        "ae.enc.b": hidden.sum(0) / n,
        "ae.dec.W": out.T @ h / n + DECAY * w2,
        "ae.dec.b": out.sum(0) / n,
    }


@pytest.mark.parametrize("how", [ORDINARY, ("batch all", "lbfgs()")])
@pytest.mark.parametrize("n", [1, 3, 4, 11])
def test_the_gradient_is_the_formula_whatever_the_number_of_examples(
    how: tuple[str, str], n: int
) -> None:
    s = session(*how)
    loss, gradients = by_hand(s.params, X[:n])
    for path in NAMES:
        np.testing.assert_allclose(s.grad("s", path, x=X[:n]), gradients[path], rtol=1e-10)
    assert s.step("s", x=X[:n]) == pytest.approx(loss, rel=1e-12)


@pytest.mark.parametrize("how", [ORDINARY, ("batch all", "lbfgs()")])
def test_gradients_against_differences(how: tuple[str, str]) -> None:
    assert max(r.error for r in gradcheck(session(*how), "s")) < 1e-7


def test_a_short_last_minibatch_has_a_mean_of_its_own() -> None:
    """Eleven examples by four: the last three are a minibatch like the others."""
    s = session(*ORDINARY)
    params = {k: np.array(v) for k, v in s.params.items()}
    for _ in range(3):
        for low in (0, 4, 8):
            _, gradients = by_hand(params, X[low : low + 4])
            params = {k: v - RATE * gradients[k] for k, v in params.items()}
    s.train("s", data={"d": (X,)})
    for path in NAMES:
        np.testing.assert_allclose(s.params[path], params[path], rtol=1e-10)


def test_lbfgs_brings_the_penalised_loss_down() -> None:
    s = session("batch all", "lbfgs()")
    before, _ = by_hand(s.params, X)
    s.train("s", data={"d": (X,)}, epochs=60)
    after, gradients = by_hand(s.params, X)
    assert after < before / 2
    assert max(abs(g).max() for g in gradients.values()) < 1e-2
