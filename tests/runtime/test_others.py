"""Examples of a minibatch held against one another, against the sums over all pairs in NumPy.

Slopes are complex steps; extremes are taken of the real part, which moves with the step.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dln
from dln.compiler.plan import arena_bytes
from dln.grammar.diagnostics import DlnError
from dln.runtime.session import Session

RNG = np.random.default_rng(6)
X, Y, C = RNG.normal(size=(11, 3)), RNG.normal(size=(11, 3)), RNG.integers(0, 2, 11)
DATA = np.column_stack([X, Y, C]).round(3)
X, Y = DATA[:, :3], DATA[:, 3:6]
SPEC = f"""
data d = rows({DATA.tolist()}) {{
  x[3] = raw[:3]
  y[3] = raw[3:6]
  c: class(2) = raw[6]
}}
block pair() {{
  param W[2, 3] = [[0.3, -0.2, 0.5], [0.1, 0.7, -0.4]]
  param V[2, 3] = [[0.2, 0.2, -0.6], [0.5, -0.3, 0.1]]
}}
let two = pair()
fn apart(a[n], b[n]) = sum((a - b)^2)
train t on d batch 4 for 2 epochs order file dtype float64 {{
  p = two.W @ x
  q = two.V @ y
  EQUATIONS
  minimize e over two with sgd(lr = 0.1)
  watch here = e every 1 epoch
  watch there = e on d every 1 epoch
}}
"""


def pairs(a: Any, b: Any) -> Any:
    return ((a[:, None] - b[None]) ** 2).sum(2)


def chosen(a: Any, by: Callable[[Any], Any]) -> Any:
    """The entries of rows at which the real part is largest or smallest."""
    return np.take_along_axis(a, by(a.real)[:, None], 1)[:, 0]


def triplet(p: Any, q: Any, c: Any) -> Any:
    far = chosen(np.where(c[:, None] == c, pairs(p, p), 0), lambda a: a.argmax(1))
    near = chosen(np.where(c[:, None] == c, 9, pairs(p, q)), lambda a: a.argmin(1))
    return np.where((far - near + 5).real > 0, far - near + 5, 0)


def discrepancy(p: Any, q: Any, c: Any) -> Any:
    """With the pairs of different examples alone."""
    n = max(len(p) - 1, 1)
    own = sum((np.exp(-pairs(a, a)) * (1 - np.eye(len(p)))).sum(1) / n for a in (p, q))
    return own - 2 * np.exp(-pairs(p, q)).mean(1)


def hardest(p: Any, q: Any, c: Any) -> Any:
    if len(p) == 1:
        return -(p * q).sum(1)
    scores = p @ q.T
    return chosen(scores - 1e9 * np.eye(len(p)), lambda a: a.argmax(1)) - (p * q).sum(1)


CASES: dict[str, tuple[str, Callable[..., Any]]] = {
    "negatives in the batch": (
        "e = log(sum(k in batch: exp(p @ q[k]))) - p @ q",
        lambda p, q, c: np.log(np.exp(p @ q.T).sum(1)) - (p * q).sum(1),
    ),
    "the hardest triplet": (
        """far = max(k in batch: apart(p, p[k]) if c == c[k] else 0)
  near = min(k in batch: 9 if c == c[k] else apart(p, q[k]))
  e = max(far - near + 5, 0)""",
        triplet,
    ),
    "two samples": (
        """e = mean(k in others: exp(-apart(p, p[k]))) + mean(k in others: exp(-apart(q, q[k])))
      - 2 * mean(k in batch: exp(-apart(p, q[k])))""".replace("\n      ", " "),
        discrepancy,
    ),
    "the hardest other": ("e = max(k in others: p @ q[k]) - p @ q", hardest),
    "three at a time": (
        "e = mean(j in batch, k in others: (p @ q[j]) * tanh(q[j] @ p[k]) * q[k, 1])",
        lambda p, q, c: (
            np.einsum("ij,jk,k,ik->i", p @ q.T, np.tanh(q @ p.T), q[:, 1], 1 - np.eye(len(p)))
            / (len(p) * max(len(p) - 1, 1))
        ),
    ),
}


@cache
def compiled(case: str) -> Any:
    return dln.load(SPEC.replace("EQUATIONS", CASES[case][0])).compile()


def session(case: str) -> Session:
    made: Session = compiled(case).session(seed=1)
    return made


def loss(case: str, w: Any, v: Any, rows: slice) -> Any:
    return CASES[case][1](X[rows] @ w.T, Y[rows] @ v.T, C[rows]).mean()


def slopes(case: str, w: np.ndarray, v: np.ndarray, rows: slice) -> list[np.ndarray]:
    found = []
    for k in (0, 1):
        steps = [1e-30j * e.reshape(2, 3) for e in np.eye(6)]
        moved = [loss(case, w + (k == 0) * s, v + (k == 1) * s, rows) for s in steps]
        found.append(np.array(moved).imag.reshape(2, 3) / 1e-30)
    return found


@pytest.mark.parametrize("case", CASES)
def test_it_is_the_sum_over_pairs(case: str) -> None:
    """On minibatches of 4, a short one of 3 and one of a single example."""
    s = session(case)
    for rows in (slice(0, 4), slice(4, 8), slice(8, 11), slice(3, 4)):
        w, v = (np.array(s.params[f"two.{k}"]) for k in "WV")
        given, want = {"x": X[rows], "y": Y[rows], "c": C[rows]}, slopes(case, w, v, rows)
        for path, slope in zip(("two.W", "two.V"), want, strict=True):
            np.testing.assert_allclose(s.grad("t", path, **given), slope, rtol=1e-11, atol=1e-12)
        assert s.step("t", **given) == pytest.approx(loss(case, w, v, rows).real, rel=1e-12)
        np.testing.assert_allclose(s.params["two.W"], w - 0.1 * want[0], rtol=1e-11, atol=1e-13)


def test_a_watch_on_other_data_is_of_minibatches() -> None:
    """Of the phase's size, in the order of the file, each example counting once."""
    s = session("two samples")
    result = s.train("t")
    w, v = (np.array(s.params[f"two.{k}"]) for k in "WV")
    parts = [loss("two samples", w, v, slice(k, min(k + 4, 11))) for k in (0, 4, 8)]
    want = np.average([p.real for p in parts], weights=[4, 4, 3])
    assert result.history["there"][-1][2] == pytest.approx(want, rel=1e-12)


