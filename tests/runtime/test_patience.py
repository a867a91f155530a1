"""Rules over all reports of a watch: when it stalls, what a plateau lowers, which values were best.

The oracles are the rules in plain Python, the same phase without a rule, and regression by hand.
"""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trials.stopping import Countdown

import dln
from dln.compiler.schema.keys import ReportFold, parse_clock
from dln.grammar.diagnostics import DlnError
from dln.runtime.checkpoint.rundir import RunDirectory
from dln.runtime.execution.folds import Folded
from dln.runtime.execution.phase_result import Reading
from dln.runtime.session import Interrupted

TEXT = """
const n = 20
data d = synthetic("gaussians", 2, 2, 24, seed = 3) {
  x[2] = raw.x
  label: class(2) = raw.label
  split fit 16, valid 8
}
block body(x[2]) -> y[2] {
  fixed m[2] = 0
  update m += 0.1 * (mean(batch: x) - m)
  y = (x - training(mean(batch: x), m)) -> dense(2)
}
let net = body()
train fit on d.fit batch 4 for n epochs dtype float64 {
  z = net(dropout(x, 0.1))
  minimize cross_entropy(z, label) over net with adam(lr = RATE)
  watch valid = cross_entropy(net(x), label) on d.valid every EVERY
  watch hits = argmax(net(x)) == label on d.valid every EVERY
  watch own = cross_entropy(z, label) every 1 epoch
  watch late = cross_entropy(net(x), label) on d.valid
  MORE
}
"""


@cache
def compiled(more: str, every: str = "1 epoch", rate: str = "0.1", n: int = 20) -> dln.Compiled:
    text = TEXT.replace("MORE", more).replace("EVERY", every).replace("RATE", rate)
    return dln.load(text, n=n).compile()


def trained(*asked: Any, **options: Any) -> Any:
    session = compiled(*asked).session()
    session.train("fit", **options)
    return session


def same(one: Any, other: Any, states: bool = True) -> None:
    """Whether two sessions hold the same bits, optimiser states as well."""
    for path in one.params:
        np.testing.assert_array_equal(one.params[path], other.params[path], err_msg=path)
    for path, array in one.state.store.states["fit"].items() if states else ():
        np.testing.assert_array_equal(array, other.state.store.states["fit"][path], err_msg=path)


# ---- stalls ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("until", "every", "name", "sign", "count", "unit", "least"),
    [
        ("until -hits stalls for 2 epochs", "1 epoch", "hits", -1, 2, 1, 0),
        ("until valid stalls for 8 updates by 0.01", "2 updates", "valid", 1, 8, 0, 0.01),
    ],
)
def test_a_phase_ends_where_a_watch_stalls(
    until: str, every: str, name: str, sign: int, count: int, unit: int, least: float
) -> None:
    rows = trained("", every).results["fit"].history[name]
    best, at = np.inf, (0, 0)
    for row in rows:
        if sign * row.value < best - least:
            best, at = sign * row.value, (row.update, row.epoch)
        if (row.update, row.epoch)[unit] - at[unit] >= count:
            break
    else:
        raise AssertionError("it never stalls")
    got = trained(until, every).results["fit"]
    assert got.updates == row.update < 80
    assert got.history[name] == rows[: len(got.history[name])]


# ---- plateaus ----------------------------------------------------------------------------------


def by_hand(values: list[float], factor: float, patience: int, least: float, cool: int) -> float:
    """`ReduceLROnPlateau` of PyTorch, whose patience is one less, from its description."""
    best, bad, left, scale = np.inf, 0, 0, 1.0
    for value in values:
        better = value < best - least
        best, bad = (value, 0) if better else (best, bad + 1)
        if left > 0:
            left, bad = left - 1, 0
        if bad > patience - 1:
            scale, left, bad = scale * factor, cool, 0
    return scale


def test_a_plateau_is_that_of_other_tools() -> None:
    draw = random.Random(1)
    for trial in range(100):
        rules = draw.choice([0.1, 0.5]), draw.randint(1, 4), draw.choice([0, 0.1]), trial % 4
        key = ReportFold("plateau", "v", 1, tuple(map(float, rules)))
        assert parse_clock(str(key)) == key
        fold, rows = Folded(key), list[Reading]()
        for k in range(40):
            rows.append(Reading(k, k, draw.choice([draw.random(), 1 / (k + 1)])))
            if draw.random() < 0.5 or k == 39:
                assert fold.over(rows) == by_hand([r.value for r in rows], *rules)


LINE = """
data d = rows([[1, 2], [2, 3], [3, 5], [4, 4]]) {
  x = raw[0]
  t = raw[1]
}
block line(x) -> y {
  param w = 0
  y = w * x
}
let f = line()
train fit on d batch all for 12 epochs dtype float64 {
  e = (f(x) - t)^2
  rate = plateau(0.16, by = cost, factor = 0.25, patience = 1, least = 0.05)
  minimize e over f with sgd(lr = rate * (1 if cost <= cost[-1] else 0.5) + 1e-4 * own[-2])
  watch cost = (f(x) - t)^2 on d every 1 epoch
  watch own = e every 1 epoch
  watch told = rate every 1 epoch
}
"""


