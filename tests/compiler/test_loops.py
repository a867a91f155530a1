"""Loops: a scan against the same equations written out, its reverse against complex steps, its
program against the evaluator. Every oracle is the unrolled form or a number."""

from __future__ import annotations

import json
import pathlib
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trials.stopping import Countdown

import dln
from dln.compiler.autodiff.differentiate import differentiate
from dln.compiler.ir.evaluate import evaluate
from dln.compiler.ir.graph import Graph, ancestors
from dln.compiler.ir.op import Make
from dln.compiler.ir.ops.loop import Body, body_of, item, slot
from dln.compiler.ir.sizes import Size
from dln.compiler.ir.tensor_type import TensorType
from dln.compiler.ir.verify import verify
from dln.compiler.lower.emit import lower
from dln.compiler.lower.materialise import prepare
from dln.compiler.lower.targets import TARGETS
from dln.compiler.lower.targets.target import Target
from dln.compiler.passes.fission import fission
from dln.compiler.plan import ProgramKind, program_from_json, program_to_json, site_number
from dln.compiler.schema import keys
from dln.compiler.stages import STAGES, optimise
from dln.grammar.diagnostics import DlnError
from dln.running.expectations import verdicts
from dln.runtime.checkpoint.rundir import RunDirectory
from dln.runtime.device.host import Host
from dln.runtime.device.kernels import uniform
from dln.runtime.execution.executable import Executable
from dln.runtime.gradcheck import gradcheck
from dln.spec import Spec

T, B, N, M = 6, 3, 2, 4


# ---- a recurrence made by hand -------------------------------------------------------------------


def recurrence(reverse: bool = False) -> tuple[Any, ...]:
    """h[t] = tanh(W x[t] + U h[t-1] + b), y[t] = V h[t]; the loss sums y^2 over everything."""
    graph = Graph()
    m = Make(graph)
    sizes = {"x": (T, B, N), "W": (M, N), "U": (M, M), "b": (M,), "V": (1, M), "h0": (B, M)}
    running = {"x": ("time", "batch"), "h0": ("batch",)}
    given = {
        k: m("input", name=k, type=TensorType(tuple(map(Size, s)), running.get(k, ())))
        for k, s in sizes.items()
    }
    inner = Graph()
    s = Make(inner)
    x = slot(inner, TensorType((Size(B), Size(N)), ("batch",)), 0, "rows")
    fixed = [slot(inner, given[k].type, i + 1, "fixed") for i, k in enumerate(("W", "U", "b", "V"))]
    before = slot(inner, given["h0"].type, 9, "carried")
    w, u, b, v = fixed
    a = s("contract", x, w, left=(0, 1), right=(2, 1), out=(0, 2))
    r = s("contract", before, u, left=(0, 1), right=(2, 1), out=(0, 2))
    h = s("tanh", s.add(s.add(a, r), s.broadcast(b, r.type, (1,))))
    y = s("contract", h, v, left=(0, 1), right=(2, 1), out=(0, 2))
    body = Body(inner, (x,), tuple(fixed), (before,), (h,), Size(T), reverse)
    loop = m("scan", given["x"], *(given[k] for k in ("W", "U", "b", "V", "h0")), body=body)
    out = item(m, loop, y)
    graph.outputs["loss"] = m.sum(m("square", out), (0, 1, 2))
    graph.outputs["h"] = item(m, loop, h)
    graph.outputs["before"] = item(m, loop, before)
    return graph, given


