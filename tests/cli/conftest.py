"""Commands as a person gives them: `dln("run", "mlp")` in an empty folder."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dln.cli import main
from dln.runtime.device import limits

LIMITS = limits.Limits(flops=2e9, cached=4e9, memory=1e9, curves=3e9)
"""Of a machine that nobody has measured."""

LINE = """# A line through four points.
const rate = 0.1
const wide = 1
data points = rows([[0, 1], [1, 3], [2, 5], [3, 7]]) {
  x[1] = raw[:1]
  t[1] = raw[1:]
}
let line = dense(wide, init = zero)

train fit on points.all batch 2 for 60 epochs {
  y = line(x)
  minimize sum((y - t)^2) / 2 over line with sgd(lr = rate)
  watch error = sum((y - t)^2) every 1 epoch
}
train again on points.all batch all for 3 updates after fit {
  minimize sum((line(x) - t)^2) over line with sgd(lr = 0.01)
}
check "two numbers make a line" {
  expect params(line) == 2
}
check "it is found" {
  expect fit.error < 0.01
  expect fit.after(line.b) == [1] within 0.1
}
check "again, slowly" slow {
  expect again.updates == 3
}
sweep rates {
  vary rate in [0.05, 0.1]
  vary seed in 1..2
  report fit.error, params(line)
  expect fit.error < 1
}
task weights() {
  emit line.b
  emit line.W to "weights.csv"
}
"""


@dataclass
class Outcome:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """The one JSON object on stdout."""
        return json.loads(self.out)


Dln = Callable[..., Outcome]


@pytest.fixture
def dln(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Dln:
    """Runs a command in a folder of its own, without a terminal."""
    monkeypatch.chdir(tmp_path)
    for name in ("DLN_DEBUG", "DLN_TARGET", "DLN_VERIFY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(limits, "measured", lambda *_: LIMITS)
    monkeypatch.setattr(limits, "_file", lambda: tmp_path.with_suffix(".limits"))

    def call(*words: object) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main([str(w) for w in words])
        printed = capsys.readouterr()
        assert isinstance(left.value.code, int)
        return Outcome(left.value.code, printed.out, printed.err)

    return call


@pytest.fixture
def line(tmp_path: Path) -> Path:
    """A spec that trains in a moment and uses every part of a run."""
    path = tmp_path / "line.dln"
    path.write_text(LINE, encoding="utf-8")
    return path
