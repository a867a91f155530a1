"""The second-order walk: against Hessians and Gauss-Newton matrices worked out without it.

Records by numerical derivatives of their own meaning; whole losses by formulas of the literature
and by Jacobians in NumPy. Where the walk leaves mixed derivatives out, the oracle does so too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dln
from dln.compiler.autodiff.differentiate import differentiate
from dln.compiler.autodiff.gauss_newton import rows
from dln.compiler.autodiff.walks import undo_spread
from dln.compiler.ir.evaluate import evaluate
from dln.compiler.ir.graph import Graph, Node
from dln.compiler.ir.op import OPS, Make
from dln.compiler.ir.sizes import Size
from dln.compiler.ir.tensor_type import TensorType
from dln.compiler.ir.verify import verify
from dln.grammar.diagnostics import DlnError

RULED = [
    name
    for name, op in OPS.items()
    if op.curve is not None or any(op.is_(f) for f in ("view", "moves", "pointwise"))
]


def result(name: str, types: tuple[Any, ...], attrs: dict[str, Any]) -> Node:
    m = Make(Graph())
    return m(name, *(m("input", name=f"x{i}", type=t) for i, t in enumerate(types)), **attrs)


CASES = [
    pytest.param(name, types, attrs, id=f"{name}-{i}")
    for name in RULED
    for i, (types, attrs) in enumerate(OPS[name].examples())
    if any(t.kind == "real" for t in types) and name not in ("stop", "onehot")
    if result(name, types, attrs).type.kind == "real"
]

# ---- the records -------------------------------------------------------------------------------


def sample(rng: Any, type: TensorType) -> Any:
    shape = tuple(s.value for s in type.shape)
    if type.kind == "index":
        assert type.domain.size is not None
        return rng.integers(0, type.domain.size.value, shape)
    if type.kind == "bool":
        return rng.random(shape) < 0.5
    return np.asarray(rng.uniform(0.4, 1.6, shape) if type.domain.name != "real" else
                      rng.normal(size=shape))  # fmt: skip


def moved(
    f: Callable[..., Any], values: list[Any], slot: int, at: tuple[Any, ...], by: complex | float
) -> np.ndarray:
    """f with one element of one operand moved."""
    there = [np.array(v, complex if v.dtype.kind == "f" else v.dtype) for v in values]
    there[slot][at] += by
    return f(there)


def slope(
    f: Callable[..., Any], values: list[Any], slot: int, at: tuple[Any, ...], smooth: bool
) -> Any:
    """d y / d x[at]: a complex step, or central differences where there are kinks."""
    if smooth:
        return moved(f, values, slot, at, 1e-30j).imag / 1e-30
    return (moved(f, values, slot, at, 1e-6) - moved(f, values, slot, at, -1e-6)).real / 2e-6


def twice(
    f: Callable[..., Any], values: list[Any], slot: int, at: tuple[Any, ...], smooth: bool
) -> Any:
    """d^2 y / d x[at]^2 by differences of slopes."""
    if not smooth:
        return 0.0
    left, right = (np.array(values[slot]) for _ in range(2))
    left[at] -= 1e-6
    right[at] += 1e-6
    ends = [[*values[:slot], v, *values[slot + 1 :]] for v in (right, left)]
    return (slope(f, ends[0], slot, at, True) - slope(f, ends[1], slot, at, True)) / 2e-6


@pytest.mark.parametrize(("name", "types", "attrs"), CASES)
@pytest.mark.parametrize("own", [False, True])
def test_the_rule_of_a_record(
    name: str, types: tuple[Any, ...], attrs: dict[str, Any], own: bool
) -> None:
    """sum_k (dy_k/dx)^2 bend_k, and with the operation's own part sum_k d^2y_k/dx^2 bar_k."""
    record, rng = OPS[name], np.random.default_rng(3)
    m = Make(Graph())
    xs = [m("input", name=f"x{i}", type=t) for i, t in enumerate(types)]
    node = m(name, *xs, **attrs)
    bar, bend = (m("input", name=k, type=node.type.like(kind="real")) for k in ("bar", "bend"))
    found = rows(m, node, bar if own else None, bend)
    values = [sample(rng, t) for t in types]
    shape = tuple(s.constant for s in node.type.shape)
    ups = {"bar": rng.normal(size=shape), "bend": rng.uniform(0.1, 2, shape)}
    env = {("input", f"x{i}"): v for i, v in enumerate(values)}
    env |= {("input", k): v for k, v in ups.items()}

    def f(given: Any) -> Any:
        there = {("input", f"x{i}"): v for i, v in enumerate(given)}
        return evaluate({"y": node}, env | there, complex)["y"]

    counts = own and record.curve is not None and not record.is_("squashing")
    for slot, (x, part) in enumerate(zip(xs, found, strict=True)):
        if x.type.kind != "real" or (part is None and name in ("sign", "floor", "cast")):
            continue
        assert part is not None
        got = evaluate({"h": undo_spread(m, part, x.type)}, env)["h"]
        for at in np.ndindex(values[slot].shape):
            want = np.sum(slope(f, values, slot, at, record.smooth) ** 2 * ups["bend"])
            if counts:
                want += np.sum(twice(f, values, slot, at, record.smooth) * ups["bar"])
            assert got[at] == pytest.approx(want, rel=1e-6, abs=1e-6)


