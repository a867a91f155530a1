"""Models of a few nodes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from dln.cli import carried_out

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


def agreed(found: Imported) -> None:
    """It was compared with onnxruntime, and is alike."""
    assert found.code == 0, found.err + found.text
    assert "largest difference from onnxruntime" in found.out, found.err


@pytest.fixture
def imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Imported]:
    """What `dln import net.onnx` says and writes, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(made: Any, *words: str) -> Imported:
        Path("net.onnx").write_bytes(made if isinstance(made, bytes) else made.SerializeToString())
        code = carried_out(["import", "net.onnx", *words])
        said = capsys.readouterr()
        text = Path("net.dln").read_text() if Path("net.dln").exists() else ""
        return Imported(code, said.out, said.err, text)

    return run
