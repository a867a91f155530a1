"""Tables as people have them, from the file to what is printed: the oracle is the file, by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dln as package

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
