"""`split ... apart who`: no group is in two parts, and parts are as near to what is asked for as
the rule says. Held against properties that scikit-learn's splitters have, and a table by hand.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.model_selection import GroupKFold, GroupShuffleSplit, StratifiedGroupKFold

import dln
from dln.applying.session import open as open_run
from dln.cli import carried_out
from dln.compiler.plan import Division, GroupedDivision
from dln.compiler.schema.records import piece_sizes
from dln.runtime.readers.dealing import dealt

SPEC = """data d = table("t.csv") {
  set missing = mean
  i = raw.i
  x[1] = raw[1:2]
  who: class = raw.who
  kind: class = raw.kind
  split %s
}
let net = dense(1)
train fit on d - d.%s batch 4 for 1 epoch {
  minimize (net(x)[0] - i)^2 over net with sgd(lr = 1e-5)
}
"""


def made(rng: Any, groups: int, most: int) -> tuple[Any, Any]:
    """Who each example is of, and of which class, all of a group of one."""
    who = np.repeat(np.arange(groups), rng.integers(1, most + 1, groups))
    who = rng.permutation(who)
    return who, rng.integers(0, 3, groups)[who]


def held(who: Any, pieces: Any) -> None:
    """No group is in two pieces."""
    assert len(np.unique(who)) == len(np.unique(np.stack([who, pieces]), axis=1).T)


def test_groups_are_whole_and_parts_as_near_as_the_rule_says() -> None:
    """No part has as much as the largest group more than it asks for; so it is of scikit-learn's
    folds. By class the same is true of each class, where a group is of one."""
    rng = np.random.default_rng(0)
    for turn in range(24):
        who, kind = made(rng, int(rng.integers(5, 40)), int(rng.integers(1, 12)))
        n, largest = len(who), np.bincount(who).max()
        folds = int(rng.integers(2, 5))
        for sizes in (piece_sizes((), n), (n - n // 5, n // 5, 0), tuple(
                len(some) for some in np.array_split(np.arange(n), folds))):  # fmt: skip
            shuffled = bool(turn % 2)
            division = GroupedDivision(
                sizes=(), shuffled=shuffled, seed=turn, apart="who", wanted=sizes
            )
            order, pieces = dealt(division, {"who": who})
            assert sorted(order.tolist()) == list(range(n))
            held(who, pieces)
            found = np.bincount(pieces, minlength=len(sizes))
            assert (found - np.array(sizes) < largest).all()
            told = {"who": 7 - who, "kind": kind}  # the numbers of groups mean nothing
            _, again = dealt(division, told)
            np.testing.assert_array_equal(pieces, again)
            _, by = dealt(division.changed(by="kind"), told)
            held(who, by)
            for k in np.unique(kind):
                mine, most = kind == k, np.bincount(who[kind == k], minlength=1).max()
                shares = np.array(sizes) * mine.sum() / n
                assert (np.bincount(by[mine], minlength=len(sizes)) - shares < most).all()
        theirs = [test for _, test in GroupKFold(folds).split(who, groups=who)]
        held(who, np.concatenate([np.full(len(t), k) for k, t in enumerate(theirs)])[
            np.argsort(np.concatenate(theirs))])  # fmt: skip
        assert max(map(len, theirs)) - n / folds < largest


def test_what_is_drawn_differs_by_the_seed_and_no_group_is_preferred() -> None:
    """As with GroupShuffleSplit each group is as often in the smaller part as its share asks; the
    shares of classes are as near as those of StratifiedGroupKFold."""
    rng = np.random.default_rng(1)
    who, kind = made(rng, 20, 6)
    n = len(who)
    sizes = n - n // 5, n // 5, 0
    often, theirs = np.zeros(20), np.zeros(20)
    for seed in range(100):
        division = GroupedDivision(sizes=(), shuffled=True, seed=seed, apart="w", wanted=sizes)
        often[np.unique(who[dealt(division, {"w": who})[1] == 1])] += 1
    split = GroupShuffleSplit(100, test_size=0.2, random_state=0)
    for _, test in split.split(who, groups=who):
        theirs[np.unique(who[test])] += 1
    assert (often > 4).all() and (often < 50).all() and (theirs > 4).all()
    division = GroupedDivision(
        sizes=(), by="k", apart="w", wanted=tuple(map(len, np.array_split(who, 3)))
    )
    pieces = dealt(division, {"w": who, "k": kind})[1]
    other = np.empty(n, int)
    for k, (_, test) in enumerate(StratifiedGroupKFold(3).split(who, kind, who)):
        other[test] = k
    whole = np.bincount(kind) / n

    def apart(which: Any) -> float:
        shares = [np.bincount(kind[which == k], minlength=3) / (which == k).sum() for k in range(3)]
        return float(np.abs(np.array(shares) - whole).max())

    assert apart(pieces) < apart(other) + 0.1


@pytest.mark.parametrize("by", ["", " shuffled seed 3 by kind"])
def test_parts_of_a_table(by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is known when the spec is read is what the run has; means are of what is learnt from;
    it is opened where the table is gone; arrays from Python are divided by the same rule."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(2)
    who, kind = made(rng, 12, 5)
    kind %= 2
    x = ["" if i % 5 == 2 else str(i * 1.5) for i in range(len(who))]
    lines = [f"{i},{v},p{w},k{k}" for i, (v, w, k) in enumerate(zip(x, who, kind, strict=True))]
    Path("t.csv").write_text("i,x,who,kind\n" + "\n".join(lines) + "\n")
    clause = f"test 0.25, fold[3]{by} apart who"
    Path("net.dln").write_text(SPEC % (clause, "test - d.fold[1]"))
    assert carried_out(["run", "net.dln", "-q", "--out", "run"]) == 0
    Path("t.csv").rename("gone.csv")
    session = open_run("run")
    Path("gone.csv").rename("t.csv")
    spec, names = session.plan.data["d"], ["test", *(f"fold[{k}]" for k in range(3))]
    parts = {name: session.datasets.part("d", name, "float64") for name in spec.parts}
    for name, part in parts.items():
        assert part.n == spec.parts[name].count > 0
    rows = [parts[name].arrays["i"].astype(int) for name in names]
    assert sorted(np.concatenate(rows).tolist()) == list(range(len(who)))
    for k, mine in enumerate(rows):
        assert not any(set(who[mine]) & set(who[other]) for other in rows[k + 1 :])
    learned = parts["all-test-fold[1]"].arrays
    assert sorted(learned["i"]) == sorted(np.concatenate([rows[1], rows[3]]).astype(float))
    own = np.array([float(x[i]) for i in learned["i"].astype(int) if x[i]])
    filled = parts["all"].arrays["x"][2, 0]
    np.testing.assert_allclose(filled, own.mean(), rtol=1e-12)
    twice = np.r_[who, who + 50]
    given = {"i": np.arange(len(twice)) * 1.0, "x": np.zeros((len(twice), 1)),
             "who": twice % 12, "kind": np.r_[kind, kind] % 2}  # fmt: skip
    taken = session.datasets.limited({"d": given}, None)
    seen = [set(given["who"][taken.part("d", name, "float64").arrays["i"].astype(int)].tolist())
            for name in names]  # fmt: skip
    assert not any(a & b for k, a in enumerate(seen) for b in seen[k + 1 :])


def test_without_the_word_nothing_is_different() -> None:
    division = Division((3, 2), True, 4)
    assert division.told_by == () and dealt(division, {})[1].sum() == 2
    assert dln.load("softmax").model.data["mnist"].division.told_by == ()
