"""Tasks that emit text and pictures: which files come out, and what is in them.

Pictures are looked at by kind, size and a few pixels, never by bytes.
"""

from __future__ import annotations

import importlib.util
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support

from dln.compiler.schema.tables import PICTURES
from dln.printing import pictures, tiling

HEAD = """# A line through four points.
data points = rows([[0, 1, 0], [1, 3, 1], [2, 5, 1], [3, 7, 0]]) {
  x[1] = raw[:1]
  t[1] = raw[1:2]
  odd: class(2) = raw[2]
}
let line = dense(1, init = zero)
train fit on points.all batch 2 for 3 epochs {
  y = line(x)
  minimize sum((y - t)^2) / 2 over line with sgd(lr = 0.1)
  watch error = sum((y - t)^2) every 1 epoch
  watch cost = sum((y - t)^2) every 2 updates
}
"""
SHOW = """task show() {
  emit fit.error to "error.png"
  emit plot(train = fit.cost, valid = fit.error) to "both.svg"
  emit log_plot(fit.cost, [1, 2, 3]) to "log.pdf"
  emit outer([1, 2], [1, -1, 0]) to "matrix.png"
  emit tiles([[1, 2, 3, 4], [5, 6, 7, 8]], 2, 2) to "tiles.png"
  emit examples(tiles(concat(x, t), 1, 2), on = points, where = odd == 1) to "odd.png"
}
"""
with_matplotlib = pytest.mark.skipif(not pictures.available(), reason="needs matplotlib")


def spec(folder: Path, tail: str) -> Path:
    path = folder / "line.dln"
    path.write_text(HEAD + tail, encoding="utf-8")
    return path


def task(lines: str) -> str:
    return f"task show() {{\n{lines}}}\n"


