"""Data are what their fields say, or are refused with their place: never bent.

The oracle is what a person reads in the file.
"""

import gzip
import struct
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dln
from dln.grammar.diagnostics import DlnError
from dln.reading import tables

TRAIN = "let net = dense(%d)\ntrain fit on d batch 2 for 1 epoch {\n" + (
    "  minimize cross_entropy(net(x), label) over net with sgd(lr = 0.1)\n}\n"
)


def spec(folder: Path, text: str) -> dln.Spec:
    path = folder / "a.dln"
    path.write_text(text)
    return dln.load(path)


def held(found: dln.Spec, dtype: str = "float64") -> dict[str, Any]:
    return found.compile().session().datasets.part("d", "all", dtype).arrays


def problem(act: Callable[[], Any]) -> tuple[str, str, str]:
    with pytest.raises(DlnError) as caught:
        act()
    (found,) = caught.value.problems
    return found.code, found.message, found.remedy


def answers(folder: Path, x: Any, labels: Any) -> set[tuple[str, str, str]]:
    """What is said of some arrays in a file, given to a training, to a step and for a gradient."""
    np.savez(folder / "a.npz", x=x, label=labels)
    text = 'data d = npz("a.npz") {\n  x[2] = raw.x\n  label: class(2) = raw.label\n}\n'
    session = spec(folder, text + TRAIN % 2).compile().session()
    return {
        problem(lambda: session.train("fit")),
        problem(lambda: session.train("fit", data={"d": (x, labels)})),
        problem(lambda: session.step("fit", x=x, label=labels)),
        problem(lambda: session.grad("fit", "net.b", x=x, label=labels)),
    }


def labelled(folder: Path, reader: str, labels: Any) -> str:
    """A data set with these labels, written for a reader; its declaration and what raw label is."""
    labels = np.asarray(labels)
    x = np.arange(2.0 * len(labels)).reshape(-1, 2)
    if reader == "table":
        every = zip(x.tolist(), labels.tolist(), strict=True)
        rows = "".join(f"{a},{b},{c!r}\n" for (a, b), c in every)
        (folder / "a.csv").write_text("a,b,label\n# a note\n" + rows)
        return 'data d = table("a.csv") {\n  x[2] = raw[:2]\n  label: class(3) = %s\n}\n'
    if reader == "npz":
        np.savez(folder / "a.npz", x=x, label=labels)
        return 'data d = npz("a.npz") {\n  x[2] = raw.x\n  label: class(3) = %s\n}\n'
    if reader == "rows":
        listed = [[*p, c] for p, c in zip(x.tolist(), labels.tolist(), strict=True)]
        return f"data d = rows({listed}) {{\n  x[2] = raw[:2]\n  label: class(3) = %s\n}}\n"
    kinds = {"f": (0x0E, ">f8"), "i": (0x0C, ">i4"), "u": (0x08, "u1")}
    for name, a in (("x", x), ("l", labels)):
        code, kind = kinds[a.dtype.kind]
        head = struct.pack(f">BBBB{a.ndim}I", 0, 0, code, a.ndim, *a.shape)
        (folder / name).write_bytes(gzip.compress(head + a.astype(kind).tobytes()))
    return 'data d = idx("x", "l") {\n  x[2] = raw.image\n  label: class(3) = %s\n}\n'


RAW = {"table": "raw[2]", "rows": "raw[2]", "npz": "raw.label", "idx": "raw.label"}
PLACE = {"table": " (a.csv, line {line}, column 3)"}
WRONG = [
    ([0.0, 1.7, 2.0], 1, "1.7"),
    ([0.0, 1.0, 0.99999999], 2, "0.99999999"),
    ([-0.4, 1.0, 2.0], 0, "-0.4"),
    ([0.0, 1.0, 3.0], 2, "3"),
    ([0, 1, -1], 2, "-1"),
    ([0, 3, 1], 1, "3"),
]


@pytest.mark.parametrize(
    ("reader", "labels", "at", "shown"),
    [(r, *w) for r in ("table", "npz") for w in WRONG] + [(r, *WRONG[0]) for r in ("idx", "rows")],
)
def test_a_label_that_is_no_class(
    tmp_path: Path, reader: str, labels: list[float], at: int, shown: str
) -> None:
    found = spec(tmp_path, labelled(tmp_path, reader, labels) % RAW[reader] + TRAIN % 3)
    place = PLACE.get(reader, "").format(line=at + 3)
    said = f"label: example {at}{place} has {shown}, expected a class, 0 to 2"
    assert problem(lambda: held(found))[:2] == ("E554", said)
    if reader in ("table", "rows"):
        assert problem(lambda: tables.check_tables(found.model))[:2] == ("E554", said)


