"""What a phase with L-BFGS is compiled to, and what is shown of it."""

from __future__ import annotations

from typing import Any

import dln
from dln.compiler.plan import COUNT, POINTS, SLOPES, DescentSpec
from dln.reading.resolved import resolved

SPEC = """\
data d = rows([[1, 2, 3], [4, 5, 6]]) {
  x[2] = raw[:2]
  t = raw[2]
}
block net(x[n]) -> y[1] {
  let used  = dense(1)
  let spare = dense(1)
  y = used(x)
  z = spare(x)
}
let f = net()
train s on d batch all for 5 epochs {
  minimize sum((f(x)[0] - t)^2) over f with OPTIMISER
  watch level = sum(f(x)) every 1 epoch
}
"""
OWN = """\
optimiser careful(p, g; history = 3) {
  p := descent(p, g, history, 1e-3, 0.5, 10, 1e-6, 0)
}
"""


def phase(optimiser: str, own: str = "") -> tuple[Any, Any]:
    plan = dln.load(own + SPEC.replace("OPTIMISER", optimiser)).compile().plan
    return plan, plan.phases["s"]


def test_the_step_leaves_loss_and_gradients_and_moves_nothing() -> None:
    plan, spec = phase("lbfgs()")
    program = plan.programs[spec.step]
    assert {b.key for b in program.values} == {
        "loss", "grad:f.used.W", "grad:f.used.b", "watch:level",
    }  # fmt: skip
    params = {b.name for b in program.buffers if b.place == "param"}
    assert params and not params & {line.writes for line in program.lines}


def test_only_what_the_loss_depends_on_is_moved() -> None:
    _, spec = phase("lbfgs(history = 7)")
    assert spec.descent.params == ("f.used.W", "f.used.b")
    assert spec.states == {POINTS: (7, 3), SLOPES: (7, 3), COUNT: ()}
    assert (spec.order, spec.batch) == ("file", None)


def test_the_rules_are_those_of_the_library_or_of_an_optimiser_of_ones_own() -> None:
    params = ("f.used.W", "f.used.b")
    assert phase("lbfgs")[1].descent == DescentSpec(
        params, history=20, c1=1e-4, c2=0.9, trials=25, grad_tol=1e-5, change_tol=1e-9
    )
    assert phase("careful()", OWN)[1].descent == DescentSpec(
        params, history=3, c1=1e-3, c2=0.5, trials=10, grad_tol=1e-6, change_tol=0
    )


def test_every_default_is_shown() -> None:
    text = resolved(dln.load(SPEC.replace("OPTIMISER", "lbfgs(history = 7)")))
    assert "lbfgs(history = 7, c1 = 1e-4, c2 = 0.9, trials = 25, grad_tol = 1e-5" in text
    assert "change_tol = 1e-9)" in text


def test_an_optimiser_of_the_same_name_takes_its_place() -> None:
    own = "optimiser lbfgs(p, g; lr = 1) {\n  p := p - lr * g\n}\n"
    assert phase("lbfgs()", own)[1].descent is None
