"""Models of a few nodes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

DRAW = np.random.default_rng(0)


def node(op: str, inputs: str, outputs: str = "", **attributes: Any) -> Any:
    """A node; names of tensors are words, `-` is an input that is left out."""
    names = ["" if w == "-" else w for w in inputs.split()]
    return helper.make_node(op, names, outputs.split() or ["y"], **attributes)


def weights(*shape: int, dtype: Any = np.float32) -> Any:
    return (DRAW.standard_normal(shape) / 2).astype(dtype)


def model(
    nodes: Sequence[Any], inputs: dict[str, Any], constants: dict[str, Any], outputs: str = "y",
    opset: int = 17, kind: int = TensorProto.FLOAT,
) -> Any:  # fmt: skip
    """A model; an input is a list of sizes, "n" an open one, and of classes where it is a tuple."""
    ports = [
        helper.make_tensor_value_info(k, TensorProto.INT64 if isinstance(v, tuple) else kind, [*v])
        for k, v in inputs.items()
    ]
    results = [helper.make_tensor_value_info(k, kind, None) for k in outputs.split()]
    held = [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
    graph = helper.make_graph([*nodes], "g", ports, results, held)
    sets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=sets, ir_version=8)


@dataclass
class Imported:
    code: int
    out: str
    err: str
    text: str

    @property
    def block(self) -> str:
        """The lines of the block."""
        start = self.text.index("\nblock network") + 1
        return self.text[start : self.text.index("\nlet net")]
