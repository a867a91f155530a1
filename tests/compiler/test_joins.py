"""Parameters with dead entries: what exists of them, in the graph and in what is counted.

The oracle is a full parameter times the table, written out in NumPy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dln
from dln.compiler.ir.evaluate import evaluate
from dln.compiler.pipeline import recipes
from dln.compiler.plan import ProgramKey, ProgramKind
from dln.compiler.stages import optimise, part
from dln.running.expectations import verdicts

TABLE = np.array([[1, 0, 1], [0, 1, 1]])
SPEC = """
data d = rows([[1, 2, 3, 0.5], [4, -5, 6, 1], [7, 8, -9, 2]]) {
  x[3] = raw[:3]
  t = raw[3]
}
block sparse(x[n]; m) -> y[m] {
  param W[m, n] ~ uniform(1, 2) where [[1, 0, 1], [0, 1, 1]]
  param g[m] = 1
  y = g * tanh(W @ x)
}
let net = sparse(2)
"""


def phase(lines: str) -> str:
    return f"{SPEC}\ntrain fit on d batch 3 for 1 update dtype float64 {{\n{lines}\n}}\n"


X = np.array([[1, 2, 3], [4, -5, 6], [7, 8, -9.0]])
T = np.array([0.5, 1, 2])


def gradient(W: np.ndarray) -> np.ndarray:
    """Of the mean of (sum(y) - t)^2 by W, by hand, for g = 1."""
    y = np.tanh(X @ W.T)
    bar = 2 * (y.sum(1) - T)[:, None] * (1 - y**2)
    return bar.T @ X / 3 * TABLE


def stepped(lines: str) -> tuple[np.ndarray, np.ndarray, Any]:
    """W before and after the one update of a phase, and its result."""
    s = dln.load(phase(lines)).compile().session(seed=2)
    before = np.array(s.params["net.W"])
    result = s.train("fit")
    return before, np.array(s.params["net.W"]), result


LEARN = "  minimize (sum(net(x)) - t)^2 over net with "


def test_dead_entries_start_at_zero_and_the_others_as_drawn() -> None:
    before = dln.load(phase(LEARN + "sgd(lr = 1)")).compile().session(seed=2).params["net.W"]
    full = SPEC.replace(" where [[1, 0, 1], [0, 1, 1]]", "") + "let y = net([1, 2, 3])\n"
    drawn = dln.load(full).compile(dtype="float64").session(seed=2).params["net.W"]
    np.testing.assert_array_equal(before, drawn * TABLE)
    assert not np.signbit(before).any()


@pytest.mark.parametrize("start", ["uniform(-2, -1)", "normal(0, 1)"])
def test_zero_is_not_minus_zero(start: str) -> None:
    text = SPEC.replace("uniform(1, 2)", start) + "let y = net([1, 2, 3])\n"
    W = dln.load(text).compile().session().params["net.W"]
    assert not np.signbit(W[TABLE == 0]).any() and (W[TABLE == 0] == 0).all()


def test_an_update_moves_the_living_only() -> None:
    before, after, _ = stepped(LEARN + "sgd(lr = 0.1)")
    np.testing.assert_allclose(after, before - 0.1 * gradient(before), rtol=1e-12)


NUDGE = """
optimiser nudge(p, g; lr) {
  state v = 1
  v := v + 1
  p := p - lr * g + 0.01 * v
}
"""


def test_no_optimiser_brings_them_to_life() -> None:
    before, after, _ = stepped(LEARN + "adam(lr = 0.1, eps = 1)")
    assert (after[TABLE == 0] == 0).all() and (after != before)[TABLE == 1].all()
    s = dln.load(NUDGE + phase(LEARN + "nudge(lr = 0)")).compile().session(seed=2)
    before = np.array(s.params["net.W"])
    s.train("fit")
    np.testing.assert_allclose(s.params["net.W"], (before + 0.02) * TABLE, rtol=1e-12)


def test_updates_and_starts_leave_them_alone() -> None:
    before, after, _ = stepped("  update net.W += ones(2, 3)")
    np.testing.assert_allclose(after, (before + 1) * TABLE, rtol=1e-12)
    _, after, _ = stepped("  start net.W := 5 * ones(2, 3)\n  update net.g += 0")
    np.testing.assert_array_equal(after, 5 * TABLE)


PLAIN = "optimiser plain(p, g; lr) {\n  p := p - lr * g\n}\n"
STEPS = """
  step one {
    minimize (sum(net(x)) - t)^2 over net.W with plain(lr = 0.1)
  }
  step two {
    minimize (sum(net(x)) - t)^2 over net.W with plain(lr = 0.1)
    update net.g += norm(grad(mean(batch: sum(net(x))), net.W))
  }
