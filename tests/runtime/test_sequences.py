"""Synthetic sequences: each example against its definition, written out in plain Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dln.compiler.plan import DataSource
from dln.grammar.diagnostics import Fault
from dln.runtime.readers.readers import probe, read
from dln.runtime.readers.synthetic_sequences import SEQUENCES

Example = dict[str, Any]


def decl(name: str, *args: object, **options: object) -> DataSource:
    return DataSource("synthetic", (name, *args), options, ".")


def examples(found: dict[str, np.ndarray]) -> list[Example]:
    """The arrays as one dictionary of plain Python values for each example."""
    count = len(next(iter(found.values())))
    return [{k: a[i].tolist() for k, a in found.items()} for i in range(count)]


def marks(x: list[list[float]]) -> list[int]:
    return [i for i, (_, mark) in enumerate(x) if mark == 1.0]


def adding(e: Example) -> None:
    x, t = e["x"], e["t"]
    one, two = marks(x)
    assert one < len(x) // 2 <= two and t == x[one][0] + x[two][0]
    assert all(0 <= v < 1 and m in (0, 1) for v, m in x)


def published(low: float, e: Example, steps: int = 40) -> tuple[float, float]:
    """The two marked values of an example of 1997, everything else checked."""
    x, n = e["x"], e["length"]
    assert steps <= n <= steps + steps // 10 and len(x) == steps + steps // 10
    places = marks(x)
    assert len(places) == 2 and places[0] < 10 and places[1] <= steps // 2 - 1
    for i, (value, mark) in enumerate(x):
        expected = 1.0 if i in places else 0.0 if 0 < i < n - 1 or i >= n else -1.0
        assert mark == expected and low <= value <= 1 and (i < n or value == 0)
    return x[places[0]][0], x[places[1]][0]


def adding1997(e: Example) -> None:
    one, two = published(-1.0, e)
    assert e["t"] == 0.5 + (one + two) / 4
    assert 0 not in marks(e["x"]) or one == 0.0


def multiplication(e: Example) -> None:
    one, two = published(0.0, e)
    assert e["t"] == one * two
    assert 0 not in marks(e["x"]) or one == 1.0


def latch(e: Example) -> None:
    x, n = e["x"], e["length"]
    assert 40 <= n <= 44 and len(x) == 44
    assert x[:3] == [1.0 if e["label"] else -1.0] * 3
    assert all(v == 0 for v in x[n:]) and all(v not in (0, 1, -1) for v in x[3:n])


def first_symbol(e: Example) -> None:
    assert len(e["symbols"]) == 13 and e["first"] == e["symbols"][0]
    assert all(s in range(8) for s in e["symbols"])


def copy(e: Example) -> None:
    s, t = e["symbols"], e["target"]
    assert t == [s[i - 4] if i >= 4 else 0 for i in range(len(s))] and len(s) == 9


def reversal(e: Example) -> None:
    assert e["target"] == list(reversed(e["source"])) and len(e["source"]) == 5


def parity(e: Example) -> None:
    odd = False
    for bit, label in zip(e["x"], e["label"], strict=True):
        assert bit in (0.0, 1.0)
        odd ^= bit == 1.0
        assert label == odd


def sign(e: Example) -> None:
    ups = e["x"].count(1.0)
    assert ups + e["x"].count(-1.0) == 11 and e["label"] == (ups > 5)


def stutter(e: Example) -> None:
    n, m, source, target = (e[k] for k in ("source_length", "target_length", "source", "target"))
    said = [s for s in source[:n] for _ in range(2 if s % 2 else 1)]
    assert 4 <= n <= 9 and len(source) == 9 and len(target) == 18
    assert target[:m] == said and not any(source[n:]) and not any(target[m:])


def tags(e: Example) -> None:
    n, ends = e["length"], (e["tags"], e["symbols"])
    assert 6 <= n <= 12 and all(len(a) == 12 for a in ends)
    assert all(v in range(4) for a in ends for v in a) and not any(v for a in ends for v in a[n:])


DIGITS = {
    0: "111101101101111", 1: "010110010010111", 2: "111001111100111", 3: "111001111001111",
    4: "101101111001001", 5: "111100111001111", 6: "111100111101111", 7: "111001001001001",
    8: "111101111101111", 9: "111101111001111",
}  # fmt: skip


def digits(e: Example) -> None:
    assert len(e["image"]) == 5 and all(len(row) == 11 for row in e["image"])
    for i, label in enumerate(e["labels"]):
        seen = "".join(str(int(v)) for row in e["image"] for v in row[4 * i : 4 * i + 3])
        assert seen == DIGITS[label]
    assert all(row[3] == row[7] == 0 for row in e["image"])


CASES: list[tuple[DataSource, Callable[[Example], None]]] = [
    (decl("adding", 7, 300), adding),
    (decl("adding1997", 40, 300), adding1997),
    (decl("multiplication", T=40, count=300), multiplication),
    (decl("latch", 40, 3, 300), latch),
    (decl("first-symbol", 12, 8, 300), first_symbol),
    (decl("copy", 9, 4, 5, 300), copy),
    (decl("reversal", count=300), reversal),
    (decl("parity-steps", 12, 300), parity),
    (decl("sign", 11, 300), sign),
    (decl("digits-row", 3, 300), digits),
    (decl("stutter", 9, 5, 300), stutter),
    (decl("tags", 12, 4, 0.7, 0.6, 300), tags),
]


def test_every_set_is_tested() -> None:
    assert {d.args[0] for d, _ in CASES} == set(SEQUENCES)


@pytest.mark.parametrize(("d", "holds"), CASES, ids=lambda v: getattr(v, "args", [""])[0])
def test_every_example_is_as_defined(d: DataSource, holds: Callable[[Example], None]) -> None:
    found = read(d)
    assert len(next(iter(found.values()))) == 300
    for example in examples(found):
        holds(example)


@pytest.mark.parametrize("d", [d for d, _ in CASES], ids=lambda d: d.args[0])
def test_probed_and_read_alike(d: DataSource) -> None:
    schema, found = probe(d), read(d)
    assert list(found) == list(schema.fields)
    for name, field in schema.fields.items():
        assert found[name].shape == (schema.count, *field.shape)
        assert found[name].dtype == (np.int64 if field.kind == "index" else np.float64)
    labels = [found[k] for k in ("label", "labels", "first", "symbols", "source") if k in found]
    assert (schema.classes is None) == (not labels)
    assert all(a.min() == 0 and a.max() == (schema.classes or 0) - 1 for a in labels)


@pytest.mark.parametrize("d", [d for d, _ in CASES], ids=lambda d: d.args[0])
def test_drawn_by_seed_and_place_alone(d: DataSource) -> None:
    """The same again; other draws for another seed; a smaller set is the head of a larger."""
    name, v = str(d.args[0]), {**SEQUENCES[str(d.args[0])].parameters, **d.options}
    v |= dict(zip(SEQUENCES[name].parameters, d.args[1:], strict=False))
    small, other = read(decl(name, **{**v, "count": 100})), read(decl(name, **v, seed=1))
    for key, array in read(d).items():
        assert np.array_equal(array[:100], small[key])
        assert not np.array_equal(array, other[key])


def test_the_figures_that_are_published() -> None:
    """Always answering 1 errs by 1/6; what is drawn is uniform, or normal of variance 0.2."""
    n = 20000
    t = read(decl("adding", 50, n))["t"]
    assert abs(np.mean((t - 1) ** 2) - 1 / 6) < 0.01
    found = read(decl("adding1997", 100, n))
    assert set(found["length"]) == set(range(100, 111))
    places = np.argwhere(found["x"][..., 1] == 1)[:, 1].reshape(-1, 2)
    assert places.min() == 0 and places.max() == 49  # the minimal lag of 50 at T = 100
    shares = np.bincount(places.min(1), minlength=10)[:10] / n
    assert shares.min() > 0.08
    assert abs(found["x"][:, 1:90, 0].mean()) < 0.01
    assert abs(found["t"].mean() - 0.5) < 0.01 and 0 <= found["t"].min() and found["t"].max() <= 1
    latch = read(decl("latch", 100, 3, 2000))["x"][:, 3:100]
    assert abs(latch.var() - 0.2) < 0.005 and abs(latch.mean()) < 0.01


def test_tags_change_and_are_told_as_often_as_is_said() -> None:
    found = read(decl("tags", 12, 4, 0.7, 0.6, 5000))
    tags, symbols = found["tags"][:, :6], found["symbols"][:, :6]  # every sequence has these
    assert abs(np.mean(tags[:, 1:] == tags[:, :-1]) - 0.7) < 0.01
    assert abs(np.mean(symbols == tags) - (0.6 + 0.4 / 4)) < 0.01
    assert np.abs(np.bincount(tags.ravel()) / tags.size - 1 / 4).max() < 0.02


def test_parameters_that_are_too_small() -> None:
    cases = [
        (decl("adding", 1), "T must be at least 2, not 1"),
        (decl("adding1997", 19), '"adding1997": T must be at least 20'),
        (decl("multiplication", 10), '"multiplication": T must be at least 20'),
        (decl("latch", 3, 3), "T must be at least 4"),
        (decl("copy", 4, 4), "T must be at least 5"),
        (decl("tags", classes=1), "classes must be at least 2"),
        (decl("tags", sure=1.5), "sure must be a probability, not 1.5"),
        (decl("sign", 0), "T must be a whole number of at least 1"),
        (decl("sign", 4), "T must be odd, or the sum may be 0; it is 4"),
        (decl("sign", 3, 0), "count = 0 has no examples"),
        (decl("sign", lenght=3), "no parameter"),
    ]
    for d, said in cases:
        with pytest.raises(Fault, match=said) as e:
            probe(d)
        assert e.value.code == "E510"
