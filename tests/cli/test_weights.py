"""`dln import --weights`: what arrives is what NumPy puts together by hand, whatever the file; what
does not fit is refused, and nothing is written. `docs/weights.md` is read by `test_guide_pages.py`.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save, save_file
from scipy.io import savemat
from scipy.io.matlab import MatlabObject

import dln as library
from dln.weights.taking import ways

NET = """data d = given(x[5], label: class(3))
let net = chain([dense(4, act = tanh), dense(4, act = tanh), dense(3)])
train fit on d batch 2 for 1 epoch dtype float64 {
  minimize cross_entropy(net(x), label) over net with sgd(lr = 0.1)
}
"""
MAP = """# as a spreadsheet writes it
theirs;ours;how;why
a.kernel;net[0].W;transposed;x
a.bias;net[0].b;;
b.kernel[0:2];net[1].W[:, 0:2];transposed;
b.kernel[2:4];net[1].W[:, 2:4];transposed;
c.kernel;net[2].W;reshaped 4 3 axes 1 0 flipped 0;
c.extra;net[2].W;added;
;net[1].b
"""
Dln = Callable[..., Any]


@pytest.fixture
def theirs(tmp_path: Path, dln: Dln) -> dict[str, Any]:
    draw = np.random.default_rng(2)
    shapes = {"a.kernel": (5, 4), "a.bias": (4,), "b.kernel": (4, 4), "c.kernel": (12,),
              "c.extra": (3, 4), "n": (2,)}  # fmt: skip
    Path("net.dln").write_text(NET, "utf-8")
    Path("map.csv").write_text("\ufeff" + MAP.replace("\n", "\r\n"), "utf-8")
    return {k: draw.normal(size=s) for k, s in shapes.items()}


def saved(name: str, arrays: dict[str, Any], packed: bool = False) -> None:
    (np.savez_compressed if packed else np.savez)(name, allow_pickle=False, **arrays)


def test_every_file_brings_the_same(dln: Dln, theirs: dict[str, Any]) -> None:
    c = theirs["c.kernel"].reshape(4, 3).T[::-1] + theirs["c.extra"]
    wanted = {"net[0].W": theirs["a.kernel"].T, "net[0].b": theirs["a.bias"],
              "net[1].W": theirs["b.kernel"].T, "net[2].W": c}  # fmt: skip
    save_file({k: np.ascontiguousarray(a) for k, a in theirs.items()}, "a.safetensors")
    saved("b.npz", theirs)
    turned = {k: np.asfortranarray(a).astype(">f8") for k, a in theirs.items()}
    saved("c.npz", {**turned, "word": np.array("x"), "z": np.zeros(2, complex)}, packed=True)
    flat = {k.replace(".", "_"): a for k, a in theirs.items()}
    savemat("d.mat", {**flat, "s": {"a": 1.0}, "c": np.array(["x", 1], object)})
    savemat("e.mat", flat, do_compression=True)
    chart = Path("map.csv").read_text("utf-8")
    for name in ("a.safetensors", "b.npz", "c.npz", "d.mat", "e.mat"):
        if name.endswith("mat"):
            mat = chart.replace("a.bias;net[0].b;", "a.bias;net[0].b;reshaped")
            mat = mat.replace("a.", "a_").replace("b.", "b_").replace("c.", "c_")
            Path("map.csv").write_text(mat, "utf-8")
        got = dln("import", "--weights", name, "--into", "net.dln", "--map", "map.csv", "--force")
        assert got.code == 0, got.err
        made = load_file("net.safetensors")
        assert made.keys() == wanted.keys()
        assert all((made[k] == a).all() and made[k].dtype == np.float64 for k, a in wanted.items())
        assert "net[1].b  [4]  left out by the map" in got.out and "4 of 6 parameters" in got.out
        assert ("s  is of the class struct" in got.out) == (name == "d.mat")


def test_bfloat16_is_the_upper_half(dln: Dln, theirs: dict[str, Any]) -> None:
    bits = theirs["a.bias"].astype("<f4").view("<u4") >> 16
    raw = save({"a.bias": bits.astype("<u2")})
    head = int.from_bytes(raw[:8], "little")
    text = raw[8 : 8 + head].replace(b'"U16"', b'"BF16"').rstrip()
    Path("h.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + head :])
    Path("m.csv").write_text("theirs,ours\na.bias,net[0].b\n", "utf-8")
    dln("import", "--weights", "h.safetensors", "--into", "net.dln", "--map", "m.csv", "--force")
    made = load_file("net.safetensors")["net[0].b"]
    assert (made == (bits << 16).astype("<u4").view("<f4")).all()


def test_into_a_run_the_rest_stays(dln: Dln, theirs: dict[str, Any]) -> None:
    draw = np.random.default_rng(0)
    np.savez("d.npz", x=draw.normal(size=(4, 5)), label=np.array([0, 1, 2, 0]))
    saved("b.npz", theirs)
    assert dln("run", "net.dln", "-q", "--data", "d=d.npz").code == 0
    got = dln("import", "--weights", "b.npz", "--into", "runs/net-1", "--map", "map.csv",
              "--to", "both.safetensors", "--json")  # fmt: skip
    assert got.data["whole"] and got.data["left_there"] == {"n": "no line of the map names it"}
    before = library.open("runs/net-1")
    opened = library.open("runs/net-1")
    opened.load("both.safetensors")
    assert (opened.params["net[1].b"] == before.params["net[1].b"]).all()
    x = draw.normal(size=(2, 5))
    h = np.tanh(x @ theirs["a.kernel"] + theirs["a.bias"])
    h = np.tanh(h @ theirs["b.kernel"] + before.params["net[1].b"])
    c = theirs["c.kernel"].reshape(4, 3).T[::-1] + theirs["c.extra"]
    y = h @ c.T + before.params["net[2].b"]
    np.testing.assert_allclose(opened.net(x), y, rtol=1e-5, atol=1e-6)
    got = dln("run", "net.dln", "-q", "--data", "d=d.npz", "--from", "both.safetensors")
    assert "6 of 6 parameters" in got.out


WRONG = {
    "a,b\n": "the first line of a map names its columns, not a, b",
    "theirs,ours\na.bias,net[0].b,transposed\n": "3 cells, the first one 2",
    "theirs,ours\na.bias,\n": "no line of m.csv says what goes where",
    "theirs,ours,hwo\n": "each once, not hwo",
    "theirs,ours,how\na.bias,net[0].b,turned\n": "how is no place for turned",
    'theirs,ours,how\na.bias,net[0].b,"x\n': "no line of CSV",
    "theirs,ours\na.kernel,net[0].W\n": "try: a.kernel,net[0].W,transposed",
    "theirs,ours\na.kernel[0:x],net[0].W\n": "[0:x] is no place",
    "theirs,ours\na.bias[9],net[0].b\n": "a.bias is [4], and has no place a.bias[9]",
    "theirs,ours\na.biass,net[0].b\n": "try: a.bias",
    "theirs,ours\na.bias,net[0].c\n": "net[0].c is no parameter of the spec",
    "theirs,ours\na.bias[0:2],net[0].b[0:2]\n": "nothing is put to [2]",
    "theirs,ours\na.bias,net[0].b\na.bias[0],net[0].b[0]\n": "net[0].b[0] is given twice",
    "theirs,ours,how\na.kernel,net[0].W,axes 1 1\n": "axes takes each of 2 axes",
    "theirs,ours,how\na.kernel,net[0].W,reshaped 3 3\n": "has 20 numbers, [3, 3] 9",
    "theirs,ours,how\na.kernel,net[0].W,flipped 2\n": "flipped takes some of the axes",
    "theirs,ours\nbad,net[0].b\n": "bad holds what is no number",
    "theirs,ours\nlarge,net[0].b\n": "net[0].b holds numbers that float32 does not",
    "theirs,ours\nwhole,net[0].b\n": "whole holds int64, and parameters are real numbers",
}


def test_what_does_not_fit_is_told_by_its_line(dln: Dln, theirs: dict[str, Any]) -> None:
    spec = NET.replace(" dtype float64", "")
    Path("net.dln").write_text(spec, "utf-8")
    more = {"bad": np.array([1, np.nan, 0, 0]), "large": np.full(4, 1e300), "whole": np.arange(4)}
    saved("b.npz", {**theirs, **more})
    for text, said in WRONG.items():
        Path("m.csv").write_text(text, "utf-8")
        got = dln("import", "--weights", "b.npz", "--into", "net.dln", "--map", "m.csv")
        assert got.code == 2 and said in got.err and "error[E62" in got.err, (text, got.err)
    assert not Path("net.safetensors").exists()


def test_no_program_is_read(dln: Dln, theirs: dict[str, Any]) -> None:
    np.savez("a.npz", x=np.array([print], object), allow_pickle=True)
    np.savez("good.npz", x=np.ones(4000))
    savemat("b.mat", {"f": MatlabObject(np.zeros((1, 1), [("a", "O")]), "thing")})
    Path("c.pt").write_bytes(b"\x80\x02}.")
    Path("d.npz").write_bytes(b"\x80\x04}.")
    with zipfile.ZipFile("e.npz", "w") as z:
        z.writestr("archive/data.pkl", b"\x80\x02}.")
    Path("f.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    Path("g.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(512, b"\0"))
    for name in ("a.npz", "b.mat", "c.pt", "d.npz", "e.npz", "f.h5", "g.mat", "net.dln"):
        got = dln("import", "--weights", name, "--into", "net.dln")
        assert got.code == 2 and "E625" in got.err and "try: " in got.err, (name, got.err)


def test_a_file_that_lies_is_refused(dln: Dln, theirs: dict[str, Any]) -> None:
    """Cut short anywhere, or with a length that is not there."""
    whole = save({"a.bias": theirs["a.bias"]})
    saved("b.npz", theirs)
    savemat("c.mat", {"a": theirs["a.bias"]})
    files = {"s.safetensors": [whole[:n] for n in (0, 5, 20, len(whole) - 1)],
             "n.npz": [Path("b.npz").read_bytes()[:n] for n in (0, 30, 900)],
             "m.mat": [Path("c.mat").read_bytes()[:n] for n in (140, 170)]}  # fmt: skip
    files["s.safetensors"].append(whole.replace(b"[4]", b"[9]"))
    files["s.safetensors"].append(whole.replace(b"[0,32]", b"[0,99]"))
    files["n.npz"].append(Path("b.npz").read_bytes().replace(b"(4,), }  ", b"(4**9,)}"))
    for name, some in files.items():
        for data in some:
            Path(name).write_bytes(data)
            got = dln("import", "--weights", name, "--into", "net.dln")
            assert got.code == 2 and ("E629" in got.err or "E625" in got.err), (name, got.err)
    assert "E534" in dln("import", "--weights", "nowhere.npz", "--into", "net.dln").err


def test_the_ways_between_shapes_are_all_that_there_are() -> None:
    for shape in ((2, 3), (2, 3, 4), (5, 5, 1, 6), (2, 2, 3), (1, 4)):
        for order in permutations(range(len(shape))):
            target = tuple(shape[n] for n in order)
            if target != shape:
                words = "axes " + " ".join(map(str, order))
                assert words in ways(shape, target) or "transposed" in ways(shape, target)


def test_what_is_proposed(dln: Dln, theirs: dict[str, Any]) -> None:
    """What is clear is the map that was meant; of two of a size the order; the rest is left."""
    named = {"l1.bias": (4,), "l1.kernel": (5, 4), "l2.kernel": (4, 4), "l2.bias": (4,),
             "l3.kernel": (4, 3), "l3.bias": (1, 3)}  # fmt: skip
    saved("b.npz", {k: np.ones(s) for k, s in named.items()})
    got = dln("import", "--weights", "b.npz", "--into", "net.dln", "--map-to", "m.csv")
    lines = [line.split(",")[:3] for line in Path("m.csv").read_text("utf-8").splitlines()]
    assert lines[1:] == [
        ["l1.bias", "net[0].b", ""], ["l1.kernel", "net[0].W", "transposed"],
        ["l2.kernel", "net[1].W", ""], ["l2.bias", "net[1].b", ""],
        ["l3.kernel", "net[2].W", "transposed"], ["l3.bias", "net[2].b", "reshaped"],
    ]  # fmt: skip
    assert "a square" in Path("m.csv").read_text("utf-8") and "m.csv: read it" in got.err
    assert dln("import", "--weights", "b.npz", "--into", "net.dln", "--map", "m.csv").code == 0
