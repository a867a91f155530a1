"""Programs: every operation against the evaluator, and what holds of every text."""

from __future__ import annotations

import ast
import tracemalloc
from typing import Any

import numpy as np
import pytest

from dln.compiler.ir.evaluate import evaluate
from dln.compiler.ir.graph import Graph, Node
from dln.compiler.ir.op import OPS, Make
from dln.compiler.ir.sizes import BATCH_SIZE, Size, Var
from dln.compiler.ir.tensor_type import TensorType
from dln.compiler.lower.emit import commented, lower
from dln.compiler.lower.python_text import literal
from dln.compiler.lower.targets import TARGETS, Target
from dln.compiler.plan import arena_bytes, site_number
from dln.compiler.schema import keys
from dln.grammar.diagnostics import Fault, Source, Span
from dln.runtime.device.host import Host
from dln.runtime.device.kernels import normal, uniform
from dln.runtime.execution.executable import Executable

NUMPY = TARGETS["numpy"]
BOTH = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
SEED, UPDATE = 5, 3

CASES = [
    pytest.param(op.name, types, attrs, id=f"{op.name}-{i}")
    for op in OPS.values()
    if not op.is_("symbolic")
    for i, (types, attrs) in enumerate(op.examples())
]


def real(*shape: int | Size, running: tuple[str, ...] = ()) -> TensorType:
    return TensorType(tuple(map(Size.of, shape)), running)


def numbers(type: TensorType, rng: np.random.Generator) -> np.ndarray:
    """Numbers that any operation takes, of the type's kind."""
    shape = tuple(s.value or 0 for s in type.shape)
    if type.kind == "bool":
        return rng.random(shape) < 0.5
    if type.kind == "index":
        size = type.domain.size
        return rng.integers(0, size.value if size is not None else 2, shape)
    return rng.uniform(0.1, 0.9, shape)


def draw(kind: str, site: str, shape: tuple[int, ...]) -> np.ndarray:
    out = np.empty(shape)
    {"uniform": uniform, "normal": normal}[kind](out, SEED, site_number(site), UPDATE)
    return out


@BOTH
@pytest.mark.parametrize(("op", "types", "attrs"), CASES)
def test_every_operation_runs_as_it_is_evaluated(
    op: str, types: tuple[TensorType, ...], attrs: dict[str, Any], target: Target
) -> None:
    graph = Graph()
    m = Make(graph)
    inputs = [m("input", name=f"x{i}", type=t) for i, t in enumerate(types)]
    out = m(op, *inputs, **attrs)
    graph.outputs = {keys.value("out"): out}
    rng = np.random.default_rng(1)
    env = {("input", f"x{i}"): numbers(t, rng) for i, t in enumerate(types)}
    if op in ("input", "whole", "param", "state", "clock"):
        env = {(op, attrs.get("name") or attrs["path"]): numbers(out.type, rng)}
    want = evaluate(graph, env, draw=draw)[keys.value("out")]
    held = {place: {k: v for (p, k), v in env.items() if p == place} for place in OPS}
    program = lower("t", graph, target, "float64")
    own = held["param"], held["state"]
    executable = Executable(program, Host(), *own, SEED, held["whole"])
    bound = executable.at(1)
    for name, value in held["input"].items():
        bound.inputs[name][...] = value
    for _ in range(2):
        bound.values["out"].fill(1)
        bound.run(*[UPDATE if c == "update" else env["clock", str(c)] for c in program.clocks])
    assert bound.values["out"].shape == want.shape
    np.testing.assert_allclose(bound.values["out"], want, rtol=1e-12, atol=1e-14)


# ---- a training step ---------------------------------------------------------------------------


def contract(m: Make, a: Node, b: Node, left: str, right: str, out: str) -> Node:
    """A sum of products with letters for labels."""
    key = {c: i for i, c in enumerate(dict.fromkeys(left + right))}
    labels = {"left": left, "right": right, "out": out}
    return m("contract", a, b, **{k: tuple(key[c] for c in v) for k, v in labels.items()})


