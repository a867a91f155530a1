"""Fields of whole parts: what programs see of them, held against the file itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dln.spec as specs
from dln.compiler.plan import ProgramKind
from dln.grammar.diagnostics import DlnError
from dln.grammar.diagnostics import Source as Text
from dln.running.expectations import verdicts

X = np.random.default_rng(0).normal(size=(9, 3))
C = np.array([0, 1, 2, 1, 0, 2, 2, 1, 0])

DATA = """
data d = npz("a.npz") {
  x[3] = raw.x
  c: class(3) = raw.c
  split fit 6, rest 3
}
"""
NEAREST = """
block nearest(x[3]; X, c) -> y: class(3) {
  e[j] = sum(i: (x[i] - X[j, i])^2)
  y = c[argmin(e)]
}
let near = nearest(X = d.fit.x, c = d.fit.c)
train look on d.rest batch 2 for 1 epoch {
  watch right = 100 * (near(x) == c)
  watch same = 100 * (near(x) == c) on d.fit
}
"""


def load(tmp_path: Path, text: str, limit: int | None = None) -> specs.Spec:
    np.savez(tmp_path / "a.npz", x=X, c=C)
    path = tmp_path / "net.dln"
    path.write_text(DATA + text)
    return specs.from_source(Text(str(path), DATA + text), "net", limit=limit)


def expected(rows: np.ndarray, known: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The class of the nearest, example by example."""
    return np.array([classes[np.argmin([((a - b) ** 2).sum() for b in known])] for a in rows])


def values(session: Any, *nodes: str) -> list[np.ndarray]:
    return [session.params[n] for n in nodes]


def test_the_nearest_of_a_part(tmp_path: Path) -> None:
    session = load(tmp_path, NEAREST).compile().session()
    result = session.train("look")
    right = 100 * np.mean(expected(X[6:], X[:6], C[:6]) == C[6:])
    assert result.watch["right"] == pytest.approx(right) and result.watch["same"] == 100
    assert np.array_equal(session.near(X), expected(X, X[:6], C[:6]))


def test_first_values_from_data(tmp_path: Path) -> None:
    text = """
block centred(x[3]) -> y[3] {
  fixed m[3] = sum(j: d.x[j]) / 9
  y = x - m
}
let net = centred()
let z = net([0, 0, 0])
"""
    session = load(tmp_path, text).compile().session()
    np.testing.assert_allclose(session.params["net.m"], X.mean(axis=0), rtol=1e-6)


def test_one_array_for_all_programs(tmp_path: Path) -> None:
    session = load(tmp_path, NEAREST).compile().session()
    session.train("look")
    names = (ProgramKind.STEP.of("look"), ProgramKind.WATCH.of("look", "same"))
    made = [session.programs.executable(n, "look") for n in names]
    first, second = (e.wholes["d.fit.x"] for e in made)
    assert np.shares_memory(first, second)
    assert np.shares_memory(first, session.datasets.part("d", "fit", "float32").arrays["x"])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_in_the_precision_of_the_program(tmp_path: Path, dtype: str) -> None:
    text = "train t on d batch 3 for 1 epoch {\n  watch far = sum(x * d.x[8])\n}\n"
    session = load(tmp_path, text).compile(dtype=dtype).session()
    found = session.train("t").watch["far"]
    assert found == pytest.approx(np.mean(X @ X[8]), rel=1e-6 if dtype == "float32" else 1e-14)
    assert (
        str(session.programs.executable(ProgramKind.STEP.of("t"), "t").wholes["d.all.x"].dtype)
        == dtype
    )


def test_beside_parameters_that_learn(tmp_path: Path) -> None:
    """A loss over the whole set, whatever the minibatch: its gradient by hand."""
    text = """
block b(x[3]) -> y {
  param w[3] = 1
  y = sum(w * x)
}
let net = b()
train t on d batch 9 for 1 update dtype float64 {
  minimize net(x) + sum(j, i: net.w[i] * d.x[j, i]) over net with sgd(lr = 0.5)
}
"""
    session = load(tmp_path, text).compile().session()
    session.train("t")
    wanted = 1 - 0.5 * (X.mean(axis=0) + X.sum(axis=0))
    np.testing.assert_allclose(session.params["net.w"], wanted, rtol=1e-12)


