"""No command writes over a file that is there, unless it is told to."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, save_model

from dln.printing import pictures

MINE = b"the work of a week\n"


def command_of(words: str) -> tuple[list[str], list[str]]:
    """The words of a command, and the files behind `:` that it writes."""
    said, _, files = words.partition(" : ")
    return said.split(), files.split()


WRITERS = [
    *map(command_of, [
        "draw line.dln : line.svg",
        "draw line.dln --to net.dot : net.dot",
        "emit line.dln : line.py",
        "emit line.dln --inference --weights run --to use.py : use.py use.npz",
        "emit run --net line --to line.onnx : line.onnx",
        "apply run line --data new.csv --to new.npz : new.npz",
        "compare run --to curves.svg : curves.svg",
        "data pictures.dln --pictures : pictures-data.png",
        "task run weights --out made : made/weights.csv",
        "import net.onnx : net.dln net.safetensors",
        "import --weights w.npz --into line.dln --map-to map2.csv : map2.csv",
        "import --weights w.npz --into line.dln --map map.csv : line.safetensors",
        "import --weights w.npz --into line.dln --map map.csv --to v.safetensors : v.safetensors",
        "results --specs specs --table --to page.md : page.md",
    ])
]  # fmt: skip
PICTURED = (
    f"data d = rows([{[k % 2 for k in range(64)]}]) {{\n  x[64] = raw\n}}\nlet net = dense(1)\n"
)


def model(path: str) -> None:
    """y = x w, as ONNX."""
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 2]) for n in "xy"]
    node = helper.make_node("Gemm", ["x", "w"], ["y"])
    w = helper.make_tensor("w", TensorProto.FLOAT, [2, 2], [1, 2, 3, 4])
    graph = helper.make_graph([node], "g", ports[:1], ports[1:], [w])
    save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)


def test_files_that_are_there_are_kept(
    dln: Any, line: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is left as it is, with all that the command would have written beside; --force writes
    over them, and a second time over its own."""
    monkeypatch.setattr(pictures, "available", lambda: True)
    assert dln("run", line, "--epochs", 2, "--out", "run", "-q").code == 0
    model("net.onnx")
    np.savez("w.npz", a=np.ones((1, 1)), b=np.ones(1))
    Path("map.csv").write_text("ours,theirs,how\nline.W,a,\nline.b,b,\n")
    Path("new.csv").write_text("x\n1\n2\n")
    Path("pictures.dln").write_text(PICTURED)
    Path("made").mkdir()
    Path("specs").mkdir()
    Path("specs/one.dln").write_text("let net = dense(1, init = zero)\n")
    for words, files in WRITERS:
        for file in files:
            Path(file).write_bytes(MINE)
            before = sorted(str(p) for p in Path().rglob("*"))
            got = dln(*words)
            assert got.code == 2 and f"error[E611]: {file} is there already" in got.err, words
            assert "--force to write over it" in got.err
            assert Path(file).read_bytes() == MINE, words
            assert sorted(str(p) for p in Path().rglob("*")) == before, words
            Path(file).unlink()
        for file in files:
            Path(file).write_bytes(MINE)
        assert dln(*words, "--force").code == 0, words
        assert MINE not in [Path(file).read_bytes() for file in files], words
    assert dln("results", "--specs", "specs", "--table", "--to", "page.md").code == 0


def test_directories_with_files_of_their_own(dln: Any, line: Path) -> None:
    """A run and a sweep take a folder that holds other things, but write over none of them."""
    Path("mine").mkdir()
    Path("mine/spec.dln").write_bytes(MINE)
    for command in ("run", "sweep"):
        got = dln(command, line, "--out", "mine")
        assert got.code == 2 and "write over spec.dln" in got.err
    assert [p.read_bytes() for p in Path("mine").iterdir()] == [MINE]
