"""Convolutions with their examples innermost, and windows side by side as other shapes.

Oracle: the evaluator, which knows of no layout, in double precision.
"""

from __future__ import annotations

import numpy as np
import pytest

import dln
from dln.compiler.ir.evaluate import evaluate
from dln.compiler.ir.graph import Graph
from dln.compiler.ir.op import Make
from dln.compiler.ir.sizes import BATCH_SIZE, Size
from dln.compiler.ir.structure import is_param, is_reshape
from dln.compiler.ir.tensor_type import TensorType
from dln.compiler.lower.emit import lower
from dln.compiler.lower.layout import ENOUGH, around_windows
from dln.compiler.lower.targets import TARGETS
from dln.compiler.lower.tiles import tiles_reshaped
from dln.compiler.pipeline.compiled import optimised
from dln.compiler.pipeline.recipes import recipes
from dln.compiler.plan import Program
from dln.compiler.schema import keys
from dln.compiler.schema.keys import Output, ProgramKind
from dln.runtime.device.host import Host
from dln.runtime.execution.executable import Executable

SPEC = """
block net(x[2, 19, 19]) -> Y {
NET
}
let n = net()
data d = rows([[1, 2, 3, 4, 5, 6, 7, 8, 9]]) {
  x[2, 19, 19] = [pad([raw[0:3], raw[3:6], raw[6:9]], 8), pad([raw[6:9], raw[3:6], raw[0:3]], 8)]
}
train p on d batch 16 for 1 update {
  minimize mean(n(x)^2) over n with sgd(lr = 0.5)
}
"""
NETS = {
    "mean pooling y[4]": """
  y = x -> conv(3, 2, act = tanh) -> mean_pool -> conv(2, 3) -> flatten -> dense(4)""",
    "max pooling y[2, 5, 5]": """
  y = x -> conv(3, 2, act = relu) -> max_pool(3) -> conv(2, 2, act = tanh)""",
    "strides y[48]": """
  y = x -> conv(4, 3, stride = 2, act = tanh) -> conv(3, 3, stride = 2) -> flatten""",
    "pools that overlap y[3, 7, 14]": """
  h = x -> conv(3, 4, act = sigmoid)
  y[q, i, j] = mean(u in 0..3, v in 0..2: h[q, 2*i + u, v + j])""",
    "a picture beside its convolution y[2, 17, 17]": """
  param K[2, 2, 3, 3] ~ normal(0, 1)
  h[o, i, j] = sum(q, u, v: K[o, q, u, v] * x[q, i + u, j + v])
  s[i, j] = 1 + sum(q: h[q, i, j]^2)
  g[q, i, j] = h[q, i, j] / s[i, j]
  y = h * (x[:, 1:18, 1:18] - g)""",
    "one axis, and turned y[3, 15]": """
  param K[3, 2, 5] ~ normal(0, 1)
  h[i, o, w] = sum(q, u: K[o, q, u] * x[q, i + u, w])
  s[o] = mean(i, w: tanh(h[i, o, w]))
  y[o, i] = s[o] * max(w: h[i, o, w])""",
    "patches y[3]": """
  y = pad(x, 3) -> conv(3, 5, stride = 5, act = tanh) -> flatten -> dense(3, act = softmax)""",
}


def text(name: str) -> str:
    _, _, shape = name.partition(" y")
    return SPEC.replace("NET\n", NETS[name] + "\n").replace("-> Y", f"-> y{shape}")


def gradients(name: str) -> Graph:
    model = dln.load(text(name)).model
    return optimised(model, recipes(model, "float64")[ProgramKind.GRAD.of("p")].outputs)


def lowered(graph: Graph, capacity: int) -> Program:
    return lower("t", graph, TARGETS["numpy"], "float64", capacity)


@pytest.mark.parametrize(
    ("name", "capacity"), [*((name, 16) for name in NETS), *((name, 1) for name in list(NETS)[:2])]
)
def test_losses_and_gradients_are_those_of_the_evaluator(name: str, capacity: int) -> None:
    graph = gradients(name)
    rng = np.random.default_rng(len(name))
    params = {
        n["path"]: rng.normal(size=[s.constant for s in n.type.shape])
        for n in graph.topological()
        if is_param(n)
    }
    executable = Executable(lowered(graph, capacity), Host(), params, {})
    for n in (3, 16):
        x = rng.normal(size=(n, 2, 19, 19))
        want = evaluate(graph, {("param", k): v for k, v in params.items()} | {("input", "x"): x})
        bound = executable.at(n)
        bound.inputs["x"][...] = x
        bound.run()
        for key, value in want.items():
            assert isinstance(key, Output)
            found = bound.values[str(key.key)]
            np.testing.assert_allclose(found, value, rtol=1e-11, atol=1e-12, err_msg=str(key))


