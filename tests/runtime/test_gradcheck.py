"""The gradient check finds wrong gradients and passes over kinks; the profile adds up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dln.compiler.plan import Plan, Program
from dln.grammar.diagnostics import DlnError
from dln.runtime.gradcheck import gradcheck
from dln.runtime.host import Host
from dln.runtime.profiler import profile
from dln.runtime.session import Session


def changed(plan: Plan, name: str, old: str, new: str) -> Session:
    made: Program = plan.programs[name]
    assert old in made.text
    other = replace(made, text=made.text.replace(old, new))
    return Session(replace(plan, programs={**plan.programs, name: other}), Host(), 1)


def test_right_gradients_pass_and_nothing_is_moved(session: Any) -> None:
    s = session()
    before = s.params["net.w"].copy()
    (row,) = gradcheck(s, "fit")
    assert row.parameter == "net.w" and (row.points, row.skipped) == (3, 0)
    assert row.error < 1e-8 and row.analytic == pytest.approx(row.numeric, rel=1e-8)
    np.testing.assert_array_equal(s.params["net.w"], before)
    assert s.updates == {} and "fit" not in s.results


@pytest.mark.parametrize(("new", "least"), [("1.0001 / n", 5e-5), ("-1 / n", 1.9), ("1", 0.5)])
def test_wrong_gradients_are_found(plan: Any, new: str, least: float) -> None:
    (row,) = gradcheck(changed(plan(), "grad:fit", "1 / n", new), "fit")
    assert row.error > least


def test_kinks_are_skipped(plan: Any, hand_program: Any) -> None:
    """f(w) = sum |w| at w = 0 has no gradient, whatever is claimed."""
    made = plan()
    buffers = [("param", "net.w", ((2, 0),)), ("arena", "", ((2, 0),)), ("value", "loss", ())]
    loss = hand_program("loss:fit", buffers, ["xp.abs(v0, out=v1)", "xp.sum(v1, 0, out=v2)"])
    s = Session(replace(made, programs={**made.programs, "loss:fit": loss}), Host(), 1)
    s.params["net.w"] = 0.0
    (row,) = gradcheck(s, "fit")
    assert row.skipped == row.points == 3


def test_what_cannot_be_checked(session: Any) -> None:
    with pytest.raises(DlnError, match="noisy minimises nothing") as e:
        gradcheck(session(), "noisy")
    assert e.value.problems[0].code == "E570"
    with pytest.raises(DlnError, match="compile it with dtype float64") as e:
        gradcheck(session(dtype="float32"), "fit")
    assert e.value.problems[0].code == "E571"


def test_the_profile_adds_up_by_line_of_the_spec(session: Any) -> None:
    s = session()
    before = s.params["net.w"].copy()
    found = profile(s, "fit", seconds=0.02)
    assert found.examples == 3 and found.milliseconds > 0
    (line,) = found.lines  # all statements of the hand-written program come from one line
    assert line.place is not None and line.place.line == 4
    assert line.statements == len(s.plan.programs["step:fit"].lines)
    assert line.milliseconds == pytest.approx(found.milliseconds)
    assert profile(s, "fit", batch=8, seconds=0.02).examples == 8
    np.testing.assert_array_equal(s.params["net.w"], before)
