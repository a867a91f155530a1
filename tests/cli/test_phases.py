"""Several phases through the command: hand-overs, steps, states, interrupted anywhere."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trials.stopping import next_runs

from dln.runtime.checkpoint import checkpoint

SPEC = """
data points = rows([[0.5, -1], [1.5, 2], [-0.5, 0.25], [2, 1], [1, -2]]) {
  x[2] = raw
}
let R = dense(3, act = tanh)
let up = dense(3, act = tanh)
let down = dense(2)
train one on points batch 2 for 3 epochs {
  noise ~ normal(zeros(2), 0.1)
  minimize sum((R(x + noise) - 1)^2) over R with sgd(lr = 0.05, momentum = 0.9)
}
train two on points batch 2 for 3 epochs after one {
  start up.W := R.W
  start down.W := 2 * R.W' + down.W
  start down.b := 2 * down.b + 1
  state chain[3] ~ bernoulli(0.5)
  step wake {
    h = stop(up(x))
    minimize sum((down(h) - x)^2) over down with sgd(lr = 0.05, momentum = 0.9)
  }
  step dream {
    next ~ bernoulli(sigmoid(up(down(chain))))
    chain := next
    minimize sum((up(stop(down(chain))) - next)^2) over up with adam(lr = 0.01)
  }
  watch total error = sum((down(up(x)) - x)^2) every 1 epoch
  watch now = sum(chain) every 1 update
  checkpoint every 2 updates
}
train three on points batch 2 for 2 epochs after two {
  start R.W := up.W + R.W
  minimize sum((down(R(x)) - x)^2) over R with adam(lr = 0.01)
  watch error = sum((down(R(x)) - x)^2) on points.all every 1 epoch
}
train empty on points for 0 epochs after three {
  start R.b := 2 * R.b + 1
  minimize sum(R(x)) over R with sgd(lr = 1)
}
"""


LOOKS = (4, 16, 18, 24, 39)  # there is one after each update, and at each event


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Ends the next runs after so many looks, as Ctrl-C would."""
    return next_runs(monkeypatch)


def arrays(folder: str) -> dict[str, np.ndarray]:
    """What the newest checkpoint of a run holds: parameters, states, what checks ask for."""
    path = sorted((Path(folder) / "checkpoints").glob("update-*"))[-1]
    return checkpoint.load(path)[0]


def place(folder: str) -> tuple[str, int]:
    """The phase that a run was stopped in, and after how many updates of it."""
    path = sorted((Path(folder) / "checkpoints").glob("update-*"))[-1]
    running = checkpoint.load(path)[1]["running"]
    return running["phase"], running["update"]


def same(a: str, b: str) -> None:
    one, other = arrays(a), arrays(b)
    assert one.keys() == other.keys()
    for key in one:
        assert one[key].dtype == other[key].dtype
        np.testing.assert_array_equal(one[key], other[key], err_msg=key)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_interrupted_anywhere_it_ends_in_the_same_bits(
    dln: Callable[..., Any], tmp_path: Path, stopped: Callable[..., Any], dtype: str
) -> None:
    """In the first phase, right after the hand-over, in the middle of the second, the third; and
    more than once."""
    (tmp_path / "p.dln").write_text(SPEC, encoding="utf-8")
    words = ("run", "p.dln", "-q", "--dtype", dtype)
    stopped(10**6)
    assert dln(*words, "--out", "whole").code == 0
    held, places = arrays("whole"), []
    assert held["state:two:two.chain"].shape == (2, 3)
    for looks in LOOKS:
        out = f"broken-{looks}"
        stopped(looks)
        assert dln(*words, "--out", out).code == 130, looks
        places.append(place(out))
        assert dln("run", "--resume", out, "-q").code in (0, 130)
        stopped(10**6)
        assert dln("run", "--resume", out, "-q").code == 0
        same("whole", out)
    assert places[0][0] == "one" and places[-1][0] == "three"
    assert [u for phase, u in places if phase == "two"] == [1, 2, 5]


def test_what_is_complete_is_passed_over(
    dln: Callable[..., Any], tmp_path: Path, stopped: Callable[..., Any]
) -> None:
    (tmp_path / "p.dln").write_text(SPEC, encoding="utf-8")
    stopped(30)
    assert dln("run", "p.dln", "-q").code == 130
    stopped(10**6)
    got = dln("run", "p.dln", "--resume")
    assert got.code == 0
    assert "one: " not in got.err and "two: " in got.err and "three: " in got.err


def test_phase_by_phase_in_one_directory(dln: Callable[..., Any], tmp_path: Path) -> None:
    """`--phase` on a run that has the earlier phases: they are not trained again."""
    (tmp_path / "p.dln").write_text(SPEC, encoding="utf-8")
    assert dln("run", "p.dln", "-q", "--out", "whole", "--phase", "two").code == 0
    assert dln("run", "p.dln", "-q", "--out", "steps", "--phase", "one").code == 0
    got = dln("run", "--resume", "steps", "--phase", "two")
    assert got.code == 0 and "one: " not in got.err and "two: " in got.err
    same("whole", "steps")
