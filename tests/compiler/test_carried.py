"""What a loop carries from step to step, whatever types its values have: each block beside the same
equations in NumPy; gradients against complex steps of those."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import dln
from dln.runtime.session import Session

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Case:
    """A block over `x`, and its result for one example from parameters and x."""

    block: str
    by_hand: Callable[[Arrays, np.ndarray], Any]
    shape: str = "3, 2"
    steps: bool = True  # whether the first axis of x is the time


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.real.max())
    return e / e.sum()


def first(of: Any) -> np.ndarray:
    """The largest, by its real part."""
    return of[np.argmax(of.real)]


CASES: dict[str, Case] = {}


def case(block: str, shape: str = "3, 2", steps: bool = True) -> Callable[[Any], Any]:
    def enter(function: Any) -> Any:
        CASES[function.__name__] = Case(block, function, shape, steps)
        return function

    return enter


@case(
    """
    param g[2] = [0.5, 0.7]
    a[-1] = x
    scan t in 3 { a[t, j] = max(a[t-1]) * g[j] }
    y = sum(last(a)^2)
    """,
    "2",
    False,
)
def largest_by_index(p, x):
    a = x
    for _ in range(3):
        a = first(a) * p["g"]
    return np.sum(a**2)


@case(
    """
    param W[2, 2] = 0.3, U[2, 2] = [[0.2, 0.1], [-0.4, 0.3]], b[2] = 0.1
    h[-1] = zeros(2)
    scan t in time {
      h[t, i] = tanh(sum(j: W[i, j] * x[t, j]) + sum(j: U[i, j] * h[t-1, j]) + b[i])
    }
    y = sum(last(h)^2)
    """
)
def elman_by_index(p, x):
    h = np.zeros(2)
    for now in x:
        h = np.tanh(p["W"] @ now + p["U"] @ h + p["b"])
    return np.sum(h**2)


@case(
    """
    param w = 0.9
    r = w * x
    h[-1] = ones(2)
    scan t in 3 { h[t] = exp(h[t-1] @ r / 5) }
    y = sum(last(h))
    """,
    "2, 2",
    False,
)
def weights_from_the_input(p, x):
    h = np.ones(2)
    for _ in range(3):
        h = np.exp(h @ (p["w"] * x) / 5)
    return np.sum(h)


@case(
    """
    param A[2, 2] = [[0.4, -0.3], [0.2, 0.6]], c[2] = [0.3, -0.2]
    q[-1] = c
    scan t in 3 {
      score[k] = sum(i, j: q[t-1, i] * A[i, j] * x[k, j])
      weight[k] = exp(score[k])
      q[t, i] = tanh(sum(k: weight[k] * x[k, i]) / sum(weight) + q[t-1, i])
    }
    y = sum(last(q)^2) + sum(q[0])
    """,
    "3, 2",
    False,
)
def attention_by_index(p, x):
    q, seen = p["c"], []
    for _ in range(3):
        weight = np.exp(x @ (q @ p["A"]))
        q = np.tanh(weight @ x / weight.sum() + q)
        seen.append(q)
    return np.sum(q**2) + np.sum(seen[0])


@case(
    """
    param G[2, 2] = [[0.5, -0.1], [0.3, 0.2]], c[2] = [0.4, -0.6]
    gate = sigmoid(G @ x)
    h[-1] = c
    scan t in 4 {
      h[t] = gate * tanh(h[t-1]) + (1 - gate) * x
    }
    y = sum(h[2] * last(h))
    """,
    "2",
    False,
)
def gates_from_the_input(p, x):
    gate, h, seen = 1 / (1 + np.exp(-(p["G"] @ x))), p["c"], []
    for _ in range(4):
        h = gate * np.tanh(h) + (1 - gate) * x
        seen.append(h)
    return np.sum(seen[2] * h)


@case(
    """
    param M[2, 2] = [[0.3, -0.2], [0.2, 0.5]], N[2, 2] = [[0.1, 0.4], [-0.3, 0.1]]
    K[i, j] = M[i, j] * x[0, j] + N[j, i] * x[1, i]
    h[-1] = [0.5, 1]
    scan t in time {
      h[t] = tanh(K @ h[t-1] + x[t])
    }
    y = sum(h[0]) + sum(last(h)^2)
    """
)
def weights_and_sequence_from_the_input(p, x):
    k = p["M"] * x[0] + p["N"].T * x[1][:, None]
    h, seen = np.array([0.5, 1]), []
    for now in x:
        h = np.tanh(k @ h + now)
        seen.append(h)
    return np.sum(seen[0]) + np.sum(h**2)


@case(
    """
    param T[3, 3] = [[0.2, 0.5, -0.1], [0.3, -0.4, 0.6], [0.1, 0.2, 0.3]], E[3, 2] = 0.2
    p[-1] = [1, 0, 0]
    scan t in time {
      p[t] = softmax(T @ p[t-1] + E @ x[t])
    }
    y = -log(sum(last(p) * [0.2, 0.3, 0.5])) + sum(p[1]^2)
    """
)
def a_distribution_that_begins_as_numbers(p, x):
    q, seen = np.array([1.0, 0, 0]), []
    for now in x:
        q = softmax(p["T"] @ q + p["E"] @ now)
        seen.append(q)
    return -np.log(np.sum(q * [0.2, 0.3, 0.5])) + np.sum(seen[1] ** 2)


@case(
    """
    param w[2] = [0.6, -0.3]
    h[-1] = w
    scan t in time {
      h[t, i] = tanh(h[t-1, i] * w[i] + x[t, i])
    }
    before[i] = h[0, i] * h[1, i]
    y = sum(time: h @ w) + sum(before) + sum(last(h -> twice))
    """
)
def one_sequence_read_in_several_ways(p, x):
    h, seen = p["w"], []
    for now in x:
        h = np.tanh(h * p["w"] + now)
        seen.append(h)
    return sum(s @ p["w"] for s in seen) + np.sum(seen[0] * seen[1]) + np.sum(2 * h)


@case(
    """
    param u[2] = [0.5, 0.4], V[2, 2] = [[0.3, -0.2], [0.1, 0.4]]
    y[-1] = x[0]
    scan t in time {
      b[-1] = y[t-1]
      scan s in 3 {
        b[s, i] = tanh(sum(j: V[i, j] * b[s-1, j]) + u[i] * x[t, i])
      }
      y[t] = last(b) + b[0] * u
    }
    z = sum(last(y)) + sum(y[0] * y[1])
    """
)
def a_scan_in_a_scan(p, x):
    y, seen = x[0], []
    for now in x:
        b, steps = y, []
        for _ in range(3):
            b = np.tanh(p["V"] @ b + p["u"] * now)
            steps.append(b)
        y = b + steps[0] * p["u"]
        seen.append(y)
    return np.sum(y) + np.sum(seen[0] * seen[1])


TEXT = """
data d = rows([[ZEROS]]) {
  x[SHAPE] = FIELD
}
fn twice(a) = 2 * a
block f(x[SHAPE]) -> RESULT {BODY}
let net = f()
train p on d batch 1 for 1 update dtype float64 {
  minimize net(x) over net with sgd(lr = 0.1)
}
"""


def session(case: Case) -> Session:
    result = "z" if "\n    z = " in case.block else "y"
    sizes = [int(k) for k in case.shape.split(",")]
    rows = ", ".join(
        f"raw[{i * sizes[-1]}:{(i + 1) * sizes[-1]}]" for i in range(int(np.prod(sizes[:-1])))
    )
    field = f"[{rows}]" if len(sizes) > 1 else "raw"
    shape = case.shape.replace("3, 2", "time, 2") if case.steps else case.shape
    text = TEXT.replace("FIELD", field).replace("ZEROS", ", ".join(["0"] * int(np.prod(sizes))))
    text = text.replace("SHAPE", shape).replace("RESULT", result).replace("BODY", case.block)
    lines = text.replace("{ a[t, j]", "{\n a[t, j]").replace("{ h[t] =", "{\n h[t] =")
    lines = lines.replace(" }\n    y", "\n }\n    y")
    made: Session = dln.load(lines).compile(dtype="float64").session(seed=1)
    return made


def complex_steps(case: Case, params: Arrays, path: str, xs: np.ndarray) -> np.ndarray:
    """The gradient of the mean over examples, to the last bits."""
    slope = np.zeros(params[path].shape)
    for at in np.ndindex(*slope.shape):
        moved = {k: a.astype(complex) for k, a in params.items()}
        moved[path][at] += 1e-30j
        slope[at] = np.mean([case.by_hand(moved, x).imag for x in xs]) / 1e-30
    return slope


@pytest.mark.parametrize("name", CASES)
def test_values_and_slopes_are_those_by_hand(name: str) -> None:
    case = CASES[name]
    made = session(case)
    sizes = [int(k) for k in case.shape.split(",")]
    xs = np.random.default_rng(3).uniform(-1, 1, (4, *sizes))
    params = {k.removeprefix("net."): np.array(a, float) for k, a in made.params.items()}
    wanted = [case.by_hand(params, x) for x in xs]
    np.testing.assert_allclose(made.net(xs), wanted, rtol=1e-12, atol=1e-14)
    for path in params:
        slope = made.grad("p", f"net.{path}", x=xs)
        np.testing.assert_allclose(slope, complex_steps(case, params, path, xs), 1e-10, 1e-13)