def size(png: bytes) -> tuple[int, int]:
    """Width and height, from the header of a PNG file (ISO/IEC 15948, 11.2.2)."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    wide, high = struct.unpack(">II", png[16:24])
    return wide, high


# ---- pictures ------------------------------------------------------------------------------------


@with_matplotlib
def test_every_kind_of_picture_is_written(dln: Any, tmp_path: Path) -> None:
    found = dln("run", spec(tmp_path, SHOW), "--json", "--out", "here")
    assert found.code == 0, found.err
    names = ["error.png", "both.svg", "log.pdf", "matrix.png", "tiles.png", "odd.png"]
    assert [e["file"] for e in found.data["tasks"]["show"]] == [f"here/{n}" for n in names]
    for name in names:
        start = Path("here", name).read_bytes()
        if name.endswith(".png"):
            assert min(size(start)) > 40
    assert Path("here/log.pdf").read_bytes().startswith(b"%PDF")
    drawing = Path("here/both.svg").read_text()
    assert ">train<" in drawing and ">valid<" in drawing and ">update<" in drawing


@with_matplotlib
def test_a_watch_by_epoch_is_drawn_over_epochs(dln: Any, tmp_path: Path) -> None:
    path = spec(tmp_path, task('  emit fit.error to "e.svg"\n  emit fit.cost to "c.svg"\n'))
    assert dln("run", path, "--out", "here").code == 0
    assert ">epoch<" in Path("here/e.svg").read_text()
    assert ">update<" in Path("here/c.svg").read_text()


@with_matplotlib
@pytest.mark.parametrize("kind", PICTURES)
def test_the_same_array_gives_the_same_picture(kind: str) -> None:
    array = np.linspace(-1, 1, 12)
    for shape in ((12,), (3, 4), (3, 2, 2), (3, 1, 2, 2), (2, 3, 1, 2)):
        once = pictures.of_array(array.reshape(shape), "w", kind)
        assert once == pictures.of_array(array.reshape(shape), "w", kind)


@with_matplotlib
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_no_number_is_drawn_all_the_same(bad: float) -> None:
    for shape in ((4,), (2, 2), (1, 2, 2)):
        array = np.full(shape, bad)
        assert pictures.of_array(array, "w", ".png")
        assert pictures.of_array(np.zeros((0, 2, 2)), "none", ".png")


def test_tiles_stand_in_rows_and_columns() -> None:
    """Four images of 2 x 2 pixels, each 48 wide in the picture, 6 apart; each in its own range."""
    images = np.array([[[0, 1], [2, 3]], [[5, 5], [5, 9]], [[1, 2], [1, 1]], [[0, 0], [0, 0]]])
    grid, tops = tiling.tiled(images.astype(float))
    assert tops == [0]
    assert grid.shape == (96, 4 * 96 + 3 * 6)
    assert grid[0, 96] == 1  # the gap
    first, second, third = (grid[::95, left : left + 96 : 95] for left in (0, 102, 204))
    assert np.allclose(first, [[0, 1 / 3], [2 / 3, 1]])
    assert np.allclose(second, [[0, 0], [0, 1]])
    assert np.allclose(third, [[0, 1], [0, 0]])
    square, tops = tiling.tiled(images.reshape(2, 2, 2, 2).astype(float))
    assert square.shape == (198, 198) and tops == [0, 102]


def test_numbers_of_both_signs_are_grey_at_0_in_every_tile() -> None:
    weights = np.array([[[-1, 0], [0, 2]], [[0, 1], [0, 2]]]).astype(float)
    grid, _ = tiling.tiled(weights)
    first, second = (grid[::95, left : left + 96 : 95] for left in (0, 102))
    assert np.allclose(first, [[0.25, 0.5], [0.5, 1]])
    assert np.allclose(second, [[0.5, 0.75], [0.5, 1]])
    assert not tiling.is_signed(np.array([-0.1, 1.175]))  # paper and ink of LeNet-5


def test_pairs_stand_above_one_another_ten_across() -> None:
    """Twelve pairs of 1 x 1 pixel, black and 96 wide in the picture, 6 apart on white."""
    pairs = np.zeros((12, 2, 1, 1))
    grid, tops = tiling.tiled(pairs, band=2)
    assert tops == [0, 102, 216, 318]  # a wider gap between the bands
    assert grid.shape == (318 + 96, 10 * 96 + 9 * 6)
    rows = [(grid[top, ::102] == 0).tolist() for top in tops]
    assert rows == [[True] * 10] * 2 + [[True] * 2 + [False] * 8] * 2


def test_a_curve_goes_on_where_the_phase_before_it_ended(dln: Any, tmp_path: Path) -> None:
    later = """train more on points.all batch 2 for 2 epochs after fit {
  minimize sum((line(x) - t)^2) over line with sgd(lr = 0)
  watch error = sum((line(x) - t)^2) every 1 epoch
}
"""
    lines = '  emit plot(fit.error, more.error) to "b.csv"\n  emit plot(more.error) to "a.csv"\n'
    assert dln("run", spec(tmp_path, later + task(lines)), "--out", "here").code == 0
    assert places(Path("here/b.csv")) == [1, 2, 3, 4, 5]
    assert places(Path("here/a.csv")) == [1, 2]


def places(table: Path) -> list[int]:
    return [int(line.split(",")[1]) for line in table.read_text().splitlines()[1:]]


@with_matplotlib
def test_curves_of_one_thing_name_it_on_their_axis(dln: Any, tmp_path: Path) -> None:
    both = '  emit plot(fit.error, again = fit.error) to "one.svg"\n'
    lines = both + '  emit plot(error = fit.error, cost = fit.cost) to "two.svg"\n'
    assert dln("run", spec(tmp_path, task(lines)), "--out", "here").code == 0
    assert Path("here/one.svg").read_text().count(">error<") == 1
    assert Path("here/two.svg").read_text().count(">error<") == 1  # in the legend alone


# ---- without matplotlib --------------------------------------------------------------------------


def test_without_matplotlib_the_numbers_are_saved(
    dln: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "find_spec", lambda name: None)
    found = dln("run", spec(tmp_path, SHOW), "--out", "here")
    assert found.code == 0, found.err
    said = [line for line in found.err.splitlines() if "error.png" in line]
    assert said == ["show: error.png needs matplotlib: pip install 'dln[plot]'"]
    assert not list(Path("here").glob("*.png"))
    error = np.load("here/error.npy")
    assert error[:, :2].tolist() == [[0, 1], [0, 2], [0, 3]]
    assert np.load("here/matrix.npy").tolist() == [[1, -1, 0], [2, -2, 0]]
    assert np.load("here/tiles.npy").shape == (2, 2, 2)
    assert np.load("here/odd.npy").tolist() == [[[1, 3]], [[2, 5]]]


def test_nothing_but_a_picture_imports_matplotlib() -> None:
    texts = {p.name: p.read_text() for p in Path(pictures.__file__).parents[1].rglob("*.py")}
    assert {n for n, t in texts.items() if '"matplotlib' in t} == {"pictures.py"}
    assert not [n for n, t in texts.items() if "import matplotlib" in t]


# ---- text and tables -----------------------------------------------------------------------------


def test_text_is_printed_and_written(dln: Any, tmp_path: Path) -> None:
    lines = '  emit text("two\\t", 1.5, " of ", sum([2, 3]))\n  emit "a" to "a.txt"\n'
    found = dln("run", spec(tmp_path, task(lines)), "--out", "here")
    assert found.code == 0, found.err
    assert "1.5 of 5" in found.out
    assert Path("here/a.txt").read_text() == "a"


def letters(folder: Path, second: str = "") -> str:
    (folder / "a.txt").write_text("abcabcabcabc", encoding="utf-8")
    return f"""
