"""What a loop carries from step to step, whatever types its values have: each block beside the same
equations in NumPy; gradients against complex steps of those."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

import dln
from dln.runtime.session import Session

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Case:
    """A block over `x` that gives y, and y (or the loss) for one example from parameters and x."""

    block: str
    by_hand: Callable[[Arrays, np.ndarray], Any]
    sizes: tuple[int, ...] = (3, 2)
    time: bool = True  # whether the first axis of x is the time
    loss: str = "net(x)"


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.real.max())
    return e / e.sum()


def first(of: Any) -> np.ndarray:
    """The largest, by its real part."""
    return of[np.argmax(of.real)]


CASES: dict[str, Case] = {}


def case(block: str, *sizes: int, **more: Any) -> Callable[[Any], Any]:
    def enter(function: Any) -> Any:
        CASES[function.__name__] = Case(block, function, sizes or (3, 2), **more)
        return function

    return enter


@case(
    """
    param g[2] = [0.5, 0.7]
    a[-1] = x
    scan t in 3 {
      a[t, j] = max(a[t-1]) * g[j]
    }
    y = sum(last(a)^2)
    """,
    2,
    time=False,
)
def largest_by_index(p: Any, x: Any) -> Any:
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
def elman_by_index(p: Any, x: Any) -> Any:
    h = np.zeros(2)
    for now in x:
        h = np.tanh(p["W"] @ now + p["U"] @ h + p["b"])
    return np.sum(h**2)


@case(
    """
    param w = 0.9
    r = w * x
    h[-1] = ones(2)
    scan t in 3 {
      h[t] = exp(h[t-1] @ r / 5)
    }
    y = sum(last(h))
    """,
    2,
    2,
    time=False,
)
def weights_from_the_input(p: Any, x: Any) -> Any:
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
    3,
    2,
    time=False,
)
def attention_by_index(p: Any, x: Any) -> Any:
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
    2,
    time=False,
)
def gates_from_the_input(p: Any, x: Any) -> Any:
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
def weights_and_sequence_from_the_input(p: Any, x: Any) -> Any:
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
def a_distribution_that_begins_as_numbers(p: Any, x: Any) -> Any:
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
def one_sequence_read_in_several_ways(p: Any, x: Any) -> Any:
    h, seen = p["w"], []
    for now in x:
        h = np.tanh(h * p["w"] + now)
        seen.append(h)
    return sum(s @ p["w"] for s in seen) + np.sum(seen[0] * seen[1]) + np.sum(2 * h)


@case(
    """
    param u[2] = [0.5, 0.4], V[2, 2] = [[0.3, -0.2], [0.1, 0.4]]
    q[-1] = x[0]
    scan t in time {
      b[-1] = q[t-1]
      scan s in 3 {
        b[s, i] = tanh(sum(j: V[i, j] * b[s-1, j]) + u[i] * x[t, i])
      }
      q[t] = last(b) + b[0] * u
    }
    y = sum(last(q)) + sum(q[0] * q[1])
    """
)
def a_scan_in_a_scan(p: Any, x: Any) -> Any:
    y, seen = x[0], []
    for now in x:
        b, steps = y, []
        for _ in range(3):
            b = np.tanh(p["V"] @ b + p["u"] * now)
            steps.append(b)
        y = b + steps[0] * p["u"]
        seen.append(y)
    return np.sum(y) + np.sum(seen[0] * seen[1])


@case(
    """
    param V[3, 2] = [[0.3, -0.2], [0.5, 0.1], [-0.4, 0.6]], W[3, 3] = 0.4, U[2, 3, 2] = 0.3
    h[-1] = [0.2, -0.3]
    scan t in time {
      m[j, k] = sum(i: W[j, i] * x[t, i, k]) * h[t-1, k]
      h[t, i] = tanh(sum(j, k: U[i, j, k] * x[t, j, k] * V[j, k]) + sum(j: m[j, i] * V[j, i]))
    }
    y = sum(last(h)^2) + sum(h[0])
    """,
    4,
    3,
    2,
)
def matrices_over_time(p: Any, x: Any) -> Any:
    h, seen = np.array([0.2, -0.3]), []
    for now in x:
        m = (p["W"] @ now) * h
        z = np.tensordot(p["U"], now * p["V"], 2)
        h = np.tanh(z + np.sum(m * p["V"], axis=0))
        seen.append(h)
    return np.sum(h**2) + np.sum(seen[0])


@case(
    """
    param T[2, 2] = [[0.2, 0.5], [-0.4, 0.3]], E[2, 2] = [[0.4, -0.6], [0.1, 0.7]], c[2] = 0
    P[i, j] = exp(T[i, j]) / sum(k: exp(T[i, k]))
    a[-1] = softmax(c)
    scan t in time {
      seen = E @ x[t]
      u[j] = sum(i: a[t-1, i] * P[i, j]) * exp(-seen[j]^2)
      l[t] = log(sum(u))
      a[t, j] = u[j] / sum(u)
    }
    y = -sum(l)
    """
)
def a_hidden_markov_model(p: Any, x: Any) -> Any:
    rows = np.exp(p["T"])
    rows, a, y = rows / rows.sum(axis=1, keepdims=True), softmax(p["c"]), 0
    for now in x:
        u = (a @ rows) * np.exp(-((p["E"] @ now) ** 2))
        y, a = y - np.log(u.sum()), u / u.sum()
    return y


@case(
    """
    param K[3, 2] = [[0.4, -0.6], [0.1, 0.7], [-0.2, 0.3]], M[3, 2] = 0.5
    m[-1] = M
    scan t in time {
      a = softmax(K @ x[t])
      r[t, j] = sum(i: a[i] * m[t-1, i, j])
      m[t, i, j] = m[t-1, i, j] * (1 - a[i] * sigmoid(x[t, j])) + a[i] * x[t, j]
    }
    y = sum(last(r)^2) + sum(last(m) * M)
    """
)
def a_memory_that_is_read_and_written(p: Any, x: Any) -> Any:
    m = p["M"]
    for now in x:
        a = softmax(p["K"] @ now)
        r = a @ m
        m = m * (1 - np.outer(a, 1 / (1 + np.exp(-now)))) + np.outer(a, now)
    return np.sum(r**2) + np.sum(m * p["M"])


@case(
    """
    param A[3, 3] = [[0.5, -1, 0.2], [0.3, 0.1, -0.6], [0.4, 0.8, 0.3]], v[3] = [0.4, -0.7, 0.2]
    c[-1] = 1 as class(3)
    scan t in time {
      c[t] = argmax(v * x[t, 0] + A[c[t-1]])
      o[t] = v[c[t]] * x[t, 1] + sum(A[c[t-1]])
    }
    y = sum(o)
    """
)
def classes(p: Any, x: Any) -> Any:
    c, y = 1, 0
    for now in x:
        new = int(np.argmax((p["v"] * now[0] + p["A"][c]).real))
        y, c = y + p["v"][new] * now[1] + np.sum(p["A"][c]), new
    return y


@case(
    """
    param U[2, 2] = [[0.5, -0.4], [0.3, 0.6]], W[2, 2] = [[0.2, 0.7], [-0.3, 0.4]]
    h[-1] = [0.5, -0.2]
    scan t in time {
      h[t, i] = tanh(sum(j: U[i, j] * h[t-1, j]) + sum(j: W[i, j] * x[t, j]))
    }
    y = sum(last(h)^2)
    """,
    loss="net(x) + sum(grad(net(x), net.h)^2)",
)
def slopes_of_slopes(p: Any, x: Any) -> Any:
    """y, and the squares of its total derivatives by every h[t]."""
    h, seen = np.array([0.5, -0.2]), []
    for now in x:
        h = np.tanh(p["U"] @ h + p["W"] @ now)
        seen.append(h)
    slope = 2 * h
    y = np.sum(h**2) + np.sum(slope**2)
    for later in seen[:0:-1]:
        slope = p["U"].T @ (slope * (1 - later**2))
        y = y + np.sum(slope**2)
    return y


@case(
    """
    param F[4, 2] = 0.3, U[3, 4] = 0.2
    w[-1] = F
    h[-1] = zeros(3)
    scan t in time {
      w[t] = tanh(1.5 * w[t-1])
      z[j, i] = sum(k: w[t-1, i, k] * x[t, j, k])
      h[t, j] = tanh(sum(i: z[j, i] * U[j, i]) + h[t-1, j])
    }
    y = sum(last(h)^2) + sum(last(w))
    """,
    4,
    3,
    2,
)
def weights_that_change_by_themselves(p: Any, x: Any) -> Any:
    w, h = p["F"], np.zeros(3)
    for now in x:
        h = np.tanh(np.sum((now @ w.T) * p["U"], axis=1) + h)
        w = np.tanh(1.5 * w)
    return np.sum(h**2) + np.sum(w)


@case(
    """
    param p[2] = [0.6, -0.3]
    a[-1] = x[0, 1]
    scan t in time {
      a[t] = tanh(p)
      c[t] = sum(a[t-1] * p) + c[t-1] * x[t, 0]
    }
    y = last(c)
    """
)
def a_number_of_each_example_before_vectors_of_none(p: Any, x: Any) -> Any:
    a, c = np.array([x[0, 1], x[0, 1]]), 0
    for now in x:
        a, c = np.tanh(p["p"]), np.sum(a * p["p"]) + c * now[0]
    return c


TEXT = """
data d = rows([[ZEROS]]) {
  x[SIZES] = FIELD
}
fn twice(a) = 2 * a
block f(x[SHAPE]) -> y {BLOCK}
let net = f()
train p on d batch 1 for 1 update dtype float64 {
  minimize LOSS over net with sgd(lr = 0.1)
}
"""


def parts(sizes: tuple[int, ...], start: int = 0) -> str:
    """A row of numbers as a tensor."""
    each = int(np.prod(sizes[1:]))
    if len(sizes) == 1:
        return f"raw[{start}:{start + sizes[0]}]"
    return f"[{', '.join(parts(sizes[1:], start + i * each) for i in range(sizes[0]))}]"


def session(case: Case) -> Session:
    shape = ["time"] * case.time + [str(k) for k in case.sizes[case.time :]]
    text = TEXT.replace("ZEROS", ", ".join(["0"] * int(np.prod(case.sizes))))
    text = text.replace("FIELD", parts(case.sizes)).replace("SHAPE", ", ".join(shape))
    text = text.replace("SIZES", ", ".join(map(str, case.sizes))).replace("LOSS", case.loss)
    made: Session = dln.load(text.replace("BLOCK", case.block)).compile("numpy").session(seed=1)
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
    xs = np.random.default_rng(3).uniform(-1, 1, (4, *case.sizes))
    params = {k.removeprefix("net."): np.array(a, float) for k, a in made.params.items()}
    if case.loss == Case.loss:
        wanted = [case.by_hand(params, x) for x in xs]
        np.testing.assert_allclose(made.net(xs), wanted, rtol=1e-12, atol=1e-14)
    for path in params:
        slope = made.grad("p", f"net.{path}", x=xs)
        np.testing.assert_allclose(slope, complex_steps(case, params, path, xs), 1e-10, 1e-13)


def test_by_hand_on_paper() -> None:
    """The largest of x is 2 and 5, that of m g is 0.7 m. So y = 0.7^4 (g1^2 + g2^2) m^2, of which
    0.7 is g2 too; and the loss is the mean over both."""
    made = session(CASES["largest_by_index"])
    xs = np.array([[1.0, 2.0], [5.0, 3.0]])
    np.testing.assert_allclose(made.net(xs), 0.7**4 * 0.74 * np.array([4, 25]), rtol=1e-12)
    slope = made.grad("p", "net.g", x=xs)
    mean = 14.5
    by_second = mean * (4 * 0.7**3 * 0.74 + 0.7**4 * 2 * 0.7)
    np.testing.assert_allclose(slope, [mean * 0.7**4 * 2 * 0.5, by_second], rtol=1e-12)


def test_the_slope_of_weights_from_the_input() -> None:
    """y = sum h_3, h_t = exp(h_(t-1) w s), from h_0 = 1, for three matrices: worked out apart."""
    case = CASES["weights_from_the_input"]
    case = replace(case, block=case.block.replace("/ 5", "").replace("0.9", "1"))
    made = session(case)
    s = np.array([[1, 2, 3, 4], [2, 1, 0, 1], [1, 1, 1, 1]]).reshape(3, 2, 2) / 10
    assert made.grad("p", "net.w", x=s) == pytest.approx(8.66501, abs=5e-6)