def test_no_rule() -> None:
    """An operation that says nothing about itself is named, with a way out."""
    m = Make(Graph())
    x = m("input", name="x", type=TensorType((Size(2),)))
    mute = OPS["sum"].__class__("mute", lambda a, t: t[0], lambda site, a: a)
    OPS["mute"] = mute
    try:
        with pytest.raises(DlnError, match="no rule for mute"):
            rows(m, m("mute", x), None, x)
    finally:
        del OPS["mute"]


# ---- whole losses ------------------------------------------------------------------------------

N, RNG = 7, np.random.default_rng(1)
X, T = RNG.normal(size=(N, 3)), RNG.normal(size=(N, 2))
ONE_HOT = np.eye(2)[RNG.integers(0, 2, N)]
HEAD = """\
data d = rows([[0, 0, 0, 0, 0]]) {
  x[3] = raw[:3]
  t[2] = raw[3:]
}
"""


def curvature(text: str, x: np.ndarray = X, t: np.ndarray = T) -> tuple[Any, ...]:
    """The estimate of a spec's only phase on given examples, and the parameters it is taken at."""
    spec = dln.load(HEAD + text) if "data d" not in text else dln.load(text)
    session = spec.compile(dtype="float64").session(seed=3)
    phase = next(iter(session.plan.phases.values()))
    found = session.evaluate(phase.estimates[0].program, {"x": x, "t": t})
    params = {k: np.array(v) for k, v in session.params.items()}
    return {k.split(":")[1]: v for k, v in found.items()}, params


def phase(loss: str, over: str = "net", nets: str = "", total: str = "") -> str:
    return f"""\
let net = dense(2)
{nets}
train s on d batch 7 for 1 epoch {{
  y = net(x)
  minimize {total}{loss} over {over} with diagonal_lm(lr = 1, sample = 7)
}}
"""


def close(found: np.ndarray, wanted: list[Any] | np.ndarray) -> None:
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("total", ["", "total "])
def test_linear_least_squares(total: str) -> None:
    """The loss is quadratic: h is the exact diagonal of its Hessian, mean(x^2) for each weight;
    it is a mean over the examples, whether the loss is added up or not."""
    found, _ = curvature(phase("sum((y - t)^2) / 2", total=total))
    close(found["net.W"], np.tile(np.mean(X**2, 0), (2, 1)))
    close(found["net.b"], [1, 1])


def test_weights_and_decay() -> None:
    """A factor for each output, and a term of the parameters themselves: 2 * 0.05 more."""
    found, _ = curvature(phase("sum([3, 5] * (y - t)^2) + 0.05 * sum(net.W^2)"))
    close(found["net.W"], np.outer([6, 10], np.mean(X**2, 0)) + 0.1)
    close(found["net.b"], [6, 10])


