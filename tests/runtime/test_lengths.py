"""Sequences of unequal length given from Python: trained on, left out, gone on with.

The step, by hand: w[0] grows by rate * sum over the minibatch of x[:, 0] * length.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trials.stopping import Countdown

from dln.compiler.plan import (
    Division,
    FieldSpec,
    KeepSpec,
    Plan,
    Portion,
    ProgramTable,
    site_number,
)
from dln.grammar.diagnostics import DlnError
from dln.runtime.checkpoint.rundir import RunDirectory
from dln.runtime.device.host import Host
from dln.runtime.readers import sampling_order
from dln.runtime.session import Interrupted, Session

RATE, N = 0.01, 8
X = np.random.default_rng(3).normal(size=(N, 2))
LENGTH = np.array([1, 4, 2, 3, 4, 4, 1, 2])


@pytest.fixture
def padded(plan: Any, hand_program: Any) -> Callable[[], Plan]:
    def make() -> Plan:
        made = plan(N)
        step = hand_program(
            "step:fit",
            [("input", "x", ((0, 1), (2, 0))), ("input", "c", ((0, 1),)),
             ("param", "net.w", ((2, 0),)), ("arena", "", ((0, 1),)), ("value", "loss", ())],
            ["xp.multiply(v0[:, 0], v1, out=v3)", "xp.sum(v3, 0, out=v4)",
             f"xp.multiply(v4, {RATE}, out=v4)", "xp.add(v2[0], v4, out=v2[:1])"],
        )  # fmt: skip
        buffers = (b.changed(key="length") if b.key == "c" else b for b in step.buffers)
        step = step.changed(buffers=tuple(buffers))
        fields = (made.data["d"].fields[0], FieldSpec("length", (), "index", "length", 4))
        parts = dict.fromkeys(("all", "fit"), Portion(N, (0,)))
        data = made.data["d"].changed(fields=fields, parts=parts, division=Division((N,)))
        fit = made.phases["fit"].changed(
            fields=("x", "length"), states={}, watches=(),
            keeps=(KeepSpec((3, "update"), None),),
        )  # fmt: skip
        programs = ProgramTable({**made.programs, "step:fit": step})
        return made.changed(data={"d": data}, phases={"fit": fit}, programs=programs)

    return make


def by_hand(w: float, length: np.ndarray) -> float:
    for epoch in range(4):
        drawn = sampling_order.permutation(N, 1, site_number("fit.order"), epoch)
        for low in range(0, N, 3):
            i = drawn[low : low + 3]
            w += RATE * float(np.sum(X[i, 0] * length[i]))
    return w


@pytest.mark.parametrize(
    ("given", "length"),
    [
        ({"x": X, "length": LENGTH}, LENGTH),
        ((X, LENGTH), LENGTH),
        ({"x": X}, np.full(N, 4)),
        (X, np.full(N, 4)),
    ],
)
def test_lengths_may_be_given(padded: Any, given: Any, length: np.ndarray) -> None:
    s = Session(padded(), Host(), 1)
    w = by_hand(float(s.params["net.w"][0]), length)
    s.train("fit", data={"d": given})
    assert s.params["net.w"][0] == pytest.approx(w, rel=1e-13)


def test_a_single_step_takes_lengths_too(padded: Any) -> None:
    s = Session(padded(), Host(), 1)
    for fed, length in (({"x": X}, np.full(N, 4)), ({"x": X, "length": LENGTH}, LENGTH)):
        w = float(s.params["net.w"][0]) + RATE * float(np.sum(X[:, 0] * length))
        s.step("fit", **fed)
        assert s.params["net.w"][0] == pytest.approx(w, rel=1e-13)


def test_a_length_outside_of_the_steps_is_refused(padded: Any) -> None:
    for wrong in (0, 5):
        with pytest.raises(DlnError, match=f"has {wrong}, expected a length, 1 to 4 steps"):
            Session(padded(), Host(), 1).train("fit", data={"d": (X, np.full(N, wrong))})


@pytest.mark.parametrize("looks", [0, 1, 5, 9])
def test_going_on_after_an_interruption(padded: Any, tmp_path: Path, looks: int) -> None:
    given = {"d": {"x": X, "length": LENGTH}}
    straight = Session(padded(), Host(), 1)
    straight.train(data=given)
    run = RunDirectory.create("b", str(tmp_path / "b"))
    with pytest.raises(Interrupted):
        Session(padded(), Host(), 1).train(data=given, rundir=run, stop=Countdown(looks))
    again = Session(padded(), Host(), 1)
    again.train(data=given, rundir=run, resume=run.newest())
    np.testing.assert_array_equal(straight.params["net.w"], again.params["net.w"])
