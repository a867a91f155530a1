"""A descent by the command line: why it ended is said, logged and printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SPEC = """# A line through four points, at once.
data points = rows([[0, 1], [1, 3], [2, 5], [3, 7]]) {
  x[1] = raw[:1]
  t[1] = raw[1:]
}
let line = dense(1, init = zero)
train fit on points batch all for 50 epochs dtype float64 {
  minimize squared_error(line(x), t) over line with lbfgs()
  watch error = sum((line(x) - t)^2) on points
}
check "it is found" {
  expect fit.error < 1e-6
}
"""


def test_why_it_ended_is_said(dln: Any) -> None:
    Path("quick.dln").write_text(SPEC)
    ran = dln("run", "quick.dln")
    assert ran.code == 0
    (row,) = (line for line in ran.out.splitlines() if line.startswith("fit "))
    assert row.endswith("; the gradient is flat")
    (said,) = (line for line in ran.err.splitlines() if " updates in " in line)
    assert ": the gradient is flat, error " in said
    data = json.loads(dln("run", "quick.dln", "--json", "--quiet").out)
    assert data["phases"]["fit"]["ended"] == "the gradient is flat"
    assert data["phases"]["fit"]["updates"] < 20
    shown = dln("show", "quick.dln").out
    assert "grad_tol = 1e-5" in shown and "batch all" in shown
