"""Gradients of several minibatches, `batch 5 times 4`, against one minibatch of 20, and by hand."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trials.stopping import Countdown

import dln
from dln.compiler.plan import memory
from dln.runtime.checkpoint.rundir import RunDirectory
from dln.runtime.session import Interrupted

TEXT = """
data d = synthetic("gaussians", 3, 2, 58, seed = 3) {
  x[2] = raw.x
  label: class(3) = raw.label
}
let net = dense(3)
train fit on d batch BATCH for 4 epochs dtype float64 {
  minimize LOSS over net with OPTIMISER
}
"""
MEAN, TOTAL = (
    "cross_entropy(net(x), label) + 0.01 * sum(net.W^2)",
    "total cross_entropy(net(x), label)",
)


@cache
def compiled(batch: str, loss: str, optimiser: str) -> dln.Compiled:
    text = TEXT.replace("BATCH", batch).replace("LOSS", loss).replace("OPTIMISER", optimiser)
    return dln.load(text).compile()


def trained(*asked: str, **options: Any) -> Any:
    session = compiled(*asked).session()
    session.train("fit", **options)
    return session


@pytest.mark.parametrize(
    ("loss", "optimiser"), [(MEAN, "adam(lr = 0.05) clip 0.4"), (TOTAL, "sgd(lr = 0.01)")]
)
def test_four_times_five_is_twenty(loss: str, optimiser: str) -> None:
    """Also where the last minibatch of an epoch is short: each example counts as much."""
    one, other = trained("20", loss, optimiser), trained("5 times 4", loss, optimiser)
    assert (one.updates["fit"], other.updates["fit"]) == (12, 48)
    for path in one.params:
        np.testing.assert_allclose(other.params[path], one.params[path], rtol=0, atol=1e-13)
    programs = compiled("5 times 4", loss, optimiser).plan.programs
    whole = compiled("20", loss, optimiser).plan.programs["step:fit"]
    assert memory(programs["step:fit"], 5)["input"] * 4 == memory(whole, 20)["input"]


def test_it_goes_on_in_the_middle_of_a_round(tmp_path: Path) -> None:
    asked = "5 times 5", MEAN, "sgd(lr = 0.3, momentum = 0.9)"  # 48 is no multiple of 5
    whole = trained(*asked)
    for looks in (13, 17):
        run = RunDirectory.create("g", str(tmp_path / str(looks)))
        with pytest.raises(Interrupted):
            trained(*asked, rundir=run, stop=Countdown(looks))
        again = compiled(*asked).session()
        again.train(rundir=run, resume=run.newest())
        for path in whole.params:
            np.testing.assert_array_equal(whole.params[path], again.params[path])


BY_HAND = """
data d = rows([[1, 2], [2, 3], [3, 5], [4, 4], [5, 9]]) {
  x = raw[0]
  t = raw[1]
}
block line(x) -> y {
  param w = 0
  fixed m = 0
  update m += 0.5 * (mean(batch: x) - m)
  y = w * (x - training(mean(batch: x), m))
}
let f = line()
let slow = line()
train fit on d batch 2 times 3 for 4 epochs order file dtype float64 {
  state seen = 0
  seen := seen + x
  minimize (f(x) - t)^2 over f with sgd(lr = 0.01)
  update slow.w += 0.5 * (f.w - slow.w)
  watch all = seen every 1 update
  watch far = slow(x) every 4 epochs
}
"""


def test_what_is_of_every_minibatch_and_what_of_a_round() -> None:
    """Running means and states are of each, averaged weights of the last, which sees the weights
    that the round began with."""
    x, t = np.arange(1.0, 6), np.array([2.0, 3, 5, 4, 9])
    w, slow, m, total, count = 0.0, 0.0, 0.0, 0.0, 0
    for k in range(12):
        part = slice(k % 3 * 2, min(k % 3 * 2 + 2, 5))
        a, b = x[part] - x[part].mean(), t[part]
        total, count = total + float(np.sum(2 * (w * a - b) * a)), count + len(a)
        m += 0.5 * (x[part].mean() - m)
        if k % 3 == 2:
            slow += 0.5 * (w - slow)
            w, total, count = w - 0.01 * total / count, 0.0, 0
    session = dln.load(BY_HAND).compile().session()
    session.train("fit")
    got = [float(session.params[p][...]) for p in ("f.w", "f.m", "slow.w")]
    np.testing.assert_allclose(got, [w, m, slow], rtol=1e-13)
    np.testing.assert_array_equal(session.state.store.states["fit"]["fit.seen"], [36, 24])
