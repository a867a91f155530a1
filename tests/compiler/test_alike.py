"""Layers whose units are alike: what is warned of is alike after training, and nothing else."""

import numpy as np
import pytest

import dln

SPEC = """data d = synthetic("gaussians", 2, 4, 60) {
  x[4] = raw.x
  label: class(2) = raw.label
}
block net(x[4]) -> y[2] {
  param W[3, 4] INNER, b[3] = 0, V[2, 3] OUTER, c[2] = 0
  y = V @ tanh(W @ x + b) + c
}
let m = net()
let R = rbm(3, init = FIRST)
train fit on d batch 10 for 2 epochs {
  minimize cross_entropy(m(x), label) over m with sgd(lr = 0.1)
  minimize cd(R, sigmoid(x), k = 1) over R with sgd(lr = 0.1)
}
"""
DRAWN = "~ normal(0, 1)"


@pytest.mark.parametrize(
    ("inner", "outer", "machine", "alike"),
    [
        ("= 0", "= 0", "small", ["m.W"]),
        ("= 0.5", "= 0.25", "zero", ["m.W", "R.W"]),
        ("= 0.5", DRAWN, "small", []),  # what follows tells the units apart
        (DRAWN, "= 0", "small", []),
    ],
)
def test_units_that_are_said_to_stay_alike_do(
    inner: str, outer: str, machine: str, alike: list[str]
) -> None:
    text = SPEC.replace("INNER", inner).replace("OUTER", outer).replace("FIRST", machine)
    made = dln.load(text)
    said = [w for w in made.model.warnings if w.code == "W315"]
    assert [p for p in ("m.W", "R.W") if said and p in said[0].message] == alike
    session = made.compile().session(seed=3)
    session.train("fit")
    units = {"m.W": session.params["m.W"], "R.W": session.params["R.W"].T}
    assert [p for p, W in units.items() if np.allclose(W, W[:1], rtol=1e-5, atol=1e-7)] == alike
