"""L-BFGS: known minima, another implementation, the dense form of its matrix, and going on.

Specs are read from text, so that the whole way is tested: the program of loss and gradients, the
states, the training loop.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from trials.stopping import Countdown

import dln
from dln.compiler.plan import COUNT, POINTS, SLOPES, ProgramKind
from dln.grammar.diagnostics import DlnError
from dln.runtime.checkpoint.rundir import RunDirectory
from dln.runtime.gradcheck import gradcheck
from dln.runtime.session import Interrupted, Session
from dln.runtime.training.lbfgs import Pairs

RNG = np.random.default_rng(3)
X = RNG.normal(size=(40, 6)) * [1, 2, 3, 4, 5, 6]
T = X @ RNG.normal(size=6) + RNG.normal(size=40)
LABEL = np.argmax(X[:, :3] / [1, 2, 3] + RNG.normal(size=(40, 3)), axis=1)
DATA = {"d": (X, T, LABEL)}

HEAD = """\
data d = rows([[0, 0, 0, 0, 0, 0, 0, 0]]) {
  x[6] = raw[:6]
  t = raw[6]
  label: class(3) = raw[7]
}
"""
LINEAR = (
    HEAD
    + """\
let net = dense(1)
train s on d batch all for 60 epochs dtype float64 {
  y = net(x)
  minimize sum((y[0] - t)^2) / 2 over net with lbfgs(c2 = 0.1, grad_tol = 1e-8, change_tol = 0)
  watch J = sum((y[0] - t)^2) / 2 every 1 epoch
}
"""
)
ROSENBROCK = (
    HEAD
    + """\
block valley() {
  param a = -1.2, b = 1
}
let p = valley()
train s on d batch all for 200 epochs dtype float64 {
  minimize (1 - p.a)^2 + 100 * (p.b - p.a^2)^2 over p.a, p.b
    with lbfgs(grad_tol = 1e-9, change_tol = 0)
}
"""
)
SOFTMAX = (
    HEAD
    + """\
