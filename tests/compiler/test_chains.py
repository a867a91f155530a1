"""Gibbs chains: what they draw, held against the exact chain of a tiny machine.

Counts are compared with exact probabilities by Pearson's chi-square with a fixed seed; the bound is
one that chance passes once in 100,000 times.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

import dln
from dln.compiler.ir.graph import Node, ancestors
from dln.runtime.device.gpu import Gpu
from dln.runtime.session import Session

N = 20000
RBM = """block machine(v[n]: binary; m) {
  hidden h[m]: binary
  param W[n, m] ~ normal(0, 1.5), a[n] ~ normal(0, 0.5), b[m] ~ normal(0, 0.5)
  energy = -(a @ v) - (b @ h) - (v @ W @ h)
}
let T = machine(2)
"""
LABELLED = """block machine(code[n]: binary, label: class(3); m) {
  hidden h[m]: binary
  param W[n, m] ~ normal(0, 1), U[3, m] ~ normal(0, 1)
  param a[n] ~ normal(0, 0.5), d[3] ~ normal(0, 0.5), b[m] ~ normal(0, 0.5)
  energy = -(a @ code) - d[label] - (b @ h) - (code @ W @ h) - (U[label] @ h)
}
let T = machine(3)
"""
BITS = {n: np.array(list(product((0.0, 1.0), repeat=n))) for n in (2, 3)}


def session_of(text: str, seed: int = 5) -> Session:
    return dln.load(text).compile(dtype="float64").session(seed=seed)


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def chances(mean: np.ndarray, states: np.ndarray) -> np.ndarray:
    """p of each of some states of independent bits with these means, a row for each mean."""
    p = mean[:, None, :]
    return (states * p + (1 - states) * (1 - p)).prod(-1)


def transition(session: Session) -> np.ndarray:
    """P[v, w] of one step: the hidden bits given v, then the visible ones given those."""
    W, a, b = (np.array(session.params[f"T.{k}"]) for k in "Wab")
    v, h = BITS[3], BITS[2]
    return chances(sigmoid(b + v @ W), h) @ chances(sigmoid(a + h @ W.T), v)


def stationary(session: Session) -> np.ndarray:
    """p(v), from the energies of all 32 states."""
    W, a, b = (np.array(session.params[f"T.{k}"]) for k in "Wab")
    v, h = BITS[3], BITS[2]
    p = np.exp(v @ a[:, None] + h @ b + v @ W @ h.T).sum(1)
    return p / p.sum()


def numbers(bits: np.ndarray) -> np.ndarray:
    """Rows of bits as whole numbers, in the order of BITS."""
    return (bits @ 2 ** np.arange(bits.shape[1])[::-1]).astype(int)


def fits(drawn: np.ndarray, p: np.ndarray) -> None:
    """Chi-square with up to 11 degrees of freedom."""
    counts, wanted = np.bincount(drawn, minlength=len(p)), len(drawn) * p
    assert len(counts) == len(p) <= 12
    assert ((counts - wanted) ** 2 / wanted).sum() < 45


def stepping(*lines: str) -> str:
    body = "".join(f"  {line}\n" for line in lines)
    head = f"block move(v[3]: binary) -> w[3]: binary {{\n{body}}}\n"
    return RBM + head + "let m = move()\nlet begun = m([0, 0, 0] as binary)\n"


# ---- what is drawn -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "steps"),
    [
        (["w = gibbs(T, v, 1)"], 1),
        (["w = gibbs(T, v, 3)"], 3),
        (["w = gibbs(T, v, k = 2)"], 2),
        (["u = gibbs(T, v, 1)", "s = gibbs(T, u, 1)", "w = gibbs(T, s, 1)"], 3),
        (["w = gibbs(T, gibbs(T, v, 1), 2)"], 3),
    ],
    ids=["one", "three in a loop", "by name", "three in turn", "nested"],
)
def test_steps_have_the_chances_of_the_exact_chain(lines: list[str], steps: int) -> None:
    session = session_of(stepping(*lines))
    p = np.linalg.matrix_power(transition(session), steps)
    for start in (0, 5):
        found = session["m"](np.tile(BITS[3][start], (N, 1)))
        fits(numbers(found), p[start])


def test_a_long_chain_comes_to_the_machine() -> None:
    session = session_of(RBM + f"task t() {{\n  emit gibbs(T, noise({N}, 3), 60)\n}}\n")
    found, p = session.evaluate("task:t")["emit:0.0"], stationary(session)
    assert found.shape == (N, 3)
    np.testing.assert_allclose(p @ transition(session), p, rtol=1e-12)
    fits(numbers(found), p)


def test_noise_is_fair() -> None:
    session = session_of(f"task t() {{\n  emit noise({N}, 3)\n  emit noise({N}, 3)\n}}\n")
    one, two = (session.evaluate("task:t")[f"emit:{i}.0"] for i in (0, 1))
    fits(numbers(one), np.full(8, 1 / 8))
    assert abs((one == two).mean() - 0.5) < 0.01


def labelled(clamp: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes and labels after a chain from label 2, and the exact p(code, label)."""
    text = f"""task t() {{
  s = gibbs(T, noise({N}, 2), 2, 40{clamp})
  emit s.code
  emit s.label
}}
"""
    session = session_of(LABELLED + text)
    W, U, a, d, b = (np.array(session.params[f"T.{k}"]) for k in ("W", "U", "a", "d", "b"))
    code, h = BITS[2], BITS[3]
    energy = -((code @ a)[:, None, None] + d[:, None] + h @ b + (code @ W @ h.T)[:, None] + U @ h.T)
    p = np.exp(-energy).sum(-1)
    found = session.evaluate("task:t")
    return found["emit:0.0"], found["emit:1.0"], p / p.sum()


