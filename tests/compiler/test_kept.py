"""States of a phase, against loops written by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trials.stopping import Countdown

import dln
from dln.compiler.plan import site_number
from dln.grammar.diagnostics import DlnError
from dln.running.expectations import verdicts
from dln.runtime.checkpoint.rundir import RunDirectory
from dln.runtime.device.kernels import uniform
from dln.runtime.gradcheck import gradcheck
from dln.runtime.profiler import profile
from dln.runtime.session import Interrupted, Session

ROWS = [[0.5, -1.0], [1.5, 2.0], [-0.5, 0.25], [2.0, 1.0], [1.0, -2.0]]
HEAD = f"""
data d = rows({ROWS}) {{
  x[2] = raw
}}
block line(x[n]) -> y {{
  param w[n] = 0.3
  y = w @ x
}}
let net = line()
"""
LEAKY = """
train t on d batch 2 for 3 epochs order file dtype float64 {
  state c[2] = 0.1
  state seen = 0
  c := c / 2 + net.w * x
  seen := seen + 1
  minimize (net(c + x) - 1)^2 over net with sgd(lr = 0.05, momentum = 0.5)
  watch level = sum(c) every 1 update
  watch total count = seen every 1 epoch
}
"""


def session(body: str, seed: int = 1, **options: Any) -> Session:
    made: Session = dln.load(HEAD + body).compile(**options).session(seed=seed)
    return made


def by_hand(epochs: int = 3, size: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[Any]]:
    """The phase `LEAKY`: weights, both states, and the watches."""
    w, v = np.full(2, 0.3), np.zeros(2)
    c, seen, levels, counts = np.full((size, 2), 0.1), np.zeros(size), [], []
    for _ in range(epochs):
        count = 0.0
        for low in range(0, 5, size):
            x = np.array(ROWS[low : low + size])
            n = len(x)
            levels.append(c[:n].sum(1).mean())
            count += seen[:n].sum()
            z = c[:n] + x  # no gradient runs through c into the update before
            v = 0.5 * v - 0.05 * (2 * (z @ w - 1) @ z) / n
            c[:n] = c[:n] / 2 + w * x  # the weights before this update
            seen[:n] += 1
            w = w + v
        counts.append(count)
    return w, c, seen, [levels, counts]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_phase_equals_the_loop_by_hand(dtype: str) -> None:
    """With a short last minibatch, which uses the first rows."""
    s = session(LEAKY.replace("float64", dtype))
    got = s.train("t")
    w, c, seen, (levels, counts) = by_hand()
    close = 1e-12 if dtype == "float64" else 1e-5
    held = s.programs.store.states["t"]
    assert {p: a.shape for p, a in held.items() if p in ("t.c", "t.seen")} == {
        "t.c": (2, 2), "t.seen": (2,)}  # fmt: skip
    np.testing.assert_allclose(s.params["net.w"], w, rtol=close)
    np.testing.assert_allclose(held["t.c"], c, rtol=close)
    np.testing.assert_array_equal(held["t.seen"], seen)
    # of every update: taken before it, at 0, 1, ...
    found = [v for u, _, v in got.history["level"] if u < 9]
    np.testing.assert_allclose(found, levels, rtol=close)
    np.testing.assert_allclose([v for *_, v in got.history["count"]], counts)


def test_batch_all_has_a_row_for_each_example() -> None:
    s = session(LEAKY.replace("batch 2", "batch all"))
    s.train("t")
    w, c, *_ = by_hand(size=5)
    np.testing.assert_allclose(s.params["net.w"], w, rtol=1e-12)
    np.testing.assert_allclose(s.programs.store.states["t"]["t.c"], c, rtol=1e-12)


def test_single_steps() -> None:
    """Fewer examples take the first rows; more than there are rows are refused."""
    s, x = session(LEAKY), np.array(ROWS)
    s.step("t", x=x[:2])
    s.step("t", x=x[2:3])
    c = np.full((2, 2), 0.1) / 2 + 0.3 * x[:2]
    found = s.programs.store.states["t"]["t.c"]
    np.testing.assert_allclose(found[1], c[1])
    assert not np.allclose(found[0], c[0])
    assert s.programs.store.states["t"]["t.seen"].tolist() == [2, 1]
    assert s.grad("t", "net.w", x=x[:1]).shape == (2,)
    for call in (lambda: s.step("t", x=x[:3]), lambda: s.grad("t", "net.w", x=x[:3])):
        with pytest.raises(DlnError, match="t keeps 2 rows from update to update") as e:
            call()
        assert e.value.problems[0].code == "E563"


def test_more_data_than_rows_are_refused() -> None:
    s = session(LEAKY.replace("batch 2", "batch all"))
    with pytest.raises(DlnError, match="t keeps 5 rows, and d.all has 6 examples"):
        s.train("t", data={"d": np.ones((6, 2))})
    s.train("t", data={"d": np.ones((4, 2))})
    assert s.programs.store.states["t"]["t.seen"].tolist() == [3, 3, 3, 3, 0]
    s = session(LEAKY)
    s.train("t", data={"d": np.ones((6, 2))})
    assert s.programs.store.states["t"]["t.seen"].tolist() == [9, 9]


# ---- first values --------------------------------------------------------------------------------

DRAWN = """
train t on d batch {batch} for 1 epoch order file {seed} {{
  state z[3] ~ {draw}
  z := z
  minimize (net(x) - mean(z))^2 over net with sgd(lr = 0.1)
}}
"""


def first(seed: int = 1, batch: object = 2, draw: str = "uniform(0, 1)", more: str = "") -> Any:
    s = session(DRAWN.format(batch=batch, draw=draw, seed=more), seed, dtype="float64")
    s.train("t")
    return np.array(s.programs.store.states["t"]["t.z"])


def test_a_drawn_first_value_depends_on_seed_place_and_row() -> None:
    four = first(batch=4)
    u = np.empty((4, 3))
    uniform(u, 1, site_number("t.z"), 0)
    np.testing.assert_array_equal(four, u)
    np.testing.assert_array_equal(first(batch=2), four[:2])
    np.testing.assert_array_equal(first(batch="all")[:4], four)
    assert not np.array_equal(first(seed=2, batch=4), four)
    np.testing.assert_array_equal(first(seed=2, batch=4, more="seed 1"), four)
    assert len(np.unique(four)) == 12


@pytest.mark.parametrize(
    "draw, wanted",
    [
        ("bernoulli(0.5)", {0.0, 1.0}),
        ("bernoulli(zeros(3))", {0.0}),
        ("normal(2, 0)", {2.0}),
    ],
)
def test_draws(draw: str, wanted: set[float]) -> None:
    assert set(first(batch=4, draw=draw).ravel()) == wanted


def test_a_first_value_from_a_parameter_is_that_after_the_hand_over() -> None:
    s = session(
        """
