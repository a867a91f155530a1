"""What files that stand alone are made of, piece by piece.

They are copied into such a file as text; here they run where they are written. Oracles: the
runtime's own order, SciPy, scikit-learn, files written by NumPy and safetensors, numbers by hand.
"""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from dln.runtime.readers import sampling_order
from dln.standalone import class_tables, pieces
from dln.standalone.descent import LineDescent, cubic

RULES = {"c1": 1e-4, "c2": 0.9, "trials": 20, "grad_tol": 1e-9, "change_tol": 0.0}


# ---- files and arrays --------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "kind"), [(8, "u1"), (9, "i1"), (11, ">i2"), (13, ">f4")])
def test_idx_files(code: int, kind: str, tmp_path: Path) -> None:
    array = np.arange(-3, 21).reshape(4, 3, 2).astype(kind)
    raw = bytes([0, 0, code, 3]) + struct.pack(">3I", 4, 3, 2) + array.tobytes()
    (tmp_path / "a").write_bytes(raw)
    (tmp_path / "b").write_bytes(gzip.compress(raw))
    for name in "ab":
        assert np.array_equal(pieces.idx_of(tmp_path / name), array)
        assert code != 8 or np.array_equal(pieces.idx(tmp_path / name), array)


def test_real_arrays_of_a_safetensors_file(tmp_path: Path) -> None:
    held: dict[str, Any] = {"w": np.eye(2, dtype=np.float32), "v": np.ones(3), "n": np.arange(2)}
    save_file(held, tmp_path / "a.safetensors")
    found = pieces.tensors(tmp_path / "a.safetensors")
    assert found.keys() == {"w", "v"} and all(np.array_equal(found[k], held[k]) for k in found)


def test_arrays_that_are_given(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.ones((4, 2)), t=np.arange(4))
    given = pieces.sets_of([f"d={tmp_path / 'a.npz'}"])
    found = pieces.handed(given, "d", {"x": (2,), "t": ()})
    assert found["x"].shape == (4, 2) and found["t"].tolist() == [0, 1, 2, 3]
    given["short"] = {"x": np.ones((3, 2)), "t": np.arange(4)}
    for name, fields, said in [
        ("d", {"x": (2,), "k": ()}, "d is given no k"),
        ("none", {"x": (2,)}, "none is given no x"),
        ("short", {"x": (2,), "t": ()}, "different numbers of examples"),
        ("d", {"x": (3,)}, r"x has examples of \[2\], and \(3,\) is wanted"),
    ]:
        with pytest.raises(SystemExit, match=said):
            pieces.handed(given, name, fields)
    with pytest.raises(SystemExit, match="no SET=FILE.npz of arrays"):
        pieces.sets_of(["d=nowhere.npz"])


def test_sequences_stay_at_their_last_step() -> None:
    part = {"x": np.arange(12).reshape(2, 6), "end": np.array([2.0, 6.0])}
    assert pieces.settled(part, {"x": "end"})["x"].tolist() == [[0, 1, 1, 1, 1, 1], [*range(6, 12)]]


def test_fields_are_made_by_hundreds_and_drawn_by_update() -> None:
    raw, rows = {"a": np.arange(500)}, np.arange(499, -1, -1)
    sizes: list[int] = []

    def program(a: Any) -> Any:
        sizes.append(len(a))
        return {"x": a / 2, "k": a}

    made = pieces.fields(program, raw, rows, np.float32)
    assert sizes == [200, 200, 100] and made["x"].dtype == np.float32
    assert np.array_equal(made["x"], rows / 2) and made["k"].dtype == rows.dtype
    part = pieces.drawn(lambda update, a: {"x": a * update + 0.5}, raw, rows, np.float32)
    assert pieces.pick(part, np.array([0, 1]), 3)["x"].tolist() == [1497.5, 1494.5]
    assert pieces.pick(made, np.array([2]), 3)["k"].tolist() == [497]


def test_random_orders_are_those_of_a_run() -> None:
    for seed, site, epoch in [(0, 5, 0), (2**70 + 3, 17, 4)]:
        assert np.array_equal(
            pieces.permutation(50, seed, site, epoch),
            np.argsort(sampling_order.words(50, seed, site, epoch), kind="stable"),
        )
        drawn = pieces.replacement(50, seed, site, epoch)
        by_hand = np.floor(sampling_order.unit(50, seed, site, epoch) * 50)
        assert np.array_equal(drawn, by_hand)
    out = pieces.uniform(np.empty(1000, np.float32), 3, 4, 5)
    assert 0 <= out.min() and out.max() < 1 and abs(out.mean() - 0.5) < 0.05


