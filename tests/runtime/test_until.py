"""Phases that end by earlier reports, against the rule worked out over the reports in plain Python.

The reports are those of the same phase without an end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trials.stopping import Countdown

import dln
from dln.grammar.diagnostics import DlnError
from dln.running.expectations import verdicts
from dln.runtime.checkpoint.rundir import RunDirectory
from dln.runtime.session import Interrupted

TEXT = """
data d = synthetic("gaussians", 2, 2, 24, seed = 3) {
  x[2] = raw.x
  label: class(2) = raw.label
  split fit 16, valid 8
}
let net = chain([dense(6, act = tanh), dense(2)])
train fit on d.fit batch 4 for 20 epochs {
  z = net(x)
  minimize cross_entropy(z, label) over net with adam(lr = 0.2)
  watch valid = cross_entropy(z, label) on d.valid every %s
  %s
}
"""
Rule = Callable[[Sequence[float], int], bool]


def spec(until: str, every: str = "1 epoch", more: str = "") -> dln.Spec:
    return dln.load(TEXT % (every, until) + more)


@cache
def reports(every: str) -> list[tuple[int, int, float]]:
    found = spec("", every).compile().session().train("fit").history["valid"]
    return [(update, epoch, value) for update, epoch, value in found]


RULES: list[tuple[str, Rule]] = [
    ("until valid > valid[-1]", lambda v, k: k >= 1 and v[k] > v[k - 1]),
    ("until valid > valid[0]", lambda v, k: v[k] > v[0]),
    ("until valid > 0.9 * valid[2]", lambda v, k: k >= 2 and v[k] > 0.9 * v[2]),
    (
        "until valid > valid[-1] and valid[-1] > valid[-2]",
        lambda v, k: k >= 2 and v[k] > v[k - 1] > v[k - 2],
    ),
    (
        "until valid[-3] <= min([valid[-2], valid[-1], valid])",
        lambda v, k: k >= 3 and v[k - 3] <= min(v[k - 2 : k + 1]),
    ),
    (
        "until (valid > valid[-9]) or valid > 1.5 * valid[-1]",
        lambda v, k: (k >= 9 and v[k] > v[k - 9]) or (k >= 1 and v[k] > 1.5 * v[k - 1]),
    ),
    (
        "until valid > valid[-9]\n  until valid > 1.5 * valid[-1]",
        lambda v, k: (k >= 9 and v[k] > v[k - 9]) or (k >= 1 and v[k] > 1.5 * v[k - 1]),
    ),
    (
        "until not (valid[-1] < valid)",
        lambda v, k: k >= 1 and not v[k - 1] < v[k],
    ),
    ("until abs(valid - valid[-1]) < 0.01", lambda v, k: k >= 1 and abs(v[k] - v[k - 1]) < 0.01),
]


def end(values: Sequence[float], rule: Rule) -> int:
    """The number of the report at which the rule holds, or the last one."""
    return next((k for k in range(len(values)) if rule(values, k)), len(values) - 1)


@pytest.mark.parametrize(
    ("until", "rule", "every"),
    [(*r, "1 epoch") for r in RULES] + [(*r, "3 updates") for r in RULES[2:5]],
)
def test_the_phase_ends_at_the_report(until: str, rule: Rule, every: str) -> None:
    rows = reports(every)
    at = end([v for _, _, v in rows], rule)
    got = spec(until, every).compile().session().train("fit")
    assert [tuple(r) for r in got.history["valid"]] == rows[: at + 1]
    assert got.updates == rows[at][0] or at == len(rows) - 1


def test_patience_is_that_of_the_best_so_far() -> None:
    """The rule over the last reports is the one that counts reports since the best."""
    values = [v for _, _, v in reports("1 epoch")]
    best, since, stop = np.inf, 0, len(values) - 1
    for k, v in enumerate(values):
        best, since = (v, 0) if v < best else (best, since + 1)
        if since == 3:
            stop = k
            break
    got = spec(RULES[4][0]).compile().session().train("fit")
    assert len(got.history["valid"]) == stop + 1 < 20


def test_best_by_a_rise(tmp_path: Path) -> None:
    rows = [v for _, _, v in reports("1 epoch")]
    got = spec("checkpoint best by valid - valid[-1]").compile().session().train("fit")
    falls = [rows[k] - rows[k - 1] for k in range(1, 20)]
    assert got.best["epochs"] == 2 + int(np.argmin(falls))


def test_checks_tasks_and_expectations_see_them() -> None:
    more = (
        'check "c" {\n  expect fit.valid[0] == fit.valid[-19]\n'
        "  expect fit.valid[18] == fit.valid[-1]\n}\n"
    )
    found = spec("expect valid[-2] == fit.valid[17]", more=more)
    session = found.compile().session()
    rows = session.train("fit").history["valid"]
    seen = verdicts(found.model, session)
    assert [v.status for v in seen] == ["passed"] * 3
    assert [v.value for v in seen] == [rows[i][2] for i in (17, 0, 18)]


def test_a_report_that_the_run_did_not_make() -> None:
    more = 'check "c" {\n  expect fit.valid[-5] > 0\n}\n'
    found = spec("until valid < 1000", more=more)
    session = found.compile().session()
    session.train("fit")
    (seen,) = verdicts(found.model, session)
    assert (seen.status, seen.reason) == (
        "failed",
        "there is no fit.valid[-5]: fit has reported valid once",
    )


@pytest.mark.parametrize("until", [RULES[0][0], RULES[4][0], "until valid > 1.02 * valid[1]"])
def test_a_resumed_run_ends_at_the_same_update(until: str, tmp_path: Path) -> None:
    """The reports go with the checkpoint, wherever it was written."""
    found = spec(until + "\n  checkpoint every 1 epoch\n  checkpoint best by valid").compile()
    straight = found.session()
    whole = straight.train("fit")
    assert 4 < whole.updates < 80
    for looks in range(1, whole.updates, 7):
        run = RunDirectory.create("b", str(tmp_path / f"{looks}"))
        with pytest.raises(Interrupted):
            found.session().train("fit", rundir=run, stop=Countdown(looks))
        again = found.session()
        again.train(rundir=run, resume=run.newest())
        got: Any = again.results["fit"]
        assert (got.updates, got.history, got.best) == (whole.updates, whole.history, whole.best)
        for path in straight.params:
            np.testing.assert_array_equal(straight.params[path], again.params[path])


def test_epochs_from_outside_may_leave_reports_out() -> None:
    got = spec("until valid > valid[-9]").compile().session().train("fit", epochs=3)
    assert got.epochs == 3


def test_an_end_over_what_is_never_reported_is_refused() -> None:
    with pytest.raises(DlnError, match="E386"):
        spec("watch late = cross_entropy(z, label)\n  until late < 1")
