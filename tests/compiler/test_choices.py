"""`a if test else b`: value and slopes are those of the branch taken, whatever the other would be.

The oracle is the formula in Python, where `if` takes one branch only, with a complex step for the
slopes. Second derivatives must be numbers; their values are held against differences of slopes.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy import exp, log

import dln
from dln.compiler.ir.graph import Graph
from dln.compiler.ir.op import Make
from dln.compiler.ir.tensor_type import scalar
from dln.compiler.passes.needs import ALWAYS, Outcome, shortest
from dln.runtime.session import Session

SPEC = """\
data d = rows({rows}) {{
  x[{n}] = raw
}}
block f(x[n]) -> y {{
  param w[{shape}] = 1
  {body}
}}
let m = f()
train one on d batch all for 1 update dtype float64 {{
  minimize m(x) over m with sgd(lr = 0)
}}
train two on d batch all for 1 update dtype float64 {{
  minimize sum(grad(mean(batch: m(x)), m.w)) over m with sgd(lr = 0)
}}
"""


def by_step(body: Callable[..., Any]) -> Callable[..., Any]:
    """The value of three steps h = body(h, w, x) from w[0] x[0] on."""

    def run(w: np.ndarray, x: np.ndarray) -> Any:
        h = w[0] * x[0]
        for _ in range(3):
            h = body(h, w, x)
        return h

    return run


LOOP = "h[-1] = w[0] * x[0]\n  scan t in 3 {{\n    h[t] = {}\n  }}\n  y = {}"
ROWS = [[0, 1], [3, 1], [1000, 2]]
LEARNT = by_step(lambda h, w, x: np.tanh(h * x[0] + log(w[1])))

CASES: dict[str, Any] = {
    "p log p": (
        "y = sum(w * x * log(w * x) if w * x > 0 else 0)",
        [[0, 1], [-3, 2]],
        [1, 2],
        lambda w, x: sum(p * log(p) if p.real > 0 else 0 for p in w * x),
    ),
    "exp of exp, and a shared part": (
        "e = exp(w * x)\n  y = sum(exp(e) if x < 2 else (1 / e if x < 3 else w))",
        [[1000, 2.5], [-2, 0.2], [3, 4]],
        [1, 2],
        lambda w, x: sum(
            exp(exp(a * b)) if b < 2 else (exp(-a * b) if b < 3 else a)
            for a, b in zip(w, x, strict=True)
        ),
    ),
    "products and sums of large numbers": (
        "y = sum((w * x)^2 * x + x * x + (x + x) if x < 10 else w)",
        [[1e308, 1], [2, -1]],
        [1, 2],
        lambda w, x: sum(
            (a * b) ** 2 * b + b * b + 2 * b if b < 10 else a for a, b in zip(w, x, strict=True)
        ),
    ),
    "a power that is learnt": (
        "y = sum(x^w if x > 0 else w)",
        [[0, 1], [-3, 4]],
        [0.5, -2],
        lambda w, x: sum(b**a if b > 0 else a for a, b in zip(w, x, strict=True)),
    ),
    "one test for a vector": (
        "y = sum(log(w) if x[0] > 0 else w * x)",
        [[-1, 1], [-2, 2]],
        [0, 2],
        lambda w, x: sum(log(w) if x[0] > 0 else w * x),
    ),
    "a parameter that some examples need": (
        "y = sum(log(w) if x[0] > 0 else w * x)",
        [[-1, 1], [2, 2]],
        [3, 2],
        lambda w, x: sum(log(w) if x[0] > 0 else w * x),
    ),
    "a number that no element needs, under two tests that hold apart": (
        "y = sum((log(w[2]) if w > 1 and x > 1 else w) * x)",
        [[0, 3, 1], [0.5, 2, 3]],
        [2, 0.5, 0],
        lambda w, x: sum(
            (log(w[2]) if a.real > 1 and b > 1 else a) * b for a, b in zip(w, x, strict=True)
        ),
    ),
    "a number that both branches of one choice need": (
        "y = sum((exp((w + 1) * w) if x < 0 else w + (w + 1) * w) if w < x else log(w))",
        [[5, 2], [1, -3]],
        [3, 2],
        lambda w, x: sum(
            (exp((a + 1) * a) if b < 0 else a + (a + 1) * a) if a.real < b else log(a)
            for a, b in zip(w, x, strict=True)
        ),
    ),
    "a number that the test of a choice inside needs": (
        "y = sum((x - log(w) if log(w) > x else w) if x > 0 else x)",
        [[-5, 0.1], [-1, 3]],
        [0, 2],
        lambda w, x: sum(
            (b - log(a) if log(a).real > b else a) if b > 0 else b
            for a, b in zip(w, x, strict=True)
        ),
    ),
    "a ratio of sums": (
        "y = sum(w * x / sum(w * x) if sum(w * x) > 0 else w)",
        [[-2, 1], [2, 2]],
        [1, 1],
        lambda w, x: sum(w * x / sum(w * x) if sum(w * x).real > 0 else w),
    ),
    "a product of matrices": (
        "y = sum((w @ x)^2) if x[0] < 10 else w[0, 1]",
        [[1e200, 1], [2, 2]],
        [[1, 2], [3, 4]],
        lambda w, x: sum((w @ x) ** 2) if x[0] < 10 else w[0, 1],
    ),
    "tests over other axes": (
        "z[i, j] = 1 / (w[i] * x[j]) if x[j] != 0 and w[i] > 0 else w[i]\n  y = sum(z)",
        [[0, 1], [3, -1]],
        [0, 2, -1],
        lambda w, x: sum(1 / (a * b) if b != 0 and a.real > 0 else a for a in w for b in x),
    ),
    "a choice in a test": (
        "y = sum(w if (log(x) if x > 0 else -1) > 0 else (1 / x if x != 0 else w * w))",
        [[0, 1], [3, -1]],
        [0.5, 2],
        lambda w, x: sum(
            a if (log(b) if b > 0 else -1) > 0 else (1 / b if b != 0 else a * a)
            for a, b in zip(w, x, strict=True)
        ),
    ),
    "a derivative as a branch": (
        "y = sum(grad(sum(log(w * x)), x) * w * w if min(x) > 0 else w)",
        ROWS,
        [0.5, 2],
        lambda w, x: sum(w * w / x) if min(x) > 0 else sum(w),
    ),
    "a deviation of 0": (
        "z = w * x - mean(w * x)\n  y = sum(z) / sqrt(mean(z^2)) + w[0] * x[1] "
        "if norm(x - mean(x)) > 0 else w[1]",
        [[0, 0], [3, 1]],
        [0.5, 2],
        lambda w, x: w[0] * x[1] if x.std() > 0 else w[1],
    ),
    "in a step": (
        LOOP.format("log(h[t-1]) if h[t-1] > 0 else exp(h[t-1]) * w[1]", "last(h)"),
        ROWS,
        [0.5, -2],
        by_step(lambda h, w, x: log(h) if h.real > 0 else exp(h) * w[1]),
    ),
    "around a loop": (
        LOOP.format("exp(h[t-1]) * w[1]", "last(h) if x[0] < 1 else w[1] * x[1]"),
        ROWS,
        [0.5, 2],
        lambda w, x: by_step(lambda h, w, x: exp(h) * w[1])(w, x) if x[0] < 1 else w[1] * x[1],
    ),
    "two tests around a loop": (
        LOOP.format(
            "tanh(h[t-1] * x[0] + k)", "(last(h) if x[1] > 0 else w[0]) if x[0] > 0 else 1"
        ).replace("h[-1]", "k = log(w[1])\n  h[-1]"),
        [[1, 2], [-1, 1], [1, -1]],
        [0.5, 2],
        lambda w, x: LEARNT(w, x) if min(x) > 0 else w[0] if x[0] > 0 else 1,
    ),
    "two tests around a loop, never both": (
        LOOP.format(
            "tanh(h[t-1] * x[0] + k)", "(last(h) if x[1] > 0 else w[0]) if x[0] > 0 else 1"
        ).replace("h[-1]", "k = log(w[1])\n  h[-1]"),
        [[-1, 1], [1, -1]],
        [0.5, -2],
        lambda w, x: w[0] if x[0] > 0 else 1,
    ),
}


def made(body: str, rows: list[Any], w: np.ndarray) -> Session:
    shape = ", ".join(map(str, np.shape(w)))
    text = SPEC.format(rows=rows, n=len(rows[0]), shape=shape, body=body)
    session = dln.load(text).compile(dtype="float64").session()
    session.params["m.w"][...] = w
    return session


@pytest.mark.parametrize("name", CASES)
def test_value_and_slope_come_from_the_branch_taken(name: str) -> None:
    body, rows, w, right = CASES[name]
    x, w = np.array(rows, float), np.array(w, float)
    session = made(body, rows, w)
    assert session.m(x) == pytest.approx([complex(right(w + 0j, r)).real for r in x], rel=1e-12)
    slope = np.zeros_like(w)
    for i in np.ndindex(w.shape):
        stepped = w + 0j
        stepped[i] += 1e-30j
        slope[i] = np.mean([complex(right(stepped, r)).imag / 1e-30 for r in x])
    assert session.grad("one", "m.w", x=x) == pytest.approx(slope, rel=1e-10, abs=1e-12)


@pytest.mark.parametrize(
    "name", ["p log p", "a power that is learnt", "a ratio of sums", "in a step"]
)
def test_second_derivatives_are_those_of_the_branch_taken(name: str) -> None:
    body, rows, w, _ = CASES[name]
    x, w = np.array(rows, float), np.array(w, float)
    session = made(body, rows, w)
    second = session.grad("two", "m.w", x=x)
    for i in range(len(w)):
        at = []
        for h in (1e-5, -1e-5):
            session.params["m.w"][...] = w + h * np.eye(len(w))[i]
            at.append(session.grad("one", "m.w", x=x).sum())
        assert second[i] == pytest.approx((at[0] - at[1]) / 2e-5, rel=1e-4, abs=1e-6)


def test_a_spec_with_choices_in_watches_tasks_and_checks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from dln.cli import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.dln").write_text("""\
fn root(p) = sqrt(p) if p > 0 else 0
data d = rows([[0.25, -4]]) {
  q[2] = raw
}
let n = dense(1)
train one on d batch all for 1 update {
  minimize (n(root(q))[0] - 1 / epoch if epoch > 0 else 0) over n with sgd(lr = 0.01)
  watch r = sum(root(q)) on d
}
task show() {
  emit sum(root([9, -1]))
}
check "the branch taken" {
  expect one.r == 0.5
  expect sum(root([9, -1])) == 3
}
""")
    with pytest.raises(SystemExit) as e:
        main(["run", "s.dln"])
    assert e.value.code == 0
    out = capsys.readouterr().out
    assert "r 0.5" in out and "2 passed" in out and "3" in out


def test_needs_are_said_in_few_terms() -> None:
    """Shortened or not, a need holds for the same outcomes of its tests."""
    draw, m = random.Random(1), Make(Graph())
    nodes = [m("input", name=n, type=scalar("bool")) for n in "abc"]
    for _ in range(200):
        terms = {
            frozenset(Outcome(n, (), draw.random() < 0.5) for n in nodes if draw.random() < 0.6)
            for _ in range(draw.randint(1, 5))
        }
        short = shortest(terms)
        assert len(short) <= len(terms)
        for outcome in itertools.product((False, True), repeat=3):
            now: dict[object, bool] = dict(zip(nodes, outcome, strict=True))
            holds = [
                any(all(now[t.node] == t.holds for t in term) for term in s) for s in (terms, short)
            ]
            assert holds[0] == holds[1]
    both = {frozenset({Outcome(nodes[0], (), side)}) for side in (True, False)}
    assert shortest(both) == ALWAYS


# ---- norm --------------------------------------------------------------------------------------

NORMS = {
    "at 0": ("y = norm(w * x)", [[0, 0]], [1, 2], [0, 0]),
    "of a difference, beside another": ("y = norm(w - x)", [[1, 2], [4, 6]], [1, 2], [-0.3, -0.4]),
    "of a matrix": ("y = norm(w) + x[0] * w[0, 0]", [[3, 0]], [[0, 0], [0, 0]], [[3, 0], [0, 0]]),
    "squared": ("y = norm(w)^2 + norm(w) * x[0]", [[3, 0]], [0, 0], [0, 0]),
    "off 0": ("y = norm(w)", [[3, 0]], [3, -4], [0.6, -0.8]),
    "of a slope": ("y = norm(grad(norm(w)^2, w)) + x[0] * w[1]", [[3, 0]], [0, 0], [0, 3]),
}


@pytest.mark.parametrize("name", NORMS)
def test_the_slope_of_norm_is_0_at_0(name: str) -> None:
    body, rows, w, slope = NORMS[name]
    session = made(body, rows, np.array(w, float))
    x = np.array(rows, float)
    assert session.grad("one", "m.w", x=x) == pytest.approx(np.array(slope), abs=1e-12)
    assert np.isfinite(session.grad("two", "m.w", x=x)).all()


# ---- numbers that float32 lacks ----------------------------------------------------------------

MASKED = """\
data d = rows([[1, 2, 3], [0.5, -1, 2]]) {
  x[3] = raw
}
block f(x[n]) -> y[n] {
  param w[n] = 1
  z = w * x if x > 0 else -1e300
  y = exp(z) / sum(exp(z))
}
let m = f()
train t on d batch 2 for 1 epoch {
  minimize m(x)[2] over m with sgd(lr = 1)
}
"""


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_a_mask_leaves_out_of_a_softmax_is_0_in_either_precision(dtype: str) -> None:
    x = np.array([[1, 2, 3], [0.5, -1, 2]])
    weight = np.where(x > 0, np.exp(x), 0)
    p = weight / weight.sum(1, keepdims=True)
    session = dln.load(MASKED).compile(dtype=dtype).session(seed=0)
    assert session.m(x) == pytest.approx(p, rel=1e-6)
    slope = (p[:, 2:] * ((np.arange(3) == 2) - p) * x).mean(0)
    assert session.grad("t", "m.w", x=x) == pytest.approx(slope, rel=1e-5, abs=1e-7)
    assert session.step("t", x=x) == pytest.approx(p[:, 2].mean(), rel=1e-6)
    assert session.params["m.w"] == pytest.approx(1 - slope, rel=1e-5)