def numbers(seed: Any = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    shapes = {"x": (T, B, N), "W": (M, N), "U": (M, M), "b": (M,), "V": (1, M), "h0": (B, M)}
    return {k: rng.normal(size=s) * 0.5 for k, s in shapes.items()}


def by_hand(v: dict[str, Any], reverse: bool = False) -> tuple[Any, ...]:
    h, rows, before = v["h0"], [v["h0"]] * T, [v["h0"]] * T
    loss = 0.0
    for t in reversed(range(T)) if reverse else range(T):
        before[t] = h
        h = np.tanh(v["x"][t] @ v["W"].T + h @ v["U"].T + v["b"])
        rows[t] = h
        loss = loss + ((h @ v["V"].T) ** 2).sum()
    return loss, np.stack(rows), np.stack(before)


def env(values: dict[str, Any]) -> dict[Any, Any]:
    return {("input", k): a for k, a in values.items()}


@pytest.mark.parametrize("reverse", [False, True])
def test_a_loop_means_its_steps_one_after_the_other(reverse: bool) -> None:
    graph, _ = recurrence(reverse)
    verify(graph, "build")
    found, values = evaluate(graph, env(numbers())), by_hand(numbers(), reverse)
    for name, wanted in zip(("loss", "h", "before"), values, strict=True):
        np.testing.assert_allclose(found[name], wanted, rtol=1e-13)


@pytest.mark.parametrize("reverse", [False, True])
def test_the_arrays_that_a_lowered_loop_leaves_mean_the_same(reverse: bool) -> None:
    graph, _ = recurrence(reverse)
    graph.outputs = {keys.value(str(k)): v for k, v in graph.outputs.items()}
    prepared, _ = prepare(graph, TARGETS["numpy"])
    left = [n["of"] for n in prepared.topological() if n.op == "left"]
    assert {isinstance(of, int) for of in left} == {False, True}
    found, values = evaluate(prepared, env(numbers())), by_hand(numbers(), reverse)
    for name, wanted in zip(("loss", "h", "before"), values, strict=True):
        np.testing.assert_allclose(found[keys.value(name)], wanted, rtol=1e-13)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("split", [False, True])
def test_the_reverse_agrees_with_complex_steps(reverse: bool, split: bool) -> None:
    graph, given = recurrence(reverse)
    m = Make(graph)
    loss = graph.outputs["loss"]
    graph.outputs = {k: m("grad", loss, x) for k, x in given.items()}
    plain = optimise(graph, STAGES if split else [("d", lambda g, log: differentiate(g))])
    verify(plain)
    assert not any(n.op == "grad" for n in ancestors(plain.outputs.values()))
    values = numbers()
    found = evaluate(plain, env(values))
    rng = np.random.default_rng(1)
    for name, array in values.items():
        direction = rng.normal(size=array.shape)
        moved = {**values, name: array + 1e-30j * direction}
        slope = np.imag(by_hand(moved, reverse)[0]) / 1e-30
        np.testing.assert_allclose((found[name] * direction).sum(), slope, rtol=1e-11)


def test_the_derivative_with_respect_to_a_sequence_runs_through_all_later_steps() -> None:
    graph, _ = recurrence()
    m = Make(graph)
    graph.outputs = {"dh": m("grad", graph.outputs["loss"], graph.outputs["h"])}
    values, found = numbers(), evaluate(optimise(graph), env(numbers()))["dh"]
    rng = np.random.default_rng(2)
    for t in range(T):
        direction = rng.normal(size=(B, M))

        def from_here(h: Any, t: Any = t) -> Any:
            loss = ((h @ values["V"].T) ** 2).sum()
            for later in range(t + 1, T):
                x = values["x"][later] @ values["W"].T
                h = np.tanh(x + h @ values["U"].T + values["b"])
                loss = loss + ((h @ values["V"].T) ** 2).sum()
            return loss

        h = by_hand(values)[1][t]
        slope = np.imag(from_here(h + 1e-30j * direction)) / 1e-30
        np.testing.assert_allclose((found[t] * direction).sum(), slope, rtol=1e-11)


def test_a_derivative_of_a_derivative_through_a_loop() -> None:
    graph, given = recurrence()
    m = Make(graph)
    first = m("grad", graph.outputs["loss"], given["U"])
    graph.outputs = {"dd": m("grad", m.sum(m("square", first), (0, 1)), given["W"])}
    values = numbers()
    found = evaluate(optimise(graph), env(values))["dd"]

    def slopes(w: Any) -> Any:
        inner, known = recurrence()
        inner.outputs = {"g": Make(inner)("grad", inner.outputs["loss"], known["U"])}
        return (evaluate(optimise(inner), env({**values, "W": w}))["g"] ** 2).sum()

    direction = np.random.default_rng(3).normal(size=values["W"].shape)
    step = 1e-5
    up, down = (slopes(values["W"] + s * step * direction) for s in (1, -1))
    np.testing.assert_allclose((found * direction).sum(), (up - down) / (2 * step), rtol=1e-7)


# ---- fission -------------------------------------------------------------------------------------


def test_fission_leaves_the_recurrence_and_nothing_else() -> None:
    graph, _ = recurrence()
    values = numbers()
    split = fission(graph)
    (loop,) = (n for n in ancestors(split.outputs.values()) if n.op == "scan")
    inside = [n.op for n in ancestors(body_of(loop).nexts) if n.op != "slot"]
    assert sorted(inside) == ["add", "contract", "tanh"]
    before, after = evaluate(graph, env(values)), evaluate(split, env(values))
    for name in before:
        np.testing.assert_allclose(after[name], before[name], rtol=1e-12)


def test_a_gradient_of_a_matrix_is_one_product_over_all_steps() -> None:
    graph, given = recurrence()
    graph.outputs = {"dU": Make(graph)("grad", graph.outputs["loss"], given["U"])}
    nodes = ancestors(optimise(graph).outputs.values())
    loops = [n for n in nodes if n.op == "scan"]
    assert len(loops) == 2
    products = [
        [n for n in ancestors(body_of(x).nexts) if n.op in ("contract", "accumulate")]
        for x in loops
    ]
    assert [len(p) for p in products] == [1, 1]


# ---- from text -----------------------------------------------------------------------------------

RNN = """
block rnn(x[time, n]; m) -> h[time, m] {
  param Wx[m, n] ~ glorot(n, m), Wh[m, m] ~ glorot(m, m), b[m] ~ normal(0, 0.1)
  scan t in time {
    h[t] = tanh(Wx @ x[t] + Wh @ h[t-1] + b)
  }
}
"""


# ---- programs ------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("reverse", [False, True])
def test_a_program_runs_a_loop_and_its_reverse_as_they_are_evaluated(
    reverse: bool, target: Target
) -> None:
    graph, given = recurrence(reverse)
    m = Make(graph)
    loss = graph.outputs["loss"]
    grads = {keys.value(f"d{k}"): m("grad", loss, x) for k, x in given.items()}
    graph.outputs = {keys.value(k): n for k, n in graph.outputs.items()} | grads
    made = optimise(graph)
    program = lower("loop", made, target, "float64")
    assert program_from_json(json.loads(json.dumps(program_to_json(program)))) == program
    bound = Executable(program, Host(), {}, {}).at(1)
    values = numbers()
    for key, array in bound.inputs.items():
        array[...] = values[key]
    wanted = evaluate(optimise(graph), env(values))
    for _ in range(2):  # a second run meets what the first has left
        bound.run()
        for name, array in bound.values.items():
            np.testing.assert_allclose(array, wanted[keys.value(name)], rtol=1e-10, err_msg=name)


def test_every_step_of_a_loop_draws_for_itself() -> None:
    graph, inner = Graph(), Graph()
    m, s = Make(graph), Make(inner)
    start = m("input", name="start", type=TensorType((Size(B),), ("batch",)))
    before = slot(inner, start.type, 0, "carried")
    u = s("draw", kind="uniform", site="walk", shape=(Size(B),), running=("batch",))
    body = Body(inner, (), (), (before,), (s.add(before, u),), Size(T))
    loop = m("scan", start, body=body)
    graph.outputs = {
        keys.value("u"): item(m, loop, u),
        keys.value("walk"): item(m, loop, body.nexts[0]),
    }
    made = optimise(graph)
    bound = Executable(lower("walk", made, TARGETS["numpy"], "float64"), Host(), {}, {}, 5).at(1)
    bound.inputs["start"][...] = 0.0
    bound.run(3.0)

    def draw(kind: Any, site: Any, shape: Any) -> Any:
        out = np.empty(shape)
        uniform(out, 5, site_number(site), 3)
        return out

    wanted = evaluate(graph, {("input", "start"): np.zeros(B)}, draw=draw)
    np.testing.assert_array_equal(bound.values["u"], wanted[keys.value("u")])
    np.testing.assert_allclose(
        bound.values["walk"], np.cumsum(wanted[keys.value("u")], 0), rtol=1e-14
    )
    assert len(np.unique(wanted[keys.value("u")])) == T * B


def test_compile_time_does_not_depend_on_the_number_of_steps() -> None:
    texts = []
    for steps in (10, 1000):
        plan = dln.load(f'data d = synthetic("adding", {steps}, 20) {FIELDS}{ADDING}').compile()
        texts.append(len(plan.plan.programs["step:p"].lines))
    assert abs(texts[0] - texts[1]) <= 8  # products may take other forms


# ---- from text -----------------------------------------------------------------------------------

RNN = """
block rnn(x[time, n]; m) -> h[time, m] {
  param Wx[m, n] ~ glorot(n, m), Wh[m, m] ~ glorot(m, m), b[m] ~ normal(0, 0.1)
  scan t in time {
    h[t] = tanh(Wx @ x[t] + Wh @ h[t-1] + b)
  }
}
"""
FIELDS = "{\n  x[time, 2] = raw.x\n  t = raw.t\n}\n"
ADDING = (
    RNN
    + """
block net(x[time, n]) -> y {
  let cell = rnn(5)
  y = sum(last(x -> cell) -> dense(1))
}
let f = net()
train p on d batch 7 for 6 updates dtype float64 {
  y = f(x)
  e = (y - t)^2
  minimize e over f with sgd(lr = 0.1)
  watch reach = norm(grad(e, f.cell.h[0])) every 2 updates
}
"""
)


def expectations(text: str) -> int:
    """How many expectations of a spec hold, all of which must."""
    model = dln.load(text).model
    found = verdicts(model)
    wrong = [(v.text, v.status, v.value) for v in found if v.status != "passed"]
    assert found and not wrong
    return len(found)


def test_a_scan_equals_the_same_equations_written_out() -> None:
    expectations(
        RNN
        + """
const xs = [[1, 0], [0.5, -1], [2, 0.3]]
let a = rnn(3)
block unrolled(x[3, 2]; W[m, n], U[m, m], b[m]) -> h[m] {
  h0 = tanh(W @ x[0] + b)
  h1 = tanh(W @ x[1] + U @ h0 + b)
  h  = tanh(W @ x[2] + U @ h1 + b)
}
let u = unrolled(W = a.Wx, U = a.Wh, b = a.b)
check "the same values and gradients" {
  s = sum(last(a(xs)))
  r = sum(u(xs))
  expect s == r within 1e-14
  expect grad(s, a.Wh) == grad(r, a.Wh) within 1e-13
  expect grad(s, a.Wx) == grad(r, a.Wx) within 1e-13
  expect grad(s, a.b) == grad(r, a.b) within 1e-13
  expect grad(s, a.h[0]) == grad(r, u.h0) within 1e-13
}
"""
    )


def test_first_values_longer_lags_and_other_steps_of_the_input() -> None:
    expectations("""
block fibonacci(x[time]) -> f[time] {
  f[-1] = 1
  f[-2] = 0
  scan t in time {
    f[t] = f[t-1] + f[t-2] + 0 * x[t]
  }
}
block around(x[time]) -> y[time] {
  scan t in time {
    y[t] = x[t-1] + 10 * x[t] + 100 * x[t+1]
  }
}
block counter(x[time]) -> n[time] {
  scan t in time {
    n[t] = n[t-1] + 1 + 0 * x[t]
  }
}
check "by hand" {
  y = around()([1, 2, 3])
  expect y[0] == 210
  expect y[1] == 321
  expect y[2] == 32
  f = fibonacci()([0, 0, 0, 0, 0])
  expect f[0] == 1
  expect f[4] == 8
  expect last(f) == 8
  n = counter()([7, 7, 7, 7])
  expect sum(n) == 10
  expect sum(n[2:]) == 7
  expect mean(time: n) == 2.5
  expect sum(i: n[i] * n[i]) == 30
}
""")


@pytest.mark.parametrize(
    ("body", "right"),
    [("2 * sum(p)", [6, 14]), ("p + mean(p)", [6, 14]), ("[5, p] @ [1, 2] - max(p)", [8, 12])],
)
def test_a_block_for_single_numbers_is_mapped_over_time_as_well(
    body: str, right: list[Any]
) -> None:
    """A port without sizes is a single number: of each step, as its text says."""
    text = (
        f"block one(p) -> r {{\n  r = {body}\n}}\n"
        "block net(s[time, n]) -> y[2] {\n  let f = one()\n  z = f(s @ [1, 1])\n"
        "  y = [z[0], last(z)]\n}\nlet m = net()\n"
        'check "each" {\n  y = m([[1, 2], [3, 4]])\n'
        f"  expect y[0] == {right[0]}\n  expect y[1] == {right[1]}\n}}\n"
    )
    assert {v.status for v in verdicts(dln.load(text).model)} == {"passed"}


def test_a_block_for_one_step_is_mapped_over_time_and_reduces_by_step() -> None:
    expectations("""
block share(x[n]) -> y[n] {
  y = x / sum(x)
}
block whole(x[time, n]) -> y {
  y = sum(x)
}
let s = share()
let w = whole()
check "sums" {
  y = w([[1, 3], [4, 4]])
  expect y == 12
}
block both(x[time, n]) -> y[time, n] {
  y = s(x)
}
check "shares are those of each step" {
  y = both()([[1, 3], [4, 4]])
  expect y[0] == [0.25, 0.75]
  expect y[1] == [0.5, 0.5]
}
""")


def test_a_draw_belongs_to_the_step_or_to_the_sequence_where_it_stands() -> None:
    """A mask drawn over a whole sequence stays outside; one of the step is drawn at each step."""
    spec = dln.load("""
block noisy(x[time]) -> y[time], z[time] {
  scan t in time {
    u[t] ~ uniform(0, 1)
    y[t] = x[t] + u[t]
  }
  e ~ uniform(0 * x, 1)
  scan t in time {
    z[t] = z[t-1] + e[t]
  }
}
let f = noisy()
task both() {
  emit f([0, 0, 0, 0, 0]).y
  emit f([0, 0, 0, 0, 0]).z
}
""")
    y, z = run_task(spec, "both")
    assert len(np.unique(y)) == 5
    steps = np.diff(z)
    assert len(np.unique(steps)) == 4 and 0 < steps.min() and steps.max() < 1


def test_one_step_forms_do_what_the_scan_does() -> None:
    spec = dln.load(
        RNN
        + """
const xs = [[1, 0], [0.5, -1], [2, 0.3], [0, 1]]
block net(x[time, n]) -> y[time, 2] {
  let a = rnn(3)
  let b = rnn(4)
  y = x -> a -> b -> dense(2)
}
let f = net()
task walk() {
  s[-1] = f.read(xs)
  scan t in 3 {
    y[t] = f.step(s[t-1])
    s[t] = y[t]
  }
  emit y[0] - last(f(xs))
  first  = f(xs)
  again  = f(concat(xs, [last(first)]))
  emit y[1] - last(again)
  emit y
}
"""
    )
    emitted = run_task(spec, "walk")
    np.testing.assert_allclose(emitted[0], 0, atol=1e-6)
    np.testing.assert_allclose(emitted[1], 0, atol=1e-6)
    assert emitted[2].shape == (3, 2) and np.ptp(emitted[2], axis=0).min() > 0


def run_task(spec: Spec, name: str) -> list[Any]:
    session = spec.compile().session()
    values = session.programs.run(ProgramKind.TASK.of(name))
    return [values[k] for k in sorted(values)]


# ---- training ------------------------------------------------------------------------------------

SEQUENCES = f'data d = synthetic("adding", 8, 40) {FIELDS}'


def test_a_spec_with_a_scan_learns_and_its_gradients_are_right() -> None:
    session = dln.load(SEQUENCES + ADDING).compile().session(seed=2)
    result = session.train("p")
    assert len(result.history["reach"]) == 3
    rows = gradcheck(session, "p")
    assert rows and all(r.error < 1e-6 for r in rows)


RAGGED = 'data d = npz("d.npz") ' + FIELDS + ADDING.replace("dense(1))", "dense(1)) + BEYOND")


@pytest.mark.parametrize("beyond", ["mean(x)", "sum(x)", "max(x)", "sum(mean(time: x))", "0"])
def test_what_lies_past_the_end_of_a_sequence_counts_for_nothing(beyond: str) -> None:
    """Padding with other numbers changes nothing; cutting the sequence changes nothing."""
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(5, 6, 2)), rng.normal(size=5)
    length = np.array([6, 2, 4, 1, 3])
    text = RAGGED.replace("BEYOND", beyond)
    losses = []
    for pad in (0.0, 9.0):
        padded = np.where(np.arange(6)[None, :, None] < length[:, None, None], x, pad)
        losses.append(first_gradient(text, padded, t, length))
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-12)
    alone = [
        first_gradient(text, x[i : i + 1, : length[i]], t[i : i + 1], length[i : i + 1])
        for i in range(5)
    ]
    whole = np.mean(alone, axis=0)
    np.testing.assert_allclose(losses[0], whole, rtol=1e-10)


