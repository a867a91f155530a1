"""Fields of data sets, those that run over time among them: their types, and what they hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dln.spec as specs
from dln.grammar.diagnostics import DlnError
from dln.runtime.readers.validation import Arrays


def spec(tmp_path: Path, text: str) -> specs.Spec:
    path = tmp_path / "net.dln"
    path.write_text(text)
    return specs.load(path)


def held(found: specs.Spec, data: str, part: str = "all") -> Arrays:
    """The fields of a part, as a session sees them."""
    session = found.compile().session()
    return session.datasets.part(data, part, "float64").arrays


def arrays(tmp_path: Path, **fields: Any) -> None:
    np.savez(tmp_path / "a.npz", **fields)


X = np.random.default_rng(0).normal(size=(7, 5, 2))


def test_a_text_as_windows(tmp_path: Path) -> None:
    text = "the quick brown fox jumps over the lazy dog"
    (tmp_path / "fox.txt").write_text(text)
    found = spec(
        tmp_path,
        'data fox = text("fox.txt") {\n  c[time]: class(V) = raw[:-1]\n'
        "  next[time]: class(V) = raw[1:]\n  split fit 0.5, valid 0.5\n  set window = 6\n}\n",
    )
    data = found.model.data["fox"]
    assert data.alphabet == "".join(sorted(set(text))) and data.lengths == ()
    assert (data.count, data.stretch("fit"), data.stretch("valid")) == (7, (0, 4), (4, 3))
    for name in ("c", "next"):
        type = data.fields[name].node.type
        assert type.running == ("batch", "time")
        assert str(type) == f"[batch, time=6]: class({len(set(text))})"
    c, following = (held(found, "fox")[k] for k in ("c", "next"))
    read = ["".join(data.alphabet[i] for i in row) for row in c]
    assert "".join(read) == text[:42]
    assert "".join(data.alphabet[i] for i in following.reshape(-1)) == text[1:43]
    plan = found.compile().plan.data["fox"]
    assert [(f.shape, f.classes) for f in plan.fields] == [((6,), len(set(text)))] * 2


def test_the_shipped_text(tmp_path: Path) -> None:
    found = spec(
        tmp_path,
        'use "shakespeare.dln"\n'
        'data lines = text("tinyshakespeare.txt") like bard {\n'
        "  split fit 0.9, valid 0.1\n  set window = 25\n}\n"
        "train a on bard.fit batch all for 1 epoch {\n  watch w = mean(onehot(c))\n}\n"
        "train b on lines.fit batch all for 1 epoch {\n  watch w = mean(onehot(c))\n}\n",
    )
    bard, lines = found.model.data["bard"], found.model.data["lines"]
    assert (bard.options, lines.options) == ({"window": 50}, {"window": 25})
    assert [bard.stretch(p) for p in ("all", "fit", "valid")] == [
        (0, 22307),
        (0, 21192),
        (21192, 1115),
    ]
    assert bard.parts["fit"].count // 50 == 423  # updates of an epoch with char-rnn's recipe
    assert lines.count == 1115393 // 25 and lines.parts["fit"].count == round(lines.count * 0.9)
    assert lines.fields["c"].node.type.size_of("time").constant == 25


def test_a_window_without_a_setting_is_50(tmp_path: Path) -> None:
    found = spec(
        tmp_path,
        'data d = text("tinyshakespeare.txt") {\n  c[time]: class(V) = raw\n}\n'
        "train t on d batch 9 for 1 epoch {\n  watch w = mean(onehot(c))\n}\n",
    )
    assert found.model.data["d"].options == {"window": 50}


def test_the_first_axis_is_the_time(tmp_path: Path) -> None:
    """The other axes are each step's; what follows from a field over time runs over it too."""
    arrays(tmp_path, x=X, image=X.reshape(7, 5, 1, 2) / 2, t=np.arange(7.0), k=np.arange(7) % 3)
    found = spec(
        tmp_path,
        'data d = npz("a.npz") {\n  x[time, 2] = raw.x\n  image[time, 2] = raw.image\n'
        "  twice[time, 2] = 2 * x\n  first[time] = raw.x[:, 0]\n  both[time] = first * first + 1\n"
        "  t = raw.t\n  k[time]: class(3) = [0, 1, 2, 0, 1]\n  one = 1\n}\n"
        "train a on d batch all for 1 epoch {\n  watch w = t\n}\n",
    )
    got = held(found, "d")
    want = {"x": X, "image": X / 2, "twice": 2 * X, "first": X[..., 0], "t": np.arange(7.0)}
    want |= {"both": X[..., 0] ** 2 + 1, "one": np.ones(7)}
    want |= {"k": np.broadcast_to([0, 1, 2, 0, 1], (7, 5))}
    assert got.keys() == want.keys()
    for name, array in want.items():
        np.testing.assert_allclose(got[name], array, rtol=1e-15)


