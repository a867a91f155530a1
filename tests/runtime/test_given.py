"""Sets that are handed their examples: sizes, domains, sequences, parts, files in their place.

The oracle is a set that reads the same numbers from an `.npz` file, bit for bit.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dln
from dln import cli
from dln.grammar.diagnostics import DlnError
from dln.runtime.gradcheck import gradcheck

OPEN = """data d = given(x[n], label: class(k)) {
  split fit 0.8, valid 0.2
}
let f = dense(k)
train fit on d.fit batch 4 for 2 epochs {
  minimize cross_entropy(f(x), label) over f with adam(lr = 0.1 * (1 - progress))
  watch wrong = argmax(f(x)) != label on d.valid every 1 epoch
}
"""
RNG = np.random.default_rng(0)
X = RNG.normal(size=(23, 3)).astype(np.float32)
LABEL = RNG.integers(0, 4, 23)
LABEL[0] = 3


def trained(spec: Any, **options: Any) -> Any:
    session = spec.compile().session(seed=1)
    session.train(**options)
    return session


def refused(code: str, call: Any) -> str:
    with pytest.raises(DlnError) as e:
        call()
    assert [p.code for p in e.value.problems] == [code]
    return str(e.value)


@pytest.fixture(scope="module")
def by_file(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What a file of the same arrays gives."""
    folder = tmp_path_factory.mktemp("file")
    np.savez(folder / "d.npz", x=X, label=LABEL)
    text = OPEN.replace("given(x[n], label: class(k))", 'npz("d.npz")')
    text = text.replace("split", "x[3] = raw.x\n  label: class(4) = raw.label\n  split")
    text = text.replace("dense(k)", "dense(4)")
    (folder / "net.dln").write_text(text)
    (folder / "open.dln").write_text(OPEN)
    session = trained(dln.load(folder / "net.dln"))
    return folder, session.f(X), session.results["fit"].history


def test_every_way_to_hand_arrays_gives_what_a_file_gives(by_file: Any) -> None:
    folder, y, history = by_file
    said = dln.load(OPEN, n=3, k=4)
    sessions = [
        trained(dln.load(OPEN, data={"d": (X, LABEL)})),
        trained(dln.load(OPEN, data={"d": {"label": LABEL.tolist(), "x": X.tolist()}})),
        trained(dln.load(folder / "open.dln", data_paths={"d": str(folder / "d.npz")})),
        trained(said, data={"d": (X, LABEL)}),
        trained(said, data={"d.fit": (X[:18], LABEL[:18]), "d.valid": (X[18:], LABEL[18:])}),
    ]
    late = dln.load(OPEN).compile(data={"d": (X, LABEL)}).session(seed=1)
    late.train()
    for session in [*sessions, late]:
        np.testing.assert_array_equal(session.f(X), y)
        assert session.results["fit"].history == history
    assert np.isfinite(late.step("fit", x=X, label=LABEL))
    compiled = dln.load(OPEN).compile(dtype="float64", data={"d": (X, LABEL)})
    assert max(row.error for row in gradcheck(compiled.session(), "fit")) < 1e-7


def test_a_step_takes_the_names_of_classes() -> None:
    """The order is that of the whole set: of a minibatch that lacks a class, too."""
    text = OPEN.replace("label: class(k)", "label: class").replace("dense(k)", "dense(4)")
    spec = dln.load(text)
    assert repr(spec) == "Spec(text)"  # before it has been given anything
    words = np.array(["ash", "beech", "cedar", "elm"])[LABEL]
    made = spec.compile(data={"d": (X, words)})
    one, other = made.session(seed=1), made.session(seed=1)
    for rows in (LABEL > 0, LABEL > 1, LABEL > 1, LABEL > 1):
        number, word = {"x": X[rows], "label": LABEL[rows]}, {"x": X[rows], "label": words[rows]}
        assert one.step("fit", **number) == other.step("fit", **word)
    slope = one.grad("fit", "f.W", **number)
    np.testing.assert_array_equal(slope, other.grad("fit", "f.W", **word))
    np.testing.assert_array_equal(one.params["f.W"], other.params["f.W"])
    said = refused("E554", lambda: one.step("fit", x=X[:2], label=["oak", "ash"]))
    assert "example 0 is 'oak', none of the classes ash, beech, cedar, elm" in said


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_give_the_columns_of_their_names(library: str, by_file: Any) -> None:
    DataFrame = pytest.importorskip(library).DataFrame
    frame = DataFrame({"a": X[:, 0], "label": LABEL, "b": X[:, 1], "c": X[:, 2]})
    np.testing.assert_array_equal(trained(dln.load(OPEN, data={"d": frame})).f(X), by_file[1])
    for code, words, made in (
        ("E550", "no column label", DataFrame({"x": [1.0], "y": [2.0]})),
        ("E552", "column w holds words", (DataFrame({"v": [1], "w": ["a"]}), [0])),
    ):
        assert words in refused(code, lambda made=made: dln.load(OPEN, data={"d": made}))