data one = text("a.txt") {{
  c[time]: class(V) = raw[:-1]
  next[time]: class(V) = raw[1:]
  set window = 2
}}
{second}
let bias = dense(3)
train p on one batch 1 for 1 update {{
  minimize mean(time: cross_entropy(bias(onehot(c)), next)) over bias with sgd(lr = 0)
}}
"""


def test_classes_are_spelled_in_the_alphabet_of_their_text(dln: Any, tmp_path: Path) -> None:
    lines = '  s[4] ~ categorical([0, 1, 0])\n  emit text(">", s, argmax(0 * bias.b)) to "s.txt"\n'
    found = dln("run", spec(tmp_path, letters(tmp_path) + task(lines)), "--out", "here")
    assert found.code == 0, found.err
    assert Path("here/s.txt").read_text() == ">bbbba"


def test_two_alphabets_of_one_size_are_an_error(dln: Any, tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("xyzxyzxyz", encoding="utf-8")
    second = """
data two = text("b.txt") like one
train q on two batch 1 for 1 update {
  minimize mean(time: cross_entropy(bias(onehot(c)), next)) over bias with sgd(lr = 0)
}"""
    body = letters(tmp_path, second) + task("  emit text(argmax(bias.b))\n")
    found = dln("check", spec(tmp_path, body))
    assert found.code == 2
    assert "error[E391]: 2 texts have 3 characters" in found.err
    assert "one has 3 characters" in found.err and "two has 3 characters" in found.err


def test_curves_as_a_table(dln: Any, tmp_path: Path) -> None:
    lines = '  emit plot(a = [1, 2], b = [3]) to "c.csv"\n  emit plot(a = [1, 2]) to "c.npy"\n'
    assert dln("run", spec(tmp_path, task(lines)), "--out", "here").code == 0
    assert Path("here/c.csv").read_text() == "curve,x,y\na,0,1.0\na,1,2.0\nb,0,3.0\n"
    assert np.load("here/c.npy").tolist() == [[0, 0, 1], [0, 1, 2]]


def test_examples_are_those_that_a_condition_holds_for(dln: Any, tmp_path: Path) -> None:
    lines = """  emit examples(x, on = points, where = odd == 1) to "odd.csv"
  emit examples(odd, on = points, n = 3) to "odd.txt"
"""
    assert dln("run", spec(tmp_path, task(lines)), "--out", "here").code == 0
    assert Path("here/odd.csv").read_text() == "1.0\n2.0\n"
    assert Path("here/odd.txt").read_text() == "0\n1\n1\n"


def test_several_values_of_an_example_go_together(dln: Any, tmp_path: Path) -> None:
    """By hand: x is 0, 1, 2, 3 and t 1, 3, 5, 7; the second and third are odd."""
    rows = "first = tiles(x, 1, 1), second = tiles(t, 1, 1)"
    call = f"examples({rows}, on = points, where = odd == 1)"
    lines = f'  emit {call} to "pairs.npy"\n  emit {call} to "pairs.svg"\n'
    assert dln("run", spec(tmp_path, task(lines)), "--out", "here").code == 0
    assert np.load("here/pairs.npy").reshape(2, 2).tolist() == [[1, 3], [2, 5]]
    if pictures.available():
        drawing = Path("here/pairs.svg").read_text()
        assert ">first<" in drawing and ">second<" in drawing


CONFUSED = """
data pairs = npz("pairs.npz") {
  found: class(3) = raw.found
  t: class(3) = raw.t
}
"""


def confused(found: np.ndarray, true: np.ndarray, n: int) -> list[list[int]]:
    """How often each class was taken for which, counted one by one."""
    counts = [[0] * n for _ in range(n)]
    for f, t in zip(found.ravel().tolist(), true.ravel().tolist(), strict=True):
        if f >= 0 and t >= 0:
            counts[t][f] += 1
    return counts


def test_classes_taken_for_one_another_are_counted(dln: Any, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    found, true = random.integers(0, 3, (2, 2500))
    np.savez("pairs.npz", found=found, t=true)
    call = "confusion(found, t, on = pairs)"
    lines = f"""  emit {call}
  emit {call} to "c.csv"
  emit {call} to "c.npy"
  emit {call} to "c.txt"
  emit confusion(found, t, on = pairs, where = found != 1, n = 1200) to "some.npy"
  emit by_class(found, t, on = pairs)
  emit by_class(found, t, on = pairs) to "by.csv"
