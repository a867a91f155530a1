"""From files as people have them to predictions, by commands alone: numbers, words and dates with
gaps, sequences of unequal lengths, a text. The oracle is scikit-learn on the same rows,
or the session on one example at a time.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas  # type: ignore[import-untyped]
from sklearn.linear_model import LinearRegression, LogisticRegression

from dln import open as open_run

Dln = Callable[..., Any]


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_numbers(dln: Dln) -> None:
    """Prices out of a spreadsheet: semicolons, decimal commas, thousands, a byte-order mark."""
    rng = np.random.default_rng(7)
    size, rooms = rng.uniform(30, 200, 80).round(1), rng.integers(1, 7, 80)
    price = (1500 * size + 9000 * rooms + rng.normal(0, 4000, 80)).round(2)

    def line(*cells: float) -> str:
        return ";".join(f"{c:,}".translate(str.maketrans(",.", ".,")) for c in cells)

    rows = [line(float(s), int(r), float(p)) for s, r, p in zip(size, rooms, price, strict=True)]
    Path("homes.csv").write_text("Size (m2);Rooms;Price\r\n" + "\r\n".join(rows), "utf-8-sig")
    Path("homes.dln").write_text("""data homes = table("homes.csv") {
  x[2] = standardised([raw.size_m2, raw.rooms])
  price = raw.price / 100000
}
let net = dense(1, init = zero)
train fit on homes batch all for 60 updates dtype float64 {
  minimize (net(x)[0] - price)^2 over net with lbfgs()
}
""")
    assert dln("run", "homes.dln", "-q").code == 0
    Path("new.csv").write_text("rooms,size_m2,where\n3,80.5,Aix\n5,140,Bern\n")
    got = dln("apply", "runs/homes-1", "net", "--data", "new.csv", "--keep", "where")
    found = table(got.out)
    model = LinearRegression().fit(np.stack([size, rooms], 1), price / 1e5)
    expected = model.predict(np.array([[80.5, 3], [140, 5]]))
    assert [r["where"] for r in found] == ["Aix", "Bern"]
    np.testing.assert_allclose([float(r["y[0]"]) for r in found], expected, rtol=1e-5)


def test_words_and_dates_with_gaps(dln: Dln) -> None:
    """Whether somebody comes back: a plan in words, a date, an age that is often missing."""
    n, rng = 120, np.random.default_rng(8)
    plans = np.array(["basic", "family", "gold"])[rng.integers(0, 3, n)]
    days = np.datetime64("2026-01-01") + rng.integers(0, 200, n)
    age = rng.normal(40, 9, n).round()
    odds = (plans == "gold") * 2.0 - (age - 40) / 9 + rng.normal(0, 1, n)
    back = np.where(odds > 0.5, "comes back", "is gone")
    frame = pandas.DataFrame({"joined": days, "plan": plans, "age": age, "outcome": back})
    frame.loc[[3, 50, 77], "age"] = np.nan
    frame.to_csv("people.csv", index=False, na_rep="?")
    Path("people.dln").write_text("""data people = table("people.csv") {
  x[2] = standardised([raw.age, raw.joined])
  plan: class = raw.plan
  outcome: class = raw.outcome
  set missing = mean
}
block score(x[2], plan: class(3)) -> y[2] {
  y = concat(x, onehot(plan)) -> dense(2, init = zero)
}
let net = score()
train fit on people batch all for 200 updates dtype float64 {
  minimize cross_entropy(net(x, plan), outcome) + 0.005 * sum(net.y.W^2) over net with lbfgs()
}
""")
    assert dln("run", "people.dln", "-q").code == 0
    new = frame.iloc[[50, 4, 9, 3]].drop(columns="outcome")[["plan", "age", "joined"]]
    new.to_csv("new.csv", index=False, na_rep="")
    got = dln("apply", "runs/people-1", "net", "--data", "new.csv", "--probabilities")
    filled = frame.age.fillna(frame.age.mean())
    day = (frame.joined - pandas.Timestamp(0)).dt.days
    x = np.stack([(c - c.mean()) / c.std(ddof=0) for c in (filled, day)], 1)
    x = np.concatenate([x, np.eye(3)[np.searchsorted(["basic", "family", "gold"], plans)]], 1)
    # two rows of weights with a penalty of c |W|^2 each, at the best opposite, are one of 2 w
    model = LogisticRegression(C=1 / (n * 0.005), tol=1e-9, max_iter=1000).fit(x, back)
    expected = model.predict_proba(x[[50, 4, 9, 3]])
    found = [[float(r["p comes back"]), float(r["p is gone"])] for r in table(got.out)]
    np.testing.assert_allclose(found, expected, atol=2e-4)
    assert [r["outcome"] for r in table(got.out)] == model.predict(x[[50, 4, 9, 3]]).tolist()


def test_sequences_and_a_text(dln: Dln) -> None:
    rng = np.random.default_rng(9)
    lengths = rng.integers(2, 7, 40)
    x = np.zeros((40, 6, 2))
    for i, n in enumerate(lengths):
        x[i, :n] = rng.normal(i % 2, 0.5, (n, 2))
    np.savez("walks.npz", x=x, length=lengths, kind=np.arange(40) % 2)
    Path("text.txt").write_text("abracadabra " * 9)
    Path("two.dln").write_text("""data walks = npz("walks.npz") {
  x[time, 2] = raw.x
  length = raw.length
  kind: class(2) = raw.kind
}
data text = text("text.txt") {
  c[time]: class(V) = raw[:-1]
  next[time]: class(V) = raw[1:]
  set window = 10
}
block walker(x[time, 2]) -> y[2] {
  h = x -> lstm(3)
  y = last(h) -> dense(2)
}
block reader(c[time]: class(6)) -> y[time, 6] {
  y = onehot(c) -> dense(6)
}
let net = walker()
let lm = reader()
train walk on walks batch 8 for 6 epochs {
  minimize cross_entropy(net(x), kind) over net with adam(lr = 0.05)
}
train read on text batch 2 for 60 epochs {
  minimize mean(time: cross_entropy(lm(c), next)) over lm with adam(lr = 0.1)
}
""")
    got = dln("run", "two.dln", "-q")
    assert got.code == 0, got.err
    for path in ("walks.npz", "text.txt", "two.dln"):
        Path(path).rename(f"old-{path}")
    session = open_run("runs/two-1")
    new = [rng.normal(1, 0.5, (3, 2)), rng.normal(0, 0.5, (5, 2)), rng.normal(1, 0.5, (6, 2))]
    found = session.predict("net", {"x": new})
    assert found["kind"].tolist() == ["1", "0", "1"]
    for row, walk in zip(found["y"], new, strict=True):
        alone = np.zeros((1, 6, 2))
        alone[0, : len(walk)] = walk
        np.testing.assert_allclose(row, session.net(alone, length=[len(walk)])[0], rtol=1e-6)
    Path("new.txt").write_text("cadabra b" * 2)
    letters = table(dln("apply", "runs/two-1", "lm", "--data", "new.txt", "-q").out)
    assert [(r["example"], r["step"]) for r in letters] == [
        *(("0", str(i)) for i in range(10)), *(("1", str(i)) for i in range(8))
    ]  # fmt: skip
    after = {"c": "a", "d": "a", "b": "r", "r": "a", " ": "a"}
    for letter, row in zip("cadabra b" * 2, letters, strict=True):
        assert row["next"] == after.get(letter, row["next"])
    Path("new.txt").write_text("cad\nzebra")
    refused = dln("apply", "runs/two-1", "lm", "--data", "new.txt")
    assert "error[E580]" in refused.err and "line 1: '\\n'" in refused.err
