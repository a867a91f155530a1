"""`dln apply` and `dln.open`: new data through what a run has learnt.

The oracle is the network in NumPy, on numbers read off the rows by hand; and the session itself,
for what is said to be the same bits.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas  # type: ignore[import-untyped]
import pyarrow.parquet as parquet
import pytest

import dln as library
from dln import cli
from dln import open as open_run
from dln.applying import pieces
from dln.grammar.diagnostics import DlnError
from dln.runtime.checkpoint.rundir import RunDirectory
from dln.runtime.readers.table import arrow
from dln.runtime.readers.table import pieces as table_pieces

Dln = Callable[..., Any]

SPEC = """
data flowers = table("flowers.csv") {
  x[2] = standardised([raw["sepal length"], raw.width])
  soil: class = raw.soil
  day = raw.picked - 20454
  kind: class = raw.kind
  split fit 0.8, valid 0.2 shuffled by kind
  set missing = mean
}
block flower(x[2], soil: class(3), day) -> y[2] {
  h = concat(x, onehot(soil), [day / 300]) -> dense(4, act = tanh)
  y = h -> dense(2)
}
let net = flower()

train learn on flowers.fit batch 8 for 8 epochs {
  minimize cross_entropy(net(x, soil, day), kind) over net with adam(lr = 0.05)
  watch wrong = argmax(net(x, soil, day)) != kind on flowers.valid
}
train sink on flowers batch all for 1 update {
  minimize sum((flat(x) - onehot(kind))^2) over flat with sgd(lr = 0.1)
}
let flat = dense(2)
let scaled = dense(2)
train tenth on flowers batch all for 1 update {
  minimize cross_entropy(scaled(x / 10), kind) over scaled with sgd(lr = 0.1)
}
"""
SOILS = ("clay", "loam", "sand")


def rows() -> Iterator[list[str]]:
    rng = np.random.default_rng(4)
    for i in range(60):
        kind = ("rose", "tulip")[i % 2]
        size = rng.normal(5 + i % 2, 0.3, 2).round(2)
        width = "NA" if i in (7, 31) else str(size[1])
        day = f"2026-0{4 + i % 5}-{10 + i % 17}"
        yield [f"F{i}", day, str(size[0]), width, SOILS[i % 3], kind]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of the spec, whose spec and data are gone."""
    made, before = tmp_path_factory.mktemp("flowers"), Path.cwd()
    os.chdir(made)
    try:
        table = ["id,picked,sepal length,width,soil,kind", *map(",".join, rows())]
        Path("flowers.csv").write_text("\n".join(table) + "\n")
        Path("flowers.dln").write_text(SPEC)
        assert cli.carried_out(["run", "flowers.dln", "-q", "--out", "run"]) == 0
        os.remove("flowers.csv")
        os.remove("flowers.dln")
    finally:
        os.chdir(before)
    return made


@pytest.fixture
def at(folder: Path, tmp_path: Path, dln: Dln) -> Path:
    """The same in the folder that commands are given in."""
    shutil.copytree(folder / "run", tmp_path / "run")
    return tmp_path


def by_hand(session: Any, row: list[str]) -> np.ndarray[Any, Any]:
    """The network in NumPy: what it gives for the cells length, width, soil, picked."""
    known = list(rows())
    length, width, soil, picked = row
    measured = next(iter(session.state.measured.values()))
    mean, deviation = (np.asarray(measured[k]) for k in ("mean", "deviation"))
    fit = session.spec.kept.questions
    means = {k: v for _, h in fit.headers() if h.table for k, v in h.table.means.items()}
    wide = means[3] if width in ("NA", "") else float(width)
    assert all(len(r) == 6 for r in known)
    day = (np.datetime64(picked) - np.datetime64("1970-01-01")).astype(int) - 20454
    x = (np.array([float(length), wide]) - mean) / deviation
    onehot = np.eye(3)[SOILS.index(soil)]
    p = {k: np.asarray(v, np.float64) for k, v in session.params.items()}
    h = np.tanh(p["net.h.W"] @ np.concatenate([x, onehot, [day / 300]]) + p["net.h.b"])
    return p["net.y.W"] @ h + p["net.y.b"]


NEW = [["5,4", "4,7", "sand", "2026-05-02"], ["6,1", "", "clay", "2026-08-30"],
       ["5,0", "6,2", "loam", "2026-04-11"], ["4,2", "4,9", "clay", "2026-06-01"]]  # fmt: skip