"""
    path = spec(tmp_path, CONFUSED + task(lines))
    got = dln("run", path, "--out", "here", "--json")
    assert got.code == 0, got.err
    counts = confused(found, true, 3)
    assert got.data["tasks"]["show"][0]["value"] == {"classes": ["0", "1", "2"], "counts": counts}
    assert np.load("here/c.npy").tolist() == counts and sum(map(sum, counts)) == 2500
    rows = [f"{k},{','.join(map(str, row))}" for k, row in enumerate(counts)]
    assert Path("here/c.csv").read_text().splitlines() == ["true,0,1,2", *rows]
    right = 100 * (found == true).mean()
    assert Path("here/c.txt").read_text().startswith(f"{right:.1f} % of 2,500 right\n")
    some = np.flatnonzero(found != 1)[:1200]
    assert np.load("here/some.npy").tolist() == confused(found[some], true[some], 3)
    *shares, examples = precision_recall_fscore_support(true, found)
    by = got.data["tasks"]["show"][5]["value"]
    for name, each in zip(("precision", "recall", "f1"), shares, strict=True):
        np.testing.assert_allclose(by[name], each)
    assert by["examples"] == examples.tolist() and by["right"] == (found == true).mean()
    assert Path("here/by.csv").read_text().splitlines()[0] == "class,precision,recall,f1,examples"


def test_past_the_end_of_a_sequence_nothing_is_counted(dln: Any, tmp_path: Path) -> None:
    found, true = np.random.default_rng(1).integers(0, 2, (2, 40, 5))
    ends = np.arange(40) % 5 + 1
    np.savez("ragged.npz", found=found, t=true, length=ends)
    data = """
data some = npz("ragged.npz") {
  found[time]: class(2) = raw.found
  t[time]: class(2) = raw.t
  length = raw.length
}
"""
    lines = '  emit confusion(found, t, on = some) to "c.npy"\n'
    assert dln("run", spec(tmp_path, data + task(lines)), "--out", "here").code == 0
    past = np.arange(5) >= ends[:, None]
    counts = confused(np.where(past, -1, found), np.where(past, -1, true), 2)
    assert np.load("here/c.npy").tolist() == counts


@with_matplotlib
def test_letters_name_the_classes_that_they_are(dln: Any, tmp_path: Path) -> None:
    """Each letter foretold as the one before it: in abcabc a comes before b."""
    call = "confusion(c, next, on = one)"
    lines = f'  emit {call}\n  emit {call} to "c.svg"\n'
    got = dln("run", spec(tmp_path, letters(tmp_path) + task(lines)), "--out", "here", "--json")
    assert got.code == 0, got.err
    value = got.data["tasks"]["show"][0]["value"]
    assert value == {"classes": ["a", "b", "c"], "counts": [[0, 0, 3], [4, 0, 0], [0, 3, 0]]}
    drawing = Path("here/c.svg").read_text()
    assert ">found<" in drawing and ">true<" in drawing and ">b<" in drawing and ">4<" in drawing


def test_a_file_used_in_a_loop_is_numbered(dln: Any, tmp_path: Path) -> None:
    lines = '  for i in 1..2 {\n    emit [i] to "v.csv"\n  }\n  emit [3] to "w.csv"\n'
    assert dln("run", spec(tmp_path, task(lines)), "--out", "here").code == 0
    found = {p.name: p.read_text() for p in Path("here").glob("[vw]*.csv")}
    assert found == {"v-0.csv": "1.0\n", "v-1.csv": "2.0\n", "w.csv": "3.0\n"}


def test_a_task_of_a_phase_that_was_left_out_is_left_out(dln: Any, tmp_path: Path) -> None:
    later = """train more on points.all batch 2 for 1 epoch {
  minimize sum((line(x) - t)^2) over line with sgd(lr = 0)
  watch error = sum((line(x) - t)^2) every 1 epoch
}
"""
    path = spec(tmp_path, later + task('  emit plot(more.error) to "m.csv"\n'))
    found = dln("run", path, "--phase", "fit")
    assert found.code == 0
    assert 'show: not run: more.error is not known before the phase "more" has run' in found.err


def test_the_extra_is_what_is_looked_for() -> None:
    assert pictures.available() == (importlib.util.find_spec("matplotlib") is not None)