def test_a_class_moves_with_the_others() -> None:
    codes, labels, p = labelled("")
    fits(numbers(codes) * 3 + labels, p.ravel())


def test_what_is_clamped_stays() -> None:
    codes, labels, p = labelled(', clamp = "label"')
    assert (labels == 2).all()
    fits(numbers(codes), p[:, 2] / p[:, 2].sum())
    codes, labels, p = labelled(', clamp = ["code"]')
    assert labels.shape == (N,)
    start = codes.mean()
    assert abs(start - 0.5) < 0.01  # the codes are the noise still
    fits(labels, 0.25 * (p / p.sum(1, keepdims=True)).sum(0))


def test_real_units_have_their_mean_and_width() -> None:
    """A mixture of Gauss curves, one for each state of the hidden unit."""
    text = """block machine(v[1]) {
  hidden h[1]: binary
  param W[1, 1] = 3, a[1] = -1, b[1] = -1
  energy = 2 * sum((v - a)^2) - (b @ h) - (v @ W @ h)
}
let T = machine()
block move(v[1]) -> w[1] {
  w = gibbs(T, v, 30)
}
let m = move()
let begun = m([0])
"""
    found = session_of(text)["m"](np.zeros((N, 1)))[:, 0]
    grid = np.linspace(-6, 6, 4001)
    p = np.exp(-2 * (grid + 1) ** 2) * (1 + np.exp(-1 + 3 * grid))
    p /= p.sum()
    mean, square = p @ grid, p @ grid**2
    assert found.mean() == pytest.approx(mean, abs=0.02)
    assert (found**2).mean() == pytest.approx(square, abs=0.04)


def test_all_units_real() -> None:
    """The precisions of (v, h) are [[1, -W], [-W', 2]]: one Gauss curve, its covariance exact."""
    text = f"""block machine(v[n]) {{
  hidden h[2]
  param W[n, 2] ~ normal(0, 0.4)
  energy = (v @ v) / 2 + sum(h^2) - (v @ W @ h)
}}
let T = machine()
task t() {{
  emit gibbs(T, noise({N}, 2), 40)
}}
"""
    session = session_of(text)
    W = np.array(session.params["T.W"])
    precision = np.block([[np.eye(2), -W], [-W.T, 2 * np.eye(2)]])
    assert np.linalg.eigvalsh(precision).min() > 0.3
    found = session.evaluate("task:t")["emit:0.0"]
    np.testing.assert_allclose(found.mean(0), 0, atol=0.04)
    np.testing.assert_allclose(np.cov(found.T), np.linalg.inv(precision)[:2, :2], atol=0.06)


