"""Reverse mode: against formulas worked out by hand, and against finite differences."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from dln.compiler.autodiff.differentiate import derivatives, differentiate
from dln.compiler.ir.evaluate import evaluate
from dln.compiler.ir.graph import Graph, Node, ancestors
from dln.compiler.ir.op import OPS, Make, Op
from dln.compiler.ir.sizes import BATCH_SIZE, Size
from dln.compiler.ir.tensor_type import Domain, TensorType
from dln.compiler.ir.verify import verify
from dln.grammar.diagnostics import DlnError, Fault, Source, Span


@pytest.fixture
def make() -> Make:
    return Make(Graph())


def vector(make: Make, name: str = "x", *axes: int) -> Node:
    return make("input", name=name, type=TensorType(tuple(map(Size, axes))))


def value(graph: Graph, **inputs: Any) -> dict[str, Any]:
    graph = differentiate(graph)
    verify(graph)
    fed = {("input", k): np.asarray(v, float) for k, v in inputs.items()}
    return {str(k): v for k, v in evaluate(graph, fed).items()}


# ---- by hand -----------------------------------------------------------------------------------


def test_product_and_chain_rule(make: Make) -> None:
    """d (x^2 sin x) = 2 x sin x + x^2 cos x; the second derivative likewise."""
    x = vector(make)
    y = make.mul(make("square", x), make("sin", x))
    first = make("grad", y, x)
    make.graph.outputs = {"first": first, "second": make("grad", first, x)}
    found = value(make.graph, x=0.7)
    sin, cos = np.sin(0.7), np.cos(0.7)
    assert found["first"] == pytest.approx(1.4 * sin + 0.49 * cos, rel=1e-14)
    assert found["second"] == pytest.approx(2 * sin + 4 * 0.7 * cos - 0.49 * sin, rel=1e-14)


def test_third_order_by_nesting(make: Make) -> None:
    """x^4 -> 4 x^3 -> 12 x^2 -> 24 x."""
    x = vector(make)
    d = make("square", make("square", x))
    for _ in range(3):
        d = make("grad", d, x)
    make.graph.outputs = {"d": d}
    assert value(make.graph, x=1.5)["d"] == pytest.approx(36.0, rel=1e-14)


def test_least_squares(make: Make) -> None:
    """For sum (W x - t)^2 over a batch: dW = 2 (W x - t)' x, and dx is per example."""
    x = make("input", name="x", type=TensorType((BATCH_SIZE, Size(3)), ("batch",)))
    t = make("input", name="t", type=TensorType((BATCH_SIZE, Size(2)), ("batch",)))
    w = make("input", name="W", type=TensorType((Size(2), Size(3))))
    error = make.sub(make("contract", w, x, left=(1, 2), right=(0, 2), out=(0, 1)), t)
    loss = make.sum(make("square", error), (1,))
    make.graph.outputs = {"dW": make("grad", loss, w), "dx": make("grad", loss, x)}
    rng = np.random.default_rng(0)
    xs, ts, ws = rng.normal(size=(5, 3)), rng.normal(size=(5, 2)), rng.normal(size=(2, 3))
    found = value(make.graph, x=xs, t=ts, W=ws)
    residual = 2 * (xs @ ws.T - ts)
    np.testing.assert_allclose(found["dW"], residual.T @ xs, rtol=1e-13)
    np.testing.assert_allclose(found["dx"], residual @ ws, rtol=1e-13)


def test_cross_entropy(make: Make) -> None:
    """d(-log_softmax(z)[l])/dz = softmax(z) - onehot(l), Bishop (2006), eq. 4.109."""
    z = make("input", name="z", type=TensorType((BATCH_SIZE, Size(3)), ("batch",)))
    label = TensorType((BATCH_SIZE,), ("batch",), "index", Domain("class", Size(3)))
    at = make("input", name="l", type=label)
    loss = make.neg(make("pick", make("log_softmax", z, axes=(1,)), at))
    make.graph.outputs = {"g": make("grad", loss, z)}
    zs, ls = np.random.default_rng(2).normal(size=(4, 3)), np.array([0, 2, 1, 1])
    found = evaluate(differentiate(make.graph), {("input", "z"): zs, ("input", "l"): ls})["g"]
    p = np.exp(zs) / np.exp(zs).sum(1, keepdims=True)
    np.testing.assert_allclose(found, p - np.eye(3)[ls], rtol=1e-12, atol=1e-14)