RECURRENT = """
data d = rows([[1, 2, 3, 4], [0, 1, 0, 2], [2, 1, 1, 5]]) {
  x[time] = raw
}
block meeting(x[time]) -> h[time] {
  param w = 0.3
  scan t in time {
    h[t] = tanh(w * sum(k in others: x[k, t] * h[k, t-1]) + x[t])
  }
}
let c = meeting()
train t on d batch all for 1 update dtype float64 {
  minimize last(c(x))^2 over c with sgd(lr = 0.1)
}
"""


def test_in_each_step_of_a_scan() -> None:
    x, s = np.array([[1, 2, 3, 4], [0, 1, 0, 2], [2, 1, 1, 5.0]]), dln.load(RECURRENT).compile()

    def of(w: complex) -> Any:
        h = np.zeros(3, complex)
        for row in x.T:
            h = np.tanh(w * ((row * h).sum() - row * h) + row)
        return (h**2).mean()

    session = s.session(seed=0)
    assert session.grad("t", "c.w", x=x) == pytest.approx(of(0.3 + 1e-30j).imag / 1e-30, rel=1e-12)
    assert session.step("t", x=x) == pytest.approx(of(0.3).real, rel=1e-12)


def test_memory_and_work_are_of_all_pairs() -> None:
    program = compiled("two samples").plan.programs["step:t"]
    few, many = (arena_bytes(program, n) for n in (1000, 2000))
    assert 3.8 < many / few < 4.1 and 3.8 < program.flops(2000) / program.flops(1000) < 4.1


APART = """
block centred(x[n]) -> y[n] {
  y = x - mean(k in batch: x[k])
}
let f = centred()
let g = dense(2)
data d = npz("d.npz") {
  x[time, 2] = raw.x
  LENGTH
}
train t on d batch 2 for 1 epoch {
  z = g(last(x))
  USE
}
"""


def written(tmp_path: Path, length: str, use: str) -> Path:
    np.savez(tmp_path / "d.npz", x=np.ones((3, 4, 2)), length=np.array([4, 2, 3]))
    path = tmp_path / "s.dln"
    path.write_text(APART.replace("LENGTH", length).replace("USE", use))
    return path


def test_a_call_from_python_has_no_minibatch(tmp_path: Path) -> None:
    use = "minimize sum(f(z)^2) over g with sgd(lr = 0.1)"
    s = dln.load(str(written(tmp_path, "", use))).compile().session(seed=0)
    with pytest.raises(DlnError, match="a call from Python has no minibatch"):
        s.f(np.ones((3, 2)))


def test_sequences_of_unequal_lengths_are_not_held_against_each_other(tmp_path: Path) -> None:
    use = "minimize sum(k in batch: z @ last(x[k])) over g with sgd(lr = 0.1)"
    with pytest.raises(DlnError, match="E423.*\n.*x has a length of its own|x has a length"):
        dln.load(str(written(tmp_path, "length = raw.length", use)))
    use = "minimize sum(k in batch: z @ last(x)[k]) over g with sgd(lr = 0.1)"
    dln.load(str(written(tmp_path, "length = raw.length", use)))