def test_what_a_spec_wants_is_known_before_there_is_any_array() -> None:
    text = "data s = given(x[time, 2], length, tag[time]: class(k), y: prob)\n"
    text += "data t = given() like s\n"
    sets = dln.load(OPEN + text).given
    assert list(sets) == ["d", "s", "t"] and sets["d"].open == ("n", "k")
    assert sets["d"].parts == ("fit", "valid")
    x, length, tag, y = sets["s"].fields
    assert (x.shape, x.timed, length.domain, tag.classes) == (("time", 2), True, "length", "k")
    assert (y.shape, y.domain) == ((), "prob") and sets["t"].fields == sets["s"].fields
    said = dln.load(OPEN, n=3, k=4).given["d"]
    assert said.open == () and said.fields[0].shape == (3,) and said.fields[1].classes == 4


def test_a_body_makes_fields_of_what_is_handed() -> None:
    text = """data d = given(pixels[2, 2], label: class(3)) {
  x[4]: prob = raw.pixels / 255
}
let f = dense(3)
train fit on d batch all for 1 epoch {
  minimize cross_entropy(f(x), label) over f with sgd(lr = 0.1)
}
"""
    pixels, label = RNG.integers(0, 256, (5, 2, 2)).astype(np.uint8), [0, 1, 2, 1, 0]
    made = trained(dln.load(text, data={"d": (pixels, label)}))
    plain = dln.load(text, data={"d": (pixels, label)}).compile().session(seed=1)
    plain.step("fit", x=pixels.reshape(5, 4) / 255, label=label)
    for path in plain.params:
        np.testing.assert_array_equal(made.params[path], plain.params[path])
    with pytest.raises(DlnError, match="label: example 2 has 3, expected a class, 0 to 2"):
        trained(dln.load(text), data={"d": (pixels, [0, 1, 3, 1, 0])})


def test_sequences_of_unequal_lengths_are_handed_as_lists() -> None:
    text = """data d = given(x[time, 2], length, label: class(k))
block net(x[time, n]) -> z[k]: logit {
  h = x -> rnn(3)
  z = last(h) -> dense(k)
}
let f = net()
train fit on d batch 2 for 2 epochs {
  minimize cross_entropy(f(x), label) over f with sgd(lr = 0.1)
}
"""
    rows, label = [RNG.normal(size=(n, 2)) for n in (3, 1, 5, 2)], [0, 1, 1, 0]
    padded = np.full((4, 5, 2), np.nan)
    for row, a in zip(padded, rows, strict=True):
        row[: len(a)] = a
    lists = trained(dln.load(text, data={"d": (rows, label)}))
    arrays = {"x": padded, "length": [3, 1, 5, 2], "label": label}
    again = trained(dln.load(text, time=5, k=2), data={"d": arrays})
    for path in lists.params:
        np.testing.assert_array_equal(lists.params[path], again.params[path])
    said = refused(
        "E551", lambda: dln.load(text.replace("length, ", ""), data={"d": (rows, label)})
    )
    assert "the sequences of x have 1 to 5 steps" in said


def test_what_stands_whole_needs_examples_when_it_is_read() -> None:
    text = OPEN.replace("dense(k)", "dense(k)\nlet m = mean(i: d.fit.x[i, 0])")
    assert "nobody has said" in refused("E519", lambda: dln.load(text, n=3, k=4))
    text = text.replace("f(x), label)", "f(x), label) + 0 * m")
    assert trained(dln.load(text, data={"d": (X, LABEL)})).results["fit"].complete
    session = dln.load(text, data={"d": (X, LABEL)}).compile().session()
    said = refused("E557", lambda: session.train(data={"d": (X, LABEL)}))
    assert 'data={"d": ...} when the spec is loaded' in said


@pytest.mark.parametrize(
    ("code", "words", "given"),
    [
        ("E560", "no data set e", {"e": (X, LABEL)}),
        ("E560", "d has no part vaild", {"d.vaild": (X, LABEL)}),
        ("E557", "but 3 were given", {"d": (X, LABEL, X)}),
        ("E351", "the part valid is empty", {"d": (X[:1], [1])}),
        ("E550", 'no field "lable"', {"d": {"x": X, "lable": LABEL}}),
        ("E551", "expected x[n]: 1 axis", {"d": (X[:, :, None], LABEL)}),
        ("E552", "masked", {"d": (np.ma.masked_less(X, 0), LABEL)}),
        ("E552", "different lengths", {"d": ([[1, 2], [3]], [0, 1])}),
        ("E553", "example 0 has nan", {"d": (np.full_like(X, np.nan), LABEL)}),
        ("E554", "example 0 has 1.5", {"d": (X, LABEL + 0.5 - LABEL[0] + 1)}),
        ("E555", "x 23, label 22", {"d": (X, LABEL[:22])}),
        ("E563", "data must be a dictionary by name", [X]),
    ],
)  # fmt: skip
def test_arrays_that_do_not_fit_are_refused(code: str, words: str, given: Any) -> None:
    assert words in refused(code, lambda: trained(dln.load(OPEN, data=given)))


