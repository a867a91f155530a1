"""Steps, and `minimize` lines side by side, against the rules written out by hand.

Slopes of the rules are complex steps: exact to the last bits, and nothing of the compiler's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dln
from dln.compiler.ir.graph import ancestors
from dln.runtime.gradcheck import gradcheck
from dln.runtime.session import Session

X = np.array([1.0, 3.0])
HEAD = """
optimiser plain(p, g; lr) {
  p := p - lr * g
}
data d = rows([[1], [3]]) {
  x = raw[0]
}
block three() {
  param a = 2, b = 3, c = 0.5
}
let p = three()
block power(x) -> y {
  param w = 1.5
  h = w * x
  y = h * h
}
let low = power()
let top = power()
"""


def session(body: str, head: str = HEAD) -> Session:
    text = f"{head}\ntrain t on d batch 2 for 2 updates order file dtype float64 {{\n{body}\n}}\n"
    made: Session = dln.load(text).compile().session(seed=1)
    return made


def steps(*bodies: str) -> str:
    parts = enumerate(b.replace("; ", "\n    ") for b in bodies)
    return "\n".join(f"  step s{i} {{\n    {body}\n  }}" for i, body in parts)


def values(s: Session, *paths: str) -> list[float]:
    return [float(s.params[path]) for path in paths]


def slope(f: Callable[..., Any], at: dict[str, Any], path: str) -> np.ndarray:
    """The derivative of f by one of its arguments, by complex steps."""
    x = np.asarray(at[path], complex)
    out = np.empty(x.size)
    for i in range(x.size):
        moved = x.copy().reshape(-1)
        moved[i] += 1e-30j
        out[i] = f({**at, path: moved.reshape(x.shape)}).imag / 1e-30
    return out.reshape(x.shape)


# ---- what a step sees ----------------------------------------------------------------------------

A1 = 2 - 0.1 * 3  # a after minimising a * b at the rate 0.1

CASES: dict[str, tuple[str, dict[str, float]]] = {
    "the value that the step before left": (
        steps("minimize p.a * p.b over p.a with sgd(lr = 0.1)",
              "minimize p.a * p.b over p.b with sgd(lr = 0.1)"),
        {"p.a": A1, "p.b": 3 - 0.1 * A1},
    ),
    "a chain of three": (
        steps(*(f"minimize p.a * p.b * p.c over p.{k} with sgd(lr = 0.1)" for k in "abc")),
        {"p.a": 1.85, "p.b": 3 - 0.0925, "p.c": 0.5 - 0.185 * (3 - 0.0925)},
    ),
    "one parameter twice, without memory": (
        steps("minimize p.a^2 over p.a with plain(lr = 0.1)",
              "minimize p.a^3 over p.a with plain(lr = 0.1)"),
        {"p.a": 1.6 - 0.3 * 1.6**2},
    ),
    "sgd without momentum has no memory": (
        steps("minimize p.a^2 over p.a with sgd(lr = 0.1, momentum = 0.9)",
              "minimize p.a^3 over p.a with sgd(lr = 0.1)"),
        {"p.a": 1.6 - 0.3 * 1.6**2},
    ),
    "an update, then an optimiser with memory": (
        steps("update p.a += 1", "minimize p.a^2 over p.a with adam(lr = 0.1, eps = 0)"),
        {"p.a": 3 - 0.1},
    ),
    "rounds of a for": (
        "  for k in 0..2 {\n" + steps("minimize p.a^2 over p.a with sgd(lr = 0.1)") + "\n  }",
        {"p.a": 2 * 0.8**3},
    ),
    "two parameters that were left equal": (
        steps("update p.a += 2 - p.a; update p.b += 2 - p.b",
              "minimize p.a * p.a * p.b over p.a, p.b with sgd(lr = 0.1)"),
        {"p.a": 2 - 0.8, "p.b": 2 - 0.4},
    ),
    "what was left, and the same value elsewhere": (
        steps("update p.a += x - p.a",
              "minimize p.a * mean(batch: x) + stop(mean(batch: x)) * p.c over p.a, p.c"
              " with sgd(lr = 0.1)"),
        {"p.a": 2 - 0.2, "p.c": 0.5 - 0.2},
    ),
    "equations outside are worked out anew": (
        "  k = 3 * p.a\n  let l = 2 * p.a\n"
        + steps("minimize p.a * p.b over p.a with sgd(lr = 0.1)",
                "minimize k * l * p.b over p.b with sgd(lr = 0.01)"),
        {"p.b": 3 - 0.01 * 6 * A1**2},
    ),
    "so are the values of a for": (
        steps("minimize p.a * p.b over p.a with sgd(lr = 0.1)")
        + "\n  for q in [2 * p.a] {\n"
        + steps("minimize q^2 over p.a with sgd(lr = 0.01)") + "\n  }",
        {"p.a": A1 - 0.08 * A1},
    ),
    "and the parts of an instance": (
        "  f = low(x)\n  r = top(f)\n"
        + steps("minimize r - r + 3 * low.w over low with sgd(lr = 0.1)",
                "minimize top.h over top with sgd(lr = 0.01)"),
        {"top.w": 1.5 - 0.01 * float(np.mean((1.2 * X) ** 2))},
    ),
    "a gradient as a value": (
        steps("minimize p.a * p.b over p.a with sgd(lr = 0.1)",
              "minimize grad(p.a^2 * p.b, p.a)^2 over p.a, p.b with sgd(lr = 0.01)"),
        {"p.a": A1 - 0.08 * A1 * 9, "p.b": 3 - 0.08 * A1**2 * 3},
    ),
    "an update written as an equation is differentiated": (
        steps("minimize p.a * p.b over p.a with sgd(lr = 0.1)",
              "c = p.c - 0.1 * grad(p.a * p.c^2 * p.b, p.c); minimize c^2 over p.b with"
              " sgd(lr = 0.01)"),
        {"p.b": 3 - 0.01 * 2 * 0.5 * (1 - 0.6 * A1) * 0.5 * -0.2 * A1},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_step_sees_what_the_ones_before_left(name: str) -> None:
    body, wanted = CASES[name]
    s = session(body)
    s.step("t", x=X)
    np.testing.assert_allclose(values(s, *wanted), list(wanted.values()), rtol=0, atol=1e-14)
    if "stop" not in body:
        assert all(row.error < 1e-7 for row in gradcheck(session(body), "t"))


def test_a_state_is_set_with_what_the_steps_before_left() -> None:
    s = session(
        "state s = 0\n"
        + steps(
            "minimize p.a * p.b over p.a with sgd(lr = 0.1)",
            "s := p.a * x; minimize s * p.b over p.b with plain(lr = 0.1)",
        )
    )
    for _ in range(2):
        s.step("t", x=X)
    a2 = A1 - 0.1 * 3  # b has not moved: the state was 0 in the first update
    assert values(s, "p.a", "p.b") == pytest.approx([a2, 3 - 0.1 * A1 * 2], abs=1e-14)


# ---- a game of two, without a stop ---------------------------------------------------------------

GAME = """
data d = rows([[0.3, -0.2], [1.1, 0.4], [-0.5, 0.8], [0.9, -1.2]]) {
  x[2] = raw
}
block maker(z[k]; m) -> y[m] {
  param U[3, k] ~ normal(0, 0.7), b[3] = 0.1, V[m, 3] ~ normal(0, 0.7), c[m] = 0.05
  y = V @ tanh(U @ z + b) + c
}
block critic(x[n]) -> s {
  param U[4, n] ~ normal(0, 0.7), b[4] = 0.2, v[4] ~ normal(0, 0.7), c = 0.1
  s = v @ tanh(U @ x + b) + c
}
let G = maker(2)
let D = critic()
fn soft(a) = log(1 + exp(a))
train game on d batch 4 order file for 5 updates dtype float64 {
  fake = G([x[1] - 0.3, 0.7 * x[0]])
  step right {
    minimize soft(-D(x)) + soft(D(fake)) over D with OPTIMISER
  }
  step wrong {
    minimize soft(-D(fake)) over G with OPTIMISER
  }
}
"""
Z = np.array([[0.3, -0.2], [1.1, 0.4], [-0.5, 0.8], [0.9, -1.2]])


def soft(a: np.ndarray) -> np.ndarray:
    return np.log(1 + np.exp(a))


def critic(p: dict[str, Any], x: np.ndarray) -> Any:
    return np.tanh(x @ p["D.U"].T + p["D.b"]) @ p["D.v"] + p["D.c"]


def faked(p: dict[str, Any]) -> Any:
    z = np.stack([Z[:, 1] - 0.3, 0.7 * Z[:, 0]], 1)
    return np.tanh(z @ p["G.U"].T + p["G.b"]) @ p["G.V"].T + p["G.c"]


def of_critic(p: dict[str, Any]) -> Any:
    return np.mean(soft(-critic(p, Z)) + soft(critic(p, faked(p))))


def of_maker(p: dict[str, Any]) -> Any:
    return np.mean(soft(-critic(p, faked(p))))


def with_momentum(state: dict[str, Any], path: str, p: Any, g: Any, n: int) -> Any:
    state[path] = 0.9 * state.get(path, 0) - 0.3 * g
    return p + state[path]


def with_adam(state: dict[str, Any], path: str, p: Any, g: Any, n: int) -> Any:
    m, v = state.get(path, (0, 0))
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
    state[path] = m, v
    return p - 0.05 * (m / (1 - 0.9**n)) / (np.sqrt(v / (1 - 0.999**n)) + 1e-8)


@pytest.mark.parametrize(
    ("optimiser", "rule"),
    [("sgd(lr = 0.3, momentum = 0.9)", with_momentum), ("adam(lr = 0.05)", with_adam)],
)
def test_a_game_of_two_is_the_rule_written_out(optimiser: str, rule: Any) -> None:
    s: Session = dln.load(GAME.replace("OPTIMISER", optimiser)).compile().session(seed=3)
    p = {k: np.array(v) for k, v in s.params.items()}
    state: dict[str, Any] = {}
    for n in range(1, 6):
        used = {k: s.grad("game", k, x=Z) for k in p}
        loss = s.step("game", x=Z)
        wanted = 0.0
        for owner, f in (("D.", of_critic), ("G.", of_maker)):
            wanted += f(p)
            slopes = {k: slope(f, p, k) for k in p if k.startswith(owner)}
            for k, g in slopes.items():
                np.testing.assert_allclose(used[k], g, rtol=0, atol=1e-14)
                p[k] = rule(state, k, p[k], g, n)
        assert loss == pytest.approx(wanted, abs=1e-14)
    for k, value in p.items():
        np.testing.assert_allclose(s.params[k], value, rtol=0, atol=1e-12)
    assert all(row.error < 1e-7 for row in gradcheck(s, "game"))


# ---- several lines -------------------------------------------------------------------------------

LINES = """
optimiser plain(p, g; lr) {
  p := p - lr * g
}
data d = rows([[1, 1], [2, 3]]) {
  x[1] = raw[:1]
  t[1] = raw[1:]
}
let line = dense(1, init = zero)
"""
XT = {"x": [[1.0], [2.0]], "t": [[1.0], [3.0]]}


def lines(body: str) -> Session:
    return session(f"e = sum((line(x) - t)^2)\nf = sum(line(x)) + 2\n{body}", LINES)


@pytest.mark.parametrize(
    ("body", "loss", "by_w", "by_b"),
    [
        ("minimize e over line.W with plain(lr = 1)\nminimize e over line.b with plain(lr = 1)",
         5, -7, -4),
        ("minimize e over line.W with plain(lr = 1)\nminimize 2 * e over line.b with plain(lr = 1)",
         15, -7, -8),
        ("minimize e over line.W with plain(lr = 1)\nminimize f over line.b with plain(lr = 1)",
         7, -7, 1),
        ("minimize total e over line.W with plain(lr = 1)\n"
         "minimize e over line.b with plain(lr = 1)", 15, -14, -4),
    ],
)  # fmt: skip
def test_lines_over_different_parameters(body: str, loss: float, by_w: float, by_b: float) -> None:
    """The update, the gradients and the check of gradients speak of the line that moves."""
    s = lines(body)
    slopes = {"line.W": by_w, "line.b": by_b}
    for path, wanted in slopes.items():
        np.testing.assert_allclose(s.grad("t", path, **XT).ravel(), [wanted], atol=1e-14)
    assert all(row.error < 1e-7 for row in gradcheck(lines(body), "t"))
    assert s.step("t", **XT) == pytest.approx(loss, abs=1e-14)
    for path, wanted in slopes.items():
        np.testing.assert_allclose(s.params[path].ravel(), [-wanted], atol=1e-14)


def test_a_parameter_of_two_lines_has_the_gradients_of_both() -> None:
    """In two steps the second one meets the value that the first one left."""
    body = steps("minimize e over line.W, line.b with plain(lr = 0.1)",
                 "minimize 2 * f over line.b with plain(lr = 0.1)")  # fmt: skip
    s = lines(body)
    np.testing.assert_allclose(s.grad("t", "line.b", **XT), [-4 + 2], atol=1e-14)
    f = np.mean([0.7 * x + 0.4 + 2 for x in (1, 2)])
    assert s.step("t", **XT) == pytest.approx(5 + 2 * f, abs=1e-14)
    np.testing.assert_allclose(s.params["line.b"], [0.4 - 0.2], atol=1e-14)
    assert all(row.error < 1e-7 for row in gradcheck(lines(body), "t"))


def test_what_a_check_asks_is_what_the_first_update_uses() -> None:
    """With dropout, and in a step after another: the optimiser's rule is turned round."""
    text = """
data d = rows([[1, 2, 3], [2, 0, 1], [1, 1, 1]]) {
  x[3] = raw
}
let one = dense(3)
let two = dense(1)
train t on d batch 3 for 1 update order file dtype float64 seed 5 {
  h = dropout(tanh(one(x)), 0.4)
  e = sum(two(h)^2)
  step s {
    minimize e over one with adam(lr = 0.3)
  }
  step r {
    minimize e over two with sgd(lr = 0.5)
  }
}
check "c" {
  expect t.after(two.W) == t.before(two.W) - 0.5 * t.grad(two.W) within 1e-13
  expect t.grad(two.b)[0] == (t.before(two.b)[0] - t.after(two.b)[0]) / 0.5 within 1e-13
}
"""
    spec = dln.load(text)
    s = spec.compile().session(seed=1)
    s.keep_before = {"t"}
    s.train("t")
    from dln.running.expectations import verdicts

    assert [v.status for v in verdicts(spec.model, s, seed=1)] == ["passed", "passed"]