"""


def test_a_second_step_sees_the_same_table() -> None:
    """The gradient by a parameter that the step before has moved."""
    s = dln.load(PLAIN + phase(STEPS)).compile().session(seed=2)
    before = np.array(s.params["net.W"])
    s.train("fit")
    first = before - 0.1 * gradient(before)
    np.testing.assert_allclose(s.params["net.W"], first - 0.1 * gradient(first), rtol=1e-12)
    slope = (1 - np.tanh(X @ first.T) ** 2).T @ X / 3 * TABLE
    np.testing.assert_allclose(s.params["net.g"], 1 + np.linalg.norm(slope), rtol=1e-12)


def test_gradients_that_are_asked_for() -> None:
    text = phase(LEARN + "sgd(lr = 1)") + (
        'check "zero" {\n  expect fit.grad(net.W[0, 1]) == 0\n  expect fit.grad(net.W[1]) == 0\n'
        "  expect fit.before(grad(mean(batch: sum(net(x))), net.W)[0]) == 0\n}\n"
    )
    s = dln.load(text).compile().session(seed=2)
    W = np.array(s.params["net.W"])
    np.testing.assert_allclose(s.grad("fit", "net.W", x=X, t=T), gradient(W), rtol=1e-12)
    s.keep_before = {"fit"}
    s.train("fit")
    found = [v.value for v in verdicts(dln.load(text).model, s)]
    y = np.tanh(X @ W.T)
    direct = (1 - y**2).T @ X / 3 * TABLE
    assert found[0] == 0
    np.testing.assert_allclose(found[1], gradient(W)[1], rtol=1e-12)
    np.testing.assert_allclose(found[2], direct[0], rtol=1e-12)


def test_forwards_nothing_is_multiplied() -> None:
    """The table stands in no program that only looks."""
    spec = dln.load(phase(LEARN + "sgd(lr = 1)"))
    plan = spec.compile().plan
    for name in ("apply:net", "loss:fit"):
        assert all(b.place != "const" for b in plan.programs[name].buffers), name
    ops = [n.op for n in graph(ProgramKind.APPLY.of("net"), spec)]
    assert "where" not in ops


def graph(key: ProgramKey, spec: dln.Spec) -> list[Any]:
    recipe = recipes(spec.model)[key]
    return list(optimise(part(spec.model, recipe.outputs)).topological())


def test_what_takes_the_place_of_a_parameter_is_cut_too() -> None:
    text = SPEC.replace("where [[1, 0, 1], [0, 1, 1]]", "where joins").replace(
        "; m)", "; m, joins)"
    )
    text = text.replace("let net = sparse(2)", "").replace("g[m] = 1", "g[m] = 1, u[n] = 0")
    tied = "let net = sparse(2, [[1, 0, 1], [0, 1, 1]], W = [[1, 2, 3], [4, 5, 6]])\n"
    y = dln.load(text + tied + 'check "y" {\n  expect net([1, 1, 1]) == [tanh(4), tanh(11)]\n}\n')
    assert verdicts(y.model)[0].status == "passed"


def test_counts() -> None:
    text = SPEC + (
        "let y = net([1, 2, 3])\n"
        'check "n" {\n  expect params(net) == 6\n  expect params(net.W) == 4\n'
        "  expect inputs(3, [[1, 0, 1], [0, 1, 1]]) == [2, 2]\n  expect inputs(3, 1) == 3\n"
        "  expect inputs(3) == 3\n}\n"
    )
    spec = dln.load(text)
    assert [v.status for v in verdicts(spec.model)] == ["passed"] * 5
    found = spec.compile().plan.params
    assert (found["net.W"].live, found["net.W"].numbers) == (4, 4)
    assert (found["net.g"].live, found["net.g"].numbers) == (None, 2)
    assert repr(spec.compile().session()).startswith("Session(text, 6 parameters")


def test_a_table_of_ones_is_none() -> None:
    text = SPEC.replace("[[1, 0, 1], [0, 1, 1]]", "[[1, 1, 1], [1, 1, 1]]")
    spec = dln.load(text + "let y = net([1, 2, 3])\n")
    assert spec.compile().plan.params["net.W"].joins is None


def test_a_table_fixes_sizes() -> None:
    """Rows and columns of the table are m and n where nothing else says them."""
    text = "let f = conv(2, 3, joins = [[1, 0, 1], [0, 1, 1]])\nlet y = f(zeros(3, 5, 5))\n"
    spec = dln.load(text)
    assert spec.compile().plan.params["f.K"].live == 4 * 9


def test_first_values_know_the_inputs_of_their_unit() -> None:
    """Uniform draws over (number of inputs of the unit + 1)."""
    text = (
        "fn start(n, m) = uniform(1, 1) / (n + 1)\n"
        "let f = conv(2, 5, init = start, joins = [[1, 0, 1, 0], [1, 1, 1, 1]])\n"
        "let y = f(zeros(4, 5, 5))\n"
    )
    K = dln.load(text).compile(dtype="float64").session().params["f.K"]
    for row, count in ((0, 51), (1, 101)):
        living = K[row][K[row] != 0]
        np.testing.assert_allclose(living, 1 / count, rtol=1e-12)
        assert living.size == count - 1


def test_the_evaluator_agrees_with_itself() -> None:
    """The part of the graph behind a first value has nothing open."""
    model = dln.load(SPEC + "let y = net([1, 2, 3])\n").model
    init = model.params["net.W"].init
    assert init is not None
    found = evaluate({"W": init}, draw=lambda kind, site, shape: np.full(shape, 0.5))
    np.testing.assert_array_equal(found["W"], 1.5 * TABLE)