def test_updates_hear_reports_as_worked_out_by_hand() -> None:
    """Before the first report stands what the watch is before the first update."""
    x, t = np.array([1.0, 2, 3, 4]), np.array([2.0, 3, 5, 4])

    def cost(w: float) -> float:
        return float(np.mean((w * x - t) ** 2))

    w, costs, owns, rates = 0.0, [cost(0.0)], [cost(0.0)], []
    for _ in range(12):
        rates.append(max(0.16 * by_hand(costs[1:], 0.25, 1, 0, 0), 0.05))
        back = owns[max(len(owns) - 3, 0)]
        rate = rates[-1] * (1 if costs[-1] <= costs[max(len(costs) - 2, 0)] else 0.5) + 1e-4 * back
        owns.append(cost(w))
        w -= rate * float(np.mean(2 * (w * x - t) * x))
        costs.append(cost(w))
    session = dln.load(LINE).compile().session()
    got = session.train("fit").history
    np.testing.assert_allclose([r.value for r in got["cost"]], costs[1:], rtol=1e-12)
    np.testing.assert_allclose([r.value for r in got["told"]], rates, rtol=1e-14)
    assert set(rates) == {0.16, 0.05}
    with pytest.raises(DlnError, match="E535"):
        session.step("fit", x=x, t=t)


# ---- the best ----------------------------------------------------------------------------------


@cache
def best_epoch() -> int:
    values = [r.value for r in trained("").results["fit"].history["valid"]]
    return int(np.argmin(values)) + 1


def test_the_best_values_are_handed_on() -> None:
    """They are those of a phase that is over there: parameters, running means, states. What is
    watched at the end is of them."""
    got, at = trained("keep best by valid"), best_epoch()
    assert 2 < at < 20
    same(trained("", epochs=at), got)
    result = got.results["fit"]
    assert result.updates == 80 and result.best["updates"] == 4 * at
    assert result.watch["late"] == result.best["valid"] != result.watch["valid"]
    assert f"after update {4 * at}" in result.note


RULES = "keep best by valid\n  until valid stalls for 9 epochs\n  checkpoint every 1 epoch"
HEARD = "plateau(0.1, by = valid, factor = 0.3, patience = 2) * (1 if own <= own[-1] else 0.7)"


@pytest.mark.parametrize("looks", [2, 27, 40])
def test_a_run_that_goes_on_has_all_of_it(looks: int, tmp_path: Path) -> None:
    """Interrupted on the way, in the first epoch, after the best report and after a plateau."""
    whole = trained(RULES, "1 epoch", HEARD)
    run = RunDirectory.create("b", str(tmp_path / "run"))
    with pytest.raises(Interrupted):
        trained(RULES, "1 epoch", HEARD, rundir=run, stop=Countdown(looks))
    again = compiled(RULES, "1 epoch", HEARD).session()
    again.train(rundir=run, resume=run.newest())
    one, other = whole.results["fit"], again.results["fit"]
    assert (one.updates, one.history, one.best, one.note) == (
        other.updates, other.history, other.best, other.note
    )  # fmt: skip
    assert one.updates < 80
    same(whole, again)


def test_a_phase_goes_on_from_its_last_values_and_knows_its_best(tmp_path: Path) -> None:
    for n in (best_epoch(), best_epoch() + 2):
        run = RunDirectory.create("b", str(tmp_path / str(n)))
        first = trained("keep best by valid", "1 epoch", "0.1", n, rundir=run)
        same(first, trained("", epochs=best_epoch()))
        again = compiled("keep best by valid").session()
        again.train(rundir=run, resume=run.newest())
        same(again, trained("keep best by valid"))


KINDS = {
    "lbfgs": ("all", "minimize e over f with lbfgs()"),
    "chain": (
        "2", "state c = 0\n  c := 0.5 * c + x\n"
        "  minimize e + 0.1 * c * f.w over f with sgd(lr = 0.08, momentum = 0.5)",
    ),
    "rounds": (
        "1", "step a 3 times {\n    minimize e over f with sgd(lr = 0.07)\n  }\n"
        "  step b {\n    update f.w += 0.1\n  }",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_phases_of_every_kind_hand_on_their_best(kind: str) -> None:
    batch, lines = KINDS[kind]
    text = f"""{LINE[: LINE.index("train fit")]}
train fit on d batch {batch} for 6 epochs dtype float64 {{
  e = (f(x) - t)^2
  {lines}
  watch far = abs(f.w - 1.2) on d every 1 epoch
  keep best by far
}}
"""
    session = dln.load(text).compile().session()
    best = session.train("fit").best
    assert abs(float(session.params["f.w"][...]) - 1.2) == pytest.approx(best["far"], abs=1e-15)
