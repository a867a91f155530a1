"""Instances as ONNX: onnxruntime makes of them what dln, or the evaluator, makes of them, and the
picture is the network that the spec says."""

from __future__ import annotations

import json
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from comparing.differences import answers, differences, rows, sample

import dln as package
from dln.compiler.ir.evaluate import evaluate
from dln.compiler.ir.graph import Graph
from dln.compiler.ir.op import OPS, Make
from dln.exporting.exported import onnx_file
from dln.exporting.file import encoded
from dln.exporting.instance import graph_model
from dln.exporting.operations import GONE, ROWS
from dln.spec import LIBRARIES, shipped

needs_both = pytest.mark.skipif(
    not (find_spec("onnx") and find_spec("onnxruntime")), reason="needs onnx and onnxruntime"
)
BOUNDS = {"float32": 1e-5, "float64": 1e-10}


# ---- operations --------------------------------------------------------------------------------


def test_every_operation_has_a_row_or_is_never_met() -> None:
    assert {*ROWS, *GONE} == {*OPS} and not {*ROWS} & {*GONE}


WRITTEN = [n for n in ROWS if not OPS[n].is_("loop") and n not in ("draw", "warp", "whole", "state",
                                                                   "clock")]  # fmt: skip


@needs_both
@pytest.mark.parametrize("name", WRITTEN)
def test_an_operation_as_the_evaluator_has_it(name: str) -> None:
    """All examples of its record, in one model."""
    dtype, graph = "float64", Graph()
    make, rng = Make(graph), np.random.default_rng(5)
    fed, ports = dict[str, Any](), dict[str, Any]()
    for i, (types, attrs) in enumerate(OPS[name].examples()):
        for k, type in enumerate(types):
            ports[f"x{i}_{k}"] = make("input", name=f"x{i}_{k}", type=type)
            fed[f"x{i}_{k}"] = sample(rng, type, 1, dtype, 3)
        operands = [ports[f"x{i}_{k}"] for k in range(len(types))]
        graph.outputs[f"y{i}"] = make(name, *operands, **attrs)
    if not graph.outputs:
        return
    wanted = evaluate(graph, {("input", k): v for k, v in fed.items()})
    got = answers(encoded(graph_model(graph, ports, {}, dtype), name, ""), fed)
    for key, value in wanted.items():
        assert got[str(key)].shape == value.shape
        assert np.allclose(got[str(key)], value, rtol=0, atol=BOUNDS[dtype]), key


# ---- instances ---------------------------------------------------------------------------------

NETS = """data d = rows([[0, 1, 2, 3, 4, 5]]) {
  x[1, 7, 6] = zeros(1, 7, 6) + raw[0]
  v[6] = raw
  m[6, 7] = zeros(6, 7) + raw[1]
}
block trunk(x[1, 7, 6]) -> y[4] {
  a = x -> conv(4, 3, border = 1, act = relu) -> max_pool(2, rest = "cut")
  y = a -> flatten -> dense(4, act = softplus)
}
let net = trunk()
let strided = conv(2, 3, stride = 2, border = 2, gap = 2, rest = "cut")
let grouped = chain([conv(4, 1), grouped_conv(6, 3, groups = 2), depthwise_conv(2)])
let back = conv_transpose(3, 3, stride = 2, border = 1)
let line = conv1d(3, 3, border = 1)
let pooled = chain([conv(3, 2), mean_pool(2, stride = 1), global_max_pool()])
let lines = conv1d(2, 2, gap = 2)
let normed = chain([conv(2, 3), batch_norm_maps(), flatten, layer_norm(), dense(2, act = gelu)])
train t on d batch 1 for 1 epoch {
  a = net(x)
  e = sum(strided(x)^2) + sum(grouped(x)^2) + sum(back(x)^2) + sum(pooled(x)^2) + sum(lines(m)^2)
  minimize sum(a^2) + e + sum(normed(x)^2) over net with sgd(lr = 0.1)
}
"""

LOOPS = """data d = synthetic("stutter", T = 3, classes = 4, count = 20) {
  c[time]: class(4) = raw.source as class(4)
  u[time]: class(4) = raw.target as class(4)
}
data p = rows([[0, 1, 0.5], [1, 3, 0.2], [2, 5, 0.1]]) {
  x[2] = raw[:2]
  s[time, 1] = reshape(raw, [3, 1])
}
block counter(x[n]) -> y[n], all[time, n] {
  h[-1] = x
  scan t in 5 {
    h[t] = tanh(h[t-1] * (1 + t) / 2)
  }
  y = h[4]
  all = h
}
block settle(x[n]) -> y[n], rest[time, n] {
  param W[n, n] ~ glorot(n, n)
  scan t in 4 backwards { h[t] = tanh(W @ h[t+1] + x) }
  y = h[0]
  rest = h
}
block final(s[time, n]; m) -> y[m], means[m] {
  h = s -> rnn(m)
  y = last(h)
  means = mean(t: h[t])
}
block shifted(c[time]: class(k)) -> z[time, 3], w[time, k] {
  param E[3, k] ~ glorot(k, 3)
  scan t in time {
    a[t] = E @ onehot(c[t-1]) + a[t-1] / 2
  }
  z = a
  w = onehot(c)
}
block inner(s[time, n]) -> y[time, n] {
  scan t in time {
    g[-1] = s[t]
    scan r in 3 { g[r] = sin(g[r-1]) + h[t-1] / 4 }
    h[t] = g[2]
  }
  y = h
}
let count = counter()
let back  = settle()
let end   = final(3)
let moved = shifted()
let deep  = inner()
let ways  = both(gru(3), lstm(2))
train a on p batch 1 for 1 epoch {
  e = sum(count(x).y^2) + sum(back(x).y^2) + sum(end(s).y^2) + sum(deep(s)^2)
  minimize e over back with sgd(lr = 0.1)
}
train b on d batch 1 for 1 epoch {
  minimize sum(moved(u).z^2) + sum(ways(onehot(c))^2) over moved, ways with sgd(lr = 0.1)
}
"""

