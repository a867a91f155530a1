"""Estimated states: when they are estimated, on which examples, and that they survive a stop.

For a linear layer under squared error the curvature of a weight is mean(x^2) over the sample,
whatever the parameters are: that is the oracle.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trials.stopping import Countdown

import dln
from dln.compiler.plan import ProgramKind, site_number
from dln.runtime.checkpoint.rundir import RunDirectory
from dln.runtime.gradcheck import gradcheck
from dln.runtime.readers import sampling_order
from dln.runtime.session import Interrupted, Session
from dln.runtime.training.phase_run import begin

N, SEED = 23, 4
RNG = np.random.default_rng(8)
DATA = {"d": (RNG.normal(size=(N, 3)), RNG.normal(size=N))}
STATE = "s.lm.h:net.W"
SPEC = """\
optimiser lm(p, g; lr, sample) {
  state h = curvature(sample) every EVERY
  p := p - lr / (0.02 + h) * g
}
data d = rows([[1, 2, 3, 4], [5, 6, 7, 8], [9, 8, 7, 6], [5, 4, 3, 2]]) {
  x[3] = raw[:3]
  t = raw[3]
}
let net = dense(1)
train s on d batch 4 for 4 epochs dtype float64 {
  y = net(x)
  minimize sum((y[0] - t)^2) / 2 over net with lm(lr = 0.003, sample = SAMPLE)
}
"""
STEPS = """\
  step one {
    minimize total sum((y[0] - t)^2) / 2 over net.W with lm(lr = 0.003, sample = SAMPLE)
  }
  step two {
    minimize sum((y[0] - t)^2) over net.b with lm(lr = 0.001, sample = SAMPLE)
  }
}
"""


def session(every: str = "1 epoch", sample: int = 9, text: str = SPEC) -> Session:
    text = text.replace("EVERY", every).replace("SAMPLE", str(sample))
    return dln.load(text).compile().session(seed=SEED)


def wanted(epoch: int, sample: int = 9) -> Any:
    """mean(x^2) over the first examples of an epoch's order."""
    first = sampling_order.permutation(N, SEED, site_number("s.order"), epoch)[:sample]
    return np.mean(DATA["d"][0][first] ** 2, 0)[None]


def state(s: Session) -> Any:
    return s.state.store.states["s"][STATE]


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_at_the_start_of_each_epoch(epochs: int) -> None:
    """Chunks of four examples, the plan's own number, are put together to the mean over nine."""
    s = session()
    assert s.plan.programs[s.plan.phases["s"].estimates[0].program].capacity == 4
    s.train("s", data=DATA, epochs=epochs)
    np.testing.assert_allclose(state(s), wanted(epochs - 1), rtol=1e-12)


def test_every_other_epoch() -> None:
    s = session("2 epochs")
    s.train("s", data=DATA, epochs=2)
    np.testing.assert_allclose(state(s), wanted(0), rtol=1e-12)
    s.train("s", data=DATA, epochs=3)
    np.testing.assert_allclose(state(s), wanted(2), rtol=1e-12)


def test_a_sample_larger_than_the_data_is_all_of_it() -> None:
    s = session(sample=500)
    s.train("s", data=DATA, epochs=1)
    np.testing.assert_allclose(state(s), np.mean(DATA["d"][0] ** 2, 0)[None], rtol=1e-12)


def test_the_update_is_the_formula() -> None:
    """p - lr / (mu + h) g for the first minibatch, from the gradient of the session itself."""
    s = session(sample=4)
    rows = np.array([[1, 2, 3, 4], [5, 6, 7, 8], [9, 8, 7, 6], [5, 4, 3, 2]], float)
    x, t = rows[:, :3], rows[:, 3]
    before, g = np.array(s.params["net.W"]), s.grad("s", "net.W", x=x, t=t)
    s.step("s", x=x, t=t)
    h = np.mean(x**2, 0)[None]
    np.testing.assert_allclose(s.params["net.W"], before - 0.003 / (0.02 + h) * g, rtol=1e-12)


def test_several_steps_and_a_total() -> None:
    """Each line has its own loss, at parameters that no step has moved; `total` is a mean here."""
    s = session(text=SPEC[: SPEC.index("  minimize")] + STEPS)
    s.train("s", data=DATA, epochs=1)
    states = s.state.store.states["s"]
    np.testing.assert_allclose(states["s.one.lm.h:net.W"], wanted(0), rtol=1e-12)
    np.testing.assert_allclose(states["s.two.lm.h:net.b"], [2.0], rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("looks", [0, 2, 5, 6, 8, 11, 12, 16])
def test_going_on_after_an_interruption(tmp_path: Path, looks: int, dtype: str) -> None:
    """Bit for bit, within an epoch and between two; within, nothing is estimated anew."""

    text = SPEC.replace("float64", dtype)
    straight, first, again = (session(text=text) for _ in range(3))
    straight.train("s", data=DATA)
    run = RunDirectory.create("b", str(tmp_path / "b"))
    with pytest.raises(Interrupted):
        first.train(["s"], data=DATA, rundir=run, stop=Countdown(looks))
    restored = run.newest()
    again.train(["s"], data=DATA, resume=restored)
    for path in straight.params:
        np.testing.assert_array_equal(straight.params[path], again.params[path])
    np.testing.assert_array_equal(state(straight), state(again))


def test_within_an_epoch_nothing_is_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    """One run of the program for each chunk of each epoch's sample, and no more."""
    s, seen = session(), []
    program = s.programs.executable(ProgramKind.ESTIMATE.of("s"), "s")
    at = program.at
    monkeypatch.setattr(program, "at", lambda n: seen.append(n) or at(n))
    s.train("s", data=DATA, epochs=2)
    assert seen == [4, 4, 1, 4, 4, 1]


def test_bindings_do_not_share_their_numbers() -> None:
    """1 / n of a program bound for four examples stays what it is when it is bound for one."""
    s = session()
    begin(s.state, s.phase("s"))
    program = s.programs.executable(ProgramKind.ESTIMATE.of("s"), "s")
    x, found = DATA["d"][0], []
    for n in (4, 1, 4):
        bound = program.at(n)
        bound.inputs["x"][...] = x[:n]
        bound.run()
        found.append(np.array(bound.values[STATE]))
    np.testing.assert_array_equal(found[0], found[2])
    np.testing.assert_allclose(found[1], x[:1] ** 2, rtol=1e-12)


def test_gradients_are_checked_as_ever() -> None:
    rows = gradcheck(session(), "s")
    assert max(r.error for r in rows) < 1e-7


def test_what_leaves_the_numbers_is_told_at_its_line() -> None:
    s = session(text=SPEC.replace("sum((y[0] - t)^2) / 2", "log(sum(y))"))
    with pytest.raises(dln.DlnError, match="E600"):
        s.params["net.W"][...] = 0.0
        s.train("s", data=DATA, epochs=1)
    with pytest.raises(dln.DlnError, match="E600"):
        s.step("s", x=np.ones((1, 3)))
