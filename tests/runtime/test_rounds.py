"""Steps that are done several times, against the same game played by hand in NumPy."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trials.stopping import Countdown

import dln
from dln.runtime.checkpoint.rundir import RunDirectory
from dln.runtime.gradcheck import gradcheck
from dln.runtime.session import Interrupted, Session

X = np.random.default_rng(8).normal(size=13)
SPEC = """
data d = synthetic("gaussians", 1, 2, 13) {
  x = raw.x[0]
}
block number() {
  param a = 0.5
}
let p = number()
let q = number()
let free = number()
train game on d batch 3 for 4 epochs order ORDER dtype float64 {
  BODY
  step rest {
    minimize (free.a - x)^2 over free with sgd(lr = 0.1)
  }
  state age = 0
  age := age + 1
  watch gap = p.a - q.a every 4 updates
  watch far = (p.a - x)^2 every 1 epoch
  checkpoint every 5 updates
}
"""
P = """state seen = 0
  step first N times {
    seen := seen + 1
    minimize (p.a * x - q.a)^2 over p with adam(lr = 0.1)
  }
"""
Q = """step second N times {
    minimize (q.a + p.a * x)^2 over q with adam(lr = 0.05)
  }
"""
ADAM = {"p": 0.1, "q": 0.05}
ROUNDS = {  # what each update of a round does, in the order of the lines
    "five to one": (P.replace("N", "5") + Q.replace("N times ", ""), ["p", "p", "p", "p", "pqf"]),
    "one to three": (P.replace("N times ", "") + Q.replace("N", "3"), ["pq", "q", "qf"]),
    "three and two": (P.replace("N", "3") + Q.replace("N", "2"), ["p", "p", "pq", "qf"]),
    "one to one": (P.replace("N", "1") + Q.replace("N", "(2 - 1)"), ["pqf"]),
}


@cache
def compiled(body: str, order: str = "file") -> Any:
    return dln.load(SPEC.replace("BODY", body).replace("ORDER", order)).compile()


def session(body: str, order: str = "file") -> Session:
    made: Session = compiled(body, order).session(seed=1)
    return made


def played(turns: list[str], minibatches: list[np.ndarray]) -> list[tuple[float, dict[str, float]]]:
    """The loss and the parameters of each update, Adam written out with a count of its own."""
    at: dict[str, Any] = {"p": 0.5, "q": 0.5, "f": 0.5}
    kept: dict[str, Any] = {who: [0.0, 0.0, 0] for who in "pq"}
    found = []
    for i, x in enumerate(minibatches):
        loss: Any = 0.0
        for who in turns[i % len(turns)]:
            p, q = at["p"], at["q"]
            if who == "f":
                loss += np.mean((at["f"] - x) ** 2)
                at["f"] -= 0.1 * np.mean(2 * (at["f"] - x))
                continue
            e = p * x - q if who == "p" else q + p * x
            loss, g = loss + np.mean(e**2), np.mean(2 * e * (x if who == "p" else 1))
            m, s, n = kept[who]
            m, s, n = 0.9 * m + 0.1 * g, 0.999 * s + 0.001 * g**2, n + 1
            kept[who] = [m, s, n]
            step = m / (1 - 0.9**n) / (np.sqrt(s / (1 - 0.999**n)) + 1e-8)
            at[who] -= ADAM[who] * step
        found.append((loss, dict(at)))
    return found


@pytest.mark.parametrize("case", ROUNDS)
def test_each_step_is_done_in_its_updates(case: str) -> None:
    body, turns = ROUNDS[case]
    s, minibatches = session(body), [X[k : k + 3] for k in range(0, 13, 3)] * 4
    for x, (loss, at) in zip(minibatches, played(turns, minibatches), strict=True):
        assert s.step("game", x=x) == pytest.approx(loss, rel=1e-13)
        got = [float(s.params[f"{k}.a"]) for k in ("p", "q", "free")]
        assert got == pytest.approx([at["p"], at["q"], at["f"]], rel=1e-13)


def test_training_is_the_same_updates_and_counts_minibatches() -> None:
    body, _ = ROUNDS["five to one"]
    s, one = session(body), session(body)
    result = s.train("game", data={"d": X})
    for k in [*range(0, 13, 3)] * 4:
        one.step("game", x=X[k : k + 3])
    assert all(np.array_equal(s.params[k], one.params[k]) for k in s.params)
    assert (result.epochs, result.updates) == (4, 20)
    assert [r.update for r in result.history["gap"]] == [0, 4, 8, 12, 16]
    kept = {k.rpartition(".")[2]: v for k, v in s.state.store.states["game"].items()}
    for name in ("seen", "age"):
        np.testing.assert_array_equal(kept[name], [20, 16, 16])  # short minibatches have one row


def test_what_stands_outside_of_steps_is_of_every_update() -> None:
    s = session(ROUNDS["three and two"][0])
    s.train("game", data={"d": X})
    kept = {k.rpartition(".")[2]: np.ravel(v)[0] for k, v in s.state.store.states["game"].items()}
    assert (kept["age"], kept["seen"]) == (20, 15)


def test_a_step_that_is_left_out_is_not_computed() -> None:
    plan = compiled(ROUNDS["five to one"][0]).plan
    first, last = (plan.programs[key] for key in plan.phases["game"].steps)
    assert {k.split(":")[-1] for k in _states(first)} == {"p.a"}
    assert {k.split(":")[-1] for k in _states(last)} == {"p.a", "q.a"}


def _states(program: Any) -> set[str]:
    return {b.key for b in program.buffers if b.place == "state" and ":" in b.key}


def test_gradients_are_those_of_all_steps() -> None:
    s = session(ROUNDS["three and two"][0])
    assert max(row.error for row in gradcheck(s, "game")) < 1e-7


@pytest.mark.parametrize("looks", [4, 9])
def test_going_on_in_the_middle_of_a_round(tmp_path: Path, looks: int) -> None:
    body, data = ROUNDS["three and two"][0], {"d": X}
    whole = session(body, "shuffled")
    whole.train(data=data)
    run = RunDirectory.create("b", str(tmp_path / "b"))
    with pytest.raises(Interrupted):
        session(body, "shuffled").train(rundir=run, stop=Countdown(looks), data=data)
    again = session(body, "shuffled")
    again.train(rundir=run, resume=RunDirectory.reopen(str(run.path)).newest(), data=data)
    assert all(np.array_equal(whole.params[k], again.params[k]) for k in whole.params)
    assert whole.results["game"].history == again.results["game"].history