def test_a_table_of_another_kind_is_found_by_name(at: Path, dln: Dln) -> None:
    """Other order, separator, decimals and letters, no label, a gap; in pieces of three rows."""
    lines = ["Soil;note;Width;picked;sepal length;name"]
    lines += [f'{s};"a; b";{w};{d};{le};N{i}' for i, (le, w, s, d) in enumerate(NEW)]
    Path("new.csv").write_text("\r\n".join(lines) + "\r\n")
    got = dln("apply", "run", "net", "--data", "new.csv", "--keep", "name", "--keep", "note",
              "--probabilities")  # fmt: skip
    assert got.code == 0, got.err
    found = list(csv.DictReader(io.StringIO(got.out)))
    assert list(found[0]) == ["name", "note", "kind", "p rose", "p tulip"]
    session = open_run("run")
    for i, (row, cells) in enumerate(zip(NEW, found, strict=True)):
        z = by_hand(session, [c.replace(",", ".") for c in row[:2]] + row[2:])
        p = np.exp(z) / np.exp(z).sum()
        assert (cells["name"], cells["note"]) == (f"N{i}", "a; b")
        assert cells["kind"] == ("rose", "tulip")[int(z.argmax())]
        np.testing.assert_allclose([float(cells["p rose"]), float(cells["p tulip"])], p, rtol=2e-5)