def test_between_convolutions_nothing_is_turned() -> None:
    """One copy of the pictures in front; what pooling spreads is spread while it is multiplied."""
    lines = lowered(gradients("mean pooling y[4]"), ENOUGH).lines
    copied = [line.formula for line in lines if line.code.startswith("copyto(")]
    assert [f for f in copied if "window" not in f] == ["x"]
    assert sum(f.startswith("window(window(") for f in copied) == 2


def test_what_lies_with_examples_last_is_read_there() -> None:
    """A sum over examples, a contraction, a loop's or a gather's operand: whoever reads it."""
    graph = Graph()
    m = Make(graph)
    x = m("input", name="x", type=TensorType((BATCH_SIZE, Size(3), Size(6)), ("batch",)))
    K = m("param", path="K", type=TensorType((Size(4), Size(3), Size(3))))
    w = m("window", x, axis=2, terms=((1, Size(4)), (1, Size(3))), offset=0)
    y = m("contract", w, K, left=(0, 1, 2, 3), right=(4, 1, 3), out=(0, 4, 2))
    e = m("exp", y)
    rows = {
        "sum": m("sum", e, axes=(0, 2)),
        "all": m("sum", e, axes=(0, 1, 2)),
        "each": m("max", e, axes=(1, 2)),
        "run": m("cumsum", e, axis=0),
        "back": m("transpose", e, perm=(1, 0, 2)),
        "turn": m("transpose", e, perm=(0, 2, 1)),
        "flat": m("reshape", e, shape=(BATCH_SIZE, Size(16)), running=("batch",)),
        "line": m("reshape", e, shape=(BATCH_SIZE * 16,), running=()),
        "pair": m("contract", e, y, left=(0, 1, 2), right=(0, 3, 2), out=(1, 0, 3)),
        "join": m("concat", e, m("flip", y, axis=2), axis=1),
        "part": m("pad", m("slice", e, axis=2, start=1, stop=3), axis=1, before=1, after=0),
        "best": m("argmax", e, axis=2),
        "past": m("mul", m("broadcast", m("sum", y, axes=(1, 2)), axes=(0,), shape=e.type.shape,
                           running=("batch",)), e),
    }  # fmt: skip
    graph.outputs = {keys.value(k): v for k, v in rows.items()}
    K_, x_ = np.random.default_rng(0).normal(size=(4, 3, 3)), np.ones((9, 3, 6))
    x_ += np.random.default_rng(1).normal(size=x_.shape)
    want = evaluate(graph, {("param", "K"): K_, ("input", "x"): x_})
    assert {y, e} < around_windows(graph)
    bound = Executable(lowered(graph, 9), Host(), {"K": K_}, {}).at(9)
    bound.inputs["x"][...] = x_
    bound.run()
    for key, value in want.items():
        assert isinstance(key, Output)
        np.testing.assert_allclose(bound.values[str(key.key)], value, rtol=1e-12, err_msg=str(key))


@pytest.mark.parametrize(
    ("size", "terms", "offset", "whole"),
    [
        (6, ((2, 3), (1, 2)), 0, True),
        (12, ((6, 2), (2, 3), (1, 2)), 0, True),
        (6, ((1, 2), (2, 3)), 0, False),
        (7, ((2, 3), (1, 2)), 0, False),
        (7, ((2, 3), (1, 2)), 1, False),
        (6, ((1, 4), (1, 3)), 0, False),
    ],
    ids=str,
)
def test_windows_side_by_side_are_another_shape(
    size: int, terms: tuple[tuple[int, int], ...], offset: int, whole: bool
) -> None:
    graph = Graph()
    m = Make(graph)
    x = m("input", name="x", type=TensorType((BATCH_SIZE, Size(size)), ("batch",)))
    sized = tuple((c, Size(n)) for c, n in terms)
    w = m("window", x, axis=1, terms=sized, offset=offset)
    back = m("unwindow", w, axis=1, terms=sized, offset=offset, size=Size(size))
    graph.outputs = {keys.value("w"): w, keys.value("back"): back}
    x_ = np.arange(2.0 * size).reshape(2, size)
    want = evaluate(graph, {("input", "x"): x_})
    made = tiles_reshaped(graph, 2)
    assert is_reshape(made.outputs[keys.value("w")]) == whole
    assert (made.outputs[keys.value("back")].operands == ()) == whole
    found = evaluate(made, {("input", "x"): x_})
    for key, value in want.items():
        np.testing.assert_array_equal(found[key], value)
