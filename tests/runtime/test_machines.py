"""Machines from Python: `session.R.up(v)`, lists of machines, and what is said of mistakes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dln
from dln.grammar.diagnostics import DlnError
from dln.runtime.gradcheck import gradcheck
from dln.runtime.session import Session

TEXT = """block memory(code[n]: binary, label: class(q); m) {
  hidden h[m]: binary
  param W[n, m] ~ normal(0, 1), U[q, m] ~ normal(0, 1), d[q] ~ normal(0, 1)
  energy = -d[label] - (code @ W @ h) - (U[label] @ h)
}
let R = [rbm(3), rbm(2)]
let T = memory(4)
data d = rows([[1, 0, 1, 1, 2], [0, 1, 1, 0, 1]]) {
  x[4]: binary = raw[:4]
  y: class(3) = raw[4]
}
train low on d.all batch 2 for 1 update dtype float64 {
  minimize cd(R[0], x) over R[0] with sgd(lr = 0.1)
}
train high on d.all batch 2 for 1 update dtype float64 {
  code = R[1].up(R[0].up(x))
  minimize cd(T, code, y) over T with sgd(lr = 0.1)
}
train exact on d.all batch 2 for 1 update dtype float64 {
  minimize -log_likelihood(R[0], x) over R[0] with sgd(lr = 0.1)
}
"""


@pytest.fixture(scope="module")
def session() -> Session:
    return dln.load(TEXT).compile(dtype="float64").session(seed=2)


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def test_a_machine_in_a_list(session: Session) -> None:
    p, v = session.params, np.random.default_rng(0).random((6, 4))
    pull = p["R[0].b"] + v @ p["R[0].W"]
    np.testing.assert_allclose(session["R[0]"].up(v), sigmoid(pull), rtol=1e-12)
    np.testing.assert_allclose(
        session["R[0]"].down(h=1.0 * (pull > 0)), sigmoid(p["R[0].a"] + (pull > 0) @ p["R[0].W"].T)
    )
    free = -v @ p["R[0].a"] - np.log1p(np.exp(pull)).sum(1)
    np.testing.assert_allclose(session["R[0]"].free(v=v), free, rtol=1e-12)
    assert session["R[1]"].up(session["R[0]"].up(v)).shape == (6, 2)
    np.testing.assert_array_equal(session["R[0].up"](v), session["R[0]"].up(v))


def test_groups_by_position_and_by_name(session: Session) -> None:
    code, label = np.array([[1, 0], [0, 1], [1, 1]]), [2, 0, 1]
    up = session.T.up(code, label)
    p = session.params
    wanted = sigmoid(code @ p["T.W"] + p["T.U"][label])
    np.testing.assert_allclose(up, wanted, rtol=1e-12)
    np.testing.assert_array_equal(up, session.T.up(label=label, code=code))
    down = session["T"].down(np.zeros((3, 4)))
    assert sorted(down) == ["code", "label"]
    np.testing.assert_allclose(down["code"], np.full((3, 2), 0.5))
    shares = np.exp(p["T.d"]) / np.exp(p["T.d"]).sum()
    np.testing.assert_allclose(down["label"], np.tile(shares, (3, 1)), rtol=1e-12)


def test_how_it_shows(session: Session) -> None:
    assert repr(session.T) == repr(session["T"]) == "T (a machine: up, down, free)"
    assert repr(session["R[1]"]) == "R[1] (a machine: up, down, free)"
    assert repr(session.T.up) == "T.up(code, label)"
    assert repr(session["R[0]"].down) == "R[0].down(h)"


@pytest.mark.parametrize(
    ("wrong", "code", "message"),
    [
        (lambda s: s.T([[1, 0]], [1]), "E563", "T is a machine: ask for T.up or T.down or T.free"),
        (lambda s: s["R[0]"]([[1, 0, 1, 1]]), "E563", r"ask for R\[0\].up or R\[0\].down or"),
        (lambda s: s.T.step([[1, 0]], [1]), "E563", "T is a machine"),
        (lambda s: s["R[2]"], "E560", 'there is no instance "R\\[2\\]"'),
        (lambda s: s.T.up([[1, 0]]), "E550", "label"),
        (lambda s: s.T.up([[1, 0]], [3]), "E554", "label"),
        (lambda s: s.T.up([[1, 0, 1]], [2]), "E551", "code"),
        (lambda s: s["R[0]"].up([[1, 0, 2, 1]]), "E554", "v"),
        (lambda s: s["R[0]"].up([[1] * 4], [1]), "E563", "takes 1 arrays, not 2"),
    ],
)
def test_mistakes(session: Session, wrong: Any, code: str, message: str) -> None:
    with pytest.raises(DlnError, match=message) as e:
        wrong(session)
    assert [p.code for p in e.value.problems] == [code]


def test_names_that_it_has_not(session: Session) -> None:
    with pytest.raises(AttributeError, match='T has no instance "upp"'):
        _ = session.T.upp
    with pytest.raises(AttributeError, match='no attribute or instance "R"'):
        _ = session.R


def test_what_an_energy_refuses_says_why() -> None:
    """A free energy needs no `down`: links between visible units are no error until it is asked."""
    text = """block linked(v[n]: binary; m) {
  hidden h[m]: binary
  param W[n, m] ~ normal(0, 1), L[n, n] ~ normal(0, 1)
  energy = -(v @ W @ h) - (v @ L @ v)
}
let T = linked(2)
let z = T.free([1, 0, 1])
"""
    session = dln.load(text).compile(dtype="float64").session()
    assert repr(session.T) == "T (a machine: up, down, free)"
    p, v = session.params, np.array([[1.0, 0, 1], [0, 1, 1]])
    wanted = -np.log1p(np.exp(v @ p["T.W"])).sum(1) - np.einsum("bi,ij,bj->b", v, p["T.L"], v)
    np.testing.assert_allclose(session.T.free(v), wanted, rtol=1e-12)
    with pytest.raises(dln.DlnError) as caught:
        session.T.down(np.ones((1, 2)))
    (problem,) = caught.value.problems
    assert (problem.code, problem.span and problem.span.line) == ("E565", 4)
    assert problem.message.startswith("T.down cannot be called on its own: no Gibbs step for v")


@pytest.mark.parametrize("units", ["a hidden class", "real units"])
def test_gradients_are_slopes(units: str) -> None:
    """Of likelihoods and free energies, with central differences as the oracle."""
    blocks = {
        "a hidden class": """block machine(v[n]: binary) {
  hidden c: class(3), h[2]: binary
  param W[n, 2] ~ normal(0, 1), U[3, n] ~ normal(0, 1), d[3] ~ normal(0, 1)
  energy = -d[c] - (U[c] @ v) - (v @ W @ h)
}
data d = rows([[1, 0, 1], [0, 1, 1]]) {
  x[3]: binary = raw
}
""",
        "real units": """block machine(v[n]) {
  hidden h[3]: binary
  param W[n, 3] ~ normal(0, 0.5), a[n] ~ normal(0, 1), s[n] = [0.5, 3]
  energy = sum(s * (v - a)^2) / 2 - ((s * v) @ W @ h)
}
data d = rows([[0.3, -1], [2, 1]]) {
  x[2] = raw
}
""",
    }
    phases = "".join(
        f"train p{i} on d.all batch 2 for 1 epoch dtype float64 {{\n"
        f"  minimize {loss} over T with sgd(lr = 0.1)\n}}\n"
        for i, loss in enumerate(("-log_likelihood(T, x)", "T.free(x)"))
    )
    spec = dln.load(blocks[units] + "let T = machine()\n" + phases)
    made = spec.compile(dtype="float64").session(seed=1)
    rows = [row for i in (0, 1) for row in gradcheck(made, f"p{i}")]
    assert len(rows) == 6
    assert all(row.error < 1e-7 for row in rows)


def test_gradients_of_chains_are_not_compared(session: Session) -> None:
    """They are no slopes of the loss; those of an exact likelihood are."""
    for phase in ("low", "high"):
        with pytest.raises(DlnError, match=f"{phase} stops gradients") as e:
            gradcheck(session, phase)
        assert e.value.problems[0].code == "E572"
    assert all(row.error < 1e-6 for row in gradcheck(session, "exact"))