def test_cross_entropy() -> None:
    """Exact for a linear layer: mean(p (1 - p) x^2), Bishop (2006), eq. 4.110."""
    found, p = curvature(phase("-sum(t * log(softmax(y)))"), t=ONE_HOT)
    z = X @ p["net.W"].T + p["net.b"]
    q = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    close(found["net.W"], (q * (1 - q)).T @ X**2 / N)
    close(found["net.b"], np.mean(q * (1 - q), 0))


def test_logistic() -> None:
    """Exact for a linear unit: s (1 - s) x^2, also through the written-out formula."""
    found, p = curvature(phase("binary_cross_entropy(sigmoid(y[0]), 0.25)"))
    s = 1 / (1 + np.exp(-(X @ p["net.W"][0] + p["net.b"][0])))
    close(found["net.W"][0], np.mean((s * (1 - s))[:, None] * X**2, 0))
    close(found["net.W"][1], np.zeros(3))


def test_identity_loss_has_none() -> None:
    """A loss that is linear in the parameters does not bend."""
    found, _ = curvature(phase("sum(y)"))
    close(found["net.W"], np.zeros((2, 3)))


# ---- networks ----------------------------------------------------------------------------------


def jacobian(f: Callable[..., Any], params: dict[str, Any]) -> dict[str, Any]:
    """d f / d p for every number of every parameter by complex steps: f gives [n, k]."""
    out = {}
    for name, value in params.items():
        columns = np.empty(value.shape, object)
        for at in np.ndindex(value.shape):
            there = {k: np.array(v, complex) for k, v in params.items()}
            there[name][at] += 1e-30j
            columns[at] = f(there).imag / 1e-30
        out[name] = columns
    return out


def test_one_tanh_layer() -> None:
    """The diagonal of J'J / n, no second derivative of tanh: exact for one hidden layer."""
    loss = "sum((out(y -> squash) - t)^2) / 2"
    found, params = curvature(phase(loss, "net, out", "let out = dense(2)"))

    def f(p: Any) -> Any:
        h = 1.7159 * np.tanh(2 / 3 * (X @ p["net.W"].T + p["net.b"]))
        return h @ p["out.W"].T + p["out.b"]

    for name, columns in jacobian(f, params).items():
        wanted = np.array([np.mean(np.sum(c**2, 1)) for c in columns.ravel()])
        close(found[name].ravel(), wanted)


def test_two_tanh_layers() -> None:
    """The recursion of LeCun et al. (1998), eq. 32 to 34, layer by layer."""
    text = phase("sum((out(mid(y)) - t)^2) / 2", "net, mid, out",
                 "let mid = dense(4, act = tanh)\nlet out = dense(2, act = tanh)")  # fmt: skip
    found, p = curvature(text.replace("dense(2)\n", "dense(2, act = tanh)\n", 1))
    zs = [X]
    for layer in ("net", "mid", "out"):
        zs.append(np.tanh(zs[-1] @ p[f"{layer}.W"].T + p[f"{layer}.b"]))
    h = np.ones((N, 2)) / N
    for layer, z, before in zip(("out", "mid", "net"), zs[:0:-1], zs[-2::-1], strict=True):
        h = h * (1 - z**2) ** 2
        close(found[f"{layer}.W"], h.T @ before**2)
        close(found[f"{layer}.b"], h.sum(0))
        h = h @ p[f"{layer}.W"] ** 2


def test_the_network_ends_the_loss() -> None:
    """exp as a hidden unit, below the weights of the next layer, sends no second derivative of
    its own: the Gauss-Newton diagonal again."""
    loss = "sum((out(exp(y)) - t)^2) / 2"
    found, params = curvature(phase(loss, "net, out", "let out = dense(2)"))

    def f(p: Any) -> Any:
        return np.exp(X @ p["net.W"].T + p["net.b"]) @ p["out.W"].T + p["out.b"]

    for name, columns in jacobian(f, params).items():
        wanted = np.array([np.mean(np.sum(c**2, 1)) for c in columns.ravel()])
        close(found[name].ravel(), wanted)