train t on d batch 2 for 1 epoch dtype float64 {
  start net.w := 7 * net.w
  state c[2] = 10 * net.w
  c := c
  minimize 0 * net(x) over net with sgd(lr = 1)
}
"""
    )
    s.train("t")
    np.testing.assert_allclose(s.programs.store.states["t"]["t.c"], np.full((2, 2), 21.0))


def test_classes_stay_classes() -> None:
    s = session(
        """
train t on d batch 4 for 2 epochs order file {
  state c: class(2) ~ categorical([0, 1])
  c := argmax(x)
  minimize (net(x) - onehot(c)[1])^2 over net with sgd(lr = 0)
  watch before = c == 1 every 1 update
}
"""
    )
    got = s.train("t")
    held = s.programs.store.states["t"]["t.c"]
    assert held.dtype == np.int64
    x = np.array([*ROWS[4:], *ROWS[1:4]])
    assert held.tolist() == x.argmax(1).tolist()
    assert got.history["before"][0][2] == 1.0


# ---- where they may stand ------------------------------------------------------------------------


def test_states_of_steps_and_rounds() -> None:
    """Each step sees the parameters that the one before left; a state's name is its old value."""
    s = session(
        """
train t on d batch 1 for 2 updates order file dtype float64 {
  for i in 1..2 {
    state k[2] = i
    k := k + i * x
  }
  step one {
    state c = 0
    c := c + net.w[0]
    update net.w += 1
  }
  step two {
    state c = 0
    c := c + net.w[0]
    update net.w += 1
  }
  watch y = net(x) every 1 epoch
}
"""
    )
    s.train("t")
    held = {k: np.array(v).tolist() for k, v in s.programs.store.states["t"].items()}
    x = np.array(ROWS)
    assert set(held) == {"t[0].k", "t[1].k", "t.one.c", "t.two.c"}
    np.testing.assert_allclose(held["t[0].k"], [1 + x[0] + x[1]])
    np.testing.assert_allclose(held["t[1].k"], [2 + 2 * (x[0] + x[1])])
    np.testing.assert_allclose(held["t.one.c"], [0.3 + 2.3])
    np.testing.assert_allclose(held["t.two.c"], [1.3 + 3.3])


def test_a_state_that_only_a_watch_reads_is_kept() -> None:
    s = session(
        """
train t on d batch 5 for 3 epochs {
  state k = 1
  k := 2 * k
  minimize (net(x) - 1)^2 over net with sgd(lr = 0.1)
  watch now = k every 1 update
}
"""
    )
    got = s.train("t")
    assert [v for _, _, v in got.history["now"]][:3] == [1.0, 2.0, 4.0]


def test_a_phase_that_only_keeps() -> None:
    """Without any data at hand, and without anything learned."""
    s = session(
        "train t on d batch 2 for 2 updates {\n  state k[2] = 1\n  k := k + net.w\n}\n",
        dtype="float64",
    )
    s.train("t")
    np.testing.assert_allclose(s.programs.store.states["t"]["t.k"], np.full((2, 2), 1.6))
    s.step("t")
    np.testing.assert_allclose(s.programs.store.states["t"]["t.k"], np.full((2, 2), 1.9))