def test_a_set_of_a_used_file_is_handed_its_examples(tmp_path: Path) -> None:
    net = tmp_path / "net.dln"
    (tmp_path / "data.dln").write_text("data d = given(x[n], label: class)\n")
    net.write_text('use "data.dln"\nlet f = dense(2)\n' + OPEN[OPEN.index("train") :].replace(
        "d.fit", "d").replace("d.valid", "d"))  # fmt: skip
    np.savez(tmp_path / "d.npz", x=X, label=LABEL % 2)
    by_file = dln.load(net, data_paths={"d": str(tmp_path / "d.npz")})
    handed = dln.load(net, data={"d": (X, LABEL % 2)})
    assert handed.constants == by_file.constants == {"n": 3}
    assert handed.compile().plan.data["d"].names == {"label": ("0", "1")}


def test_sizes_that_do_not_agree_are_refused() -> None:
    spec = dln.load(OPEN, n=2, k=4)
    assert "expected [2] for each example" in refused(
        "E551", lambda: trained(spec, data={"d": (X, LABEL)})
    )
    said = refused("E560", lambda: trained(spec, data={"e": (X, LABEL)}))
    assert 'no data set "e"' in said and "one of d" in said
    assert "RunDirectory.create(" in refused("E563", lambda: trained(spec, rundir="runs/mine"))
    assert len(repr(spec.compile())) < 200  # of which a notebook prints a line
    two = OPEN.replace("given(x[n]", "given(u[n], x[n]")
    said = refused("E551", lambda: dln.load(two, data={"d": (X[:, :2], X, LABEL)}))
    assert "n is 3, and 2 in what was given before it" in said


def test_commands_say_what_is_missing_and_take_a_file(
    by_file: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(by_file[0])
    Path("other.npz").write_bytes(Path("d.npz").read_bytes())
    sizes = ["-D", "n=3", "-D", "k=4"]
    for words, code, said in (
        (["check", "open.dln"], 2, "d leaves n and k open"),
        (["check", "open.dln", *sizes], 0, ""),
        (["show", "open.dln", *sizes], 0, ""),
        (["run", "open.dln", *sizes], 2, "--data d=FILE.npz"),
        (["run", "open.dln", "--data", "d=nothing.npz"], 2, "no file"),
        (["run", "open.dln", "--data", "d=d.npz", "--out", "run", "--epochs", "1"], 0, ""),
        (["verify", "run"], 0, ""),
        (["run", "--resume", "run"], 0, ""),
    ):
        assert cli.carried_out(words) == code, words
        assert said in capsys.readouterr().err
    assert not Path("runs").exists()


def test_a_table_gives_the_columns_of_its_names(by_file: Any) -> None:
    """A field has the column of its name, the other one those that are left; words are classes."""
    folder, y, history = by_file
    words = np.array(["ant", "bee", "cat", "dog"])[LABEL]
    for name, text, labels in (
        ("n.csv", OPEN, LABEL),
        ("w.csv", OPEN.replace("class(k)", "class").replace("dense(k)", "dense(4)"), words),
    ):
        cells = [f"{float(a)!r},{k},{float(b)!r},{float(c)!r}\n"
                 for (a, b, c), k in zip(X, labels, strict=True)]  # fmt: skip
        (folder / name).write_text("a,label,b,c\n" + "".join(cells))
        (folder / f"{name}.dln").write_text(text)
        spec = dln.load(folder / f"{name}.dln", data_paths={"d": str(folder / name)})
        session = trained(spec)
        assert np.array_equal(session.f(X), y) and session.results["fit"].history == history
    lines = (folder / "n.csv").read_text()
    short = OPEN.replace("x[n]", "x[3]")
    for code, table, said in (
        ("E623", lines.replace("label", "lable"), "b, c, and no label"),
        ("E623", lines.partition("\n")[2], "does not say what its columns are"),
        ("E624", lines + "1,2,?,4\n", 'line 25, column "b": nothing stands there'),
        ("E624", lines + "1,two,3,4\n", 'line 25, column "label": "two" is no number'),
        ("E551", lines.replace(",c\n", ",x\n"), ""),
    ):
        (folder / "t.csv").write_text(table)
        paths = {"d": str(folder / "t.csv")}
        found = refused(code, lambda: dln.load(short, data_paths=paths))  # noqa: B023
        assert said in found, found


def test_a_run_may_be_moved(tmp_path: Path) -> None:
    """What it must have in common with a run that goes on does not hang on where its spec lies."""
    text = "data d = given(x[2])\nlet net = dense(1)\ntrain t on d for 1 epoch {\n"
    text += "  minimize sum(net(x)^2) over net with sgd(lr = 0.1)\n}\n"
    found = set()
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "s.dln").write_text(text)
        spec = dln.load(tmp_path / folder / "s.dln", data={"d": ([[1.0, 2.0]],)})
        found.add(spec.compile().plan.fingerprint)
    assert len(found) == 1