def test_at_every_step_of_a_loop(tmp_path: Path) -> None:
    text = """
task walk() {
  s[-1] = d.x[0]
  scan t in 4 {
    e[j] = sum(i: (s[t-1][i] - d.x[j, i])^2)
    s[t] = d.x[lowest(e, 2)[1]] + 0.1
  }
  emit s to "s.npy"
}
"""
    session = load(tmp_path, text).compile(dtype="float64").session()
    found = session.evaluate("task:walk")["emit:0.0"]
    s, wanted = X[0], []
    for _ in range(4):
        s = X[np.argsort(((s - X) ** 2).sum(axis=1), kind="stable")[1]] + 0.1
        wanted.append(s)
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


# ---- fewer examples, other examples ------------------------------------------------------------


def test_limited(tmp_path: Path) -> None:
    spec = load(tmp_path, NEAREST, limit=2)
    session = spec.compile().session()
    assert session.programs.executable(ProgramKind.APPLY.of("near")).wholes["d.fit.x"].shape == (
        2,
        3,
    )
    assert np.array_equal(session.near(X), expected(X, X[:2], C[:2]))


def test_examples_from_python_are_refused(tmp_path: Path) -> None:
    session = load(tmp_path, NEAREST).compile().session()
    with pytest.raises(DlnError) as caught:
        session.train("look", data={"d.fit": (X, C)})
    [problem] = caught.value.problems
    assert problem.code == "E557" and "d.fit.c stands whole" in problem.message


def test_beside_a_field_that_is_drawn(tmp_path: Path) -> None:
    images = np.random.default_rng(1).random((5, 4, 4))
    np.savez(tmp_path / "b.npz", image=images, c=C[:5])
    text = """
data e = npz("b.npz") {
  image[4, 4] ~ distort(raw.image)
  c: class(3) = raw.c
}
train t on e batch 5 for 1 epoch {
  watch last = 100 * (e.c[4] == c)
}
"""
    session = load(tmp_path, text).compile().session()
    assert session.train("t").watch["last"] == pytest.approx(100 * np.mean(C[4] == C[:5]))


# ---- checks ------------------------------------------------------------------------------------

CHECK = """
check "the file" {
  expect shape(d.x) == [9, 3]
  expect sum(j, i: d.x[j, i]) == SUM within 1e-12
  expect sum(i: d.rest.x[0, i]) == ROW within 1e-12
  expect mean(j: d.c[j] == d.c[2]) == 1 / 3 within 1e-12
  expect look.after(mean(batch: sum(x * d.x[0]))) == 0 within 100
  expect look.right <= 100
}
"""


def checked(tmp_path: Path, limit: int | None) -> tuple[specs.Spec, Any]:
    text = CHECK.replace("SUM", repr(float(X.sum()))).replace("ROW", repr(float(X[6].sum())))
    spec = load(tmp_path, NEAREST + text, limit)
    session = spec.compile().session()
    session.keep_before.add("look")
    session.train("look", limit=limit)
    return spec, session


def test_checks_read_the_data(tmp_path: Path) -> None:
    spec, session = checked(tmp_path, None)
    assert [v.status for v in verdicts(spec.model, session)] == ["passed"] * 6


def test_without_a_session_a_check_says_what_it_needs(tmp_path: Path) -> None:
    spec, _ = checked(tmp_path, None)
    found = [(v.status, v.reason) for v in verdicts(spec.model)]
    assert found[:2] == [("passed", ""), ("not run", "needs the data: dln run")]
    assert found[-1] == ("not run", "the phase look was not run")


def test_of_limited_data_nothing_is_claimed(tmp_path: Path) -> None:
    """Also where the phase itself saw all of its own part."""
    spec, session = checked(tmp_path, 3)
    reasons = [v.reason for v in verdicts(spec.model, session)][1:]
    assert reasons == ["the data were limited", "", *["the data were limited"] * 3]