DROPPED = """
data d = rows([[1, 2, 3], [2, 0, 1]]) {
  x[3] = raw
}
block thinned(x[n]) -> y[2] {
  h = dropout(x, 0.5)
  y = h -> dense(2)
}
let net = thinned()
let nets = [dense(2), dense(2)]
train t on d batch 2 for 1 update {
BODY
}
"""


@pytest.mark.parametrize(
    ("body", "masks"),
    [
        ("for n in nets {\nminimize sum(net(x)) + sum(n(x)) over n with sgd(lr = K)\n}", 2),
        ("for k in 0..2 {\nstep s {\nminimize sum(net(x)^2) over net with sgd(lr = K)\n}\n}", 3),
        ("y = net(x)\n" + steps(*2 * ["minimize sum(y^2) over net with sgd(lr = K)"]), 1),
        (steps("y = net(x); minimize sum(y^2) over net with sgd(lr = K)",
               "y = net(x); minimize sum(y^2) over net with sgd(lr = K)"), 2),
    ],
)  # fmt: skip
def test_steps_and_rounds_draw_what_blocks_drop_for_themselves(body: str, masks: int) -> None:
    """But what stands outside of them is drawn once."""
    text = DROPPED.replace("BODY", body).replace("K", "0.1")
    made = dln.load(text).model.phases["t"]
    for losses in (made.losses, made.objectives):
        sites = {n["site"] for n in ancestors(losses) if n.op == "draw"}
        assert len(sites) == masks
    assert {n["site"] for n in ancestors(made.losses) if n.op == "draw"} == {
        n["site"] for n in ancestors(made.objectives) if n.op == "draw"
    }


def test_no_gradient_of_a_phase_goes_back_through_a_step() -> None:
    """In the graph: what a later line differentiates ends at what the step before left."""
    phase = dln.load(
        HEAD + "train t on d for 1 update {\n" + CASES["a chain of three"][0] + "\n}"
    ).model.phases["t"]
    for line in phase.lines[1:]:
        moved = [n for n in ancestors([line.loss]) if n.op == "stop"]
        assert moved and set(line.left) == {n["path"] for n in moved}
