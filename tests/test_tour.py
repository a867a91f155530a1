"""Read this first: everything dln does from Python, once, on a line through four points."""

from pathlib import Path

import numpy as np
import pytest

import dln
from dln.runtime.session import Session

SPEC = """
data points = rows([[0, 1], [1, 3], [2, 5], [3, 7]]) {
  x[1] = raw[:1]
  t[1] = raw[1:]
}
let line = dense(1, init = zero)

train fit on points batch 2 for 200 epochs dtype float64 {
  minimize sum((line(x) - t)^2) / 2 over line with sgd(lr = 0.1)
}
check "two numbers make a line" {
  expect params(line) == 2
}
"""
x = np.array([[0.0], [1.0], [2.0], [3.0]])
t = 2 * x + 1


def session() -> Session:
    """Text -> spec -> plan -> session. `dln.load` also takes a path or a shipped name."""
    return dln.load(SPEC).compile(backend="numpy").session(seed=0)


def test_a_step_is_one_update_and_gives_the_loss_before_it() -> None:
    s = session()
    assert s.step("fit", x=x, t=t) == np.mean((0 - t) ** 2 / 2)
    assert s.params["line.W"] == pytest.approx(0.1 * np.mean(t * x))  # from W = 0, b = 0


def test_a_gradient() -> None:
    slope = session().grad("fit", "line.b", x=x, t=t)
    assert slope == pytest.approx(np.mean(0 - t))


def test_training_finds_the_line() -> None:
    s = session()
    result = s.train("fit")  # on the data the spec names; data={"points": (x, t)} for others
    assert (result.epochs, result.updates) == (200, 400)
    assert s.params["line.W"] == pytest.approx(2) and s.params["line.b"] == pytest.approx(1)
    assert s.line([[10.0]]) == pytest.approx(21)  # an instance is a function of arrays


def test_parameters_are_arrays_and_files(tmp_path: Path) -> None:
    first, second = session(), session()
    first.params["line.W"][...] = 7
    first.save(tmp_path / "line.safetensors")
    second.load(tmp_path / "line.safetensors")
    assert second.params["line.W"] == 7


RUNNING = """
data d = synthetic("adding", 4, 8) {
  x[time, 2] = raw.x
  t = raw.t
}
block sums(x[time, n]) -> s[time, n] {
  param w = 1
  scan k in time {
    s[k] = s[k-1] + w * x[k]
  }
}
let running = sums()
train fit on d batch 4 for 1 epoch dtype float64 {
  minimize (sum(last(running(x))) - t)^2 over running with sgd(lr = 0.01)
}
"""


def test_sequences_are_arrays_of_examples_by_steps() -> None:
    s = dln.load(RUNNING).compile(dtype="float64").session(seed=0)
    x = np.arange(16.0).reshape(2, 4, 2)  # [example, time, 2]
    assert np.array_equal(s.running(x), x.cumsum(axis=1))
    running = s.running  # remembers what its scan carries
    assert np.array_equal([running.step(x[:, k]) for k in range(4)], x.cumsum(1).swapaxes(0, 1))
    sums, t = x.sum((1, 2)), np.array([1.0, 2.0])
    assert s.grad("fit", "running.w", x=x, t=t) == pytest.approx(np.mean(2 * (sums - t) * sums))


def test_a_mistake_is_an_error_with_its_place() -> None:
    with pytest.raises(dln.DlnError) as caught:
        dln.load(SPEC.replace("dense(1,", "dence(1,"))
    problem = caught.value.problems[0]
    assert "dence" in problem.message and problem.remedy == "dense"
    with pytest.raises(dln.DlnError, match='no field "target"'):
        session().step("fit", x=x, target=t)


def test_the_graph_is_a_networkx_graph() -> None:
    graph = dln.load(SPEC).graph
    assert {"param", "contract", "grad"} <= {op for _, op in graph.nodes(data="op")}
