"""`expect` in a phase: a check named after the phase."""

from __future__ import annotations

import dln
from dln.compiler.model import Model
from dln.running.expectations import verdicts

TEXT = """
data d = rows([[1, 2], [3, 4], [0, 1]]) {
  x[2] = raw
}
block line(x[n]) -> y {
  param w[n] = 0.3
  y = w @ x
}
let net = line()
let limit = 1.5
train t on d batch 1 for 5 epochs order file dtype float64 {
  e = (net(x) - 1)^2
  minimize e over net with sgd(lr = 0.01)
  watch error = e every 1 epoch
  for k in 0..1 {
    expect after(x[k]) == k + 1
    expect error[k + 1] < error[k]
  }
  expect error < error[0] / limit
  expect error > error[0]
  expect updates == 15
  expect before(net.w) == [0.3, 0.3]
  expect t.error == error within 1e-12
}
"""


def model(text: str = TEXT) -> Model:
    return dln.load(text).model


def test_they_are_tested_when_the_phase_has_run() -> None:
    spec = dln.load(TEXT)
    waiting = verdicts(spec.model)
    assert {v.status for v in waiting} == {"not run"}
    session = spec.compile().session(seed=1)
    session.keep_before.add("t")
    session.train("t")
    found = verdicts(spec.model, session)
    assert {v.check for v in found} == {"phase t"} and len(found) == 9
    assert [v.text for v in found if v.status != "passed"] == ["error > error[0]"]
    assert found[1].value == session.results["t"].history["error"][1][2]


def test_they_are_slow_where_the_phase_is() -> None:
    """They do not make it quick by themselves."""
    quick, slow = model().checks, model(TEXT + 'check "s" slow {\n  expect t.error < 1\n}\n').checks
    assert [(c.text, c.slow, c.phase) for c in quick] == [("phase t", False, "t")]
    assert [(c.text, c.slow) for c in slow] == [("phase t", True), ("s", True)]
    both = (
        TEXT + 'check "s" slow {\n  expect t.error < 1\n}\ncheck "q" {\n  expect t.error < 1\n}\n'
    )
    assert not model(both).checks[0].slow
