"""The recurrent specs and blocks against their equations in NumPy, differentiated by complex steps.

A complex step, Im f(p + ih) / h with h = 1e-30, has no rounding of a difference, so gradients agree
to the last digits. Shapes: x is [examples, time, inputs], what a cell carries [examples, cells].
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from trials.stopping import Countdown

import dln
from dln.cli import main
from dln.runtime.checkpoint.rundir import RunDirectory
from dln.runtime.device.host import Host
from dln.runtime.session import Interrupted, Session

SPECS = ("hello", "rnn_modes", "lstm_variants")
Numbers = NDArray[Any]
Params = Mapping[str, Numbers]
Cell = Callable[[Params, Numbers], Numbers]
Loss = Callable[[Params], Any]


def session_of(spec: dln.Spec) -> Session:
    """A session in float64 whose parameters are all drawn anew, biases and peepholes too."""
    session = Session(spec.compile(dtype="float64").plan, Host(), seed=5)
    rng = np.random.default_rng(8)
    for path, value in session.params.items():
        session.params[path] = rng.normal(0.0, 0.5, value.shape)
    return session


def by_complex_steps(loss: Loss, params: Params, path: str) -> Numbers:
    """The gradient of a loss with respect to every number of one parameter."""
    found = np.empty(params[path].shape)
    for i in np.ndindex(found.shape):
        moved = params[path].astype(complex)
        moved[i] += 1e-30j
        found[i] = np.imag(loss({**params, path: moved})) / 1e-30
    return found


def assert_gradients(session: Session, phase: str, loss: Loss, **fields: Numbers) -> None:
    """Every gradient of a phase, on one minibatch, is that of the oracle to 1e-7 and better."""
    params = {path: np.array(value) for path, value in session.params.items()}
    for path in session.plan.programs[f"grad:{phase}"].values:
        found = session.grad(phase, path.key, **fields)
        wanted = by_complex_steps(loss, params, path.key)
        assert np.abs(wanted).max() > 1e-4, f"{path.key} takes no part"
        np.testing.assert_allclose(found, wanted, 1e-9, 1e-12, err_msg=f"{phase} {path.key}")


def drawn(*shape: int) -> Numbers:
    return np.random.default_rng(2).normal(size=shape)


# ---- the equations -----------------------------------------------------------------------------


def sigmoid(a: Numbers) -> Numbers:
    return 1.0 / (1.0 + np.exp(-a))


def softmax(z: Numbers) -> Numbers:
    e = np.exp(z)
    shares: Numbers = e / e.sum(-1, keepdims=True)
    return shares


def gates(W: Numbers, U: Numbers, b: Numbers, x: Numbers, h: Numbers) -> Numbers:
    """[gates, examples, cells]"""
    return np.stack([x @ w.T + h @ u.T + c for w, u, c in zip(W, U, b, strict=True)])


def carried(p: Params, x: Numbers) -> Numbers:
    """Zeros for what is carried, complex if a parameter is."""
    return np.zeros((len(x), p["b"].shape[-1]), np.result_type(*p.values()))


def book(p: Params, x: Numbers) -> Numbers:
    h = s = carried(p, x)
    for t in range(x.shape[1]):
        f, g, q, e = sigmoid(gates(p["U"], p["W"], p["b"], x[:, t], h))
        s = f * s + g * e
        h = np.tanh(s) * q
    return h


def tutorial(p: Params, x: Numbers) -> Numbers:
    h = C = carried(p, x)
    for t in range(x.shape[1]):
        a = gates(p["W"], p["U"], p["b"], x[:, t], h)
        C = sigmoid(a[0]) * np.tanh(a[2]) + sigmoid(a[1]) * C
        h = sigmoid(a[3] + C @ p["V"].T) * np.tanh(C)
    return h


def char_rnn(p: Params, x: Numbers) -> Numbers:
    h = c = carried(p, x)
    for t in range(x.shape[1]):
        a = gates(p["W"], p["U"], p["b"] + p.get("d", 0.0), x[:, t], h)
        i, f, o = sigmoid(a[:3])
        c = f * c + i * np.tanh(a[3])
        h = o * np.tanh(c)
    return h


def graves(p: Params, x: Numbers) -> Numbers:
    h = c = carried(p, x)
    for t in range(x.shape[1]):
        a = gates(p["W"], p["U"], p["b"], x[:, t], h)
        i, f = sigmoid(a[0] + p["p"][0] * c), sigmoid(a[1] + p["p"][1] * c)
        c = f * c + i * np.tanh(a[3])
        h = sigmoid(a[2] + p["p"][2] * c) * np.tanh(c)
    return h


def original(p: Params, x: Numbers) -> Numbers:
    """With the g in [-2, 2] and the h in [-1, 1] of 1997, as hyperbolic tangents."""
    y = s = carried(p, x)
    for t in range(x.shape[1]):
        a = gates(p["W"], p["U"], p["b"], x[:, t], y)
        s = s + sigmoid(a[0]) * 2.0 * np.tanh(a[2] / 2.0)
        y = sigmoid(a[1]) * np.tanh(s / 2.0)
    return y


def rnn(p: Params, x: Numbers) -> Numbers:
    h = np.zeros((len(x), len(p["b"])), np.result_type(*p.values()))
    for t in range(x.shape[1]):
        h = np.tanh(x[:, t] @ p["Wx"].T + h @ p["Wh"].T + p["b"])
    return h


def gru(p: Params, x: Numbers) -> Numbers:
    h = carried(p, x)
    for t in range(x.shape[1]):
        z, r = sigmoid(gates(p["W"], p["U"], p["b"], x[:, t], h))
        candidate = np.tanh(x[:, t] @ p["Wh"].T + (r * h) @ p["Uh"].T + p["bh"])
        h = z * h + (1.0 - z) * candidate
    return h


# ---- the variants, and the library's cells ----------------------------------------------------


def of(params: Params, prefix: str) -> dict[str, Numbers]:
    """The parameters of one instance, by their own names."""
    return {k.removeprefix(prefix): v for k, v in params.items() if k.startswith(prefix)}


def regression(cell: Cell, v: int, x: Numbers, t: Numbers) -> Loss:
    """The mean squared error of `chain([cell, last, dense(1)])`."""

    def loss(params: Params) -> Any:
        h = cell(of(params, f"cells[{v}]."), x)
        y = h @ params[f"nets[{v}][2].W"].T + params[f"nets[{v}][2].b"]
        return ((y - t) ** 2).sum() / len(x)

    return loss


@pytest.mark.parametrize("v", range(5))
def test_a_variant_is_its_equations(v: int) -> None:
    cell = (book, tutorial, char_rnn, graves, original)[v]
    x, t = drawn(3, 10, 2), drawn(3, 1)
    session = session_of(dln.load("lstm_variants"))
    assert_gradients(session, f"fit[{v}]", regression(cell, v, x, t), x=x, t=t)


LIBRARY = """
data d = synthetic("adding", T = 7, count = 8) {
  x[time, 2] = raw.x
  t[1] = raw.t
}
let cells = [rnn(3), lstm(3), gru(3)]
let nets  = [for cell in cells: chain([cell, last, dense(1)])]
for v in 0..2 {
  train fit[v] on d batch 4 for 1 update dtype float64 {
    minimize sum((nets[v](x) - t)^2) over nets[v] with sgd(lr = 0.1)
  }
}
"""


@pytest.fixture
def library(tmp_path: Path) -> dln.Spec:
    path = tmp_path / "library.dln"
    path.write_text(LIBRARY, encoding="utf-8")
    return dln.load(path)


@pytest.mark.parametrize("v", range(3))
def test_a_cell_of_the_library_is_its_equations(library: dln.Spec, v: int) -> None:
    cell = (rnn, char_rnn, gru)[v]
    x, t = drawn(4, 7, 2), drawn(4, 1)
    assert_gradients(session_of(library), f"fit[{v}]", regression(cell, v, x, t), x=x, t=t)


def test_the_first_values_of_the_library(library: dln.Spec) -> None:
    session = Session(library.compile(dtype="float64").plan, Host(), seed=5)
    np.testing.assert_array_equal(session.params["cells[1].b"], np.outer([0, 1, 0, 0], np.ones(3)))
    for path, limit in {"W": 6 / 5, "U": 1.0}.items():
        drawn_first = np.abs(session.params[f"cells[1].{path}"])
        assert 0.8 * limit**0.5 < drawn_first.max() <= limit**0.5  # Glorot and Bengio 2010


# ---- the modes that feed outputs back ---------------------------------------------------------


def spoken(p: Params, h: Numbers, steps: int) -> list[Numbers]:
    """What the decoder says, step by step, each time hearing what it said before."""
    z = np.zeros((len(h), len(p["V"])), h.dtype)
    said = []
    for _ in range(steps):
        h = np.tanh(h @ p["U"].T + softmax(z) @ p["W"].T + p["b"])
        z = h @ p["V"].T
        said.append(z)
    return said


def spelled(z: list[Numbers], label: Numbers) -> Any:
    """The cross-entropy of a sequence, averaged over the examples."""
    each = np.arange(len(label))
    losses = [-np.log(softmax(y)[each, label[:, t]]).sum() for t, y in enumerate(z)]
    return sum(losses) / len(label)


def test_vector_to_sequence() -> None:
    x, label = drawn(4, 55), np.array([[1, 2, 3], [9, 0, 9], [4, 4, 4], [7, 8, 0]])

    def loss(params: Params) -> Any:
        p = of(params, "modes[2][0].")
        return spelled(spoken(of(params, "modes[2][1]."), np.tanh(x @ p["W"].T + p["b"]), 3), label)

    session = session_of(dln.load("rnn_modes", hidden=4))
    assert_gradients(session, "mode[2]", loss, x=x, label=label)


def test_sequence_to_sequence() -> None:
    """The gradient runs from every answer back through the decoder into the encoder."""
    source = np.array([[1, 2, 3, 4, 5], [0, 9, 8, 8, 7], [6, 6, 0, 1, 3]])
    x, label = np.eye(10)[source], source[:, ::-1].copy()

    def loss(params: Params) -> Any:
        h = rnn(of(params, "modes[3][0]."), x)
        return spelled(spoken(of(params, "modes[3][2]."), h, 5), label)

    session = session_of(dln.load("rnn_modes", hidden=4))
    assert_gradients(session, "mode[3]", loss, x=x, label=label)


# ---- truncation -------------------------------------------------------------------------------

STREAM = """
data d = synthetic("adding", T = 4, count = 11) {
  x[time, 2] = raw.x
}
let net = rnn(3)
train fit on d stream 2 for 2 epochs dtype float64 {
  minimize sum((net(x) - 0.3)^2) over net with sgd(lr = 0.2)
}
"""


def window(p: Params, x: Numbers, h: Numbers) -> tuple[Any, Numbers]:
    """The loss of a window that begins with h as a given value, and what it ends with."""
    total: Any = 0.0
    for t in range(x.shape[1]):
        h = np.tanh(x[:, t] @ p["net.Wx"].T + h @ p["net.Wh"].T + p["net.b"])
        total = total + ((h - 0.3) ** 2).sum() / len(x)
    return total, h


def window_loss(p: Params, x: Numbers, h: Numbers) -> Any:
    return window(p, x, h)[0]


def test_a_stream_cuts_the_graph_and_carries_the_state(tmp_path: Path) -> None:
    """Two rows of five windows: each update sees its window only, but starts where the row was."""
    path = tmp_path / "stream.dln"
    path.write_text(STREAM, encoding="utf-8")
    session = session_of(dln.load(path))
    p = {k: np.array(v) for k, v in session.params.items()}
    x = session.datasets.part("d", "all", "float64").fields(np.arange(11), 0.0)["x"]
    for _ in range(2):
        h = np.zeros((2, 3))
        for u in range(5):
            here = x[[u, 5 + u]]
            loss = partial(window_loss, x=here, h=h)
            step = {k: by_complex_steps(loss, p, k) for k in p}
            _, h = window(p, here, h)
            p = {k: p[k] - 0.2 * step[k] for k in p}
    session.train("fit")
    for k, wanted in p.items():
        np.testing.assert_allclose(session.params[k], wanted, 1e-9, 1e-12, err_msg=k)


# ---- hello ------------------------------------------------------------------------------------


def test_hello_is_its_equations() -> None:
    """On 'hello' in the alphabet e, h, l, o."""
    letters = np.array([[1, 0, 2, 2, 3]])
    x, label = np.eye(4)[letters[:, :-1]], letters[:, 1:]

    def loss(params: Params) -> Any:
        p = of(params, "n.")
        h, z = np.zeros((1, 3)), []
        for t in range(4):
            h = np.tanh(h @ p["Whh"].T + x[:, t] @ p["Wxh"].T)
            z.append(h @ p["Why"].T)
        return spelled(z, label)

    session = session_of(dln.load("hello"))
    assert_gradients(session, "learn", loss, c=letters[:, :-1], next=label)


# ---- the commands -----------------------------------------------------------------------------


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What a command prints; it must leave with 0."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        main(list(words))
    got = capsys.readouterr()
    assert left.value.code == 0, got.err
    return got.out


@pytest.mark.parametrize(
    ("name", "checked"),
    [
        ("hello", "4 passed, 1 not run"),
        ("rnn_modes", "1 not run"),
        ("unfolding", "8 passed"),
        ("lstm_variants", "4 passed, 1 not run"),
        ("lstms", "lstms: 0 parameters in 0 tensors, 0 phases, 0 data sets"),
    ],
)
def test_it_can_be_looked_at(name: str, checked: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, "check", name).splitlines()[-1] == checked
    if name != "lstm_variants":  # the same eight times over
        assert "def bind" in printed(capsys, "plan", name) or name == "lstms"
    assert "scan t in" in printed(capsys, "show", name) or name == "lstm_variants"  # in lstms


@pytest.mark.parametrize("name", SPECS)
def test_its_gradients_agree_with_differences(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As `dln gradcheck` says itself; to the 1e-7 that is asked of the variants."""
    errors = relative_errors(json.loads(printed(capsys, "gradcheck", name, "--json", "-q")))
    assert errors and max(errors) <= (1e-7 if name == "lstm_variants" else 1e-6)


def relative_errors(found: Any) -> list[float]:
    """Every relative error in what `gradcheck --json` prints."""
    if isinstance(found, list):
        return [e for part in found for e in relative_errors(part)]
    if not isinstance(found, dict):
        return []
    if "error" in found:
        return [found["error"]]
    return relative_errors(list(found.values()))


def test_hello_says_hello(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert printed(capsys, "run", "hello", "-q").splitlines()[1] == "hello"


@pytest.mark.parametrize("name", SPECS)
def test_it_resumes_bit_for_bit(name: str, tmp_path: Path) -> None:
    """Interrupted three times, within phases and between them."""
    compiled = dln.load(name).compile()
    straight = compiled.session(seed=1)
    straight.train(epochs=2, limit=210)
    run, restored, broken = RunDirectory.create("b", str(tmp_path / "b")), None, 0
    for looks in (1, 7, 11, 10**6):
        again = compiled.session(seed=1)
        try:
            stop = Countdown(looks)
            again.train(epochs=2, limit=210, rundir=run, resume=restored, stop=stop)
        except Interrupted:
            restored, broken = run.newest(), broken + 1
    assert broken >= 1
    for path, wanted in straight.params.items():
        np.testing.assert_array_equal(again.params[path], wanted, err_msg=path)
