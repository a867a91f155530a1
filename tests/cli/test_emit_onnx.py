"""`dln emit --to net.onnx`: the page, weights of runs and files, and what is refused. Beside it
stands a session of dln; the models themselves are compared in `tests/exporting`."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comparing.differences import answers

import dln as package
from dln.spec import LIBRARIES, shipped

needs_both = pytest.mark.skipif(
    not (find_spec("onnx") and find_spec("onnxruntime")), reason="needs onnx and onnxruntime"
)


@needs_both
def test_the_page_is_what_the_commands_print(dln: Callable[..., Any]) -> None:
    page = (Path(__file__).parents[2] / "docs/onnx.md").read_text("utf-8")
    spec, commands = re.findall(r"^```\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    Path("parity.dln").write_text(spec)
    for command in re.split(r"^\$ dln ", commands, flags=re.MULTILINE)[1:]:
        line, _, expected = command.partition("\n")
        got = dln(*line.split())
        assert got.code == 0, got.err
        if expected:
            assert got.err == expected
    (code,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    found: dict[str, Any] = {}
    exec(code, found)
    assert np.round(found["y"]).tolist() == [1.0, 0.0]
    told = re.findall(r"^\| (\w+) \| (\d+) \|", page[page.index("<!-- table -->") :], re.MULTILINE)
    assert len(told) > 35 and {name for name, _ in told} <= {*shipped()} - {*LIBRARIES}


@needs_both
def test_the_weights_of_a_run_and_of_a_file(dln: Callable[..., Any], line: Path) -> None:
    dln("run", str(line), "--out", "r", "--quiet")
    session = package.open("r")
    session.save("w.safetensors")
    x = np.array([[0.5], [2.0]], np.float32)
    wanted, files = session.line(x), list[bytes]()
    for words in (("r",), (str(line), "--weights", "r"), (str(line), "--weights", "w.safetensors")):
        got = dln("emit", *words, "--to", "net.onnx", "--json", "--force")
        assert got.code == 0, got.err
        files.append(Path("net.onnx").read_bytes())
    assert files[0] == files[2]
    for data in files:
        (y,) = answers(data, {"x": x}).values()
        assert np.allclose(y, wanted, atol=1e-6)
    got = dln("emit", str(line), "--to", "net.onnx", "--dtype", "float64", "--json", "--force")
    assert got.data["dtype"] == "float64" and got.data["operators"] == 1


def test_what_is_no_model_is_refused(dln: Callable[..., Any]) -> None:
    assert "E560" in dln("emit", "mlp", "--to", "net.onnx", "--net", "nett").err
    assert "ask for R.up" in dln("emit", "rbm", "--to", "net.onnx", "--net", "R").err
    assert "E565" in dln("emit", "contrast", "--to", "net.onnx").err
    assert "--to net.py --slow" in dln("emit", "mlp", "--to", "net.onnx", "--slow").err
    assert "--to mlp.onnx --net NAME" in dln("emit", "mlp", "--net", "net").err
    assert "--to net.onnx" in dln("emit", "mlp", "--to", "net.onx").err
    assert "--to net.onnx" in dln("emit", "mlp", "--to", ".onnx").err
    assert "E565" in dln("emit", "rnn_modes", "--to", "n.onnx", "--net", "modes[3].step").err
    Path("mlp").mkdir()  # no run, and the name of a spec
    assert "E560" in dln("emit", "mlp", "--to", "net.onnx", "--net", "nett").err
    Path("mlp").rmdir()
    assert not list(Path().iterdir())