def test_hessian_times_vector(make: Make) -> None:
    """grad(grad(x' A x / 2) . v) = A v for a symmetric A."""
    rng = np.random.default_rng(5)
    a = rng.normal(size=(3, 3))
    a, v, xs = a + a.T, rng.normal(size=3), rng.normal(size=3)
    x, vn = vector(make, "x", 3), vector(make, "v", 3)
    an = vector(make, "A", 3, 3)
    ax = make("contract", an, x, left=(0, 1), right=(1,), out=(0,))
    half = make.scale(make("contract", x, ax, left=(0,), right=(0,), out=()), 0.5)
    inner = make("contract", make("grad", half, x), vn, left=(0,), right=(0,), out=())
    make.graph.outputs = {"Av": make("grad", inner, x)}
    np.testing.assert_allclose(value(make.graph, x=xs, v=v, A=a)["Av"], a @ v, rtol=1e-13)


# ---- rules of the walk -------------------------------------------------------------------------


def test_no_influence_is_zero(make: Make) -> None:
    x, y = vector(make, "x", 2), vector(make, "y", 3)
    make.graph.outputs = {"g": make("grad", make.sum(make("exp", x), (0,)), y)}
    assert value(make.graph, x=[1, 2], y=[1, 2, 3])["g"].tolist() == [0.0, 0.0, 0.0]


def test_of_itself_is_one(make: Make) -> None:
    x = vector(make)
    make.graph.outputs = {"g": make("grad", x, x)}
    assert value(make.graph, x=3.0)["g"] == 1.0


def test_stop_blocks_and_indices_receive_nothing(make: Make) -> None:
    x = vector(make, "x", 3)
    at = make("cast", make("argmax", x, axis=0), kind="real")
    s = make.add(make.sum(make.mul(make("stop", make("exp", x)), x), (0,)), at)
    make.graph.outputs = {"g": make("grad", s, x)}
    xs = np.array([0.1, 0.5, 0.2])
    np.testing.assert_allclose(value(make.graph, x=xs)["g"], np.exp(xs), rtol=1e-14)


def test_of_what_lies_between(make: Make) -> None:
    """The gradient with respect to a node inside, and beyond it, from one walk."""
    x = vector(make)
    h = make("tanh", x)
    y = make("exp", make("sin", h))
    make.graph.outputs = {"h": make("grad", y, h), "x": make("grad", y, x)}
    found = value(make.graph, x=0.4)
    by_h = np.cos(np.tanh(0.4)) * np.exp(np.sin(np.tanh(0.4)))
    assert found["h"] == pytest.approx(by_h, rel=1e-14)
    assert found["x"] == pytest.approx(by_h * (1 - np.tanh(0.4) ** 2), rel=1e-14)


def test_the_inner_gradient_comes_first(make: Make) -> None:
    """A step along a gradient, differentiated through: y = x - grad(x^2 / 2) / 2 = x / 2."""
    x = vector(make)
    inner = make("grad", make.scale(make("square", x), 0.5), x)
    y = make("square", make.sub(x, make.scale(inner, 0.5)))
    make.graph.outputs = {"g": make("grad", y, x)}
    assert value(make.graph, x=3.0)["g"] == pytest.approx(2 * 1.5 * 0.5)


def test_a_gradient_that_asks_for_what_depends_on_it_is_zero(make: Make) -> None:
    """d s / d z where z was made from s: s does not depend on z."""
    x = vector(make)
    s = make("exp", x)
    g = make("grad", s, x)
    z = make("sin", g)
    make.graph.outputs = {"a": g, "b": make("grad", s, z)}
    found = value(make.graph, x=0.3)
    assert found["a"] == pytest.approx(np.exp(0.3))
    assert found["b"] == 0.0


def test_a_missing_row_is_named(make: Make) -> None:
    OPS["mystery"] = Op("mystery", OPS["exp"].infer, OPS["exp"].evaluate)
    try:
        x = vector(make)
        make.graph.outputs = {"g": make("grad", make("mystery", x), x)}
        with pytest.raises(DlnError, match="mystery has no gradient"):
            differentiate(make.graph)
    finally:
        del OPS["mystery"]


def test_a_gradient_needs_one_number_per_example(make: Make) -> None:
    x = vector(make, "x", 3)
    with pytest.raises(Fault, match="single number for each example"):
        make("grad", make("exp", x), x)


def test_gradients_of_one_loss_share_their_nodes(make: Make) -> None:
    """Two layers: the gradients of all four parameters need each inner cotangent once."""
    graph, _ = perceptron(0, "tanh", 2)
    ops = Counter(n.op for n in ancestors(differentiate(graph).outputs.values()))
    # Forward: 2 products. Backward: one per weight, and one through the second layer.
    assert ops["contract"] == 5
    # tanh is computed once; its slope reads it.
    assert ops["tanh"] == 1


