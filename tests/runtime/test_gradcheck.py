"""The gradient check finds wrong gradients and passes over kinks; the profile adds up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dln import load
from dln.compiler.plan import Plan, Program, ProgramTable
from dln.grammar.diagnostics import DlnError
from dln.runtime.device.host import Host
from dln.runtime.gradcheck import Comparison, gradcheck
from dln.runtime.profiler import profile
from dln.runtime.session import Session


def changed(plan: Plan, name: str, old: str, new: str) -> Session:
    made: Program = plan.programs[name]
    assert old in made.text
    other = made.changed(text=made.text.replace(old, new))
    return Session(plan.changed(programs=ProgramTable({**plan.programs, name: other})), Host(), 1)


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
    s = Session(made.changed(programs=ProgramTable({**made.programs, "loss:fit": loss})), Host(), 1)
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
    assert line.cost.statements == len(s.plan.programs["step:fit"].lines)
    assert line.cost.milliseconds == pytest.approx(found.milliseconds)
    for count in ("milliseconds", "statements", "calls", "flops", "bytes"):
        parts = sum(getattr(c, count) for c in line.operations.values())
        assert parts == pytest.approx(getattr(line.cost, count))
    assert profile(s, "fit", batch=8, seconds=0.02).examples == 8
    np.testing.assert_array_equal(s.params["net.w"], before)


# ---- what is not compared ------------------------------------------------------------------------

ONE = """
data d = rows([[1], [2]]) {
  x = raw[0]
}
block one() {
  param w = FIRST, v = 2
}
let p = one()
train t on d batch 2 for 1 update dtype float64 {
  minimize LOSS over p with sgd(lr = 0.1)
}
"""


def rows(loss: str, first: str = "0") -> dict[str, Comparison]:
    text = ONE.replace("LOSS", loss).replace("FIRST", first)
    return {r.parameter: r for r in gradcheck(load(text).compile().session(seed=1), "t")}


@pytest.mark.parametrize("new", ["1e308 * 1e308 / n", "(1e308 * 1e308 - 1e308 * 1e308) / n"])
def test_a_gradient_that_is_no_number_is_wrong(plan: Any, new: str) -> None:
    (row,) = gradcheck(changed(plan(), "grad:fit", "1 / n", new), "fit")
    assert row.error == float("inf") and not row.reason


@pytest.mark.parametrize(
    ("loss", "first", "reason"),
    [
        ("max(p.w, 0) + p.v^2", "0", "at a kink in every direction"),
        ("abs(p.w) + p.v^2", "0", "at a kink in every direction"),
        ("norm([p.w, 2 * p.w]) + p.v^2", "0", "at a kink in every direction"),
        ("max([p.w, 2 - p.w]) + p.v^2", "1", "at a kink in every direction"),
        ("1e-4 * max(p.w, 0) + p.w + p.v^2", "0", "at a kink in every direction"),
        ("sqrt(p.w) + p.v^2", "0", "no number on one side or both in every direction"),
    ],
)
def test_a_direction_without_a_slope_is_not_compared(loss: str, first: str, reason: str) -> None:
    found = rows(loss, first)
    assert found["p.w"].reason == reason and found["p.w"].analytic != found["p.w"].analytic
    assert found["p.v"].error < 1e-8 and not found["p.v"].reason


@pytest.mark.parametrize("loss", ["p.w^2", "cos(p.w)", "1e4 * p.w^2 + p.w", "p.w^3"])
def test_what_bends_smoothly_is_compared(loss: str) -> None:
    found = rows(f"{loss} + p.v^2", "0")
    assert found["p.w"].error < 1e-6 and not found["p.w"].skipped


def test_nothing_is_compared_where_the_loss_is_no_number() -> None:
    found = rows("log(p.w) + p.v^2", "-1")
    assert {r.reason for r in found.values()} == {"its loss is no number here"}
    assert all(r.beyond == r.points and r.skipped == 0 for r in found.values())


def test_an_overflow_far_away_does_not_matter() -> None:
    """exp(709.7) is a number, exp(710.4) is none: only the widest difference leaves the numbers."""
    found = rows("exp(1000 * p.w) / exp(700) + p.v", "0.7097")
    assert found["p.w"].error < 1e-6 and found["p.w"].analytic == pytest.approx(
        found["p.w"].numeric, rel=1e-6
    )
