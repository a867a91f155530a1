"""`balanced(label)`: the weights by hand, on whatever data a phase is given, in sums and means."""

from __future__ import annotations

import numpy as np
import pytest

import dln
from dln.grammar.diagnostics import DlnError

LABELS = [0, 0, 0, 0, 0, 0, 2, 2, 3, 0, 2, 1]
ROWS = [[k % 5 - 2, k % 3, c] for k, c in enumerate(LABELS)]
TEXT = f"""
data d = rows({ROWS}) {{
  x[2] = raw[:2]
  label: class(4) = raw[2]
  split fit 9, valid 3
}}
let net = dense(4, init = zero)
train fit on d.fit batch 4 for 3 epochs order file dtype float64 {{
  e = cross_entropy(net(x), label)
  minimize weighted(e, balanced(label)) over net with sgd(lr = 0.5)
  watch other = balanced(label) * e on d.valid every 1 epoch
}}
"""


def by_hand(x: np.ndarray, c: np.ndarray, other: tuple[np.ndarray, np.ndarray]) -> list[float]:
    """The reports of three epochs: the mean by weight, as `weight=` of PyTorch has it."""
    counts = np.bincount(c, minlength=4)
    weight = np.divide(len(c), 3 * counts, where=counts > 0, out=np.zeros(4))
    W, b, found = np.zeros((4, 2)), np.zeros(4), []
    for _ in range(3):
        for low in range(0, len(x), 4):
            part, own = x[low : low + 4], c[low : low + 4]
            z = part @ W.T + b
            p = np.exp(z) / np.exp(z).sum(1, keepdims=True) - np.eye(4)[own]
            p *= (weight[own] / weight[own].sum())[:, None]
            W, b = W - 0.5 * p.T @ part, b - 0.5 * p.sum(0)
        z = other[0] @ W.T + b
        e = np.log(np.exp(z).sum(1)) - z[np.arange(len(z)), other[1]]
        found.append(float(np.mean(weight[other[1]] * e)))
    return found


def test_classes_weigh_by_what_there_is_to_learn_from() -> None:
    """Class 1 stands in the other part alone, and weighs nothing. Examples from Python count."""
    rows = np.array(ROWS, float)
    x, c = rows[:, :2], rows[:, 2].astype(int)
    session = dln.load(TEXT).compile().session()
    got = [r.value for r in session.train("fit").history["other"]]
    np.testing.assert_allclose(got, by_hand(x[:9], c[:9], (x[9:], c[9:])), rtol=1e-12)
    again = dln.load(TEXT).compile().session()
    got = [r.value for r in again.train("fit", data={"d.fit": (x[2:9], c[2:9])}).history["other"]]
    np.testing.assert_allclose(got, by_hand(x[2:9], c[2:9], (x[9:], c[9:])), rtol=1e-12)
    fresh = dln.load(TEXT).compile().session()
    slope = fresh.grad("fit", "net.b", x=x[:4], label=c[:4])
    fresh.step("fit", x=x[:4], label=c[:4])
    np.testing.assert_allclose(fresh.params["net.b"], -0.5 * slope, rtol=1e-12)


def test_a_check_of_the_weighted_gradient_is_refused() -> None:
    with pytest.raises(DlnError, match="E435"):
        dln.load(TEXT + 'check "c" {\n  expect norm(fit.grad(net.b)) > 0\n}\n')
