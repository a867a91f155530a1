"""Updates that products are added to in place, of whole specs.

The oracles: the evaluator on the graph before any rewrite, differentiated and nothing more; NumPy's
three statements in place of OpenBLAS.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dln
from dln.compiler.autodiff.differentiate import differentiate
from dln.compiler.ir.evaluate import evaluate
from dln.compiler.model import Model
from dln.compiler.pipeline.recipes import recipes
from dln.compiler.plan import Plan
from dln.compiler.schema.keys import Output
from dln.compiler.stages import part
from dln.runtime.device import host
from dln.runtime.device.host import Host
from dln.runtime.device.openblas import blas
from dln.runtime.readers.read_cache import ReadCache
from dln.runtime.session import Session
from dln.runtime.training.phase_run import begin

ROWS = np.random.default_rng(5).normal(size=(5, 6)).round(2).tolist()
HEAD = f"""
data d = rows({ROWS}) {{
  x[6] = raw
}}
optimiser nesterov(p, g; lr, mass = 0.9) {{
  state v = 0
  v := mass * v - lr * g
  p := p + mass * v - lr * g
}}
"""
NET = """
block form(x[6]) -> y[2] {
  h = x -> dense(4, act = tanh)
  y = h -> dense(2)
}
"""
TIED = """
block form(x[6]) -> y[6] {
  param W[4, 6] ~ glorot(6, 4)
  y = W' @ tanh(W @ x)
}
"""
LOOP = """
block form(x[6]) -> y[2] {
  param W[2, 6] ~ glorot(6, 2), U[2, 2] ~ glorot(2, 2)
  scan t in 3 {
    s[t] = tanh(W @ x + U @ s[t-1])
  }
  y = s[2]
}
"""
PULLED = """
optimiser pulled(p, g; lr, to = 0.3) {
  k = to - p + (to + 0.2 * sin(p) - p)           # the old value twice, and another term before it
  p := p + lr * (k - g - p)
}
"""
MULTIPLES = """
optimiser multiples(p, g; lr, b = 0.7) {         # each side first, with a minus, with a number of 1
  state m = 0.5, s = 0.25, q = 1
  m := b * s - (1 - b) * m
  s := p - b * s
  q := 2 * q + 3 * m
  p := p - lr * g + lr * (q - 0.5 * m)
}
"""
NORM = "sum(net(x)^2)"
SPECS = {
    "sgd": (NET, NORM, "sgd(lr = 0.1)", 2),
    "a rate that falls": (NET, NORM, "sgd(lr = 0.1 / (1 + update))", 2),
    "momentum": (NET, NORM, "momentum(lr = 0.1)", 2),
    "decay": (NET, NORM, "sgd(lr = 0.1, momentum = 0.5, decay = 0.1)", 2),
    "a penalty": (NET, f"{NORM} + 0.3 * sum(net.h.W^2)", "sgd(lr = 0.1)", 2),
    "the old value several times": (PULLED + NET, NORM, "pulled(lr = 0.1)", 2),
    "a gradient read twice": (NET, NORM, "nesterov(lr = 0.1)", 0),
    "one parameter, two products": (TIED, "sum((net(x) - x)^2)", "sgd(lr = 0.1)", 2),
    "a loop": (LOOP, NORM, "sgd(lr = 0.1)", 2),
    "adam": (NET, NORM, "adam(lr = 0.1, b1 = 0.8, b2 = 0.9)", 0),
    "multiples": (MULTIPLES + NET, NORM, "multiples(lr = 0.1)", 2),
}
"""A block, what is minimised, by what, and how many products are added in place."""
SCALED = {"sgd": 0, "adam": 3 * 4, "a gradient read twice": 2 * 4}
"""How many sums of multiples are one call, for the four parameters together."""


def planned(case: str, dtype: str) -> tuple[Model, Plan]:
    block, loss, by, _ = SPECS[case]
    train = (
        f"train t on d batch 2 for 2 epochs order file {{\n  minimize {loss} over net with {by}\n}}"
    )
    spec = dln.load(f"{HEAD}{block}let net = form()\n{train}\n")
    return spec.model, spec.compile(dtype=dtype).plan


def opened(plan: Plan) -> Session:
    session = Session(plan, Host(), 1, ReadCache().read)
    begin(session.state, plan.phases["t"])
    return session


def step(session: Session, rows: np.ndarray) -> dict[str, np.ndarray]:
    """What the parameters are after an update on some rows."""
    session.step("t", x=rows)
    return {path: np.array(values) for path, values in session.params.items()}


def by_evaluator(model: Model, session: Session, rows: np.ndarray, update: float) -> dict[str, Any]:
    """The same in double precision, from the graph as it was built."""
    outputs = recipes(model)[session.plan.phases["t"].step].outputs
    env: dict[tuple[str, str], Any] = {("input", "x"): rows}
    env |= {("param", k): np.array(v, float) for k, v in session.params.items()}
    env |= {("state", k): np.array(v, float) for k, v in session.state.store.states["t"].items()}
    env |= {("clock", k): update for k in ("epoch", "update", "progress")}
    found = evaluate(differentiate(part(model, outputs)), env)
    return {str(k.key): v for k, v in found.items() if isinstance(k, Output) and k.place == "param"}


@pytest.mark.parametrize(
    ("case", "dtype"), [*((case, "float64") for case in SPECS), ("momentum", "float32")]
)
def test_updates_are_what_the_evaluator_says(
    case: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a minibatch that is short, with a single example, and without OpenBLAS."""
    model, plan = planned(case, dtype)
    text = plan.programs["step:t"].text
    assert text.count(" = gemm(") == SPECS[case][3]
    assert case not in SCALED or text.count(" = add_scaled(") == SCALED[case]
    one = opened(plan)
    monkeypatch.setattr(host, "blas", lambda library: blas(None))
    other = opened(plan)
    rtol, atol = (1e-12, 1e-14) if dtype == "float64" else (2e-5, 1e-6)
    for update, size in enumerate((2, 2, 1)):
        rows = np.array(ROWS)[update : update + size]
        wanted = by_evaluator(model, one, rows, float(update))
        for session in (one, other):
            for path, found in step(session, rows).items():
                np.testing.assert_allclose(found, wanted[path], rtol, atol, err_msg=path)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-14), ("float32", 1e-6)])