def test_drawn_over_time(tmp_path: Path) -> None:
    arrays(tmp_path, x=X)
    found = spec(
        tmp_path,
        'data d = npz("a.npz") {\n  x[time, 2] ~ normal(raw.x, 0.1)\n}\n'
        "train a on d batch all for 1 epoch {\n  watch w = mean(mean(x))\n}\n",
    )
    part = found.compile().session().datasets.part("d", "all", "float64")
    one, two = (part.fields(np.arange(7), u)["x"].copy() for u in (0.0, 1.0))
    assert one.shape == X.shape and not np.array_equal(one, two)
    assert 0 < abs(one - X).max() < 0.6


LENGTHS = np.array([1, 5, 2, 3, 5, 4, 1])
TIMED = 'data d = npz("a.npz") {\n  x[time, 2] = raw.x\n%s}\ntrain a on d for 1 epoch {\n' + (
    "  watch w = 1\n}\n"
)


@pytest.mark.parametrize("line", ["", "  length = raw.length\n"])
def test_lengths_come_with_the_data(tmp_path: Path, line: str) -> None:
    arrays(tmp_path, x=X, length=LENGTHS)
    found = spec(tmp_path, TIMED % line)
    data = found.model.data["d"]
    assert data.lengths == ("length",) and list(data.fields) == ["x", "length"]
    assert data.fields["length"].node.type.kind == "index"
    np.testing.assert_array_equal(held(found, "d")["length"], LENGTHS)
    (field,) = [f for f in found.compile().plan.data["d"].fields if f.name == "length"]
    assert (field.kind, field.shape, field.domain, field.classes) == ("index", (), "length", 5)


def test_lengths_are_none_where_nothing_runs_over_time(tmp_path: Path) -> None:
    arrays(tmp_path, x=X, length=LENGTHS)
    found = spec(tmp_path, TIMED.replace("x[time, 2]", "x[5, 2]") % "")
    assert found.model.data["d"].lengths == () and "length" not in found.model.data["d"].fields


@pytest.mark.parametrize("wrong", [0, 6])
def test_lengths_are_checked_when_read(tmp_path: Path, wrong: int) -> None:
    arrays(tmp_path, x=X, length=np.array([1, 5, 2, wrong, 5, 4, 1]))
    with pytest.raises(DlnError) as caught:
        held(spec(tmp_path, TIMED % ""), "d")
    said = f"length: example 3 has {wrong}, expected a length, 1 to 5 steps"
    assert [(p.code, p.message) for p in caught.value.problems] == [("E554", said)]


@pytest.mark.parametrize("length", [LENGTHS / 2, np.ones((7, 2), int)])
def test_lengths_are_one_whole_number_each(tmp_path: Path, length: np.ndarray) -> None:
    arrays(tmp_path, x=X, length=length)
    with pytest.raises(DlnError, match="length is how long each sequence is: one whole number"):
        spec(tmp_path, TIMED % "")
