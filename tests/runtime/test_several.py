"""Watches of several numbers: entry by entry what watches of one number are, and kept as lists."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trials.stopping import Countdown

import dln
from dln.runtime.checkpoint.rundir import RunDirectory
from dln.runtime.session import Interrupted, Session

DATA = np.random.default_rng(3).normal(size=(11, 3)).round(3)
SPEC = f"""
data d = rows({DATA.tolist()}) {{
  x[2] = raw[:2]
  t = raw[2]
  split fit 8, valid 3
}}
let net = dense(1)
train fit on d.fit batch 3 for 4 epochs order ORDER DTYPE {{
  y = sum(net(x))
  e = (y - t)^2
  minimize e over net with sgd(lr = 0.05)
  WATCHES
  checkpoint best by max(both)
  checkpoint every 2 updates
}}
"""
WAYS = ("", "on d.valid every 1 epoch", "every 1 epoch", "every 2 updates", "on d every 2 updates")
LINES = "\n  ".join(
    f"watch {total}{name}{i} = {value} {how}"
    for i, (total, how) in enumerate([(t, w) for t in ("", "total ") for w in WAYS])
    for name, value in (
        ("both", "[e, abs(y)]"),
        ("one", "e"),
        ("two", "abs(y)"),
        ("of", "[norm(net.W), mean(batch: e), max(batch: y)]"),
        ("third", "max(batch: y)"),
    )
    if not (name in ("of", "third") and total)
).replace("both0", "both", 1)


@cache
def compiled(watches: str, dtype: str = "float64", order: str = "file") -> Any:
    text = SPEC.replace("WATCHES", watches).replace("ORDER", order)
    return dln.load(text.replace("DTYPE", f"dtype {dtype}")).compile()


def session(watches: str, dtype: str = "float64", order: str = "file") -> Session:
    made: Session = compiled(watches, dtype, order).session(seed=3)
    return made


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_each_entry_is_what_a_watch_of_it_is(dtype: str) -> None:
    """In every way that a watch is taken, its reports at the same times."""
    history = session(LINES, dtype).train("fit").history
    for i in range(2 * len(WAYS)):
        both = history["both" if i == 0 else f"both{i}"]
        for at, name in enumerate(("one", "two")):
            same([(u, e, v[at]) for u, e, v in both], history[f"{name}{i}"], dtype)
    for i in range(len(WAYS)):
        same([(u, e, v[2]) for u, e, v in history[f"of{i}"]], history[f"third{i}"], dtype)


def same(one: list[Any], other: list[Any], dtype: str) -> None:
    """Sums over examples are added up in another order."""
    np.testing.assert_allclose(one, other, rtol=1e-13 if dtype == "float64" else 1e-6)


def test_shares_of_classes_by_hand() -> None:
    watch = "watch both = [1 if x[0] > 0 else 0, 1 if t > 0 else 0, 2] on d every 1 epoch"
    reports = session(watch).train("fit").history["both"]
    want = [np.mean(DATA[:, 0] > 0), np.mean(DATA[:, 2] > 0), 2]
    assert reports[0].value == pytest.approx(want, rel=1e-15) and len(reports) == 4


WATCH = "watch both = [e, abs(y)] every 1 epoch\n  watch total here = [e, y, e * y] every 3 updates"


@pytest.mark.parametrize("looks", [3, 6])
def test_going_on_keeps_all_of_them(tmp_path: Path, looks: int) -> None:
    whole = session(WATCH, "float32", "shuffled")
    whole.train(rundir=RunDirectory.create("a", str(tmp_path / "a")))
    run = RunDirectory.create("b", str(tmp_path / "b"))
    with pytest.raises(Interrupted):
        session(WATCH, "float32", "shuffled").train(rundir=run, stop=Countdown(looks))
    again = session(WATCH, "float32", "shuffled")
    again.train(rundir=run, resume=RunDirectory.reopen(str(run.path)).newest())
    one, other = (s.results["fit"] for s in (whole, again))
    assert one.history == other.history and one.watch == other.watch and one.best == other.best
    assert len(one.watch["here"]) == 3


def test_a_phase_ends_by_one_of_them() -> None:
    least = "watch both = [e, 2 - epoch] every 1 epoch\n  until last(both)[1] <= 0"
    assert session(least).train("fit").epochs == 3
    least = "watch both = [e, 2 - epoch] every 1 epoch\n  until both[-1][1] <= 0"
    assert session(least).train("fit").epochs == 4
