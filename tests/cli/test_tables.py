"""Tables as people have them, from the file to what is printed: the oracle is the file, by hand."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dln as package
from dln.compiler.schema.headers import DataSource
from dln.runtime.readers.readers import probe, read

IRIS = """sepal length (cm),sepal width (cm),petal_length,petal_width,species
5.0,3.4,1.5,0.2,setosa
6.9,3.1,4.9,1.5,versicolor
4.9,3.1,1.4,0.2,setosa
6.3,3.3,6.0,2.5,virginica
"""
SPEC = """data iris = table("iris.csv") {
  x[2] = [raw["sepal length (cm)"], raw.petal_width]
  y[2] = raw[2:4]
  label: class = raw.Species
}
data test = table("test.csv") like iris
let net = dense(3)
train fit on iris batch 2 for 2 epochs {
  minimize cross_entropy(net(x), label) over net with sgd(lr = 0.1)
}
task seen() {
  emit confusion(argmax(net(x)), label, on = test)
  emit iris.label[2]
  emit iris.label to "labels.csv"
  emit text("seen: ", iris.label)
}
"""


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("iris.csv").write_text(IRIS)
    Path("test.csv").write_text(  # other columns in another order
        "species;note;petal_width;petal_length;sepal length (cm)\nvirginica;a;2,5;6,0;6,3\n"
    )
    Path("iris.dln").write_text(SPEC.replace("raw[2:4]", "[raw.petal_length, raw.petal_width]"))


def fields(text: str, part: str = "iris.all") -> dict[str, Any]:
    """The fields of all examples of a part, as a phase gets them."""
    session = package.load(text).compile(dtype="float64").session()
    name, _, part = part.partition(".")
    return dict(session.datasets.part(name, part, "float64").arrays)


def test_columns_go_by_name_and_words_are_classes(dln: Any) -> None:
    made = package.load("iris.dln").compile(dtype="float64").session()
    found = made.datasets.part("iris", "all", "float64").arrays
    assert found["x"].tolist() == [[5.0, 0.2], [6.9, 1.5], [4.9, 0.2], [6.3, 2.5]]
    assert found["y"].tolist() == [[1.5, 0.2], [4.9, 1.5], [1.4, 0.2], [6.0, 2.5]]
    assert found["label"].tolist() == [0, 1, 0, 2]
    test = made.datasets.part("test", "all", "float64").arrays
    assert test["x"].tolist() == [[6.3, 2.5]] and test["label"].tolist() == [2]
    names = ("setosa", "versicolor", "virginica")
    assert made.classes == {"iris.label": names, "test.label": names}
    assert made.class_names("net", 3) == names and made.class_names("net", 2) == ()
    ran = dln("run", "iris.dln")
    assert ran.code == 0 and "true \\ found  setosa  versicolor  virginica" in ran.out
    assert "seen: setosa\n" in ran.out and "seen: setosa versicolor setosa" in ran.out
    [written] = Path().glob("runs/*/labels.csv")
    assert written.read_text().split() == ["setosa", "versicolor", "setosa", "virginica"]
    [manifest] = Path().glob("runs/*/manifest.json")
    assert json.loads(manifest.read_text())["classes"] == {k: list(names) for k in made.classes}
    assert dln("verify", str(manifest.parent)).code == 0
    told = dln("data", "iris.dln").out
    assert "setosa 2  versicolor 1  virginica 1" in told and "label  versicolor" in told
    facts = dln("data", "iris.dln", "--json").data["data"]["iris"]["fields"]["label"]
    assert facts["names"] == list(names) and facts["classes"] == [2, 1, 1]


def test_the_order_of_classes_is_that_which_is_said(dln: Any) -> None:
    said = 'class("virginica", "setosa", "versicolor") = raw.species'
    found = fields(SPEC.replace("class = raw.Species", said))
    assert found["label"].tolist() == [1, 2, 1, 0]
    Path("wine.csv").write_text("acid,quality\n.5,7\n.6,3\n.7,7\n.8,10\n")
    text = 'data iris = table("wine.csv") {\n  k: class = raw.quality\n  n = raw.quality\n}\n'
    made = package.load(text).compile().session()
    assert made.classes == {"iris.k": ("3", "7", "10")}  # numbers by size
    part = made.datasets.part("iris", "all", "float32").arrays
    assert part["k"].tolist() == [1, 0, 1, 2] and part["n"].tolist() == [7, 3, 7, 10]
    onehot = "  z[3] = onehot(raw.species as class)\n"
    found = fields(SPEC.replace("  y[2]", onehot + "  y[2]"))
    assert np.array_equal(found["z"], np.eye(3)[[0, 1, 0, 2]])


GAPS = """age;income;job;bought
20;1.000,5;clerk;no
40;?;baker;yes
NA;2.000,5;;no
60;3.000,5;clerk;
50;NULL;baker;yes
100;;baker;no
"""
HEAD = 'data iris = table("gaps.csv") {\n'


def test_missing_values_are_filled_by_the_part_that_is_fitted(dln: Any) -> None:
    """The means are those of the first two thirds of what is left, for the rest and for other files
    too."""
    Path("gaps.csv").write_text(GAPS)
    Path("new.csv").write_text("bought;income;age\nyes;?;?\nyes;7,5;1\n")
    body = "  x[2] = [raw.age, raw.income]\n  k: class = raw.bought\n"
    text = f"{HEAD}  set missing = mean\n{body}  split fit 3, valid 2\n}}\n"
    text += 'data new = table("new.csv") like iris\n'
    made = package.load(text).compile(dtype="float64").session()
    found = made.datasets.part("iris", "all", "float64").arrays
    age, income = (20 + 40) / 2, (1000.5 + 2000.5) / 2
    assert found["x"].tolist() == [
        [20, 1000.5], [40, income], [age, 2000.5], [50, income], [100, income],
    ]  # fmt: skip
    assert found["k"].tolist() == [0, 1, 0, 1, 0]  # who bought nothing that is known is left out
    new = made.datasets.part("new", "all", "float64").arrays
    assert new["x"].tolist() == [[age, income], [1, 7.5]] and new["k"].tolist() == [1, 1]
    Path("gaps.dln").write_text(text)
    told = dln("data", "gaps.dln").out
    assert "1 of 6 rows left out, as they lack what is read" in told
    assert "3 missing values of income filled with the mean 1500.5" in told
    assert "job     not read  words" in told and "a comma before decimals" in told
    facts = dln("data", "gaps.dln", "--json").data["data"]["iris"]["table"]
    assert facts["left_out"] == 1 and facts["filled"] == {"age": age, "income": income}
    assert "1 missing in column 1" in dln("check", "gaps.dln").err


def test_the_mean_is_of_what_the_first_phase_learns_from() -> None:
    """Whatever the parts are called; of folds all but the one that is left out; and of a set that
    is like another by the means of that one."""
    Path("gaps.csv").write_text("x,y\n1,0\n2,0\n?,0\n40,0\n500,0\n6000,0\n")
    head = f"{HEAD}  set missing = mean\n  x[1] = raw[:1]\n  y = raw.y\n  split "
    tail = '}\ndata more = table("gaps.csv") like iris\nlet net = dense(1)\n'
    phase = "train %s on iris%s batch 2 for 1 epoch {\n"
    phase += "  minimize (net(x)[0] - y)^2 over net with sgd(lr = 0)\n}\n"
    for parts, on, mean in (
        ("fit 3, rest 3", [".rest"], (40 + 500 + 6000) / 3),
        ("fit 3, train 1, rest 2", [".train", ".rest"], 40),
        ("fit 3, rest 3", [""], (1 + 2 + 40 + 500 + 6000) / 5),
        ("fold[3]", [" - iris.fold[0]", " - iris.fold[0]"], (40 + 500 + 6000) / 3),
        ("rest 4, fold[2]", [".fold[1]"], 6000),
    ):
        phases = "".join(phase % (f"p{i}", part) for i, part in enumerate(on))
        made = package.load(f"{head}{parts}\n{tail}{phases}").compile(dtype="float64").session()
        for name in ("iris", "more"):
            assert made.datasets.part(name, "all", "float64").arrays["x"][2, 0] == mean
    with pytest.raises(package.DlnError, match="of folds each is looked at"):
        both = phase % ("a", " - iris.fold[0]") + phase % ("b", " - iris.fold[1]")
        package.load(f"{head}fold[3]\n{tail}{both}")


@pytest.mark.parametrize("by", ["", " by label", " by k"])
def test_the_mean_is_that_of_the_examples_that_are_dealt_out(by: str) -> None:
    """Shuffled and by class: the mean of those that the part turns out to have."""
    rng = np.random.default_rng(0)
    words, numbers = rng.choice(["a", "b", "c"], 40), rng.normal(size=40).round(3).tolist()
    cells = ["" if i % 7 == 3 else str(v) for i, v in enumerate(numbers)]
    rows = zip(range(40), cells, words, np.resize([0, 1], 40), strict=True)
    Path("gaps.csv").write_text(
        "n,x,word,k\n" + "".join(f"{a},{b},{c},{d}\n" for a, b, c, d in rows)
    )
    text = f"{HEAD}  set missing = mean\n  n = raw.n\n  x = raw.x\n  label: class = raw.word\n"
    text += f"  k: class(2) = raw.k\n  split fit 0.5, valid 0.5 shuffled seed 3{by}\n}}\n"
    made = package.load(text).compile(dtype="float64").session()
    part = {k: made.datasets.part("iris", k, "float64").arrays for k in ("fit", "valid")}
    known = [numbers[int(i)] for i in part["fit"]["n"] if i % 7 != 3]
    for found in part.values():
        for i, x in zip(found["n"].tolist(), found["x"].tolist(), strict=True):
            expected = numbers[int(i)] if i % 7 != 3 else sum(known) / len(known)
            assert x == pytest.approx(expected, rel=1e-14)


def test_missing_values_are_left_out_or_a_class(dln: Any) -> None:
    Path("gaps.csv").write_text(GAPS)
    text = f"{HEAD}  set missing = drop\n  x = raw.age\n  y = raw.income\n}}\n"
    found = fields(text)
    assert found["x"].tolist() == [20, 60] and found["y"].tolist() == [1000.5, 3000.5]
    lines = '  k: class("baker", "clerk", "?") = raw.job\n  l: class("?", "no", "yes") = raw[3]\n'
    found = fields(f"{HEAD}{lines}}}\n")
    assert found["k"].tolist() == [1, 0, 2, 1, 0, 0] and found["l"].tolist() == [1, 2, 1, 0, 2, 1]
    wrong = f"{HEAD}  set missing = drop\n  p: prob = raw.age / 50\n}}\n"
    Path("wrong.dln").write_text(wrong)
    said = dln("check", "wrong.dln").err
    assert "example 2 (gaps.csv, line 5, column 1) has 1.2" in said  # without what is left out


MESSY: dict[str, tuple[str | None, list[list[float | None]]]] = {
    "1;2\n3;4\n": (None, [[1, 2], [3, 4]]),
    "a\tb\n1\t2,5\n": ("ab", [[1, 2.5]]),
    "a b\n 1   2.5 \n10 3\n": ("ab", [[1, 2.5], [10, 3]]),
    "a|b\n1|2\n": ("ab", [[1, 2]]),
    "a,b,\n1,2,\n3,4,\n\n\n": ("ab", [[1, 2], [3, 4]]),
    'a,b\n"1,234,567.5","5"\n"2,000","6"\n': ("ab", [[1234567.5, 5], [2000, 6]]),
    "a;b\n1.234,5;1\n1.234;2\n": ("ab", [[1234.5, 1], [1234, 2]]),
    "a;b\n1 234,5;1\n12 345 678;2\n": ("ab", [[1234.5, 1], [12345678, 2]]),
    "a;b\n1'234.5;1\n": ("ab", [[1234.5, 1]]),
    "a,b\n1.234,1\n5.678,2\n": ("ab", [[1.234, 1], [5.678, 2]]),
    "# made by hand\na,b\n1,2\n# half way\n3,4\n": ("ab", [[1, 2], [3, 4]]),
    "a,b\n2024-02-29,yes\n1970-01-02 12:00,No\n": ("ab", [[19782, 1], [1.5, 0]]),
    "a,b\n5%,TRUE\n7.5 %,false\n": ("ab", [[5, 1], [7.5, 0]]),
    'a,b\n"5"" pipe",1\n5" pipe,2\n"two\n\n# lines",3\n': ("ab", [[None, 1], [None, 2], [None, 3]]),
}


@pytest.mark.parametrize(
    "coding", ["utf-8", "utf-8-sig", "utf-16", "crlf", "mac", "gzip", "latin-1"]
)
def test_messy_files_are_recognised(coding: str) -> None:
    """Each file as it is, and in every coding: what a person reads in it."""
    for text, (names, rows) in MESSY.items():
        data = text.encode(coding if "-" in coding and coding != "latin-1" else "utf-8")
        data = data.replace(b"\n", b"\r\n") if coding == "crlf" else data
        data = data.replace(b"\n", b"\r") if coding == "mac" else data
        data = gzip.compress(data) if coding == "gzip" else data
        data += b"# gr\xfc\xdfe\n" * (coding == "latin-1")
        Path("t.csv").write_bytes(data)
        declared = DataSource("table", ("t.csv",), {}, ".")
        schema, found = probe(declared), read(declared)[""].tolist()
        assert schema.table is not None and schema.count == len(rows), (coding, text)
        assert (schema.table.names and "".join(schema.table.names)) == names, (coding, text)
        expected = [[np.nan if v is None else v for v in row] for row in rows]
        assert np.array_equal(found, expected, equal_nan=True), (coding, text, found)


def test_what_is_said_takes_the_place_of_what_is_recognised() -> None:
    Path("gaps.csv").write_text("1;1,234\n2;5,678\n")
    said = "  set header = no\n  set separator = semicolon\n  set decimal = %s\n  x[2] = raw\n}\n"
    assert fields(HEAD + said % "comma")["x"].tolist() == [[1, 1.234], [2, 5.678]]
    assert fields(HEAD + said % "point")["x"].tolist() == [[1, 1234], [2, 5678]]
    assert fields(HEAD + said.replace("no", "yes") % "comma")["x"].tolist() == [[2, 5.678]]


def test_parquet_files_are_tables(dln: Any) -> None:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    day = np.array(["1970-01-02T12:00", "1970-01-03"], "datetime64[us]")
    made = pa.table({
        "x": [0.1, None], "n": pa.array([3, 4], pa.int32()), "day": day, "ok": [True, False],
        "word": ["b", "a"], "code": pa.array(["07", "7"]).dictionary_encode(), "list": [[1], [2]],
    })  # fmt: skip
    parquet.write_table(made, "gaps.parquet")
    head = HEAD.replace("csv", "parquet")
    text = "  y[3] = [raw.n, raw.day, raw.ok]\n  k: class = raw.word\n  c: class = raw.code\n}\n"
    found = fields(head + text)
    assert found["y"].tolist() == [[3, 1.5, 1], [4, 2, 0]]
    assert found["k"].tolist() == [1, 0] and found["c"].tolist() == [0, 1]  # words, not numbers
    Path("gaps.dln").write_text(head + "  x = raw.x\n}\n")
    assert 'column 1 ("x"): 1 of 2 values missing, row 2' in dln("check", "gaps.dln").err
    Path("gaps.dln").write_text(head + "  x = raw.list\n}\n")
    assert "holds list<" in dln("check", "gaps.dln").err