IMAGES = """\
data d = rows([[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]]) {
  x[16] = raw
}
block image(x[n]) -> y[1, 4, 4] {
  y[q, i, j] = x[4*i + j + q]
}
let photo = image()
let net = conv(2, size = 3, act = squash)
train s on d batch 7 for 1 epoch {
  y = net(photo(x))
  minimize sum((y - 0.5)^2) / 2 over net with diagonal_lm(lr = 1, sample = 7)
}
"""


def test_shared_weights() -> None:
    """h of a shared weight is the sum over its uses (networks of LeCun et al. 1998): the loss is
    on the maps themselves, so that J'J / n is its diagonal."""
    x = RNG.normal(size=(N, 16))
    found, params = curvature(IMAGES, x=x)

    def f(p: Any) -> Any:
        views = np.lib.stride_tricks.sliding_window_view(x.reshape(N, 4, 4), (3, 3), (1, 2))
        a = np.einsum("kuv,nijuv->nkij", p["net.K"][:, 0], views) + p["net.b"][:, None, None]
        return (1.7159 * np.tanh(2 / 3 * a)).reshape(N, -1)

    for name, columns in jacobian(f, params).items():
        wanted = np.array([np.mean(np.sum(c**2, 1)) for c in columns.ravel()])
        close(found[name].ravel(), wanted)


RBF = """\
let net = dense(4, act = squash)
block centres(f[n]) -> y[2] {
  fixed D[2, n] = [[1, -1, 1, 1], [-1, 1, 1, -1]]
  y[i] = sum(j: (f[j] - D[i, j])^2)
}
let out = centres()
train s on d batch 7 for 1 epoch {
  y = net(x) -> out
  minimize sum(t * y) + log(exp(-1) + sum(exp(-y))) over net with diagonal_lm(lr = 1, sample = 7)
}
"""


def test_distances_to_fixed_centres() -> None:
    """LeCun et al. (1998), eq. 9 over squared distances: d l / d y_i = [i = c] - p_i and
    d^2 l / d y_i^2 = p_i (1 - p_i), then 4 (f - D)^2 and 2 for each square."""
    found, p = curvature(RBF, t=ONE_HOT)
    D = np.array([[1, -1, 1, 1], [-1, 1, 1, -1]])
    t = np.tanh(2 / 3 * (X @ p["net.W"].T + p["net.b"]))
    away = 1.7159 * t[:, None] - D
    y = np.sum(away**2, 2)
    q = np.exp(-y) / (np.exp(-1) + np.exp(-y).sum(1, keepdims=True))
    first, second = ONE_HOT - q, q * (1 - q)
    h = np.einsum("ni,nij->nj", second, 4 * away**2) + 2 * first.sum(1, keepdims=True)
    h = h * (1.7159 * 2 / 3 * (1 - t**2)) ** 2 / N
    close(found["net.W"], np.maximum(h.T @ X**2, 0))
    close(found["net.b"], np.maximum(h.sum(0), 0))


def test_written_out_in_the_graph() -> None:
    """Nothing symbolic is left, and what the loss does not depend on has curvature 0."""
    m = Make(Graph())
    x, z = (m("input", name=k, type=TensorType((Size(2),))) for k in "xz")
    s = m.sum(m("square", x), (0,))
    m.graph.outputs = {"x": m("curvature", s, x), "z": m("curvature", s, z), "g": m("grad", s, x)}
    graph = differentiate(m.graph)
    verify(graph)
    found = evaluate(graph, {("input", "x"): np.array([1.0, -3.0]), ("input", "z"): np.ones(2)})
    assert found["x"].tolist() == [2, 2] and found["z"].tolist() == [0, 0]
    assert found["g"].tolist() == [2, -6]


def test_never_negative() -> None:
    """-x^2 bends downwards: clamped at 0."""
    m = Make(Graph())
    x = m("input", name="x", type=TensorType((Size(2),)))
    m.graph.outputs = {"h": m("curvature", m.neg(m.sum(m("square", x), (0,))), x)}
    found = evaluate(differentiate(m.graph), {("input", "x"): np.ones(2)})
    assert found["h"].tolist() == [0, 0]
