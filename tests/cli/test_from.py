"""`--from` and `load(partial=True)`: what fits by name and shape is taken, as the file holds it.

Files are read, and those of other tools written, by safetensors itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from trials.stopping import next_runs

import dln as library
from dln.grammar.diagnostics import DlnError

TEXT = """
data d = rows([[1, 2, 3], [2, 3, 5], [3, 5, 4], [4, 4, 9]]) {
  x[2] = raw[:2]
  t[1] = raw[2:]
}
const m = 3
block two(x[2]) -> y[1] {
  h = x -> dense(m, act = tanh)
  y = h -> dense(1)
  z = h -> dense(2)
}
let net = two()
train fit on d batch 2 for 2 epochs {
  minimize sum((net(x) - t)^2) + sum(net.z^2) over net with adam(lr = 0.1)
  checkpoint every 1 epoch
}
"""
OTHER = TEXT.replace("dense(2)", "dense(4)").replace("  h =", "  g = x -> dense(1)\n  h =")
OTHER = OTHER.replace("+ sum(net.z^2)", "+ sum(net.z^2) + sum(net.g^2)")
LAST = "checkpoints/update-000000004.safetensors"


@pytest.fixture
def runs(dln: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    (tmp_path / "a.dln").write_text(TEXT, encoding="utf-8")
    (tmp_path / "b.dln").write_text(OTHER, encoding="utf-8")
    assert dln("run", "a.dln", "-q").code == 0
    return dln


def test_a_run_begins_with_what_fits(runs: Callable[..., Any], tmp_path: Path) -> None:
    got = runs("run", "b.dln", "--from", "runs/a-1", "--epochs", "0")
    there, here = load_file(f"runs/a-1/{LAST}"), load_file("runs/b-1/from.safetensors")
    fits = ["net.h.W", "net.h.b", "net.y.W", "net.y.b"]
    assert sorted(here) == fits and all((here[k] == there[k]).all() for k in fits)
    begun = load_file("runs/b-1/checkpoints/update-000000000.safetensors")
    assert all((begun[k] == there[k]).all() for k in fits) and begun["net.g.W"].any()
    assert "4 of 8 parameters from runs/a-1/checkpoints" in got.out
    assert "not taken  net.z.W  is [2, 3] there, [4, 3] here" in got.out
    assert "not taken  net.g.W  is not there" in got.out
    said = json.loads(Path("runs/b-1/manifest.json").read_text("utf-8"))["from"]
    assert said["from"] == "runs/a-1" and said["taken"] == fits
    with pytest.raises(DlnError, match="E541"):  # of the run, though it says nothing of the file
        Path(f"runs/a-1/{LAST}").write_bytes(Path(f"runs/a-1/{LAST}").read_bytes()[:-1])
        library.load("b.dln").compile().session().load("runs/a-1", partial=True)


def test_it_goes_on_and_is_verified_without_the_other(
    runs: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it was stopped before its first checkpoint of its own."""
    runs("run", "b.dln", "--from", "runs/a-1", "--out", "whole", "-q")
    next_runs(monkeypatch)(1)
    runs("run", "b.dln", "--from", "runs/a-1", "--out", "cut", "-q")
    for path in Path("cut/checkpoints").iterdir():
        path.unlink()
    log = Path("cut/log.jsonl")
    log.write_text(log.read_text("utf-8").splitlines(keepends=True)[0], "utf-8")
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    Path("runs/a-1").rename("gone")
    assert runs("run", "--resume", "cut", "-q").code == 0
    one, other = load_file(f"whole/{LAST}"), load_file(f"cut/{LAST}")
    assert one.keys() == other.keys() and all((one[k] == other[k]).all() for k in one)
    assert runs("verify", "whole").code == 0
    save_file({**load_file("whole/from.safetensors"), "net.y.b": np.zeros(1, "f4")},
              "whole/from.safetensors")  # fmt: skip
    got = runs("verify", "whole")
    assert got.code == 1 and "from.copy" in got.out


def test_of_what_is_not_there_nothing_else_is_told(runs: Callable[..., Any]) -> None:
    """No warnings before it, which a wrong word has nothing to do with."""
    Path("w.dln").write_text(TEXT.replace("const m", "const unread = 1, m"), encoding="utf-8")
    got = runs("run", "w.dln", "--from", "nowhere")
    assert "E534" in got.err and "W303" not in got.err and "W303" in runs("check", "w.dln").err
    with pytest.raises(DlnError, match=r"dln.open\(\) missing .*'run'"):
        library.open()  # type: ignore[call-arg]


def test_a_file_of_another_tool(runs: Callable[..., Any]) -> None:
    arrays = {"net.h.W": np.arange(6.0).reshape(3, 2).astype("f2"), "net.y.b": np.ones(1, "i8"),
              "net.h.b": np.array([1, np.nan, 0]), "net.z.b": np.array([1e300, 0]),
              "fc.weight": np.ones(2)}  # fmt: skip
    save_file(arrays, "other.safetensors")
    session = library.load("a.dln").compile().session()
    before = {k: np.array(session.params[k]) for k in session.params}
    taken = session.load("other.safetensors", partial=True)
    assert taken is not None and dict(taken.taken) == {"net.h.W": (3, 2)}
    assert taken.kept["net.y.b"] == taken.kept["net.h.b"] == taken.kept["net.z.b"]
    assert taken.left == {"fc.weight": "is no parameter here, [2]"}
    np.testing.assert_array_equal(session.params["net.h.W"], arrays["net.h.W"])
    assert all((session.params[k] == before[k]).all() for k in before if k != "net.h.W")


def test_a_phase_starts_with_what_a_file_holds(runs: Callable[..., Any], tmp_path: Path) -> None:
    """Of an instance, and of a part of it that is called something else there."""
    there = load_file(f"runs/a-1/{LAST}")
    params = {k: a for k, a in there.items() if ":" not in k}
    save_file(params, "all.safetensors")
    save_file({"enc.W": params["net.h.W"], "enc.b": params["net.h.b"]}, "enc.safetensors")
    line, ends = "  start net := load(%s)\n  minimize", "checkpoints/update-000000000.safetensors"
    spec = TEXT.replace("  minimize", line % '"all.safetensors"')
    Path("c.dln").write_text(spec, "utf-8")
    part = line.replace("net :=", "net.h :=") % '"enc.safetensors"'
    Path("e.dln").write_text(TEXT.replace("  minimize", part.replace('s")', 's").enc')), "utf-8")
    for name, fits in (("c", list(params)), ("e", ["net.h.W", "net.h.b"])):
        assert runs("run", f"{name}.dln", "--epochs", "0", "-q").code == 0
        begun = load_file(f"runs/{name}-1/{ends}")
        same = [k for k in params if k.endswith("W") and (begun[k] == params[k]).all()]
        assert same == [k for k in fits if k.endswith("W")]
    assert runs("verify", "runs/c-1").code == 0
    got = runs("check", "c.dln", "-D", "m=4")
    assert "net.h.W is [3, 2] there, net.h.W is [4, 2]" in got.err and got.code == 2
    Path("e.dln").write_text(TEXT.replace("  minimize", part), "utf-8")
    assert 'try: load("enc.safetensors").enc' in runs("check", "e.dln").err
    save_file({**params, "net.y.b": np.array([np.inf], "f4")}, "all.safetensors")
    got = runs("run", "c.dln")
    assert "E537" in got.err and "net.y.b of all.safetensors holds what is no number" in got.err
    assert "load has been changed" not in got.err
    got = runs("run", "--resume", "runs/c-1", "--epochs", "3")
    assert "E544" in got.err and "all.safetensors of load has been changed" in got.err