def first_gradient(text: str, x: np.ndarray, t: np.ndarray, length: np.ndarray) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        np.savez(pathlib.Path(folder) / "d.npz", x=x, t=t, length=length)
        path = pathlib.Path(folder) / "s.dln"
        path.write_text(text)
        session = dln.load(path).compile(dtype="float64").session(seed=3)
        fields = {"x": x, "t": t, "length": length}
        return session.grad("p", "f.cell.Wh", **fields)


# ---- streams -------------------------------------------------------------------------------------

STREAM = """
data d = text("t.txt") {
  c[time]: class(V) = raw[:-1]
  next[time]: class(V) = raw[1:]
  split fit 0.75, rest 0.25
  set window = 5
}
block lm(c[time]: class(V)) -> z[time, V]: logit {
  let cell = rnn(4)
  z = onehot(c) -> cell -> dense(V)
}
let net = lm()
train p on d.fit stream 3 for 2 epochs dtype float64 {
  z = net(c)
  e = mean(cross_entropy(z, next))
  minimize e over net with sgd(lr = RATE)
  watch loss = e every 1 epoch
  watch rest = e on d.rest every 1 epoch
}
"""


def test_a_stream_carries_its_state_from_window_to_window(tmp_path: Path) -> None:
    """Without learning, the windows of a row read one after the other are the row read at once."""
    text = "the quick brown fox jumps over the lazy dog, again and again. " * 4
    (tmp_path / "t.txt").write_text(text)
    (tmp_path / "s.dln").write_text(RNN + STREAM.replace("RATE", "0"))
    session = dln.load(tmp_path / "s.dln").compile().session(seed=4)
    result = session.train("p")
    assert result.history["loss"][0][2] == result.history["loss"][1][2]  # zero again at an epoch
    p = {k: np.asarray(v, float) for k, v in session.params.items()}
    letters = sorted(set(text))
    codes = np.array([letters.index(c) for c in text])
    windows = (len(text) - 1) // 5
    fit = round(0.75 * windows)
    for name, first, count in (("loss", 0, fit), ("rest", fit, windows - fit)):
        each = count // 3
        losses = []
        for row in range(3):
            at = (first + row * each) * 5
            h = np.zeros(4)
            for i in range(at, at + each * 5):
                x = np.eye(len(letters))[codes[i]]
                h = np.tanh(p["net.cell.Wx"] @ x + p["net.cell.Wh"] @ h + p["net.cell.b"])
                z = p["net.z.W"] @ h + p["net.z.b"]
                losses.append(np.log(np.exp(z).sum()) - z[codes[i + 1]])
        np.testing.assert_allclose(result.watch[name], np.mean(losses), rtol=1e-10)