@pytest.mark.parametrize("reader", RAW)
@pytest.mark.parametrize("kind", [float, int])
def test_whole_numbers_are_classes(tmp_path: Path, reader: str, kind: type) -> None:
    labels: np.ndarray = np.array([2, 0, 1], kind)
    found = spec(tmp_path, labelled(tmp_path, reader, labels) % RAW[reader] + TRAIN % 3)
    got = held(found)["label"]
    assert got.dtype == np.int64 and got.tolist() == [2, 0, 1]
    tables.check_tables(found.model)


@pytest.mark.parametrize("reader", RAW)
def test_whole_numbers_can_be_shifted(tmp_path: Path, reader: str) -> None:
    text = labelled(tmp_path, reader, [3, 1, 2])
    raw = RAW[reader]
    found = spec(tmp_path, text % f"{raw} - 1" + TRAIN % 3)
    assert held(found)["label"].tolist() == [2, 0, 1]
    code, said, remedy = problem(lambda: held(spec(tmp_path, text % raw + TRAIN % 3)))
    assert code == "E554" and "has 3, expected a class" in said
    assert remedy == f"{raw} - 1, if classes are counted from 1"
    text = labelled(tmp_path, reader, [-1, 1, 0])
    remedy = problem(lambda: held(spec(tmp_path, text % raw + TRAIN % 3)))[2]
    assert remedy == f"{raw} + 1, if classes are counted from -1"
    text = labelled(tmp_path, reader, [3, 1, 2])
    found = spec(tmp_path, text % f"({raw} - 1) / 2" + TRAIN % 3)
    assert "has 0.5, expected a class, 0 to 2" in problem(lambda: held(found))[1]


@pytest.mark.parametrize("reader", RAW)
def test_assertions_are_checked_when_the_data_are_read(tmp_path: Path, reader: str) -> None:
    """Inside of a field too: the table of one-hot rows would read beyond its end."""
    raw = RAW[reader]
    body = f"0\n  label2: class(3) = {raw} as class(3)\n  y[3] = onehot({raw} as class(3))"
    good = spec(tmp_path, labelled(tmp_path, reader, [2, 0, 1]) % body)
    got = held(good)
    assert got["label2"].tolist() == [2, 0, 1]
    np.testing.assert_array_equal(got["y"], np.eye(3)[[2, 0, 1]])
    for labels, shown in [([2, 7, 1], "7"), ([2.0, 1.5, 1.0], "1.5"), ([0, -5, 1], "-5")]:
        bad = spec(tmp_path, labelled(tmp_path, reader, labels) % body)
        code, said, _ = problem(partial(held, bad))
        place = PLACE.get(reader, "").format(line=4)
        assert (code, said) == (
            "E554", f"{raw}: example 1{place} has {shown}, expected a class, 0 to 2",
        )  # fmt: skip


@pytest.mark.parametrize("reader", RAW)
def test_the_remedy_of_an_assertion_is_one(tmp_path: Path, reader: str) -> None:
    """Classes counted from 1: what is written in place of the assertion makes them classes."""
    text, raw = labelled(tmp_path, reader, [3, 1, 2]), RAW[reader]
    wrong = text.replace("label: class(3)", "label") % f"{raw} as class(3)"
    _, _, remedy = problem(lambda: held(spec(tmp_path, wrong)))
    right, _, reason = remedy.partition(", ")
    assert reason == "if classes are counted from 1"
    found = spec(tmp_path, wrong.replace(f"{raw} as class(3)", right))
    assert held(found)["label"].tolist() == [2, 0, 1]


def test_the_remedy_of_an_asserted_comparison_keeps_it_whole(tmp_path: Path) -> None:
    text = labelled(tmp_path, "table", [0, 200, 255])
    wrong = text.replace("label: class(3)", "label") % "(raw[2] + 0 * (raw[2] == 1)) as prob"
    _, _, remedy = problem(lambda: held(spec(tmp_path, wrong)))
    found = spec(tmp_path, text.replace("label: class(3)", "label") % remedy)
    np.testing.assert_allclose(held(found)["label"], [0, 200 / 255, 1])


