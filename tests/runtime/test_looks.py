"""What only a report reads is computed where somebody looks, and changes nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dln
from dln.compiler.plan import LOOKED, Program, site_number
from dln.compiler.show import plan_text
from dln.grammar.diagnostics import DlnError
from dln.runtime.readers import sampling_order
from dln.runtime.training import inner_loop
from dln.runtime.training.callbacks import Hook, Progress
from dln.runtime.training.inner_loop import SELDOM, looked_at
from dln.runtime.training.phase_run import begin

NET = """\
data d = rows({rows}) {{
  x[2] = raw
}}
block f(x[n]) -> y {{
  param W[3, n] ~ normal(0, 0.5), w[3] = 1
  y = tanh(W @ x) @ w
}}
let m = f()
train fit on d batch 2 for 40 epochs {{
  keep ~ bernoulli(0.5)
  minimize {loss} over m with sgd(lr = 0.05, momentum = 0.9)
  {watch}
}}
"""
LOSS = "softplus(m(x)) + keep * m(x)^2 + log(1 + exp(-x[0]))"
ROWS = [[0, 1], [1, 2], [-1, 0.5], [2, 2]]


def session(loss: str = LOSS, watch: str = "", rows: Any = ROWS, shards: int | None = None) -> Any:
    spec = dln.load(NET.format(rows=rows, loss=loss, watch=watch))
    return spec.compile(shards=shards).session(seed=3)


def step(s: Any) -> Program:
    program: Program = s.plan.programs[s.phase("fit").step]
    return program


def trained(s: Any, looks: bool) -> dict[str, np.ndarray]:
    """Parameters and states after 40 updates by the bare program."""
    begin(s.state, s.phase("fit"))
    executable = s.programs.executable(s.phase("fit").step, "fit")
    bound = executable.at(2)
    for update in range(40):
        bound.inputs["x"][...] = np.asarray(ROWS)[[update % 4, (update + 1) % 4]]
        given = {"update": float(update), LOOKED: float(looks)}
        bound.run(*(given[str(c)] for c in executable.program.clocks))
    return {k: v.copy() for k, v in (executable.params | executable.states).items()}


def test_a_look_changes_no_bit_of_what_is_trained() -> None:
    seen, unseen = trained(session(), True), trained(session(), False)
    assert set(seen) == set(unseen) and len(seen) == 4
    assert all(np.array_equal(seen[k], unseen[k]) for k in seen)


def test_what_a_watch_adds_up_is_computed_in_every_update() -> None:
    whole = f"watch error = {LOSS} every 1 epoch"
    parts = [line.formula for line in step(session(watch=whole)).lines if line.looked]
    assert not any("softplus" in formula for formula in parts)
    s = session(watch=whole)
    result = s.train("fit")
    assert len(result.history["error"]) == 40
    losses, other = [], session()  # where `step` looks at each update
    for epoch in range(40):
        rows = sampling_order.permutation(4, 3, site_number("fit.order"), epoch)
        for part in (rows[:2], rows[2:]):
            losses.append(other.step("fit", x=np.asarray(ROWS)[part]))
    want = np.asarray(losses).reshape(40, 2).mean(axis=1)
    found = [reading.value for reading in result.history["error"]]
    np.testing.assert_allclose(found, want, rtol=1e-6)
    for name, array in s.params.items():
        assert np.array_equal(array, other.params[name])


def test_progress_tells_the_loss_of_its_own_minibatch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inner_loop, "PAUSE", 0.0)
    monkeypatch.setattr(inner_loop, "looked_at", lambda program, n: 7)
    seen: list[tuple[int, float]] = []

    class Ear(Hook):
        def progress(self, event: Progress) -> None:
            seen.append((event.update, event.loss))

    def told(every: int, shards: int | None) -> tuple[list[tuple[int, float]], Any]:
        monkeypatch.setattr(inner_loop, "looked_at", lambda program, n: every)
        seen.clear()
        s = session(shards=shards)
        s.train("fit", hooks=[Ear()])
        return seen.copy(), s.params

    whole = told(1, None)[0]
    for shards in None, 2:
        (some, few), (every, all_of_them) = told(7, shards), told(1, shards)
        assert len(every) == 80 and 10 < len(some) < 80
        assert set(some) < set(every)
        assert all(np.array_equal(few[k], all_of_them[k]) for k in few)
        np.testing.assert_allclose([x for _, x in every], [x for _, x in whole], rtol=1e-5)


LOST = "m(x) + stop(exp(100 * (epoch - 30) ^ 2 * (1 if epoch == 33 else 0)) * x[0] ^ 2)"


def test_a_loss_alone_that_leaves_the_numbers_is_found_at_the_same_update() -> None:
    found = set()
    for _ in range(2):
        with pytest.raises(DlnError) as e:
            session(loss=LOST).train("fit")
        [problem] = e.value.problems
        assert problem.code == "E600"
        found.add(problem.facts)
    [facts] = found
    assert "epoch 33" in str(facts)


def test_what_fails_in_loss_and_slope_is_told_of_at_the_loss() -> None:
    rows = [[1, 1], [1, 2], [0, 0], [1, 3]]
    for shards in None, 2:
        with pytest.raises(DlnError) as e:
            session(loss="log(x[0] * m.w[0]) + m(x)", rows=rows, shards=shards).train("fit")
        [problem] = e.value.problems
        assert problem.code == "E600" and "log of 0" in problem.message


def test_how_often_somebody_looks_follows_from_the_plan() -> None:
    program = step(session())
    assert looked_at(program, 2) == SELDOM
    assert looked_at(program, 10**9) == 1
    assert looked_at(program.changed(clocks=()), 2) == 1


def test_the_plan_says_what_is_left_out() -> None:
    text = plan_text(step(session()))
    assert "        if looked:" in text
    assert "which only the report of loss needs" in text