def test_a_stream_carries_what_only_a_watch_reads(tmp_path: Path) -> None:
    """Sums over rows of 8 numbers, two at a time, of which the loss asks nothing."""
    x = np.arange(1.0, 17.0).reshape(8, 2, 1)
    np.savez(tmp_path / "d.npz", x=x)
    (tmp_path / "s.dln").write_text("""
data d = npz("d.npz") {
  x[time, 1] = raw.x
}
block adding(x[time, n]) -> y {
  param w = 1
  scan t in time {
    s[t] = s[t-1] + x[t, 0]
  }
  y = last(s)
}
let f = adding()
train p on d stream 2 for 1 epoch dtype float64 {
  minimize f.w^2 + 0 * f(x) over f with sgd(lr = 0.1)
  watch level = f(x) every 1 update
}
""")
    result = dln.load(tmp_path / "s.dln").compile().session(seed=1).train("p")
    sums = x.reshape(2, 8).cumsum(axis=1)[:, 1::2].mean(axis=0)
    assert [value for _, _, value in result.history["level"]] == sums.tolist()


def test_a_stream_resumes_bit_for_bit(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("to be or not to be, that is the question. " * 6)
    (tmp_path / "s.dln").write_text(RNN + STREAM.replace("RATE", "0.5"))
    spec = dln.load(tmp_path / "s.dln").compile()
    whole = spec.session(seed=5)
    whole.train("p")
    for looks in (1, 9, 17, 18, 25):
        run = RunDirectory.create("s", str(tmp_path / f"run{looks}"))
        with pytest.raises(KeyboardInterrupt):
            spec.session(seed=5).train("p", stop=Countdown(looks), rundir=run)
        again = spec.session(seed=5)
        again.train("p", rundir=run, resume=run.newest())
        for path in whole.params:
            np.testing.assert_array_equal(whole.params[path], again.params[path])
        assert whole.results["p"].history == again.results["p"].history


# ---- what is wrong -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("h[t] = tanh(Wx @ x[t] + Wh @ h[t+1] + b)", "E330"),
        ("h[t] = tanh(Wx @ x[t] + Wh @ h + b)", "E302"),
        ("h[t] = tanh(Wx @ x[2*t] + Wh @ h[t-1] + b)", "E217"),
        ("h[t] = tanh(Wx @ b[t] + b)", "E214"),
    ],
)
def test_wrong_steps_are_refused(line: str, code: str) -> None:
    text = RNN.replace("h[t] = tanh(Wx @ x[t] + Wh @ h[t-1] + b)", line)
    with pytest.raises(DlnError) as caught:
        dln.load(SEQUENCES + text + ADDING.removeprefix(RNN))
    assert code in [p.code for p in caught.value.problems]


