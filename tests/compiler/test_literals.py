"""Drawings as numbers: tables of marks, and bitmaps read from a file."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

import dln
from dln.compiler.model import Model
from dln.grammar.diagnostics import DlnError

TWO = "#. ##\n.# ..\n\n##\n#.\n"


def numbers(model: Model) -> list[object]:
    """The left sides of a spec's expectations, which are constants."""
    return [e.left["value"] for c in model.checks for e in c.expects]


def spec(folder: Path, text: str) -> Model:
    path = folder / "drawn.dln"
    path.write_text(text)
    return dln.load(path).model


def expected(expression: str, like: str = "0") -> str:
    return f'check "seen" {{\n  expect {expression} == {like}\n}}\n'


def test_marks() -> None:
    text = 'const t = """\n  X.#\n\n  01.\n"""\n' + expected("marks(t)") + expected("marks(t)'")
    found = numbers(dln.load(text).model)
    assert found == [((1, 0, 1), (0, 1, 0)), ((1, 0), (0, 1), (1, 0))]


def test_a_transposed_list_is_a_list() -> None:
    text = expected("[for row in [[1, 2], [3, 4], [5, 6]]': sum(row)]")
    assert numbers(dln.load(text).model) == [(9, 12)]


def test_glyphs_side_by_side_and_below(tmp_path: Path) -> None:
    (tmp_path / "two.txt").write_text(TWO)
    model = spec(tmp_path, expected('glyphs("two.txt")'))
    assert numbers(model) == [((1, -1, -1, 1), (1, 1, -1, -1), (1, 1, 1, -1))]
    assert [d.text for d in model.drawings] == [TWO]


def test_another_drawing_is_another_spec(tmp_path: Path) -> None:
    """A checkpoint knows what it was trained with."""
    text = """
data d = rows([[1, 2, 3, 4]]) {
  x[4] = raw
}
block b(x[n]) -> y {
  param w[3] = 1
  fixed D[3, n] = glyphs("two.txt")
  y = w @ (D @ x)
}
let f = b()
train t on d for 1 epoch {
  minimize f(x)^2 over f with sgd(lr = 0.1)
}
"""

    def fingerprint(drawing: str) -> str:
        (tmp_path / "two.txt").write_text(drawing)
        spec(tmp_path, text)
        return dln.load(tmp_path / "drawn.dln").compile().plan.fingerprint

    assert fingerprint(TWO) == fingerprint(TWO) != fingerprint(TWO.replace("##", "#."))


@pytest.mark.parametrize(
    ("drawing", "message", "line", "label"),
    [
        ("#. ##\n.# .x\n", "a bitmap is drawn with # and .", 2, 'holds "x"'),
        ("#. ##\n.# .\n", "the lines of a bitmap are of one width", 2, "widths 2 1, above it 2 2"),
        ("#.\n.#\n\n\n##\n", "the bitmaps of a file are of one size", 5, "1 x 2 begins here"),
    ],
)
def test_faults_of_a_drawing(
    tmp_path: Path, drawing: str, message: str, line: int, label: str
) -> None:
    (tmp_path / "two.txt").write_text(drawing)
    with pytest.raises(DlnError) as caught:
        spec(tmp_path, expected('glyphs("two.txt")'))
    (problem,) = caught.value.problems
    assert (problem.code, problem.message) == ("E219", message)
    assert problem.span is not None and problem.span.line == line and label in problem.label
    assert problem.notes[0].span.text == 'glyphs("two.txt")'


@pytest.mark.parametrize(
    ("name", "code"), [("none.txt", "E501"), ("../up.txt", "E502"), ("binary.txt", "E503")]
)
def test_files_that_are_no_drawings(tmp_path: Path, name: str, code: str) -> None:
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe#")
    with pytest.raises(DlnError) as caught:
        spec(tmp_path, expected(f'glyphs("{name}")'))
    (problem,) = caught.value.problems
    assert problem.code == code and problem.span is not None and "--data" not in problem.remedy


def test_a_long_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_bytes(b"#" * 1_000_001)
    with pytest.raises(DlnError) as caught:
        spec(tmp_path, expected('glyphs("long.txt")'))
    assert [p.code for p in caught.value.problems] == ["E508"]


def test_the_digits_of_lenet5() -> None:
    """Ten drawings of 12 lines and 7 columns, 6 and 8 the nearest, and each about what it should
    be: the ink of each is counted by hand."""
    (value,) = numbers(dln.load(expected('glyphs("digits-7x12.txt")')).model)
    digits = np.array(value)
    assert digits.shape == (10, 84) and set(digits.ravel()) == {-1, 1}
    apart = {(a, b): int(np.sum(digits[a] != digits[b])) for a, b in combinations(range(10), 2)}
    assert min(apart.values()) == apart[6, 8] == 12
    assert [pair for pair, n in apart.items() if n == max(apart.values()) == 50] == [
        (1, 4), (1, 8), (4, 7),
    ]  # fmt: skip