def test_spans_names_and_the_mapping(make: Make) -> None:
    source = Source("a.dln", "loss = exp(x)")
    span = Span(source, 7, 13)
    x = vector(make)
    loss = Make(make.graph, (span,))("exp", x)
    g = make("grad", loss, x)
    make.graph.mark(g, (), "slope")
    make.graph.outputs = {"g": g}
    graph, to = derivatives(make.graph)
    assert graph.names[to[g]] == "slope"
    assert span in graph.spans[to[g]]
    assert Counter(n.op for n in graph.topological())["exp"] == 1  # d exp(x) = exp(x)


def test_the_argument_is_left_as_it_was(make: Make) -> None:
    graph, _ = perceptron(1, "sigmoid", 2)
    nodes, outputs = list(graph.topological()), dict(graph.outputs)
    differentiate(graph)
    assert list(graph.topological()) == nodes
    assert graph.outputs == outputs


# ---- whole networks ----------------------------------------------------------------------------


def perceptron(seed: int, act: str, layers: int) -> tuple[Any, ...]:
    """A random perceptron with its loss and the gradients of all parameters."""
    m = Make(Graph())
    rng = np.random.default_rng(seed)
    widths = [3, *rng.integers(2, 6, layers - 1).tolist(), 2]
    h = m("input", name="x", type=TensorType((BATCH_SIZE, Size(3)), ("batch",)))
    t = m("input", name="t", type=TensorType((BATCH_SIZE, Size(2)), ("batch",)))
    env = {("input", "x"): rng.normal(size=(4, 3)), ("input", "t"): rng.random((4, 2))}
    params = []
    for i, (cols, rows) in enumerate(zip(widths, widths[1:], strict=False)):
        w = m("param", path=f"W{i}", type=TensorType((Size(rows), Size(cols))))
        b = m("param", path=f"b{i}", type=TensorType((Size(rows),)))
        env["param", f"W{i}"], env["param", f"b{i}"] = rng.normal(size=(rows, cols)), np.ones(rows)
        z = m("contract", w, h, left=(1, 2), right=(0, 2), out=(0, 1))
        z = m.add(z, m.broadcast(b, z.type, (1,)))
        h = z if i == layers - 1 else m("maximum", z, m.const(0.0)) if act == "relu" else m(act, z)
        params += [w, b]
    loss = m.sum(m("square", m.sub(h, t)), (1,))
    total = m.div(m.sum(loss, (0,)), m.size(BATCH_SIZE))
    m.graph.outputs = {p["path"]: m("grad", total, p) for p in params} | {"s": total}
    return m.graph, env


@pytest.mark.parametrize("layers", [1, 2, 4])
@pytest.mark.parametrize("act", ["tanh", "sigmoid", "softplus", "relu"])
def test_networks_against_differences(act: str, layers: int) -> None:
    graph, env = perceptron(layers, act, layers)
    graph = differentiate(graph)
    verify(graph)
    found = evaluate(graph, env)
    for key in [k for k in env if k[0] == "param"]:
        wanted = np.zeros(env[key].shape)
        for at in np.ndindex(wanted.shape):
            wanted[at] = central(graph, env, key, at)
        np.testing.assert_allclose(
            found[key[1]], wanted, rtol=1e-6, atol=1e-8 * max(1, abs(wanted).max())
        )


def central(
    graph: Graph, env: dict[Any, Any], key: tuple[Any, ...], at: tuple[Any, ...], step: Any = 1e-6
) -> Any:
    values = []
    for sign in (1, -1):
        moved = env[key].copy()
        moved[at] += sign * step
        values.append(evaluate({"s": graph.outputs["s"]}, env | {key: moved})["s"])
    return (values[0] - values[1]) / (2 * step)


@pytest.mark.parametrize("act", ["tanh", "sigmoid", "softplus"])
def test_second_order_of_networks_by_complex_step(act: str) -> None:
    """The gradient of the squared gradient norm, as in penalties on the gradient."""
    graph, env = perceptron(3, act, 3)
    m = Make(graph)
    norm = m.sum(m("square", graph.outputs["W1"]), (0, 1))
    (w,) = (n for n in graph.topological() if n.op == "param" and n["path"] == "W0")
    graph.outputs = {"s": norm, "g": m("grad", norm, w)}
    graph = differentiate(graph)
    found = evaluate(graph, env)["g"]
    for at in np.ndindex(found.shape):
        moved = env["param", "W0"].astype(complex)
        moved[at] += 1e-30j
        s = evaluate({"s": graph.outputs["s"]}, env | {("param", "W0"): moved}, real=complex)["s"]
        assert found[at] == pytest.approx(s.imag / 1e-30, rel=1e-11, abs=1e-13)