def test_what_is_stopped_in_a_step_stays_stopped() -> None:
    """Errors are cut between the steps, though every pass runs on the step by itself."""
    cut = RNN.replace("Wh @ h[t-1]", "Wh @ stop(h[t-1])")
    session = dln.load(SEQUENCES + ADDING.replace(RNN, cut)).compile().session(seed=2)
    reaches = [value for _, _, value in session.train("p").history["reach"]]
    assert reaches == [0.0, 0.0, 0.0]


def test_a_derivative_is_taken_at_the_value_that_the_spec_names() -> None:
    """y is h, but what reaches h on its other ways does not reach y."""
    expectations("""
block twice(x[time]) -> y[time], z[time] {
  param w = 2
  scan t in time {
    h[t] = w * x[t]
    y[t] = h[t] + 0
    z[t] = 3 * h[t] + y[t]
  }
}
let f = twice()
check "by hand" {
  r = f([1, 2])
  expect grad(sum(r.z), f.y[0]) == 1
  expect grad(sum(r.z), f.h[0]) == 4
}
""")


def test_gradients_that_are_stopped_on_purpose_are_not_compared() -> None:
    text = SEQUENCES + ADDING.replace("Wh @ h[t-1]", "Wh @ stop(h[t-1])")
    with pytest.raises(DlnError, match="p stops gradients"):
        gradcheck(dln.load(text).compile().session(), "p")


