"""`dln import net.onnx`: what it writes word for word, and that it computes what onnxruntime does.

The command compares both for random inputs and fails where they differ by more than 1e-5 of the
largest number, or 1e-10 in double precision; here it must have compared, and agreed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graphs import making
from graphs.making import Imported, agreed, model, node, weights

import dln

Import = Callable[..., Imported]
imported = making.imported

MLP = model(
    [node("Gemm", "x fc1.weight fc1.bias", "a", transB=1), node("Relu", "a", "b"),
     node("Gemm", "b fc2.weight fc2.bias", "c", transB=1), node("Softmax", "c", axis=1)],
    {"x": ["n", 4]},
    {"fc1.weight": weights(5, 4), "fc1.bias": weights(5), "fc2.weight": weights(3, 5),
     "fc2.bias": weights(3)},
)  # fmt: skip
TEXT = """\
# Read from net.onnx, written by hand: 43 parameters,
# whose values are in net.safetensors.
#
#     session = dln.load("net.dln").compile().session()
#     session.load("net.safetensors")
#     session.net(x)                     # x is [examples, 4]
#
# To train it further, hand it data and let a phase begin with these values:
#
#     data examples = given(x[4], label: class(3))
#     train further on examples batch 32 for 5 epochs {
#       start net := load("net.safetensors")
#       y = net(x)
#       minimize nll(y, label) over net with adam()
#     }

block network(x[4]) -> y[3]: prob {
  fc1 = x -> dense(5, act = relu)
  fc2 = fc1 -> dense(3)
  y = softmax(fc2)
}
let net = network()