def training(rate: float = 0.1, sizes: tuple[int, int, int] = (12, 7, 4)) -> Graph:
    """One update of a network with one hidden layer on half the squared error."""
    d, h, k = sizes
    graph = Graph()
    m = Make(graph)
    x = m("input", name="x", type=real(BATCH_SIZE, d, running=("batch",)))
    y = m("input", name="y", type=real(BATCH_SIZE, k, running=("batch",)))
    W1, W2 = m("param", path="h.W", type=real(h, d)), m("param", path="o.W", type=real(k, h))
    a = m("sigmoid", contract(m, x, W1, "bj", "ij", "bi"))
    o = m("sigmoid", contract(m, a, W2, "bj", "ij", "bi"))
    graph.mark(a, name="a")
    graph.mark(o, name="o")
    e, one = m.sub(o, y), m.const(1.0)
    loss = m.div(m.sum(m.scale(m("square", e), 0.5), (0, 1)), m.size(BATCH_SIZE))
    step = m.div(m.mul(m.const(rate), m("clock", name="epoch")), m.size(BATCH_SIZE))
    bar2 = m.mul(e, m.mul(o, m.sub(one, o)))
    bar1 = m.mul(contract(m, bar2, W2, "bi", "ij", "bj"), m.mul(a, m.sub(one, a)))
    grad2 = contract(m, m.mul(step, bar2), a, "bi", "bj", "ij")
    grad1 = contract(m, m.mul(step, bar1), x, "bi", "bj", "ij")
    graph.outputs = {
        keys.new_param("h.W"): m.sub(W1, grad1),
        keys.new_param("o.W"): m.sub(W2, grad2),
        keys.value("loss"): loss,
    }
    return graph


def weights(dtype: str = "float64") -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "h.W": rng.normal(size=(7, 12)).astype(dtype),
        "o.W": rng.normal(size=(4, 7)).astype(dtype),
    }


@BOTH
@pytest.mark.parametrize("n", [1, 5, 20])
def test_a_training_step_leaves_the_weights_of_the_evaluator(n: int, target: Target) -> None:
    graph = training()
    params, rng = weights(), np.random.default_rng(n)
    bound = Executable(lower("t", graph, target, "float64", 5), Host(), params, {}).at(n)
    env = {("param", k): w.copy() for k, w in params.items()}
    for epoch in (1.0, 2.0, 3.0):
        for name, array in bound.inputs.items():
            array[...] = rng.random(array.shape)
            env["input", name] = array.copy()
        bound.run(epoch)
        want = evaluate(graph, env | {("clock", "epoch"): epoch})
        assert bound.values["loss"] == pytest.approx(want[keys.value("loss")], rel=1e-13)
        for path, w in params.items():
            np.testing.assert_allclose(w, want[keys.new_param(path)], rtol=1e-13)
            env["param", path] = want[keys.new_param(path)]


@pytest.mark.parametrize("n", [1, 5])
def test_a_step_allocates_nothing(n: int) -> None:
    program = lower("t", training(sizes=(784, 100, 10)), NUMPY, capacity=n)
    rng = np.random.default_rng(0)
    params = {
        "h.W": rng.random((100, 784), np.float32),
        "o.W": rng.random((10, 100), np.float32),
    }
    bound = Executable(program, Host(), params, {}).at(n)
    for array in bound.inputs.values():
        array.fill(0.5)
    for _ in range(5):
        bound.run(1.0)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        for _ in range(100):
            bound.run(1.0)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 500
    assert peak - before < 2000, "less than the smallest large buffer: no array is made"


def test_the_step_of_a_small_network_is_few_calls() -> None:
    program = lower("t", training(), NUMPY)
    assert len(program.lines) <= 32
    assert sum(line.code.startswith("dot(") for line in program.lines) == 5
    weights = {b.name for b in program.buffers if b.place == "param"}
    updates = [line.code for line in program.lines if line.writes in weights]
    assert [code.partition("(")[0] for code in updates] == ["subtract", "subtract"]


def test_costs_are_those_of_the_formulas() -> None:
    """5 products of 2 n h d or 2 n k h operations are nearly all there is."""
    n, d, h, k = 50, 784, 100, 10
    program = lower("t", training(sizes=(d, h, k)), NUMPY, capacity=n)
    products = 2 * 2 * n * h * d + 3 * 2 * n * k * h
    assert products < program.flops(n) < 1.05 * products
    one, two = program.flops(1), program.flops(2)
    assert program.flops(n) == one + (n - 1) * (two - one)


# ---- the text ----------------------------------------------------------------------------------


def test_the_text_says_where_each_line_comes_from() -> None:
    source = Source("dir/mlp.dln", "param W\nh = tanh(W)\n")
    graph = Graph()
    m = Make(graph)
    W = m("param", path="W", type=real(2))
    m.spans = (Span(source, 12, 19),)
    graph.outputs = {keys.value("h"): m("tanh", W)}
    program = lower("t", graph, NUMPY)
    (line,) = program.lines
    assert str(line.place) == "dir/mlp.dln:2:5"
    assert program.text.splitlines()[program.first - 1].endswith("# mlp.dln:2  tanh(W)")
    assert program.line_at(program.first) == line
    assert program.line_at(program.first + 1) is None and program.line_at(1) is None