def test_arrays_in_a_precision() -> None:
    held = {"w": np.ones(3), "b": np.ones(2, np.float32)}
    cast = pieces.cast(held, np.float32)
    assert cast["b"] is held["b"] and cast["w"].dtype == np.float32
    wide = pieces.wide({"w": cast["w"], "k": np.arange(3)})
    assert wide["w"].dtype == float and wide["k"].dtype == np.arange(3).dtype
    assert pieces.marks("X. .X", 0.1, 0.9, "f8").tolist() == [[0.9, 0.1], [0.1, 0.9]]


def test_shards_are_joined_in_their_order() -> None:
    x, kept = np.array([3.0, -1, 4, 1]), [dict[str, Any]() for _ in range(3)]

    def program(low: int, high: int, rows: Any) -> Any:
        assert rows == {}
        some = x[low:high]
        return {"added:a": some.sum(), "largest:b": some.max(), "smallest:c": some.min(), "own": 1}

    found = pieces.in_shards(program, 4, kept, np.float64)
    assert {k: float(v) for k, v in found.items()} == {
        "added:a": 7, "largest:b": 4, "smallest:c": -1}  # fmt: skip
    assert [rows["own"] for rows in kept] == [1, 1, 1]
    few = pieces.in_shards(program, 2, [{}, {}, {}], np.float64)
    assert few["added:a"] == 2 and few["largest:b"] == 3  # a shard of nothing adds nothing


# ---- what is watched ---------------------------------------------------------------------------


def test_sums_over_parts() -> None:
    part, which = {"x": np.arange(10.0)}, np.arange(9)
    assert pieces.over(lambda some: some["x"].sum(), part, which, 4, 0) == 36
    assert pieces.over(lambda some: some["x"].sum(), part, which[:0], 4, 0) == 0
    tallied = pieces.tallied(lambda some: {"s": some["x"].sum(), "n": len(some["x"])}, part, which,
                             4, 0)  # fmt: skip
    assert tallied == {"s": 36, "n": 9}
    state = {"m": np.full((), 7.0)}
    pieces.estimate(lambda some: {"m": some["x"].mean()}, part, which, 4, 0, state)
    assert state["m"] == pytest.approx(4)


ROWS = [(10, 1, 5.0), (20, 2, 3.0), (30, 3, 3.5), (40, 4, 3.2), (50, 5, 3.4)]


def test_what_an_update_hears() -> None:
    assert [pieces.heard(ROWS, 9.0, at, None) for at in (None, 0, 4, 8, -1, -5)] == [
        3.4, 5.0, 3.4, 3.4, 3.2, 9.0]  # fmt: skip
    assert pieces.heard([], [1.0, 2.0], None, 1) == 2 and pieces.heard([], 9.0, 0, None) == 9
    assert pieces.fold(ROWS, "update", 1, (0.0,), None) == 30
    assert pieces.fold(ROWS, "epoch", 1, (0.0,), None) == 3
    assert pieces.fold(ROWS, "update", -1, (0.0,), None) == 40  # the largest came first
    assert pieces.fold([(1, 1, [2.0, 8.0]), (2, 1, [1.0, 9.0])], "update", 1, (0.0,), 1) == 1
    assert pieces.fold(ROWS, "plateau", 1, (0.5, 2, 0.0, 0), None) == 0.5
    assert pieces.fold(ROWS, "plateau", 1, (0.5, 1, 0.0, 1), None) == 0.25
    assert pieces.fold([], "epoch", 1, (0.0,), None) == 0


def test_what_is_told_of_a_phase(capsys: pytest.CaptureFixture[str]) -> None:
    told: dict[str, Any] = {}
    pieces.report(told, "fit.e", 10, 1, np.float32(0.5))
    with pytest.raises(ValueError):  # WIDE is put in as a number when the file is written
        pieces.finished(told, "fit", 10, 1, 0.25)
    assert told["fit.e"] == [(10, 1, 0.5)] and told["fit"]["updates"] == 10


def test_examples_that_are_picked() -> None:
    part = {"x": np.arange(10)}
    odd = pieces.picked(lambda s: {"x": s["x"], "where": s["x"] % 2}, part, ["x"], 3, 3)
    assert odd[0].tolist() == [1, 3, 5]
    assert pieces.picked(lambda s: s, part, ["x"], 4)[0].tolist() == [*range(10)]


def test_how_values_are_shown_and_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert pieces.shown("a") == "\na" and pieces.shown(0.1234567) == "0.123457"
    assert pieces.shown(np.array([1.0, 2.5])) == "[1, 2.5]"
    assert pieces.shown(np.ones((2, 1, 2))) == "\n1  1\n1  1"
    pieces.save("t", "a.txt", "text")
    pieces.save("t", "b.csv", np.array([[1.5, 2], [3, 4]]))
    pieces.save("t", "c.txt", np.array([1, 2]))
    pieces.save("t", "d.png", np.ones(3))
    assert Path("a.txt").read_text() == "text" and Path("c.txt").read_text() == "1\n2\n"
    assert Path("b.csv").read_text() == "1.5,2.0\n3.0,4.0\n"
    assert np.load("d.npy").tolist() == [1, 1, 1]
    assert capsys.readouterr().out.endswith("t: wrote d.npy\n")