check "as many parameters as in net.onnx" {
  x ~ normal(zeros(4), 1)
  expect shape(net(x)) == [3]
  expect params(net) == 43
}
"""


def test_a_spec_is_written_that_can_be_applied_and_trained(imported: Import) -> None:
    MLP.producer_name = "hand"
    found = imported(MLP)
    agreed(found)
    assert found.text == TEXT
    assert "wrote net.dln" in found.err and "43 parameters" in found.err
    session = dln.load("net.dln").compile().session()
    session.load("net.safetensors")
    x = np.random.default_rng(1).standard_normal((6, 4)).astype(np.float32)
    y = session.net(x)
    assert y.shape == (6, 3) and np.allclose(y.sum(1), 1)
    comment = TEXT[TEXT.index("#     data") : TEXT.index("\nblock")]
    phase = "\n".join(line[6:] for line in comment.split("\n"))
    Path("more.dln").write_text(found.text + "\n" + phase)
    label = np.array([0, 1, 2, 0, 1, 2])
    further = dln.load("more.dln", data={"examples": (x, label)}).compile().session()
    before = further.train("further", epochs=0)
    assert before is not None
    start = {k: np.array(v) for k, v in session.params.items()}
    for k, v in further.params.items():
        assert np.array_equal(np.asarray(v), start[k]), k
    further.train("further")
    assert any(not np.array_equal(np.asarray(v), start[k]) for k, v in further.params.items())


IMAGE = {"x": ["n", 2, 7, 8]}
CASES: dict[str, tuple[Any, list[str]]] = {
    "a convolution with a border, pooled, flattened": (
        model([node("Conv", "x K b", "c", pads=[1, 1, 1, 1]), node("Relu", "c", "r"),
               node("MaxPool", "r", "p", kernel_shape=[2, 2], strides=[2, 2]),
               node("Flatten", "p", "f"), node("MatMul", "f W", "m"), node("Add", "m d")],
              IMAGE,
              {"K": weights(3, 2, 3, 3), "b": weights(3), "W": weights(36, 4), "d": weights(4)}),
        ['h1 = x -> conv(3, 3, border = 1, act = relu)', 'max_pool(rest = "cut")', "dense(4)"]),
    "sizes that TensorFlow keeps, oblong filters, groups": (
        model([node("Conv", "x K", "c", auto_pad="SAME_UPPER", strides=[2, 2]),
               node("Conv", "c L b", "d", pads=[0, 1, 0, 0], dilations=[1, 2]),
               node("Conv", "d M", "e", group=4, pads=[1, 1, 1, 1]),
               node("GlobalAveragePool", "e")],
              IMAGE, {"K": weights(4, 2, 3, 3), "L": weights(4, 4, 2, 1), "b": weights(4),
                      "M": weights(4, 1, 3, 3)}),
        ["depthwise_conv(3, border = 1", "sum("]),
    "means that count the border or not, and last windows that hang over": (
        model([node("AveragePool", "x",
               "a", kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2]),
               node("AveragePool", "x", "b", kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2],
                    count_include_pad=1),
               node("MaxPool", "x", "c", kernel_shape=[3, 2], strides=[2, 2], ceil_mode=1),
               node("MaxPool", "x", "d", kernel_shape=[3, 3], pads=[0, 1, 1, 0], strides=[2, 2]),
               node("Add", "a b", "s"), node("ReduceMean", "c", "u", axes=[2, 3], keepdims=1),
               node("ReduceMax", "d", "v", axes=[2, 3], keepdims=1), node("Add", "s u", "t"),
               node("Mul", "t v")], IMAGE, {}, opset=13),
        ["mean_pool(3, stride = 2)"]),
    "the adjoint of a convolution": (
        model([node("ConvTranspose", "x K b", "c", strides=[2, 2], pads=[1, 1, 1, 1],
                    output_padding=[1, 1]), node("Sigmoid", "c", "s"),
               node("ConvTranspose", "s L", strides=[2, 2])],
              IMAGE, {"K": weights(2, 3, 3, 3), "b": weights(3), "L": weights(3, 1, 2, 2)}),
        ["+= sum(", "conv_transpose(1, 2, stride = 2, b = zeros(1))"]),
    "normalisation of a batch, of a row, of maps": (
        model([node("BatchNormalization", "x g b m v", "n", epsilon=1e-3),
               node("InstanceNormalization", "n g b", "i"),
               node("LayerNormalization", "i h k", "l"),
               node("ReduceSum", "l ax", "s", keepdims=0), node("BatchNormalization", "s g b m v")],
              IMAGE, {"g": weights(2), "b": weights(2), "m": weights(2), "v": weights(2) ** 2,
                      "h": weights(8), "k": weights(8), "ax": np.array([-1, -2])}),
        ["batch_norm_maps(eps = 0.001)", "batch_norm()", "layer_norm()"]),
    "factors of a product, both ways round": (
        model([node("Gemm", "x W b", "a", alpha=0.5, beta=2.0, transB=1), node("Gemm", "a V", "c"),
               node("MatMul", "U c2", "z"), node("Unsqueeze", "c ax", "c2"), ][:2]
              + [node("Unsqueeze", "c ax", "c2"), node("MatMul", "U c2", "z"),
                 node("Squeeze", "z ax")],
              {"x": ["n", 3]}, {"W": weights(4, 3), "b": weights(4), "V": weights(4, 3),
                                "U": weights(2, 3), "ax": np.array([2])}),
        ["dense(4)", "dense(3, b = zeros(3))"]),
    "activations": (
        model([node("LeakyRelu", "x", "a"), node("Elu", "a", "b", alpha=0.5),
               node("Selu", "b", "c"),
               node("HardSigmoid", "c", "d"), node("Softplus", "d", "e"),
               node("Clip", "e lo hi", "f"),
               node("PRelu", "f s", "g"), node("Erf", "g", "h"), node("Softsign", "h", "i"),
               node("ThresholdedRelu", "i", "j", alpha=0.1), node("Ceil", "x", "k"),
               node("Max", "j k x", "l"), node("Mean", "l x", "m"), node("Abs", "m", "n"),
               node("Sqrt", "n", "o"), node("Pow", "o two", "p"), node("Tanh", "p")],
              {"x": ["n", 4]}, {"lo": np.float32(0.71), "hi": np.float32(0.9), "s": weights(4),
                                "two": np.float32(2)}),
        ["leaky_relu(x)", "selu(", "hmin"][:2]),
    "comparisons, choices, the largest": (
        model([node("Greater", "x z", "g"), node("Cast", "g", "f", to=1), node("Mul", "f x", "m"),
               node("Less", "x o", "l"), node("And", "g l", "b"), node("Where", "b x m", "w"),
               node("ArgMax", "w", "k", axis=1, keepdims=0), node("Gather", "T k")],
              {"x": ["n", 4]}, {"z": np.float32(0), "o": weights(4), "T": weights(4, 3)}),
        ["argmax(", "embedding(3)"]),
    "axes moved, cut, put together": (
        model([node("Transpose", "x", "t", perm=[0, 2, 3, 1]), node("Slice", "t s e a st", "u"),
               node("Split", "u", "p q", axis=1), node("Concat", "q p", "c", axis=-1),
               node("Pad", "c w", "d"), node("Reshape", "d r", "f"), node("Gather", "f k", axis=1)],
              {"x": ["n", 2, 6, 8]},
              {"s": np.array([1, -1]), "e": np.array([7, -9]), "a": np.array([2, 1]),
               "st": np.array([2, -1]),
               "w": np.array([0, 0, 1, 0, 0, 0, 2, 0]), "r": np.array([-1, 3, 12, 2]),
               "k": np.array([0, 2])}, opset=13),
        ["concat("]),
    "what stands between a layer and a sum": (
        model([node("MatMul", "x W", "m"), node("Relu", "m", "r"), node("Add", "r b", "a"),
               node("Einsum", "a V", "e", equation="ni,ij->nj"),
               node("Unsqueeze", "e ax", "e2"), node("Tile", "e2 two", "t"),
               node("Mul", "t e2", "u"), node("ReduceProd", "u", axes=[1], keepdims=0)],
              {"x": ["n", 3]}, {"W": weights(3, 4), "b": weights(4), "V": weights(4, 2),
                                "ax": np.array([1]), "two": np.array([1, 2, 1])}),
        ["dense(4, b = zeros(4), act = relu)", "(h1[j] + w1[j])"]),
    "attention over a fixed number of rows": (
        model([node("MatMul", "x Q", "q"), node("MatMul", "x K", "k"), node("MatMul", "x V", "v"),
               node("Reshape", "q h", "q4"), node("Reshape", "k h", "k4"),
               node("Reshape", "v h", "v4"),
               node("Transpose", "q4", "qt", perm=[0, 2, 1, 3]),
               node("Transpose", "k4", "kt", perm=[0, 2, 3, 1]),
               node("Transpose", "v4", "vt", perm=[0, 2, 1, 3]), node("MatMul", "qt kt", "s"),
               node("Div", "s two", "d"), node("Softmax", "d", "w", axis=-1),
               node("MatMul", "w vt", "o"), node("Transpose", "o", "ot", perm=[0, 2, 1, 3]),
               node("Reshape", "ot back", "r"), node("Add", "r x")],
              {"x": ["n", 5, 8]}, {"Q": weights(8, 8), "K": weights(8, 8), "V": weights(8, 8),
                                   "h": np.array([0, 0, 2, 4]), "back": np.array([0, 0, 8]),
                                   "two": np.float32(2)}),
        ["softmax("]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_it_computes_what_the_file_says(name: str, imported: Import) -> None:
    made, lines = CASES[name]
    found = imported(made)
    agreed(found)
    for line in lines:
        assert line in found.block, found.block


def recurrent(op: str, gates: int, m: int, ways: int, **more: Any) -> Any:
    """A layer over open sequences, [steps, examples, n], and a line of all its results."""
    direction = {1: "forward", 2: "bidirectional"}[ways]
    nodes = [
        node(op, "x W R B", "h e", hidden_size=m, **{"direction": direction, **more}),
        node("Transpose", "h", "t", perm=[2, 0, 1, 3]), node("Reshape", "t shape", "s"),
        node("MatMul", "s V", "y"), node("Transpose", "e", "f", perm=[1, 0, 2]),
        node("Flatten", "f", "z"),
    ]  # fmt: skip
    return model(
        nodes, {"x": ["steps", "batch", 3]},
        {"W": weights(ways, gates * m, 3), "R": weights(ways, gates * m, m),
         "B": weights(ways, 2 * gates * m), "shape": np.array([0, 0, ways * m]),
         "V": weights(ways * m, 2)}, "y z",
    )  # fmt: skip


LAYERS = {
    "lstm(4)": recurrent("LSTM", 4, 4, 1),
    "both(lstm(4), lstm(4))": recurrent("LSTM", 4, 4, 2),
    "gru(4)": recurrent("GRU", 3, 4, 1),
    "late_gru(4)": recurrent("GRU", 3, 4, 1, linear_before_reset=1),
    "rnn(4)": recurrent("RNN", 1, 4, 1),
    "reversed(x) -> relu_rnn(4)": recurrent(
        "RNN", 1, 4, 1, activations=["Relu"], direction="reverse"
    ),
}


@pytest.mark.parametrize("line", LAYERS)
def test_recurrent_layers_keep_their_gates(line: str, imported: Import) -> None:
    found = imported(LAYERS[line])
    agreed(found)
    assert line in found.block
    assert "const steps = 10" in found.text


def test_what_comes_again_is_a_block(imported: Import) -> None:
    nodes, held = list[Any](), {"bars": np.triu(np.full((3, 3), -np.inf, np.float32), 1)}
    for k in (1, 2):
        held |= {f"fc{k}.weight": weights(4, 4), f"fc{k}.bias": weights(4)}
        held |= {f"norm{k}.g": weights(4), f"norm{k}.b": weights(4)}
        into, out = ("x", "a") if k == 1 else ("a", "y")
        nodes += [
            node("Transpose", into, f"t{k}", perm=[0, 2, 1]),
            node("MatMul", f"{into} t{k}", f"s{k}"),
            node("Add", f"s{k} bars", f"m{k}"), node("Softmax", f"m{k}", f"w{k}", axis=-1),
            node("MatMul", f"w{k} {into}", f"v{k}"),
            node("LayerNormalization", f"v{k} norm{k}.g norm{k}.b", f"n{k}"),
            node("MatMul", f"n{k} fc{k}.weight", f"f{k}"), node("Add", f"f{k} fc{k}.bias", f"g{k}"),
            node("Add", f"g{k} {into}", out),
        ]  # fmt: skip
    found = imported(model(nodes, {"x": ["n", 3, 4]}, held))
    agreed(found)
    assert "block layer(x[3, 4]; bars) -> y[3, 4] {" in found.text
    assert found.block.endswith(
        "  fixed bars[3, 3] = 0\n  layer1 = x -> layer(bars)\n  y = layer1 -> layer(bars)\n}"
    )


def test_a_number_of_examples_is_no_weight(imported: Import) -> None:
    """A file that leaves it open has no number for it."""
    nodes = [
        node("Shape", "x", "s"), node("Gather", "s zero", "n"), node("Cast", "n", "f", to=1),
        node("Div", "x f"),
    ]  # fmt: skip
    found = imported(model(nodes, {"x": ["n", 2]}, {"zero": np.array(0)}))
    assert found.code == 2 and "the number of examples or steps" in found.err


def test_an_embedding_over_open_sequences(imported: Import) -> None:
    found = imported(
        model([node("Gather", "emb.weight c", "e"),
               node("ReduceMean", "e", "m", axes=[1], keepdims=0),
               node("Gemm", "m W", "y")],
              {"c": ("batch", "seq")}, {"emb.weight": weights(9, 4), "W": weights(4, 2)})
    )  # fmt: skip
    agreed(found)
    assert "block network(c[time]: class(9)) -> y[2] {\n  emb = c -> embedding(4)" in found.block


def test_double_precision_stays_so(imported: Import) -> None:
    found = imported(
        model([node("MatMul", "x W", "a"), node("Add", "a b", "c"),
               node("Tanh", "c")], {"x": [3, 4]},
              {"W": weights(4, 2, dtype=np.float64), "b": weights(2, dtype=np.float64)}, kind=11)
    )  # fmt: skip
    agreed(found)
    assert 'compile(dtype="float64")' in found.text and "dense(2, act = tanh)" in found.text


def test_a_linear_model_of_scikit_learn(imported: Import) -> None:
    nodes = [
        node("Scaler", "x", "s", domain="ai.onnx.ml", offset=[1.0, 2.0], scale=[0.5, 2.0]),
        node("LinearClassifier", "s", "kind p", domain="ai.onnx.ml", classlabels_ints=[0, 1, 2],
             coefficients=[1.0, 2.0, -1.0, 0.5, 0.1, 0.2], intercepts=[0.1, 0.2, 0.3],
             post_transform="SOFTMAX"),
        node("Normalizer", "p", "q", domain="ai.onnx.ml", norm="L1"),
    ]  # fmt: skip
    made = model(nodes, {"x": ["n", 2]}, {}, "kind q")
    made.graph.output[0].type.tensor_type.elem_type = 7
    found = imported(made)
    agreed(found)
    assert "kind: class(3)" in found.block
