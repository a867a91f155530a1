"""onnxruntime: the outputs of a network, from a graph written with `onnx`."""

from __future__ import annotations

from typing import Any

import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from benchmarks.comparison.work import Running, Work

DEALT = False


def version() -> str:
    return str(onnxruntime.__version__)


def make(work: Work, variant: str, threads: int) -> Running:
    x, node = work.batches[0][0], helper.make_node
    nodes = mlp() if work.kind == "mlp" else lenet()
    graph = helper.make_graph(
        [node(op, given, [out], **more) for op, given, out, more in nodes],
        work.name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [len(x), 10])],
        [numpy_helper.from_array(array, name) for name, array in work.params.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1 if len(x) == 1 else threads  # the faster one for one example
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return Running(
        lambda i: session.run(["out"], {"x": work.batches[i][0]})[0], lambda y: float(y.sum())
    )


Node = tuple[str, list[str], str, dict[str, Any]]


def mlp() -> list[Node]:
    return [
        ("Gemm", ["x", "W1", "b1"], "z1", {}),
        ("Sigmoid", ["z1"], "h1", {}),
        ("Gemm", ["h1", "W2", "b2"], "z2", {}),
        ("Sigmoid", ["z2"], "out", {}),
    ]


def lenet() -> list[Node]:
    half: dict[str, Any] = {"kernel_shape": [2, 2], "strides": [2, 2]}
    return [
        ("Conv", ["x", "C1", "c1"], "z1", {}),
        ("Tanh", ["z1"], "h1", {}),
        ("AveragePool", ["h1"], "s2", half),
        ("Conv", ["s2", "C3", "c3"], "z3", {}),
        ("Tanh", ["z3"], "h3", {}),
        ("AveragePool", ["h3"], "s4", half),
        ("Flatten", ["s4"], "flat", {}),
        ("Gemm", ["flat", "W5", "b5"], "z5", {}),
        ("Tanh", ["z5"], "h5", {}),
        ("Gemm", ["h5", "W6", "b6"], "z6", {}),
        ("Tanh", ["z6"], "h6", {}),
        ("Gemm", ["h6", "W7", "b7"], "out", {}),
    ]