def test_a_product_written_as_a_sum_is_the_product_that_it_is() -> None:
    """What is spread over examples and indices is spread in the step, where a product sees it."""
    spec = """
data d = rows([[1, 2, 3], [3, 1, 2]]) {
  x[3] = raw
}
block f(x[n]) -> y {
  param V[6, n] ~ normal(0, 1), U[6, 6] ~ normal(0, 0.1)
  h[-1] = V @ x
  scan t in 3 {
    STEP
  }
  y = sum(h[2]^2)
}
let m = f()
train fit on d batch 2 for 1 update dtype float64 {
  minimize m(x) over m with sgd(lr = 0.1)
}
"""
    calls, found = [], []
    for step in ("h[t] = tanh(U @ h[t-1])", "h[t, i] = tanh(sum(j: U[i, j] * h[t-1, j]))"):
        text = spec.replace("STEP", step)
        if "i]" in step:
            text = text.replace("h[-1] = V @ x", "g = V @ x\n  h[-1] = g")
        session = dln.load(text).compile().session(seed=1)
        loop = [x for x in session.plan.programs["step:fit"].lines if x.times > 1 and x.call]
        calls.append([x.call.function for x in loop if x.call])
        session.step("fit", x=[[1, 2, 3], [3, 1, 2]])
        found.append({k: v.copy() for k, v in session.params.items()})
    assert calls[0] == calls[1] and "dot" in calls[0]
    for name, values in found[0].items():
        np.testing.assert_allclose(found[1][name], values, rtol=1e-12)