def test_a_declared_class_is_checked_before_other_fields_use_it(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", c=np.array([0.0, 9.0]), W=np.ones((2, 3)))
    text = 'data d = npz("a.npz") {\n  c: class(3) = raw.c\n  y = raw.W[c]\n}\n'
    said = "c: example 1 has 9, expected a class, 0 to 2"
    assert problem(lambda: held(spec(tmp_path, text)))[:2] == ("E554", said)


def test_whole_numbers_as_numbers(tmp_path: Path) -> None:
    n = np.array([3, 250, 0], np.uint8)
    np.savez(tmp_path / "a.npz", n=n, x=n.astype(float))
    text = """data d = npz("a.npz") {
  n = raw.n
  a = raw.n as real
  b: real = raw.n
  c = 2 * raw.n - 1
  over = raw.n > 100
  three: binary = raw.n == 3
  many: positive = raw.n
}
train t on d batch all for 1 epoch {
  watch m = sum((n - a)^2) + b / 2 every 1 update
}
"""
    found = spec(tmp_path, text)
    got = held(found)
    for name, want in {"n": n, "a": n, "b": n, "c": 2.0 * n - 1, "over": n > 100}.items():
        np.testing.assert_array_equal(got[name], want)
    assert got["three"].tolist() == [1, 0, 0] and got["a"].dtype == np.float64
    session = found.compile(dtype="float64").session()
    assert session.train("t").history["m"][0][2] == pytest.approx(n.mean() / 2)


def test_a_least_squares_fit_to_a_whole_column_of_a_file(tmp_path: Path) -> None:
    """Ages as integers are what a line is fitted to: one step by hand."""
    x, age = np.array([[1.0], [2.0], [4.0]]), np.array([20, 30, 50])
    np.savez(tmp_path / "a.npz", x=x, age=age)
    text = (
        'data d = npz("a.npz") {\n  x[1] = raw.x\n  age = raw.age\n}\n'
        "block line(x[1]) -> y {\n  param w = 0, b = 0\n  y = w * x[0] + b\n}\nlet f = line()\n"
        "train t on d batch all for 1 epoch {\n"
        "  minimize (f(x) - age)^2 over f with sgd(lr = 0.1)\n}\n"
    )
    session = spec(tmp_path, text).compile(dtype="float64").session()
    session.train("t")
    assert session.params["f.w"] == pytest.approx(0.1 * np.mean(2 * age * x[:, 0]))
    assert session.params["f.b"] == pytest.approx(0.1 * np.mean(2 * age))


@pytest.mark.parametrize(
    ("domain", "values", "shown", "wanted"),
    [
        ("binary", [0, 0.5], "0.5", "0 or 1"),
        ("binary", [1, 2], "2", "0 or 1"),
        ("prob", [0.5, 1.5], "1.5", "a probability, 0 to 1"),
        ("prob", [0.5, -0.1], "-0.1", "a probability, 0 to 1"),
        ("positive", [0, -3], "-3", "a number of at least 0"),
    ],
)
def test_other_domains(
    tmp_path: Path, domain: str, values: list[float], shown: str, wanted: str
) -> None:
    for line in (f"y: {domain} = raw[1]", f"y = raw[1] as {domain}"):
        (tmp_path / "a.csv").write_text("".join(f"7;{v}\n" for v in values))
        found = spec(tmp_path, f'data d = table("a.csv") {{\n  {line}\n}}\n')
        code, said, _ = problem(partial(held, found))
        assert code == "E554"
        assert said.endswith(f"1 (a.csv, line 2, column 2) has {shown}, expected {wanted}")


def test_places_in_wide_fields(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1,2,3,4\n5,6,7,8\n0,1,1.5,2\n")
    text = 'data d = table("a.csv") {\n  x[4]: %s = %s\n}\n'
    for domain, value, where in [
        ("class(9)", "raw", "example 2 (a.csv, line 3, column 3) has 1.5 at [2], "),
        ("class(3)", "raw - 6", "example 0 (a.csv, line 1, column 1) has -5 at [0], "),
        ("class(9)", "raw @ ones(4, 4)", "example 0 (a.csv, line 1) has 10 at [0], "),
    ]:
        found = spec(tmp_path, text % (domain, value))
        assert f"x: {where}" in problem(partial(held, found))[1]


def test_labels_beside_fields_that_are_drawn(tmp_path: Path) -> None:
    """All of them are checked, not only those of the first visit."""
    labels = np.zeros(1500)
    labels[1400] = 0.5
    np.savez(tmp_path / "a.npz", x=np.zeros((1500, 2)), label=labels)
    text = 'data d = npz("a.npz") {\n  x[2] ~ normal(raw.x, 1)\n  label: class(2) = raw.label\n}\n'
    said = "label: example 1400 has 0.5, expected a class, 0 to 1"
    assert problem(lambda: spec(tmp_path, text + TRAIN % 2).compile().session().train("fit"))[
        :2
    ] == ("E554", said)


def test_numbers_beyond_double_precision(tmp_path: Path) -> None:
    for values in (np.array([0, 2**53 + 1]), np.array([0, 2**64 - 1], np.uint64)):
        np.savez(tmp_path / "a.npz", n=values)
        found = spec(tmp_path, 'data d = npz("a.npz") {\n  n: real = raw.n\n}\n')
        code, said, _ = problem(partial(held, found))
        assert code == "E554" and f"example 1 of a.npz has {values[1]}" in said


def test_numbers_beyond_single_precision(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1\n1e300\n")
    found = spec(tmp_path, 'data d = table("a.csv") {\n  x = raw[0]\n}\n')
    assert held(found)["x"].tolist() == [1, 1e300]
    code, said, _ = problem(lambda: held(found, "float32"))
    assert (code, said) == (
        "E554",
        "x: example 1 (a.csv, line 2, column 1) has 1e+300, expected a number that float32 has",
    )


def test_arrays_from_python_beyond_single_precision(tmp_path: Path) -> None:
    x, labels = np.array([[0, 1e300], [0, 1]]), np.array([0, 1])
    (found,) = answers(tmp_path, x, labels)
    assert found[:2] == (
        "E554", "x: example 0 has 1e+300 at [1], expected a number that float32 has",
    )  # fmt: skip


def test_drawn_sets_leave_whole_classes(tmp_path: Path) -> None:
    """The same numbers as where nothing is drawn: 0.1 * 30 is a little more than 3."""
    np.savez(tmp_path / "a.npz", c=10 * np.arange(8.0))
    line = "  c: class(8) = 0.1 * raw.c\n"
    drawn = 'data d = npz("a.npz") {\n  x ~ normal(raw.c, 1)\n' + line + "}\n"
    part = spec(tmp_path, drawn).compile().session().datasets.part("d", "all", "float64")
    assert part.fields(np.arange(8), 0.0)["c"].tolist() == list(range(8))


@pytest.mark.parametrize("labels", [[0.5, 1.7], [0, 3], [-1, 2], [np.inf, 0], [np.nan, 0]])
def test_python_says_the_same(tmp_path: Path, labels: list[float]) -> None:
    """A file, arrays for a training, for a step and for a gradient."""
    (found,) = answers(tmp_path, np.zeros((2, 2)), labels)
    assert found[0] == "E554"


def test_whole_floats_from_python_train_as_their_classes(tmp_path: Path) -> None:
    x, labels = np.eye(2), np.array([1, 0], np.float32)
    np.savez(tmp_path / "a.npz", x=x, label=labels)
    text = 'data d = npz("a.npz") {\n  x[2] = raw.x\n  label: class(2) = raw.label\n}\n'
    runs = [spec(tmp_path, text + TRAIN % 2).compile().session() for _ in range(3)]
    runs[0].train("fit")
    runs[1].train("fit", data={"d": (x, labels)})
    runs[2].train("fit", data={"d": (x, np.array([True, False]))})
    for other in runs[1:]:
        np.testing.assert_array_equal(runs[0].params["net.W"], other.params["net.W"])


def test_checking_a_spec_without_tables_loads_no_numpy(tmp_path: Path) -> None:
    spec(tmp_path, 'data d = synthetic("gaussians", 2, 2, 9) {\n  x[2] = raw.x\n}\n')
    code = (
        "import sys, dln, dln.reading.tables as r\n"
        "r.check_tables(dln.load(sys.argv[1]).model)\nassert 'numpy' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.dln")], check=True)