def test_a_hidden_class_is_drawn() -> None:
    text = f"""block machine(v[n]: binary) {{
  hidden c: class(3), h[2]: binary
  param W[n, 2] ~ normal(0, 1), U[3, n] ~ normal(0, 1), d[3] ~ normal(0, 1)
  energy = -d[c] - (U[c] @ v) - (v @ W @ h)
}}
let T = machine()
task t() {{
  emit gibbs(T, noise({N}, 3), 40)
}}
"""
    session = session_of(text)
    W, U, d = (np.array(session.params[f"T.{k}"]) for k in "WUd")
    v, h = BITS[3], BITS[2]
    p = np.exp(v @ U.T + d).sum(1) * np.exp(v @ W @ h.T).sum(1)
    fits(numbers(session.evaluate("task:t")["emit:0.0"]), p / p.sum())


def test_a_chain_inside_a_scan() -> None:
    """A picture of each stage of a chain: every step of the scan goes on, and draws anew."""
    text = f"""task t() {{
  s[-1] = noise({N}, 3)
  scan t in 12 {{
    s[t] = gibbs(T, s[t-1] as binary, 3)
  }}
  emit s[11]
  emit s[10]
}}
"""
    session = session_of(RBM + text)
    last, before = (session.evaluate("task:t")[f"emit:{i}.0"] for i in (0, 1))
    p = stationary(session)
    fits(numbers(last), p)
    pairs = np.linalg.matrix_power(transition(session), 3)
    shares = np.bincount(numbers(before) * 8 + numbers(last), minlength=64) / N
    np.testing.assert_allclose(shares.reshape(8, 8), p[:, None] * pairs, atol=0.012)