block two(x[6]) -> z[3]: logit {
  let hidden = dense(4, act = tanh)
  param M[3, 4] ~ normal(0, 1) where marks(\"\"\"
X.XX
XX.X
.XXX
\"\"\")
  fixed s[3] = [1, 2, 1]
  z = s * (M @ hidden(x))
}
let net = two()
let idle = dense(2)
train s on d batch all for 40 epochs dtype float64 {
  z = net(x)
  minimize cross_entropy(z, label) + 0.01 * (sum(net.M^2) + sum(net.hidden.W^2)) over net
    with lbfgs(history = 4)
  watch error = argmax(z) != label every 1 epoch
  watch level = cross_entropy(z, label) on d every 3 epochs
  watch reach = norm(net.M) every 2 updates
  checkpoint best by level
  checkpoint every 7 epochs
}
train after on d batch 8 for 1 epoch {
  minimize sum(idle(x)^2) over idle with sgd(lr = 1e-4)
}
"""
)


@cache
def compiled(text: str) -> Any:
    return dln.load(text).compile()


def session(text: str, **changes: str) -> Session:
    for old, new in changes.items():
        text = text.replace(old.replace("_", " "), new)
    return compiled(text).session(seed=5)


def trained(text: str, **changes: str) -> tuple[Session, Any]:
    s = session(text, **changes)
    return s, s.train("s", data=DATA)


# ---- minima ------------------------------------------------------------------------------------


def test_a_quadratic_in_as_many_iterations_as_it_has_numbers() -> None:
    s, result = trained(LINEAR)
    design = np.column_stack([X, np.ones(len(X))])
    best, *_ = np.linalg.lstsq(design, T, rcond=None)
    found = np.concatenate([s.params["net.W"][0], s.params["net.b"]])
    np.testing.assert_allclose(found, best, atol=1e-8)
    assert result.updates <= 7 + 2
    assert result.ended == "the gradient is flat" and result.complete


def test_rosenbrocks_valley() -> None:
    s, result = trained(ROSENBROCK)
    assert float(s.params["p.a"]) == pytest.approx(1, abs=1e-8)
    assert float(s.params["p.b"]) == pytest.approx(1, abs=1e-8)
    assert result.updates < 60


def test_no_worse_than_another_implementation() -> None:
    """The same loss in SciPy: the same minimum, in not many more looks."""
    optimize = pytest.importorskip("scipy.optimize")

    def valley(p: np.ndarray) -> tuple[float, np.ndarray]:
        a, b = p
        f = (1 - a) ** 2 + 100 * (b - a * a) ** 2
        return f, np.array([-2 * (1 - a) - 400 * a * (b - a * a), 200 * (b - a * a)])

    options = {"maxcor": 20, "gtol": 1e-9, "ftol": 0}
    other = optimize.minimize(valley, [-1.2, 1], jac=True, method="L-BFGS-B", options=options)
    s = session(ROSENBROCK)
    looks = counted(s)
    result = s.train("s", data=DATA)
    np.testing.assert_allclose([s.params["p.a"], s.params["p.b"]], other.x, atol=1e-6)
    assert result.updates <= 1.5 * other.nit and len(looks) <= 1.5 * other.nfev


def counted(s: Session) -> list[int]:
    """How often the program of loss and gradients runs, one entry each time."""
    step, runs = s.programs.executable(ProgramKind.STEP.of("s"), "s"), list[int]()
    bind = step._bind

    def counting(xp: ModuleType, n: int, seed: int, arrays: dict[str, Any]) -> Any:
        run = bind(xp, n, seed, arrays)

        def counted(*clocks: float) -> None:
            runs.append(n)
            run(*clocks)

        return counted

    vars(step)["_bind"] = counting
    return runs


@pytest.mark.parametrize(("dtype", "flat"), [("float64", 1e-5), ("float32", 1e-4)])
def test_a_network_comes_to_where_the_gradient_is_flat(dtype: str, flat: float) -> None:
    s, result = trained(SOFTMAX, for_40="for 400", float64=dtype, history="change_tol = 0, history")
    assert result.ended and result.updates < 400
    for path in ("net.M", "net.hidden.W", "net.hidden.b"):
        g = s.grad("s", path, x=X, t=T, label=LABEL)
        assert abs(g).max() <= flat, path


# ---- directions --------------------------------------------------------------------------------


@pytest.mark.parametrize("pairs", [0, 1, 3, 9])
def test_the_direction_is_that_of_the_dense_matrix(pairs: int) -> None:
    """The inverse matrix written out, equation (6.17), from the scaled identity of (7.20)."""
    n, kept = 5, 4
    half = RNG.normal(size=(n, n))
    bend = half @ half.T + np.eye(n)
    states = {POINTS: np.zeros((kept, n)), SLOPES: np.zeros((kept, n)), COUNT: np.zeros(())}
    memory, known = Pairs(np, states), []
    for _ in range(pairs):
        s = RNG.normal(size=n)
        memory.add(s, bend @ s)
        known.append((s, bend @ s))
    h = np.eye(n)
    if known:
        s, y = known[-1]
        h *= (s @ y) / (y @ y)
    for s, y in known[-kept:]:
        rho = 1 / (s @ y)
        left = np.eye(n) - rho * np.outer(s, y)
        h = left @ h @ left.T + rho * np.outer(s, s)
    g = RNG.normal(size=n)
    np.testing.assert_allclose(memory.direction(g), -h @ g, rtol=1e-10)
    assert len(memory) == min(pairs, kept)


def test_a_pair_that_bends_down_is_not_kept() -> None:
    states = {POINTS: np.zeros((2, 2)), SLOPES: np.zeros((2, 2)), COUNT: np.zeros(())}
    memory = Pairs(np, states)
    memory.add(np.array([1.0, 0]), np.array([-1.0, 0]))
    memory.add(np.array([1.0, 0]), np.array([0.0, 1]))
    assert len(memory) == 0


# ---- the phase ---------------------------------------------------------------------------------


def test_what_is_not_learned_keeps_its_bytes_and_the_dead_stay_dead() -> None:
    s = session(SOFTMAX)
    before = {k: np.array(v) for k, v in s.params.items()}
    s.train("s", data=DATA)
    for path in ("idle.W", "idle.b", "net.s"):
        np.testing.assert_array_equal(s.params[path], before[path])
    dead = np.array([[0, 1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0]], bool)
    np.testing.assert_array_equal(s.params["net.M"][dead], 0.0)
    assert (s.params["net.M"][~dead] != before["net.M"][~dead]).all()


def test_a_watch_is_of_the_parameters_that_an_iteration_has_come_to() -> None:
    s, result = trained(LINEAR)
    y = X @ s.params["net.W"][0] + s.params["net.b"][0]
    assert result.watch["J"] == pytest.approx(np.mean((y - T) ** 2) / 2, rel=1e-12)
    values = [v for _, _, v in result.history["J"]]
    assert values == sorted(values, reverse=True) and len(values) == result.updates


def test_one_step_from_python_is_one_iteration() -> None:
    """On the whole set, step after step, the same bits as in training."""
    straight, again = session(LINEAR), session(LINEAR)
    straight.train("s", data=DATA, epochs=4)
    fields = {"x": X, "t": T}
    losses = [again.step("s", **fields) for _ in range(4)]
    np.testing.assert_array_equal(straight.params["net.W"], again.params["net.W"])
    assert losses == sorted(losses, reverse=True)


def test_until_and_epochs_end_it_too() -> None:
    s = session(LINEAR.replace("  watch J", "  until J < 1\n  watch J"))
    result = s.train("s", data=DATA)
    values = [v for _, _, v in result.history["J"]]
    assert values[-1] < 1 <= values[-2] and result.ended == "" and result.complete
    short = session(LINEAR).train("s", data=DATA, epochs=2)
    assert (short.updates, short.shortened, short.ended) == (2, True, "")


def test_the_examples_are_gathered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from dln.runtime.data.part import DataPart

    filled: list[int] = []
    filler = DataPart.filler

    def counting(part: DataPart, bound: Any, xp: Any) -> Any:
        fill = filler(part, bound, xp)

        def counted(indices: Any, update: float) -> None:
            filled.append(len(indices))
            fill(indices, update)

        return counted

    monkeypatch.setattr(DataPart, "filler", counting)
    _, result = trained(LINEAR)
    assert filled == [40] and result.updates > 3


def test_a_step_that_leaves_the_numbers_is_taken_back() -> None:
    """The first step leads beyond log(0); the search comes back from there."""
    text = (
        HEAD
        + """\
block one() {
  param a = 0.001
}
let p = one()
train s on d batch all for 50 epochs dtype DTYPE {
  minimize 10 * p.a - log(p.a) over p.a with lbfgs(grad_tol = 1e-4)
}
"""
    )
    for dtype in ("float64", "float32"):
        s, _ = trained(text, DTYPE=dtype)
        assert float(s.params["p.a"]) == pytest.approx(0.1, rel=1e-3)


def test_numbers_left_at_the_start_are_told_at_their_line() -> None:
    s = session(LINEAR.replace("sum((y[0] - t)^2) / 2 over", "log(-sum(y^2)) over"))
    with pytest.raises(DlnError, match="E600"):
        s.train("s", data=DATA)


def test_where_nothing_is_lower_it_ends() -> None:
    """A gradient that is stopped on purpose says nothing true about the loss."""
    text = LINEAR.replace(
        "sum((y[0] - t)^2) / 2 over",
        "sum(stop(y) * stop(y)) - sum(net.b) + 2 * sum(stop(net.b)) over",
    )
    s = session(text)
    before = np.array(s.params["net.b"])
    result = s.train("s", data=DATA)
    assert result.ended == "no lower loss along the line" and result.complete
    np.testing.assert_array_equal(s.params["net.b"], before)


def test_it_is_a_phase_among_others(tmp_path: Path) -> None:
    """Log and result say why it ended; the next phase goes on from there."""
    s, run = session(SOFTMAX, for_40="for 400"), RunDirectory.create("a", str(tmp_path / "a"))
    results = s.train(data=DATA, rundir=run)
    ends = [r for r in run.records() if r["event"] == "end"]
    assert [e.get("ended") for e in ends] == [results["s"].ended, None] and results["s"].ended
    assert results["after"].complete


def test_gradients_are_checked_as_ever() -> None:
    rows = gradcheck(session(SOFTMAX), "s")
    assert max(r.error for r in rows) < 1e-6


# ---- going on ----------------------------------------------------------------------------------


def same(a: Session, b: Session) -> None:
    for path in a.params:
        np.testing.assert_array_equal(a.params[path], b.params[path])
    for path, state in a.state.store.states["s"].items():
        np.testing.assert_array_equal(state, b.state.store.states["s"][path])
    for name in a.results:
        assert a.results[name].history == b.results[name].history
        assert a.results[name].ended == b.results[name].ended


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("looks", [0, 1, 2, 5, 6, 13, 30])
def test_going_on_after_an_interruption(tmp_path: Path, looks: int, dtype: str) -> None:
    """Bit for bit, with fewer pairs than there is room for, and with all of them."""
    straight, first, again = (session(SOFTMAX, float64=dtype) for _ in range(3))
    straight.train(data=DATA)
    run = RunDirectory.create("b", str(tmp_path / "b"))
    with pytest.raises(Interrupted):
        first.train(data=DATA, rundir=run, stop=Countdown(looks))
    again.train(data=DATA, resume=run.newest())
    same(straight, again)


def test_any_checkpoint_leads_to_the_same_end(tmp_path: Path) -> None:
    straight = session(SOFTMAX)
    straight.train(data=DATA)
    run = RunDirectory.create("b", str(tmp_path / "b"))
    saved: list[Any] = []

    class Collect:
        def checkpoint(self, path: Path, best: bool) -> None:
            saved.append(run.newest())

    session(SOFTMAX).train(data=DATA, rundir=run, hooks=[Collect()])
    assert len(saved) > 4
    for restored in saved:
        again = session(SOFTMAX)
        again.train(data=DATA, resume=restored)
        same(straight, again)