MACHINES = """data d = synthetic("digits-row", 1, 20) {
  image[5, 3] = raw.image
  label: class(10) = raw.labels[0]
}
block boltzmann(v[n]: binary, label: class(10); m) {
  hidden h[m]: binary
  param W[n, m] ~ normal(0, 0.5), U[10, m] ~ normal(0, 0.5), a[n] = 0, b[m] = 0
  energy = -(a @ v) - (b @ h) - (v @ W @ h) - (U[label] @ h)
}
block centred(x[n]) -> y[n], top: class(n) {
  g = (x - mean(batch: x)) / norm(x)
  y = gelu(g) * erf(x) / 1.5 + log(1 + exp(-x^2)) + exp(g / 100) - 1
  top = argmax(y)
}
let machine = boltzmann(4)
let whole   = chain([centred()])
let net     = centred()
train dreams on d batch 20 for 1 epoch {
  v = flatten(image) as prob
  minimize cd(machine, v, label, k = 1) over machine with sgd(lr = 0.1)
}
check "applied" {
  expect shape(net(zeros(3)).y) == [3]
}
"""


@needs_both
@pytest.mark.parametrize(
    ("text", "dtype"),
    [(NETS, "float32"), (NETS, "float64"), (LOOPS, "float64"), (MACHINES, "float32")],
    ids=["nets", "nets-double", "loops", "machines"],
)
def test_instances_as_dln_has_them(text: str, dtype: str) -> None:
    found = differences(package.load(text), dtype)
    assert max(found.values()) <= BOUNDS[dtype], found
    assert len(found) >= 3


PICTURES = {
    "net": "Conv Relu MaxPool Reshape Gemm Softplus",
    "strided": "Conv",
    "back": "Transpose ConvTranspose",
    "pooled": "Conv AveragePool ReduceMax",
    "normed": "Conv BatchNormalization Reshape LayerNormalization Gemm Mul Erf Add Mul Mul",
}


@needs_both
def test_the_picture_is_the_network() -> None:
    """Operator by operator; the same bytes twice; names and lines of the spec."""
    import onnx

    spec = package.load(NETS)
    session = spec.compile().session()
    data = onnx_file(spec, session, "net").data
    assert data == onnx_file(spec, session, "net").data
    graph = onnx.load_from_string(data).graph
    made = {n.output[0]: n for n in graph.node}
    for path, kinds in PICTURES.items():
        model = onnx.load_from_string(onnx_file(spec, session, path).data)
        assert " ".join(n.op_type for n in model.graph.node) == kinds
    assert {i.name for i in graph.initializer} >= {"net.a[0].K", "net.a[0].b", "net.y.W", "net.y.b"}
    assert made["y"].input == ["net.y.y.gemm"]
    assert "net.y.W @" in made["net.y.y.gemm"].doc_string
    assert "(<text>:" in made["y"].doc_string
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


STEPS = """data d = rows([[0, 1, 2, 3]]) {
  s[time, 2] = reshape(raw, [2, 2])
}
block begun(s[time, n]; m) -> y[time, m] {
  param W[m, n] ~ normal(0, 1), a[m] ~ normal(0, 1)
  h[-1] = a
  scan t in time { h[t] = tanh(W @ s[t] + h[t-1] + c[t-1])
                   c[t] = h[t] / 2 }
  y = h
}
let net = begun(3)
train t on d batch 1 for 1 epoch { minimize sum(net(s)^2) over net with sgd(lr = 0.1) }
"""


@needs_both
def test_one_step_at_a_time_is_the_sequence() -> None:
    """What is carried goes in and comes out, and is told where it does not begin as 0."""
    import onnx

    spec = package.load(STEPS)
    session = spec.compile(dtype="float64").session()
    made = onnx_file(spec, session, "net.step")
    assert made.begins == {"net.h-1": True, "net.c-1": False}
    (told,) = onnx.load_from_string(made.data).metadata_props
    s = np.random.default_rng(0).normal(size=(3, 2, 2))
    held = {"net.h-1": np.tile(json.loads(told.value), (3, 1)), "net.c-1": np.zeros((3, 3))}
    for t, wanted in enumerate(session.net(s).swapaxes(0, 1)):
        found = answers(made.data, {"s": s[:, t], **held})
        assert np.allclose(found["y"], wanted, atol=1e-12)
        held = {name: found[f"{name}.next"] for name in held}


@needs_both
@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in shipped() if n not in LIBRARIES])
def test_all_instances_of_a_shipped_spec(name: str) -> None:
    for row in rows([name]):
        assert float(row.float32) <= 1e-5 and float(row.float64) <= 1e-10