@pytest.mark.parametrize("steps", [1, 3])
def test_over_time_each_step_has_a_chain(steps: int) -> None:
    text = f"""block seq(x[time, 3]: binary) -> f, u[time, 2], g[time, 3] {{
  f = sum(time: T.free(x))
  u = T.up(x)
  g = gibbs(T, x, {steps})
}}
let q = seq()
let z = q([[1, 0, 1], [0, 1, 1]] as binary)
"""
    session = session_of(RBM + text)
    x = np.tile(BITS[3][[5, 0]], (N // 2, 1, 1))
    found, plain = session["q"](x), session["T"]
    np.testing.assert_allclose(found["f"], plain.free(BITS[3][[5, 0]]).sum(), rtol=1e-12)
    np.testing.assert_allclose(found["u"][0], plain.up(BITS[3][[5, 0]]), rtol=1e-12)
    p = np.linalg.matrix_power(transition(session), steps)
    fits(numbers(found["g"][:, 0]), p[5])
    fits(numbers(found["g"][:, 1]), p[0])


def test_a_single_start_is_a_single_chain() -> None:
    text = "task t() {\n  emit gibbs(T, [1, 0, 1], 1)\n  emit gibbs(T, [1, 0, 1], 7)\n}\n"
    found = session_of(RBM + text).evaluate("task:t")
    assert all(v.shape == (3,) and set(v) <= {0.0, 1.0} for v in found.values())


def test_a_start_for_all_is_drawn_for_each() -> None:
    session = session_of(stepping("w = gibbs(T, [1, 0, 1], 3) * v"))
    found = session["m"](np.ones((N, 3)))
    fits(numbers(found), np.linalg.matrix_power(transition(session), 3)[5])


# ---- who draws what ----------------------------------------------------------------------------


def test_two_calls_draw_apart() -> None:
    text = RBM.replace("normal(0, 1.5)", "zero(n, m)").replace("normal(0, 0.5)", "zero(1, 1)")
    text += f"task t() {{\n  v = noise({N}, 3)\n  emit abs(gibbs(T, v, 2) - gibbs(T, v, 2))\n}}\n"
    found = session_of(text).evaluate("task:t")["emit:0.0"]
    assert abs(found.mean() - 0.5) < 0.01


@pytest.mark.parametrize("steps", [1, 4])
def test_an_example_draws_the_same_in_any_batch(steps: int) -> None:
    session = session_of(stepping(f"w = gibbs(T, v, {steps})"))
    v = np.tile(BITS[3], (5, 1))
    whole = session["m"](v)
    assert np.array_equal(whole[:7], session["m"](v[:7]))
    assert np.array_equal(whole, session["m"](v))
    assert not np.array_equal(whole, session_of(stepping("w = gibbs(T, v, 1)"), 6)["m"](v))


def trained(body: str) -> Session:
    text = f"""data d = rows([[1, 0, 1], [0, 1, 1], [1, 1, 1]]) {{
  x[3]: binary = raw
}}
train p on d.all batch 3 for 2 updates dtype float64 {{
{body}
}}
"""
    return session_of(RBM + text)


def learnt(session: Session) -> np.ndarray:
    session.train()
    return np.array(session.params["T.W"])


@pytest.mark.parametrize("k", ["", ", k = 3", ", 3"])
def test_cd_is_the_line_written_out(k: str) -> None:
    rest = "over T with sgd(lr = 0.5)"
    long = f"  minimize T.free(x) - T.free(stop(gibbs(T, x{k or ', 1'}))) {rest}"
    found = learnt(trained(f"  minimize cd(T, x{k}) {rest}"))
    assert np.array_equal(found, learnt(trained(long)))


@pytest.mark.parametrize("steps", [1, 3])
def test_no_gradient_runs_through_a_chain(steps: int) -> None:
    """By a the gradient is v_k - v, which tells v_k; by W it is the textbook rule with that v_k."""
    session = trained(f"  minimize cd(T, x, k = {steps}) over T with sgd(lr = 0)")
    W, b = np.array(session.params["T.W"]), np.array(session.params["T.b"])

    def up(v: np.ndarray) -> np.ndarray:
        return np.asarray(sigmoid(b + v @ W))

    ends = set()
    for v in BITS[3]:
        slopes = [session.grad("p", f"T.{k}", x=v[None]) for k in "aWb"]
        w = v + slopes[0]
        ends.add(tuple(w))
        session.step("p", x=v[None])  # the next update draws anew
        assert set(w) <= {0.0, 1.0}
        rule = np.outer(w, up(w)) - np.outer(v, up(v))
        np.testing.assert_allclose(slopes[1], rule, rtol=0, atol=1e-12)
        np.testing.assert_allclose(slopes[2], up(w) - up(v), rtol=0, atol=1e-12)
    assert len(ends) > 2


def test_each_update_draws_anew() -> None:
    session = trained("  minimize cd(T, x) over T with sgd(lr = 0)")
    seen = set()
    for _ in range(8):
        seen.add(tuple(session.grad("p", "T.a", x=[[1, 0, 1]])))
        session.step("p", x=[[1, 0, 1]])
    assert len(seen) > 1


# ---- size --------------------------------------------------------------------------------------


def test_a_thousand_steps_are_as_long_as_ten() -> None:
    def lines(k: int) -> tuple[int, int]:
        spec = dln.load(RBM + f"task t() {{\n  emit gibbs(T, noise(5, 3), {k})\n}}\n")
        [part] = spec.model.tasks["t"].emits[0].parts
        text = spec.compile().text("task:t")
        assert isinstance(part.value, Node)
        return len(ancestors([part.value])), len(text.splitlines())

    assert lines(10) == lines(1000)


def test_symbols_are_gone() -> None:
    """What stood for unknown units while the energy was differentiated is in no program."""
    plan = dln.load(stepping("w = gibbs(T, v, 3)")).compile().plan
    names = [b.key for p in plan.programs.values() for b in p.buffers if b.place == "input"]
    assert names and not any("?" in k for k in names)


# ---- CuPy's program, without a GPU -------------------------------------------------------------


def test_the_cupy_program_draws_the_same(fake_cupy: Any) -> None:
    text = """task t() {
  s = gibbs(T, noise(9, 2), 1, 4)
  emit s.code
  emit s.label
  emit log_z(T)
  emit log_likelihood(T, [1, 0], 2)
  emit argmin(q: T.free([1, 0], q))
}
"""
    spec = dln.load(LABELLED.replace("d[label]", "(d @ onehot(label))") + text)
    here = spec.compile(dtype="float64").session(seed=5)
    plan = spec.compile(backend="cupy", dtype="float64").plan
    there = Session(plan, Gpu(fake_cupy()), seed=5)
    found, wanted = there.evaluate("task:t"), here.evaluate("task:t")
    assert len(wanted) == 5
    for key, value in wanted.items():
        np.testing.assert_allclose(found[key], value, rtol=1e-12, err_msg=key)
