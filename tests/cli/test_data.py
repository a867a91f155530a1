"""`dln data`: what it says of data sets, held against NumPy and what is known of the sets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dln.printing import pictures

ODD = """data points = npz("odd.npz") {
  x[3] = raw.x
  k: class(3) = raw.k
}
"""
RAGGED = """data some = npz("ragged.npz") {
  s[time, 2] = raw.s
  c[time]: class(4) = raw.c
  length = raw.length
  split few 1, many 2
}
"""


def spec(text: str) -> Path:
    path = Path("data.dln")
    path.write_text(text, encoding="utf-8")
    return path


def test_what_is_known_of_the_digits(dln: Any) -> None:
    """How often each digit occurs in the test images (LeCun's page; `numpy.bincount`)."""
    got = dln("data", "mlp", "mnist_test", "--json")
    assert got.code == 0, got.err
    found = got.data["data"]["mnist_test"]
    counts = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert found["fields"]["label"]["classes"] == counts
    assert found["examples"] == 10000 and found["fields"]["x"]["constant"] == 116
    assert [Path(p).name for p in found["files"]] == [
        "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz",
    ]  # fmt: skip
    assert found["fields"]["label"]["first"] == [7, 2, 1]
    text = dln("data", "mlp", "mnist_test").out
    assert "mnist_test: 10,000 examples\n  from  idx(t10k-images-idx3-ubyte, t10k" in text
    assert "116 of 784 numbers the same in all examples" in text
    assert "label, how often each of 10 classes occurs\n    0 980  1 1,135" in text


def test_sequences_end_where_they_end(dln: Any) -> None:
    s, c = np.arange(24.0).reshape(3, 4, 2), np.array([[0, 1, 3, 3], [0, 3, 3, 3], [1, 1, 2, 2]])
    ends = np.array([2, 1, 4])
    np.savez("ragged.npz", s=s, c=c, length=ends)
    got = dln("data", spec(RAGGED), "--json")
    assert got.code == 0, got.err
    found = got.data["data"]["some"]
    assert found["lengths"] == {"least": 1, "median": 2, "most": 4}
    assert found["parts"]["many"] == {"from": 1, "examples": 2}
    known = np.concatenate([s[i, :n] for i, n in enumerate(ends)])
    fields = found["fields"]
    assert fields["s"]["mean"] == pytest.approx(known.mean()) and fields["s"]["most"] == known.max()
    assert fields["s"]["first"] == [s[i, :n].tolist() for i, n in enumerate(ends)]
    classes = np.concatenate([c[i, :n] for i, n in enumerate(ends)])
    assert fields["c"]["classes"] == np.bincount(classes, minlength=4).tolist()
    text = dln("data", "data.dln").out
    assert "lengths  1 to 4, median 2\n" in text and "1 of 4 classes never" in text
    assert "few 1 example from 0; many 2 examples from 1" in text


def test_what_is_odd_is_told_and_refused_in_the_words_of_a_run(dln: Any) -> None:
    x = np.array([[1, np.nan, 3], [1, np.inf, 4], [1, 2, 5]])
    np.savez("odd.npz", x=x, k=np.array([0, 1, 1]))
    path = spec(ODD + "train p on points for 1 update {\n  watch n = mean(x) every 1 update\n}\n")
    got = dln("data", path)
    assert got.code == 2
    assert "1 NaN, 1 infinite, 1 of 3 numbers the same in all examples" in got.out
    refused = dln("run", path)
    assert refused.code == 1 and "error[E553]: x: example 0 has nan at [1]" in refused.err
    assert got.err == refused.err
    as_data = dln("data", path, "--json")
    assert as_data.data["problems"] == dln("run", path, "--json").data["problems"]
    assert as_data.data["data"]["points"]["fields"]["x"]["nan"] == 1


def test_a_table_is_refused_in_the_words_of_a_check(dln: Any) -> None:
    Path("t.csv").write_text("1,2,0\n3,4,1\n5,6,0.5\n")
    path = spec('data t = table("t.csv") {\n  x[2] = raw[:2]\n  k: class(3) = raw[2]\n}\n')
    got = dln("data", path)
    assert got.code == 2 and got.out == "" and got.err == dln("check", path).err


@pytest.mark.parametrize("words", [("data", "mlp", "mist"), ("data", "nothing.dln"),
                                   ("data", "mlp", "--data", "mnist=nowhere")])  # fmt: skip
def test_what_is_not_there(dln: Any, words: tuple[str, ...]) -> None:
    got = dln(*words)
    assert got.code == 2 and "error[E" in got.err


def test_letters_and_what_is_drawn(dln: Any) -> None:
    got = dln("data", "tour")
    assert got.code == 0, got.err
    assert "letters  4: 'ehlo'" in got.out and "'e' 1  'h' 1  'l' 2  'o' 0" in got.out
    assert "example 1  c     'll'" in got.out
    assert (
        "drawn anew at each visit" in got.out and "from  synthetic(digits-row, 1, 100)" in got.out
    )


@pytest.mark.skipif(not pictures.available(), reason="needs matplotlib")
def test_pictures_are_examples_of_each_class(dln: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(pictures, "of_array", lambda *given: seen.append(given) or b"png")
    got = dln("data", "mlp", "mnist_test", "--pictures", "--json")
    assert got.code == 0 and got.data["pictures"] == ["mlp-data.png"]
    [(array, name, kind, axis, rows)] = seen
    assert array.shape == (10, 10, 28, 28) and rows == tuple("0123456789") and kind == ".png"
    assert Path("mlp-data.png").read_bytes() == b"png"
    assert dln("data", "backprop", "--pictures").err.endswith("no field of the data is an image\n")
    assert dln("data", "mlp", "--pictures", "a.jpg").code == 2
