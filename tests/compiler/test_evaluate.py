"""The evaluator against plain NumPy, and what it refuses."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

from dln.compiler.ir.evaluate import evaluate
from dln.compiler.ir.graph import Graph
from dln.compiler.ir.op import Make
from dln.compiler.ir.sizes import BATCH, BATCH_SIZE, Size
from dln.compiler.ir.tensor_type import Domain, TensorType
from dln.grammar.diagnostics import Fault


@pytest.fixture
def make() -> Make:
    return Make(Graph())


def batch(*axes: int) -> TensorType:
    return TensorType((BATCH_SIZE, *map(Size, axes)), ("batch",))


def test_a_layer_equals_numpy(make: Make) -> None:
    x = make("input", name="x", type=batch(3))
    w = make("param", path="net.W", type=TensorType((Size(2), Size(3))))
    b = make("param", path="net.b", type=TensorType((Size(2),)))
    z = make("contract", w, x, left=(1, 2), right=(0, 2), out=(0, 1))
    y = make("tanh", make.add(z, make.broadcast(b, z.type, (1,))))
    make.graph.outputs = {"y": y}
    rng = np.random.default_rng(1)
    xs, ws, bs = rng.normal(size=(7, 3)), rng.normal(size=(2, 3)), rng.normal(size=2)
    env = {("input", "x"): xs, ("param", "net.W"): ws, ("param", "net.b"): bs}
    found = evaluate(make.graph, env)["y"]
    np.testing.assert_allclose(found, np.tanh(xs @ ws.T + bs), rtol=1e-14)


def test_open_sizes_follow_from_inputs_or_are_given(make: Make) -> None:
    x = make("input", name="x", type=batch(3))
    n = make("size", size=2 * BATCH_SIZE + 1)
    make.graph.outputs = {"mean": make.div(make.sum(x, (0,)), make.size(BATCH_SIZE))}
    found = evaluate(make.graph, {("input", "x"): np.ones((4, 3))})
    assert found["mean"].tolist() == [1.0, 1.0, 1.0]
    assert evaluate({"n": n}, sizes={BATCH: 5})["n"] == 11.0
    with pytest.raises(Fault, match="size batch is not known"):
        evaluate({"n": n})


def test_the_precision_is_the_callers(make: Make) -> None:
    x = make("input", name="x", type=batch(2))
    make.graph.outputs = {"y": make("exp", x), "c": make.const(0.1)}
    env = {("input", "x"): np.zeros((1, 2))}
    assert evaluate(make.graph, env, real=np.float32)["y"].dtype == np.float32
    assert evaluate(make.graph, env, real=complex)["c"].dtype == np.complex128


def test_draws_come_from_the_caller(make: Make) -> None:
    attrs = {"site": "net.drop/1", "shape": (Size(2),), "running": ()}
    make.graph.outputs["u"] = make("draw", kind="uniform", **attrs)
    asked = []

    def draw(kind: Any, site: Any, shape: Any) -> Any:
        asked.append((kind, site, shape))
        return np.full(shape, 0.25)

    assert evaluate(make.graph, draw=draw)["u"].tolist() == [0.25, 0.25]
    assert asked == [("uniform", "net.drop/1", (2,))]
    with pytest.raises(Fault, match=r"net\.drop/1"):
        evaluate(make.graph)


def test_missing_values_are_named(make: Make) -> None:
    make.graph.outputs["x"] = make("input", name="image", type=batch(2))
    with pytest.raises(Fault, match="no value is given for the input image"):
        evaluate(make.graph)


def test_values_of_the_wrong_shape_are_refused(make: Make) -> None:
    make.graph.outputs["x"] = make("input", name="x", type=batch(2))
    with pytest.raises(Fault, match=r"has shape \(4, 2\)"):
        evaluate(make.graph, {("input", "x"): np.zeros((4, 3))})


def test_a_symbolic_gradient_has_no_value_yet(make: Make) -> None:
    x = make("input", name="x", type=TensorType())
    make.graph.outputs["g"] = make("grad", make("exp", x), x)
    with pytest.raises(Fault, match="differentiate"):
        evaluate(make.graph, {("input", "x"): 1.0})


@pytest.mark.parametrize("op", ["sigmoid", "softplus", "softmax", "log_softmax", "log_sum_exp"])
def test_large_arguments_are_safe(make: Make, op: str) -> None:
    x = make("input", name="x", type=TensorType((Size(2),)))
    attrs = {} if op in ("sigmoid", "softplus") else {"axes": (0,)}
    make.graph.outputs["y"] = make(op, x, **attrs)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        found = evaluate(make.graph, {("input", "x"): np.array([1000.0, -1000.0])})["y"]
    wanted = {
        "sigmoid": [1.0, 0.0],
        "softplus": [1000.0, 0.0],
        "softmax": [1.0, 0.0],
        "log_softmax": [0.0, -2000.0],
        "log_sum_exp": 1000.0,
    }
    assert found.tolist() == wanted[op]


def test_pick_and_onehot_are_one_matter(make: Make) -> None:
    x = make("input", name="x", type=batch(3))
    label = TensorType((BATCH_SIZE,), ("batch",), "index", Domain("class", Size(3)))
    at = make("input", name="l", type=label)
    hot = make("onehot", at, size=Size(3))
    make.graph.outputs = {"a": make("pick", x, at), "b": make.sum(make.mul(x, hot), (1,))}
    env = {("input", "x"): np.arange(12.0).reshape(4, 3), ("input", "l"): np.array([0, 2, 1, 0])}
    found = evaluate(make.graph, env)
    assert found["a"].tolist() == found["b"].tolist() == [0.0, 5.0, 7.0, 9.0]


def test_what_nobody_reads_any_more_takes_no_memory(make: Make) -> None:
    y = x = make("input", name="x", type=batch(1000))
    for _ in range(40):
        y = make("tanh", y)
    make.graph.outputs = {"y": make.add(x, y)}
    xs = np.ones((50, 1000))
    tracemalloc.start()
    found = evaluate(make.graph, {("input", "x"): xs})["y"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.shape == xs.shape
    assert peak < 6 * xs.nbytes