def test_pieces_have_the_bits_of_the_whole(
    at: Path, dln: Dln, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same file in pieces, by both readers of tables; arrays; what is written is what is given
    back, and what `session.net` gives."""
    table = ["id,picked,sepal length,width,soil", *(",".join(r[:5]) for r in rows())]
    Path("new.csv").write_text("\n".join(table) + "\n")
    session = open_run("run")
    whole = session.apply("net", "new.csv")
    assert set(whole) == {"y", "kind", "probabilities"} and whole["y"].shape == (60, 2)
    assert session.classes["flowers.kind"] == ("rose", "tulip")
    monkeypatch.setattr(table_pieces, "ROWS", 16)
    monkeypatch.setattr(pieces, "ROWS", 16)
    for large in (1 << 30, 0):
        monkeypatch.setattr(arrow, "LARGE", large)
        some = session.predict("net", "new.csv", keep=["id"])
        assert list(some["id"]) == [f"F{i}" for i in range(60)]
        np.testing.assert_allclose(some["y"], whole["y"], rtol=1e-6)
        assert (some["kind"] == whole["kind"]).all()
    for name in ("out.npz", "out.npy", "out.csv", "out.parquet"):
        assert dln("apply", "run", "net", "--data", "new.csv", "--to", name).code == 0
    held = np.load("out.npz")
    assert all((held[k] == some[k]).all() for k in ("y", "kind"))
    assert (np.load("out.npy") == held["y"]).all()
    out = list(csv.DictReader(Path("out.csv").open()))
    assert [r["kind"] for r in out] == list(held["kind"])
    assert parquet.read_table("out.parquet")["kind"].to_pylist() == list(held["kind"])
    flat = session.predict("flat", {"x": np.array([[0.5, 1.0], [2.0, -1.0]])})
    assert (flat["y"] == session.flat(np.array([[0.5, 1.0], [2.0, -1.0]]))).all()
    frame = pandas.read_csv("new.csv", keep_default_na=False)
    with pytest.raises(DlnError, match="E580|E552"):
        session.predict("net", frame[["soil"]])
    np.savez("fields.npz", x=np.ones((3, 2)), soil=[0, 1, 2], day=[1.0, 2.0, 3.0])
    fields = session.apply("net", "fields.npz")["y"]
    assert (fields == session.net(np.ones((3, 2)), np.arange(3), np.array([1.0, 2, 3]))).all()


HEAD = "picked,sepal length,width,soil\n"
GOOD = "2026-05-02,5.1,4.0,sand\n"
WRONG = {
    HEAD + GOOD + "2026-05-02,5.1,4.0,marl\n": ("E513", 'line 3, column 4 ("soil"): "marl"'),
    HEAD + GOOD + "2026-05-02,tall,4.0,sand\n": ("E507", 'line 3, column 2 ("sepal length")'),
    HEAD + GOOD + "20260502,5.1,4.0,sand\n": ("E584", '"20260502", and the column held dates'),
    HEAD + "yesterday,5.1,4.0,sand\n": ("E584", 'line 2, column 1 ("picked"): "yesterday"'),
    HEAD + GOOD + "2026-05-02,5.1,4.0\n": ("E506", "line 3: 3 cells, but 4 above"),
    "picked,length,width,soil\n" + GOOD: ("E580", "has no column sepal length"),
    HEAD: ("E580", "holds no rows"),
    "": ("E503", "holds no rows"),
    HEAD + GOOD + "2026-05-02,1e999,4.0,sand\n": ("E507", '"1e999" is not a number'),
    HEAD + GOOD + "2026-05-02,5.1,4.0,?\n": ("", ",,"),
}


def test_each_wrong_input_has_one_answer(at: Path, dln: Dln) -> None:
    session = open_run("run")
    for text, (code, said) in WRONG.items():
        Path("new.csv").write_text(text)
        if not code:  # the class is missing: a row without a result
            got = dln("apply", "run", "net", "--data", "new.csv", "--keep", "soil")
            assert got.code == 0 and got.out.endswith("\n?,,\n"), got.err
            assert "1 lack something that is read" in got.err
            continue
        with pytest.raises(DlnError) as refused:
            session.predict("net", "new.csv", to="out.csv")
        (problem,) = refused.value.problems
        assert problem.code == code and said in problem.message, problem
    assert not list(at.glob("*out.csv*"))
    Path("new.csv").write_text(HEAD + GOOD)
    asked: list[tuple[str, str, dict[str, Any], str]] = [
        ("net", "gone.csv", {}, "E581"),
        ("net", ".", {}, "E581"),
        ("net", "new.csv", {"keep": ["sole"]}, "E583"),
        ("nets", "new.csv", {}, "E560"),
        ("scaled", "new.csv", {}, "E578"),
        ("net", "new.csv", {"like": "flower"}, "E560"),
    ]
    for net, file, more, code in asked:
        with pytest.raises(DlnError) as refused:
            session.predict(net, file, **more)
        assert [p.code for p in refused.value.problems] == [code], refused.value
    for words, code in {
        ("--to", "out.xlsx"): "E582",
        ("--checkpoint", "best"): "E577",
        ("--to", "no/out.csv"): "E542",
    }.items():
        got = dln("apply", "run", "net", "--data", "new.csv", *words)
        assert got.code != 0 and got.err.count("error[") == 1, (words, got.err)
        assert f"error[{code}]" in got.err
    assert "error[E548]" in dln("apply", "nowhere", "net", "--data", "new.csv").err
    got = dln("apply", "run", "net", "--data", "new.csv", "--to", "out.csv", "--json")
    assert json.loads(got.out)["ports"] == {"x": "x", "soil": "soil", "day": "day"}


def test_several_tables_at_once(at: Path, dln: Dln) -> None:
    """One after the other, each read as it is; rows are counted through and told by their file."""
    head = ["Soil;note;Width;picked;sepal length;name"]
    rows = [f'{s};"a; b";{w};{d};{le};N{i}' for i, (le, w, s, d) in enumerate(NEW)]
    Path("one.csv").write_text("\n".join(head + rows))
    Path("new").mkdir()
    Path("new/b.csv").write_text("\n".join(head + rows[2:]))
    other = [row.replace(",", ".").replace("a; b", "a").replace(";", ",") for row in rows]
    Path("new/a.csv").write_text("\n".join([head[0].replace(";", ","), *other[:2]]))
    whole = dln("apply", "run", "net", "--data", "one.csv", "--keep", "name", "--json").data
    some = dln("apply", "run", "net", "--data", "new/*.csv", "--keep", "name", "--json").data
    assert whole["results"]["name"] == ["N0", "N1", "N2", "N3"] and some["examples"] == 4
    assert some["results"].pop("file") == ["new/a.csv"] * 2 + ["new/b.csv"] * 2
    assert some["results"] == whole["results"]
    session = open_run("run")
    hand = [by_hand(session, [c.replace(",", ".") for c in row[:2]] + row[2:]) for row in NEW]
    shares = [np.exp(z.max()) / np.exp(z).sum() for z in hand]
    np.testing.assert_allclose(some["results"]["probability"], shares, rtol=1e-5)
    Path("new/b.csv").write_text("\n".join([*head, rows[2], rows[3].replace("clay", "mud")]))
    got = dln("apply", "run", "net", "--data", "new/*.csv")
    assert "new/b.csv, line 3" in got.err and not got.out
    got = dln("apply", "run", "net", "--data", "new/*.csv", "--to", "new/a.csv")
    assert "E582" in got.err and Path("new/a.csv").read_text().startswith("Soil")
    assert "no file is called" in dln("apply", "run", "net", "--data", "mew/*.csv").err


def test_other_forms_of_new_data(at: Path, dln: Dln) -> None:
    """Rows that lack something keep their place; several results; a set that was no table."""
    Path("old.csv").write_text("a,b\n1,2\n3,5\n2,2\n5,1\n")
    Path("two.dln").write_text("""data d = table("old.csv") {
  x[1] = [raw.a]
  t = raw.b
  set missing = drop
}
data r = rows([[0, 1, 0], [1, 0, 1]]) {
  x[2] = raw[:2]
  u = raw[2]
}
block pair(x[2]) -> low, map[2] {
  map = x -> dense(2)
  low = map[0]
}
let net = dense(1)
let both = pair()
train fit on d batch all for 1 update {
  minimize (net(x)[0] - t)^2 over net with sgd(lr = 0.01)
}
train more on r batch all for 1 update {
  minimize (both(x).low - u)^2 over both with sgd(lr = 0.01)
}
""")
    assert dln("run", "two.dln", "-q").code == 0
    session = open_run("runs/two-1")
    Path("new.csv").write_text("id,a\nA,2\nB,NA\nC,4\n")
    found = dln("apply", "runs/two-1", "net", "--data", "new.csv", "--keep", "id").out.split()
    (two,), (four,) = session.net(np.array([[2.0], [4.0]]))
    assert found == ["id,y[0]", "A," + str(two), "B,", "C," + str(four)]
    held = session.predict("net", "new.csv")["y"][:, 0]
    assert np.isnan(held).tolist() == [False, True, False] and held[2] == four
    Path("new.csv").write_text("p,q\n0.5,2\n")
    rows = list(csv.DictReader(io.StringIO(
        dln("apply", "runs/two-1", "both", "--data", "new.csv", "--keep", "p").out)))  # fmt: skip
    by_name = session.both(np.array([[0.5, 2.0]]))
    assert list(rows[0]) == ["p", "low", "map[0]", "map[1]"] and rows[0]["p"] == "0.5"
    assert np.float32(rows[0]["low"]) == by_name["low"][0]
    assert [np.float32(rows[0][f"map[{i}]"]) for i in (0, 1)] == by_name["map"][0].tolist()
    np.save("x.npy", np.array([[0.5, 2.0], [1.0, 1.0]], np.float32))
    assert (session.predict("both", "x.npy")["low"][:1] == by_name["low"]).all()


def test_what_is_no_run_is_refused(at: Path, dln: Dln) -> None:
    session = open_run("run")
    assert session.spec.name == "flowers" and session.results["learn"].watch["wrong"] >= 0
    last = sorted(Path("run/checkpoints").glob("update-*"))[-1]
    assert session.checkpoint == str(last) and not session.notes
    named = open_run("run", checkpoint=last.name)
    assert all((named.params[k] == v).all() for k, v in session.params.items())
    shutil.copytree("run", "other")
    Path("other/spec.dln").write_text("let a = 1\n")
    Path("python").mkdir()
    Path("python/log.jsonl").write_text('{"event": "end", "phase": "fit"}\n')
    shutil.copytree("run", "early")
    shutil.rmtree("early/checkpoints")
    for name, code in {"other": "E541", "python": "E577", "early": "E541", ".": "E548"}.items():
        with pytest.raises(DlnError) as refused:
            open_run(name)
        assert refused.value.problems[0].code == code, (name, refused.value)


def test_a_run_that_python_trains_is_opened_too(dln: Dln) -> None:
    """In a new directory it leaves what is asked for; on what it was trained nobody knows, so that
    it is not replayed."""
    spec = "data d = given(x[n], label: class(k))\nlet net = dense(k)\ntrain fit on d batch 3 for "
    spec += "2 epochs {\n  minimize cross_entropy(net(x), label) over net with sgd(lr = 0.1)\n}\n"
    x, label = np.arange(12.0).reshape(6, 2) / 10, np.arange(6) % 3
    session = library.load(spec, data={"d": (x, label)}).compile(dtype="float64").session(seed=4)
    session.train(rundir=RunDirectory.create("mine", "mine"))
    session.train("fit", rundir=RunDirectory.reopen("mine"))
    opened = open_run("mine")
    assert not opened.notes and (opened.net(x) == session.net(x)).all()
    assert opened.params["net.W"].dtype == np.float64
    for words in (("verify", "mine"), ("run", "--resume", "mine")):
        got = dln(*words)
        assert got.code == 2 and "mine was trained from Python" in got.err
    assert "complete" in dln("runs", ".").out