def test_what_is_checked(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        ("a == b", "fit", lambda: (1.0, "", 1.05, 0.1)), ("c < 2", "fit", lambda: (3, "<", 2, 0)),
        ("d", "fit", "needs --slow"), ("e", "fit", lambda: (np.arange(6), ">=", 0, 0)),
    ]  # fmt: skip
    with pytest.raises(SystemExit) as left:
        pieces.checked(False, [("it", *rows)])
    said = capsys.readouterr().out
    assert left.value.code is True and "2 passed, 1 failed, 1 not run" in said
    assert "measured 1  " in said and "expected 1.05 within 0.1" in said
    assert "measured 6 numbers" in said and "expected < 2" in said and "needs --slow" in said
    with pytest.raises(SystemExit) as left:
        pieces.checked(True, [("it", rows[0])])
    assert left.value.code is False and "the phase fit was shortened" in capsys.readouterr().out


def test_tables_of_classes_are_scikit_learns() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(1)
    found, true = rng.integers(0, 4, 60), rng.integers(0, 3, 60)  # one class never occurs
    part = {"f": found, "t": true}
    counts = class_tables.counted(lambda s: s, part, ["f", "t"], 7, 4)
    assert np.array_equal(counts, metrics.confusion_matrix(true, found, labels=range(4)))
    p, r, f, n = metrics.precision_recall_fscore_support(
        true, found, labels=range(4), zero_division=0)  # fmt: skip
    assert np.allclose(class_tables.shares(counts), np.stack([p, r, f], 1), atol=1e-15)
    assert [row[3] for row in class_tables.share_rows(counts)] == n.tolist()
    names = ["a", 'b"', "c, d", "e"]
    text = class_tables.of_counts(counts, names)
    assert text.startswith(f"{100 * (found == true).mean():.1f} % of 60 right\n")
    assert text.splitlines()[-1].split()[0] == "e"  # which has no share of what it never is
    assert "mean" in class_tables.of_shares(counts, names)
    assert class_tables.commas(["x"], names[1:3], [[1], [2]]) == 'x\n"b""",1\n"c, d",2\n'


# ---- a descent along lines ---------------------------------------------------------------------


def descended(loss: Any, slope: Any, start: Any, rules: Any = RULES, count: int = 60) -> Any:
    """A descent from a point, iterated; where it ends."""
    w = np.array(start, float)
    state = {"descent.points": np.zeros((5, w.size)), "descent.slopes": np.zeros((5, w.size))}
    descent = LineDescent([w], ["g"], state, rules)
    for _ in range(count):
        with np.errstate(all="raise"):
            descent.iterate(lambda: {"loss": loss(w), "g": slope(w)})
        if descent.ended:
            break
    return descent, w


def test_a_descent_finds_the_lowest_point() -> None:
    optimize = pytest.importorskip("scipy.optimize")
    descent, w = descended(optimize.rosen, optimize.rosen_der, [-1.2, 1, 0.5])
    assert descent.ended == "the gradient is flat" and np.allclose(w, 1, atol=1e-8)
    loose = {**RULES, "change_tol": 1e-3}
    descent, _ = descended(optimize.rosen, optimize.rosen_der, [-1.2, 1, 0.5], loose)
    assert descent.ended == "the loss has settled"


def test_a_descent_that_finds_nothing_lower_ends() -> None:
    descent, w = descended(lambda w: abs(w).sum(), lambda w: -np.sign(w), [3.0, -2.0])
    assert descent.ended == "no lower loss along the line" and w.tolist() == [3, -2]
    steep = {**RULES, "trials": 1}
    descent, w = descended(lambda w: (w**2).sum(), lambda w: 2 * w, [3.0], steep, 1)
    assert (w**2).sum() < 9 and not descent.ended


def test_a_descent_walks_back_from_where_numbers_are_left() -> None:
    """log w has no slope below 0, where its first steps would go."""
    descent, w = descended(
        lambda w: float((w - np.log(w)).sum()), lambda w: 1 - 1 / w, [1e-3, 40.0])  # fmt: skip
    assert descent.ended and np.allclose(w, 1, atol=1e-6)


def test_the_cubic_through_two_steps() -> None:
    """x^3 - 3 x is lowest at 1."""
    a, b = ((x, x**3 - 3 * x, 3 * x**2 - 3) for x in (0.2, 1.7))
    assert cubic(a, b, 9.0) == pytest.approx(1) and cubic(b, a, 9.0) == pytest.approx(1)
    assert cubic(a, a, 9.0) == 9 and cubic(a, (1.7, np.inf, 1.0), 9.0) == 9
    assert cubic((0.0, 0.0, -1.0), (1.0, -1.0, -1.0), 9.0) == 9  # a straight line