@pytest.mark.parametrize(
    "name", ["x\nimport os", "x\u2028y", "# x\r\ny", "\x1b[31m", 'x"""', "ключ", "v0 = 1"]
)
def test_names_of_a_spec_stay_in_comments(name: str) -> None:
    graph = Graph()
    m = Make(graph)
    x = m("input", name=name, type=real(3))
    y = m("exp", x)
    graph.mark(y, name=name)
    graph.outputs = {keys.value(name): m("tanh", y)}
    program = lower(name, graph, NUMPY)
    assert program.text.isascii() and all(c.isprintable() or c == "\n" for c in program.text)
    lines = ast.unparse(ast.parse(program.text)).splitlines()
    assert not any(name in line for line in lines if name != "v0 = 1")
    bound = Executable(program, Host(), {}, {}).at(1)
    bound.inputs[name].fill(0.25)
    bound.run()
    assert bound.values[name] == pytest.approx(np.tanh(np.exp(0.25)), rel=1e-6)


def test_random_numbers_come_from_the_helper_with_a_number_for_the_site() -> None:
    graph = Graph()
    m = Make(graph)
    noise = m("draw", kind="uniform", site="net.drop/1", shape=(BATCH_SIZE,), running=("batch",))
    graph.outputs = {keys.value("u"): noise}
    program = lower("t", graph, NUMPY)
    assert program.clocks == ("update",)
    assert program.lines[0].code == f"uniform(v0, seed, {site_number('net.drop/1')}, update)"


def test_clocks_are_arguments_and_numbers_of_the_batch_are_found_once() -> None:
    program = lower("t", training(), NUMPY)
    assert program.clocks == ("epoch",)
    assert any(line.code.endswith(".fill(n)") for line in program.setup)
    assert any("epoch" in line.code for line in program.lines)


def test_numbers_are_passed_as_the_target_prefers() -> None:
    graph = Graph()
    m = Make(graph)
    graph.outputs = {
        keys.value("y"): m.scale(m("sigmoid", m("input", name="x", type=real(3))), 3.0)
    }
    host, device = (lower("t", graph, TARGETS[name]) for name in ("numpy", "cupy"))
    assert set(host.constants.values()) == {0.5, 3.0}
    assert device.constants == {} and "0.5" in device.text


def test_constants_of_a_spec_may_be_infinite() -> None:
    graph = Graph()
    m = Make(graph)
    x = m("input", name="x", type=real(2))
    graph.outputs = {keys.value("y"): m("minimum", x, m.const(float("inf")))}
    for target in TARGETS.values():
        bound = Executable(lower("t", graph, target), Host(), {}, {}).at(1)
        bound.inputs["x"][...] = [1.0, -2.0]
        bound.run()
        assert bound.values["y"].tolist() == [1.0, -2.0]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Size(3), "3"),
        (BATCH_SIZE, "n"),
        (BATCH_SIZE * 2 + 1, "2 * n + 1"),
        ((BATCH_SIZE, Size(3)), "(n, 3)"),
        ((Size(1),), "(1,)"),
        (float("-inf"), "-math.inf"),
        (True, "True"),
    ],
)
def test_attributes_as_text(value: object, text: str) -> None:
    assert literal(value) == text


def test_comments_are_short_and_on_one_line() -> None:
    line = commented("a()", "x" * 300 + "\n")
    assert "\n" not in line and len(line) < 160


def test_a_size_that_nobody_fixed_is_a_fault() -> None:
    graph = Graph()
    m = Make(graph)
    x = m("input", name="x", type=real(Size.of(Var("k"))))
    graph.outputs = {keys.value("y"): m("exp", x)}
    with pytest.raises(Fault, match="the size k is not known"):
        lower("t", graph, NUMPY)


def test_a_precision_that_the_target_lacks_is_a_fault() -> None:
    with pytest.raises(Fault, match="numpy does not compute in float16"):
        lower("t", training(), NUMPY, "float16")


def test_what_grows_with_the_square_of_the_examples_costs_so_much() -> None:
    graph = Graph()
    m = Make(graph)
    x = m("input", name="x", type=real(BATCH_SIZE, BATCH_SIZE))
    graph.outputs = {keys.value("y"): m.sum(m("exp", m("tanh", x)), (0, 1))}
    program = lower("t", graph, NUMPY)
    assert [arena_bytes(program, n) for n in (16, 32, 1024)] == [4 * n * n for n in (16, 32, 1024)]
    assert program.flops(100) > 2 * 100**2 and program.flops(200) > 3.9 * program.flops(100)