def test_in_a_stream_a_state_goes_on_from_epoch_to_epoch(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("abcabcabcabcabcabcabc", encoding="utf-8")
    spec = """
data word = text("t.txt") {
  c[time]: class(3) = raw
  set window = 5
}
let m = dense(1)
train t on word stream 2 for 3 epochs {
  state k = 0
  k := k + 1
  minimize (last(m(onehot(c)))[0] - 1)^2 over m with sgd(lr = 0.1)
}
"""
    s = dln.load(spec, data_paths={"word": str(tmp_path / "t.txt")}).compile().session(seed=0)
    got = s.train("t")
    assert got.updates > 3
    assert s.programs.store.states["t"]["t.k"].tolist() == [got.updates] * 2


CHECKS = """
train t on d batch 2 for 3 epochs order file dtype float64 {
  state c[2] = 0.5
  c := c + x
  minimize (net(c) - 1)^2 over net with sgd(lr = 0.001)
}
check "before and after" {
  expect t.before(c) == [0.5, 0.5]
  expect t.before(c + x) == [1.5, 1]
  expect t.after(c) == [6.5, 2.375] within 1e-12
  expect t.grad(net.w)[0] == 2 * (0.3 * 1 - 1) * 0.5 within 1e-12
}
"""


def test_checks_ask_for_states() -> None:
    """Means over the rows of the first minibatch: 0.5 + (9.5 + 3 * 2.5) / 2 ..."""
    x = np.array(ROWS)
    c = np.full((2, 2), 0.5)
    for _ in range(3):
        for low in (0, 2, 4):
            c[: len(x[low : low + 2])] += x[low : low + 2]
    text = CHECKS.replace("[6.5, 2.375]", str(c.mean(0).tolist()))
    spec = dln.load(HEAD + text)
    s = spec.compile().session(seed=0)
    s.keep_before = {"t"}
    s.train("t")
    assert [v.status for v in verdicts(spec.model, s)] == ["passed"] * 4


# ---- programs ------------------------------------------------------------------------------------


def test_gradients_and_profile() -> None:
    s = session(LEAKY)
    assert all(row.error < 1e-7 for row in gradcheck(s, "t"))
    assert profile(s, "t", seconds=0.01).examples == 2


@pytest.mark.parametrize("target", ["numpy", "cupy"])
def test_the_step_works_on_rows_of_the_state(target: str) -> None:
    """A buffer that grows with the minibatch, in which the new value is left."""
    plan = dln.load(HEAD + LEAKY).compile(target).plan
    step = plan.programs["step:t"]
    [held] = [b for b in step.buffers if b.place == "state" and b.key == "t.c"]
    assert held.shape == ((0, 1), (2, 0))
    assert any(line.writes == held.name for line in step.lines)
    assert plan.phases["t"].rows == 2 and plan.phases["t"].states["t.c"] == (2, 2)


# ---- going on ------------------------------------------------------------------------------------


CHAINS = """
train t on d batch 2 for 4 epochs dtype {dtype} {{
  state c[3] ~ bernoulli(0.5)
  state k: class(2) ~ categorical([0.5, 0.5])
  draw ~ bernoulli((c + 0.5) / 2 as prob)
  c := draw
  k := 1 - k
  minimize (net(x) - mean(c))^2 over net with sgd(lr = 0.1, momentum = 0.9)
  watch total up = sum(c) every 1 epoch
}}
"""


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("looks", [0, 1, 2, 5, 10])
def test_going_on_bit_for_bit(dtype: str, looks: int, tmp_path: Path) -> None:
    text = CHAINS.format(dtype=dtype).replace("1 - k", "argmax(onehot(k) - 0.5)")

    def made() -> Session:
        return session(text)

    straight = made()
    straight.train("t")
    run = RunDirectory.create("b", str(tmp_path / "b"))
    with pytest.raises(Interrupted):
        made().train(rundir=run, stop=Countdown(looks))
    again = made()
    again.train(rundir=run, resume=run.newest())
    for path, array in straight.programs.store.states["t"].items():
        np.testing.assert_array_equal(array, again.programs.store.states["t"][path])
        assert array.dtype == again.programs.store.states["t"][path].dtype
    np.testing.assert_array_equal(straight.params["net.w"], again.params["net.w"])
    assert straight.results["t"].history == again.results["t"].history


def test_a_saved_session_has_its_states(tmp_path: Path) -> None:
    s, x = session(LEAKY), np.array(ROWS)
    s.step("t", x=x[:2])
    s.save(tmp_path / "a.safetensors")
    other = session(LEAKY)
    other.load(tmp_path / "a.safetensors")
    for one in (s, other):
        one.step("t", x=x[2:4])
    np.testing.assert_array_equal(
        s.programs.store.states["t"]["t.c"], other.programs.store.states["t"]["t.c"]
    )
