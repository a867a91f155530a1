"""categorical, dropout and distort: their statistics, who draws when, and that draws repeat."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import dln
from dln.compiler.ir.evaluate import evaluate
from dln.compiler.ir.graph import Node, ancestors
from dln.compiler.plan import site_number
from dln.grammar.diagnostics import DlnError
from dln.runtime.device.kernels import uniform
from dln.runtime.session import Session

DATA = """
data d = rows([for i in 0..49: [i / 10, 1 - i / 20, i / 50, 1]]) {
  x[3] = raw[:3]
  t: class(2) = raw[3]
}
"""


def emitted(text: str, seed: int = 0) -> np.ndarray:
    """What the only `emit` of a task gives."""
    session = dln.load(text).compile().session(seed=seed)
    return session.evaluate("task:t")["emit:0.0"]


# ---- classes -------------------------------------------------------------------------------------


def drawn(probabilities: str, seed: int = 0, n: int = 20000) -> np.ndarray:
    return emitted(f"task t() {{\n  s[{n}] ~ categorical({probabilities})\n  emit s\n}}\n", seed)


@pytest.mark.parametrize("p", [[0.1, 0.2, 0.7], [0.0, 0.5, 0.0, 0.5, 0.0], [1.0], [3.0, 1.0]])
def test_classes_come_as_often_as_they_should(p: list[float]) -> None:
    """Within 5 standard deviations of the binomial; a class of probability 0 never comes."""
    found = drawn(str(p))
    shares, n = np.array(p) / sum(p), len(found)
    counts = np.bincount(found, minlength=len(p))
    assert len(counts) == len(p)
    assert (np.abs(counts - n * shares) <= 5 * np.sqrt(n * shares * (1 - shares))).all()


def test_the_class_is_where_the_running_sum_passes_the_draw() -> None:
    """The same uniform numbers, looked up one by one."""
    text = "task t() {\n  s[300] ~ categorical([0.2, 0.3, 0.5])\n  emit s\n}\n"
    spec = dln.load(text)
    session = spec.compile(dtype="float64").session(seed=4)
    found = session.evaluate("task:t")["emit:0.0"]
    emitted = spec.model.tasks["t"].emits[0].parts[0].value
    assert isinstance(emitted, Node)
    [draw] = [n for n in ancestors([emitted]) if n.op == "draw"]
    u = np.empty(300)
    uniform(u, 4, site_number(draw["site"]), 0)
    wanted = [0 if v < 0.2 else 1 if v < 0.5 else 2 for v in u]
    assert found.tolist() == wanted


def test_classes_repeat_with_the_seed() -> None:
    one, again, other = drawn("[1, 1]", 1), drawn("[1, 1]", 1), drawn("[1, 1]", 2)
    assert np.array_equal(one, again) and not np.array_equal(one, other)


def test_a_class_is_drawn_for_each_example() -> None:
    text = DATA + (
        "let net = dense(4, init = zero)\n"
        "train p on d.all batch 25 for 400 updates {\n  s ~ categorical(softmax(net(x)))\n"
        "  minimize cross_entropy(net(x), s) over net with sgd(lr = 0)\n"
        "  watch two = s == 2 every 400 updates\n}\n"
        "task t() {\n  emit p.two\n}\n"
    )
    session = dln.load(text).compile().session()
    session.train()
    shares = [v for _, _, v in session.results["p"].history["two"]]
    assert 0 <= shares[0] <= 1
    # cross entropy of a uniform guess, whatever was drawn
    assert session.step("p", x=np.zeros((7, 3))) == pytest.approx(np.log(4), rel=1e-6)


# ---- relaxed bits --------------------------------------------------------------------------------


def test_a_relaxed_bit_leans_as_often_as_it_should() -> None:
    """It is above 1/2 where its uniform number is below p, and nearly a bit when it is cold."""
    text = "task t() {\n  y[20000] ~ relaxed(0.3)\n  z[20000] ~ relaxed(0.3, 0.01)\n"
    session = dln.load(text + "  emit y\n  emit z\n}\n").compile().session()
    y, z = (session.evaluate("task:t")[f"emit:{i}.0"] for i in (0, 1))
    for found in (y, z):
        assert ((found >= 0) & (found <= 1)).all()
        assert abs((found > 0.5).mean() - 0.3) < 0.015
    assert ((y > 0.1) & (y < 0.9)).mean() > 0.3 > 0.05 > ((z > 0.1) & (z < 0.9)).mean()


def test_a_uniform_number_of_0_is_harmless() -> None:
    """One in 16 million is, in single precision."""
    spec = dln.load("task t() {\n  y ~ relaxed([0.3, 0.9], temperature = 2)\n  emit y\n}\n")
    emitted = spec.model.tasks["t"].emits[0].parts[0].value
    assert isinstance(emitted, Node)
    [y] = evaluate({"y": emitted}, draw=lambda kind, site, shape: np.zeros(shape)).values()
    u = 2.0**-26
    wanted = [1 / (1 + np.sqrt((1 - p) / p * u / (1 - u))) for p in (0.3, 0.9)]
    np.testing.assert_allclose(y, wanted, rtol=1e-12)


def test_the_gradient_passes_a_relaxed_bit() -> None:
    """d y / d p = y (1 - y) / (T p (1 - p)), y the value itself."""
    text = DATA + (
        "block net(x[n]) -> y[2] {\n  param w[2] = 0.2\n  p = sigmoid(w) as prob\n"
        "  s ~ relaxed(p, 0.7)\n  y = s\n}\nlet m = net()\n"
        "train q on d batch 1 for 1 epoch dtype float64 {\n"
        "  minimize sum(m(x) * [1, 10]) over m with sgd(lr = 1)\n}\n"
    )
    session = dln.load(text).compile().session(seed=9)
    loss = session.step("q", x=np.zeros((1, 3)))  # y0 + 10 y1, from the weights before
    moved = 0.2 - session.params["m.w"]  # lr = 1: the slopes, y (1 - y) / 0.7 each
    y = [(1 + sign * np.sqrt(1 - 4 * 0.7 * g / k)) / 2
         for g, k in zip(moved, (1, 10), strict=True) for sign in (1, -1)]  # fmt: skip
    assert min(abs(a + 10 * c - loss) for a in y[:2] for c in y[2:]) < 1e-9


# ---- dropout -------------------------------------------------------------------------------------

DROPPED = (
    DATA
    + """
