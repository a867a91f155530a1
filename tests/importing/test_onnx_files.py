"""Files that nobody made in earnest: each is answered with a spec or with one message, soon.

Mutants of small models go through reading, understanding and writing; nothing is compiled of them.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graphs.making import model, node, weights
from onnx import TensorProto, helper

from dln.grammar.diagnostics import DlnError
from dln.importing import onnx_file
from dln.importing.spec_text import spec_of
from dln.importing.walking import understood

SMALL = [
    model([node("Conv", "x K b", "c", pads=[1, 1, 1, 1], strides=[2, 2]), node("Relu", "c", "r"),
           node("MaxPool", "r", "p", kernel_shape=[2, 2], ceil_mode=1), node("Flatten", "p", "f"),
           node("Gemm", "f W", "g", transB=1), node("Softmax", "g", axis=1)],
          {"x": ["n", 1, 6, 6]}, {"K": weights(2, 1, 3, 3), "b": weights(2), "W": weights(3, 8)}),
    model([node("Transpose", "x", "t", perm=[1, 0, 2]),
           node("LSTM", "t U R B", "h e", hidden_size=2, direction="bidirectional"),
           node("Transpose", "h", "u", perm=[2, 0, 1, 3]), node("Reshape", "u s"),],
          {"x": ["batch", "seq", 3]},
          {"U": weights(2, 8, 3), "R": weights(2, 8, 2), "B": weights(2, 16),
           "s": np.array([0, 0, 4])}),
    model([node("Shape", "x", "a"), node("Gather", "a one", "k"), node("Unsqueeze", "k zero", "l"),
           node("Concat", "l minus", "m", axis=0), node("Reshape", "x m", "r"),
           node("Slice", "r zero two one1", "s"), node("Split", "s", "p q", axis=1),
           node("Concat", "p q", "c", axis=-1), node("Pad", "c w"),],
          {"x": [2, 4, 2]}, {"one": np.array(0), "zero": np.array([0]), "minus": np.array([-1]),
                             "two": np.array([6]), "one1": np.array([1]),
                             "w": np.array([0, 1, 0, 1])}, opset=13),
]  # fmt: skip


def answered(raw: bytes, path: Path) -> str:
    """The code of what was wrong; nothing where a spec was written."""
    path.write_bytes(raw)
    try:
        found = onnx_file.read(path)
        spec_of(found, understood(found), path.with_suffix(".dln"))
    except DlnError as error:
        assert len(error.problems) == 1 and len(str(error)) < 600, str(error)
        return error.problems[0].code
    return ""


def mutant(raw: bytes, rng: random.Random) -> bytes:
    """Some bytes changed, left out, or put twice."""
    held = bytearray(raw)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at, way = rng.randrange(len(held)), rng.randrange(4)
        if way == 0:
            held[at] = rng.randrange(256)
        elif way == 1:
            held[at] ^= 1 << rng.randrange(8)
        elif way == 2:
            del held[at : at + rng.randrange(1, 20)]
        else:
            held[at:at] = held[at : at + rng.randrange(1, 20)]
        held = held or bytearray(b"\0")
    return bytes(held)


def test_a_mutant_is_read_or_answered(tmp_path: Path) -> None:
    rng = random.Random(0)
    seen = {answered(mutant(m.SerializeToString(), rng), tmp_path / "net.onnx")
            for m in SMALL for _ in range(120)}  # fmt: skip
    assert {"", "E615", "E616"} <= seen <= {"", "E615", "E616", "E617", "E619", "E621"}


def larger(change: Callable[[Any], object]) -> bytes:
    made = model([node("Add", "x w")], {"x": ["n", 2]}, {"w": weights(2)})
    change(made)
    return bytes(made.SerializeToString())


def outside(place: str, **more: str) -> Callable[[Any], object]:
    def change(made: Any) -> None:
        t = made.graph.initializer[0]
        t.ClearField("raw_data")
        t.data_location = TensorProto.EXTERNAL
        for key, value in {"location": place, **more}.items():
            t.external_data.add(key=key, value=value)

    return change


def negative(made: Any) -> None:
    made.graph.initializer[0].dims[0] = -2


def growing(made: Any) -> None:
    """2 * 10^10 numbers, all of them the same."""
    size = helper.make_tensor("s", TensorProto.INT64, [3], [10**5, 10**5, 2])
    made.graph.initializer.append(size)
    made.graph.node.extend([node("Expand", "w s", "e"), node("Add", "e e", "f")])


def claiming(made: Any) -> None:
    made.graph.initializer[0].dims[:] = [10**6, 10**6]


BAD: dict[str, tuple[bytes, str]] = {
    "a header that claims 10^12 numbers": (larger(claiming), "its shape asks for 4,000"),
    "dimensions below 0": (larger(negative), "shape"),
    "nothing": (b"", "holds no graph"),
    "a text": (b"import torch\n" * 9, "no ONNX model"),
    "a path upwards": (larger(outside("../w.bin")), "no file beside the model"),
    "an absolute path": (larger(outside("/etc/passwd")), "no file beside the model"),
    "a link that leads out": (larger(outside("link.bin")), "a link that leaves the folder"),
    "a file that is too short": (larger(outside("short.bin")), "8 bytes that are not there"),
    "a file that is not there": (larger(outside("none.bin")), "cannot be read"),
    "an offset that is none": (larger(outside("short.bin", offset="-4")), "not there"),
    "a device": (larger(outside("pipe")), "no ordinary file"),
    "a graph in a node": (
        larger(lambda m: m.graph.node.append(
            helper.make_node("If", ["x"], ["z"], then_branch=m.graph, else_branch=m.graph))),
        "If (node 2): this operator is not known here"),
    "an attribute nobody knows": (
        larger(lambda m: m.graph.node[0].attribute.append(helper.make_attribute("fast", 1))),
        "Add (node 1): its attribute fast is not known here"),
    "a tensor that nothing gives": (
        larger(lambda m: m.graph.node[0].input.__setitem__(1, "v")), "nothing before it gives v"),
    "a constant too large to be made": (
        larger(growing),
        "more constants than are worked out"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_said_at_once(name: str, tmp_path: Path) -> None:
    raw, said = BAD[name]
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "w.bin").write_bytes(bytes(8))
    (folder / "link.bin").symlink_to(tmp_path / "w.bin")
    (folder / "short.bin").write_bytes(bytes(4))
    os.mkfifo(folder / "pipe")
    (folder / "net.onnx").write_bytes(raw)
    with pytest.raises(DlnError) as caught:
        understood(onnx_file.read(folder / "net.onnx"))
    assert said in str(caught.value)


def test_weights_beside_the_model_are_read(tmp_path: Path) -> None:
    raw = larger(outside("w.bin", offset="4"))
    (tmp_path / "w.bin").write_bytes(np.arange(3, dtype=np.float32).tobytes())
    (tmp_path / "net.onnx").write_bytes(raw)
    assert onnx_file.read(tmp_path / "net.onnx").constants["w"].tolist() == [1, 2]
