"""`dln import`, operator by operator: what each computes, beside onnxruntime, and what is refused.

Each is a graph of a few nodes. What is refused says why, and by which node.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from graphs import making
from graphs.making import Imported, agreed, model, node, weights

Import = Callable[..., Imported]
imported = making.imported
X, TABLE, MAPS = {"x": ["n", 4]}, {"x": ["n", 3, 4]}, {"x": ["n", 4, 6, 6]}
STEPS = {"x": ["steps", "batch", 3]}


def whole(*numbers: int) -> Any:
    return np.array(numbers, np.int64)


def real(*numbers: float) -> Any:
    return np.array(numbers, np.float32)


def chain(*nodes: Any) -> list[Any]:
    """Nodes of one input and one output, one after the other: from `x` to `y`."""
    for k, each in enumerate(nodes):
        each.input[0] = f"v{k}" if k else "x"
        each.output[0] = "y" if k == len(nodes) - 1 else f"v{k + 1}"
    return [*nodes]


COMPUTED = {
    "units of one number": model(
        chain(node("Celu", "x", alpha=0.7), node("Selu", "x", alpha=1.5, gamma=1.1),
              node("HardSwish", "x"), node("Gelu", "x", approximate="tanh"), node("Gelu", "x"),
              node("Mish", "x"),
              node("Clip", "x zero"), node("Pow", "x half"), node("Identity", "x"),
              node("Dropout", "x"), node("Neg", "x")),
        X, {"zero": np.float32(0), "half": np.float32(0.5)}, opset=20),
    "norms of a row": model(
        [node("ReduceL2", "x", "a", axes=[1], keepdims=1), node("ReduceL1", "x", "b", axes=[1]),
         node("ReduceSumSquare", "x", "c", axes=[1]), node("ReduceLogSumExp", "x", "d", axes=[1]),
         node("LpNormalization", "x", "e", axis=1, p=2),
         node("LpNormalization", "x", "f", axis=1, p=1), node("LogSoftmax", "x", "g", axis=1),
         node("Sum", "a b c d e f g")], X, {}, opset=13),
    "a softmax along another axis than the last": model(
        chain(node("Softmax", "x", axis=1), node("ReduceMin", "x", axes=[2], keepdims=0),
              node("Softmax", "x", axis=1)),
        TABLE, {}, opset=13),
    "groups of maps, a mean square, a batch norm with its numbers": model(
        [node("GroupNormalization", "x g b", "a", num_groups=2, epsilon=1e-3),
         node("BatchNormalization", "a g b m v", "n"), node("Flatten", "n", "f"),
         node("MatMul", "f W", "h"), node("LayerNormalization", "h s", "y", axis=1)],
        MAPS, {"g": weights(4), "b": weights(4), "m": weights(4), "v": weights(4) ** 2 + 1,
               "W": weights(144, 3), "s": weights(3)}, opset=21),
    "images made larger": model(
        [node("Resize", "x - two", "a", mode="nearest", nearest_mode="floor",
              coordinate_transformation_mode="asymmetric"),
         node("GlobalMaxPool", "a", "b"), node("Mul", "a b", "y")],
        {"x": ["n", 2, 3, 4]}, {"two": real(1, 1, 2, 2)}),
    "images made larger, by their sizes": model(
        [node("Resize", "x - - sizes", mode="nearest", coordinate_transformation_mode="asymmetric",
              nearest_mode="floor")],
        {"x": [1, 2, 3, 4]}, {"sizes": whole(1, 2, 6, 8)}),
    "one element, one of several, one kept": model(
        [node("Gather", "x one", "a", axis=1), node("Gather", "x last", "b", axis=2),
         node("Slice", "x lo hi ax", "c"), node("Squeeze", "c ax", "d"), node("Add", "a d", "e"),
         node("ReduceSum", "b ax1", "f", keepdims=1), node("Add", "e f", "y")],
        TABLE, {"one": np.array(1), "last": np.array(-1), "lo": whole(2), "hi": whole(3),
                "ax": whole(1), "ax1": whole(1)}, opset=13),
    "rows that are stretches of a line": model(
        [node("Reshape", "x r", "a"), node("Gather", "a one", "b", axis=1),
         node("Gather", "a zero", "c", axis=1), node("Sub", "b c", "y")],
        {"x": ["n", 12]}, {"r": whole(0, 3, 4), "one": np.array(2), "zero": np.array(0)}),
    "constants put beside what is computed, and parts put together again": model(
        [node("Concat", "x one", "a", axis=1), node("Concat", "a w", "b", axis=1),
         node("Split", "b sizes", "p q r", axis=1), node("Concat", "p q r", "y", axis=1)],
        {"x": [2, 4]}, {"one": np.full((2, 3), 2, np.float32), "w": np.tile(weights(1, 2), (2, 1)),
                        "sizes": whole(4, 3, 2)}, opset=13),
    "a class as a code of zeros and ones": model(
        [node("OneHot", "c five values", "h", axis=-1), node("MatMul", "h W", "y")],
        {"c": ("n",)}, {"five": whole(5), "values": real(0, 1), "W": weights(5, 3)}),
    "Gemm of two that are computed": model(
        [node("Reshape", "x sq", "s"), node("Transpose", "s", "t", perm=[0, 2, 1]),
         node("MatMul", "s t", "m"), node("ReduceSum", "m ax", "r", keepdims=0),
         node("Gemm", "r W b", "y", alpha=0.5, beta=0.25, transB=1)],
        X, {"sq": whole(0, 2, 2), "ax": whole(2), "W": weights(3, 2), "b": weights(3)}, opset=13),
    "axes of one, taken away and put in, and what is grown": model(
        [node("Unsqueeze", "x ax", "a"), node("Expand", "a to", "b"), node("Mul", "b w", "c"),
         node("ReduceMean", "c", "d", axes=[1], keepdims=1), node("Squeeze", "d ax", "e"),
         node("Tile", "e twice", "y")],
        X, {"ax": whole(1), "to": whole(1, 3, 4), "w": weights(3, 4), "twice": whole(1, 1)},
        opset=13),
    "what is worked out of constants alone": model(
        [node("Slice", "W lo hi ax st", "a"), node("Gather", "a k", "b", axis=1),
         node("Split", "b", "p q", axis=0), node("Sub", "p q", "c"), node("Squeeze", "c zero", "d"),
         node("ReduceSum", "W", "s", keepdims=0), node("Cast", "s", "i", to=1),
         node("Reshape", "d r", "e"), node("MatMul", "x e", "z"), node("Div", "z i", "y")],
        X, {"W": weights(4, 8), "lo": whole(3), "hi": whole(-9), "ax": whole(0), "st": whole(-2),
              "k": whole(0, 1, 2, 5), "zero": whole(0), "r": whole(4, 1)}, opset=13),
    "a choice that is no choice, and numbers as truths": model(
        [node("Where", "yes x zero", "a"), node("Cast", "x", "t", to=9), node("Not", "t", "u"),
         node("Where", "u one a", "y")],
        X, {"yes": np.array([True]), "zero": real(0), "one": np.float32(1)}),
    "groups of filters, and windows with gaps": model(
        [node("Conv", "x K b", "c", group=2, dilations=[2, 2], pads=[2, 2, 2, 2]),
         node("Conv", "c L", "d", group=2), node("GlobalAveragePool", "d", "e"),
         node("Flatten", "e", "y")],
        MAPS, {"K": weights(4, 2, 3, 3), "b": weights(4), "L": weights(2, 2, 2, 2)}),
    "the adjoint of a convolution with a border": model(
        [node("ConvTranspose", "x K", strides=[2, 2], pads=[1, 1, 1, 1])],
        MAPS, {"K": weights(4, 2, 4, 4)}),
    "a recurrent layer with peepholes, both its states": model(
        [node("LSTM", "x W R B - - - P", "h e", hidden_size=4), node("Squeeze", "e zero", "y")],
        STEPS, {"W": weights(1, 16, 3), "R": weights(1, 16, 4), "B": weights(1, 32),
                "P": weights(1, 12), "zero": whole(0)}, opset=13),
    "a recurrent layer without biases, its first and its last step": model(
        [node("RNN", "x W R", "h e", hidden_size=4), node("Squeeze", "h one", "s"),
         node("Gather", "s last", "a", axis=0), node("Gather", "s first", "b", axis=0),
         node("Add", "a b", "y")],
        STEPS, {"W": weights(1, 4, 3), "R": weights(1, 4, 4), "one": whole(1),
                "last": np.array(-1), "first": np.array(0)}, opset=13),
    "steps that stand behind their examples": model(
        [node("Transpose", "x", "t", perm=[1, 0, 2]),
         node("GRU", "t W R B", "h e", hidden_size=2), node("Squeeze", "h ax", "s"),
         node("Transpose", "s", "y", perm=[1, 0, 2])],
        {"x": ["batch", "steps", 3]},
        {"W": weights(1, 6, 3), "R": weights(1, 6, 2), "B": weights(1, 12), "ax": whole(1)},
        opset=13),
}  # fmt: skip


@pytest.mark.parametrize("name", COMPUTED)
def test_an_operator_computes_what_onnxruntime_does(name: str, imported: Import) -> None:
    agreed(imported(COMPUTED[name]))


REFUSED: dict[str, tuple[list[Any], dict[str, Any], dict[str, Any]]] = {
    "takes nothing of an axis": (
        [node("Slice", "x a b k")], X, {"a": whole(2), "b": whole(2), "k": whole(1)}),
    "takes element 4 of 4": ([node("Gather", "x k", axis=1)], X, {"k": np.array(4)}),
    "indices have several axes": (
        [node("Gather", "x k", axis=1)], X, {"k": whole(0, 1, 2, 3).reshape(2, 2)}),
    "indices are no range": ([node("Gather", "x k", axis=1)], X, {"k": whole(0, 3, 1)}),
    "along another axis than the first": (
        [node("Gather", "W c", axis=1)], {"c": ("n",)}, {"W": weights(3, 4)}),
    "looks up a table by numbers that are computed": (
        [node("Gather", "W x")], X, {"W": weights(3, 4)}),
    "a table of one row": ([node("Gather", "W c")], {"c": ("n",)}, {"W": weights(1, 4)}),
    "starts, ends, axes and steps": (
        [node("Slice", "x a b k")], X, {"a": whole(0, 1), "b": whole(2), "k": whole(1)}),
    "parts are not as long as the axis": (
        [node("Split", "x k", "y z", axis=1)], X, {"k": whole(1, 2)}),
    "puts examples end to end": ([node("Concat", "x x", axis=0)], X, {}),
    "no plain one-hot code": (
        [node("OneHot", "c k v", axis=-1)], {"c": ("n",)},
        {"k": whole(4), "v": real(-1, 1)}),
    "picks the last of equal ones": (
        [node("ArgMax", "x", axis=1, select_last_index=1)], X, {}),
    "takes an image": ([node("GlobalAveragePool", "x")], X, {}),
    "p is 3": ([node("LpNormalization", "x", axis=1, p=3)], X, {}),
    "cuts numbers off": ([node("Cast", "x", "c", to=7), node("Cast", "c", "y", to=1)], X, {}),
    "multiplies a single number": ([node("MatMul", "x k")], X, {"k": np.float32(2)}),
    "its matrix has 3 rows": ([node("MatMul", "x W")], X, {"W": weights(3, 2)}),
    "its mode is edge": ([node("Pad", "x k", mode="edge")], X, {"k": whole(0, 1, 0, 1)}),
    "a border around examples": ([node("Pad", "x k")], X, {"k": whole(1, 0, 0, 0)}),
    "pads do not go with its axes": ([node("Pad", "x k")], X, {"k": whole(0, 1, 0)}),
    "resizes by linear": (
        [node("Resize", "x - k", mode="linear")], MAPS, {"k": real(1, 1, 2, 2)}),
    "resizes by other factors": (
        [node("Resize", "x - k", mode="nearest", nearest_mode="floor",
              coordinate_transformation_mode="asymmetric")], MAPS,
        {"k": real(1, 1, 2, 3)}),
    "measures the examples": (
        [node("BatchNormalization", "x g g g g", training_mode=1)], MAPS, {"g": weights(4)}),
    "numbers do not go with its input": (
        [node("BatchNormalization", "x g g g g")], MAPS, {"g": weights(3)}),
    "groups do not go with its input": (
        [node("GroupNormalization", "x g g", num_groups=3)], MAPS, {"g": weights(4)}),
    "filters are for 3 maps": ([node("Conv", "x K")], MAPS, {"K": weights(2, 3, 2, 2)}),
    "filters do not go with its input": ([node("Conv", "x K")], MAPS, {"K": weights(2, 4, 2)}),
    "bias is no vector": (
        [node("Conv", "x K b")], MAPS, {"K": weights(2, 4, 2, 2), "b": weights(3)}),
    "asks for an output_shape": (
        [node("ConvTranspose", "x K", group=2)], MAPS, {"K": weights(4, 2, 2, 2)}),
    "pads leave nothing": (
        [node("ConvTranspose", "x K", pads=[9, 9, 9, 9])], MAPS, {"K": weights(4, 2, 2, 2)}),
    "weights do not go with its input": (
        [node("RNN", "x W R", "h y", hidden_size=4)], STEPS,
        {"W": weights(1, 4, 2), "R": weights(1, 4, 4)}),
    "biases do not go with its weights": (
        [node("RNN", "x W R B", "h y", hidden_size=4)], STEPS,
        {"W": weights(1, 4, 3), "R": weights(1, 4, 4), "B": weights(1, 4)}),
    "peepholes do not go with its weights": (
        [node("LSTM", "x W R B - - - P", "h y", hidden_size=4)], STEPS,
        {"W": weights(1, 16, 3), "R": weights(1, 16, 4), "B": weights(1, 32), "P": weights(1, 8)}),
    "joins two gates": (
        [node("LSTM", "x W R", "h y", hidden_size=4, input_forget=1)], STEPS,
        {"W": weights(1, 16, 3), "R": weights(1, 16, 4)}),
    "cuts off what its gates are given": (
        [node("RNN", "x W R", "h y", hidden_size=4, clip=1.0)], STEPS,
        {"W": weights(1, 4, 3), "R": weights(1, 4, 4)}),
    "its activations are affine": (
        [node("RNN", "x W R", "h y", hidden_size=4, activations=["Affine"])], STEPS,
        {"W": weights(1, 4, 3), "R": weights(1, 4, 4)}),
    "its direction is up": (
        [node("RNN", "x W R", "h y", hidden_size=4, direction="up")], STEPS,
        {"W": weights(1, 4, 3), "R": weights(1, 4, 4)}),
    "its last cell state is used": (
        [node("LSTM", "x W R", "h e c", hidden_size=4), node("Squeeze", "c k")], STEPS,
        {"W": weights(1, 16, 3), "R": weights(1, 16, 4), "k": whole(0)}),
    "begins with a state that is not 0": (
        [node("RNN", "x W R - - k", "h y", hidden_size=4)], STEPS,
        {"W": weights(1, 4, 3), "R": weights(1, 4, 4), "k": np.ones((1, 1, 4), np.float32)}),
    "takes away an axis that is not one": ([node("Squeeze", "x k")], X, {"k": whole(1)}),
    "names axis 5": ([node("Flatten", "x", axis=5)], X, {}),
    "repeats an axis that is not one": ([node("Tile", "x k")], X, {"k": whole(1, 2)}),
    "repeats do not go with its input": ([node("Tile", "x k")], X, {"k": whole(1, 2, 3)}),
    "its mask is used": ([node("Dropout", "x", "a y")], X, {}),
    "its equation is nij": ([node("Einsum", "x x", equation="nij...,nj->ni")], X, {}),
    "its equation does not go": ([node("Einsum", "x x", equation="nij,nj->ni")], X, {}),
    "it is taken of a constant": (
        [node("ReduceLogSum", "W", "w", axes=[0]), node("Mul", "x w")], X,
        {"W": weights(4, 4) ** 2}),
    "one of its inputs is left out": ([node("Gemm", "x -", "y")], X, {}),
    "its perm is": ([node("Transpose", "x", perm=[1, 1])], X, {}),
    "none (NaN)": ([node("Mul", "x k")], X, {"k": np.float32(np.nan)}),
    "several axes for one": ([node("Softmax", "x", axis=1)], TABLE, {}),
}  # fmt: skip
OLD = ("several axes for one", "it is taken of a constant")


@pytest.mark.parametrize("said", REFUSED)
def test_what_cannot_be_said_is_refused_by_its_node(said: str, imported: Import) -> None:
    nodes, inputs, constants = REFUSED[said]
    found = imported(model(nodes, inputs, constants, opset=11 if said in OLD else 18))
    assert found.code == 2 and said in found.err, found.err + found.text
    assert "E616" in found.err and not found.text


def of_learning(*nodes: Any, kind: int = 1) -> Any:
    """A model of scikit-learn over three columns, as skl2onnx writes one."""
    made = model([*nodes], {"x": ["n", 3]}, {"columns": whole(2, 0)}, nodes[-1].output[0])
    made.graph.output[0].type.tensor_type.elem_type = kind
    return made


ROWS = [1.0, 2.0, -1.0, 0.5, 0.1, 0.2]
ML = {"domain": "ai.onnx.ml"}
LEARNT = {
    "a regression": of_learning(
        node("LinearRegressor", "x", coefficients=ROWS, intercepts=[0.1, 0.2], targets=2, **ML)),
    "scores, each by itself": of_learning(
        node("LinearClassifier", "x", "k p", classlabels_ints=[0, 1], coefficients=ROWS,
             intercepts=[0.1, 0.3], post_transform="LOGISTIC", **ML),
        node("Normalizer", "p", norm="L2", **ML)),
    "scores as they are, of some columns": of_learning(
        node("ArrayFeatureExtractor", "x columns", "z", **ML),
        node("LinearClassifier", "z", "k y", classlabels_ints=[0, 1, 2], coefficients=ROWS,
             intercepts=[0.1, 0.3, 0.2], **ML), node("Identity", "y", "s")),
    "classes that are called 3 and 7": of_learning(
        node("LinearClassifier", "x", "y p", classlabels_ints=[3, 7], coefficients=ROWS,
             intercepts=[0.1, 0.3], **ML), kind=7),
}  # fmt: skip


@pytest.mark.parametrize("name", LEARNT)
def test_a_linear_model_computes_what_onnxruntime_does(name: str, imported: Import) -> None:
    agreed(imported(LEARNT[name]))


@pytest.mark.parametrize(
    ("op", "given", "said"),
    [
        ("LinearRegressor", {"coefficients": ROWS, "targets": 4}, "do not go with its classes"),
        ("LinearRegressor", {"coefficients": ROWS, "targets": 2, "intercepts": [0.1]},
         "intercepts do not go"),
        ("LinearRegressor", {"coefficients": ROWS, "targets": 2, "post_transform": "PROBIT"},
         "post_transform is PROBIT"),
        ("LinearClassifier", {"coefficients": ROWS[:3], "classlabels_ints": [0, 1],
                              "intercepts": [0.1]}, "one row of coefficients"),
        ("Normalizer", {"norm": "L3"}, "norm is L3"),
    ],
)  # fmt: skip
def test_a_linear_model_is_refused(
    op: str, given: dict[str, Any], said: str, imported: Import
) -> None:
    names = "y p" if op == "LinearClassifier" else "y"
    found = imported(of_learning(node(op, "x", names, **given, **ML)))
    assert found.code == 2 and said in found.err, found.err + found.text
