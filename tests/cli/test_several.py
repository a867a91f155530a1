"""A watch of several numbers from the command line: printed, logged, checked, drawn."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

SPEC = """
data d = rows([[1, 2], [2, 3], [3, 5], [4, 4]]) {
  x[1] = raw[:1]
  t = raw[1]
}
let net = dense(1)
train fit on d batch 2 for 4 epochs order file dtype float64 {
  y = sum(net(x))
  e = (y - t)^2
  minimize e over net with sgd(lr = 0.05)
  watch both = [e, abs(y)] every 1 epoch
  checkpoint best by max(both)
  expect both > 0
  expect last(both)[0] < both[0][0]
}
check "by entry and by report" {
  expect fit.both == last(fit.both)
  expect fit.both[3] == fit.both
  expect fit.both[0][1] == fit.both[0, 1]
  expect last(fit.both)[0] == fit.both[-1][0] within 100
  expect fit.best.both >= 0
  expect sum(fit.both) == fit.both[3, 0] + fit.both[3, 1] within 1e-12
  expect fit.both[0] == [0, fit.both[0, 1]]
}
task show() {
  emit plot(fit.both) to "both.csv"
  emit fit.both
}
sweep rates {
  vary seed in 1..2
  report fit.both
}
"""


def test_it_is_printed_logged_checked_and_drawn(dln: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "s.dln"
    path.write_text(SPEC)
    got = dln("run", path, "--out", "run", "--json")
    told = got.data
    assert [c["status"] for c in told["checks"]] == ["passed"] * 8 + ["failed"]
    both = told["phases"]["fit"]["watch"]["both"]
    assert len(both) == 2 and told["checks"][2]["value"] == both
    rows = [r.split(",") for r in (tmp_path / "run/both.csv").read_text().splitlines()]
    assert [r[0] for r in rows[1:]] == ["fit.both[0]"] * 4 + ["fit.both[1]"] * 4
    assert float(rows[-1][2]) == both[1]
    log = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert next(r for r in reversed(log) if r["event"] == "report")["watch"]["both"] == both
    text = dln("run", path, "--out", "again")
    assert f"both [{both[0]:.6g}, {both[1]:.6g}]" in text.out
    assert dln("verify", "run").code == 0
    assert len(dln("sweep", path, "--json").data["sweeps"]["rates"][0]["reports"]["fit.both"]) == 2