def test_rows_go_to_their_places_in_a_table(dtype: str, tolerance: float) -> None:
    """One table, looked up twice, with places that come several times; rows of one number too."""
    text = """
    block table(c: class(7); m) -> v[m] {
      param E[7, m] ~ normal(0, 1)
      v = E[c]
    }
    let wide = table(3)
    let thin = table(1)
    data d = given(c: class(7), k: class(7))
    train t on d batch 4 for 1 epoch {
      minimize (wide(c) @ wide(k)) * sum(thin(c)) over wide, thin with sgd(lr = 0.5)
    }
    """
    c, k = np.array([0, 6, 6, 2]), np.array([6, 6, 1, 2])
    spec = dln.load(text, data={"d": (c, k)})
    compiled = spec.compile(dtype=dtype)
    program = compiled.plan.programs["step:t"].text
    assert program.count("add_at(") == 3 and ".fill(0)" not in program
    session = compiled.session(seed=3)
    wide, thin = (np.array(session.params[f"{n}.E"], float) for n in ("wide", "thin"))
    for _ in range(3):
        both, by = (wide[c] * wide[k]).sum(1), thin[c]
        more, other = np.zeros_like(wide), np.zeros_like(thin)
        np.add.at(more, c, by * wide[k])
        np.add.at(more, k, by * wide[c])
        np.add.at(other, c, both[:, None])
        wide, thin = wide - 0.5 * more / 4, thin - 0.5 * other / 4
        session.step("t", c=c, k=k)
    np.testing.assert_allclose(session.params["wide.E"], wide, tolerance, tolerance)
    np.testing.assert_allclose(session.params["thin.E"], thin, tolerance, tolerance)