let net = dense(200, init = zero)
block thin(x[n]; p) -> y[n] {
  y = x -> dropout(p)
}
let half = thin(0.5)
train p on d.all batch 50 for 1 epoch dtype float64 {
  h = net(x) + 1
  y = dropout(h, 0.25)
  z = h -> dropout(0.25)
  minimize sum(y) over net with sgd(lr = 1)
  watch kept = mean(y) every 1 epoch
  watch square = mean(y^2) every 1 epoch
  watch both = mean(y * z) every 1 epoch
  watch without = mean((half(h) - h)^2) + mean((y - h)^2) on d.all every 1 epoch
}
"""
)


def test_dropout_keeps_the_mean_and_scales() -> None:
    """10,000 elements of 1: mean 1, square 1 / (1 - p); two masks are independent."""
    session = dln.load(DROPPED).compile().session(seed=3)
    session.train()
    watch = session.results["p"].watch
    assert watch["kept"] == pytest.approx(1, abs=0.03)
    assert watch["square"] == pytest.approx(watch["kept"] / 0.75, rel=1e-12)
    assert watch["both"] == pytest.approx(1, abs=0.04)
    assert watch["without"] == 0  # where nothing is learned


def test_the_gradient_passes_what_is_kept() -> None:
    """d sum(y) / d bias is 0 or 1 / (1 - p) for each example, so its mean lies between."""
    session = dln.load(DROPPED).compile().session(seed=3)
    x = np.ones((1, 3))
    slope = session.grad("p", "net.b", x=x)
    assert set(np.unique(slope.round(12))) == {0.0, round(4 / 3, 12)}
    assert np.array_equal(slope, session.grad("p", "net.b", x=x))
    session.step("p", x=x)
    assert not np.array_equal(slope, session.grad("p", "net.b", x=x))


def test_only_learning_draws() -> None:
    """The programs of watches over data and of applied instances hold no draw."""
    plan = dln.load(DROPPED).compile().plan
    for name in ("watch:p.without", "apply:half"):
        assert not [x for x in plan.programs[name].lines if x.code.startswith("uniform(")], name
    step = plan.programs["step:p"].lines
    assert sum(line.code.startswith("uniform(") for line in step) == 2


def test_each_mask_has_a_place_of_its_own() -> None:
    text = DATA + (
        "let net = dense(5)\ntrain p on d for 1 epoch {\n"
        "  y = dropout(net(x), 0.5) + dropout(net(x), 0.5)\n"
        "  minimize sum(y) over net with sgd(lr = 1)\n}\n"
    )
    graph = dln.load(text).model.graph
    sites = {n["site"] for n in graph.topological() if n.op == "draw" and ".mask" in n["site"]}
    assert sites == {"p.y.mask", "p.y.mask#2"}


# ---- distortions ---------------------------------------------------------------------------------

DISTORTED = """
data d = npz("i.npz") {
  image[1, 8, 8] ~ distort(raw.image, shift = 1, background = -1)
  plain[1, 8, 8] = raw.image
}
let net = dense(1, init = zero)
train p on d.all batch 1 for 2 epochs {
  minimize sum(net(flatten(image - plain))) over net with sgd(lr = 1)
}
task t() {
  emit examples(image, on = d, n = 5)
}
"""


@pytest.fixture
def session(tmp_path: Path) -> Session:
    image = np.random.default_rng(0).random((6, 8, 8))
    np.savez(tmp_path / "i.npz", image=image)
    (tmp_path / "d.dln").write_text(DISTORTED, encoding="utf-8")
    return dln.load(tmp_path / "d.dln").compile(dtype="float64").session(seed=1)


def test_images_are_distorted_afresh_at_each_visit(session: Session) -> None:
    part = session.datasets.part("d", "all", "float64")
    at = np.array([2])
    first, again, later = (part.fields(at, u)["image"].copy() for u in (0.0, 0.0, 1.0))
    assert first.shape == (1, 1, 8, 8)
    assert np.array_equal(first, again) and not np.array_equal(first, later)
    assert not np.array_equal(first, part.fields(at, 0.0)["plain"])
    assert first.min() >= -1 and first.max() <= 1


def test_a_resumed_run_sees_the_same(session: Session) -> None:
    session.train()
    once = session.params["net.W"].copy()
    session.params["net.W"][...] = 0
    session.train()
    assert once.any() and np.array_equal(once, session.params["net.W"])


def test_no_gradient_passes_a_distortion() -> None:
    text = DATA + (
        "block net(x[n]) -> y[1, n] {\n  param w[1, n] = 0\n  s ~ distort(w)\n  y = s\n}\n"
        "let m = net()\ntrain p on d for 1 epoch {\n"
        "  minimize sum(m(x)) over m with sgd(lr = 1)\n}\n"
    )
    with pytest.raises(DlnError, match="no gradient passes distort"):
        dln.load(text).compile().session().train()


# ---- over time -----------------------------------------------------------------------------------


def test_draws_over_time_are_of_each_step(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("abcd" * 30, encoding="utf-8")
    (tmp_path / "s.dln").write_text(
        """data one = text("a.txt") {
  c[time]: class(V) = raw[:-1]
  next[time]: class(V) = raw[1:]
  set window = 5
}
let net = dense(4)
train p on one batch 4 for 1 epoch {
  h = dropout(onehot(c), 0.5)
  s ~ categorical(softmax(net(h)))
  minimize mean(cross_entropy(net(h), s)) over net with sgd(lr = 0.1)
}
""",
        encoding="utf-8",
    )
    spec = dln.load(tmp_path / "s.dln")
    [step] = spec.model.phases.values()
    draws = {n["site"]: n.type for n in ancestors(step.losses) if n.op == "draw"}
    assert {site: t.running for site, t in draws.items()} == {
        "p.h.mask": ("time", "batch"),
        "p.s": ("time", "batch"),
    }
    assert [s.value for s in draws["p.h.mask"].example] == [4] and not draws["p.s"].example
    spec.compile().session().train()
